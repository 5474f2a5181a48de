//! Heartbeats, and what happens when they stop.
//!
//! Mirrors `GroupMetadataManager.classicGroupHeartbeat` and `expireClassicGroupMemberHeartbeat`.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse, ResponseKind};

use super::ClassicGroup;
use crate::coordinator::turn::{Caller, Turn};
use crate::note::{ClassicGroupState, MemberRemoved};
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &HeartbeatRequest,
    ) {
        let id = match self.validate_heartbeat(turn, request) {
            Ok(id) => id,
            Err(error) => {
                let answer = answer(Some(error));
                turn.decision.at_once.push((caller, answer));
                return;
            }
        };
        let error = match self.state {
            ClassicGroupState::PreparingRebalance => Some(ResponseError::RebalanceInProgress),
            // Consumers send heartbeats from JoinGroup's answer on, before the group is stable.
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => None,
            ClassicGroupState::Empty | ClassicGroupState::Dead => {
                panic!("group {} is {:?} and has members", self.id, self.state)
            }
        };
        self.start_session(turn, &id);
        let answer = answer(error);
        turn.decision.answers.push((caller, answer));
    }

    fn validate_heartbeat(
        &self,
        turn: &Turn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<StrBytes, ResponseError> {
        if self.state == ClassicGroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let instance = request.group_instance_id.as_ref();
        let id = self.validate_member(turn, &request.member_id, instance)?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(id)
    }

    /// Nothing was heard of a member, or of an id that was given out, for its session timeout.
    pub(super) fn session_expired(&mut self, turn: &mut Turn<'_>, id: &StrBytes) {
        if self.state == ClassicGroupState::Dead {
            return;
        }
        if self.pending_join.contains(id) {
            self.remove(turn, id, MemberRemoved::SessionExpired);
            self.complete_join_if_all_joined(turn);
            return;
        }
        let Some(member) = self.members.get(id) else {
            return;
        };
        if member.has_satisfied_heartbeat() {
            return;
        }
        self.expel(turn, id, MemberRemoved::SessionExpired);
        match self.state {
            ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                self.prepare_rebalance_or_complete_join(turn);
            }
            ClassicGroupState::PreparingRebalance => self.complete_join_if_all_joined(turn),
            ClassicGroupState::Empty | ClassicGroupState::Dead => {}
        }
    }

    fn complete_join_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.state == ClassicGroupState::PreparingRebalance && self.all_joined() {
            self.complete_join(turn);
        }
    }
}

fn answer(error: Option<ResponseError>) -> ResponseKind {
    let code = error.map_or(0, |error| error.code());
    ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code))
}
