//! What a consumer knows of one partition (`SubscriptionState.TopicPartitionState`).

use crate::client::command::{ResetReason, StartFrom};
use crate::client::metadata::LeaderAndEpoch;
use crate::types::{LeaderEpoch, Now, Offset, TopicPartition};

/// An assigned partition whose topic is not known yet.
#[derive(Debug)]
pub(super) struct Unresolved {
    /// Which.
    pub(super) name: TopicPartition,
    /// Where it starts.
    pub(super) start: StartFrom,
    /// Whether anything may be fetched once it is known.
    pub(super) held: Held,
}

/// Why nothing is fetched from a partition that has a position.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Held {
    /// The application paused it.
    pub(super) paused: bool,
    /// It is about to be revoked.
    pub(super) revoking: bool,
    /// The application was not told of it yet.
    pub(super) unannounced: bool,
}

/// A place in the log that a position is set to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::client::consumer) enum ResetTo {
    /// `ListOffsetsRequest.EARLIEST_TIMESTAMP`
    Earliest,
    /// `ListOffsetsRequest.LATEST_TIMESTAMP`
    Latest,
    /// The first record that is no older than that many ms, at the time of asking (KIP-1106).
    Age(u64),
}

impl ResetTo {
    /// The timestamp that ListOffsets takes for it.
    pub(in crate::client::consumer) fn timestamp(self, now: Now) -> i64 {
        match self {
            ResetTo::Earliest => -2,
            ResetTo::Latest => -1,
            ResetTo::Age(age_ms) => now.wall_ms.saturating_sub_unsigned(age_ms),
        }
    }
}

/// A place in the log (`FetchPosition`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::client::consumer) struct FetchPosition {
    /// The next offset to fetch.
    pub(in crate::client::consumer) offset: Offset,
    /// The leader epoch of the batch before it, -1 if none was read.
    pub(in crate::client::consumer) offset_epoch: LeaderEpoch,
    /// The leader for which the position holds.
    pub(in crate::client::consumer) leader: LeaderAndEpoch,
}

/// A position that has to be looked up, and the answer's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::client::consumer) struct Reset {
    /// Where to.
    pub(in crate::client::consumer) to: ResetTo,
    /// Tells this reset from others of the partition.
    pub(in crate::client::consumer) target: u64,
}

/// An assigned partition.
#[derive(Debug)]
pub(super) struct Assigned {
    /// Its name.
    pub(super) name: TopicPartition,
    /// Whether anything may be fetched.
    pub(super) held: Held,
    /// What is known of the position.
    pub(super) state: FetchState,
    /// Nothing is asked or fetched before this moment, monotonic.
    pub(super) not_before_ms: u64,
}

/// `SubscriptionState.FetchStates`
#[derive(Clone, Copy, Debug)]
pub(super) enum FetchState {
    /// There is no position and no rule to find one (`auto.offset.reset = none`).
    Initializing,
    /// The group is asked for its committed offset.
    AwaitCommitted { from: Offset },
    /// The position is being looked up.
    AwaitReset {
        reset: Reset,
        why: ResetReason,
        from: Offset,
    },
    /// The leader changed: the log may have been cut below the position.
    AwaitValidation(FetchPosition),
    /// The position may be used.
    Fetching(FetchPosition),
}

impl FetchState {
    /// The position, whether or not it may be used.
    pub(super) fn position(&self) -> Option<FetchPosition> {
        match self {
            FetchState::Initializing
            | FetchState::AwaitCommitted { .. }
            | FetchState::AwaitReset { .. } => None,
            FetchState::AwaitValidation(position) | FetchState::Fetching(position) => {
                Some(*position)
            }
        }
    }
}
