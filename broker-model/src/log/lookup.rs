//! Reading a log: bytes from an offset, offsets from a timestamp.
//!
//! Mirrors `UnifiedLog.read`, `LocalLog.read` and `UnifiedLog.fetchOffsetByTimestamp`. Whole batches
//! are read, never a part of one. There is no tiered storage.

use bytes::Bytes;

use super::batch_index::IndexedBatch;
use super::unified_log::UnifiedLog;
use crate::effect::DiskRead;
use crate::types::{LeaderEpoch, Offset, ResponseError};
use crate::wire::batch::{Batch, Compression, NO_TIMESTAMP};

/// Timestamps that ListOffsets uses for something else (`ListOffsetsRequest`).
pub mod timestamps {
    /// The log end.
    pub const LATEST: i64 = -1;
    /// The log start.
    pub const EARLIEST: i64 = -2;
    /// The record with the largest timestamp (KIP-734).
    pub const MAX: i64 = -3;
    /// The log start on local disks (KIP-405).
    pub const EARLIEST_LOCAL: i64 = -4;
    /// The last offset in tiered storage (KIP-1005).
    pub const LATEST_TIERED: i64 = -5;
    /// The first offset that tiered storage does not have (KIP-1023).
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

/// What a fetch reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadInfo {
    /// Whole batches; the first may begin before the offset that was asked for.
    pub records: Bytes,
    /// The offset behind them, or the one asked for if there are none.
    pub next: Offset,
}

/// A record that ListOffsets found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampAndOffset {
    /// Its timestamp in ms since 1970; -1 where the offset was not found by a timestamp.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch of that offset.
    pub epoch: Option<LeaderEpoch>,
}

impl UnifiedLog {
    /// The batches from the one that holds `from` on that lie wholly before `up_to`, at most
    /// `max_bytes` of them; with `min_one` the first whatever its size.
    pub fn read(
        &self,
        disk: &dyn DiskRead,
        from: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Result<ReadInfo, ResponseError> {
        if from < self.log_start || self.log_end < from {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let nothing = ReadInfo {
            records: Bytes::new(),
            next: from,
        };
        let batches = self.batches_between(from, up_to);
        let Some(first) = batches.first() else {
            return Ok(nothing);
        };
        let limit = first.position + max_bytes as u64;
        let count = batches.partition_point(|batch| batch.end_position() <= limit);
        let count = if min_one { count.max(1) } else { count };
        let Some(last) = count.checked_sub(1).map(|at| &batches[at]) else {
            return Ok(nothing);
        };
        Ok(ReadInfo {
            records: self.bytes_between(disk, first.position, last.end_position()),
            next: last.last.next(),
        })
    }

    /// How many bytes a read from `from` up to `up_to` without other limits returns.
    #[must_use]
    pub fn bytes_available(&self, from: Offset, up_to: Offset) -> u64 {
        let batches = self.batches_between(from, up_to);
        match (batches.first(), batches.last()) {
            (Some(first), Some(last)) => last.end_position() - first.position,
            _ => 0,
        }
    }

    /// The first offset whose record has that timestamp or a later one, or what the special
    /// [`timestamps`] ask for. Of a compressed batch only the first offset can be found.
    #[must_use]
    pub fn offset_for_timestamp(
        &self,
        disk: &dyn DiskRead,
        timestamp: i64,
    ) -> Option<TimestampAndOffset> {
        match timestamp {
            timestamps::LATEST => Some(self.unstamped(self.log_end, self.latest_epoch())),
            timestamps::EARLIEST | timestamps::EARLIEST_LOCAL => {
                let first = self.epochs.earliest();
                let epoch = first.filter(|&(_, start)| start <= self.log_start);
                Some(self.unstamped(self.log_start, epoch.map(|(epoch, _)| epoch)))
            }
            timestamps::LATEST_TIERED | timestamps::EARLIEST_PENDING_UPLOAD => {
                Some(self.unstamped(Offset::UNKNOWN, Some(LeaderEpoch::NONE)))
            }
            timestamps::MAX => self.max_timestamp(disk),
            _ => {
                let batches = self.batches.from(self.log_start).iter();
                batches
                    .filter(|batch| timestamp <= batch.max_timestamp)
                    .find_map(|batch| self.first_record_since(disk, batch, timestamp))
            }
        }
    }

    /// The first record with the largest timestamp of the log.
    #[must_use]
    pub fn max_timestamp(&self, disk: &dyn DiskRead) -> Option<TimestampAndOffset> {
        let batches = self.batches.from(self.log_start);
        let largest = batches.iter().map(|batch| batch.max_timestamp).max()?;
        if largest == NO_TIMESTAMP {
            return None;
        }
        let batch = batches
            .iter()
            .find(|batch| batch.max_timestamp == largest)?;
        self.first_record_since(disk, batch, largest)
    }

    fn unstamped(&self, offset: Offset, epoch: Option<LeaderEpoch>) -> TimestampAndOffset {
        TimestampAndOffset {
            timestamp: NO_TIMESTAMP,
            offset,
            epoch,
        }
    }

    fn batches_between(&self, from: Offset, up_to: Offset) -> &[IndexedBatch] {
        let batches = self.batches.from(from);
        let whole = batches.partition_point(|batch| batch.last < up_to);
        &batches[..whole]
    }

    fn bytes_between(&self, disk: &dyn DiskRead, from: u64, to: u64) -> Bytes {
        let len = usize::try_from(to - from).expect("a fetch fits into memory");
        self.tail.read(disk, self.file(), from, len)
    }

    fn first_record_since(
        &self,
        disk: &dyn DiskRead,
        batch: &IndexedBatch,
        timestamp: i64,
    ) -> Option<TimestampAndOffset> {
        let bytes = self.bytes_between(disk, batch.position, batch.end_position());
        let parsed = Batch::parse(&bytes).expect("a batch of the log");
        let found = |timestamp, offset| TimestampAndOffset {
            timestamp,
            offset,
            epoch: Some(batch.epoch),
        };
        if parsed.header.attributes.compression() != Some(Compression::None) {
            return Some(found(batch.max_timestamp, batch.base.max(self.log_start)));
        }
        let mut records = parsed.records().map_while(Result::ok);
        let record = records
            .find(|record| timestamp <= record.timestamp && self.log_start <= record.offset)?;
        Some(found(record.timestamp, record.offset))
    }
}
