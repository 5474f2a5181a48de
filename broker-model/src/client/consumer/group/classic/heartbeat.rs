//! Heartbeats of a classic member, and what the coordinator says to them.
//!
//! Mirrors `AbstractCoordinator.HeartbeatThread` and `Heartbeat`: a heartbeat every
//! `heartbeat.interval.ms` whatever the application does, the coordinator is given up after
//! `session.timeout.ms` without an answer, and the member leaves the group when the application did
//! not poll for `max.poll.interval.ms`.

use std::collections::BTreeMap;

use kafka_protocol::messages::{GroupId, HeartbeatRequest, RequestKind, ResponseKind};

use super::{Classic, Generation, State};
use crate::client::command::ClientError;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::{GroupConfig, Shared};
use crate::client::network::Completion;
use crate::client::token::Purpose;
use crate::types::{Now, ResponseError};

/// The timers, monotonic.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    enabled: bool,
    send_ms: u64,
    session_ms: u64,
    poll_ms: u64,
    failures: u32,
    /// As whom unanswered ones were sent.
    in_flight: BTreeMap<u64, Generation>,
    /// What the next poll ends with.
    failure: Option<ClientError>,
}

impl Heartbeat {
    /// The member is in a generation.
    pub(super) fn enable(&mut self, now: Now, config: &GroupConfig) {
        self.enabled = true;
        self.send_ms = now.mono_ms + config.heartbeat_interval_ms;
        self.session_ms = now.mono_ms + config.session_timeout_ms;
        self.poll_ms = now.mono_ms + config.max_poll_interval_ms;
    }

    /// No more heartbeats.
    pub(super) fn stop(&mut self) {
        self.enabled = false;
    }

    /// The application polls.
    pub(super) fn on_poll(&mut self, now: Now, config: &GroupConfig) {
        self.poll_ms = now.mono_ms + config.max_poll_interval_ms;
    }

    /// What ended the heartbeats, once.
    pub(super) fn take_failure(&mut self) -> Option<ClientError> {
        self.failure.take()
    }

    /// When something is due, as long as the coordinator is known. While a poll waits, the time
    /// between polls does not run.
    pub(super) fn next_deadline_ms(&self, polls: bool) -> Option<u64> {
        if !self.enabled {
            return None;
        }
        let poll_ms = if polls { u64::MAX } else { self.poll_ms };
        Some(self.send_ms.min(self.session_ms).min(poll_ms))
    }
}

impl Classic {
    /// Does what is due, whether or not a poll waits.
    pub(in crate::client::consumer::group) fn run_heartbeat(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) {
        let has_joined = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !has_joined {
            self.heartbeat.enabled = false;
        }
        if !self.heartbeat.enabled {
            return;
        }
        let now_ms = env.now.mono_ms;
        if !shared.coordinator.is_known() {
            shared.coordinator.look_up(env);
        } else if self.heartbeat.session_ms <= now_ms {
            shared.coordinator.give_up(env);
        } else if self.heartbeat.poll_ms <= now_ms {
            self.leave(env, shared, "consumer poll timeout has expired.");
            self.heartbeat.enabled = false;
        } else if self.heartbeat.send_ms <= now_ms {
            self.send_heartbeat(env, shared);
        }
    }

    /// The coordinator is known again, and has the whole session timeout to answer.
    pub(in crate::client::consumer::group) fn on_coordinator_found(
        &mut self,
        now: Now,
        config: &GroupConfig,
    ) {
        self.heartbeat.session_ms = now.mono_ms + config.session_timeout_ms;
    }

    /// Whether heartbeats need the coordinator.
    pub(in crate::client::consumer::group) fn sends_heartbeats(&self) -> bool {
        self.heartbeat.enabled
    }

    fn send_heartbeat(&mut self, env: &mut Env<'_>, shared: &Shared) {
        let config = &shared.config;
        self.heartbeat.send_ms = env.now.mono_ms + config.heartbeat_interval_ms;
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(config.group.clone()))
            .with_generation_id(self.generation.id)
            .with_member_id(self.generation.member_id.clone())
            .with_group_instance_id(config.instance.clone());
        let n = self.next_request();
        self.heartbeat.in_flight.insert(n, self.generation.clone());
        let (token, request) = (Purpose::Heartbeat.token(n), RequestKind::Heartbeat(request));
        shared.coordinator.send(env, token, request, None);
    }

    /// A heartbeat ended.
    pub(in crate::client::consumer::group) fn on_heartbeat_answer(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        completion: Completion,
    ) {
        let (_, n) = Purpose::of(completion.token);
        let Some(sent_as) = self.heartbeat.in_flight.remove(&n) else {
            return;
        };
        let Ok(body) = completion.result else {
            shared.coordinator.on_disconnect(completion.channel);
            return self.fail_heartbeat(env, shared);
        };
        let ResponseKind::Heartbeat(response) = *body else {
            return self.fail_heartbeat(env, shared);
        };
        let is_current = self.generation == sent_as;
        match ResponseError::try_from_code(response.error_code) {
            None => self.receive_heartbeat(env, shared),
            Some(ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator) => {
                shared.coordinator.give_up(env);
                self.fail_heartbeat(env, shared);
            }
            Some(ResponseError::RebalanceInProgress) => {
                if self.state == State::Stable {
                    self.request_rejoin("group is already rebalancing");
                }
                self.receive_heartbeat(env, shared);
            }
            Some(
                error @ (ResponseError::IllegalGeneration
                | ResponseError::UnknownMemberId
                | ResponseError::FencedInstanceId),
            ) => {
                if !is_current {
                    return self.receive_heartbeat(env, shared);
                }
                let forget_id = error != ResponseError::IllegalGeneration;
                self.reset("HEARTBEAT was refused", forget_id);
                if error == ResponseError::FencedInstanceId {
                    self.heartbeat.failure = Some(ClientError::Broker(error));
                } else {
                    self.fail_heartbeat(env, shared);
                }
            }
            Some(error @ ResponseError::GroupAuthorizationFailed) => {
                self.heartbeat.failure = Some(ClientError::Broker(error));
                self.heartbeat.enabled = false;
            }
            Some(_) => self.fail_heartbeat(env, shared),
        }
    }

    fn receive_heartbeat(&mut self, env: &Env<'_>, shared: &Shared) {
        self.heartbeat.failures = 0;
        self.heartbeat.session_ms = env.now.mono_ms + shared.config.session_timeout_ms;
    }

    fn fail_heartbeat(&mut self, env: &mut Env<'_>, shared: &Shared) {
        let ids = &mut env.cluster.ids;
        let delay_ms = shared.config.backoff.delay_ms(self.heartbeat.failures, ids);
        self.heartbeat.failures += 1;
        self.heartbeat.send_ms = env.now.mono_ms + delay_ms;
    }
}
