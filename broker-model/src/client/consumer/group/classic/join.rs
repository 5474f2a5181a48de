//! JoinGroup, and what comes of it.
//!
//! An answer is looked at only while a poll waits: in Kafka nobody reads it before.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{
    GroupId, JoinGroupRequest, JoinGroupResponse, RequestKind, ResponseKind,
};

use super::leader::Assigning;
use super::{Classic, Generation, State};
use crate::client::command::ClientError;
use crate::client::consumer::group::assignor::Assignor;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::types::{ResponseError, StrBytes, TopicPartition};
use crate::wire::consumer_protocol::{PROTOCOL_TYPE, Subscription};

/// A rebalance from JoinGroup to the assignment (`joinFuture`).
#[derive(Debug)]
pub(super) enum Join {
    /// JoinGroup was sent.
    Joining {
        /// Which request.
        n: u64,
        /// As whom.
        sent_as: Generation,
        /// Its answer, which nobody looked at yet.
        answer: Option<Box<Completion>>,
    },
    /// The leader makes the assignment once its metadata is fresh.
    Assigning(Assigning),
    /// SyncGroup was sent.
    Syncing {
        /// Which request.
        n: u64,
        /// As whom.
        sent_as: Generation,
    },
    /// The assignment is there.
    Synced(Bytes),
    /// The listener is called for what has to be given up; then comes the assignment.
    Revoking(BTreeSet<TopicPartition>),
    /// The listener is called for what is new.
    Announcing,
    /// It came to nothing.
    Failed(Failure),
}

/// Why it came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// Tried again at once.
    Again,
    /// The same, with the member id that the coordinator gave.
    MemberIdRequired,
    /// Tried again after `retry.backoff.ms`.
    Retriable,
    /// Told to the application.
    Fatal(ClientError),
}

/// How a rebalance goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Something has to happen first.
    Waiting,
    /// The member has its assignment.
    Joined,
    /// The member lost its generation before it got the assignment.
    Reset,
    /// It came to nothing.
    Failed(Failure),
}

impl Classic {
    /// Sends JoinGroup.
    pub(super) fn send_join(&mut self, env: &mut Env<'_>, shared: &Shared) {
        self.state = State::PreparingRebalance;
        let config = &shared.config;
        let reason = StrBytes::from_static_str(self.rejoin_reason);
        let protocols = self.protocols(env, shared);
        self.joined = Some(shared.topics.clone());
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(config.group.clone()))
            .with_session_timeout_ms(millis(config.session_timeout_ms))
            .with_rebalance_timeout_ms(millis(config.max_poll_interval_ms))
            .with_member_id(self.generation.member_id.clone())
            .with_group_instance_id(config.instance.clone())
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(protocols)
            .with_reason(Some(reason));
        let n = self.next_request();
        // The coordinator answers when all members have joined, or their time is up.
        let timeout_ms = config.max_poll_interval_ms + JOIN_GROUP_TIMEOUT_LAPSE_MS;
        let timeout_ms = timeout_ms.max(config.request_timeout_ms);
        let (token, request) = (Purpose::JoinGroup.token(n), RequestKind::JoinGroup(request));
        shared
            .coordinator
            .send(env, token, request, Some(timeout_ms));
        self.join = Some(Join::Joining {
            n,
            sent_as: self.generation.clone(),
            answer: None,
        });
    }

    fn protocols(&self, env: &Env<'_>, shared: &Shared) -> Vec<JoinGroupRequestProtocol> {
        let owned: Vec<TopicPartition> = env.positions.names().into_iter().collect();
        let last = self.last_assignment.as_ref();
        let last = last.map(|(assigned, generation)| (assigned.as_slice(), *generation));
        let protocol = |assignor: &Assignor| {
            let subscription = Subscription {
                topics: shared.topics.iter().cloned().collect(),
                user_data: assignor.user_data(last),
                owned: owned.clone(),
                generation: (self.generation.id >= 0).then_some(self.generation.id),
                rack: shared.config.rack.clone(),
            };
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(assignor.name()))
                .with_metadata(subscription.encode())
        };
        self.assignors.iter().map(protocol).collect()
    }

    /// JoinGroup ended. Nobody looks at it before a poll does.
    pub(in crate::client::consumer::group) fn on_join_answer(&mut self, completion: Completion) {
        let (_, of) = Purpose::of(completion.token);
        if let Some(Join::Joining { n, answer, .. }) = &mut self.join
            && *n == of
        {
            *answer = Some(Box::new(completion));
        }
    }

    /// Goes as far as possible.
    pub(super) fn advance(&mut self, env: &mut Env<'_>, shared: &mut Shared) -> Progress {
        loop {
            let join = self.join.take().expect("sent or under way");
            let next = match join {
                Join::Joining {
                    sent_as,
                    answer: Some(answer),
                    ..
                } => self.on_joined(env, shared, &sent_as, *answer),
                Join::Assigning(assigning) => {
                    let next = self.assign_as_leader(env, shared, assigning);
                    if matches!(next, Join::Assigning(_)) {
                        self.join = Some(next);
                        return Progress::Waiting;
                    }
                    next
                }
                Join::Synced(assignment) => {
                    let is_reset = self.generation.id == -1 && self.generation.protocol.is_none();
                    if is_reset || self.state != State::Stable {
                        self.reset("generation was lost before the rebalance callback", true);
                        return Progress::Reset;
                    }
                    self.complete(env, shared, &assignment)
                }
                waiting @ (Join::Revoking(_) | Join::Announcing)
                    if shared.callbacks.is_outstanding() =>
                {
                    self.join = Some(waiting);
                    return Progress::Waiting;
                }
                Join::Revoking(assigned) => self.announce(env, shared, &assigned),
                Join::Announcing => return Progress::Joined,
                Join::Failed(failure) => return Progress::Failed(failure),
                waiting @ (Join::Joining { .. } | Join::Syncing { .. }) => {
                    self.join = Some(waiting);
                    return Progress::Waiting;
                }
            };
            self.join = Some(next);
        }
    }

    fn on_joined(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        sent_as: &Generation,
        completion: Completion,
    ) -> Join {
        let response = match completion.result {
            Ok(body) => match *body {
                ResponseKind::JoinGroup(response) => response,
                _ => return Join::Failed(Failure::Retriable),
            },
            Err(NetworkError::UnsupportedVersion) => {
                return Join::Failed(Failure::Fatal(ClientError::UnsupportedVersion));
            }
            Err(_) => {
                shared.coordinator.on_disconnect(completion.channel);
                return Join::Failed(Failure::Retriable);
            }
        };
        match ResponseError::try_from_code(response.error_code) {
            None => self.on_generation(env, shared, response),
            Some(error) => {
                let member_id = response.member_id;
                let failure = self.on_join_error(env, shared, (error, member_id), sent_as);
                Join::Failed(failure)
            }
        }
    }

    fn on_generation(
        &mut self,
        env: &mut Env<'_>,
        shared: &Shared,
        response: JoinGroupResponse,
    ) -> Join {
        let protocol_type = response.protocol_type.as_deref();
        if protocol_type.is_some_and(|given| given != PROTOCOL_TYPE) {
            return Join::Failed(INCONSISTENT);
        }
        if self.state != State::PreparingRebalance {
            return Join::Failed(Failure::Retriable);
        }
        self.state = State::CompletingRebalance;
        self.heartbeat.enable(env.now, &shared.config);
        let is_leader = response.leader == response.member_id;
        self.generation = Generation {
            id: response.generation_id,
            member_id: response.member_id,
            protocol: response.protocol_name,
        };
        if is_leader {
            let (members, skip) = (response.members, response.skip_assignment);
            match self.begin_assigning(env, &members, skip) {
                Ok(assigning) => Join::Assigning(assigning),
                Err(failure) => Join::Failed(failure),
            }
        } else {
            self.send_sync(env, shared, Vec::new())
        }
    }

    fn on_join_error(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        (error, member_id): (ResponseError, StrBytes),
        sent_as: &Generation,
    ) -> Failure {
        match error {
            ResponseError::CoordinatorLoadInProgress => Failure::Retriable,
            ResponseError::UnknownMemberId => {
                if self.generation == *sent_as {
                    self.reset(
                        "encountered UNKNOWN_MEMBER_ID from JOIN_GROUP response",
                        true,
                    );
                }
                Failure::Again
            }
            ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator => {
                shared.coordinator.give_up(env);
                Failure::Retriable
            }
            ResponseError::MemberIdRequired => {
                self.generation = Generation {
                    member_id,
                    ..Generation::NONE
                };
                self.request_rejoin("need to re-join with the given member-id");
                Failure::MemberIdRequired
            }
            ResponseError::RebalanceInProgress => Failure::Again,
            other => Failure::Fatal(ClientError::Broker(other)),
        }
    }
}

/// `Errors.INCONSISTENT_GROUP_PROTOCOL`, thrown by the client itself.
pub(super) const INCONSISTENT: Failure = Failure::Fatal(ClientError::Broker(
    ResponseError::InconsistentGroupProtocol,
));

/// `AbstractCoordinator.JOIN_GROUP_TIMEOUT_LAPSE`
const JOIN_GROUP_TIMEOUT_LAPSE_MS: u64 = 5_000;

/// Timeouts are 32 bits wide in requests.
fn millis(timeout_ms: u64) -> i32 {
    i32::try_from(timeout_ms).unwrap_or(i32::MAX)
}
