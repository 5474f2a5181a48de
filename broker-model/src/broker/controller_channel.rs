//! Requests of the broker to the active controller: one at a time, and again until they are
//! answered by a controller that is active.
//!
//! Mirrors `NodeToControllerChannelManager`. Where the controller is, is what raft last said; an
//! address is kept until it turns out wrong, even if raft knows better by then. What a request
//! means is its sender's business.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use kafka_protocol::messages::{RequestKind, ResponseKind};

use crate::client::network::{Completion, NetworkError};
use crate::context::Context;
use crate::timer::{Channel, Timer};
use crate::types::{Endpoint, ResponseError};

/// One channel to whoever is the active controller.
///
/// `in_flight` is younger than nothing in `queue`: a request that has to go again goes first.
#[derive(Debug)]
pub(crate) struct ControllerChannel {
    channel: Channel,
    /// Ends the back-off, or the patience of what could not be sent.
    timer: Timer,
    /// A request that could not be sent for this long is given up.
    retry_timeout_ms: u64,
    /// The active controller as raft knows it.
    known: Option<Endpoint>,
    /// Where requests go, until that turns out wrong.
    active: Option<Endpoint>,
    queue: VecDeque<Queued>,
    in_flight: Option<Queued>,
    backing_off: bool,
}

#[derive(Debug)]
struct Queued {
    token: u64,
    created_ms: u64,
    request: RequestKind,
}

/// How a request to the controller ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A controller answered, and not with NOT_CONTROLLER.
    Answered(Box<ResponseKind>),
    /// The controller speaks no version of the request.
    UnsupportedVersion,
}

impl ControllerChannel {
    /// A channel without a controller.
    pub(crate) fn new(channel: Channel, timer: Timer, retry_timeout_ms: u64) -> Self {
        ControllerChannel {
            channel,
            timer,
            retry_timeout_ms,
            known: None,
            active: None,
            queue: VecDeque::new(),
            in_flight: None,
            backing_off: false,
        }
    }

    /// Raft learned of another active controller, or lost it.
    pub(crate) fn set_controller(&mut self, cx: &mut Context<'_>, known: Option<Endpoint>) {
        self.known = known;
        self.pump(cx);
    }

    /// Sends a request when its turn comes. `token` comes back with its end.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, token: u64, request: RequestKind) {
        self.queue.push_back(Queued {
            token,
            created_ms: cx.now.mono_ms,
            request,
        });
        self.pump(cx);
    }

    /// A request of this channel came back. `None` if it is sent again.
    pub(crate) fn on_completion(
        &mut self,
        cx: &mut Context<'_>,
        completion: Completion,
    ) -> Option<(u64, Outcome)> {
        let sent = self
            .in_flight
            .take_if(|sent| sent.token == completion.token)?;
        let outcome = match completion.result {
            Ok(body) if says_not_controller(&body) => {
                // The connection goes too, as in Kafka. Nothing else was in flight on it.
                cx.network.close(self.channel, cx.effects);
                self.active = None;
                self.queue.push_front(sent);
                self.backing_off = true;
                cx.effects.arm(self.timer, RETRY_BACKOFF_MS);
                return None;
            }
            Ok(body) => Outcome::Answered(body),
            Err(NetworkError::UnsupportedVersion) => Outcome::UnsupportedVersion,
            Err(NetworkError::NotSent | NetworkError::Disconnected | NetworkError::TimedOut) => {
                self.active = None;
                self.queue.push_front(sent);
                self.backing_off = true;
                cx.effects.arm(self.timer, RETRY_BACKOFF_MS);
                return None;
            }
        };
        self.pump(cx);
        Some((sent.token, outcome))
    }

    /// The channel's timer fired. Returns the requests that ran out of time before they were sent.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>) -> Vec<u64> {
        self.backing_off = false;
        let mut expired = Vec::new();
        self.queue.retain(|queued| {
            let alive = cx.now.mono_ms < queued.created_ms + self.retry_timeout_ms;
            if !alive {
                expired.push(queued.token);
            }
            alive
        });
        self.pump(cx);
        expired
    }

    /// Sends the first request if it can go, or else asks for the moment it is given up.
    fn pump(&mut self, cx: &mut Context<'_>) {
        if self.in_flight.is_some() || self.backing_off {
            return;
        }
        let Some(first) = self.queue.front() else {
            return;
        };
        if self.active.is_none() {
            self.active.clone_from(&self.known);
        }
        let Some(controller) = &self.active else {
            let gives_up_ms = first.created_ms + self.retry_timeout_ms;
            let left_ms = gives_up_ms.saturating_sub(cx.now.mono_ms);
            return cx.effects.arm_at(self.timer, left_ms);
        };
        let request = (first.token, first.request.clone());
        let timeout_ms = CONTROLLER_SOCKET_TIMEOUT_MS.min(self.retry_timeout_ms);
        cx.network.send(
            cx.now,
            self.channel,
            controller,
            request,
            timeout_ms,
            cx.effects,
        );
        self.in_flight = self.queue.pop_front();
    }
}

/// Whether whoever answered is not the active controller.
fn says_not_controller(body: &ResponseKind) -> bool {
    let code = match body {
        ResponseKind::Envelope(answer) => answer.error_code,
        ResponseKind::BrokerRegistration(answer) => answer.error_code,
        ResponseKind::BrokerHeartbeat(answer) => answer.error_code,
        ResponseKind::AllocateProducerIds(answer) => answer.error_code,
        _ => 0,
    };
    code == ResponseError::NotController.code()
}

/// `NodeToControllerChannelManagerImpl`: the reconnect back-off, with its jitter.
const RETRY_BACKOFF_MS: RangeInclusive<u64> = 40..=60;

/// Default of `controller.socket.timeout.ms`.
const CONTROLLER_SOCKET_TIMEOUT_MS: u64 = 30_000;
