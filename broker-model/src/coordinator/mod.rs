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

mod active;
pub(crate) mod classic;
mod codec;
pub(crate) mod consumer;
mod forms;
pub(crate) mod migration;
pub(crate) mod offsets;
pub(crate) mod record;
mod refusal;
mod runtime;
mod screen;
mod service;
pub(crate) mod shard;
pub(crate) mod turn;

pub(crate) use consumer::shares_of_coordinator;
pub(crate) use runtime::partition_for;
pub(crate) use service::GroupCoordinator;

/// What a coordinator needs of its broker in each step.
pub(crate) struct World<'a> {
    /// The metadata as applied.
    pub(crate) image: &'a crate::metadata::MetadataImage,
    /// The broker's properties.
    pub(crate) config: &'a crate::config::BrokerConfig,
    /// The logs.
    pub(crate) replicas: &'a mut crate::replica::ReplicaManager,
}

/// `Topic.GROUP_METADATA_TOPIC_NAME`.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
