//! Reading a log back after the process stopped.
//!
//! The whole file is read, whether the stop was clean or not: the batches are undamaged and without a
//! gap up to some byte, and the rest, torn off by a power loss, is cut. Epochs and producer state
//! follow from the batches. Mirrors `LogLoader` and `LogSegment.recover`, without their checkpoint and
//! snapshot files.

use super::append::is_stored_batch;
use super::batch_index::IndexedBatch;
use super::tail_cache::TailCache;
use super::unified_log::UnifiedLog;
use crate::context::Context;
use crate::effect::{DiskRead, File, Write};
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{Offset, TopicIdPartition};
use crate::wire::batch::BatchIter;

/// What recovery found, to be told with [`UnifiedLog::report_recovery`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryReport {
    /// Bytes at the end of the file that are no batches.
    pub cut_bytes: u64,
    /// Whether the clean-shutdown marker was there.
    pub clean: bool,
}

impl UnifiedLog {
    /// Reads a log. `log_start` is the checkpointed log start, 0 without one; `clean` is whether the
    /// broker had stopped in order. The high watermark is the log start until it is updated.
    #[must_use]
    pub fn recover(
        partition: TopicIdPartition,
        disk: &dyn DiskRead,
        log_start: Offset,
        clean: bool,
    ) -> (UnifiedLog, RecoveryReport) {
        let file = File::PartitionLog(partition);
        let bytes = disk.read_all(file).unwrap_or_default();
        let mut log = UnifiedLog::empty(partition, log_start);
        log.read_batches(&bytes);
        if log.log_end < log_start {
            // What the checkpoint promised to be deleted is all that is left.
            log = UnifiedLog::empty(partition, log_start);
        }
        log.tail = TailCache::new(log.size());
        log.epochs.truncate_from_start(log.log_start);
        log.epochs.truncate_from_end(log.log_end);
        log.rebuild_producers();
        log.check_order();
        let cut_bytes = bytes.len() as u64 - log.size();
        (log, RecoveryReport { cut_bytes, clean })
    }

    /// Cuts the torn tail that recovery found, and tells what it found. Comes once, in the first step.
    pub fn report_recovery(&mut self, cx: &mut Context<'_>, report: &RecoveryReport) {
        if 0 < report.cut_bytes {
            let len = self.size();
            cx.effects.write(self.file(), Write::Truncate { len });
            self.tail.truncate(len, len + report.cut_bytes);
            cx.effects.probe(Probe::TornTailCut);
        }
        cx.effects.note(Note::LogRecovered {
            partition: self.partition,
            log_start: self.log_start,
            log_end: self.log_end,
            epochs: self.epochs.entries().to_vec(),
            cut_bytes: report.cut_bytes,
            clean: report.clean,
        });
        self.note_producers(cx);
    }

    /// Takes over the batches up to the first that is damaged or does not follow.
    fn read_batches(&mut self, bytes: &[u8]) {
        for batch in BatchIter::new(bytes) {
            let Ok(batch) = batch else { return };
            let follows = batch.position == 0 || batch.header.base_offset == self.log_end;
            if !follows || !is_stored_batch(&batch) {
                return;
            }
            let indexed = IndexedBatch::new(&batch.header, self.size(), batch.bytes);
            if batch.position == 0 {
                self.log_start = self.log_start.max(indexed.base);
                self.high_watermark = self.log_start;
            }
            self.epochs.assign(indexed.epoch, indexed.base);
            self.batches.push(indexed);
            self.log_end = indexed.last.next();
        }
    }
}
