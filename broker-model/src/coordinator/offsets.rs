//! The offsets that groups have committed.
//!
//! Mirrors `OffsetMetadataManager`. KIP-211.

/// From when the age of a group's offsets counts (`OffsetExpirationConditionImpl`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpirySince {
    /// Each from its commit.
    Commit,
    /// All from then: the group has been empty since, in ms since 1970.
    Empty(i64),
}
