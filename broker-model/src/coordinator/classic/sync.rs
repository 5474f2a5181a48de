//! SyncGroup: the leader says who gets what, and everybody hears of it when it is written down.
//!
//! Mirrors `GroupMetadataManager.classicGroupSyncToClassicGroup`, its append future, and
//! `expirePendingSync`.

use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::member::Waiter;
use super::{Assignment, ClassicGroup, answer, stop};
use crate::coordinator::turn::{Caller, Continuation, Turn};
use crate::note::{ClassicGroupChange, ClassicGroupState, MemberRemoved};
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// SyncGroup.
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, caller: Caller, request: &SyncGroupRequest) {
        if let Err(error) = self.validate_sync(request) {
            answer::sync_error(turn, caller, error);
            return;
        }
        let id = &request.member_id;
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            stop(turn, self.sync_key());
        }
        let member = self.members.get_mut(id).expect("it was validated");
        if self.state == ClassicGroupState::Stable {
            let part = member.assignment.clone();
            let response = self.part(part);
            answer::sync(turn, caller, response);
            return;
        }
        member.awaiting_sync = Some(Waiter(Some(caller)));
        if self.is_leader(id) {
            self.write_assignment(turn, request);
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ResponseError> {
        if self.state == ClassicGroupState::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            ClassicGroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn write_assignment(&mut self, turn: &mut Turn<'_>, request: &SyncGroupRequest) {
        let given = request.assignments.iter();
        let mut given: Assignment = given
            .map(|part| (part.member_id.clone(), part.assignment.clone()))
            .collect();
        let members = self.members.keys();
        let assignment: Assignment = members
            .map(|member| (member.clone(), given.remove(member).unwrap_or_default()))
            .collect();
        self.store(turn, |member| assignment[&member.id].clone());
        self.assignments.push_back((self.generation, assignment));
        turn.decision.then = Some(Continuation::ClassicAssigned {
            group: self.id.clone(),
            generation: self.generation,
        });
    }

    /// The assignment is stored, or could not be. If the group has moved on meanwhile, neither
    /// matters.
    pub(super) fn assignment_written(
        &mut self,
        turn: &mut Turn<'_>,
        generation: i32,
        result: Result<(), ResponseError>,
    ) {
        if self.state != ClassicGroupState::CompletingRebalance || self.generation != generation {
            return;
        }
        if let Err(error) = result {
            self.assignments.clear();
            self.reset_assignment(turn, error);
            self.prepare_rebalance_or_complete_join(turn);
            return;
        }
        let written = self.assignments.pop_front();
        let (_, assignment) = written.expect("an assignment was being written");
        let note = ClassicGroupChange::Assigned {
            generation,
            assignment: assignment.clone().into_iter().collect(),
        };
        self.note(turn, note);
        for member in self.members.values_mut() {
            // Nobody joins or leaves without a rebalance.
            member.assignment = assignment.get(&member.id).cloned().unwrap_or_default();
        }
        self.propagate(turn, None);
        self.assignments.clear();
        self.transition_to(turn, ClassicGroupState::Stable);
    }

    /// Nobody gets anything: whoever waits for a part hears why.
    pub(super) fn reset_assignment(&mut self, turn: &mut Turn<'_>, error: ResponseError) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.propagate(turn, Some(error));
    }

    /// Answers everybody who waits for a part. Their sessions start anew: while they waited, the end
    /// of one was ignored.
    fn propagate(&mut self, turn: &mut Turn<'_>, error: Option<ResponseError>) {
        let members: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in members {
            let member = self.members.get_mut(&id).expect("it is a member");
            let Some(Waiter(caller)) = member.awaiting_sync.take() else {
                continue;
            };
            let part = member.assignment.clone();
            let response = self.part(part);
            match (caller, error) {
                (Some(caller), None) => answer::sync(turn, caller, response),
                (Some(caller), Some(error)) => answer::sync_error(turn, caller, error),
                (None, _) => {}
            }
            self.start_session(turn, &id);
        }
    }

    fn part(&self, part: Bytes) -> SyncGroupResponse {
        answer::synced(self.protocol_type.clone(), self.protocol.clone(), part)
    }

    /// Who has joined has to sync as well: those who did not are out.
    pub(super) fn sync_phase_expired(&mut self, turn: &mut Turn<'_>) {
        let syncing = matches!(
            self.state,
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable
        );
        if !syncing || self.pending_sync.is_empty() {
            return;
        }
        for member in std::mem::take(&mut self.pending_sync) {
            self.remove(turn, &member, MemberRemoved::SyncExpired);
        }
        self.prepare_rebalance(turn);
    }
}

/// Whether both are there and do not agree.
fn differs(given: &Option<StrBytes>, own: &Option<StrBytes>) -> bool {
    given.is_some() && own.is_some() && given != own
}
