//! One Kafka process: it owns the parts that its `process.roles` ask for, and routes.

use std::collections::BTreeMap;

use crate::bug::Bug;
use crate::types::{Endpoint, NodeId, StrBytes};

/// How a node is set up: what Kafka reads from `server.properties` and from its storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// `node.id`.
    pub id: NodeId,
    /// Whether `process.roles` has `broker`.
    pub is_broker: bool,
    /// Whether `process.roles` has `controller`: a voter of the metadata quorum.
    pub is_controller: bool,
    /// `cluster.id`.
    pub cluster_id: StrBytes,
    /// `controller.quorum.voters`, sorted by id.
    pub voters: Vec<Voter>,
    /// `advertised.listeners` for clients and other brokers.
    pub broker_endpoint: Endpoint,
    /// `broker.rack`.
    pub rack: Option<StrBytes>,
    /// Everything else of `server.properties`, already checked against the table.
    pub properties: BTreeMap<String, String>,
    /// The longest time, in milliseconds, that the broker may lag in applying committed metadata;
    /// 0 applies it at once.
    pub metadata_lag_max_ms: u64,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
}

/// A static voter of the metadata quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Its `node.id`.
    pub id: NodeId,
    /// Its controller listener.
    pub endpoint: Endpoint,
}
