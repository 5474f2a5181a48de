//! Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! Mirrors `classicGroupJoinToConsumerGroup` and its like in `GroupMetadataManager`. KIP-848's online
//! migration. The coordinator assigns for such a member, too; its generation is its member epoch. It
//! hears of a new target by REBALANCE_IN_PROGRESS in a heartbeat, gives up what it has to before it
//! joins again, and joins as often as it takes until it has everything.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ResponseKind, SyncGroupRequest, SyncGroupResponse,
};

use super::super::migration::CONSUMER_PROTOCOL;
use super::super::record::ClassicMemberMetadata;
use super::super::refusal;
use super::super::turn::{Caller, Continuation, Turn};
use super::embedded::{self, Subscription};
use super::expressions::RegexChange;
use super::group::ConsumerGroup;
use super::heartbeat::{new_member_id, refuse};
use super::member::{Member, MemberState};
use super::migration::classic_part;
use super::timers::{rebalance_key, session_key, start};
use crate::metadata::MetadataImage;
use crate::note::MemberRemoved;
use crate::types::{ResponseError, StrBytes};

/// From this version of JoinGroup on, a member must know its id before it is let in (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;

/// A JoinGroup and who sent it.
struct Join<'a> {
    caller: &'a Caller,
    client_host: StrBytes,
    request: &'a JoinGroupRequest,
}

impl ConsumerGroup {
    /// JoinGroup, to a group that has members.
    pub(crate) fn classic_join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        client_host: StrBytes,
        request: &JoinGroupRequest,
    ) {
        self.begin(turn);
        let unknown = request.member_id.is_empty();
        let id = match unknown {
            true => new_member_id(turn),
            false => request.member_id.clone(),
        };
        if let Err(error) = self.check_join(turn, &id, request) {
            return refuse(turn, caller, refusal::of_join(StrBytes::default(), error));
        }
        let dynamic = request.group_instance_id.is_none();
        if dynamic && unknown && MEMBER_ID_REQUIRED_SINCE <= caller.version {
            let answer = refusal::of_join(id, ResponseError::MemberIdRequired);
            return refuse(turn, caller, answer);
        }
        let join = Join {
            caller: &caller,
            client_host,
            request,
        };
        match self.join_as(turn, id, &join) {
            Ok(response) => {
                self.note_records(turn);
                let response = ResponseKind::JoinGroup(response);
                turn.decision.answers.push((caller, response));
            }
            Err(error) => {
                refuse(turn, caller, refusal::of_join(StrBytes::default(), error));
            }
        }
    }

    fn check_join(
        &self,
        turn: &Turn<'_>,
        id: &StrBytes,
        request: &JoinGroupRequest,
    ) -> Result<(), ResponseError> {
        self.check_size(turn.config, id)?;
        // Somebody who has an assignor in common with all others of the classic protocol.
        let classic = || {
            self.members
                .values()
                .filter_map(|member| member.classic.as_ref())
        };
        let has = |classic: &ClassicMemberMetadata, name: &StrBytes| {
            let mut own = classic.supported_protocols.iter();
            own.any(|(own, _)| own == name)
        };
        let mut given = request.protocols.iter().map(|protocol| &protocol.name);
        let common = given.any(|name| classic().all(|classic| has(classic, name)));
        if &*request.protocol_type == CONSUMER_PROTOCOL && common {
            Ok(())
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    }

    fn join_as(
        &mut self,
        turn: &mut Turn<'_>,
        id: StrBytes,
        join: &Join<'_>,
    ) -> Result<JoinGroupResponse, ResponseError> {
        let before = self.member_for_join(turn, id, join.request)?;
        let first = &join.request.protocols[0];
        let subscription = embedded::subscription(&first.metadata);
        let subscription = subscription.map_err(|_| ResponseError::UnknownServerError)?;
        let instance = join.request.group_instance_id.as_ref();
        let replaced = instance.and_then(|instance| self.static_member(instance));
        let downgrades =
            replaced.is_some_and(|replaced| self.may_downgrade_replacing(turn.config, replaced));
        let mut member = before.clone();
        update(&mut member, join, &subscription);

        let names_changed = self.write_subscription(turn, &before, &member);
        let regex = self.change_regex(turn, &before, &member)?;
        let changed = names_changed || regex != RegexChange::None;
        let refreshed = self.refresh_subscriptions(turn, changed, &member);
        let owned = owned(&subscription, turn.image);
        let owned = Some(&owned[..]);
        if downgrades {
            // A rebalance of the classic group will see to the rest, if there is something new.
            if !changed {
                let target = self.target_of(&member).cloned().unwrap_or_default();
                let target = (self.target_epoch, &target);
                member = self.reconcile(turn, &member, target, false, owned)?;
            }
            self.downgrade(turn, &[], Some(&member), changed)?;
        } else {
            let (target_epoch, target) = self.target_for(turn, &refreshed, &member)?;
            let target = (target_epoch, &target);
            member = self.reconcile(turn, &member, target, changed, owned)?;
            turn.decision.then = Some(Continuation::ConsumerJoined {
                group: self.id.clone(),
                member: member.id.clone(),
                session_timeout_ms: join.request.session_timeout_ms,
                sync_timeout_ms: rebalance_timeout_ms(join),
            });
        }
        self.note_replaced(turn, &member);
        Ok(JoinGroupResponse::default()
            .with_member_id(member.id)
            .with_generation_id(member.epoch)
            .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER_PROTOCOL)))
            .with_protocol_name(Some(first.name.clone())))
    }

    fn member_for_join(
        &self,
        turn: &mut Turn<'_>,
        id: StrBytes,
        request: &JoinGroupRequest,
    ) -> Result<Member, ResponseError> {
        let Some(instance) = &request.group_instance_id else {
            let known = self.members.get(&id).cloned();
            return Ok(known.unwrap_or_else(|| Member::new(id)));
        };
        if request.member_id.is_empty() {
            self.join_static(turn, id, instance, |_| true)
        } else {
            self.own_static_member(instance, &id).cloned()
        }
    }

    /// SyncGroup, to a group that has members.
    pub(crate) fn classic_sync(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &SyncGroupRequest,
    ) {
        self.begin(turn);
        match self.sync_as(turn, request) {
            Ok(response) => {
                let response = ResponseKind::SyncGroup(response);
                turn.decision.answers.push((caller, response));
            }
            Err(error) => refuse(turn, caller, refusal::of_sync(error)),
        }
    }

    fn sync_as(
        &mut self,
        turn: &mut Turn<'_>,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, ResponseError> {
        let instance = request.group_instance_id.as_ref();
        let member = self.classic_member(&request.member_id, instance)?;
        let (member, classic) = (member.0.clone(), member.1.clone());
        if member.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        }
        let first = classic.supported_protocols.first().map(|(name, _)| name);
        let other_type = |name: &StrBytes| &**name != CONSUMER_PROTOCOL;
        let other_name = |name: &StrBytes| Some(name) != first;
        if request.protocol_type.as_ref().is_some_and(other_type)
            || request.protocol_name.as_ref().is_some_and(other_name)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        // Who has still to give something up has joined already, and will be told to join again.
        if member.epoch < self.epoch && member.state != MemberState::UnrevokedPartitions {
            self.expect_join(turn, &member);
            return Err(ResponseError::RebalanceInProgress);
        }
        let assignment = classic_part(&classic, &member.assigned, turn.image)?;
        turn.decision.then = Some(Continuation::ConsumerSynced {
            group: self.id.clone(),
            member: member.id.clone(),
            session_timeout_ms: classic.session_timeout_ms,
        });
        Ok(SyncGroupResponse::default()
            .with_protocol_type(request.protocol_type.clone())
            .with_protocol_name(request.protocol_name.clone())
            .with_assignment(assignment))
    }

    /// Heartbeat, to a group that has members.
    pub(crate) fn classic_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &HeartbeatRequest,
    ) {
        self.begin(turn);
        match self.heartbeat_as(turn, request) {
            Ok(response) => {
                let response = ResponseKind::Heartbeat(response);
                turn.decision.answers.push((caller, response));
            }
            Err(error) => refuse(turn, caller, refusal::of_heartbeat(error)),
        }
    }

    fn heartbeat_as(
        &mut self,
        turn: &mut Turn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, ResponseError> {
        let instance = request.group_instance_id.as_ref();
        let (member, classic) = self.classic_member(&request.member_id, instance)?;
        if member.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        }
        let key = session_key(&self.id, &member.id);
        start(turn, key, classic.session_timeout_ms);
        // It joins again to catch up with the group, because it has something to give up, or because
        // what it waits for is free.
        let joins = member.epoch < self.epoch
            || match member.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if !joins {
            return Ok(HeartbeatResponse::default());
        }
        let member = member.clone();
        self.expect_join(turn, &member);
        let code = ResponseError::RebalanceInProgress.code();
        Ok(HeartbeatResponse::default().with_error_code(code))
    }

    /// LeaveGroup, its members listed, to a group that has members.
    pub(crate) fn classic_leave(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        request: &LeaveGroupRequest,
    ) {
        self.begin(turn);
        let mut gone: Vec<StrBytes> = Vec::new();
        let members = request.members.iter().map(|identity| {
            let response = MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone());
            match self.leaving(identity) {
                Ok(member) => {
                    if !gone.contains(&member.id) {
                        gone.push(member.id.clone());
                    }
                    response
                }
                Err(error) => response.with_error_code(error.code()),
            }
        });
        let response = LeaveGroupResponse::default().with_members(members.collect());
        self.fence(turn, &gone, MemberRemoved::Left);
        self.note_records(turn);
        let response = ResponseKind::LeaveGroup(response);
        turn.decision.answers.push((caller, response));
    }

    fn leaving(&self, identity: &MemberIdentity) -> Result<&Member, ResponseError> {
        let id = &identity.member_id;
        match &identity.group_instance_id {
            None => self.members.get(id).ok_or(ResponseError::UnknownMemberId),
            // An operator who removes a static member does not know its id.
            Some(instance) if id.is_empty() => {
                let member = self.static_member(instance);
                member.ok_or(ResponseError::UnknownMemberId)
            }
            Some(instance) => self.own_static_member(instance, id),
        }
    }

    /// What a member of the classic protocol was told is committed.
    pub(crate) fn on_written(
        &mut self,
        turn: &mut Turn<'_>,
        then: &Continuation,
        result: Result<(), ResponseError>,
    ) {
        if result.is_err() {
            return;
        }
        match then {
            Continuation::ConsumerJoined {
                member,
                session_timeout_ms,
                sync_timeout_ms,
                ..
            } => {
                start(turn, session_key(&self.id, member), *session_timeout_ms);
                let key = rebalance_key(&self.id, member);
                self.soft.timers.joined(turn, key, *sync_timeout_ms);
            }
            Continuation::ConsumerSynced {
                member,
                session_timeout_ms,
                ..
            } => {
                let key = rebalance_key(&self.id, member);
                self.soft.timers.synced(turn, key);
                start(turn, session_key(&self.id, member), *session_timeout_ms);
            }
            Continuation::ClassicAssigned { .. }
            | Continuation::ClassicEmptied { .. }
            | Continuation::ClassicStaticReplaced { .. } => {}
        }
    }

    /// The member, if it speaks the classic protocol and this is its id.
    fn classic_member(
        &self,
        id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<(&Member, &ClassicMemberMetadata), ResponseError> {
        let member = match instance {
            None => self.members.get(id).ok_or(ResponseError::UnknownMemberId)?,
            Some(instance) => self.own_static_member(instance, id)?,
        };
        let classic = member.classic.as_ref();
        Ok((member, classic.ok_or(ResponseError::UnknownMemberId)?))
    }

    fn expect_join(&mut self, turn: &mut Turn<'_>, member: &Member) {
        let key = rebalance_key(&self.id, &member.id);
        let timeout_ms = member.rebalance_timeout_ms;
        self.soft.timers.join_within(turn, key, timeout_ms);
    }

    /// Whether something that the member shall have is still somebody else's.
    fn waits(&self, member: &Member) -> bool {
        let target = self.target.get(&member.id);
        target
            .into_iter()
            .flat_map(super::group::each)
            .any(|(topic, partition)| {
                let own = member.assigned.get(&topic);
                !own.is_some_and(|own| own.contains(&partition)) && self.is_owned(topic, partition)
            })
    }
}

fn update(member: &mut Member, join: &Join<'_>, subscription: &Subscription) {
    let request = join.request;
    if request.group_instance_id.is_some() {
        member.instance.clone_from(&request.group_instance_id);
    }
    if subscription.rack.is_some() {
        member.rack.clone_from(&subscription.rack);
    }
    let timeout_ms = rebalance_timeout_ms(join);
    if timeout_ms != -1 {
        member.rebalance_timeout_ms = timeout_ms;
    }
    member.topics.clone_from(&subscription.topics);
    member.regex = Some(StrBytes::default());
    member.client_id = join.caller.client_id.clone();
    member.client_host = join.client_host.clone();
    let protocols = request.protocols.iter();
    member.classic = Some(ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols
            .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
            .collect(),
    });
}

/// Version 0 has no rebalance timeout: its session timeout is both.
fn rebalance_timeout_ms(join: &Join<'_>) -> i32 {
    match join.caller.version {
        0 => join.request.session_timeout_ms,
        _ => join.request.rebalance_timeout_ms,
    }
}

/// What the member says that it owns; before version 1 of its metadata that is nothing.
fn owned(subscription: &Subscription, image: &MetadataImage) -> Vec<Owned> {
    let topics = subscription.owned.iter().filter_map(|(name, partitions)| {
        let owned = Owned::default()
            .with_topic_id(*image.topic_names().get(name)?)
            .with_partitions(partitions.clone());
        Some(owned)
    });
    topics.collect()
}
