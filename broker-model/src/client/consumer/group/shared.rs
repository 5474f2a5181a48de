//! What the memberships of both protocols share.

use std::collections::BTreeSet;

use super::callbacks::Callbacks;
use super::commits::Commits;
use super::committed::Reads;
use super::coordinator::Coordinator;
use crate::client::backoff::Backoff;
use crate::client::config::consumer_backoff;
use crate::config::ConsumerConfig;
use crate::types::StrBytes;

/// The group, and everything that asks its coordinator.
#[derive(Debug)]
pub(super) struct Shared {
    /// What the consumer was told about its group.
    pub(super) config: GroupConfig,
    /// Where the coordinator is.
    pub(super) coordinator: Coordinator,
    /// Commits under way.
    pub(super) commits: Commits,
    /// Questions about committed offsets.
    pub(super) reads: Reads,
    /// Calls of the rebalance listener.
    pub(super) callbacks: Callbacks,
    /// The topics subscribed to by name. Empty with a pattern.
    pub(super) topics: BTreeSet<StrBytes>,
    /// The pattern subscribed to.
    pub(super) pattern: Option<StrBytes>,
}

/// A consumer's properties about its group.
#[derive(Clone, Debug)]
pub(super) struct GroupConfig {
    /// `group.id`
    pub(super) group: StrBytes,
    /// `group.instance.id`
    pub(super) instance: Option<StrBytes>,
    /// `client.rack`
    pub(super) rack: Option<StrBytes>,
    /// `group.remote.assignor`
    pub(super) remote_assignor: Option<StrBytes>,
    /// `session.timeout.ms`
    pub(super) session_timeout_ms: u64,
    /// `heartbeat.interval.ms`
    pub(super) heartbeat_interval_ms: u64,
    /// `max.poll.interval.ms`
    pub(super) max_poll_interval_ms: u64,
    /// `request.timeout.ms`
    pub(super) request_timeout_ms: u64,
    /// `default.api.timeout.ms`
    pub(super) api_timeout_ms: u64,
    /// `retry.backoff.ms`
    pub(super) retry_backoff_ms: u64,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`
    pub(super) backoff: Backoff,
}

impl GroupConfig {
    /// Of a consumer that has a group.
    pub(super) fn new(group: StrBytes, config: &ConsumerConfig) -> Self {
        let text = |text: &String| StrBytes::from_string(text.clone());
        let rack = Some(&config.client_rack).filter(|rack| !rack.is_empty());
        GroupConfig {
            group,
            instance: config.group_instance_id.as_ref().map(text),
            rack: rack.map(text),
            remote_assignor: config.group_remote_assignor.as_ref().map(text),
            session_timeout_ms: config.session_timeout_ms,
            heartbeat_interval_ms: config.heartbeat_interval_ms,
            max_poll_interval_ms: config.max_poll_interval_ms,
            request_timeout_ms: config.request_timeout_ms,
            api_timeout_ms: config.default_api_timeout_ms,
            retry_backoff_ms: config.retry_backoff_ms,
            backoff: consumer_backoff(config),
        }
    }
}

impl Shared {
    /// Nothing subscribed to, nobody asked.
    pub(super) fn new(group: StrBytes, config: &ConsumerConfig) -> Self {
        let own = GroupConfig::new(group.clone(), config);
        Shared {
            coordinator: Coordinator::new(group.clone(), own.request_timeout_ms, own.backoff),
            commits: Commits::new(group.clone(), config),
            reads: Reads::new(group, config),
            callbacks: Callbacks::default(),
            topics: BTreeSet::new(),
            pattern: None,
            config: own,
        }
    }

    /// Whether the consumer wants to be a member.
    pub(super) fn is_subscribed(&self) -> bool {
        !self.topics.is_empty() || self.pattern.is_some()
    }
}
