//! Making batches: for producers, for the metadata log, for coordinators, for tests.
//!
//! One buffer, grown as records come; the header is written at the end. Uncompressed only. Mirrors
//! Kafka's `MemoryRecordsBuilder`, `DefaultRecord.writeTo` and `EndTransactionMarker`.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{
    Attributes, BATCH_OVERHEAD, BatchHeader, LOG_OVERHEAD, MAGIC, NO_TIMESTAMP, ProducerState,
};
use super::patch::{put_crc, put_header};
use super::record::{put_varlong, varlong_bytes};
use crate::types::{LeaderEpoch, Offset};

/// A batch in the making.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    buffer: BytesMut,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer: ProducerState,
    control: bool,
    record_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch at offset 0, as a producer sends it.
    pub fn new() -> Self {
        BatchBuilder::with_capacity(256)
    }

    /// The same with room for `bytes` before the buffer grows.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(bytes.max(BATCH_OVERHEAD));
        buffer.put_bytes(0, BATCH_OVERHEAD);
        BatchBuilder {
            buffer,
            base_offset: Offset(0),
            leader_epoch: LeaderEpoch::NONE,
            producer: ProducerState::NONE,
            control: false,
            record_count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Sets its place in the log, where the one who builds it is also the leader.
    #[must_use]
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.base_offset = base_offset;
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets producer id, epoch, sequence and whether it belongs to a transaction.
    #[must_use]
    pub fn by(mut self, producer: ProducerState) -> Self {
        self.producer = producer;
        self
    }

    /// Makes it a control batch.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Adds a record with the next offset.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.record_count);
        let body = body_bytes(timestamp_delta, offset_delta, key, value, headers);
        self.buffer.reserve(varlong_bytes(body as i64) + body);
        put_varlong(&mut self.buffer, body as i64);
        self.buffer.put_u8(0);
        put_varlong(&mut self.buffer, timestamp_delta);
        put_varlong(&mut self.buffer, offset_delta);
        put_nullable(&mut self.buffer, key);
        put_nullable(&mut self.buffer, value);
        put_varlong(&mut self.buffer, headers.len() as i64);
        for (header, value) in headers {
            put_nullable(&mut self.buffer, Some(header.as_bytes()));
            put_nullable(&mut self.buffer, *value);
        }
        self.record_count += 1;
    }

    /// Adds a control record; the batch must have been made one with [`BatchBuilder::control`].
    pub fn push_control(&mut self, timestamp: i64, kind: ControlType, value: &[u8]) {
        assert!(self.control, "a control record in a batch of data");
        self.push(timestamp, Some(&kind.key()), Some(value), &[]);
    }

    /// How many records it holds.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The bytes of the batch as it stands.
    pub fn size_in_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes of the batch if this record were added, at most a few too many.
    pub fn size_with(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
        self.buffer.len() + record_bytes_max(key, value, &[])
    }

    /// Writes the header and gives the batch away.
    pub fn build(mut self) -> Bytes {
        let length = i32::try_from(self.buffer.len() - LOG_OVERHEAD)
            .expect("no producer or log takes a batch of 2 GiB");
        let attributes = Attributes::default()
            .with_transactional(self.producer.transactional)
            .with_control(self.control);
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: length,
            partition_leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes,
            last_offset_delta: (self.record_count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer.producer_id,
            producer_epoch: self.producer.producer_epoch,
            base_sequence: self.producer.base_sequence,
            record_count: self.record_count,
        };
        put_header(&mut self.buffer, &header);
        put_crc(&mut self.buffer);
        self.buffer.freeze()
    }
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

/// The most bytes a record can take in a batch (`DefaultRecord.recordSizeUpperBound`).
pub fn record_bytes_max(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    RECORD_OVERHEAD_MAX + nullable_bytes(key) + nullable_bytes(value) + headers_bytes(headers)
}

/// Length, attributes, timestamp delta, offset delta and header count at their longest, in bytes.
const RECORD_OVERHEAD_MAX: usize = 5 + 1 + 10 + 5 + 5;

/// What a control record says (`ControlRecordType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlType {
    /// The transaction of this producer ends without effect.
    Abort,
    /// The transaction of this producer takes effect.
    Commit,
    /// A KRaft leader's epoch begins here.
    LeaderChange,
    /// A snapshot of the metadata log begins.
    SnapshotHeader,
    /// A snapshot of the metadata log ends.
    SnapshotFooter,
    /// The level of `kraft.version`.
    KRaftVersion,
    /// The voters of the metadata quorum.
    KRaftVoters,
}

impl ControlType {
    const ALL: [ControlType; 7] = [
        ControlType::Abort,
        ControlType::Commit,
        ControlType::LeaderChange,
        ControlType::SnapshotHeader,
        ControlType::SnapshotFooter,
        ControlType::KRaftVersion,
        ControlType::KRaftVoters,
    ];

    /// The key of such a record: version 0 and the type.
    pub fn key(self) -> [u8; 4] {
        [0, 0, 0, self as u8]
    }

    /// The type in a control record's key, or `None` where it is unknown and to be passed over.
    pub fn from_key(key: &[u8]) -> Option<ControlType> {
        let key = key.first_chunk::<4>()?;
        let version = i16::from_be_bytes([key[0], key[1]]);
        let id = usize::from(u16::from_be_bytes([key[2], key[3]]));
        ControlType::ALL.get(id).copied().filter(|_| 0 <= version)
    }
}

/// A batch of one end-of-transaction marker (`EndTransactionMarker`), 78 bytes.
pub fn end_txn_marker(
    commit: bool,
    coordinator_epoch: i32,
    producer: ProducerState,
    timestamp: i64,
) -> Bytes {
    let kind = if commit {
        ControlType::Commit
    } else {
        ControlType::Abort
    };
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let producer = ProducerState {
        transactional: true,
        ..producer
    };
    let mut builder = BatchBuilder::with_capacity(78).by(producer).control();
    builder.push_control(timestamp, kind, &value);
    builder.build()
}

/// The coordinator epoch in the value of an end-of-transaction marker.
pub fn marker_coordinator_epoch(value: &[u8]) -> Option<i32> {
    value
        .get(2..6)?
        .first_chunk::<4>()
        .map(|bytes| i32::from_be_bytes(*bytes))
}

fn body_bytes(
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
) -> usize {
    1 + varlong_bytes(timestamp_delta)
        + varlong_bytes(offset_delta)
        + nullable_bytes(key)
        + nullable_bytes(value)
        + varlong_bytes(headers.len() as i64)
        + headers_bytes(headers)
}

fn headers_bytes(headers: &[(&str, Option<&[u8]>)]) -> usize {
    let sizes = headers
        .iter()
        .map(|(key, value)| nullable_bytes(Some(key.as_bytes())) + nullable_bytes(*value));
    sizes.sum()
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_bytes(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ProducerEpoch, ProducerId, Sequence};
    use crate::wire::batch::Batch;

    #[test]
    fn an_end_of_transaction_marker_is_what_kafka_writes() {
        let producer = ProducerState {
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(2),
            base_sequence: Sequence::NONE,
            transactional: true,
        };
        let bytes = end_txn_marker(true, 7, producer, 1000);
        assert_eq!(bytes.len(), 78);
        let batch = Batch::parse(&bytes).expect("whole");
        assert_eq!(batch.header.attributes, Attributes(0x30));
        let record = batch.records().next().expect("one").expect("ours");
        assert_eq!(
            record.key.and_then(ControlType::from_key),
            Some(ControlType::Commit)
        );
        assert_eq!(record.value.and_then(marker_coordinator_epoch), Some(7));
    }

    #[test]
    fn control_types_are_found_by_their_keys() {
        for kind in ControlType::ALL {
            assert_eq!(ControlType::from_key(&kind.key()), Some(kind));
        }
        assert_eq!(ControlType::from_key(&[0, 0, 0, 7]), None);
        assert_eq!(ControlType::from_key(&[0xff, 0xff, 0, 1]), None);
        assert_eq!(ControlType::from_key(&[0, 0]), None);
    }

    #[test]
    fn the_size_is_known_before_the_record_is_added() {
        let mut builder = BatchBuilder::new();
        for (key, value) in [(None, Some(&[7; 200][..])), (Some(&b"key"[..]), None)] {
            let bound = builder.size_with(key, value);
            builder.push(1_700_000_000_000, key, value, &[]);
            assert!(builder.size_in_bytes() <= bound);
        }
        assert_eq!(builder.record_count(), 2);
        assert_eq!(builder.size_in_bytes(), builder.clone().build().len());
    }
}
