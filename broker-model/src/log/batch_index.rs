//! Where each batch of a log lies, and what else of its header is asked for again.
//!
//! Kafka keeps sparse index files and reads headers from the log; here every batch has an entry in
//! memory, so that lookups and the rebuilding of producer state read no bytes.

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use crate::wire::batch::{Batch, BatchHeader};
use crate::wire::build::{ControlType, marker_coordinator_epoch};

/// What the log remembers of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexedBatch {
    /// Its first offset.
    pub(super) base: Offset,
    /// Its last offset.
    pub(super) last: Offset,
    /// The epoch of the leader that appended it.
    pub(super) epoch: LeaderEpoch,
    /// Its first byte in the file.
    pub(super) position: u64,
    /// Its bytes.
    pub(super) size: u32,
    /// Its largest timestamp, in ms since 1970.
    pub(super) max_timestamp: i64,
    /// Who wrote it.
    pub(super) producer: ProducerId,
    /// That producer's epoch.
    pub(super) producer_epoch: ProducerEpoch,
    /// The sequence of its first record.
    pub(super) first_sequence: Sequence,
    /// The sequence of its last record.
    pub(super) last_sequence: Sequence,
    /// What it is to a transaction.
    pub(super) kind: BatchKind,
}

/// What a batch is to a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BatchKind {
    /// Records outside any transaction.
    Plain,
    /// Records of a transaction.
    Transactional,
    /// The end of one.
    Marker(EndTxnMarker),
    /// Control records that end no transaction.
    OtherControl,
}

/// What a marker says (`EndTransactionMarker`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EndTxnMarker {
    /// Whether the transaction takes effect.
    pub(super) commit: bool,
    /// The epoch of the transaction coordinator that wrote it.
    pub(super) coordinator_epoch: i32,
}

impl IndexedBatch {
    /// The entry of a batch with that header at `position`; `bytes` are the whole batch.
    pub(super) fn new(header: &BatchHeader, position: u64, bytes: &[u8]) -> Self {
        IndexedBatch {
            base: header.base_offset,
            last: header.last_offset(),
            epoch: header.partition_leader_epoch,
            position,
            size: u32::try_from(header.size_in_bytes()).expect("the length is an i32"),
            max_timestamp: header.max_timestamp,
            producer: header.producer_id,
            producer_epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            kind: BatchKind::of(header, bytes),
        }
    }

    /// The first byte behind it.
    pub(super) fn end_position(&self) -> u64 {
        self.position + u64::from(self.size)
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub(super) fn has_producer(&self) -> bool {
        ProducerId::NONE < self.producer
    }
}

impl BatchKind {
    fn of(header: &BatchHeader, bytes: &[u8]) -> BatchKind {
        if header.attributes.is_control() {
            EndTxnMarker::read(bytes).map_or(BatchKind::OtherControl, BatchKind::Marker)
        } else if header.attributes.is_transactional() {
            BatchKind::Transactional
        } else {
            BatchKind::Plain
        }
    }
}

impl EndTxnMarker {
    fn read(bytes: &[u8]) -> Option<EndTxnMarker> {
        let record = Batch::parse(bytes).ok()?.records().next()?.ok()?;
        let commit = match ControlType::from_key(record.key?)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::LeaderChange
            | ControlType::SnapshotHeader
            | ControlType::SnapshotFooter
            | ControlType::KRaftVersion
            | ControlType::KRaftVoters => return None,
        };
        Some(EndTxnMarker {
            commit,
            coordinator_epoch: marker_coordinator_epoch(record.value?)?,
        })
    }
}

/// The batches of a log, in order, without a gap in offsets or bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct BatchIndex {
    batches: Vec<IndexedBatch>,
}

impl BatchIndex {
    /// All batches, ascending.
    pub(super) fn as_slice(&self) -> &[IndexedBatch] {
        &self.batches
    }

    /// The first batch.
    pub(super) fn first(&self) -> Option<&IndexedBatch> {
        self.batches.first()
    }

    /// The bytes of all batches.
    pub(super) fn end_position(&self) -> u64 {
        self.batches.last().map_or(0, IndexedBatch::end_position)
    }

    /// Adds the batch that follows.
    pub(super) fn push(&mut self, batch: IndexedBatch) {
        if let Some(last) = self.batches.last() {
            assert_eq!(last.last.next(), batch.base, "a gap in the offsets");
        }
        assert_eq!(self.end_position(), batch.position, "a gap in the file");
        assert!(batch.base <= batch.last, "a batch without an offset");
        self.batches.push(batch);
    }

    /// The place of the batch that holds `offset`, or of the first one behind it.
    pub(super) fn at(&self, offset: Offset) -> usize {
        self.batches.partition_point(|batch| batch.last < offset)
    }

    /// The batches that hold `offset` or follow it.
    pub(super) fn from(&self, offset: Offset) -> &[IndexedBatch] {
        &self.batches[self.at(offset)..]
    }

    /// Removes the batch that holds `offset` and all that follow. Returns the first one removed.
    pub(super) fn truncate(&mut self, offset: Offset) -> Option<IndexedBatch> {
        let at = self.at(offset);
        let first = self.batches.get(at).copied();
        self.batches.truncate(at);
        first
    }

    /// Removes every batch.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
    }
}
