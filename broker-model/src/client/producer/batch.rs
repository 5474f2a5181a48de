//! A batch of records of one partition on its way to the log, and all batches of a producer.
//!
//! Mirrors Kafka's `ProducerBatch`. Records are kept as they came and encoded when the batch is
//! sent, so that renumbering and splitting need no patching of bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::client::command::{ClientError, Event, Header, OpId, SendOutcome};
use crate::effect::Effects;
use crate::types::{
    LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, TopicIdPartition,
};
use crate::wire::batch::{BATCH_OVERHEAD, ProducerState};
use crate::wire::build::{BatchBuilder, record_bytes_max};

/// Names a batch of one producer, in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BatchId(u64);

/// A producer id and epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Identity {
    /// The producer.
    pub(super) id: ProducerId,
    /// Its incarnation.
    pub(super) epoch: ProducerEpoch,
}

/// Where a batch stands among those of its identity and partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Numbered {
    /// Whose sequence it is.
    pub(super) identity: Identity,
    /// The sequence of its first record.
    pub(super) base: Sequence,
}

/// One record of the application.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The send call.
    pub(super) op: OpId,
    /// CreateTime, in ms since 1970.
    pub(super) timestamp_ms: i64,
    /// Its key.
    pub(super) key: Option<Bytes>,
    /// Its value.
    pub(super) value: Bytes,
    /// Its headers.
    pub(super) headers: Vec<Header>,
}

impl Record {
    /// At most a few bytes more than it takes in a batch.
    pub(super) fn size_max(&self) -> usize {
        record_bytes_max(self.key.as_deref(), Some(&self.value), &self.wire_headers())
    }

    /// Its headers as they are encoded.
    fn wire_headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        let headers = self.headers.iter();
        headers
            .map(|header| (&*header.key, header.value.as_deref()))
            .collect()
    }
}

/// A batch of records.
#[derive(Debug)]
pub(super) struct ProducerBatch {
    /// Where it goes.
    pub(super) partition: TopicIdPartition,
    /// When `delivery.timeout.ms` started, monotonic.
    pub(super) created_ms: u64,
    /// How often it was put back (`attempts`); wire attempts are `sent`.
    pub(super) retries: u32,
    /// Not to be sent again before this moment, monotonic.
    pub(super) retry_at_ms: u64,
    /// Its producer id, epoch and first sequence, once it was drained.
    pub(super) numbered: Option<Numbered>,
    /// The numbers were given anew at least once.
    pub(super) renumbered: bool,
    /// A request with it is unanswered.
    pub(super) in_flight: bool,
    /// The application was told how it ended.
    pub(super) done: bool,
    /// An earlier attempt may have had an effect.
    pub(super) uncertain: bool,
    /// The bytes of `buffer.memory` that it holds.
    pub(super) allocated: usize,
    records: Vec<Record>,
    size_max: usize,
    closed: bool,
    /// It was cut from a larger one.
    is_split: bool,
    leader_epoch: LeaderEpoch,
    /// `retries` when the newest leader epoch was first seen.
    retries_at_leader_change: Option<u32>,
    sent: u32,
    last_sent: Option<Numbered>,
    encoded: Option<Bytes>,
}

impl ProducerBatch {
    /// An open batch without records.
    pub(super) fn new(partition: TopicIdPartition, created_ms: u64, allocated: usize) -> Self {
        ProducerBatch {
            partition,
            created_ms,
            retries: 0,
            retry_at_ms: 0,
            numbered: None,
            renumbered: false,
            in_flight: false,
            done: false,
            uncertain: false,
            allocated,
            records: Vec::new(),
            size_max: BATCH_OVERHEAD,
            closed: false,
            is_split: false,
            leader_epoch: LeaderEpoch::NONE,
            retries_at_leader_change: None,
            sent: 0,
            last_sent: None,
            encoded: None,
        }
    }

    /// Whether the record still goes in; a batch takes its first record whatever the size.
    pub(super) fn has_room_for(&self, record: &Record, batch_size: usize) -> bool {
        let fits = self.size_max + record.size_max() <= batch_size;
        !self.closed && (self.records.is_empty() || fits)
    }

    /// Adds a record that there is room for.
    pub(super) fn push(&mut self, record: Record) {
        assert!(
            self.last_sent.is_none(),
            "a record was added to a sent batch"
        );
        self.size_max += record.size_max();
        self.records.push(record);
    }

    /// No more records.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether it waits for nothing more.
    pub(super) fn is_full(&self, batch_size: usize) -> bool {
        self.closed || batch_size <= self.size_max
    }

    /// At most a few bytes more than it takes on the wire.
    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// How many records it has.
    pub(super) fn record_count(&self) -> i32 {
        i32::try_from(self.records.len()).expect("a batch is bounded by batch.size")
    }

    /// The sequence of its last record.
    pub(super) fn last_sequence(&self) -> Option<Sequence> {
        let base = self.numbered?.base;
        Some(base.plus(self.record_count() - 1))
    }

    /// Whether it was put back at least once (`inRetry`).
    pub(super) fn in_retry(&self) -> bool {
        self.retries > 0
    }

    /// Gives it its first numbers.
    pub(super) fn number(&mut self, numbered: Numbered) {
        self.numbered = Some(numbered);
        self.encoded = None;
    }

    /// Gives it other numbers (`resetProducerState`).
    pub(super) fn renumber(&mut self, numbered: Numbered) {
        self.number(numbered);
        self.renumbered = true;
    }

    /// Whether its numbers changed since it was last sent (`sequenceHasBeenReset`): what is said
    /// about the old ones does not concern the new ones.
    pub(super) fn was_reset(&self) -> bool {
        self.last_sent != self.numbered
    }

    /// It was put back to be sent again.
    pub(super) fn reenqueued(&mut self, retry_at_ms: u64) {
        self.retries += 1;
        self.retry_at_ms = retry_at_ms;
        self.in_flight = false;
    }

    /// Notices a newer leader: a retry that waits for it need not wait any longer (KIP-951).
    pub(super) fn saw_leader_epoch(&mut self, epoch: LeaderEpoch) {
        if self.leader_epoch < epoch {
            self.leader_epoch = epoch;
            self.retries_at_leader_change = Some(self.retries);
        }
    }

    /// Whether it has to wait before it is sent again.
    pub(super) fn is_backing_off(&self, now: Now) -> bool {
        let leader_changed = self.retries_at_leader_change == Some(self.retries);
        self.in_retry() && !leader_changed && now.mono_ms < self.retry_at_ms
    }

    /// Whether `delivery.timeout.ms` is over.
    pub(super) fn is_expired(&self, now: Now, delivery_timeout_ms: u64) -> bool {
        self.created_ms + delivery_timeout_ms <= now.mono_ms
    }

    /// The bytes for a request, made for the first attempt and after each renumbering.
    pub(super) fn send(&mut self) -> Bytes {
        self.closed = true;
        self.in_flight = true;
        self.sent += 1;
        self.last_sent = self.numbered;
        if let Some(encoded) = &self.encoded {
            return encoded.clone();
        }
        let mut builder = BatchBuilder::with_capacity(self.size_max);
        if let Some(Numbered { identity, base }) = self.numbered {
            builder = builder.by(ProducerState {
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                base_sequence: base,
                transactional: false,
            });
        }
        for record in &self.records {
            let value = Some(&record.value[..]);
            builder.push(
                record.timestamp_ms,
                record.key.as_deref(),
                value,
                &record.wire_headers(),
            );
        }
        self.encoded.insert(builder.build()).clone()
    }

    /// Cuts it into smaller batches (`splitAndReenqueue`): of at most `batch_size` bytes, or half its
    /// own if it was cut from another one, or of one record. They count as not tried.
    pub(super) fn split(&mut self, batch_size: usize) -> Vec<ProducerBatch> {
        let batch_size = match self.is_split {
            true => self.size_max / 2,
            false => batch_size,
        };
        let mut parts: Vec<ProducerBatch> = Vec::new();
        let mut next = self.numbered;
        for record in self.records.drain(..) {
            let room = parts
                .last()
                .is_some_and(|part| part.has_room_for(&record, batch_size));
            if !room {
                parts.push(ProducerBatch {
                    is_split: true,
                    renumbered: self.renumbered,
                    uncertain: self.uncertain,
                    sent: self.sent,
                    numbered: next,
                    closed: false,
                    ..ProducerBatch::new(self.partition, self.created_ms, 0)
                });
            }
            let part = parts.last_mut().expect("just pushed");
            part.push(record);
            if let Some(next) = &mut next {
                next.base = next.base.plus(1);
            }
        }
        for part in &mut parts {
            part.close();
        }
        parts
    }

    /// Tells the application that every record is in the log, the first at `base_offset`.
    pub(super) fn acknowledge(&mut self, base_offset: Offset, effects: &mut Effects) {
        assert!(
            !self.done,
            "a batch of {} ended twice",
            self.partition.partition
        );
        self.done = true;
        for (at, record) in (0..).zip(&self.records) {
            let offset = if base_offset == Offset::UNKNOWN {
                Offset::UNKNOWN
            } else {
                base_offset + i64::from(at)
            };
            let outcome = SendOutcome::Acknowledged {
                partition: self.partition,
                offset,
                attempts: self.sent,
                identity: self.identity_at(at),
                renumbered: self.renumbered,
            };
            let op = record.op;
            effects.event(Event::Sent { op, outcome });
        }
    }

    /// Tells the application that it was given up.
    pub(super) fn fail(&mut self, error: ClientError, effects: &mut Effects) {
        assert!(
            !self.done,
            "a batch of {} ended twice",
            self.partition.partition
        );
        self.done = true;
        for (at, record) in (0..).zip(&self.records) {
            let outcome = SendOutcome::Failed {
                partition: Some(self.partition),
                error,
                attempts: self.sent,
                definite: !self.uncertain && !self.in_flight,
                identity: self.identity_at(at),
                renumbered: self.renumbered,
            };
            let op = record.op;
            effects.event(Event::Sent { op, outcome });
        }
    }

    /// Under which numbers the record at that place was last sent.
    fn identity_at(&self, at: i32) -> Option<(ProducerId, ProducerEpoch, Sequence)> {
        let Numbered { identity, base } = self.last_sent?;
        Some((identity.id, identity.epoch, base.plus(at)))
    }
}

/// Every batch that is queued, in flight, or unanswered after it expired.
#[derive(Default, Debug)]
pub(super) struct Batches {
    next: u64,
    batches: BTreeMap<BatchId, ProducerBatch>,
}

impl Batches {
    /// Takes a batch in.
    pub(super) fn insert(&mut self, batch: ProducerBatch) -> BatchId {
        let id = BatchId(self.next);
        self.next += 1;
        self.batches.insert(id, batch);
        id
    }

    /// A batch that is still held.
    pub(super) fn get(&self, id: BatchId) -> &ProducerBatch {
        self.batches.get(&id).expect("ids of held batches only")
    }

    /// A batch that is still held.
    pub(super) fn get_mut(&mut self, id: BatchId) -> &mut ProducerBatch {
        self.batches.get_mut(&id).expect("ids of held batches only")
    }

    /// Lets a batch go.
    pub(super) fn remove(&mut self, id: BatchId) -> ProducerBatch {
        self.batches.remove(&id).expect("ids of held batches only")
    }

    /// Whether none is held.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}
