//! The producers of a log: sequences for idempotence, open transactions for the last stable offset.
//!
//! Every replica keeps it, a follower by folding what it replicates, so that a new leader knows the
//! duplicates of its predecessor's time. Kafka starts the fold from snapshot files; here it starts
//! from the log start. Mirrors `ProducerStateManager`.

use std::collections::BTreeMap;

use super::batch_index::{BatchKind, IndexedBatch};
use super::producer_entry::{ProducerStateEntry, Sequenced};
use crate::bug::Bug;
use crate::note::ProducerEntry;
use crate::types::{Offset, ProducerId, ResponseError};

/// The producers of a log.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProducerStateManager {
    producers: BTreeMap<ProducerId, ProducerStateEntry>,
    /// First offset of each open transaction → whose it is.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// First offset of each transaction whose marker is not below the high watermark → the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CompletedTxn {
    /// Whose.
    pub(super) producer: ProducerId,
    /// The offset of its first record.
    pub(super) first: Offset,
    /// The offset of its marker.
    pub(super) last: Offset,
    /// Whether it takes effect.
    pub(super) commit: bool,
}

impl ProducerStateManager {
    /// No producers.
    #[must_use]
    pub fn new() -> Self {
        ProducerStateManager::default()
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerStateEntry)> {
        self.producers.iter().map(|(&id, entry)| (id, entry))
    }

    /// What is known of one.
    #[must_use]
    pub fn get(&self, producer: ProducerId) -> Option<&ProducerStateEntry> {
        self.producers.get(&producer)
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The first offset that read_committed may not pass: of a transaction that is undecided, or
    /// decided by a marker that is not below the high watermark.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        let undecided = self.ongoing.first_key_value().map(|(&first, _)| first);
        let unreplicated = self.unreplicated.first_key_value().map(|(&first, _)| first);
        match (undecided, unreplicated) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// All of it for the judge.
    pub(super) fn note(&self) -> Vec<ProducerEntry> {
        self.iter().map(|(id, entry)| entry.note(id)).collect()
    }

    /// Whether a leader takes `batch` now.
    pub(super) fn check(
        &self,
        batch: &IndexedBatch,
        bug: Option<Bug>,
    ) -> Result<Sequenced, ResponseError> {
        if !batch.has_producer() {
            return Ok(Sequenced::Next);
        }
        match self.get(batch.producer) {
            Some(entry) => entry.check(batch, bug),
            None => Ok(Sequenced::Next),
        }
    }

    /// Takes over a batch that is in the log now. The transaction that it ends, if any, is to be
    /// handed to [`ProducerStateManager::complete`].
    pub(super) fn apply(&mut self, batch: &IndexedBatch) -> Option<CompletedTxn> {
        if !batch.has_producer() {
            return None;
        }
        match batch.kind {
            BatchKind::Plain | BatchKind::Transactional => {
                self.add_batch(batch);
                None
            }
            BatchKind::Marker(marker) => {
                let entry = self.entry(batch.producer);
                entry.end_txn(batch, marker).map(|first| CompletedTxn {
                    producer: batch.producer,
                    first,
                    last: batch.base,
                    commit: marker.commit,
                })
            }
            BatchKind::OtherControl => None,
        }
    }

    /// The last stable offset once `txn` is complete, were all of the log replicated.
    pub(super) fn last_stable_after(&self, txn: &CompletedTxn) -> Offset {
        let others = |&(_, &producer): &(&Offset, &ProducerId)| producer != txn.producer;
        let next = self.ongoing.iter().find(others);
        next.map_or(txn.last.next(), |(&first, _)| first)
    }

    /// Ends a transaction. It stays unstable until the high watermark has passed its marker.
    pub(super) fn complete(&mut self, txn: &CompletedTxn) {
        let ended = self.ongoing.remove(&txn.first);
        assert_eq!(ended, Some(txn.producer), "a transaction ended twice");
        self.unreplicated.insert(txn.first, txn.last);
    }

    /// Forgets the ended transactions whose markers lie below `offset`: the high watermark, or the
    /// log start.
    pub(super) fn forget_txns_below(&mut self, offset: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| offset <= *marker);
        }
    }

    /// Forgets the producers that are not in a transaction and have written nothing for
    /// `expiration_ms`. Returns whom.
    pub(super) fn remove_expired(&mut self, wall_ms: i64, expiration_ms: i64) -> Vec<ProducerId> {
        let idle = |entry: &ProducerStateEntry| {
            entry.open_since().is_none()
                && expiration_ms <= wall_ms.saturating_sub(entry.last_timestamp())
        };
        let expired = self.iter().filter(|(_, entry)| idle(entry));
        let expired: Vec<ProducerId> = expired.map(|(id, _)| id).collect();
        for id in &expired {
            self.producers.remove(id);
        }
        expired
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.producers.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
    }

    fn add_batch(&mut self, batch: &IndexedBatch) {
        let entry = self.entry(batch.producer);
        let was_open = entry.open_since().is_some();
        entry.add_batch(batch);
        if let Some(first) = entry.open_since()
            && !was_open
        {
            self.ongoing.insert(first, batch.producer);
        }
    }

    fn entry(&mut self, producer: ProducerId) -> &mut ProducerStateEntry {
        self.producers
            .entry(producer)
            .or_insert_with(ProducerStateEntry::new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch_index::EndTxnMarker;
    use super::*;
    use crate::types::{LeaderEpoch, ProducerEpoch, Sequence};

    const P1: ProducerId = ProducerId(1);
    const P2: ProducerId = ProducerId(2);

    /// A log that grows by what its leader takes.
    #[derive(Default)]
    struct Log {
        producers: ProducerStateManager,
        end: i64,
        bug: Option<Bug>,
    }

    impl Log {
        fn batch(&self, epoch: i16, first: i32, records: i32) -> IndexedBatch {
            IndexedBatch {
                base: Offset(self.end),
                last: Offset(self.end + i64::from(records) - 1),
                epoch: LeaderEpoch(0),
                position: 0,
                size: 100,
                max_timestamp: 1000 + self.end,
                producer: P1,
                producer_epoch: ProducerEpoch(epoch),
                first_sequence: Sequence(first),
                last_sequence: Sequence(first).plus(records - 1),
                kind: BatchKind::Plain,
            }
        }

        /// Offers a batch to the leader: the first offset that it answers, or its error.
        fn offer(&mut self, batch: IndexedBatch) -> Result<i64, ResponseError> {
            match self.producers.check(&batch, self.bug)? {
                Sequenced::Duplicate(written) => Ok(written.first_offset.0),
                Sequenced::Next => {
                    self.end = batch.last.0 + 1;
                    if let Some(txn) = self.producers.apply(&batch) {
                        self.producers.complete(&txn);
                    }
                    Ok(batch.base.0)
                }
            }
        }

        fn send(&mut self, epoch: i16, first: i32, records: i32) -> Result<i64, ResponseError> {
            self.offer(self.batch(epoch, first, records))
        }

        fn send_in_txn(&mut self, producer: ProducerId, first: i32) -> Result<i64, ResponseError> {
            self.offer(IndexedBatch {
                producer,
                kind: BatchKind::Transactional,
                ..self.batch(0, first, 1)
            })
        }

        fn mark(&mut self, producer: ProducerId, coordinator: i32) -> Result<i64, ResponseError> {
            let marker = EndTxnMarker {
                commit: true,
                coordinator_epoch: coordinator,
            };
            self.offer(IndexedBatch {
                producer,
                kind: BatchKind::Marker(marker),
                ..self.batch(0, -1, 1)
            })
        }
    }

    const OUT_OF_ORDER: Result<i64, ResponseError> = Err(ResponseError::OutOfOrderSequenceNumber);
    const STALE: Result<i64, ResponseError> = Err(ResponseError::InvalidProducerEpoch);

    #[test]
    fn an_unknown_producer_may_start_anywhere_and_then_may_not_skip() {
        let mut log = Log::default();
        assert_eq!(log.send(0, 7, 1), Ok(0));
        assert_eq!(log.send(0, 9, 1), OUT_OF_ORDER);
        assert_eq!(log.send(0, 8, 2), Ok(1));
        assert_eq!(log.send(0, 10, 1), Ok(3));
    }

    #[test]
    fn each_of_the_last_five_batches_is_answered_with_its_offset() {
        let mut log = Log::default();
        for n in 0..6 {
            assert_eq!(log.send(0, 2 * n, 2), Ok(i64::from(2 * n)));
        }
        assert_eq!(log.send(0, 0, 2), OUT_OF_ORDER);
        for n in 1..6 {
            assert_eq!(log.send(0, 2 * n, 2), Ok(i64::from(2 * n)));
        }
        assert_eq!(log.end, 12);
    }

    #[test]
    fn a_batch_that_overlaps_an_old_one_is_no_duplicate() {
        let mut log = Log::default();
        assert_eq!(log.send(0, 0, 3), Ok(0));
        for (first, records) in [(0, 2), (1, 2), (2, 3), (0, 4)] {
            assert_eq!(log.send(0, first, records), OUT_OF_ORDER);
        }
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_the_old_one_is_over() {
        let mut log = Log::default();
        assert_eq!(log.send(0, 0, 3), Ok(0));
        assert_eq!(log.send(1, 3, 1), OUT_OF_ORDER);
        assert_eq!(log.send(1, 0, 1), Ok(3));
        assert_eq!(log.send(0, 3, 1), STALE);
        assert_eq!(log.send(0, 0, 3), STALE);
        assert_eq!(log.send(1, 1, 1), Ok(4));
    }

    #[test]
    fn sequences_wrap() {
        let mut log = Log::default();
        assert_eq!(log.send(0, i32::MAX - 1, 2), Ok(0));
        assert_eq!(log.send(0, 0, 1), Ok(2));
        assert_eq!(log.send(0, 1, 1), Ok(3));
        assert_eq!(log.send(0, i32::MAX - 1, 2), Ok(0));
        let mut log = Log::default();
        assert_eq!(log.send(0, i32::MAX, 3), Ok(0));
        assert_eq!(log.send(0, 2, 1), Ok(3));
    }

    #[test]
    fn with_a_window_of_one_an_older_duplicate_is_out_of_order() {
        let mut log = Log {
            bug: Some(Bug::Kafka5494WindowOne),
            ..Log::default()
        };
        assert_eq!(log.send(0, 0, 1), Ok(0));
        assert_eq!(log.send(0, 1, 1), Ok(1));
        assert_eq!(log.send(0, 1, 1), Ok(1));
        assert_eq!(log.send(0, 0, 1), OUT_OF_ORDER);
    }

    #[test]
    fn with_gaps_accepted_a_lost_batch_passes_for_written() {
        let mut log = Log {
            bug: Some(Bug::Kafka5494AcceptGaps),
            ..Log::default()
        };
        assert_eq!(log.send(0, 0, 1), Ok(0));
        assert_eq!(log.send(0, 2, 1), Ok(1));
        assert_eq!(log.send(0, 1, 1), Ok(1));
        assert_eq!(log.end, 2);
    }

    #[test]
    fn an_idle_producer_is_forgotten_and_may_start_anywhere_again() {
        let mut log = Log::default();
        assert_eq!(log.send(0, 0, 1), Ok(0));
        assert_eq!(log.send_in_txn(P2, 0), Ok(1));
        assert_eq!(log.producers.remove_expired(1099, 100), []);
        assert_eq!(log.producers.remove_expired(1100, 100), [P1]);
        assert_eq!(log.producers.remove_expired(9999, 100), []);
        assert_eq!(log.send(0, 5, 1), Ok(2));
    }

    #[test]
    fn a_transaction_is_unstable_until_its_marker_is_replicated() {
        let mut log = Log::default();
        assert_eq!(log.send_in_txn(P1, 0), Ok(0));
        assert_eq!(log.send_in_txn(P2, 0), Ok(1));
        assert_eq!(log.send_in_txn(P1, 1), Ok(2));
        assert_eq!(log.mark(P1, 0), Ok(3));
        assert_eq!(log.producers.first_unstable(), Some(Offset(0)));
        log.producers.forget_txns_below(Offset(3));
        assert_eq!(log.producers.first_unstable(), Some(Offset(0)));
        log.producers.forget_txns_below(Offset(4));
        assert_eq!(log.producers.first_unstable(), Some(Offset(1)));
        assert_eq!(log.mark(P2, 0), Ok(4));
        log.producers.forget_txns_below(Offset(5));
        assert_eq!(log.producers.first_unstable(), None);
    }

    #[test]
    fn an_old_coordinator_and_a_plain_batch_cannot_touch_a_transaction() {
        let mut log = Log::default();
        assert_eq!(log.send_in_txn(P1, 0), Ok(0));
        assert_eq!(log.send(0, 1, 1), Err(ResponseError::InvalidTxnState));
        assert_eq!(log.mark(P1, 5), Ok(1));
        let fenced = Err(ResponseError::TransactionCoordinatorFenced);
        assert_eq!(log.mark(P1, 4), fenced);
        assert_eq!(log.send(0, 1, 1), Ok(2));
    }
}
