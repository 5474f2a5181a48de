//! LeaveGroup: members go by their own will or an operator's.
//!
//! Mirrors `GroupMetadataManager.classicGroupLeaveToClassicGroup`.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse, ResponseKind};

use super::ClassicGroup;
use crate::coordinator::turn::{Caller, Turn};
use crate::note::{ClassicGroupState, MemberRemoved};
use crate::types::ResponseError;

impl ClassicGroup {
    /// LeaveGroup, with its members listed.
    pub(crate) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &LeaveGroupRequest,
    ) {
        if self.state == ClassicGroupState::Dead {
            let error = ResponseError::CoordinatorNotAvailable.code();
            let response = LeaveGroupResponse::default().with_error_code(error);
            let answer = ResponseKind::LeaveGroup(response);
            turn.decision.answers.push((caller, answer));
            return;
        }
        let mut members = Vec::new();
        let mut somebody_left = false;
        for identity in &request.members {
            let error = self.leave_one(turn, identity).err();
            somebody_left |= error.is_none();
            let response = MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone())
                .with_error_code(error.map_or(0, |error| error.code()));
            members.push(response);
        }
        if somebody_left {
            match self.state {
                ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                    self.prepare_rebalance_or_complete_join(turn);
                }
                ClassicGroupState::PreparingRebalance => self.maybe_complete_join(turn),
                ClassicGroupState::Empty | ClassicGroupState::Dead => {}
            }
        }
        let response = LeaveGroupResponse::default().with_members(members);
        let answer = ResponseKind::LeaveGroup(response);
        turn.decision.answers.push((caller, answer));
    }

    fn leave_one(
        &mut self,
        turn: &mut Turn<'_>,
        identity: &MemberIdentity,
    ) -> Result<(), ResponseError> {
        let id = &identity.member_id;
        let instance = identity.group_instance_id.as_ref();
        if id.is_empty() {
            // An operator takes a static member out by its instance.
            let current = instance.and_then(|instance| self.static_members.get(instance));
            let current = current.cloned().ok_or(ResponseError::UnknownMemberId)?;
            self.expel(turn, &current, MemberRemoved::Left);
        } else if self.pending_join.contains(id) {
            self.remove(turn, id, MemberRemoved::Left);
        } else {
            let id = self.validate_member(turn, id, instance)?;
            self.expel(turn, &id, MemberRemoved::Left);
        }
        Ok(())
    }
}
