//! Where the group's coordinator is.
//!
//! Mirrors the half of Kafka's `AbstractCoordinator` that finds it, and `CoordinatorRequestManager`:
//! any broker is asked; a coordinator that answers NOT_COORDINATOR, whose connection is gone or that
//! stays silent for too long is unknown again. Its requests have a connection of their own, so
//! that none waits behind a fetch.

use std::collections::VecDeque;

use kafka_protocol::messages::{FindCoordinatorRequest, RequestKind, ResponseKind};

use super::env::Env;
use crate::client::backoff::Backoff;
use crate::client::command::ClientError;
use crate::client::metadata::endpoint;
use crate::client::network::{Completion, NetworkError, Readiness};
use crate::client::token::Purpose;
use crate::timer::Channel;
use crate::types::{Endpoint, NodeId, ResponseError, StrBytes};

/// The coordinator as far as the consumer knows.
#[derive(Debug)]
pub(super) struct Coordinator {
    group: StrBytes,
    request_timeout_ms: u64,
    backoff: Backoff,
    known: Option<(NodeId, Endpoint)>,
    /// A lookup is unanswered.
    asking: bool,
    failures: u32,
    not_before_ms: u64,
    /// What was asked of a coordinator that is given up.
    orphans: VecDeque<Completion>,
}

/// How a lookup ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The coordinator is known.
    Yes,
    /// It will be looked for again.
    NotYet,
    /// The group has none.
    Never(ClientError),
}

impl Coordinator {
    /// Not known.
    pub(super) fn new(group: StrBytes, request_timeout_ms: u64, backoff: Backoff) -> Self {
        Coordinator {
            group,
            request_timeout_ms,
            backoff,
            known: None,
            asking: false,
            failures: 0,
            not_before_ms: 0,
            orphans: VecDeque::new(),
        }
    }

    /// Whether requests can be sent.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Whether an answer to something that was sent is outstanding.
    pub(super) fn has_outstanding(&self, env: &Env<'_>) -> bool {
        self.known.as_ref().is_some_and(|&(node, _)| {
            let channel = Channel::Coordinator(node);
            env.cluster.network.outstanding(channel) > 0
        })
    }

    /// Looks for the coordinator if nobody knows it, no sooner than the back-off allows.
    pub(super) fn look_up(&mut self, env: &mut Env<'_>) {
        if self.is_known() || self.asking || env.now.mono_ms < self.not_before_ms {
            return;
        }
        let request = FindCoordinatorRequest::default()
            .with_key_type(GROUP)
            .with_coordinator_keys(vec![self.group.clone()]);
        let request = RequestKind::FindCoordinator(request);
        let request = (Purpose::FindCoordinator.token(0), request);
        let timeout_ms = self.request_timeout_ms;
        let sent = env
            .cluster
            .send_to_any(env.now, request, timeout_ms, env.effects);
        if sent {
            self.asking = true;
        } else {
            self.back_off(env);
        }
    }

    /// When a lookup may be repeated, monotonic.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        (!self.is_known() && !self.asking).then_some(self.not_before_ms)
    }

    /// A lookup ended.
    pub(super) fn on_answer(&mut self, env: &mut Env<'_>, completion: Completion) -> Found {
        self.asking = false;
        let answer = match completion.result {
            Ok(answer) => *answer,
            Err(NetworkError::UnsupportedVersion) => {
                self.back_off(env);
                return Found::Never(ClientError::UnsupportedVersion);
            }
            Err(_) => return self.back_off(env),
        };
        let ResponseKind::FindCoordinator(mut answer) = answer else {
            return self.back_off(env);
        };
        let Some(found) = answer.coordinators.pop() else {
            return self.back_off(env);
        };
        match ResponseError::try_from_code(found.error_code) {
            None => {
                let node = NodeId(found.node_id.0);
                self.connect(env, node, endpoint(found.host, found.port))
            }
            Some(error) if error.is_retriable() => self.back_off(env),
            Some(error) => {
                self.back_off(env);
                Found::Never(ClientError::Broker(error))
            }
        }
    }

    /// Connects to what was found, unless that cannot be reached at the moment.
    fn connect(&mut self, env: &mut Env<'_>, node: NodeId, to: Endpoint) -> Found {
        let channel = Channel::Coordinator(node);
        let network = &env.cluster.network;
        if network.leads_to(channel).is_some_and(|was| *was != to) {
            let orphans = env.cluster.drop_coordinator(node, env.effects);
            self.orphans.extend(orphans);
        }
        env.cluster
            .network
            .connect(env.now, channel, &to, env.effects);
        if env.cluster.network.readiness(channel) == Readiness::BackingOff {
            return self.back_off(env);
        }
        self.failures = 0;
        self.known = Some((node, to));
        Found::Yes
    }

    fn back_off(&mut self, env: &mut Env<'_>) -> Found {
        let delay_ms = self.backoff.delay_ms(self.failures, &mut env.cluster.ids);
        self.failures += 1;
        self.not_before_ms = env.now.mono_ms + delay_ms;
        env.cluster.metadata.request_update();
        Found::NotYet
    }

    /// Sends a request to the coordinator, which must be known.
    pub(super) fn send(
        &self,
        env: &mut Env<'_>,
        token: u64,
        request: RequestKind,
        timeout_ms: Option<u64>,
    ) {
        let (node, endpoint) = self
            .known
            .as_ref()
            .expect("only a known coordinator is asked");
        let timeout_ms = timeout_ms.unwrap_or(self.request_timeout_ms);
        env.cluster.send_to_coordinator(
            env.now,
            (*node, endpoint),
            (token, request),
            timeout_ms,
            env.effects,
        );
    }

    /// It is not the coordinator, or says nothing any more: the connection is dropped.
    pub(super) fn give_up(&mut self, env: &mut Env<'_>) {
        if let Some((node, _)) = self.known.take() {
            let orphans = env.cluster.drop_coordinator(node, env.effects);
            self.orphans.extend(orphans);
        }
    }

    /// A request to it ended without an answer.
    pub(super) fn on_disconnect(&mut self, from: Channel) {
        let known = self.known.as_ref().map(|&(node, _)| node);
        if known.map(Channel::Coordinator) == Some(from) {
            self.known = None;
        }
    }

    /// Notices that its connection is gone (`isUnavailable`).
    pub(super) fn check(&mut self, env: &Env<'_>) {
        let gone = |&(node, _): &(NodeId, Endpoint)| {
            let readiness = env.cluster.network.readiness(Channel::Coordinator(node));
            readiness == Readiness::BackingOff
        };
        if self.known.as_ref().is_some_and(gone) {
            self.known = None;
        }
    }

    /// A request whose coordinator was given up, to be ended.
    pub(super) fn next_orphan(&mut self) -> Option<Completion> {
        self.orphans.pop_front()
    }
}

/// `FindCoordinatorRequest.CoordinatorType.GROUP`
const GROUP: i8 = 0;
