//! Appending to a log, as leader and as follower.
//!
//! Mirrors `UnifiedLog.append`, `analyzeAndValidateRecords` for a follower and
//! `analyzeAndValidateProducerState`. What a leader checks of a producer's bytes is done before, in
//! [`validate`](crate::wire::validate).

use bytes::Bytes;

use super::batch_index::IndexedBatch;
use super::producer_entry::{BatchMetadata, Sequenced};
use super::unified_log::UnifiedLog;
use crate::context::Context;
use crate::effect::Write;
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, Offset, ResponseError};
use crate::wire::batch::{Batch, BatchHeader, BatchIter, NO_TIMESTAMP};
use crate::wire::validate::Validated;

/// What an append did (`LogAppendInfo`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    /// The first offset of what was appended, or of what was appended when it came first.
    pub base: Offset,
    /// The last one.
    pub last: Offset,
    /// Whether nothing was appended, for the batch is in the log already.
    pub duplicate: bool,
    /// What to answer as `log_append_time_ms`.
    pub log_append_time_ms: i64,
}

/// Why a follower does not take what its leader sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerAppendError {
    /// Bytes that are no batch, or a batch that a leader never wrote (`CorruptRecordException`).
    Corrupt,
    /// A batch does not start where the one before ended (`UnexpectedAppendOffsetException`,
    /// `OffsetsOutOfOrderException`).
    UnexpectedOffset {
        /// Where it should start.
        expected: Offset,
        /// Where it starts.
        first: Offset,
        /// Where it ends.
        last: Offset,
    },
}

impl UnifiedLog {
    /// Appends a producer's batch, the first in `records`, unless it is in the log already.
    pub fn append_as_leader(
        &mut self,
        cx: &mut Context<'_>,
        records: &[u8],
        validated: &Validated,
        leader_epoch: LeaderEpoch,
    ) -> Result<AppendInfo, ResponseError> {
        let header = BatchHeader {
            base_offset: self.log_end,
            partition_leader_epoch: leader_epoch,
            max_timestamp: validated.max_timestamp,
            ..validated.header
        };
        let batch = IndexedBatch::new(&header, self.size(), records);
        match self.producers.check(&batch, cx.bug) {
            Err(error) => {
                if error == ResponseError::OutOfOrderSequenceNumber {
                    cx.effects.probe(Probe::OutOfOrderSequence);
                    cx.effects.note(Note::SequenceRefused {
                        partition: self.partition,
                        producer: batch.producer,
                        epoch: batch.producer_epoch,
                        first: batch.first_sequence,
                        last: batch.last_sequence,
                    });
                }
                return Err(error);
            }
            Ok(Sequenced::Duplicate(written)) => {
                return Ok(self.answer_duplicate(cx, &batch, &written));
            }
            Ok(Sequenced::Next) => {}
        }
        let bytes = validated.append_at(records, self.log_end, leader_epoch);
        cx.effects.write(self.file(), Write::Append(bytes.clone()));
        self.tail.push(bytes.clone(), cx.disk, self.file());
        self.add(cx, batch, bytes, true);
        Ok(AppendInfo {
            base: batch.base,
            last: batch.last,
            duplicate: false,
            log_append_time_ms: validated.log_append_time_ms(),
        })
    }

    /// Appends what the leader of `leader_epoch` sent: whole batches that continue the log. A batch
    /// that is cut short at the end is left out. `None` if there is nothing to append.
    ///
    /// Batches of a later leader are left out too: the sender may have lost its leadership and
    /// followed another one before it answered (KAFKA-18723).
    pub fn append_as_follower(
        &mut self,
        cx: &mut Context<'_>,
        records: &Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Result<Option<AppendInfo>, FollowerAppendError> {
        let base = self.log_end;
        let taken = records.slice(..self.check_replicated(records, leader_epoch)?);
        if taken.is_empty() {
            return Ok(None);
        }
        cx.effects.write(self.file(), Write::Append(taken.clone()));
        self.tail.push(taken.clone(), cx.disk, self.file());
        for batch in BatchIter::new(&taken) {
            let batch = batch.expect("the batches were read before");
            let bytes = taken.slice(batch.position..batch.position + batch.bytes.len());
            let batch = IndexedBatch::new(&batch.header, self.size(), batch.bytes);
            self.add(cx, batch, bytes, false);
        }
        Ok(Some(AppendInfo {
            base,
            last: self.log_end - 1,
            duplicate: false,
            log_append_time_ms: NO_TIMESTAMP,
        }))
    }

    fn answer_duplicate(
        &self,
        cx: &mut Context<'_>,
        batch: &IndexedBatch,
        written: &BatchMetadata,
    ) -> AppendInfo {
        cx.effects.probe(Probe::DuplicateBatch);
        cx.effects.note(Note::DuplicateAnswered {
            partition: self.partition,
            producer: batch.producer,
            epoch: batch.producer_epoch,
            first: batch.first_sequence,
            last: batch.last_sequence,
            base: written.first_offset,
        });
        AppendInfo {
            base: written.first_offset,
            last: written.last_offset,
            duplicate: true,
            // Kafka answers the batch's timestamp, whatever message.timestamp.type is.
            log_append_time_ms: written.timestamp,
        }
    }

    /// How many bytes of `records` a follower appends.
    fn check_replicated(
        &self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
    ) -> Result<usize, FollowerAppendError> {
        let mut expected = self.log_end;
        let mut taken = 0;
        for batch in BatchIter::new(records) {
            let batch = batch.map_err(|_| FollowerAppendError::Corrupt)?;
            if leader_epoch < batch.header.partition_leader_epoch {
                break;
            }
            if !is_stored_batch(&batch) {
                return Err(FollowerAppendError::Corrupt);
            }
            if batch.header.base_offset != expected {
                return Err(FollowerAppendError::UnexpectedOffset {
                    expected,
                    first: batch.header.base_offset,
                    last: batch.header.last_offset(),
                });
            }
            expected = batch.header.next_offset();
            taken = batch.position + batch.bytes.len();
        }
        Ok(taken)
    }

    /// Takes over a batch whose bytes were handed to the disk.
    fn add(&mut self, cx: &mut Context<'_>, batch: IndexedBatch, bytes: Bytes, as_leader: bool) {
        assert_eq!(self.log_end, batch.base, "a gap at the log end");
        self.assign_epoch(cx, batch.epoch, batch.base);
        self.batches.push(batch);
        self.fold(&batch);
        self.log_end = batch.last.next();
        cx.effects.note(Note::Append {
            partition: self.partition,
            as_leader,
            batch: bytes,
        });
        self.check_order();
    }
}

/// Whether a batch is one that a leader wrote: undamaged, with offsets and an epoch.
pub(super) fn is_stored_batch(batch: &Batch<'_>) -> bool {
    let (base, delta) = (batch.header.base_offset, batch.header.last_offset_delta);
    let has_offsets = 0 <= delta && Offset::ZERO <= base && base.0 < i64::MAX - i64::from(delta);
    has_offsets && LeaderEpoch::NONE < batch.header.partition_leader_epoch && batch.is_crc_valid()
}
