//! What each part of a node needs of `server.properties`.

use super::NodeConfig;
use crate::client::network::NetworkConfig;
use crate::config::BrokerConfig;
use crate::raft::{RaftConfig, RaftTimeouts};
use crate::types::Uuid;

/// `controller.quorum.*`; observers need them too.
pub(super) fn raft(
    config: &NodeConfig,
    properties: &BrokerConfig,
    directory_id: Uuid,
) -> RaftConfig {
    RaftConfig {
        node: config.id,
        is_voter: config.is_controller,
        voters: config.voters.clone(),
        cluster_id: config.cluster_id.clone(),
        directory_id,
        timeouts: RaftTimeouts {
            election_timeout_ms: properties.controller_quorum_election_timeout_ms,
            fetch_timeout_ms: properties.controller_quorum_fetch_timeout_ms,
            election_backoff_max_ms: properties.controller_quorum_election_backoff_max_ms,
            request_timeout_ms: properties.controller_quorum_request_timeout_ms,
            retry_backoff_ms: properties.controller_quorum_retry_backoff_ms,
        },
    }
}

/// How the node connects to others.
pub(super) fn network(properties: &BrokerConfig) -> NetworkConfig {
    NetworkConfig {
        setup_timeout_ms: properties.socket_connection_setup_timeout_ms,
        ..NetworkConfig::default()
    }
}
