//! What the controller takes from `server.properties`.

use crate::config::{BrokerConfig, Given};
use crate::node::{NodeConfig, Voter};
use crate::types::{NodeId, StrBytes};

/// The controller's settings, under Kafka's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerConfig {
    /// `node.id`.
    pub node: NodeId,
    /// `cluster.id`.
    pub cluster_id: StrBytes,
    /// `controller.quorum.voters`: the controllers and where they are reached.
    pub voters: Vec<Voter>,
    /// The node's properties, where topics inherit from.
    pub properties: Given,
    /// `broker.session.timeout.ms`.
    pub session_timeout_ms: u64,
    /// `num.partitions`.
    pub default_num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable`, for topics that do not say.
    pub unclean_leader_election_enable: bool,
    /// `unclean.leader.election.interval.ms`.
    pub unclean_leader_election_interval_ms: u64,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`, in milliseconds.
    pub leader_imbalance_check_interval_ms: u64,
    /// `metadata.max.idle.interval.ms`; `None` for 0.
    pub max_idle_interval_ms: Option<u64>,
}

impl ControllerConfig {
    /// The controller's share of a node's configuration.
    #[must_use]
    pub fn new(node: &NodeConfig, config: &BrokerConfig) -> Self {
        ControllerConfig {
            node: node.id,
            cluster_id: node.cluster_id.clone(),
            voters: node.voters.clone(),
            properties: node.properties.clone(),
            session_timeout_ms: config.broker_session_timeout_ms,
            default_num_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor,
            delete_topic_enable: config.delete_topic_enable,
            unclean_leader_election_enable: config.unclean_leader_election_enable,
            unclean_leader_election_interval_ms: config.unclean_leader_election_interval_ms,
            auto_leader_rebalance_enable: config.auto_leader_rebalance_enable,
            leader_imbalance_check_interval_ms: 1_000
                * config.leader_imbalance_check_interval_seconds,
            max_idle_interval_ms: Some(config.metadata_max_idle_interval_ms).filter(|&ms| 0 < ms),
        }
    }
}
