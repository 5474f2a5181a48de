//! Groups that go from one protocol to the other with members in them.
//!
//! Mirrors `ConsumerGroupMigrationPolicy`. KIP-848: the first ConsumerGroupHeartbeat that joins a classic
//! group of consumers makes it a consumer group; members that speak the classic protocol stay in it.
//! When the last one leaves that does not, it becomes a classic group again. The ids, the generation
//! and who owns what stay as they are.

use bytes::Bytes;

use crate::config::BrokerConfig;
use crate::types::StrBytes;

/// The protocol type of consumers (`ConsumerProtocol.PROTOCOL_TYPE`).
pub(crate) const CONSUMER_PROTOCOL: &str = "consumer";

/// A member of the classic protocol on its way from one kind of group to the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Migrant {
    /// Its id.
    pub(crate) id: StrBytes,
    /// `group.instance.id`.
    pub(crate) instance: Option<StrBytes>,
    /// `client.id`.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// In ms.
    pub(crate) rebalance_timeout_ms: i32,
    /// In ms.
    pub(crate) session_timeout_ms: i32,
    /// Names and metadata, the best first.
    pub(crate) protocols: Vec<(StrBytes, Bytes)>,
    /// Its part, empty if it has none.
    pub(crate) assignment: Bytes,
}

/// What a consumer group leaves to the classic group that it becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Downgrade {
    /// The generation: the group's epoch.
    pub(crate) generation: i32,
    /// Its members, all of the classic protocol.
    pub(crate) members: Vec<Migrant>,
    /// Whether the partitions have to be distributed anew.
    pub(crate) rebalance: bool,
}

/// Whether classic groups may become consumer groups.
pub(crate) fn upgrades(config: &BrokerConfig) -> bool {
    allows(config, "upgrade")
}

/// Whether consumer groups may become classic groups.
pub(crate) fn downgrades(config: &BrokerConfig) -> bool {
    allows(config, "downgrade")
}

fn allows(config: &BrokerConfig, direction: &str) -> bool {
    let policy = &config.group_consumer_migration_policy;
    policy.eq_ignore_ascii_case("bidirectional") || policy.eq_ignore_ascii_case(direction)
}
