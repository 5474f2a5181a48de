//! Writing into a batch: what a leader assigns, what a producer changes, what a builder fills in.
//!
//! Mirrors the setters of Kafka's `DefaultRecordBatch` and `ProducerBatch.resetProducerState`.

use bytes::{Bytes, BytesMut};

use super::batch::{
    ATTRIBUTES_AT, Attributes, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, BatchHeader, CRC_AT,
    LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, LENGTH_AT, MAGIC_AT, MAX_TIMESTAMP_AT,
    PRODUCER_EPOCH_AT, PRODUCER_ID_AT, RECORD_COUNT_AT, TimestampType,
};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// What a leader writes into a batch that it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who set the timestamps.
    pub timestamp_type: TimestampType,
    /// The largest timestamp of the records, or the log append time, in ms since 1970.
    pub max_timestamp: i64,
}

/// The batch with its place in the log written into it. Copies the bytes, for the producer that sent
/// them may send them again; the CRC is computed anew only where a timestamp changes.
///
/// # Panics
///
/// If `batch` is not one whole batch.
pub fn with_assigned(batch: &[u8], assigned: &Assigned) -> Bytes {
    let header = BatchHeader::parse(batch).expect("only a validated batch is given an offset");
    assert_eq!(
        header.size_in_bytes(),
        batch.len(),
        "a batch and nothing else is given an offset"
    );
    let mut bytes = BytesMut::from(batch);
    put(&mut bytes, 0, &assigned.base_offset.0.to_be_bytes());
    put(
        &mut bytes,
        LEADER_EPOCH_AT,
        &assigned.leader_epoch.0.to_be_bytes(),
    );
    let attributes = header
        .attributes
        .with_timestamp_type(assigned.timestamp_type);
    if header.attributes != attributes || header.max_timestamp != assigned.max_timestamp {
        put(&mut bytes, ATTRIBUTES_AT, &attributes.0.to_be_bytes());
        put(
            &mut bytes,
            MAX_TIMESTAMP_AT,
            &assigned.max_timestamp.to_be_bytes(),
        );
        put_crc(&mut bytes);
    }
    bytes.freeze()
}

/// Who writes a batch, and where it stands in the producer's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer id, or none.
    pub producer_id: ProducerId,
    /// Its epoch, or none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, or none.
    pub base_sequence: Sequence,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl ProducerState {
    /// A producer that is neither idempotent nor transactional.
    pub const NONE: ProducerState = ProducerState {
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        transactional: false,
    };
}

/// A copy of the batch with another producer state, as a producer needs when its epoch was bumped
/// (`ProducerBatch.resetProducerState`).
///
/// # Panics
///
/// If `batch` is not one whole batch.
pub fn with_producer_state(batch: &[u8], state: &ProducerState) -> Bytes {
    let header = BatchHeader::parse(batch).expect("a producer changes only batches of its own");
    assert_eq!(
        header.size_in_bytes(),
        batch.len(),
        "a batch and nothing else is rewritten"
    );
    let mut bytes = BytesMut::from(batch);
    put_producer_state(&mut bytes, header.attributes, state);
    put_crc(&mut bytes);
    bytes.freeze()
}

/// Writes every field of the header that `header` has, but the CRC, which [`put_crc`] adds.
pub(super) fn put_header(bytes: &mut [u8], header: &BatchHeader) {
    put(bytes, 0, &header.base_offset.0.to_be_bytes());
    put(bytes, LENGTH_AT, &header.batch_length.to_be_bytes());
    put(
        bytes,
        LEADER_EPOCH_AT,
        &header.partition_leader_epoch.0.to_be_bytes(),
    );
    put(bytes, MAGIC_AT, &header.magic.to_be_bytes());
    put(
        bytes,
        LAST_OFFSET_DELTA_AT,
        &header.last_offset_delta.to_be_bytes(),
    );
    put(
        bytes,
        BASE_TIMESTAMP_AT,
        &header.base_timestamp.to_be_bytes(),
    );
    put(bytes, MAX_TIMESTAMP_AT, &header.max_timestamp.to_be_bytes());
    put(bytes, RECORD_COUNT_AT, &header.record_count.to_be_bytes());
    let state = ProducerState {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
    };
    put_producer_state(bytes, header.attributes, &state);
}

/// Computes the CRC of a whole batch and writes it.
pub(super) fn put_crc(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    put(bytes, CRC_AT, &crc.to_be_bytes());
}

fn put_producer_state(bytes: &mut [u8], attributes: Attributes, state: &ProducerState) {
    let attributes = attributes.with_transactional(state.transactional);
    put(bytes, ATTRIBUTES_AT, &attributes.0.to_be_bytes());
    put(bytes, PRODUCER_ID_AT, &state.producer_id.0.to_be_bytes());
    put(
        bytes,
        PRODUCER_EPOCH_AT,
        &state.producer_epoch.0.to_be_bytes(),
    );
    put(
        bytes,
        BASE_SEQUENCE_AT,
        &state.base_sequence.0.to_be_bytes(),
    );
}

pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::batch::Batch;
    use crate::wire::build::BatchBuilder;

    fn three() -> Bytes {
        let mut builder = BatchBuilder::new();
        for (timestamp, value) in [(100, "a"), (300, "b"), (200, "c")] {
            builder.push(timestamp, Some(b"k"), Some(value.as_bytes()), &[]);
        }
        builder.build()
    }

    fn assigned(base_offset: i64, max_timestamp: i64) -> Assigned {
        Assigned {
            base_offset: Offset(base_offset),
            leader_epoch: LeaderEpoch(4),
            timestamp_type: TimestampType::CreateTime,
            max_timestamp,
        }
    }

    #[test]
    fn a_leader_assigns_offset_and_epoch_without_touching_the_crc() {
        let sent = three();
        let stored = with_assigned(&sent, &assigned(42, 300));
        let batch = Batch::parse(&stored).expect("whole");
        assert!(batch.is_crc_valid());
        assert_eq!(batch.header.base_offset, Offset(42));
        assert_eq!(batch.header.next_offset(), Offset(45));
        assert_eq!(batch.header.partition_leader_epoch, LeaderEpoch(4));
        assert_eq!(stored[CRC_AT..], sent[CRC_AT..]);
    }

    #[test]
    fn log_append_time_takes_the_place_of_every_timestamp() {
        let mut append = assigned(7, 5000);
        append.timestamp_type = TimestampType::LogAppendTime;
        let stored = with_assigned(&three(), &append);
        let batch = Batch::parse(&stored).expect("whole");
        assert!(batch.is_crc_valid());
        let timestamps = batch
            .records()
            .map(|record| record.expect("ours").timestamp);
        assert_eq!(timestamps.collect::<Vec<_>>(), [5000, 5000, 5000]);
    }

    #[test]
    fn a_bumped_producer_rewrites_its_batch() {
        let state = ProducerState {
            producer_id: ProducerId(9),
            producer_epoch: ProducerEpoch(1),
            base_sequence: Sequence(i32::MAX - 1),
            transactional: true,
        };
        let batch = with_producer_state(&three(), &state);
        let batch = Batch::parse(&batch).expect("whole");
        assert!(batch.is_crc_valid());
        assert!(batch.header.has_producer_id());
        assert!(batch.header.attributes.is_transactional());
        assert_eq!(batch.header.last_sequence(), Sequence(0));
    }
}
