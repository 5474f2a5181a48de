//! What happens to a coordinator's partition, and to the offsets in it.

use crate::types::{Offset, ResponseError, StrBytes, TopicPartition};

/// A partition of `__consumer_offsets` at the broker that coordinates its groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CoordinatorChange {
    /// The log was read: groups are served from now on.
    Loaded {
        /// Where the log ended, exclusive.
        log_end: Offset,
        /// The high watermark then.
        high_watermark: Offset,
    },
    /// The log holds what is no record of a coordinator: nobody is served.
    Failed,
    /// The broker gave the groups up: what waits is answered with NOT_COORDINATOR.
    Unloaded,
    /// A batch was appended by a decision.
    Written {
        /// Its last offset.
        last: Offset,
    },
    /// Decisions up to there are committed: their answers leave.
    Committed {
        /// Exclusive.
        up_to: Offset,
    },
}

/// The committed offsets of a group, as the coordinator decided. A decision counts once it is
/// committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffsetsChange {
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
    },
    /// An offset is removed on request, with its group or with its topic.
    Deleted {
        /// Which partition.
        partition: TopicPartition,
    },
}
