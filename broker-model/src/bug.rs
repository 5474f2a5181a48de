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
}

impl Bug {
    /// Every bug, in the order in which they are listed.
    pub const ALL: [Bug; 8] = [
        Bug::Kip101HwTruncation,
        Bug::Kip279UnknownEpochLookup,
        Bug::Kip497HwIgnoresPendingIsr,
        Bug::KraftNoFlushBeforeFetch,
        Bug::Kafka5494WindowOne,
        Bug::Kafka5494AcceptGaps,
        Bug::Kafka5494NoRebuild,
        Bug::Kafka5494RenumberOrder,
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
        }
    }

    /// The bug with that id.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| bug.id() == id)
    }
}
