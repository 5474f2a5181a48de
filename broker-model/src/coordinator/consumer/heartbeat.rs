//! ConsumerGroupHeartbeat: members come, stay, say what they read and what they own, and go.
//!
//! Mirrors `GroupMetadataManager.consumerGroupHeartbeat` and what it is made of, and the validation
//! of `GroupCoordinatorService`. KIP-848. A heartbeat does up to three things, each at the cost of
//! records: it changes the member, and with it the group's epoch; it computes a target for a new
//! epoch; it brings the member one step closer to its target.

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{
    Assignment, TopicPartitions as Assigned,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ResponseKind,
};

use super::super::record::{ConsumerGroupMetadataValue, Record, TopicPartitions};
use super::super::turn::{Caller, Turn};
use super::expressions::RegexChange;
use super::group::ConsumerGroup;
use super::member::{LEAVE, LEAVE_STATIC, Member, MemberState};
use super::reconcile::Reconciliation;
use super::subscription::Subscriptions;
use super::timers::{rebalance_key, session_key, start};
use crate::config::BrokerConfig;
use crate::types::{ResponseError, StrBytes};

/// For how long the metadata is not looked at unless it changes (`METADATA_REFRESH_INTERVAL_MS`).
const METADATA_REFRESH_INTERVAL_MS: i64 = i32::MAX as i64;

/// From this version on the client makes up its member id.
const CLIENT_CHOSEN_MEMBER_ID: i16 = 1;

/// What a heartbeat comes to.
pub(super) type Decided = Result<ConsumerGroupHeartbeatResponse, ResponseError>;

/// What became of the group's subscriptions.
pub(super) struct Refreshed {
    /// The group's epoch, if this is written.
    pub(super) epoch: i32,
    /// Whether all members read the same.
    pub(super) homogeneous: bool,
}

/// Whether the request makes sense by itself (`throwIfConsumerGroupHeartbeatRequestIsInvalid`).
pub(crate) fn validate_heartbeat(
    config: &BrokerConfig,
    version: i16,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), ResponseError> {
    let blank = |text: &StrBytes| text.trim().is_empty();
    let blank_or_none = |text: &Option<StrBytes>| text.as_ref().is_some_and(blank);
    let epoch = request.member_epoch;
    let needs_id = version >= CLIENT_CHOSEN_MEMBER_ID || epoch > 0 || epoch == LEAVE;
    let invalid = needs_id && blank(&request.member_id)
        || blank(&request.group_id)
        || blank_or_none(&request.instance_id)
        || blank_or_none(&request.rack_id);
    let owns_nothing = || request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let no_topics =
        || request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none();
    let invalid = invalid
        || match epoch {
            0 => request.rebalance_timeout_ms == -1 || !owns_nothing() || no_topics(),
            LEAVE_STATIC => request.instance_id.is_none(),
            epoch => epoch < LEAVE_STATIC,
        };
    if invalid {
        return Err(ResponseError::InvalidRequest);
    }
    let known = |name: &StrBytes| {
        let own = &config.group_consumer_assignors;
        own.iter().any(|own| own.as_str() == name.as_str())
    };
    if !request.server_assignor.as_ref().is_none_or(known) {
        return Err(ResponseError::UnsupportedAssignor);
    }
    Ok(())
}

impl ConsumerGroup {
    /// ConsumerGroupHeartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller,
        client_host: StrBytes,
        request: &ConsumerGroupHeartbeatRequest,
    ) {
        self.begin(turn);
        let decided = validate_heartbeat(turn.config, caller.version, request).and_then(|()| {
            match request.member_epoch {
                LEAVE | LEAVE_STATIC => self.leave(turn, request),
                _ => self.regular_heartbeat(turn, &caller, client_host, request),
            }
        });
        match decided {
            Ok(response) => {
                self.note_records(turn);
                let response = ResponseKind::ConsumerGroupHeartbeat(response);
                turn.decision.answers.push((caller, response));
            }
            Err(error) => {
                let response =
                    ConsumerGroupHeartbeatResponse::default().with_error_code(error.code());
                refuse(turn, caller, ResponseKind::ConsumerGroupHeartbeat(response));
            }
        }
    }

    fn regular_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        client_host: StrBytes,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Decided {
        let id = &request.member_id;
        self.check_size(turn.config, id)?;
        let id = if id.is_empty() {
            new_member_id(turn)
        } else {
            id.clone()
        };
        let owned = request.topic_partitions.as_deref();
        let before = self.member_for_heartbeat(turn, id, owned, request)?;
        let mut member = before.clone();
        update(&mut member, request);
        member.client_id = caller.client_id.clone();
        member.client_host = client_host;
        member.classic = None;

        let names_changed = self.write_subscription(turn, &before, &member);
        let regex = self.change_regex(turn, &before, &member)?;
        // An expression that is not resolved yet raises the epoch once it is.
        let bump = self.epoch == 0 || names_changed || regex == RegexChange::Resolved;
        let refreshed = self.refresh_subscriptions(turn, bump, &member);
        let (target_epoch, target) = self.target_for(turn, &refreshed, &member)?;
        let subscription_changed = names_changed || regex != RegexChange::None;
        let target = (target_epoch, &target);
        let member = self.reconcile(turn, &member, target, subscription_changed, owned)?;
        self.note_replaced(turn, &member);
        let session_ms = turn.config.group_consumer_session_timeout_ms;
        start_session(turn, &self.id, &member.id, session_ms);

        let interval_ms = turn.config.group_consumer_heartbeat_interval_ms;
        let mut response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(member.id.clone()))
            .with_member_epoch(member.epoch)
            .with_heartbeat_interval_ms(i32::try_from(interval_ms).unwrap_or(i32::MAX));
        let joins = request.member_epoch == 0;
        if joins || is_full(request) || before.assigned != member.assigned {
            response.assignment = Some(as_assignment(&member.assigned));
        }
        Ok(response)
    }

    /// What every entry point does first.
    pub(super) fn begin(&mut self, turn: &Turn<'_>) {
        if self.soft.known_topics.is_none() {
            self.see_topics(turn.image);
        }
    }

    /// A group that is full takes nobody new.
    pub(super) fn check_size(
        &self,
        config: &BrokerConfig,
        member: &StrBytes,
    ) -> Result<(), ResponseError> {
        let full = config.group_consumer_max_size <= self.members.len();
        if full && !self.members.contains_key(member) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        Ok(())
    }

    fn member_for_heartbeat(
        &self,
        turn: &mut Turn<'_>,
        id: StrBytes,
        owned: Option<&[Owned]>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Member, ResponseError> {
        let joins = request.member_epoch == 0;
        let Some(instance) = &request.instance_id else {
            let member = match self.members.get(&id) {
                Some(member) => member.clone(),
                None if joins => Member::new(id),
                None => return Err(ResponseError::UnknownMemberId),
            };
            check_epoch(&member, request.member_epoch, owned)?;
            return Ok(member);
        };
        if !joins {
            let member = self.own_static_member(instance, &id)?;
            check_epoch(member, request.member_epoch, owned)?;
            return Ok(member.clone());
        }
        let released = |previous: &Member| {
            // A member of the classic protocol cannot say that it comes back.
            previous.is_classic() || previous.epoch == LEAVE_STATIC
        };
        self.join_static(turn, id, instance, released)
    }

    /// A static member joins, for the first time or in place of its predecessor.
    pub(super) fn join_static(
        &self,
        turn: &mut Turn<'_>,
        id: StrBytes,
        instance: &StrBytes,
        released: impl Fn(&Member) -> bool,
    ) -> Result<Member, ResponseError> {
        let Some(previous) = self.static_member(instance) else {
            let known = self.members.get(&id).cloned();
            return Ok(known.unwrap_or_else(|| Member::new(id)));
        };
        if !released(previous) {
            return Err(ResponseError::UnreleasedInstanceId);
        }
        let mut member = previous.clone();
        member.id = id;
        member.epoch = 0;
        member.previous_epoch = 0;
        // The predecessor's timers go on, should this not be written; later they find nobody.
        turn.decision.records.extend(self.removal(&previous.id));
        let target = self.target.get(&previous.id).cloned().unwrap_or_default();
        turn.decision.records.extend([
            member.subscription_record(&self.id),
            Record::ConsumerGroupTarget {
                group: self.id.clone(),
                member: member.id.clone(),
                value: Some(target),
            },
            member.assignment_record(&self.id),
        ]);
        Ok(member)
    }

    /// The static member, if this is its member id.
    pub(super) fn own_static_member(
        &self,
        instance: &StrBytes,
        id: &StrBytes,
    ) -> Result<&Member, ResponseError> {
        let member = self.static_member(instance);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if &member.id != id {
            return Err(ResponseError::FencedInstanceId);
        }
        Ok(member)
    }

    /// Writes the member down if it changed; says whether the topics did that it names.
    pub(super) fn write_subscription(
        &self,
        turn: &mut Turn<'_>,
        before: &Member,
        member: &Member,
    ) -> bool {
        if before == member {
            return false;
        }
        let record = member.subscription_record(&self.id);
        turn.decision.records.push(record);
        before.topics != member.topics
    }

    /// Looks at the metadata of what is read, if that changed or it is time, and raises the epoch if
    /// there is something new (`updateSubscriptionMetadata`).
    pub(super) fn refresh_subscriptions(
        &mut self,
        turn: &mut Turn<'_>,
        bump: bool,
        updated: &Member,
    ) -> Refreshed {
        let now_ms = turn.now.wall_ms;
        let expired = self.soft.refresh_at_ms <= now_ms || self.epoch < self.soft.refresh_epoch;
        let members = self.members_with(updated);
        let subscriptions = Subscriptions::of(members.into_values(), &self.regexes);
        let homogeneous = subscriptions.are_homogeneous();
        if !bump && !expired {
            let epoch = self.epoch;
            return Refreshed { epoch, homogeneous };
        }
        let hash = subscriptions.hash(turn.image);
        let mut epoch = self.epoch;
        if bump || hash != self.metadata_hash {
            epoch += 1;
            turn.decision.records.push(self.epoch_record(epoch, hash));
        }
        self.looked_at_metadata(turn, epoch);
        Refreshed { epoch, homogeneous }
    }

    /// Nobody needs to look again for a while (`setMetadataRefreshDeadline`).
    pub(super) fn looked_at_metadata(&mut self, turn: &Turn<'_>, epoch: i32) {
        self.soft.refresh_at_ms = turn
            .now
            .wall_ms
            .saturating_add(METADATA_REFRESH_INTERVAL_MS);
        self.soft.refresh_epoch = epoch;
    }

    /// The target for the group's epoch: the one there is, or a new one.
    pub(super) fn target_for(
        &self,
        turn: &mut Turn<'_>,
        refreshed: &Refreshed,
        updated: &Member,
    ) -> Result<(i32, TopicPartitions), ResponseError> {
        if refreshed.epoch <= self.target_epoch {
            let target = self.target_of(updated).cloned().unwrap_or_default();
            return Ok((self.target_epoch, target));
        }
        let new = self.compute_target(
            turn.image,
            turn.config,
            refreshed.epoch,
            updated,
            refreshed.homogeneous,
        )?;
        turn.decision.records.extend(new.records);
        Ok((refreshed.epoch, new.own))
    }

    /// Brings the member one step closer to its target, and writes that down (`maybeReconcile`).
    pub(super) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        member: &Member,
        (target_epoch, target): (i32, &TopicPartitions),
        subscription_changed: bool,
        owned: Option<&[Owned]>,
    ) -> Result<Member, ResponseError> {
        let reconciliation = Reconciliation {
            image: turn.image,
            regexes: &self.regexes,
            target_epoch,
            target,
            subscription_changed,
            owned,
            is_owned: &|topic, partition| self.is_owned(topic, partition),
        };
        let after = reconciliation.step(member)?;
        if &after == member {
            return Ok(after);
        }
        if let Some(owned) = owned {
            self.note_reported(turn, &after.id, owned);
        }
        let record = after.assignment_record(&self.id);
        turn.decision.records.push(record);
        // Members of the classic protocol have to join and sync instead.
        if !after.is_classic() {
            let key = rebalance_key(&self.id, &after.id);
            if after.state == MemberState::UnrevokedPartitions {
                let timeout_ms = after.rebalance_timeout_ms;
                let timers = &mut self.soft.timers;
                timers.revoke_within(turn, key, after.epoch, timeout_ms);
            } else {
                self.soft.timers.revoked(turn, key);
            }
        }
        Ok(after)
    }

    /// The record of a new epoch.
    pub(super) fn epoch_record(&self, epoch: i32, metadata_hash: i64) -> Record {
        Record::ConsumerGroupMetadata {
            group: self.id.clone(),
            value: Some(ConsumerGroupMetadataValue {
                epoch,
                metadata_hash,
            }),
        }
    }
}

/// An answer that waits for nothing; whatever was about to be written is not.
pub(super) fn refuse(turn: &mut Turn<'_>, caller: Caller, response: ResponseKind) {
    turn.decision.records.clear();
    turn.decision.at_once.push((caller, response));
}

/// Starts a member's session anew.
pub(super) fn start_session(
    turn: &mut Turn<'_>,
    group: &StrBytes,
    member: &StrBytes,
    timeout_ms: u64,
) {
    let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
    start(turn, session_key(group, member), timeout_ms);
}

/// An id for a member that brings none.
pub(super) fn new_member_id(turn: &mut Turn<'_>) -> StrBytes {
    // As `Uuid.randomUuid`: an id that starts like an option would annoy people.
    let mut ids = std::iter::repeat_with(|| kafka_uuid(turn.ids.next_uuid()));
    let id = ids.find(|id| !id.starts_with('-'));
    StrBytes::from_string(id.expect("the iterator does not end"))
}

/// `Uuid.toString`: base64 without padding, in the alphabet that goes into a URL.
fn kafka_uuid(id: crate::types::Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 128 bits are 21 digits of six and one of two, which is padded on the right.
    let digit = |at: u32| {
        let bits = if at < 21 {
            id.as_u128() >> (122 - 6 * at)
        } else {
            id.as_u128() << 4
        };
        char::from(ALPHABET[usize::try_from(bits & 0x3F).expect("six bits")])
    };
    (0..22).map(digit).collect()
}

/// Takes over what the request says of the member.
fn update(member: &mut Member, request: &ConsumerGroupHeartbeatRequest) {
    if request.instance_id.is_some() {
        member.instance.clone_from(&request.instance_id);
    }
    if request.rack_id.is_some() {
        member.rack.clone_from(&request.rack_id);
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if request.server_assignor.is_some() {
        member.server_assignor.clone_from(&request.server_assignor);
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.topics = names.iter().map(|name| name.0.clone()).collect();
    }
    if request.subscribed_topic_regex.is_some() {
        member.regex.clone_from(&request.subscribed_topic_regex);
    }
}

/// Whether the member says everything of itself, as it does when it is not sure what the
/// coordinator knows.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let subscribes =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    request.rebalance_timeout_ms != -1 && subscribes && request.topic_partitions.is_some()
}

/// Whether a member may speak for that epoch. The one before is fine with partitions that it has in
/// this one too: then it is the answer that got lost.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&[Owned]>) -> Result<(), ResponseError> {
    let lost_answer = || {
        epoch < member.epoch && epoch == member.previous_epoch && is_subset(owned, &member.assigned)
    };
    if epoch == 0 || epoch == member.epoch || lost_answer() {
        Ok(())
    } else {
        Err(ResponseError::FencedMemberEpoch)
    }
}

fn is_subset(owned: Option<&[Owned]>, assigned: &TopicPartitions) -> bool {
    let is_assigned = |topic: &Owned| {
        let partitions = assigned.get(&topic.topic_id);
        partitions.is_some_and(|own| topic.partitions.iter().all(|at| own.contains(at)))
    };
    owned.is_some_and(|owned| owned.iter().all(is_assigned))
}

fn as_assignment(assigned: &TopicPartitions) -> Assignment {
    let topics = assigned.iter().map(|(&topic, partitions)| {
        Assigned::default()
            .with_topic_id(topic)
            .with_partitions(partitions.iter().copied().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
