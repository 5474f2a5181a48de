//! The idempotent producer's identity and sequences.
//!
//! Mirrors Kafka's `TransactionManager`, `TxnPartitionMap` and `TxnPartitionEntry` for a producer
//! without `transactional.id`: the producer bumps its own epoch (KIP-360) and gives the batches in
//! flight of the partition concerned new sequences, in their old order. Does not send anything;
//! the sender does.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::{BatchId, Batches, Identity, Numbered};
use crate::bug::Bug;
use crate::client::command::ClientError;
use crate::types::{Offset, ProducerEpoch, ResponseError, Sequence, TopicIdPartition};

/// Identity and sequences of one producer.
#[derive(Debug)]
pub(super) struct TransactionManager {
    identity: Option<Identity>,
    fatal: Option<ClientError>,
    /// The epoch is bumped before the next batch is sent (`clientSideEpochBumpRequired`).
    bump_required: bool,
    /// Whose batches in flight get new sequences with the bump.
    rewrite: BTreeSet<TopicIdPartition>,
    /// Partitions where a batch that had been sent expired: (the sequence behind it). Nothing
    /// new is sent there until it is known whether that leaves a gap.
    unresolved: BTreeMap<TopicIdPartition, Sequence>,
    partitions: BTreeMap<TopicIdPartition, Entry>,
    bug: Option<Bug>,
}

/// What a produce answer says about sequences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SequenceAnswer {
    /// The error.
    pub(super) error: ResponseError,
    /// The partition's log start, -1 if the broker did not say.
    pub(super) log_start: Offset,
}

/// `TxnPartitionEntry`. With nothing in flight, `last_acked` is the sequence before `next`.
#[derive(Debug)]
struct Entry {
    identity: Option<Identity>,
    next: Sequence,
    last_acked: Option<Sequence>,
    /// Drained and neither acknowledged nor failed, by sequence.
    in_flight: BTreeMap<Numbered, BatchId>,
}

impl Entry {
    fn new() -> Self {
        Entry {
            identity: None,
            next: Sequence(0),
            last_acked: None,
            in_flight: BTreeMap::new(),
        }
    }

    /// `startSequencesAtBeginning`.
    fn start_at_beginning(&mut self, identity: Identity, batches: &mut Batches, bug: Option<Bug>) {
        let mut order: Vec<BatchId> = self.in_flight.values().copied().collect();
        if bug == Some(Bug::Kafka5494RenumberOrder) {
            order.reverse();
        }
        self.in_flight.clear();
        let mut base = Sequence(0);
        for id in order {
            let batch = batches.get_mut(id);
            let numbered = Numbered { identity, base };
            batch.renumber(numbered);
            self.in_flight.insert(numbered, id);
            base = base.plus(batch.record_count());
        }
        self.identity = Some(identity);
        self.next = base;
        self.last_acked = None;
    }

    /// Whether the sequence follows the last acknowledged one.
    fn is_next(&self, sequence: Sequence) -> bool {
        let last = self.last_acked.unwrap_or(Sequence::NONE);
        i64::from(sequence.0) - i64::from(last.0) == 1
    }
}

impl TransactionManager {
    /// Without an id yet.
    pub(super) fn new(bug: Option<Bug>) -> Self {
        TransactionManager {
            identity: None,
            fatal: None,
            bump_required: false,
            rewrite: BTreeSet::new(),
            unresolved: BTreeMap::new(),
            partitions: BTreeMap::new(),
            bug,
        }
    }

    /// Whether batches may be numbered.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Why the producer can do nothing any more.
    pub(super) fn fatal_error(&self) -> Option<ClientError> {
        self.fatal
    }

    /// The producer can do nothing any more.
    pub(super) fn fail(&mut self, error: ClientError) {
        self.fatal.get_or_insert(error);
    }

    /// InitProducerId was answered. Batches that waited for it are renumbered.
    pub(super) fn set_identity(
        &mut self,
        identity: Identity,
        batches: &mut Batches,
    ) -> BTreeSet<TopicIdPartition> {
        self.identity = Some(identity);
        if self.bump_required {
            self.rewrite_sequences(identity, batches)
        } else {
            BTreeSet::new()
        }
    }

    /// Bumps the epoch if an answer made that necessary; an exhausted epoch takes a new id. The
    /// partitions whose batches were renumbered (`bumpIdempotentEpochAndResetIdIfNeeded`), or
    /// `None` if there was no bump.
    pub(super) fn maybe_bump(
        &mut self,
        batches: &mut Batches,
    ) -> Option<BTreeSet<TopicIdPartition>> {
        let identity = self.identity.filter(|_| self.bump_required)?;
        if identity.epoch == ProducerEpoch(i16::MAX) {
            self.identity = None;
            return None;
        }
        let bumped = Identity {
            epoch: ProducerEpoch(identity.epoch.0 + 1),
            ..identity
        };
        self.identity = Some(bumped);
        Some(self.rewrite_sequences(bumped, batches))
    }

    fn rewrite_sequences(
        &mut self,
        identity: Identity,
        batches: &mut Batches,
    ) -> BTreeSet<TopicIdPartition> {
        self.bump_required = false;
        let rewritten = std::mem::take(&mut self.rewrite);
        for partition in &rewritten {
            if let Some(entry) = self.partitions.get_mut(partition) {
                entry.start_at_beginning(identity, batches, self.bug);
            }
            self.unresolved.remove(partition);
        }
        rewritten
    }

    /// Once nothing is in flight where a sent batch expired, either everything behind it was
    /// acknowledged, or there is a gap that only a new epoch closes (`maybeResolveSequences`).
    pub(super) fn maybe_resolve_sequences(&mut self) {
        let resolvable = |partition: &TopicIdPartition| {
            let entry = self.partitions.get(partition);
            entry.is_none_or(|entry| entry.in_flight.is_empty())
        };
        let resolvable: Vec<TopicIdPartition> =
            self.unresolved.keys().copied().filter(resolvable).collect();
        for partition in resolvable {
            self.unresolved.remove(&partition);
            let entry = self.partitions.get(&partition);
            if entry.is_some_and(|entry| !entry.is_next(entry.next)) {
                self.request_bump(partition);
            }
        }
    }

    /// Whether a drained batch has to wait (`shouldStopDrainBatchesForPartition`).
    pub(super) fn must_wait(
        &self,
        partition: TopicIdPartition,
        numbered: Option<Numbered>,
    ) -> bool {
        if self.fatal.is_some() || self.identity.is_none() {
            return true;
        }
        let Some(entry) = self.partitions.get(&partition) else {
            return false;
        };
        match numbered {
            None => {
                let stale = entry.identity != self.identity;
                stale && !entry.in_flight.is_empty() || self.unresolved.contains_key(&partition)
            }
            // Of the batches that are being retried, the one with the lowest sequence goes first.
            Some(numbered) => entry
                .in_flight
                .first_key_value()
                .is_some_and(|(first, _)| first.base != numbered.base),
        }
    }

    /// The numbers of a batch that is drained for the first time; it is in flight from now on.
    pub(super) fn number(
        &mut self,
        partition: TopicIdPartition,
        id: BatchId,
        batches: &mut Batches,
    ) {
        let identity = self.identity.expect("nothing is drained without an id");
        let entry = self.partitions.entry(partition).or_insert_with(Entry::new);
        if entry.identity != Some(identity) && entry.in_flight.is_empty() {
            entry.start_at_beginning(identity, batches, self.bug);
        }
        let base = entry.next;
        let numbered = Numbered { identity, base };
        let batch = batches.get_mut(id);
        batch.number(numbered);
        entry.next = base.plus(batch.record_count());
        entry.in_flight.insert(numbered, id);
    }

    /// Tracks a part of a batch that was split.
    pub(super) fn track(&mut self, partition: TopicIdPartition, numbered: Numbered, id: BatchId) {
        let entry = self.partitions.entry(partition).or_insert_with(Entry::new);
        entry.in_flight.insert(numbered, id);
    }

    /// Forgets a batch that is no longer in flight (`removeInFlightBatch`).
    pub(super) fn untrack(
        &mut self,
        partition: TopicIdPartition,
        numbered: Option<Numbered>,
        id: BatchId,
    ) {
        let Some(numbered) = numbered else { return };
        let Some(entry) = self.partitions.get_mut(&partition) else {
            return;
        };
        if entry.in_flight.get(&numbered) == Some(&id) {
            entry.in_flight.remove(&numbered);
        }
    }

    /// A batch was acknowledged, also one that had expired before (`handleCompletedBatch`). What
    /// it says about sequences holds for its own epoch; Kafka takes it for the partition's.
    pub(super) fn on_completed(&mut self, id: BatchId, batches: &Batches) {
        let batch = batches.get(id);
        let identity = batch.numbered.map(|numbered| numbered.identity);
        if let Some(entry) = self.partitions.get_mut(&batch.partition)
            && entry.identity == identity
        {
            entry.last_acked = entry.last_acked.max(batch.last_sequence());
        }
        self.untrack(batch.partition, batch.numbered, id);
    }

    /// A batch was given up (`handleFailedBatch`). `adjust` is false where the broker may still
    /// append it under its sequence.
    pub(super) fn on_failed(
        &mut self,
        id: BatchId,
        error: ClientError,
        adjust: bool,
        batches: &Batches,
    ) {
        if is_fatal(error) {
            self.fail(error);
        }
        let batch = batches.get(id);
        self.untrack(batch.partition, batch.numbered, id);
        if self.fatal.is_some() || batch.numbered.is_none() {
            return;
        }
        match error {
            ClientError::Broker(ResponseError::OutOfOrderSequenceNumber) => {
                self.request_bump(batch.partition);
            }
            ClientError::Broker(ResponseError::UnknownProducerId) => {
                self.partitions.remove(&batch.partition);
                self.unresolved.remove(&batch.partition);
            }
            _ if adjust => self.request_bump(batch.partition),
            _ => {}
        }
    }

    /// A batch that had been sent before expired: its sequence may or may not be taken
    /// (`markSequenceUnresolved`).
    pub(super) fn mark_unresolved(&mut self, partition: TopicIdPartition, last: Sequence) {
        let next = last.plus(1);
        let unresolved = self.unresolved.entry(partition).or_insert(next);
        *unresolved = next.max(*unresolved);
    }

    /// Whether a refused batch is sent again, and the epoch bumped before, if that is what it
    /// takes (`canRetry`).
    pub(super) fn can_retry(
        &mut self,
        id: BatchId,
        answer: SequenceAnswer,
        batches: &Batches,
    ) -> bool {
        let batch = batches.get(id);
        let (partition, Some(numbered)) = (batch.partition, batch.numbered) else {
            return answer.error.is_retriable();
        };
        match answer.error {
            ResponseError::UnknownProducerId => {
                // Without a log start the broker had lost the partition meanwhile. A batch that
                // was renumbered already met the error with its old numbers.
                let log_start_known = answer.log_start != Offset::UNKNOWN;
                if log_start_known && !batch.was_reset() {
                    self.request_bump(partition);
                }
                true
            }
            ResponseError::OutOfOrderSequenceNumber => {
                self.on_out_of_order(partition, numbered, batch.was_reset());
                true
            }
            error => error.is_retriable(),
        }
    }

    /// Every out-of-order batch is sent again. Only the first in line proves a gap, and with it
    /// the need for a new epoch; those behind it fail because it failed.
    fn on_out_of_order(
        &mut self,
        partition: TopicIdPartition,
        numbered: Numbered,
        was_reset: bool,
    ) {
        let proves_gap = match self.unresolved.get(&partition) {
            None => {
                let entry = self.partitions.get(&partition);
                !was_reset && entry.is_some_and(|entry| entry.is_next(numbered.base))
            }
            Some(&unresolved) => numbered.base == unresolved,
        };
        if proves_gap {
            self.request_bump(partition);
        }
    }

    fn request_bump(&mut self, partition: TopicIdPartition) {
        self.bump_required = true;
        self.rewrite.insert(partition);
    }
}

/// Errors after which the producer is of no use (`maybeTransitionToErrorState`).
fn is_fatal(error: ClientError) -> bool {
    matches!(
        error,
        ClientError::UnsupportedVersion
            | ClientError::Broker(
                ResponseError::ClusterAuthorizationFailed
                    | ResponseError::TransactionalIdAuthorizationFailed
                    | ResponseError::ProducerFenced
                    | ResponseError::UnsupportedVersion
                    | ResponseError::InvalidProducerIdMapping
            )
    )
}
