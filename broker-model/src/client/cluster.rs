//! A client's way to the cluster: connections, the metadata cache, and the requests that keep it
//! fresh.
//!
//! Mirrors the half of Kafka's `NetworkClient` that updates metadata: the least loaded node is
//! asked, a lost connection asks for a refresh, and when no known broker can be reached the
//! bootstrap servers are tried again (KIP-899). What else is sent is up to the owner.

use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::alarm::Alarm;
use super::metadata::{Metadata, MetadataConfig};
use super::network::{Completion, Network, NetworkConfig, NetworkEvent, Readiness};
use super::token::Purpose;
use crate::effect::Effects;
use crate::ids::IdSource;
use crate::input::Input;
use crate::timer::{Channel, Timer};
use crate::types::{Endpoint, NodeId, Now, StrBytes};

/// Connections and metadata of one client.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The connections.
    pub(super) network: Network,
    /// The leader cache.
    pub(super) metadata: Metadata,
    /// Every random choice of the client.
    pub(super) ids: IdSource,
    config: ClusterConfig,
    alarm: Alarm,
    /// A metadata request is on its way.
    updating: bool,
    closed: bool,
}

/// How a client reaches its cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterConfig {
    /// `bootstrap.servers`.
    pub(super) bootstrap: Vec<Endpoint>,
    /// `client.id`.
    pub(super) client_id: StrBytes,
    /// Back-offs and limits of connections.
    pub(super) network: NetworkConfig,
    /// When to refresh.
    pub(super) metadata: MetadataConfig,
    /// `request.timeout.ms`.
    pub(super) request_timeout_ms: u64,
}

/// What the owner has to hear about.
#[derive(Debug)]
pub(super) enum Happened {
    /// A request of the owner ended.
    Completed(Completion),
    /// A refresh brought an answer.
    MetadataUpdated,
    /// A broker's connection is ready or gone, or a request went nowhere: look again.
    ConnectionChanged,
}

impl Cluster {
    /// No connection, no knowledge. Ids follow with `Input::Started`.
    pub(super) fn new(config: ClusterConfig) -> Self {
        Cluster {
            network: Network::new(config.network, config.client_id.clone()),
            metadata: Metadata::new(config.metadata),
            ids: IdSource::new(0),
            config,
            alarm: Alarm::new(Timer::ClientMetadata),
            updating: false,
            closed: false,
        }
    }

    /// Handles everything that is not a command or a timer of the owner.
    pub(super) fn on_input(
        &mut self,
        now: Now,
        input: Input,
        happened: &mut Vec<Happened>,
        effects: &mut Effects,
    ) {
        match input {
            Input::Started { entropy } => self.ids = IdSource::new(entropy),
            Input::Opened { conn, listener } => {
                self.network.on_opened(now, conn, listener, effects);
            }
            Input::Response {
                conn,
                correlation_id,
                body,
            } => {
                let event = self
                    .network
                    .on_response(now, conn, correlation_id, body, effects);
                if let Some(event) = event {
                    self.on_network(now, event, happened, effects);
                }
            }
            Input::Closed { conn } => {
                for event in self.network.on_closed(now, conn, effects) {
                    self.on_network(now, event, happened, effects);
                }
            }
            Input::Fired(Timer::Network(channel)) => {
                for event in self.network.on_timer(now, channel, effects) {
                    self.on_network(now, event, happened, effects);
                }
            }
            Input::Fired(Timer::ClientMetadata) => self.alarm.fired(),
            // A client listens nowhere, has no disk and no other timer of this part's.
            Input::Request { .. } | Input::Fired(_) | Input::Flushed(..) | Input::Command(_) => {}
        }
    }

    /// Sends a metadata request if one is due, or makes sure that it will be.
    pub(super) fn maybe_update(&mut self, now: Now, effects: &mut Effects) {
        if self.updating || self.closed {
            return;
        }
        let due_ms = self.metadata.due_ms(now);
        if now.mono_ms < due_ms {
            return self.alarm.set(now, due_ms, effects);
        }
        let Some((channel, endpoint)) = self.least_loaded() else {
            let retry_ms = now.mono_ms + self.config.network.reconnect_backoff_ms;
            return self.alarm.set(now, retry_ms, effects);
        };
        self.updating = true;
        let body = RequestKind::Metadata(self.metadata.request());
        let request = (Purpose::Metadata.token(0), body);
        let timeout_ms = self.config.request_timeout_ms;
        self.network
            .send(now, channel, &endpoint, request, timeout_ms, effects);
    }

    /// Whether a request to that broker would be written at once and keeps
    /// `max.in.flight.requests.per.connection`; connects otherwise.
    pub(super) fn can_send(
        &mut self,
        now: Now,
        node: NodeId,
        in_flight_max: usize,
        effects: &mut Effects,
    ) -> bool {
        let Some(endpoint) = self.metadata.endpoint(node) else {
            self.metadata.request_update();
            return false;
        };
        let channel = Channel::Broker(node);
        self.network.connect(now, channel, endpoint, effects)
            && self.network.outstanding(channel) < in_flight_max
    }

    /// Sends a request to a broker that metadata names.
    pub(super) fn send(
        &mut self,
        now: Now,
        node: NodeId,
        request: (u64, RequestKind),
        timeout_ms: u64,
        effects: &mut Effects,
    ) {
        let endpoint = self
            .metadata
            .endpoint(node)
            .expect("only brokers with an endpoint lead");
        self.network.send(
            now,
            Channel::Broker(node),
            endpoint,
            request,
            timeout_ms,
            effects,
        );
    }

    /// Sends a request to a group's coordinator, on the connection for that.
    pub(super) fn send_to_coordinator(
        &mut self,
        now: Now,
        (node, endpoint): (NodeId, &Endpoint),
        request: (u64, RequestKind),
        timeout_ms: u64,
        effects: &mut Effects,
    ) {
        let channel = Channel::Coordinator(node);
        self.network
            .send(now, channel, endpoint, request, timeout_ms, effects);
    }

    /// Drops the connection to a coordinator. What was asked there ends with the returned
    /// completions.
    pub(super) fn drop_coordinator(
        &mut self,
        node: NodeId,
        effects: &mut Effects,
    ) -> Vec<Completion> {
        let events = self.network.close(Channel::Coordinator(node), effects);
        let completions = events.into_iter().filter_map(|event| match event {
            NetworkEvent::Completed(completion) => Some(completion),
            NetworkEvent::Ready(_) | NetworkEvent::Disconnected(_) => None,
        });
        completions.collect()
    }

    /// Sends a request that any broker can answer, to the least loaded one
    /// (`leastLoadedNode`). False if none may be asked now.
    pub(super) fn send_to_any(
        &mut self,
        now: Now,
        request: (u64, RequestKind),
        timeout_ms: u64,
        effects: &mut Effects,
    ) -> bool {
        let Some((channel, endpoint)) = self.least_loaded() else {
            return false;
        };
        self.network
            .send(now, channel, &endpoint, request, timeout_ms, effects);
        true
    }

    /// Closes every connection; nothing is sent any more.
    pub(super) fn close(&mut self, effects: &mut Effects) {
        self.closed = true;
        self.network.close_all(effects);
        self.alarm.cancel(effects);
    }

    fn on_network(
        &mut self,
        now: Now,
        event: NetworkEvent,
        happened: &mut Vec<Happened>,
        effects: &mut Effects,
    ) {
        match event {
            NetworkEvent::Completed(completion) => match Purpose::of(completion.token).0 {
                Purpose::Metadata => self.on_metadata(now, completion, happened, effects),
                Purpose::InitProducerId
                | Purpose::Produce
                | Purpose::Fetch
                | Purpose::ListOffsets
                | Purpose::EpochEnds
                | Purpose::CreateTopic
                | Purpose::FindCoordinator
                | Purpose::JoinGroup
                | Purpose::SyncGroup
                | Purpose::Heartbeat
                | Purpose::LeaveGroup
                | Purpose::GroupHeartbeat
                | Purpose::OffsetCommit
                | Purpose::OffsetFetch
                | Purpose::GroupCall => happened.push(Happened::Completed(completion)),
            },
            NetworkEvent::Ready(_) => happened.push(Happened::ConnectionChanged),
            NetworkEvent::Disconnected(_) => {
                // The disconnect may be the result of outdated metadata.
                self.metadata.request_update();
                happened.push(Happened::ConnectionChanged);
            }
        }
    }

    fn on_metadata(
        &mut self,
        now: Now,
        completion: Completion,
        happened: &mut Vec<Happened>,
        effects: &mut Effects,
    ) {
        self.updating = false;
        let Ok(body) = completion.result else {
            return self.metadata.on_failure(now, &mut self.ids);
        };
        let ResponseKind::Metadata(response) = *body else {
            return self.metadata.on_failure(now, &mut self.ids);
        };
        self.metadata.on_response(now, response, &mut self.ids);
        let leads_elsewhere = |(node, endpoint): (NodeId, &Endpoint)| {
            let channel = Channel::Broker(node);
            let to = self.network.leads_to(channel);
            to.is_some_and(|to| to != endpoint).then_some(channel)
        };
        let moved: Vec<Channel> = self
            .metadata
            .brokers()
            .filter_map(leads_elsewhere)
            .collect();
        for channel in moved {
            // What was in flight there ends now; the next connection is made to the new place.
            for event in self.network.close(channel, effects) {
                self.on_network(now, event, happened, effects);
            }
        }
        happened.push(Happened::MetadataUpdated);
    }

    /// A ready connection with the fewest requests in flight; else one that is being made; else
    /// the broker that was tried longest ago. The bootstrap servers count only when no broker can
    /// be asked.
    fn least_loaded(&mut self) -> Option<(Channel, Endpoint)> {
        let brokers = self.metadata.brokers();
        let brokers = brokers.map(|(node, endpoint)| (Channel::Broker(node), endpoint));
        let brokers: Vec<_> = brokers.collect();
        let bootstrap = (0..=u8::MAX).zip(&self.config.bootstrap);
        let bootstrap = bootstrap.map(|(n, endpoint)| (Channel::Bootstrap(n), endpoint));
        let chosen = choose(&self.network, &mut self.ids, &brokers)
            .or_else(|| choose(&self.network, &mut self.ids, &bootstrap.collect::<Vec<_>>()));
        chosen.map(|(channel, endpoint)| (channel, endpoint.clone()))
    }
}

/// The best channel of those that may be used now; ties are broken by chance.
fn choose<'a>(
    network: &Network,
    ids: &mut IdSource,
    candidates: &[(Channel, &'a Endpoint)],
) -> Option<(Channel, &'a Endpoint)> {
    if candidates.is_empty() {
        return None;
    }
    let count = candidates.len();
    let start = usize::try_from(ids.below(count as u64)).expect("less than a Vec's length");
    (0..count)
        .map(|at| candidates[(start + at) % count])
        .filter(|&(channel, _)| network.readiness(channel) != Readiness::BackingOff)
        .min_by_key(|&(channel, _)| match network.readiness(channel) {
            Readiness::Ready => (Readiness::Ready, network.outstanding(channel) as u64),
            other => (other, network.last_attempt(channel)),
        })
}
