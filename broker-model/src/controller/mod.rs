//! The KRaft controller: decides every change of the cluster's metadata.
//!
//! Mirrors Kafka's `QuorumController` and its managers. A handler borrows the state and returns a
//! `Decision`: records and an answer. The records are appended to the metadata log and
//! replayed; the answer leaves once the last of them is committed. Whoever is not active answers
//! NOT_CONTROLLER. Does not know how records are replicated: see [`raft`](crate::raft).
//!
//! | Kafka class | module |
//! |---|---|
//! | `QuorumController`, `ControllerApis` | `quorum_controller`, `active`, `committed`, `answer` |
//! | `PeriodicTaskControlManager` | `periodic` |
//! | `ClusterControlManager` | `registration`, `cluster_control` |
//! | `BrokerHeartbeatManager`, `BrokerHeartbeatTracker` | `heartbeats` |
//! | `ReplicationControlManager` | `topics`, `partitions`, `alter_partition`, `elections`, `reassignment` |
//! | `PartitionChangeBuilder` | `partition_change` |
//! | `StripedReplicaPlacer` | `placement` |
//! | `ConfigurationControlManager` | `configs` |
//! | `ProducerIdControlManager` | `producer_ids` |

mod active;
mod alter_partition;
mod answer;
mod cluster_control;
mod committed;
mod config;
mod configs;
mod decision;
mod elections;
mod heartbeats;
mod metadata_log;
mod partition_change;
mod partitions;
mod periodic;
mod placement;
mod producer_ids;
mod quorum_controller;
mod reassignment;
mod registration;
mod state;
mod topics;

#[cfg(test)]
mod stories;

pub use config::ControllerConfig;
pub use metadata_log::MetadataLog;
pub use quorum_controller::QuorumController;
