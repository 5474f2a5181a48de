//! The outbound connections of a process: clients and brokers use the same.
//!
//! Mirrors Kafka's `NetworkClient`: one connection a [`Channel`], version negotiation on each new
//! connection, requests answered in order, `request.timeout.ms` that closes the connection with
//! everything in flight, and an exponential reconnect back-off. What a request means, whether it
//! is retried and where it goes is its sender's business.
//!
//! A request that timed out may still be executed by the node that got it: the connection is
//! gone, not the request.

mod link;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};

use self::link::{Link, Pending, State};
use crate::effect::{Effect, Effects};
use crate::timer::{Channel, Timer};
use crate::types::{ConnectionId, Endpoint, Listener, Now, StrBytes};
use crate::wire::versions::{self, PeerVersions};

/// Back-offs and limits of the connections, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetworkConfig {
    /// `reconnect.backoff.ms`: before the first new attempt.
    pub reconnect_backoff_ms: u64,
    /// `reconnect.backoff.max.ms`: the back-off doubles up to this.
    pub reconnect_backoff_max_ms: u64,
    /// `socket.connection.setup.timeout.ms`.
    pub setup_timeout_ms: u64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 1_000,
            setup_timeout_ms: 10_000,
        }
    }
}

/// How a request ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Completion {
    /// The channel it was sent on.
    pub channel: Channel,
    /// The sender's own name for it.
    pub token: u64,
    /// The version it was written in; meaningless if it never was.
    pub version: i16,
    /// The answer, or why there is none.
    pub result: Result<Box<ResponseKind>, NetworkError>,
}

/// Why a request has no answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NetworkError {
    /// It was never written to a socket: it certainly had no effect.
    NotSent,
    /// It was written, then the connection went away: it may have had an effect.
    Disconnected,
    /// It was written and not answered in time: it may have, or may still get, an effect.
    TimedOut,
    /// The peer speaks no version of it that this process speaks. Never written.
    UnsupportedVersion,
}

impl NetworkError {
    /// Whether the request certainly never reached anybody.
    #[must_use]
    pub fn never_sent(self) -> bool {
        matches!(
            self,
            NetworkError::NotSent | NetworkError::UnsupportedVersion
        )
    }
}

/// How far a channel is from being able to send, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Readiness {
    /// Connected and negotiated.
    Ready,
    /// A connection attempt runs.
    Connecting,
    /// Not connected; an attempt may start at once.
    Idle,
    /// The last connection is gone and the next attempt has to wait.
    BackingOff,
}

/// What the senders of a process have to hear about.
#[derive(Clone, PartialEq, Debug)]
pub enum NetworkEvent {
    /// A request ended.
    Completed(Completion),
    /// The channel is connected and negotiated: requests will be written at once.
    Ready(Channel),
    /// The channel lost its connection; its requests were completed before.
    Disconnected(Channel),
}

/// The outbound connections of one process.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    client_id: StrBytes,
    links: BTreeMap<Channel, Link>,
    channels: BTreeMap<ConnectionId, Channel>,
    opened: u64,
}

impl Network {
    /// No connections yet.
    #[must_use]
    pub fn new(config: NetworkConfig, client_id: StrBytes) -> Self {
        Network {
            config,
            client_id,
            links: BTreeMap::new(),
            channels: BTreeMap::new(),
            opened: 0,
        }
    }

    /// The `client.id` that requests carry.
    #[must_use]
    pub fn client_id(&self) -> &StrBytes {
        &self.client_id
    }

    /// Whether a request on that channel would be written at once.
    #[must_use]
    pub fn is_ready(&self, channel: Channel) -> bool {
        self.links
            .get(&channel)
            .is_some_and(|link| matches!(link.state, State::Ready { .. }))
    }

    /// Requests that were sent on the channel and have not ended.
    #[must_use]
    pub fn outstanding(&self, channel: Channel) -> usize {
        self.links
            .get(&channel)
            .map_or(0, |link| link.queue.len() + link.in_flight.len())
    }

    /// Where the channel was last pointed.
    #[must_use]
    pub fn leads_to(&self, channel: Channel) -> Option<&Endpoint> {
        self.links.get(&channel).map(|link| &link.to)
    }

    /// How far the channel is from being able to send.
    #[must_use]
    pub fn readiness(&self, channel: Channel) -> Readiness {
        let state = self.links.get(&channel).map(|link| &link.state);
        match state {
            None | Some(State::Idle) => Readiness::Idle,
            Some(State::Backoff) => Readiness::BackingOff,
            Some(State::Connecting { .. } | State::Negotiating { .. }) => Readiness::Connecting,
            Some(State::Ready { .. }) => Readiness::Ready,
        }
    }

    /// A number that grows with the moment of the channel's last connection attempt; 0 before the
    /// first.
    #[must_use]
    pub fn last_attempt(&self, channel: Channel) -> u64 {
        self.links.get(&channel).map_or(0, |link| link.attempt)
    }

    /// Connects the channel unless it is connected, as `NetworkClient.ready` does; while it backs
    /// off, once that is over. True if it is ready; otherwise `NetworkEvent::Ready` will tell.
    pub fn connect(
        &mut self,
        now: Now,
        channel: Channel,
        to: &Endpoint,
        effects: &mut Effects,
    ) -> bool {
        self.point(channel, to, effects);
        let link = self.links.get_mut(&channel).expect("just pointed");
        match link.state {
            State::Ready { .. } => return true,
            State::Idle => self.open(now, channel, effects),
            State::Backoff => link.wanted = true,
            State::Connecting { .. } | State::Negotiating { .. } => {}
        }
        false
    }

    /// Sends a request; it waits while the channel connects. `token` comes back with the
    /// completion, unless it is a produce with acks=0 and gets written: nothing answers that. A channel that was pointed elsewhere is reconnected: what it had in flight must
    /// have been taken back with [`Network::close`].
    pub fn send(
        &mut self,
        now: Now,
        channel: Channel,
        to: &Endpoint,
        (token, body): (u64, RequestKind),
        timeout_ms: u64,
        effects: &mut Effects,
    ) {
        let ready = self.connect(now, channel, to, effects);
        let link = self.links.get_mut(&channel).expect("just connected");
        let deadline_ms = now.mono_ms + timeout_ms;
        link.queue.push_back(Pending {
            token,
            deadline_ms,
            body: Box::new(body),
        });
        if ready {
            link.write_queue(effects);
        }
        self.arm(now, channel, effects);
    }

    /// Drops the channel's connection. What it had outstanding ends in the returned completions.
    pub fn close(&mut self, channel: Channel, effects: &mut Effects) -> Vec<NetworkEvent> {
        let Some(link) = self.links.get_mut(&channel) else {
            return Vec::new();
        };
        let conn = link.state.conn();
        link.state = State::Idle;
        link.wanted = false;
        let mut events = Vec::new();
        link.fail(channel, NetworkError::Disconnected, &mut events);
        link.armed_ms = None;
        effects.disarm(Timer::Network(channel));
        if let Some(conn) = conn {
            self.channels.remove(&conn);
            effects.close(conn);
        }
        events
    }

    /// Drops every connection and forgets what was outstanding.
    pub fn close_all(&mut self, effects: &mut Effects) {
        for (&channel, link) in &self.links {
            if let Some(conn) = link.state.conn() {
                effects.close(conn);
            }
            if link.armed_ms.is_some() {
                effects.disarm(Timer::Network(channel));
            }
        }
        self.links.clear();
        self.channels.clear();
    }

    /// `Input::Opened` of a connection that this process opened.
    pub fn on_opened(
        &mut self,
        now: Now,
        conn: ConnectionId,
        listener: Listener,
        effects: &mut Effects,
    ) {
        let Some(&channel) = self.channels.get(&conn) else {
            return;
        };
        let link = self
            .links
            .get_mut(&channel)
            .expect("channels and links agree");
        let State::Connecting { deadline_ms, .. } = link.state else {
            return;
        };
        link.state = State::Negotiating {
            conn,
            listener,
            deadline_ms,
        };
        let correlation_id = link.correlation_id();
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kafka-sim"))
            .with_client_software_version(StrBytes::from_static_str("0.1.0"));
        let version = versions::API_VERSIONS_REQUEST_VERSION;
        let body = Box::new(RequestKind::ApiVersions(request));
        effects.push(Effect::Send {
            conn,
            version,
            correlation_id,
            body,
        });
        self.arm(now, channel, effects);
    }

    /// `Input::Response`.
    pub fn on_response(
        &mut self,
        now: Now,
        conn: ConnectionId,
        correlation_id: i32,
        body: Box<ResponseKind>,
        effects: &mut Effects,
    ) -> Option<NetworkEvent> {
        let &channel = self.channels.get(&conn)?;
        let link = self
            .links
            .get_mut(&channel)
            .expect("channels and links agree");
        if let State::Negotiating { listener, .. } = link.state {
            let ResponseKind::ApiVersions(answer) = *body else {
                return None;
            };
            let versions = PeerVersions::from_response(listener, &answer);
            link.state = State::Ready { conn, versions };
            link.failures = 0;
            link.write_queue(effects);
            self.arm(now, channel, effects);
            return Some(NetworkEvent::Ready(channel));
        }
        let first = link.in_flight.front_mut()?;
        if first.correlation_id != correlation_id {
            // Not an answer to what was asked: the connection makes no sense any more. Its timer
            // ends it at once, together with everything in flight.
            first.deadline_ms = now.mono_ms;
            self.arm(now, channel, effects);
            return None;
        }
        let sent = link.in_flight.pop_front().expect("just seen");
        Some(NetworkEvent::Completed(Completion {
            channel,
            token: sent.token,
            version: sent.version,
            result: Ok(body),
        }))
    }

    /// `Input::Closed` of a connection that this process opened.
    pub fn on_closed(
        &mut self,
        now: Now,
        conn: ConnectionId,
        effects: &mut Effects,
    ) -> Vec<NetworkEvent> {
        let Some(channel) = self.channels.remove(&conn) else {
            return Vec::new();
        };
        self.lost(now, channel, NetworkError::Disconnected, effects)
    }

    /// `Input::Fired(Timer::Network(channel))`.
    pub fn on_timer(
        &mut self,
        now: Now,
        channel: Channel,
        effects: &mut Effects,
    ) -> Vec<NetworkEvent> {
        let Some(link) = self.links.get_mut(&channel) else {
            return Vec::new();
        };
        link.armed_ms = None;
        let mut events = Vec::new();
        match link.state {
            State::Backoff => {
                link.state = State::Idle;
                link.expire_queue(now, channel, &mut events);
                if link.wanted || !link.queue.is_empty() {
                    self.open(now, channel, effects);
                }
            }
            State::Connecting { conn, deadline_ms }
            | State::Negotiating {
                conn, deadline_ms, ..
            } => {
                link.expire_queue(now, channel, &mut events);
                if deadline_ms <= now.mono_ms {
                    self.channels.remove(&conn);
                    effects.close(conn);
                    events.extend(self.lost(now, channel, NetworkError::Disconnected, effects));
                }
            }
            State::Ready { conn, .. } => {
                if link
                    .in_flight
                    .iter()
                    .any(|sent| sent.deadline_ms <= now.mono_ms)
                {
                    self.channels.remove(&conn);
                    effects.close(conn);
                    events = self.lost(now, channel, NetworkError::TimedOut, effects);
                }
            }
            State::Idle => link.expire_queue(now, channel, &mut events),
        }
        self.arm(now, channel, effects);
        events
    }

    /// Makes the channel exist and lead to that endpoint.
    fn point(&mut self, channel: Channel, to: &Endpoint, effects: &mut Effects) {
        if let Some(link) = self.links.get_mut(&channel) {
            if link.to == *to {
                return;
            }
            link.to = to.clone();
            if let Some(conn) = link.state.conn() {
                assert!(
                    link.in_flight.is_empty(),
                    "{channel:?} moved with requests in flight"
                );
                link.state = State::Idle;
                self.channels.remove(&conn);
                effects.close(conn);
            }
            return;
        }
        self.links.insert(channel, Link::new(to.clone()));
    }

    fn open(&mut self, now: Now, channel: Channel, effects: &mut Effects) {
        self.opened += 1;
        let conn = ConnectionId::outbound(self.opened);
        let link = self
            .links
            .get_mut(&channel)
            .expect("a channel is pointed before it opens");
        let deadline_ms = now.mono_ms + self.config.setup_timeout_ms;
        link.wanted = false;
        link.attempt = self.opened;
        link.state = State::Connecting { conn, deadline_ms };
        self.channels.insert(conn, channel);
        effects.push(Effect::Open {
            conn,
            to: link.to.clone(),
        });
        self.arm(now, channel, effects);
    }

    /// The connection is gone: everything outstanding ends, and the back-off starts.
    fn lost(
        &mut self,
        now: Now,
        channel: Channel,
        error: NetworkError,
        effects: &mut Effects,
    ) -> Vec<NetworkEvent> {
        let link = self
            .links
            .get_mut(&channel)
            .expect("channels and links agree");
        let mut events = Vec::new();
        link.fail(channel, error, &mut events);
        link.state = State::Backoff;
        let doublings = link.failures.min(16);
        let backoff_ms = (self.config.reconnect_backoff_ms << doublings)
            .min(self.config.reconnect_backoff_max_ms);
        link.failures += 1;
        // Twenty percent of jitter either way (CommonClientConfigs.RETRY_BACKOFF_JITTER), never
        // above the maximum.
        let latest_ms = (backoff_ms + backoff_ms / 5).min(self.config.reconnect_backoff_max_ms);
        let window = backoff_ms - backoff_ms / 5..=latest_ms;
        link.armed_ms = Some(now.mono_ms + window.end());
        effects.arm(Timer::Network(channel), window);
        events.push(NetworkEvent::Disconnected(channel));
        events
    }

    /// Keeps the channel's timer at or before its next deadline. The timer is only ever moved
    /// forward: one that fires early finds nothing to do and is set again.
    fn arm(&mut self, now: Now, channel: Channel, effects: &mut Effects) {
        let link = self
            .links
            .get_mut(&channel)
            .expect("only existing channels are armed");
        if matches!(link.state, State::Backoff) {
            return;
        }
        let Some(deadline_ms) = link.next_deadline_ms() else {
            return;
        };
        if link
            .armed_ms
            .is_some_and(|armed_ms| armed_ms <= deadline_ms)
        {
            return;
        }
        link.armed_ms = Some(deadline_ms);
        effects.arm_at(
            Timer::Network(channel),
            deadline_ms.saturating_sub(now.mono_ms),
        );
    }
}
