//! What a follower makes of its leader's answers: it appends, or it truncates.
//!
//! Mirrors `ReplicaFetcherThread.processPartitionData`, `AbstractFetcherThread.truncateOnFetchResponse`,
//! `getOffsetTruncationState` and `fetchOffsetAndTruncate`. Sends nothing: [`fetcher`](super::fetcher)
//! does.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{EpochEndOffset, PartitionData};

use super::manager::Touched;
use super::partition::Partition;
use super::purgatory::News;
use crate::context::Context;
use crate::log::FollowerAppendError;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, Offset, ResponseError};

/// What becomes of a partition after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Fetches on at the log end.
    Ready,
    /// Tries again after `replica.fetch.backoff.ms`.
    Delay,
    /// Not before the metadata names another leader epoch.
    Failed,
    /// Its log end lies outside the leader's log: asks where that one ends.
    OutOfRange,
    /// The leader's log ends later: asks where it starts.
    BehindEnd,
}

impl Verdict {
    /// What an error of the leader means.
    pub(super) fn of(error: ResponseError) -> Verdict {
        match error {
            ResponseError::OffsetOutOfRange => Verdict::OutOfRange,
            // The leader is in a later epoch: only the metadata can tell who leads now.
            ResponseError::FencedLeaderEpoch => Verdict::Failed,
            _ => Verdict::Delay,
        }
    }
}

/// A fetch was answered: the partition is in the epoch and at the log end for which it asked.
pub(super) fn take_in(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    data: PartitionData,
    touched: &mut Touched,
) -> Verdict {
    if let Some(error) = ResponseError::try_from_code(data.error_code) {
        return Verdict::of(error);
    }
    if 0 <= data.diverging_epoch.epoch {
        truncate_to_divergence(cx, partition, &data.diverging_epoch);
        touched.add(partition.id, News::Watermarks);
        return Verdict::Ready;
    }
    let records = data.records.unwrap_or_default();
    if append(cx, partition, &records).is_err() {
        // Kafka goes on after damaged bytes, and gives a partition up whose offsets do not fit.
        return Verdict::Delay;
    }
    let before = partition.log.high_watermark();
    let high_watermark = partition
        .log
        .update_high_watermark(cx, Offset(data.high_watermark));
    // The leader's records may start further on than this follower's high watermark has got.
    let log_start = Offset(data.log_start_offset).min(high_watermark);
    let log_start_moved = partition
        .log
        .maybe_increment_log_start(cx, log_start)
        .expect("not past the high watermark");
    if before != high_watermark || log_start_moved {
        touched.add(partition.id, News::Watermarks);
    }
    Verdict::Ready
}

/// Appends what came. A log without records may begin before its start: the leader's first batch
/// holds records that were deleted since.
fn append(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    records: &Bytes,
) -> Result<(), FollowerAppendError> {
    let leader_epoch = partition.leader_epoch();
    let log = &mut partition.log;
    match log.append_as_follower(cx, records, leader_epoch) {
        Ok(_) => Ok(()),
        Err(FollowerAppendError::UnexpectedOffset {
            expected,
            first,
            last,
        }) if log.log_start() == expected && first < expected && expected <= last => {
            log.truncate_fully_and_start_at(cx, first);
            log.append_as_follower(cx, records, leader_epoch)?;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Cuts the log to where it may agree with the leader's. Where the follower does not know the
/// epoch that the leader named, it cuts to the end of its own largest epoch below and asks again
/// with that one (KIP-279).
fn truncate_to_divergence(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    diverging: &EpochEndOffset,
) {
    let log = &mut partition.log;
    let epoch = LeaderEpoch(diverging.epoch);
    let leader_end = Offset(diverging.end_offset);
    let target = match log.end_offset_for_epoch(epoch) {
        Some((known, own_end)) if known != epoch => own_end,
        Some((_, own_end)) => own_end.min(leader_end),
        None => leader_end,
    };
    if log.truncate_to(cx, target.min(log.log_end())) {
        cx.effects.probe(Probe::TruncatedToEpochEnd);
    }
}

/// The leader said where its log ends. If that is before this one's end, cuts; they may still
/// disagree, which the epochs will show.
pub(super) fn leader_ends_at(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    leader_end: Offset,
) -> Verdict {
    if leader_end < partition.log.log_end() {
        partition.log.truncate_to(cx, leader_end);
        return Verdict::Ready;
    }
    Verdict::BehindEnd
}

/// The leader said where its log starts. If that is past this one's end, starts anew there.
pub(super) fn leader_starts_at(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    leader_start: Offset,
) -> Verdict {
    if partition.log.log_end() < leader_start {
        partition.log.truncate_fully_and_start_at(cx, leader_start);
    }
    Verdict::Ready
}
