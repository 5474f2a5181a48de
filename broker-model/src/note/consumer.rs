//! What just happened to a group of the consumer protocol (KIP-848).

use std::collections::BTreeSet;

use super::MemberRemoved;
use crate::types::{StrBytes, TopicIdPartition};

/// How far a member has come with its assignment (`MemberState`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConsumerMemberState {
    /// It has what its epoch gives it.
    Stable,
    /// It has to give partitions up before its epoch can rise.
    UnrevokedPartitions,
    /// It waits for partitions that others have to give up.
    UnreleasedPartitions,
    /// Written by a later version of Kafka.
    Unknown,
}

/// A change of a consumer group, as the coordinator decided. A decision counts once it is committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerGroupChange {
    /// A new coordinator read the group's records. What they make of its members follows, until the
    /// coordinator serves.
    Loaded {
        /// The group's epoch.
        epoch: i32,
        /// The target's epoch.
        target_epoch: i32,
    },
    /// The group's epoch rises: members, subscriptions or metadata changed.
    Epoch {
        /// The new one.
        epoch: i32,
    },
    /// What a member shall have changed. Several of these and a `TargetEpoch` make a new target.
    Target {
        /// Which.
        member: StrBytes,
        /// What it shall have.
        partitions: BTreeSet<TopicIdPartition>,
    },
    /// The target is that of this epoch.
    TargetEpoch {
        /// The group's epoch that it was computed for.
        epoch: i32,
    },
    /// A member said something new of itself; the first time it does is when it joins.
    Subscribed {
        /// Which.
        member: StrBytes,
        /// Its `group.instance.id`.
        instance: Option<StrBytes>,
        /// The topics that it names.
        topics: BTreeSet<StrBytes>,
        /// The expression that it gives.
        regex: Option<StrBytes>,
        /// Whether it speaks the classic protocol.
        classic: bool,
    },
    /// A member said what it owns, and what it has changes by that. Comes before the rest of the
    /// decision.
    Reported {
        /// Which.
        member: StrBytes,
        /// What it owns, as it says.
        owned: BTreeSet<TopicIdPartition>,
    },
    /// What a member has changed.
    Assigned {
        /// Which.
        member: StrBytes,
        /// Its epoch; -2 when a static member is away for a while.
        epoch: i32,
        /// Its epoch before.
        previous_epoch: i32,
        /// How far it has come.
        state: ConsumerMemberState,
        /// What it owns.
        assigned: BTreeSet<TopicIdPartition>,
        /// What it has to give up.
        pending_revocation: BTreeSet<TopicIdPartition>,
    },
    /// An expression was resolved.
    Resolved {
        /// Which.
        regex: StrBytes,
        /// What it matches.
        topics: BTreeSet<StrBytes>,
    },
    /// Nobody gives that expression any more.
    Forgotten {
        /// Which.
        regex: StrBytes,
    },
    /// A static member joined in place of its predecessor (KIP-345).
    Replaced {
        /// Its `group.instance.id`.
        instance: StrBytes,
        /// The id that is gone.
        previous: StrBytes,
        /// The id that counts.
        member: StrBytes,
    },
    /// A member is out.
    Removed {
        /// Which.
        member: StrBytes,
        /// Why.
        why: MemberRemoved,
    },
    /// The group goes on as one of the classic protocol.
    Downgraded,
    /// The group was one of the classic protocol until now. What becomes of its members by the same
    /// decision was told before.
    Upgraded,
    /// The group is to be deleted: it is empty, and is too old or unwanted.
    Deleted,
}
