//! Historic Kafka bugs that can be switched back on, one at a time, for one run.
//!
//! Each is one `if` at the line that was wrong. They are the evidence that the testbed finds what
//! it claims to find.

/// A historic bug. The id, used on the command line, is in [`Bug::id`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bug {
    /// A new follower truncates to its own high watermark (KAFKA-1211, before KIP-101).
    Kip101HwTruncation,
    /// A leader asked for the end of an epoch it never had answers with the start of the next
    /// larger one, and the follower truncates once (KAFKA-6361, before KIP-279).
    Kip279UnknownEpochLookup,
    /// The high watermark ignores the ISR that is proposed but not confirmed (KAFKA-8836, KIP-497).
    Kip497HwIgnoresPendingIsr,
    /// A KRaft voter fetches on before what it appended is flushed (KAFKA-10533).
    KraftNoFlushBeforeFetch,
    /// The broker remembers one batch a producer instead of five (KAFKA-5494, the window).
    Kafka5494WindowOne,
    /// The broker accepts sequence gaps and takes what looks old for a duplicate (KAFKA-5494).
    Kafka5494AcceptGaps,
    /// A new leader starts without the producer state of its log (KAFKA-5494).
    Kafka5494NoRebuild,
    /// A producer that resets its sequences gives them to the batches in flight newest first
    /// (KAFKA-5494, client side).
    Kafka5494RenumberOrder,
    /// A partition goes to its new owner in the round in which the old one is asked for it (KAFKA-8179,
    /// KIP-429; client side).
    Kip429AssignBeforeRevoke,
    /// Whoever knows a group.instance.id is taken for its member, whatever its member id (KAFKA-8225,
    /// KIP-345).
    Kip345InstanceNotFenced,
    /// A static member that comes back gets an id of its own only if the group is stable (KAFKA-8500,
    /// KIP-345).
    Kip345ReplaceOnlyStable,
    /// The new id of a static member that comes back is not written down (KAFKA-10284, KIP-345).
    Kip345ReplacementNotPersisted,
    /// A partition that a member has to give up and then may keep counts as free (KAFKA-16147).
    Kafka16147PartitionEpochLost,
}

impl Bug {
    /// Every bug, in the order in which they are listed.
    pub const ALL: [Bug; 13] = [
        Bug::Kip101HwTruncation,
        Bug::Kip279UnknownEpochLookup,
        Bug::Kip497HwIgnoresPendingIsr,
        Bug::KraftNoFlushBeforeFetch,
        Bug::Kafka5494WindowOne,
        Bug::Kafka5494AcceptGaps,
        Bug::Kafka5494NoRebuild,
        Bug::Kafka5494RenumberOrder,
        Bug::Kip429AssignBeforeRevoke,
        Bug::Kip345InstanceNotFenced,
        Bug::Kip345ReplaceOnlyStable,
        Bug::Kip345ReplacementNotPersisted,
        Bug::Kafka16147PartitionEpochLost,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Bug::Kip101HwTruncation => "kip-101-hw-truncation",
            Bug::Kip279UnknownEpochLookup => "kip-279-unknown-epoch-lookup",
            Bug::Kip497HwIgnoresPendingIsr => "kip-497-hw-ignores-pending-isr",
            Bug::KraftNoFlushBeforeFetch => "kraft-no-flush-before-fetch",
            Bug::Kafka5494WindowOne => "kafka-5494-window-one",
            Bug::Kafka5494AcceptGaps => "kafka-5494-accept-gaps",
            Bug::Kafka5494NoRebuild => "kafka-5494-no-rebuild",
            Bug::Kafka5494RenumberOrder => "kafka-5494-renumber-order",
            Bug::Kip429AssignBeforeRevoke => "kip-429-assign-before-revoke",
            Bug::Kip345InstanceNotFenced => "kip-345-instance-not-fenced",
            Bug::Kip345ReplaceOnlyStable => "kip-345-replace-only-stable",
            Bug::Kip345ReplacementNotPersisted => "kip-345-replacement-not-persisted",
            Bug::Kafka16147PartitionEpochLost => "kafka-16147-partition-epoch-lost",
        }
    }

    /// One sentence for `sim list`.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Bug::Kip101HwTruncation => "a follower truncates to its own high watermark",
            Bug::Kip279UnknownEpochLookup => {
                "the end of an unknown epoch is answered with the start of the next larger one"
            }
            Bug::Kip497HwIgnoresPendingIsr => {
                "the high watermark ignores replicas that are being added to the ISR"
            }
            Bug::KraftNoFlushBeforeFetch => "a voter acknowledges what it has not flushed",
            Bug::Kafka5494WindowOne => "the broker remembers one batch a producer, not five",
            Bug::Kafka5494AcceptGaps => "the broker accepts sequence gaps",
            Bug::Kafka5494NoRebuild => "a new leader starts without producer state",
            Bug::Kafka5494RenumberOrder => "batches in flight are renumbered newest first",
            Bug::Kip429AssignBeforeRevoke => {
                "the assignor gives away what its owner has not given up"
            }
            Bug::Kip345InstanceNotFenced => "a static member is known by its instance id alone",
            Bug::Kip345ReplaceOnlyStable => {
                "a static member that comes back in a rebalance keeps the old member id"
            }
            Bug::Kip345ReplacementNotPersisted => {
                "the next coordinator does not know that a static member was replaced"
            }
            Bug::Kafka16147PartitionEpochLost => {
                "a partition that a member may keep after all counts as free"
            }
        }
    }

    /// The bug with that id.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| bug.id() == id)
    }
}
