//! What a log remembers of one producer, and which batch it takes next.
//!
//! Mirrors Kafka's `ProducerStateEntry` and `ProducerAppendInfo`. Transaction verification (KIP-890)
//! is not checked here.

use std::collections::VecDeque;

use super::batch_index::{BatchKind, EndTxnMarker, IndexedBatch};
use crate::bug::Bug;
use crate::note::ProducerEntry;
use crate::types::{Offset, ProducerEpoch, ProducerId, ResponseError, Sequence};
use crate::wire::batch::NO_TIMESTAMP;

/// How many batches of a producer are remembered (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`): as many
/// as an idempotent producer may have in flight.
pub const BATCHES_RETAINED: usize = 5;

/// The coordinator epoch where no marker was seen.
pub const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that a producer wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchMetadata {
    /// The sequence of its first record.
    pub first_sequence: Sequence,
    /// The sequence of its last record.
    pub last_sequence: Sequence,
    /// Its first offset.
    pub first_offset: Offset,
    /// Its last offset.
    pub last_offset: Offset,
    /// Its largest timestamp, in ms since 1970.
    pub timestamp: i64,
}

/// One producer as the log knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerStateEntry {
    epoch: ProducerEpoch,
    coordinator_epoch: i32,
    last_timestamp: i64,
    open_since: Option<Offset>,
    /// The newest batches of `epoch`, at most [`BATCHES_RETAINED`], oldest first.
    batches: VecDeque<BatchMetadata>,
}

/// Whether a batch of a producer is to be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sequenced {
    /// It is the next one.
    Next,
    /// It is in the log already: this is what was written then.
    Duplicate(BatchMetadata),
}

impl ProducerStateEntry {
    /// A producer that has written nothing.
    pub(super) fn new() -> Self {
        ProducerStateEntry {
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            last_timestamp: NO_TIMESTAMP,
            open_since: None,
            batches: VecDeque::new(),
        }
    }

    /// The epoch of its newest batch or marker.
    #[must_use]
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The coordinator epoch of the newest marker, -1 if there was none.
    #[must_use]
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// The timestamp of its newest batch or marker, in ms since 1970.
    #[must_use]
    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// The last sequence of its newest batch in this epoch.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.batches
            .back()
            .map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    /// The first offset of its open transaction.
    #[must_use]
    pub fn open_since(&self) -> Option<Offset> {
        self.open_since
    }

    /// The same for the judge.
    pub(super) fn note(&self, producer: ProducerId) -> ProducerEntry {
        let brief =
            |batch: &BatchMetadata| (batch.first_sequence, batch.last_sequence, batch.last_offset);
        ProducerEntry {
            producer,
            epoch: self.epoch,
            batches: self.batches.iter().map(brief).collect(),
            open_since: self.open_since,
        }
    }

    /// Whether a leader takes `batch` from this producer now.
    ///
    /// A batch without a sequence comes from a coordinator of the broker itself.
    pub(super) fn check(
        &self,
        batch: &IndexedBatch,
        bug: Option<Bug>,
    ) -> Result<Sequenced, ResponseError> {
        if let Some(written) = self.find_duplicate(batch, bug) {
            return Ok(Sequenced::Duplicate(*written));
        }
        if batch.producer_epoch < self.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        match batch.kind {
            BatchKind::Marker(marker) => self.check_marker(marker),
            BatchKind::OtherControl => Ok(Sequenced::Next),
            BatchKind::Plain | BatchKind::Transactional => {
                let sequenced = self.check_sequence(batch, bug)?;
                if self.open_since.is_some() && batch.kind == BatchKind::Plain {
                    return Err(ResponseError::InvalidTxnState);
                }
                Ok(sequenced)
            }
        }
    }

    fn find_duplicate(&self, batch: &IndexedBatch, bug: Option<Bug>) -> Option<&BatchMetadata> {
        if batch.producer_epoch != self.epoch || batch.first_sequence == Sequence::NONE {
            return None;
        }
        let remembered = match bug {
            Some(Bug::Kafka5494WindowOne) => 1,
            _ => BATCHES_RETAINED,
        };
        self.batches.iter().rev().take(remembered).find(|written| {
            written.first_sequence == batch.first_sequence
                && written.last_sequence == batch.last_sequence
        })
    }

    fn check_marker(&self, marker: EndTxnMarker) -> Result<Sequenced, ResponseError> {
        if marker.coordinator_epoch < self.coordinator_epoch {
            return Err(ResponseError::TransactionCoordinatorFenced);
        }
        Ok(Sequenced::Next)
    }

    fn check_sequence(
        &self,
        batch: &IndexedBatch,
        bug: Option<Bug>,
    ) -> Result<Sequenced, ResponseError> {
        // Of a producer without state any sequence is taken: its records may have been deleted.
        if batch.first_sequence == Sequence::NONE || self.epoch == ProducerEpoch::NONE {
            return Ok(Sequenced::Next);
        }
        let expected = if batch.producer_epoch == self.epoch {
            self.last_sequence().plus(1)
        } else {
            Sequence(0)
        };
        if batch.first_sequence == expected {
            return Ok(Sequenced::Next);
        }
        if bug == Some(Bug::Kafka5494AcceptGaps) && batch.producer_epoch == self.epoch {
            return self.accept_gap(batch, expected);
        }
        Err(ResponseError::OutOfOrderSequenceNumber)
    }

    /// KAFKA-5494: what is ahead is appended, what is behind counts as written, whether it was or not.
    fn accept_gap(
        &self,
        batch: &IndexedBatch,
        expected: Sequence,
    ) -> Result<Sequenced, ResponseError> {
        let ahead = batch.first_sequence.0.wrapping_sub(expected.0) & i32::MAX;
        match self.batches.back() {
            Some(newest) if i32::MAX / 2 < ahead => Ok(Sequenced::Duplicate(*newest)),
            _ => Ok(Sequenced::Next),
        }
    }

    /// Takes over a batch of records that is in the log now.
    pub(super) fn add_batch(&mut self, batch: &IndexedBatch) {
        self.enter_epoch(batch.producer_epoch);
        if self.batches.len() == BATCHES_RETAINED {
            self.batches.pop_front();
        }
        self.batches.push_back(BatchMetadata {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            first_offset: batch.base,
            last_offset: batch.last,
            timestamp: batch.max_timestamp,
        });
        self.last_timestamp = batch.max_timestamp;
        if batch.kind == BatchKind::Transactional {
            self.open_since.get_or_insert(batch.base);
        }
    }

    /// Takes over a marker that is in the log now. Returns where the transaction that it ends began.
    pub(super) fn end_txn(&mut self, batch: &IndexedBatch, marker: EndTxnMarker) -> Option<Offset> {
        self.enter_epoch(batch.producer_epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = batch.max_timestamp;
        self.open_since.take()
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }
}
