//! One channel of a process: its connection and the requests on it.

use std::collections::VecDeque;

use kafka_protocol::messages::RequestKind;

use super::{Completion, NetworkError, NetworkEvent};
use crate::effect::{Effect, Effects};
use crate::timer::Channel;
use crate::types::{ConnectionId, Endpoint, Listener, Now};
use crate::wire::versions::PeerVersions;

/// A channel: where it leads, how far its connection is, and what was asked on it.
#[derive(Debug)]
pub(super) struct Link {
    /// The other side.
    pub(super) to: Endpoint,
    /// How far the connection is.
    pub(super) state: State,
    /// Not written yet.
    pub(super) queue: VecDeque<Pending>,
    /// Written, oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// The correlation id of the next request.
    pub(super) next_correlation_id: i32,
    /// Connection attempts that failed since the last success.
    pub(super) failures: u32,
    /// Somebody asked for the connection while it was backing off.
    pub(super) wanted: bool,
    /// The number of the last connection attempt among all of the process, 0 before the first.
    pub(super) attempt: u64,
    /// When `Timer::Network` fires at the latest, if it is armed.
    pub(super) armed_ms: Option<u64>,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum State {
    /// No connection and none wanted.
    Idle,
    /// `reconnect.backoff.ms` runs; the timer's firing ends it.
    Backoff,
    /// `Effect::Open` is under way.
    Connecting {
        /// The connection.
        conn: ConnectionId,
        /// When it is given up, monotonic.
        deadline_ms: u64,
    },
    /// ApiVersions is unanswered.
    Negotiating {
        /// The connection.
        conn: ConnectionId,
        /// The listener that was connected to.
        listener: Listener,
        /// When it is given up, monotonic.
        deadline_ms: u64,
    },
    /// Requests may be written.
    Ready {
        /// The connection.
        conn: ConnectionId,
        /// What the peer speaks.
        versions: PeerVersions,
    },
}

/// A request that waits for the connection.
#[derive(Debug)]
pub(super) struct Pending {
    /// The sender's name for it.
    pub(super) token: u64,
    /// When it is given up, monotonic.
    pub(super) deadline_ms: u64,
    /// The request.
    pub(super) body: Box<RequestKind>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The sender's name for it.
    pub(super) token: u64,
    /// When the connection is given up over it, monotonic.
    pub(super) deadline_ms: u64,
    /// What the answer repeats.
    pub(super) correlation_id: i32,
    /// The version it was written in.
    pub(super) version: i16,
}

impl Link {
    /// A channel that was never connected.
    pub(super) fn new(to: Endpoint) -> Self {
        Link {
            to,
            state: State::Idle,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_correlation_id: 0,
            failures: 0,
            wanted: false,
            attempt: 0,
            armed_ms: None,
        }
    }

    /// The correlation id of the next request.
    pub(super) fn correlation_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1) & i32::MAX;
        id
    }

    /// Writes what waits, in the versions that both sides speak.
    pub(super) fn write_queue(&mut self, effects: &mut Effects) {
        while let Some(pending) = self.queue.pop_front() {
            let State::Ready { conn, versions } = &self.state else {
                return self.queue.push_front(pending);
            };
            let (conn, version) = (*conn, versions.usable(&pending.body));
            let correlation_id = self.correlation_id();
            if !is_one_way(&pending.body) {
                self.in_flight.push_back(InFlight {
                    token: pending.token,
                    deadline_ms: pending.deadline_ms,
                    correlation_id,
                    version,
                });
            }
            effects.push(Effect::Send {
                conn,
                version,
                correlation_id,
                body: pending.body,
            });
        }
    }

    /// When a connection attempt or a request has to be given up, monotonic.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let setup = match self.state {
            State::Connecting { deadline_ms, .. } | State::Negotiating { deadline_ms, .. } => {
                Some(deadline_ms)
            }
            State::Idle | State::Backoff | State::Ready { .. } => None,
        };
        let waiting = self.queue.iter().map(|pending| pending.deadline_ms).min();
        let sent = self.in_flight.iter().map(|sent| sent.deadline_ms).min();
        [setup, waiting, sent].into_iter().flatten().min()
    }

    /// Ends everything outstanding: what was written with `error`, the rest as never sent.
    pub(super) fn fail(
        &mut self,
        channel: Channel,
        error: NetworkError,
        events: &mut Vec<NetworkEvent>,
    ) {
        for sent in self.in_flight.drain(..) {
            events.push(NetworkEvent::Completed(Completion {
                channel,
                token: sent.token,
                version: sent.version,
                result: Err(error),
            }));
        }
        for pending in self.queue.drain(..) {
            events.push(not_sent(channel, &pending));
        }
    }

    /// Ends what waited for a connection longer than its timeout.
    pub(super) fn expire_queue(
        &mut self,
        now: Now,
        channel: Channel,
        events: &mut Vec<NetworkEvent>,
    ) {
        self.queue.retain(|pending| {
            let keep = pending.deadline_ms > now.mono_ms;
            if !keep {
                events.push(not_sent(channel, pending));
            }
            keep
        });
    }
}

impl State {
    /// The connection, whatever became of it so far.
    pub(super) fn conn(&self) -> Option<ConnectionId> {
        match *self {
            State::Idle | State::Backoff => None,
            State::Connecting { conn, .. }
            | State::Negotiating { conn, .. }
            | State::Ready { conn, .. } => Some(conn),
        }
    }
}

/// Whether no answer will come (`acks = 0`).
fn is_one_way(body: &RequestKind) -> bool {
    matches!(body, RequestKind::Produce(produce) if produce.acks == 0)
}

fn not_sent(channel: Channel, pending: &Pending) -> NetworkEvent {
    NetworkEvent::Completed(Completion {
        channel,
        token: pending.token,
        version: -1,
        result: Err(NetworkError::NotSent),
    })
}
