//! The replicas that a broker hosts, and how they stay equal.
//!
//! | Kafka class | module |
//! |---|---|
//! | `ReplicaManager` | [`manager`] |
//! | `Partition` | `partition`, with `isr` |
//! | `DefaultAlterPartitionManager` | `alter_partition` |
//! | `ReplicaFetcherThread`, `FetchSessionHandler` | `fetcher`, `follower_session` |
//! | `DelayedOperationPurgatory`, `DelayedProduce`, `DelayedFetch` | `purgatory`, `produce`, `fetch` |
//! | `FetchSessionCache` | `sessions` |
//!
//! Data is not flushed before it is acknowledged: replication is what makes it durable, as in
//! Kafka. Logs are flushed by the world's writeback, and when the broker stops in order.

mod alter_partition;
mod checkpoints;
mod cluster;
mod coordinators;
mod delete_records;
mod describe_producers;
mod fetch;
mod fetcher;
mod follower;
mod follower_session;
mod isr;
pub mod manager;
mod metadata_changes;
mod offsets;
mod partition;
mod produce;
mod purgatory;
mod sessions;
mod storage;
#[cfg(test)]
mod stories;
mod view;

pub(crate) use coordinators::WholeLog;
pub use manager::{ReplicaConfig, ReplicaManager};
pub use view::PartitionView;
