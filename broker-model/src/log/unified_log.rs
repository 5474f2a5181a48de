//! One partition's log: appended at the end, cut at either end, with a high watermark.
//!
//! The log writes the header fields that a leader assigns, keeps what must be known of its batches,
//! and tells the judge. It does not ask whether it may: whether this broker leads, and how far the
//! high watermark can go, is for the caller to know.

use super::aborted_txns::{AbortedTxn, AbortedTxns};
use super::batch_index::{BatchIndex, IndexedBatch};
use super::leader_epochs::{Assigned, LeaderEpochCache};
use super::producer_state::ProducerStateManager;
use super::tail_cache::TailCache;
use crate::bug::Bug;
use crate::context::Context;
use crate::effect::{File, Write};
use crate::note::Note;
use crate::types::{LeaderEpoch, Offset, TopicIdPartition};

/// One partition's log.
///
/// log_start <= last_stable <= high_watermark <= log_end
#[derive(Clone, Debug)]
pub struct UnifiedLog {
    pub(super) partition: TopicIdPartition,
    pub(super) batches: BatchIndex,
    pub(super) tail: TailCache,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStateManager,
    pub(super) aborted: AbortedTxns,
    pub(super) log_start: Offset,
    pub(super) high_watermark: Offset,
    pub(super) log_end: Offset,
    as_leader: bool,
    leader_epoch: LeaderEpoch,
}

/// The offsets of a log at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The end for read_committed.
    pub last_stable: Offset,
    /// The end for consumers.
    pub high_watermark: Offset,
    /// The offset of the next record.
    pub log_end: Offset,
}

impl UnifiedLog {
    /// A log without a batch, for a partition that this broker had no replica of.
    pub fn create(cx: &mut Context<'_>, partition: TopicIdPartition) -> UnifiedLog {
        let log = UnifiedLog::empty(partition, Offset::ZERO);
        cx.effects.note(Note::LogRecovered {
            partition,
            log_start: log.log_start,
            log_end: log.log_end,
            epochs: Vec::new(),
            cut_bytes: 0,
            clean: true,
        });
        log
    }

    pub(super) fn empty(partition: TopicIdPartition, start: Offset) -> UnifiedLog {
        UnifiedLog {
            partition,
            batches: BatchIndex::default(),
            tail: TailCache::default(),
            epochs: LeaderEpochCache::new(),
            producers: ProducerStateManager::new(),
            aborted: AbortedTxns::default(),
            log_start: start,
            high_watermark: start,
            log_end: start,
            as_leader: false,
            leader_epoch: LeaderEpoch::NONE,
        }
    }

    /// Whose log it is.
    #[must_use]
    pub fn partition(&self) -> TopicIdPartition {
        self.partition
    }

    /// Its bytes.
    #[must_use]
    pub fn file(&self) -> File {
        File::PartitionLog(self.partition)
    }

    /// The length of the file, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.batches.end_position()
    }

    /// The first offset that can be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The end for consumers.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The end for read_committed: the high watermark, or the first record of the oldest transaction
    /// that is open, or whose end may still be lost.
    #[must_use]
    pub fn last_stable(&self) -> Offset {
        match self.producers.first_unstable() {
            None => self.high_watermark,
            Some(first) => first.clamp(self.log_start, self.high_watermark),
        }
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// All four offsets.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log_start,
            last_stable: self.last_stable(),
            high_watermark: self.high_watermark,
            log_end: self.log_end,
        }
    }

    /// The leader epochs of its batches.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    /// The largest leader epoch.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The largest epoch that is at most `requested`, and where it ends.
    #[must_use]
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(requested, self.log_end)
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_for(offset)
    }

    /// What is known of the producers.
    #[must_use]
    pub fn producers(&self) -> &ProducerStateManager {
        &self.producers
    }

    /// The aborted transactions that may have records in `from..to`.
    #[must_use]
    pub fn aborted_txns(&self, from: Offset, to: Offset) -> Vec<AbortedTxn> {
        self.aborted.overlapping(from, to)
    }

    /// This broker leads from now on; `epoch` starts here. Returns where that is.
    pub fn on_become_leader(&mut self, cx: &mut Context<'_>, epoch: LeaderEpoch) -> Offset {
        self.as_leader = true;
        self.leader_epoch = epoch;
        let before = self.offsets();
        if cx.has(Bug::Kafka5494NoRebuild) {
            self.producers.clear();
        }
        self.assign_epoch(cx, epoch, self.log_end);
        self.note_producers(cx);
        self.note_offsets(cx, before);
        self.log_end
    }

    /// This broker follows from now on.
    pub fn on_become_follower(&mut self, epoch: LeaderEpoch) {
        self.as_leader = false;
        self.leader_epoch = epoch;
    }

    /// Sets the high watermark, bounded by the log (`UnifiedLog.updateHighWatermark`): for a follower,
    /// and for a leader that starts. Returns it.
    pub fn update_high_watermark(&mut self, cx: &mut Context<'_>, to: Offset) -> Offset {
        let before = self.offsets();
        self.set_high_watermark(to.clamp(self.log_start, self.log_end));
        self.note_offsets(cx, before);
        self.high_watermark
    }

    /// A leader's followers have got to `to`. Returns whether the high watermark moved; it never moves
    /// back (`UnifiedLog.maybeIncrementHighWatermark`).
    pub fn maybe_increment_high_watermark(&mut self, cx: &mut Context<'_>, to: Offset) -> bool {
        assert!(
            to <= self.log_end,
            "high watermark {to} past log end {}",
            self.log_end
        );
        if to <= self.high_watermark {
            return false;
        }
        let before = self.offsets();
        self.set_high_watermark(to);
        self.note_offsets(cx, before);
        true
    }

    /// Forgets the producers that were idle for `producer.id.expiration.ms`.
    pub fn remove_expired_producers(&mut self, cx: &mut Context<'_>, expiration_ms: i64) {
        let producers = self.producers.remove_expired(cx.now.wall_ms, expiration_ms);
        if !producers.is_empty() {
            cx.effects.note(Note::ProducersExpired {
                partition: self.partition,
                producers,
            });
        }
    }

    /// Removes the file. The log is of no use afterwards.
    pub fn delete(self, cx: &mut Context<'_>) {
        cx.effects.write(self.file(), Write::Delete);
    }

    /// Lets producers and transactions know of a batch.
    pub(super) fn fold(&mut self, batch: &IndexedBatch) {
        let Some(txn) = self.producers.apply(batch) else {
            return;
        };
        if !txn.commit {
            self.aborted.push(AbortedTxn {
                producer: txn.producer,
                first: txn.first,
                last: txn.last,
                last_stable: self.producers.last_stable_after(&txn),
            });
        }
        self.producers.complete(&txn);
    }

    /// Builds the producer state anew from the batches that can be read.
    pub(super) fn rebuild_producers(&mut self) {
        self.producers.clear();
        self.aborted.clear();
        for at in self.batches.at(self.log_start)..self.batches.as_slice().len() {
            let batch = self.batches.as_slice()[at];
            self.fold(&batch);
        }
        self.producers.forget_txns_below(self.high_watermark);
    }

    pub(super) fn assign_epoch(&mut self, cx: &mut Context<'_>, epoch: LeaderEpoch, start: Offset) {
        match self.epochs.assign(epoch, start) {
            Assigned::Known => return,
            Assigned::Added => {}
            Assigned::AddedAfterCut => {
                let (_, kept) = self.epochs.entries().split_last().expect("one was added");
                self.note_epochs(cx, kept);
            }
        }
        cx.effects.note(Note::EpochAssigned {
            partition: self.partition,
            epoch,
            start,
        });
    }

    fn set_high_watermark(&mut self, to: Offset) {
        self.high_watermark = to;
        self.producers.forget_txns_below(to);
        self.check_order();
    }

    pub(super) fn check_order(&self) {
        let Offsets {
            log_start,
            last_stable,
            high_watermark,
            log_end,
        } = self.offsets();
        assert!(
            log_start <= last_stable,
            "log start {log_start} past last stable offset {last_stable}"
        );
        assert!(
            last_stable <= high_watermark,
            "last stable offset {last_stable} past high watermark {high_watermark}"
        );
        assert!(
            high_watermark <= log_end,
            "high watermark {high_watermark} past log end {log_end}"
        );
    }

    /// Tells the offsets if any but the log end is not what it was.
    pub(super) fn note_offsets(&self, cx: &mut Context<'_>, before: Offsets) {
        self.check_order();
        let now = self.offsets();
        if before.log_start != now.log_start {
            cx.effects.note(Note::LogStart {
                partition: self.partition,
                log_start: now.log_start,
            });
        }
        let moved = before.log_start != now.log_start
            || before.last_stable != now.last_stable
            || before.high_watermark != now.high_watermark;
        if moved {
            cx.effects.note(Note::HighWatermark {
                partition: self.partition,
                as_leader: self.as_leader,
                leader_epoch: self.leader_epoch,
                log_start: now.log_start,
                last_stable: now.last_stable,
                high_watermark: now.high_watermark,
                log_end: now.log_end,
            });
        }
    }

    pub(super) fn note_epochs(&self, cx: &mut Context<'_>, left: &[(LeaderEpoch, Offset)]) {
        cx.effects.note(Note::EpochsCut {
            partition: self.partition,
            epochs: left.to_vec(),
        });
    }

    pub(super) fn note_producers(&self, cx: &mut Context<'_>) {
        cx.effects.note(Note::ProducerState {
            partition: self.partition,
            end: self.log_end,
            producers: self.producers.note(),
        });
    }
}
