//! Fetched batches of one partition, handed to the application record by record.
//!
//! Mirrors Kafka's `CompletedFetch`: control batches are passed over always, aborted transactions
//! under read_committed; records below the fetch offset, which come because brokers serve whole
//! batches, are dropped. Does not know positions.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::client::command::{Header, PolledRecord};
use crate::types::{LeaderEpoch, Offset, ProducerId, StrBytes, TopicIdPartition};
use crate::wire::batch::{Batch, BatchHeader, BatchIter};
use crate::wire::build::ControlType;
use crate::wire::record::Record;

/// What a fetch brought for a partition.
#[derive(Debug)]
pub(super) struct CompletedFetch {
    /// Which partition.
    pub(super) partition: TopicIdPartition,
    /// The offset behind what was handed out.
    pub(super) next_offset: Offset,
    /// The leader epoch of the last batch looked at, -1 before the first.
    pub(super) last_epoch: LeaderEpoch,
    records: Bytes,
    /// How many bytes of `records` are done with.
    read_bytes: usize,
    /// Decoded and not handed out: the rest of a batch, and the offset behind it.
    current: VecDeque<PolledRecord>,
    behind_current: Option<Offset>,
    filter: Option<AbortedFilter>,
    check_crcs: bool,
}

/// Which batches read_committed passes over.
#[derive(Default, Debug)]
pub(super) struct AbortedFilter {
    /// (first offset, producer) of aborted transactions, by offset, that were not reached yet.
    ahead: VecDeque<(Offset, ProducerId)>,
    /// Whose batches are aborted from here to the next marker of theirs.
    aborting: BTreeSet<ProducerId>,
}

/// Bytes that are no batch, or a batch whose CRC is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CorruptRecords;

impl AbortedFilter {
    /// From the aborted transactions that the fetch named.
    pub(super) fn new(mut aborted: Vec<(Offset, ProducerId)>) -> Self {
        aborted.sort_unstable();
        AbortedFilter {
            ahead: aborted.into(),
            aborting: BTreeSet::new(),
        }
    }

    /// Whether the batch belongs to an aborted transaction.
    fn skips(&mut self, batch: &Batch<'_>) -> bool {
        let header = &batch.header;
        if !header.has_producer_id() {
            return false;
        }
        while let Some(&(first, producer)) = self.ahead.front()
            && first <= header.last_offset()
        {
            self.aborting.insert(producer);
            self.ahead.pop_front();
        }
        if is_abort_marker(batch) {
            self.aborting.remove(&header.producer_id);
            return false;
        }
        header.attributes.is_transactional() && self.aborting.contains(&header.producer_id)
    }
}

impl CompletedFetch {
    /// What the fetch at `fetch_offset` brought. `filter` is there under read_committed.
    pub(super) fn new(
        partition: TopicIdPartition,
        fetch_offset: Offset,
        records: Bytes,
        filter: Option<AbortedFilter>,
        check_crcs: bool,
    ) -> Self {
        CompletedFetch {
            partition,
            next_offset: fetch_offset,
            last_epoch: LeaderEpoch::NONE,
            records,
            read_bytes: 0,
            current: VecDeque::new(),
            behind_current: None,
            filter,
            check_crcs,
        }
    }

    /// Hands out the next records, at most `max` of them. Fewer mean that it is used up.
    pub(super) fn take(&mut self, max: usize) -> Result<Vec<PolledRecord>, CorruptRecords> {
        let mut taken = Vec::new();
        while taken.len() < max {
            if let Some(record) = self.current.pop_front() {
                self.next_offset = record.offset.next();
                taken.push(record);
                continue;
            }
            if let Some(behind) = self.behind_current.take() {
                self.next_offset = self.next_offset.max(behind);
            }
            if !self.read_batch()? {
                break;
            }
        }
        if self.current.is_empty()
            && let Some(behind) = self.behind_current.take()
        {
            self.next_offset = self.next_offset.max(behind);
        }
        Ok(taken)
    }

    /// Whether nothing is left in it.
    pub(super) fn is_used_up(&self) -> bool {
        self.current.is_empty()
            && self.behind_current.is_none()
            && BatchIter::new(&self.records[self.read_bytes..])
                .next()
                .is_none()
    }

    /// Decodes the next batch. False at the end.
    fn read_batch(&mut self) -> Result<bool, CorruptRecords> {
        let records = self.records.clone();
        let Some(batch) = BatchIter::new(&records[self.read_bytes..]).next() else {
            return Ok(false);
        };
        let batch = batch.map_err(|_| CorruptRecords)?;
        if self.check_crcs && !batch.is_crc_valid() {
            return Err(CorruptRecords);
        }
        let header = batch.header;
        self.read_bytes += batch.bytes.len();
        self.last_epoch = header.partition_leader_epoch;
        self.behind_current = Some(header.next_offset());
        let aborted = self
            .filter
            .as_mut()
            .is_some_and(|filter| filter.skips(&batch));
        if !aborted && !header.attributes.is_control() {
            self.decode(&header, &batch, &records)?;
        }
        Ok(true)
    }

    fn decode(
        &mut self,
        header: &BatchHeader,
        batch: &Batch<'_>,
        records: &Bytes,
    ) -> Result<(), CorruptRecords> {
        for record in batch.records() {
            let record = record.map_err(|_| CorruptRecords)?;
            if self.next_offset <= record.offset {
                self.current.push_back(PolledRecord {
                    offset: record.offset,
                    leader_epoch: header.partition_leader_epoch,
                    timestamp_ms: record.timestamp,
                    key: record.key.map(|key| records.slice_ref(key)),
                    value: record.value.map(|value| records.slice_ref(value)),
                    headers: headers_of(&record, records)?,
                });
            }
        }
        Ok(())
    }
}

fn headers_of(record: &Record<'_>, records: &Bytes) -> Result<Vec<Header>, CorruptRecords> {
    let headers = record.headers.iter().map(|(key, value)| {
        let key = StrBytes::try_from(records.slice_ref(key)).map_err(|_| CorruptRecords)?;
        let value = value.map(|value| records.slice_ref(value));
        Ok(Header { key, value })
    });
    headers.collect()
}

fn is_abort_marker(batch: &Batch<'_>) -> bool {
    let is_abort = || {
        let first = batch.records().next()?.ok()?;
        ControlType::from_key(first.key?)
    };
    batch.header.attributes.is_control() && is_abort() == Some(ControlType::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::P0;
    use crate::types::{ProducerEpoch, Sequence};
    use crate::wire::batch::{Assigned, ProducerState, TimestampType, with_assigned};
    use crate::wire::build::{BatchBuilder, end_txn_marker};

    fn batch(base: i64, producer: Option<i64>, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(3));
        if let Some(producer) = producer {
            builder = builder.by(transactional(producer));
        }
        for _ in 0..records {
            builder.push(5, None, Some(b"v"), &[]);
        }
        builder.build().to_vec()
    }

    fn transactional(producer: i64) -> ProducerState {
        ProducerState {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(0),
            transactional: true,
        }
    }

    fn marker(base: i64, producer: i64, commit: bool) -> Vec<u8> {
        let marker = end_txn_marker(commit, 0, transactional(producer), 5);
        let assigned = Assigned {
            base_offset: Offset(base),
            leader_epoch: LeaderEpoch(3),
            timestamp_type: TimestampType::CreateTime,
            max_timestamp: 5,
        };
        with_assigned(&marker, &assigned).to_vec()
    }

    fn fetch(from: i64, batches: &[Vec<u8>], aborted: Option<&[(i64, i64)]>) -> CompletedFetch {
        let filter = aborted.map(|aborted| {
            let typed = aborted.iter().map(|&(at, id)| (Offset(at), ProducerId(id)));
            AbortedFilter::new(typed.collect())
        });
        let bytes = Bytes::from(batches.concat());
        CompletedFetch::new(P0, Offset(from), bytes, filter, true)
    }

    fn offsets(fetch: &mut CompletedFetch, max: usize) -> Vec<i64> {
        let records = fetch.take(max).expect("our own batches");
        records.iter().map(|record| record.offset.0).collect()
    }

    #[test]
    fn records_below_the_fetch_offset_are_dropped() {
        let mut fetch = fetch(2, &[batch(0, None, 3), batch(3, None, 2)], None);
        assert_eq!(offsets(&mut fetch, 2), [2, 3]);
        assert_eq!(fetch.next_offset, Offset(4));
        assert!(!fetch.is_used_up());
        assert_eq!(offsets(&mut fetch, 10), [4]);
        assert!(fetch.is_used_up());
        assert_eq!(fetch.next_offset, Offset(5));
        assert_eq!(fetch.last_epoch, LeaderEpoch(3));
    }

    #[test]
    fn aborted_records_are_skipped_up_to_the_marker() {
        let log = [
            batch(0, Some(1), 2),
            batch(2, Some(2), 1),
            batch(3, None, 1),
            marker(4, 1, false),
            batch(5, Some(1), 1),
            marker(6, 2, true),
            marker(7, 1, true),
        ];
        let mut committed = fetch(0, &log, Some(&[(0, 1)]));
        assert_eq!(offsets(&mut committed, 10), [2, 3, 5]);
        assert_eq!(committed.next_offset, Offset(8));
        assert!(committed.is_used_up());
        let mut uncommitted = fetch(0, &log, None);
        assert_eq!(offsets(&mut uncommitted, 10), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn a_fetch_of_nothing_but_markers_moves_on() {
        let mut fetch = fetch(4, &[marker(4, 1, false)], None);
        assert_eq!(offsets(&mut fetch, 10), Vec::<i64>::new());
        assert_eq!(fetch.next_offset, Offset(5));
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let mut bytes = batch(0, None, 1);
        *bytes.last_mut().expect("not empty") ^= 1;
        let mut fetch = fetch(0, &[bytes], None);
        assert_eq!(fetch.take(1), Err(CorruptRecords));
    }
}
