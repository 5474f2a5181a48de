//! Cutting a log at either end.
//!
//! Mirrors `UnifiedLog.truncateTo`, `truncateFullyAndStartAt`, `maybeIncrementLogStartOffset` and
//! `Partition.deleteRecordsOnLeader`. Kafka ends a log that is cut inside a batch at the very offset
//! asked for; here it ends at the batch, so that no offset is ever missing.

use super::unified_log::UnifiedLog;
use crate::context::Context;
use crate::effect::Write;
use crate::note::Note;
use crate::types::{Offset, ResponseError};

impl UnifiedLog {
    /// Moves the log start up to `to` (`UnifiedLog.maybeIncrementLogStartOffset`); the records before it
    /// can no longer be read. Returns whether it moved.
    pub fn maybe_increment_log_start(
        &mut self,
        cx: &mut Context<'_>,
        to: Offset,
    ) -> Result<bool, ResponseError> {
        if self.high_watermark < to {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if to <= self.log_start {
            return Ok(false);
        }
        let before = self.offsets();
        self.log_start = to;
        self.producers.forget_txns_below(to);
        if self.epochs.truncate_from_start(to) {
            self.note_epochs(cx, self.epochs.entries());
        }
        self.note_offsets(cx, before);
        Ok(true)
    }

    /// Deletes the records before `to`, or with -1 all that consumers can read (`DeleteRecords`).
    /// Returns the log start.
    pub fn delete_records(
        &mut self,
        cx: &mut Context<'_>,
        to: Offset,
    ) -> Result<Offset, ResponseError> {
        let to = if to == Offset::UNKNOWN {
            self.high_watermark
        } else {
            to
        };
        if to < Offset::ZERO {
            return Err(ResponseError::OffsetOutOfRange);
        }
        self.maybe_increment_log_start(cx, to)?;
        Ok(self.log_start)
    }

    /// Cuts the log so that it ends at `target` or, where that lies inside a batch, before that batch.
    /// Returns whether any record went.
    pub fn truncate_to(&mut self, cx: &mut Context<'_>, target: Offset) -> bool {
        assert!(Offset::ZERO <= target, "a log cannot end at {target}");
        if self.log_end <= target {
            // A leader that wrote nothing has left the start of its epoch at the log end.
            self.truncate_epochs(cx);
            return false;
        }
        if self.batches.first().is_none_or(|first| target < first.base) {
            self.truncate_fully_and_start_at(cx, target);
            return true;
        }
        let first = self
            .batches
            .truncate(target)
            .expect("the log holds a record at or after its target");
        self.cut(cx, first.base, self.log_start.min(first.base));
        true
    }

    /// Removes every record; the log goes on at `start`.
    pub fn truncate_fully_and_start_at(&mut self, cx: &mut Context<'_>, start: Offset) {
        self.batches.clear();
        self.cut(cx, start, start);
    }

    /// Lets the file and everything that is known of the batches follow a cut of the batches.
    fn cut(&mut self, cx: &mut Context<'_>, log_end: Offset, log_start: Offset) {
        let before = self.offsets();
        self.cut_file(cx);
        cx.effects.note(Note::Truncate {
            partition: self.partition,
            to: log_end,
            log_end: before.log_end,
            high_watermark: before.high_watermark,
        });
        self.log_end = log_end;
        self.log_start = log_start;
        self.high_watermark = self.high_watermark.clamp(log_start, log_end);
        self.truncate_epochs(cx);
        self.truncate_producers(cx);
        self.note_offsets(cx, before);
    }

    fn cut_file(&mut self, cx: &mut Context<'_>) {
        let len = self.size();
        if len < self.tail.end() {
            cx.effects.write(self.file(), Write::Truncate { len });
            let on_disk = cx.disk.len(self.file()).unwrap_or(0);
            self.tail.truncate(len, on_disk);
        }
    }

    fn truncate_epochs(&mut self, cx: &mut Context<'_>) {
        let cut = if self.batches.as_slice().is_empty() {
            self.epochs.clear()
        } else {
            self.epochs.truncate_from_end(self.log_end)
        };
        if cut {
            self.note_epochs(cx, self.epochs.entries());
        }
    }

    fn truncate_producers(&mut self, cx: &mut Context<'_>) {
        if self.batches.as_slice().is_empty() {
            self.aborted.clear();
        }
        self.aborted.truncate(self.log_end);
        // A log that knows no producer is not read again, as in Kafka: those it had are expired.
        if !self.producers.is_empty() {
            self.rebuild_producers();
        }
        self.note_producers(cx);
    }
}
