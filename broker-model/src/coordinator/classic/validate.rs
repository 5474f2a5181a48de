//! Who may commit, fetch and delete offsets, and when the group itself may be deleted.
//!
//! Mirrors the `validate…` methods of `ClassicGroup` and what `OffsetMetadataManager` does with the
//! session of whoever commits.

use kafka_protocol::messages::OffsetCommitRequest;

use super::ClassicGroup;
use crate::coordinator::turn::Turn;
use crate::note::ClassicGroupState;
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// Whether the member may commit; its session starts anew.
    pub(crate) fn validate_offset_commit(
        &mut self,
        turn: &mut Turn<'_>,
        request: &OffsetCommitRequest,
    ) -> Result<(), ResponseError> {
        let id = self.validate_committer(turn, request)?;
        // The offsets are records of the group too.
        self.unwritten = false;
        if let ClassicGroupState::Stable | ClassicGroupState::PreparingRebalance = self.state {
            self.start_session(turn, &id);
        }
        Ok(())
    }

    fn validate_committer(
        &self,
        turn: &Turn<'_>,
        request: &OffsetCommitRequest,
    ) -> Result<StrBytes, ResponseError> {
        let generation = request.generation_id_or_member_epoch;
        let (id, instance) = (&request.member_id, request.group_instance_id.as_ref());
        if self.state == ClassicGroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if generation < 0 && self.state == ClassicGroupState::Empty {
            // An operator, or a consumer that assigns its partitions itself.
            return Ok(id.clone());
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            return match self.state {
                ClassicGroupState::Empty => Ok(id.clone()),
                _ => Err(ResponseError::UnknownMemberId),
            };
        }
        let id = self.validate_member(turn, id, instance)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == ClassicGroupState::CompletingRebalance {
            // It knows the generation from JoinGroup and has no part of it yet.
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(id)
    }

    /// Whether offsets may be fetched. Classic members do not say who they are.
    pub(crate) fn validate_offset_fetch(
        &self,
        _member: Option<&StrBytes>,
        _epoch: i32,
    ) -> Result<(), ResponseError> {
        match self.state {
            ClassicGroupState::Dead => Err(ResponseError::GroupIdNotFound),
            _ => Ok(()),
        }
    }

    /// Whether offsets may be deleted: those of consumers topic by topic, others only without members.
    pub(crate) fn validate_offset_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            ClassicGroupState::Empty => Ok(()),
            ClassicGroupState::Dead => Err(ResponseError::GroupIdNotFound),
            _ if self.uses_consumer_protocol() => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Whether the group may be deleted.
    pub(crate) fn validate_delete_group(&self) -> Result<(), ResponseError> {
        match self.state {
            ClassicGroupState::Empty => Ok(()),
            ClassicGroupState::Dead => Err(ResponseError::GroupIdNotFound),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }
}
