//! ConsumerGroupHeartbeat: when it is sent, what it says, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, RequestKind,
    ResponseKind, TopicName,
};

use super::reconcile::Local;
use super::{Modern, State};
use crate::client::backoff::Backoff;
use crate::client::command::ClientError;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::{GroupConfig, Shared};
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::ids::IdSource;
use crate::types::{Now, ResponseError, StrBytes};

/// The timers, monotonic (`HeartbeatRequestState`).
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    /// As the coordinator wants it.
    interval_ms: u64,
    send_ms: u64,
    not_before_ms: u64,
    failures: u32,
    in_flight: bool,
    requests: u64,
    /// Requests whose answers count.
    awaited: BTreeSet<u64>,
    /// The application must have polled by then; `None` before it did.
    poll_ms: Option<u64>,
}

/// What the coordinator was told: only what changed is repeated (`SentFields`).
#[derive(Debug, Default)]
pub(super) struct Sent {
    rebalance_timeout: bool,
    topics: Option<BTreeSet<StrBytes>>,
    pattern: Option<StrBytes>,
    assignor: bool,
    local: Option<Local>,
}

impl Heartbeat {
    /// The application polls. True if it is late.
    pub(super) fn on_poll(&mut self, now: Now, config: &GroupConfig) -> bool {
        let is_late = self.is_poll_late(now);
        self.poll_ms = Some(now.mono_ms + config.max_poll_interval_ms);
        is_late
    }

    fn is_poll_late(&self, now: Now) -> bool {
        self.poll_ms.is_some_and(|poll_ms| poll_ms <= now.mono_ms)
    }

    fn may_send(&self, now: Now) -> bool {
        let due_ms = self.send_ms.max(self.not_before_ms);
        !self.in_flight && due_ms <= now.mono_ms
    }

    fn on_sent(&mut self, now: Now) -> u64 {
        self.in_flight = true;
        self.send_ms = now.mono_ms + self.interval_ms;
        self.requests += 1;
        self.requests
    }

    fn on_success(&mut self, now: Now, interval_ms: i32) {
        self.in_flight = false;
        self.failures = 0;
        self.not_before_ms = 0;
        let interval_ms = u64::try_from(interval_ms).unwrap_or(0);
        if self.interval_ms != interval_ms {
            self.interval_ms = interval_ms;
            self.send_ms = now.mono_ms + interval_ms;
        }
    }

    fn on_failure(&mut self, now: Now, backoff: Backoff, ids: &mut IdSource) {
        self.in_flight = false;
        self.send_ms = now.mono_ms;
        self.not_before_ms = now.mono_ms + backoff.delay_ms(self.failures, ids);
        self.failures += 1;
    }

    /// No back-off, nothing in flight.
    fn reset(&mut self) {
        self.in_flight = false;
        self.failures = 0;
        self.not_before_ms = 0;
    }
}

impl Modern {
    /// Does what is due, whether or not a poll waits.
    pub(in crate::client::consumer::group) fn run_background(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) {
        self.reconcile(env, shared, false);
        // The commit may have ended; the listener is called by polls only.
        if self
            .reconciliation
            .as_ref()
            .is_some_and(|one| !one.is_calling())
        {
            self.go_on_committing(shared);
        }
        let is_silent = matches!(
            self.state,
            State::Unsubscribed | State::Fatal | State::Stale | State::Fenced
        );
        if is_silent || !shared.coordinator.is_known() {
            if self.state == State::Leaving {
                self.transition_to(State::Unsubscribed);
                self.leave_unanswered = false;
            }
            return;
        }
        let is_leaving = matches!(self.state, State::PrepareLeaving | State::Leaving);
        if self.heartbeat.is_poll_late(env.now) && !is_leaving {
            self.poll_expired = true;
            self.transition_to(State::PrepareLeaving);
            self.begin_leaving(shared.config.instance.is_some());
            self.send_heartbeat(env, shared, false);
            self.heartbeat.reset();
            self.sent = Sent::default();
            return;
        }
        let is_urgent = match self.state {
            State::Leaving => true,
            State::Acknowledging | State::Joining => !self.heartbeat.in_flight,
            _ => false,
        };
        if is_urgent || self.heartbeat.may_send(env.now) {
            self.send_heartbeat(env, shared, true);
        }
    }

    fn send_heartbeat(&mut self, env: &mut Env<'_>, shared: &Shared, awaited: bool) {
        let request = self.heartbeat_request(env, shared);
        let n = self.heartbeat.on_sent(env.now);
        if awaited {
            self.heartbeat.awaited.insert(n);
        }
        let (token, request) = (
            Purpose::GroupHeartbeat.token(n),
            RequestKind::ConsumerGroupHeartbeat(request),
        );
        shared.coordinator.send(env, token, request, None);
        match self.state {
            State::Acknowledging if self.is_reconciled() => self.transition_to(State::Stable),
            State::Acknowledging => self.transition_to(State::Reconciling),
            State::Leaving if self.poll_expired => {
                self.transition_to(State::Stale);
                self.release(env);
            }
            State::Leaving => self.transition_to(State::Unsubscribed),
            _ => {}
        }
    }

    fn heartbeat_request(
        &mut self,
        env: &mut Env<'_>,
        shared: &Shared,
    ) -> ConsumerGroupHeartbeatRequest {
        let config = &shared.config;
        let joins = self.state == State::Joining;
        let member_id = self.member_id(&mut env.cluster.ids);
        let mut request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(config.group.clone()))
            .with_member_id(member_id)
            .with_member_epoch(self.epoch)
            .with_instance_id(config.instance.clone());
        if joins || !self.sent.rebalance_timeout {
            let timeout_ms = i32::try_from(config.max_poll_interval_ms).unwrap_or(i32::MAX);
            request.rebalance_timeout_ms = timeout_ms;
            self.sent.rebalance_timeout = true;
        }
        if joins || self.sent.topics.as_ref() != Some(&shared.topics) {
            let topics = shared.topics.iter().cloned().map(TopicName);
            request.subscribed_topic_names = Some(topics.collect());
            self.sent.topics = Some(shared.topics.clone());
        }
        if (joins && shared.pattern.is_some()) || self.sent.pattern != shared.pattern {
            request.subscribed_topic_regex = Some(shared.pattern.clone().unwrap_or_default());
            self.sent.pattern.clone_from(&shared.pattern);
        }
        if joins || !self.sent.assignor {
            request.server_assignor.clone_from(&config.remote_assignor);
            self.sent.assignor = true;
        }
        if joins || self.sent.local.as_ref() != Some(&self.current) {
            let owned = self.current.topics.iter().map(|(&id, indexes)| {
                TopicPartitions::default()
                    .with_topic_id(id)
                    .with_partitions(indexes.iter().copied().collect())
            });
            request.topic_partitions = Some(owned.collect());
            self.sent.local = Some(self.current.clone());
        }
        if joins {
            request.rack_id.clone_from(&config.rack);
        }
        request
    }

    /// A heartbeat ended.
    pub(in crate::client::consumer::group) fn on_heartbeat_answer(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        completion: Completion,
    ) {
        let (_, n) = Purpose::of(completion.token);
        if completion.result.is_err() {
            shared.coordinator.on_disconnect(completion.channel);
        }
        if !self.heartbeat.awaited.remove(&n) {
            return;
        }
        let response = match completion.result {
            Ok(body) => match *body {
                ResponseKind::ConsumerGroupHeartbeat(response) => Ok(response),
                _ => Err(NetworkError::Disconnected),
            },
            Err(error) => Err(error),
        };
        let (now, backoff) = (env.now, shared.config.backoff);
        match response {
            Ok(response) if response.error_code == 0 => {
                let interval_ms = response.heartbeat_interval_ms;
                self.heartbeat.on_success(now, interval_ms);
                self.on_heard(&response);
            }
            Ok(response) => {
                self.sent = Sent::default();
                let ids = &mut env.cluster.ids;
                self.heartbeat.on_failure(now, backoff, ids);
                let error = ResponseError::try_from_code(response.error_code);
                self.on_error(env, shared, error.expect("it is not 0"));
                self.complete_leave();
            }
            Err(error) => {
                let ids = &mut env.cluster.ids;
                self.heartbeat.on_failure(now, backoff, ids);
                self.sent = Sent::default();
                if error == NetworkError::UnsupportedVersion {
                    self.fail(env, ClientError::UnsupportedVersion);
                }
                self.complete_leave();
            }
        }
    }

    fn on_heard(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        if self.state == State::Leaving {
            return;
        }
        if response.member_epoch < 0 {
            self.complete_leave();
            return;
        }
        if self.is_not_in_group() {
            return;
        }
        self.set_epoch(response.member_epoch);
        let can_follow = matches!(
            self.state,
            State::Stable | State::Joining | State::Acknowledging | State::Reconciling
        );
        let Some(assignment) = response.assignment.as_ref().filter(|_| can_follow) else {
            return;
        };
        let topics = assignment.topic_partitions.iter();
        let topics = topics.map(|topic| {
            let indexes = topic.partitions.iter().copied().collect();
            (topic.topic_id, indexes)
        });
        self.on_assignment(topics.collect::<BTreeMap<_, _>>());
    }

    fn complete_leave(&mut self) {
        if matches!(self.state, State::Unsubscribed | State::Fatal) {
            self.leave_unanswered = false;
        }
    }

    fn on_error(&mut self, env: &mut Env<'_>, shared: &mut Shared, error: ResponseError) {
        match error {
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                shared.coordinator.give_up(env);
                self.heartbeat.reset();
            }
            ResponseError::CoordinatorLoadInProgress => {}
            ResponseError::FencedMemberEpoch | ResponseError::UnknownMemberId => {
                self.fence(env);
                self.heartbeat.reset();
            }
            ResponseError::TopicAuthorizationFailed => {
                self.failure = Some(ClientError::Broker(error));
            }
            other => self.fail(env, ClientError::Broker(other)),
        }
    }

    /// When something is due without an answer, monotonic. While a poll waits, the time between
    /// polls does not run.
    pub(in crate::client::consumer::group) fn next_deadline_ms(
        &self,
        polls: bool,
        shared: &Shared,
    ) -> Option<u64> {
        let is_silent = matches!(
            self.state,
            State::Unsubscribed | State::Fatal | State::Stale | State::Fenced
        );
        if is_silent || !shared.coordinator.is_known() {
            return None;
        }
        let heartbeat = &self.heartbeat;
        let due_ms = heartbeat.send_ms.max(heartbeat.not_before_ms);
        let due_ms = (!heartbeat.in_flight).then_some(due_ms);
        let is_leaving = matches!(self.state, State::PrepareLeaving | State::Leaving);
        let poll_ms = heartbeat.poll_ms.filter(|_| !polls && !is_leaving);
        [due_ms, poll_ms].into_iter().flatten().min()
    }
}
