//! JoinGroup: who is let in, who is told to come again, and who starts a rebalance.
//!
//! Mirrors `GroupMetadataManager.classicGroupJoinToClassicGroup` and what it calls. Static members
//! that come back are in [`super::static_member`].

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::answer::{self, UNKNOWN_MEMBER};
use super::member::{ClassicGroupMember, Waiter};
use super::{ClassicGroup, millis, start};
use crate::coordinator::turn::{Caller, Continuation, Turn};
use crate::note::{ClassicGroupChange, ClassicGroupState, MemberRemoved};
use crate::types::{ResponseError, StrBytes};

/// How long the first JoinGroup of a member may wait, in ms
/// (`GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
pub(super) const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// A JoinGroup.
pub(super) struct Join<'a> {
    pub(super) caller: Caller,
    pub(super) client_host: StrBytes,
    pub(super) request: &'a JoinGroupRequest,
}

impl ClassicGroup {
    /// JoinGroup. A group that was made for it is written down.
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        client_host: StrBytes,
        request: &JoinGroupRequest,
    ) {
        let creator = self.unwritten.then(|| caller.clone());
        let join = Join {
            caller,
            client_host,
            request,
        };
        let id = &request.member_id;
        if !self.accepts(turn, id) {
            self.remove(turn, id, MemberRemoved::GroupFull);
            let error = ResponseError::GroupMaxSizeReached;
            answer::join_error(turn, join.caller, &UNKNOWN_MEMBER, error);
        } else if self.state == ClassicGroupState::Dead {
            let error = ResponseError::CoordinatorNotAvailable;
            answer::join_error(turn, join.caller, id, error);
        } else if !self.supports(request) {
            let error = ResponseError::InconsistentGroupProtocol;
            answer::join_error(turn, join.caller, id, error);
        } else if id.is_empty() {
            self.join_new(turn, join);
        } else if self.pending_join.contains(id) {
            self.join_pending(turn, join);
        } else {
            self.join_existing(turn, join);
        }
        if creator.is_some() && turn.decision.then.is_none() {
            self.write_new(turn, creator);
        }
    }

    /// Whether there is room for the member.
    fn accepts(&self, turn: &Turn<'_>, id: &StrBytes) -> bool {
        let limit = turn.config.group_max_size;
        let member = self.members.get(id);
        match self.state {
            ClassicGroupState::Empty | ClassicGroupState::Dead => true,
            // Who comes last has to go if the limit has sunk, so those that have joined count.
            ClassicGroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.joined() < limit
            }
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => {
                member.is_some() || self.members.len() < limit
            }
        }
    }

    /// Without a member id.
    fn join_new(&mut self, turn: &mut Turn<'_>, join: Join<'_>) {
        let uuid = turn.ids.next_uuid();
        let instance = join.request.group_instance_id.as_ref();
        let prefix = instance.unwrap_or(&join.caller.client_id);
        let id = StrBytes::from_string(format!("{prefix}-{uuid}"));
        match instance {
            Some(instance) if self.static_members.contains_key(instance) => {
                self.join_static(turn, join, id);
            }
            None if answer::requires_known_member_id(&join.caller) => {
                self.pending_join.insert(id.clone());
                let timeout_ms = millis(join.request.session_timeout_ms);
                start(turn, self.session_key(&id), timeout_ms);
                let member = id.clone();
                self.note(turn, ClassicGroupChange::Pending { member });
                answer::join_error(turn, join.caller, &id, ResponseError::MemberIdRequired);
            }
            _ => self.add_member(turn, join, id),
        }
    }

    /// With an id that was given out.
    fn join_pending(&mut self, turn: &mut Turn<'_>, join: Join<'_>) {
        if join.request.group_instance_id.is_some() {
            // Static members are not told to come again: Kafka stumbles over this one.
            let error = ResponseError::UnknownServerError;
            answer::join_error(turn, join.caller, &UNKNOWN_MEMBER, error);
            return;
        }
        let id = join.request.member_id.clone();
        self.add_member(turn, join, id);
    }

    /// With the id of a member, or of nobody.
    fn join_existing(&mut self, turn: &mut Turn<'_>, join: Join<'_>) {
        let id = join.request.member_id.clone();
        let instance = join.request.group_instance_id.as_ref();
        if let Err(error) = self.validate_member(&id, instance) {
            answer::join_error(turn, join.caller, &id, error);
            return;
        }
        let member = self.members.get(&id).expect("it was validated");
        let matches = member.matches(join.request);
        let rejoins = match self.state {
            ClassicGroupState::PreparingRebalance => true,
            // It may have missed the answer; or it wants something else.
            ClassicGroupState::CompletingRebalance => !matches,
            // A leader may know of reasons that are not in its metadata.
            ClassicGroupState::Stable => !matches || self.is_leader(&id),
            ClassicGroupState::Empty | ClassicGroupState::Dead => {
                panic!("group {} is {:?} and has members", self.id, self.state)
            }
        };
        if rejoins {
            let member = self.members.get_mut(&id).expect("it was validated");
            member.rejoin(&join.caller, join.request);
            self.prepare_rebalance_or_complete_join(turn);
        } else {
            let response = self.join_response(&id);
            answer::join(turn, join.caller, response);
        }
    }

    fn add_member(&mut self, turn: &mut Turn<'_>, join: Join<'_>, id: StrBytes) {
        let member =
            ClassicGroupMember::joining(id.clone(), &join.caller, join.client_host, join.request);
        let preparing = self.state == ClassicGroupState::PreparingRebalance;
        if preparing && self.previous == ClassicGroupState::Empty {
            self.new_member_added = true;
        }
        self.add(turn, member, &join.request.protocol_type);
        // It has no id to send heartbeats with, and a connection that waits for an answer is not
        // watched: without this end, clients that try again and again would fill the group.
        start(turn, self.session_key(&id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.prepare_rebalance_or_complete_join(turn);
    }

    /// What a member hears of the current generation; the leader hears of everybody.
    pub(super) fn join_response(&self, id: &StrBytes) -> JoinGroupResponse {
        let members = if self.is_leader(id) {
            self.join_response_members()
        } else {
            vec![]
        };
        JoinGroupResponse::default()
            .with_members(members)
            .with_member_id(id.clone())
            .with_generation_id(self.generation)
            .with_protocol_name(self.protocol.clone())
            .with_protocol_type(self.protocol_type.clone())
            .with_leader(self.leader.clone().unwrap_or_default())
    }

    /// Answers a member that waits for the generation.
    pub(super) fn answer_join(&mut self, turn: &mut Turn<'_>, id: &StrBytes) {
        let member = self.members.get_mut(id).expect("who joined is a member");
        if let Some(Waiter(Some(caller))) = member.awaiting_join.take() {
            let response = self.join_response(id);
            answer::join(turn, caller, response);
        }
    }

    fn write_new(&mut self, turn: &mut Turn<'_>, creator: Option<Caller>) {
        self.unwritten = false;
        self.creator = creator;
        self.store_new(turn);
        let group = self.id.clone();
        turn.decision.then = Some(Continuation::ClassicEmptied { group });
    }

    /// An empty generation is stored, or a new group: whose JoinGroup made it hears if it is not. If a
    /// later generation was the last one in the log, that will be there again after a failover, and
    /// time out.
    pub(super) fn empty_written(&mut self, turn: &mut Turn<'_>, result: Result<(), ResponseError>) {
        let Some(creator) = self.creator.take() else {
            return;
        };
        let Err(error) = result else { return };
        let waits = Some(Waiter(Some(creator.clone())));
        let mut members = self.members.values_mut();
        if let Some(member) = members.find(|member| member.awaiting_join == waits) {
            // It has joined; it will not hear of it.
            member.awaiting_join = Some(Waiter(None));
            answer::join_error(turn, creator, &UNKNOWN_MEMBER, error);
        }
    }
}
