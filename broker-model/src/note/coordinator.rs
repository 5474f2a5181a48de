//! What happens to a coordinator's partition, and to the offsets in it.

use crate::types::{Offset, ResponseError, StrBytes, TopicPartition};

/// A partition of `__consumer_offsets` at the broker that coordinates its groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CoordinatorChange {
    /// The log was read. What it makes of groups and their offsets follows.
    Loaded {
        /// Where the log ended, exclusive.
        log_end: Offset,
        /// The high watermark then.
        high_watermark: Offset,
    },
    /// That was all: groups are served from now on.
    Serving,
    /// The log holds what is no record of a coordinator: nobody is served.
    Failed,
    /// The broker gave the groups up: what waits is answered with NOT_COORDINATOR.
    Unloaded,
    /// A batch was appended by a decision.
    Written {
        /// Its last offset.
        last: Offset,
    },
    /// What was decided last could not be appended: nothing of it counts, but what a classic group
    /// that was there before has done.
    Dropped,
    /// A timer runs that did not, or stopped, or fired. Starting it anew is nothing new.
    Timer {
        /// Of that group.
        group: StrBytes,
        /// Of that member, unless it is the whole group's.
        member: Option<StrBytes>,
        /// For what.
        timer: CoordinatorTimer,
        /// Whether it runs now.
        runs: bool,
    },
    /// Decisions up to there are committed: their answers leave.
    Committed {
        /// Exclusive.
        up_to: Offset,
    },
}

/// What a coordinator's timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CoordinatorTimer {
    /// A member has to be heard of.
    Session,
    /// A member of a consumer group has to give partitions up, to join or to sync.
    Rebalance,
    /// The members of a classic group have to join.
    Join,
    /// The members of a classic group have to sync.
    Sync,
    /// A consumer group's expressions are resolved.
    Regex,
}

/// The committed offsets of a group, as the coordinator decided. A decision counts once it is
/// committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffsetsChange {
    /// A new coordinator read them.
    Loaded {
        /// Partitions, their offsets and when those were committed, in ms since 1970.
        offsets: Vec<(TopicPartition, Offset, i64)>,
    },
    /// A commit was accepted for a partition.
    Accepted {
        /// Of that member, empty if it is in no group.
        member: StrBytes,
        /// Its generation or member epoch, -1 if it is in no group.
        generation: i32,
        /// Which partition.
        partition: TopicPartition,
        /// The offset.
        offset: Offset,
        /// The time by the coordinator's clock, in ms since 1970.
        commit_timestamp: i64,
    },
    /// A commit was refused as a whole.
    Refused {
        /// Of that member.
        member: StrBytes,
        /// The generation or member epoch that it named.
        generation: i32,
        /// Why.
        error: ResponseError,
    },
    /// An offset is removed because it is too old.
    Expired {
        /// Which partition.
        partition: TopicPartition,
        /// When it was committed, in ms since 1970.
        commit_timestamp: i64,
        /// Until when whoever committed it asked for it to be kept; -1 if the broker says how long.
        expire_timestamp: i64,
        /// The time now.
        now_ms: i64,
    },
    /// An offset is removed on request, with its group or with its topic.
    Deleted {
        /// Which partition.
        partition: TopicPartition,
    },
}
