//! The metadata log: batches, epochs, the flushed end and the high watermark.
//!
//! Every batch stays in memory: as [`Bytes`] they are shared with the disk's, and what was written in
//! a step can be read in it. The file holds the same bytes in the same order. Starts at offset 0: no
//! snapshots. Mirrors Kafka's `KafkaMetadataLog` and, for epochs, `LeaderEpochFileCache`.

use bytes::{Bytes, BytesMut};

use super::CommittedBatch;
use crate::effect::{DiskRead, Effects, File, Write};
use crate::note::Note;
use crate::types::{FlushId, FlushOwner, LeaderEpoch, Offset};
use crate::wire::batch::{Batch, BatchHeader, BatchIter};

/// handed_out <= high_watermark <= end, flushed <= end; epochs ascend in both fields
#[derive(Debug)]
pub(super) struct MetadataLog {
    batches: Vec<Stored>,
    /// (epoch, its first offset)
    epochs: Vec<(LeaderEpoch, Offset)>,
    end: Offset,
    /// In bytes.
    file_len: u64,
    flushed: Offset,
    /// The flush that runs, and the end that it makes durable.
    flushing: Option<(FlushId, Offset)>,
    /// Whether another flush has to follow.
    flush_again: bool,
    flushes: u64,
    high_watermark: Offset,
    /// How many batches were handed out as committed.
    handed_out: usize,
}

#[derive(Debug)]
struct Stored {
    base: Offset,
    last: Offset,
    epoch: LeaderEpoch,
    /// Where it starts in the file.
    position: u64,
    bytes: Bytes,
}

impl MetadataLog {
    /// Reads the file. A tail that is torn, or does not continue the log, is left out; how many
    /// bytes that is comes back beside the log, for [`MetadataLog::cut_torn_tail`].
    pub(super) fn recover(disk: &dyn DiskRead) -> (Self, u64) {
        let mut log = MetadataLog {
            batches: Vec::new(),
            epochs: Vec::new(),
            end: Offset::ZERO,
            file_len: 0,
            flushed: Offset::ZERO,
            flushing: None,
            flush_again: false,
            flushes: 0,
            high_watermark: Offset::ZERO,
            handed_out: 0,
        };
        let bytes = disk.read_all(File::MetadataLog).unwrap_or_default();
        let no_bound = LeaderEpoch(i32::MAX);
        for batch in log.continuing(&bytes, no_bound) {
            log.keep(&batch, no_bound);
        }
        let torn = bytes.len() as u64 - log.file_len;
        (log, torn)
    }

    /// Cuts what [`MetadataLog::recover`] left out.
    pub(super) fn cut_torn_tail(&self, effects: &mut Effects) {
        let len = self.file_len;
        effects.write(File::MetadataLog, Write::Truncate { len });
    }

    /// The offset of the next record.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// The log is on disk up to here.
    pub(super) fn flushed(&self) -> Offset {
        self.flushed
    }

    /// What this node knows to be committed.
    pub(super) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The epoch of the last record, 0 for an empty log: that epoch has neither leader nor records.
    pub(super) fn last_epoch(&self) -> LeaderEpoch {
        self.epochs
            .last()
            .map_or(LeaderEpoch(0), |&(epoch, _)| epoch)
    }

    /// The largest known epoch up to `epoch`, and where it ends (`LeaderEpochFileCache.endOffsetFor`,
    /// with `KafkaMetadataLog`'s answer for an epoch beyond all).
    pub(super) fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let above = self.epochs.partition_point(|&(known, _)| known <= epoch);
        let Some(&(_, end)) = self.epochs.get(above) else {
            return (self.last_epoch(), self.end);
        };
        match above.checked_sub(1) {
            Some(floor) => (self.epochs[floor].0, end),
            None => (epoch, end),
        }
    }

    /// A leader's epoch starts at the end of its log, also before it appended anything.
    pub(super) fn start_epoch(&mut self, epoch: LeaderEpoch) {
        assert!(
            self.last_epoch() < epoch,
            "epoch {epoch} starts behind epoch {} of the log",
            self.last_epoch()
        );
        self.epochs.push((epoch, self.end));
    }

    /// Appends those batches of `records` that continue the log and are of no later epoch than
    /// `epoch`; the rest is not kept, as Kafka drops what is corrupt or from the future
    /// (KAFKA-18723). True if all were appended.
    pub(super) fn append(
        &mut self,
        effects: &mut Effects,
        records: &Bytes,
        epoch: LeaderEpoch,
    ) -> bool {
        let before = self.file_len;
        let first = self.batches.len();
        for batch in self.continuing(records, epoch) {
            self.keep(&batch, epoch);
        }
        let appended = usize::try_from(self.file_len - before).expect("a part of the records");
        if 0 < appended {
            let whole = records.slice(..appended);
            effects.write(File::MetadataLog, Write::Append(whole));
        }
        for stored in &self.batches[first..] {
            effects.note(Note::RaftAppend {
                epoch: stored.epoch,
                base: stored.base,
                last: stored.last,
                crc: stored.header().crc,
            });
        }
        appended == records.len()
    }

    /// Whole batches from the one that holds `from` on, up to `max_bytes` but at least one; nothing at
    /// the log's end. One batch comes without a copy.
    pub(super) fn read(&self, from: Offset, max_bytes: usize) -> Bytes {
        let first = self.batches.partition_point(|batch| batch.last < from);
        let rest = &self.batches[first..];
        let mut size = 0;
        let fitting = rest.iter().take_while(|batch| {
            size += batch.bytes.len();
            size <= max_bytes
        });
        match &rest[..fitting.count().max(1).min(rest.len())] {
            [] => Bytes::new(),
            [one] => one.bytes.clone(),
            several => {
                let size = several.iter().map(|batch| batch.bytes.len()).sum();
                let mut bytes = BytesMut::with_capacity(size);
                several
                    .iter()
                    .for_each(|batch| bytes.extend_from_slice(&batch.bytes));
                bytes.freeze()
            }
        }
    }

    /// Where a follower has to cut when its leader says that `epoch` ends at `end`
    /// (`ReplicatedLog.truncateToEndOffset`).
    pub(super) fn truncation_offset(&self, epoch: LeaderEpoch, end: Offset) -> Offset {
        if epoch == LeaderEpoch(0) {
            return end.min(self.end);
        }
        let (known, local_end) = self.end_offset_for_epoch(epoch);
        let to = if known == epoch {
            local_end.min(end)
        } else {
            local_end
        };
        self.batch_start(to)
    }

    /// Cuts the log to `to`, the start of a batch.
    pub(super) fn truncate(&mut self, effects: &mut Effects, to: Offset) {
        assert!(
            self.high_watermark <= to,
            "the log is cut to {to}, below its high watermark {}",
            self.high_watermark
        );
        assert_eq!(self.batch_start(to), to, "the log is cut inside a batch");
        let log_end = self.end;
        let kept = self.batches.partition_point(|batch| batch.base < to);
        if let Some(first_cut) = self.batches.get(kept) {
            self.file_len = first_cut.position;
        }
        self.batches.truncate(kept);
        self.epochs.retain(|&(_, start)| start < to);
        self.end = self.end.min(to);
        self.flushed = self.flushed.min(self.end);
        if let Some((_, flushing)) = &mut self.flushing {
            *flushing = (*flushing).min(self.end);
        }
        self.cut_torn_tail(effects);
        effects.note(Note::RaftTruncate {
            to: self.end,
            log_end,
        });
    }

    /// Asks for everything appended so far to be made durable. One flush runs at a time; one more
    /// follows for what came meanwhile.
    pub(super) fn flush(&mut self, effects: &mut Effects) {
        if self.flushing.is_some() {
            self.flush_again = true;
            return;
        }
        self.flushes += 1;
        let id = FlushId::new(FlushOwner::Raft, self.flushes * 2);
        self.flushing = Some((id, self.end));
        effects.flush(File::MetadataLog, id);
    }

    /// Whether a flush is awaited.
    pub(super) fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// A flush ended. True if it was the log's.
    pub(super) fn on_flushed(&mut self, effects: &mut Effects, id: FlushId) -> bool {
        let Some((_, to)) = self.flushing.take_if(|(flushing, _)| *flushing == id) else {
            return false;
        };
        if self.flushed < to {
            self.flushed = to;
            effects.note(Note::RaftFlushed { to });
        }
        if self.flush_again {
            self.flush_again = false;
            self.flush(effects);
        }
        true
    }

    /// Moves the high watermark up to `to`, as far as the log goes. False if it is there already.
    pub(super) fn update_high_watermark(&mut self, to: Offset) -> bool {
        let to = to.min(self.end);
        let moves = self.high_watermark < to;
        if moves {
            self.high_watermark = to;
        }
        moves
    }

    /// The next batch below the high watermark that was not handed out yet.
    pub(super) fn next_committed(&mut self) -> Option<CommittedBatch> {
        let next = self.batches.get(self.handed_out)?;
        if self.high_watermark <= next.last {
            return None;
        }
        self.handed_out += 1;
        Some(next.committed())
    }

    /// Whether everything up to and including `offset` was handed out.
    pub(super) fn has_handed_out(&self, offset: Offset) -> bool {
        let last = self.handed_out.checked_sub(1);
        last.is_some_and(|last| offset <= self.batches[last].last)
    }

    /// The batches at the start of `records` that continue this log.
    fn continuing(&self, records: &Bytes, bound: LeaderEpoch) -> Vec<Bytes> {
        let (mut end, mut last_epoch) = (self.end, self.last_epoch());
        let mut found = Vec::new();
        for batch in BatchIter::new(records) {
            let Ok(batch) = batch else { break };
            let epoch = batch.header.partition_leader_epoch;
            let continues = batch.header.base_offset == end
                && end <= batch.header.last_offset()
                && (last_epoch..=bound).contains(&epoch);
            if !continues || !batch.is_crc_valid() {
                break;
            }
            end = batch.header.next_offset();
            last_epoch = epoch;
            found.push(records.slice_ref(batch.bytes));
        }
        found
    }

    fn keep(&mut self, bytes: &Bytes, bound: LeaderEpoch) {
        let header = BatchHeader::parse(bytes).expect("only checked batches are kept");
        let epoch = header.partition_leader_epoch;
        assert_eq!(self.end, header.base_offset, "a batch leaves a gap");
        assert!(epoch <= bound, "a batch of epoch {epoch} after {bound}");
        if self.last_epoch() < epoch {
            self.epochs.push((epoch, self.end));
        }
        self.batches.push(Stored {
            base: header.base_offset,
            last: header.last_offset(),
            epoch,
            position: self.file_len,
            bytes: bytes.clone(),
        });
        self.end = header.next_offset();
        self.file_len += bytes.len() as u64;
    }

    /// `offset`, or the start of the batch that it lies inside.
    fn batch_start(&self, offset: Offset) -> Offset {
        let at = self.batches.partition_point(|batch| batch.last < offset);
        let batch = self.batches.get(at);
        batch.map_or(self.end, |batch| batch.base)
    }
}

impl Stored {
    fn header(&self) -> BatchHeader {
        BatchHeader::parse(&self.bytes).expect("only checked batches are kept")
    }

    fn committed(&self) -> CommittedBatch {
        let batch = Batch::parse(&self.bytes).expect("only checked batches are kept");
        let values = batch.records().filter_map(|record| record.ok()?.value);
        CommittedBatch {
            base: self.base,
            last: self.last,
            epoch: self.epoch,
            append_time_ms: batch.header.max_timestamp,
            records: values.map(|value| self.bytes.slice_ref(value)).collect(),
            control: batch.header.attributes.is_control(),
            crc: batch.header.crc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::tests::disk::MemoryDisk;
    use crate::wire::build::BatchBuilder;

    fn batch(base: i64, epoch: i32, values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(epoch));
        for value in values {
            builder.push(1_000, None, Some(value.as_bytes()), &[]);
        }
        builder.build()
    }

    fn log_of(batches: &[Bytes]) -> MetadataLog {
        let (mut log, _) = MetadataLog::recover(&MemoryDisk::default());
        let mut effects = Effects::new();
        for batch in batches {
            assert!(log.append(&mut effects, batch, LeaderEpoch(i32::MAX)));
        }
        log
    }

    /// e1: 0, 1, 2 · e3: 3, 4 · e4: 5
    fn three_epochs() -> MetadataLog {
        log_of(&[
            batch(0, 1, &["a"]),
            batch(1, 1, &["b", "c"]),
            batch(3, 3, &["d", "e"]),
            batch(5, 4, &["f"]),
        ])
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next_one() {
        let log = three_epochs();
        let end = |epoch| log.end_offset_for_epoch(LeaderEpoch(epoch));
        assert_eq!(end(0), (LeaderEpoch(0), Offset(0)));
        assert_eq!(end(1), (LeaderEpoch(1), Offset(3)));
        assert_eq!(end(2), (LeaderEpoch(1), Offset(3)));
        assert_eq!(end(3), (LeaderEpoch(3), Offset(5)));
        assert_eq!(end(4), (LeaderEpoch(4), Offset(6)));
        assert_eq!(end(9), (LeaderEpoch(4), Offset(6)));
    }

    #[test]
    fn a_torn_or_damaged_tail_is_cut() {
        let whole = batch(0, 1, &["a", "b"]);
        for cut in 0..whole.len() {
            let disk =
                MemoryDisk::with_log(&[&whole[..], &batch(2, 1, &["c"])[..cut.min(60)]].concat());
            let (log, torn) = MetadataLog::recover(&disk);
            assert_eq!((log.end(), torn), (Offset(2), cut.min(60) as u64));
        }
        let mut damaged = [&whole[..], &batch(2, 1, &["c"])[..]].concat();
        *damaged.last_mut().expect("not empty") ^= 1;
        let (log, torn) = MetadataLog::recover(&MemoryDisk::with_log(&damaged));
        assert_eq!(log.end(), Offset(2));
        assert_eq!(torn, damaged.len() as u64 - whole.len() as u64);
    }

    #[test]
    fn a_batch_that_does_not_continue_the_log_is_not_kept() {
        let mut log = three_epochs();
        let mut effects = Effects::new();
        for stranger in [
            batch(7, 4, &["gap"]),
            batch(6, 3, &["old epoch"]),
            batch(6, 9, &["new"]),
        ] {
            assert!(!log.append(&mut effects, &stranger, LeaderEpoch(4)));
        }
        assert!(effects.is_empty());
        assert_eq!(log.end(), Offset(6));
    }

    #[test]
    fn truncation_forgets_epochs_and_what_was_being_flushed() {
        let mut log = three_epochs();
        let mut effects = Effects::new();
        log.flush(&mut effects);
        assert_eq!(log.truncation_offset(LeaderEpoch(2), Offset(9)), Offset(3));
        assert_eq!(log.truncation_offset(LeaderEpoch(3), Offset(4)), Offset(3));
        log.truncate(&mut effects, Offset(3));
        assert_eq!((log.end(), log.last_epoch()), (Offset(3), LeaderEpoch(1)));
        assert!(log.on_flushed(&mut effects, FlushId::new(FlushOwner::Raft, 2)));
        assert_eq!(log.flushed(), Offset(3));
    }

    #[test]
    fn one_flush_at_a_time() {
        let mut log = log_of(&[batch(0, 1, &["a"])]);
        let mut effects = Effects::new();
        log.flush(&mut effects);
        log.append(&mut effects, &batch(1, 1, &["b"]), LeaderEpoch(1));
        log.flush(&mut effects);
        assert!(log.on_flushed(&mut effects, FlushId::new(FlushOwner::Raft, 2)));
        assert_eq!(log.flushed(), Offset(1));
        assert!(log.is_flushing());
        assert!(log.on_flushed(&mut effects, FlushId::new(FlushOwner::Raft, 4)));
        assert_eq!(log.flushed(), Offset(2));
        assert!(!log.is_flushing());
    }

    #[test]
    fn committed_batches_come_once_and_in_order() {
        let mut log = three_epochs();
        assert_eq!(log.next_committed(), None);
        assert!(log.update_high_watermark(Offset(3)));
        assert!(!log.update_high_watermark(Offset(2)));
        let bases: Vec<Offset> = std::iter::from_fn(|| log.next_committed())
            .map(|committed| committed.base)
            .collect();
        assert_eq!(bases, [Offset(0), Offset(1)]);
        assert!(log.has_handed_out(Offset(2)) && !log.has_handed_out(Offset(3)));
    }

    #[test]
    fn reads_are_whole_batches_and_at_least_one() {
        let log = three_epochs();
        let count = |from, max| BatchIter::new(&log.read(Offset(from), max)).count();
        assert_eq!(count(0, usize::MAX), 4);
        assert_eq!(count(1, 1), 1);
        assert_eq!(count(6, usize::MAX), 0);
    }
}
