//! A record batch (v2), as the judge reads it: from the bytes, without the model.

use broker_model::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::history::{V, value};

/// The length of a batch's header in bytes; records follow.
pub(crate) const HEADER_LEN: usize = 61;

/// A batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// Its first offset.
    pub(crate) base: Offset,
    /// Its last offset.
    pub(crate) last: Offset,
    /// Its leader epoch.
    pub(crate) epoch: LeaderEpoch,
    /// CRC-32C over everything behind it; offset and epoch lie before it.
    pub(crate) crc: u32,
    /// Compression, timestamp type, transactional and control bits.
    pub(crate) attributes: i16,
    /// The largest timestamp.
    pub(crate) max_timestamp_ms: i64,
    /// The timestamp that the records' deltas build on.
    pub(crate) base_timestamp_ms: i64,
    /// Its producer.
    pub(crate) producer: ProducerId,
    /// The producer's epoch.
    pub(crate) producer_epoch: ProducerEpoch,
    /// The sequence of its first record.
    pub(crate) first: Sequence,
    /// How many records it says it has.
    pub(crate) count: i32,
    /// Its size in bytes, header included.
    pub(crate) size: u32,
}

impl Batch {
    /// Reads the header; `None` if these are not the bytes of exactly one batch.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Batch> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let base = Offset(i64_at(header, 0));
        let length = usize::try_from(i32_at(header, 8)).ok()?;
        if header[16] != 2 || length + 12 != bytes.len() {
            return None;
        }
        Some(Batch {
            base,
            last: base + i64::from(i32_at(header, 23)),
            epoch: LeaderEpoch(i32_at(header, 12)),
            crc: u32::from_be_bytes([header[17], header[18], header[19], header[20]]),
            attributes: i16::from_be_bytes([header[21], header[22]]),
            base_timestamp_ms: i64_at(header, 27),
            max_timestamp_ms: i64_at(header, 35),
            producer: ProducerId(i64_at(header, 43)),
            producer_epoch: ProducerEpoch(i16::from_be_bytes([header[51], header[52]])),
            first: Sequence(i32_at(header, 53)),
            count: i32_at(header, 57),
            size: u32::try_from(bytes.len()).ok()?,
        })
    }

    /// Whether it holds markers, not records of an application.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether its records are compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & 0x07 != 0
    }

    /// Whether the broker wrote its own time into it.
    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether an idempotent producer wrote it.
    pub(crate) fn has_sequence(&self) -> bool {
        self.producer != ProducerId::NONE && !self.is_control()
    }

    /// The sequence of its last record.
    pub(crate) fn last_sequence(&self) -> Sequence {
        self.first.plus(self.count - 1)
    }
}

/// Offsets and values of the records of an uncompressed batch, as the workload writes them.
pub(crate) fn values(bytes: &[u8]) -> Vec<(i64, V)> {
    let Some(batch) = Batch::parse(bytes).filter(|batch| !batch.is_compressed()) else {
        return Vec::new();
    };
    let mut rest = &bytes[HEADER_LEN..];
    let mut values = Vec::new();
    for offset in batch.base.0..=batch.last.0 {
        let Some((record, behind)) = sized(rest) else {
            break;
        };
        let value = value_of(record).and_then(value::decode);
        values.extend(value.map(|value| (offset, value.v)));
        rest = behind;
    }
    values
}

/// The value of a record without its length: attributes, deltas of time and offset, key, value.
fn value_of(record: &[u8]) -> Option<&[u8]> {
    let (_, rest) = varint(record.get(1..)?)?;
    let (_, rest) = varint(rest)?;
    let (key, behind) = varint(rest)?;
    let rest = match key {
        ..0 => behind,
        _ => behind.get(usize::try_from(key).ok()?..)?,
    };
    sized(rest).map(|(value, _)| value)
}

/// As many bytes as the varint in front says, and what follows them.
pub(crate) fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A zigzag varint of at most ten bytes, and what follows it.
pub(crate) fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let number = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

fn i64_at(header: &[u8; HEADER_LEN], at: usize) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    i64::from_be_bytes(bytes)
}

fn i32_at(header: &[u8; HEADER_LEN], at: usize) -> i32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    i32::from_be_bytes(bytes)
}
