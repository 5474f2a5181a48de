//! One partition of `__consumer_offsets`: the groups that live there and their offsets.
//!
//! Mirrors `GroupCoordinatorShard` and what is common in `GroupMetadataManager`.

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;

/// A group of either protocol.
#[derive(Debug)]
pub(crate) enum Group {
    /// JoinGroup and its like, or nothing but offsets.
    Classic(ClassicGroup),
    /// ConsumerGroupHeartbeat.
    Consumer(ConsumerGroup),
}
