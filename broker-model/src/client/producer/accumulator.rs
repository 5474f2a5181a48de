//! Records wait here, in batches by partition, until the sender takes them.
//!
//! Mirrors Kafka's `RecordAccumulator` and the accounting of its `BufferPool`. Knows batches and
//! their order, not requests; of sequences it only keeps the order that `txn_manager` gave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::batch::{BatchId, Batches, ProducerBatch, Record};
use super::txn_manager::TransactionManager;
use crate::client::metadata::Metadata;
use crate::config::ProducerConfig;
use crate::types::{NodeId, Now, Sequence, TopicIdPartition};
use crate::wire::batch::BATCH_OVERHEAD;

/// The batches of one producer that were not sent yet, or are to be sent again.
#[derive(Debug)]
pub(super) struct Accumulator {
    batch_size: usize,
    linger_ms: u64,
    delivery_timeout_ms: u64,
    max_request_size: usize,
    /// What is left of `buffer.memory`, in bytes.
    free: usize,
    /// Every batch, also those in flight.
    pub(super) batches: Batches,
    queues: BTreeMap<TopicIdPartition, Queue>,
    /// After which partition each node's next request starts, against starvation.
    drains_from: BTreeMap<NodeId, TopicIdPartition>,
    /// Records wait for memory: nothing lingers.
    pub(super) exhausted: bool,
    /// No record will follow: nothing lingers.
    pub(super) closed: bool,
}

#[derive(Default, Debug)]
struct Queue {
    batches: VecDeque<BatchId>,
    /// A batch is in flight and must stay the only one (`max.in.flight = 1`).
    muted: bool,
}

/// How an append went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Append {
    /// The record is in a batch.
    Done {
        /// By how many bytes the batches grew.
        bytes: usize,
        /// Whether the last batch of the partition waits for nothing more.
        batches_full: bool,
    },
    /// A batch would exceed `buffer.memory`.
    NoMemory,
}

impl Accumulator {
    /// Empty.
    pub(super) fn new(config: &ProducerConfig) -> Self {
        Accumulator {
            batch_size: config.batch_size,
            linger_ms: config.linger_ms,
            delivery_timeout_ms: config.delivery_timeout_ms,
            max_request_size: config.max_request_size,
            free: config.buffer_memory,
            batches: Batches::default(),
            queues: BTreeMap::new(),
            drains_from: BTreeMap::new(),
            exhausted: false,
            closed: false,
        }
    }

    /// Adds a record to the last batch of its partition, or to a new one. The record is left where
    /// it is if there is no memory for that.
    pub(super) fn append(
        &mut self,
        now: Now,
        partition: TopicIdPartition,
        record: &Record,
    ) -> Append {
        let queue = self.queues.entry(partition).or_default();
        let last = queue.batches.back().copied();
        if let Some(id) = last {
            let batch = self.batches.get_mut(id);
            if batch.has_room_for(record, self.batch_size) {
                let before = batch.size_max();
                batch.push(record.clone());
                return Append::Done {
                    bytes: batch.size_max() - before,
                    batches_full: batch.is_full(self.batch_size),
                };
            }
            batch.close();
        }
        let allocated = self.batch_size.max(BATCH_OVERHEAD + record.size_max());
        if self.free < allocated {
            return Append::NoMemory;
        }
        self.free -= allocated;
        let mut batch = ProducerBatch::new(partition, now.mono_ms, allocated);
        batch.push(record.clone());
        let bytes = batch.size_max();
        let batches_full = batch.is_full(self.batch_size);
        queue.batches.push_back(self.batches.insert(batch));
        Append::Done {
            bytes,
            batches_full,
        }
    }

    /// Lets a batch go that is neither queued nor in flight, and its memory with it.
    pub(super) fn deallocate(&mut self, id: BatchId) {
        self.free += self.batches.remove(id).allocated;
    }

    /// The nodes to which something can be sent now (`ready`). Asks for metadata where a leader is
    /// missing.
    pub(super) fn ready(&mut self, now: Now, metadata: &mut Metadata) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        let mut leaderless = false;
        for (&partition, queue) in &self.queues {
            let Some(&first) = queue.batches.front() else {
                continue;
            };
            let leader = metadata.current_leader(partition);
            self.batches.get_mut(first).saw_leader_epoch(leader.epoch);
            let Some(leader) = leader.leader else {
                leaderless = true;
                continue;
            };
            let due_ms = self.due_ms(queue, self.batches.get(first));
            if !queue.muted && due_ms <= now.mono_ms && !self.batches.get(first).is_backing_off(now)
            {
                nodes.insert(leader);
            }
        }
        if leaderless {
            metadata.request_update();
        }
        nodes
    }

    /// Takes the batches of one request to that node: the first of each partition that it leads,
    /// at most `max.request.size` bytes (`drainBatchesForOneNode`).
    pub(super) fn drain(
        &mut self,
        now: Now,
        node: NodeId,
        metadata: &Metadata,
        mut txn: Option<&mut TransactionManager>,
    ) -> Vec<BatchId> {
        let mut drained = Vec::new();
        let mut size = 0;
        for partition in self.partitions_of(node, metadata) {
            self.drains_from.insert(node, partition);
            let queue = self.queues.get_mut(&partition).expect("listed from there");
            let Some(&first) = queue.batches.front() else {
                continue;
            };
            let batch = self.batches.get(first);
            if queue.muted || batch.is_backing_off(now) {
                continue;
            }
            if self.max_request_size < size + batch.size_max() && !drained.is_empty() {
                break;
            }
            // One partition that waits holds up all of the node's
            // (`shouldStopDrainBatchesForPartition`).
            let waits = txn
                .as_deref()
                .is_some_and(|txn| txn.must_wait(partition, batch.numbered));
            if waits {
                break;
            }
            size += batch.size_max();
            let unnumbered = batch.numbered.is_none();
            queue.batches.pop_front();
            if let Some(txn) = txn.as_deref_mut().filter(|_| unnumbered) {
                txn.number(partition, first, &mut self.batches);
            }
            self.batches.get_mut(first).close();
            drained.push(first);
        }
        drained
    }

    /// Puts a batch back: first in its queue, or where its sequence belongs (`reenqueue`).
    pub(super) fn reenqueue(&mut self, id: BatchId) {
        let batch = self.batches.get(id);
        let base = batch.numbered.map(|numbered| numbered.base);
        let queue = self.queues.entry(batch.partition).or_default();
        let earlier = |other: &BatchId| {
            let other = self.batches.get(*other).numbered;
            other.is_some_and(|other| Some(other.base) < base)
        };
        let at = queue
            .batches
            .iter()
            .take_while(|other| earlier(other))
            .count();
        queue.batches.insert(at, id);
    }

    /// After the batches of a partition got new sequences, their order follows.
    pub(super) fn restore_sequence_order(&mut self, partition: TopicIdPartition) {
        let Some(queue) = self.queues.get_mut(&partition) else {
            return;
        };
        let sequence = |id: &BatchId| -> Sequence {
            let numbered = self.batches.get(*id).numbered;
            numbered.map_or(Sequence(i32::MAX), |numbered| numbered.base)
        };
        queue.batches.make_contiguous().sort_by_key(sequence);
    }

    /// Only one batch of the partition may be in flight: hold the others back, or not any more.
    pub(super) fn mute(&mut self, partition: TopicIdPartition, muted: bool) {
        self.queues.entry(partition).or_default().muted = muted;
    }

    /// Takes out the batches that waited for longer than `delivery.timeout.ms`.
    pub(super) fn take_expired(&mut self, now: Now) -> Vec<BatchId> {
        let mut expired = Vec::new();
        for queue in self.queues.values_mut() {
            while let Some(&first) = queue.batches.front() {
                let batch = self.batches.get(first);
                if !batch.is_expired(now, self.delivery_timeout_ms) {
                    break;
                }
                queue.batches.pop_front();
                expired.push(first);
            }
        }
        expired
    }

    /// Takes out everything that is queued.
    pub(super) fn take_all(&mut self) -> Vec<BatchId> {
        let queues = self.queues.values_mut();
        queues.flat_map(|queue| queue.batches.drain(..)).collect()
    }

    /// When a queued batch has to be looked at again, monotonic: it expires, has lingered, or has
    /// backed off. Batches that may go at once wait for a connection or an answer, not for time.
    pub(super) fn next_deadline_ms(&self, now: Now) -> Option<u64> {
        let deadlines = self.queues.values().filter_map(|queue| {
            let batch = self.batches.get(*queue.batches.front()?);
            let expiry_ms = batch.created_ms + self.delivery_timeout_ms;
            let due_ms = if batch.is_backing_off(now) {
                batch.retry_at_ms
            } else {
                self.due_ms(queue, batch)
            };
            let waits = now.mono_ms < due_ms;
            Some(if waits {
                due_ms.min(expiry_ms)
            } else {
                expiry_ms
            })
        });
        deadlines.min()
    }

    /// When the first batch of a queue has lingered enough, 0 if it need not linger.
    fn due_ms(&self, queue: &Queue, first: &ProducerBatch) -> u64 {
        let full = queue.batches.len() > 1 || first.is_full(self.batch_size);
        if full || self.exhausted || self.closed || first.in_retry() {
            0
        } else {
            first.created_ms + self.linger_ms
        }
    }

    /// The partitions that the node leads, from the one on that the last drain looked at last
    /// (`nodesDrainIndex`).
    fn partitions_of(&self, node: NodeId, metadata: &Metadata) -> Vec<TopicIdPartition> {
        let partitions = self.queues.keys().copied();
        let is_led =
            |partition: &TopicIdPartition| metadata.current_leader(*partition).leader == Some(node);
        let mut partitions: Vec<_> = partitions.filter(is_led).collect();
        if let Some(last) = self.drains_from.get(&node) {
            let start = partitions.partition_point(|partition| partition < last);
            let count = partitions.len().max(1);
            partitions.rotate_left(start % count);
        }
        partitions
    }
}
