//! SyncGroup, and what comes of it.

use bytes::Bytes;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, RequestKind, ResponseKind, SyncGroupRequest, SyncGroupResponse,
};

use super::join::{Failure, INCONSISTENT, Join};
use super::{Classic, Generation, State};
use crate::client::command::ClientError;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::types::{ResponseError, StrBytes};
use crate::wire::consumer_protocol::PROTOCOL_TYPE;

impl Classic {
    /// Sends SyncGroup, as leader with everybody's assignment.
    pub(super) fn send_sync(
        &mut self,
        env: &mut Env<'_>,
        shared: &Shared,
        assignments: Vec<(StrBytes, Bytes)>,
    ) -> Join {
        if !shared.coordinator.is_known() {
            return Join::Failed(Failure::Retriable);
        }
        let assignments = assignments.into_iter().map(|(id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id)
                .with_assignment(assignment)
        });
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(shared.config.group.clone()))
            .with_generation_id(self.generation.id)
            .with_member_id(self.generation.member_id.clone())
            .with_group_instance_id(shared.config.instance.clone())
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(self.generation.protocol.clone())
            .with_assignments(assignments.collect());
        let n = self.next_request();
        let (token, request) = (Purpose::SyncGroup.token(n), RequestKind::SyncGroup(request));
        shared.coordinator.send(env, token, request, None);
        Join::Syncing {
            n,
            sent_as: self.generation.clone(),
        }
    }

    /// SyncGroup ended.
    pub(in crate::client::consumer::group) fn on_sync_answer(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        completion: Completion,
    ) {
        let (_, of) = Purpose::of(completion.token);
        let Some(Join::Syncing { n, sent_as }) = &self.join else {
            return;
        };
        if *n != of {
            return;
        }
        let sent_as = sent_as.clone();
        let next = match completion.result {
            Ok(body) => match *body {
                ResponseKind::SyncGroup(response) => {
                    self.on_synced(env, shared, response, &sent_as)
                }
                _ => Join::Failed(Failure::Retriable),
            },
            Err(NetworkError::UnsupportedVersion) => {
                Join::Failed(Failure::Fatal(ClientError::UnsupportedVersion))
            }
            Err(_) => {
                shared.coordinator.on_disconnect(completion.channel);
                Join::Failed(Failure::Retriable)
            }
        };
        self.join = Some(next);
    }

    fn on_synced(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        response: SyncGroupResponse,
        sent_as: &Generation,
    ) -> Join {
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            return Join::Failed(self.on_sync_error(env, shared, error, sent_as));
        }
        let protocol_type = response.protocol_type.as_deref();
        if protocol_type.is_some_and(|given| given != PROTOCOL_TYPE) {
            return Join::Failed(INCONSISTENT);
        }
        let is_reset = self.generation.id == -1 && self.generation.protocol.is_none();
        if is_reset || self.state != State::CompletingRebalance {
            return Join::Failed(Failure::Again);
        }
        let protocol = response.protocol_name;
        if protocol.is_some() && protocol != self.generation.protocol {
            return Join::Failed(INCONSISTENT);
        }
        self.state = State::Stable;
        self.rejoin_reason = "";
        self.rejoin_needed = false;
        Join::Synced(response.assignment)
    }

    fn on_sync_error(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        error: ResponseError,
        sent_as: &Generation,
    ) -> Failure {
        match error {
            ResponseError::RebalanceInProgress => Failure::Again,
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => {
                if self.generation == *sent_as {
                    let forget_id = error != ResponseError::IllegalGeneration;
                    self.reset("SYNC_GROUP was refused", forget_id);
                }
                Failure::Again
            }
            ResponseError::CoordinatorNotAvailable | ResponseError::NotCoordinator => {
                shared.coordinator.give_up(env);
                Failure::Retriable
            }
            other => Failure::Fatal(ClientError::Broker(other)),
        }
    }
}
