//! The group coordinator: who consumes what, and how far everybody has come.
//!
//! Each partition of `__consumer_offsets` that the broker leads is a [shard](shard): the groups whose
//! id hashes to it, and the offsets they committed. A request is decided without touching anything
//! ([`turn::Turn`]): the decision is records and answers. The [runtime](runtime) appends the records
//! to the partition's log, replays them into the shard, and lets the answers go once they are
//! committed. A new leader replays the log from its start; one that is deposed drops the shard, and
//! with it every answer that still waits.
//!
//! Mirrors `GroupCoordinatorService`, `CoordinatorRuntime`, `GroupCoordinatorShard`,
//! `GroupMetadataManager` and `OffsetMetadataManager`. KIP-848, KIP-429, KIP-345, KIP-211.

pub(crate) mod classic;
pub(crate) mod consumer;
pub(crate) mod offsets;
pub(crate) mod record;
pub(crate) mod shard;
pub(crate) mod turn;
