//! Record batches: the header of format v2, read and patched in place.
//!
//! ```text
//! base offset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | last offset delta 4 |
//! base timestamp 8 | max timestamp 8 | producer id 8 | producer epoch 2 | base sequence 4 | count 4 | records
//! ```
//!
//! The CRC starts at the attributes, so a leader writes offset and epoch without touching it. Batches
//! stay opaque bytes in a broker: kafka-protocol's decoder loses duplicate header keys and the
//! encoder loses the timestamp type. Fields are written by `patch`, records read by `record`, batches
//! made by `build`. Mirrors Kafka's `DefaultRecordBatch` and `ByteBufferLogInputStream`.

use std::fmt;

pub use super::patch::{Assigned, ProducerState, with_assigned, with_producer_state};
use super::record::RecordIter;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// The bytes of a batch without its records.
pub const BATCH_OVERHEAD: usize = 61;

/// The bytes that a batch's length does not count: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;

/// A timestamp that is not known (`RecordBatch.NO_TIMESTAMP`).
pub const NO_TIMESTAMP: i64 = -1;

/// The format of batches since Kafka 0.11.
pub const MAGIC: i8 = 2;

pub(super) const LENGTH_AT: usize = 8;
pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(super) const BASE_TIMESTAMP_AT: usize = 27;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const PRODUCER_EPOCH_AT: usize = 51;
pub(super) const BASE_SEQUENCE_AT: usize = 53;
pub(super) const RECORD_COUNT_AT: usize = 57;

/// The smallest length a batch of any format can state (`LegacyRecord.RECORD_OVERHEAD_V0`).
const LENGTH_MIN: i32 = 14;

/// The header of a batch, as its bytes say it. Nothing in it was checked but length and magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record; 0 until a leader assigns it.
    pub base_offset: Offset,
    /// The bytes of the batch behind this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended it; -1 until a leader assigns it.
    pub partition_leader_epoch: LeaderEpoch,
    /// The format; [`MAGIC`] whenever parsing succeeds.
    pub magic: i8,
    /// CRC-32C over everything from the attributes on.
    pub crc: u32,
    /// Compression and flags.
    pub attributes: Attributes,
    /// The offset of the last record, less the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from, in ms since 1970; or the delete horizon.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch, or the log append time of all, in ms since 1970.
    pub max_timestamp: i64,
    /// The idempotent producer, or none.
    pub producer_id: ProducerId,
    /// The producer's epoch, or none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, or none.
    pub base_sequence: Sequence,
    /// How many records the batch holds; compaction makes it less than the offsets span.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header of a batch whose tail may be missing.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(header) = bytes.first_chunk::<BATCH_OVERHEAD>() else {
            return Err(BatchError::Truncated {
                available: bytes.len(),
            });
        };
        let batch_length = i32::from_be_bytes(field(header, LENGTH_AT));
        let magic = i8::from_be_bytes(field(header, MAGIC_AT));
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if batch_length < (BATCH_OVERHEAD - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length(batch_length));
        }
        Ok(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(header, 0))),
            batch_length,
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(header, LEADER_EPOCH_AT))),
            magic,
            crc: u32::from_be_bytes(field(header, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(header, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(header, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(field(header, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(field(header, MAX_TIMESTAMP_AT)),
            producer_id: ProducerId(i64::from_be_bytes(field(header, PRODUCER_ID_AT))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(header, PRODUCER_EPOCH_AT))),
            base_sequence: Sequence(i32::from_be_bytes(field(header, BASE_SEQUENCE_AT))),
            record_count: i32::from_be_bytes(field(header, RECORD_COUNT_AT)),
        })
    }

    /// The bytes of the whole batch.
    pub fn size_in_bytes(&self) -> usize {
        let length = usize::try_from(self.batch_length).expect("parse refuses a negative length");
        LOG_OVERHEAD + length
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .wrapping_add(i64::from(self.last_offset_delta)),
        )
    }

    /// The offset behind the last record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    /// The sequence of the last record; after `i32::MAX` comes 0.
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence == Sequence::NONE {
            return Sequence::NONE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        ProducerId::NONE < self.producer_id
    }

    /// Whether the records may be removed once the base timestamp, then a horizon, has passed.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes
            .has_delete_horizon()
            .then_some(self.base_timestamp)
    }
}

fn field<const N: usize>(header: &[u8; BATCH_OVERHEAD], at: usize) -> [u8; N] {
    *header[at..]
        .first_chunk()
        .expect("every field ends inside the header")
}

/// The sequence `increment` records later; 0 follows `i32::MAX`. Total, unlike `Sequence::plus`:
/// the numbers come from bytes.
fn increment_sequence(sequence: Sequence, increment: i32) -> Sequence {
    let modulus = i64::from(i32::MAX) + 1;
    let sum = (i64::from(sequence.0) + i64::from(increment)).rem_euclid(modulus);
    Sequence(i32::try_from(sum).expect("a remainder below 2^31 fits"))
}

/// Compression and flags of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The compression of the records, or `None` for a codec that does not exist.
    pub fn compression(self) -> Option<Compression> {
        match self.0 & Attributes::COMPRESSION {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Who set the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Attributes::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records, which no application sees.
    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether the base timestamp is the delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }

    /// The same with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Attributes {
        self.with(
            Attributes::LOG_APPEND_TIME,
            timestamp_type == TimestampType::LogAppendTime,
        )
    }

    /// The same, in a transaction or not.
    #[must_use]
    pub fn with_transactional(self, transactional: bool) -> Attributes {
        self.with(Attributes::TRANSACTIONAL, transactional)
    }

    /// The same, as a control batch or not.
    #[must_use]
    pub fn with_control(self, control: bool) -> Attributes {
        self.with(Attributes::CONTROL, control)
    }

    fn with(self, flag: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | flag } else { self.0 & !flag })
    }
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// lz4
    Lz4,
    /// zstd (KIP-110)
    Zstd,
}

/// Who sets the timestamps of records (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The leader that appends them.
    LogAppendTime,
}

/// Bytes that are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the batch, or its header, needs.
    Truncated {
        /// The bytes there are.
        available: usize,
    },
    /// A length that no batch has.
    Length(i32),
    /// Another format than v2; 0 and 1 once were formats.
    Magic(i8),
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Truncated { available } => write!(f, "batch cut after {available} bytes"),
            BatchError::Length(length) => write!(f, "batch of {length} bytes"),
            BatchError::Magic(magic) => write!(f, "batch of format {magic}"),
        }
    }
}

impl std::error::Error for BatchError {}

/// A whole batch inside a sequence of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Its header.
    pub header: BatchHeader,
    /// Where it starts in that sequence, in bytes.
    pub position: usize,
    /// Header and records.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Reads the batch at the start of `bytes`, all of which must be there.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let whole = bytes
            .get(..header.size_in_bytes())
            .ok_or(BatchError::Truncated {
                available: bytes.len(),
            })?;
        Ok(Batch {
            header,
            position: 0,
            bytes: whole,
        })
    }

    /// Whether the CRC agrees with the bytes.
    pub fn is_crc_valid(&self) -> bool {
        verify_crc(self.bytes)
    }

    /// The records, without a copy. Empty for a compressed batch: there is no decompression here.
    pub fn records(&self) -> RecordIter<'a> {
        RecordIter::new(&self.header, &self.bytes[BATCH_OVERHEAD..])
    }
}

/// Whether the CRC of a whole batch agrees with its bytes.
pub fn verify_crc(batch: &[u8]) -> bool {
    BATCH_OVERHEAD <= batch.len()
        && batch[CRC_AT..ATTRIBUTES_AT] == crc32c::crc32c(&batch[ATTRIBUTES_AT..]).to_be_bytes()
}

/// The batches of a byte sequence, in order. A batch cut at the end is left out, as by Kafka; a length
/// or format that cannot be is an error, after which nothing follows.
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BatchIter<'a> {
    /// Walks over `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        BatchIter { bytes, position: 0 }
    }

    /// Where the next batch would start: after the last one, the length of all whole batches.
    pub fn position(&self) -> usize {
        self.position
    }

    fn read_next(&self, rest: &'a [u8]) -> Result<Option<Batch<'a>>, BatchError> {
        let Some(length) = rest[LENGTH_AT..].first_chunk::<4>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length);
        if length < LENGTH_MIN {
            return Err(BatchError::Length(length));
        }
        match rest.get(MAGIC_AT).map(|&magic| i8::from_be_bytes([magic])) {
            None => return Ok(None),
            Some(MAGIC) => {}
            Some(magic) => return Err(BatchError::Magic(magic)),
        }
        let size = LOG_OVERHEAD + usize::try_from(length).expect("at least the minimum");
        if rest.len() < size {
            return Ok(None);
        }
        let header = BatchHeader::parse(rest)?;
        Ok(Some(Batch {
            header,
            position: self.position,
            bytes: &rest[..size],
        }))
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self
            .bytes
            .get(self.position..)
            .filter(|rest| LOG_OVERHEAD <= rest.len())?;
        match self.read_next(rest) {
            Ok(batch) => {
                let batch = batch?;
                self.position += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(error) => {
                self.bytes = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::build::BatchBuilder;
    use crate::wire::patch::put;
    use bytes::{Bytes, BytesMut};

    fn three() -> Bytes {
        let mut builder = BatchBuilder::new();
        for (timestamp, value) in [(100, "a"), (300, "b"), (200, "c")] {
            builder.push(timestamp, Some(b"k"), Some(value.as_bytes()), &[]);
        }
        builder.build()
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(increment_sequence(Sequence(5), 2), Sequence(7));
        assert_eq!(increment_sequence(Sequence(i32::MAX), 1), Sequence(0));
        assert_eq!(
            increment_sequence(Sequence(i32::MAX), i32::MAX),
            Sequence(i32::MAX - 1)
        );
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let mut bytes = BytesMut::from(&three()[..]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(!verify_crc(&bytes));
        assert!(!verify_crc(&bytes[..20]));
    }

    #[test]
    fn a_batch_cut_at_the_end_is_left_out() {
        let one = three();
        let two = [&one[..], &one[..]].concat();
        for cut in one.len()..two.len() {
            let mut batches = BatchIter::new(&two[..cut]);
            assert!(batches.next().is_some_and(|batch| batch.is_ok()));
            assert_eq!(batches.next(), None);
            assert_eq!(batches.position(), one.len());
        }
        let positions: Vec<usize> = BatchIter::new(&two)
            .map(|batch| batch.expect("whole").position)
            .collect();
        assert_eq!(positions, [0, one.len()]);
    }

    #[test]
    fn a_length_or_format_that_cannot_be_ends_the_walk() {
        let mut short = BytesMut::from(&three()[..]);
        put(&mut short, LENGTH_AT, &13_i32.to_be_bytes());
        let walk: Vec<_> = BatchIter::new(&short).collect();
        assert_eq!(walk, [Err(BatchError::Length(13))]);
        let mut legacy = BytesMut::from(&three()[..]);
        legacy[MAGIC_AT] = 1;
        assert_eq!(
            BatchIter::new(&legacy).collect::<Vec<_>>(),
            [Err(BatchError::Magic(1))]
        );
        assert_eq!(
            BatchHeader::parse(&[0; 60]),
            Err(BatchError::Truncated { available: 60 })
        );
    }
}
