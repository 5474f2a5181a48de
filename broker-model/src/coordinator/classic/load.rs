//! What outlives a coordinator: the group's last record, and how the next one goes on from it.
//!
//! Mirrors `GroupCoordinatorRecordHelpers.newGroupMetadataRecord` and the classic parts of
//! `GroupMetadataManager.replay`, `onLoaded` and `onUnloaded`.

use bytes::Bytes;

use super::ClassicGroup;
use super::answer;
use super::member::{ClassicGroupMember, Waiter};
use crate::coordinator::record::{ClassicMemberValue, GroupMetadataValue, Record};
use crate::coordinator::turn::Turn;
use crate::note::{ClassicGroupChange, ClassicGroupState};
use crate::types::{ConnectionId, Now, ResponseError, StrBytes};

impl ClassicGroup {
    /// The group that its last record describes: empty or stable.
    pub(crate) fn replay(id: StrBytes, value: &GroupMetadataValue) -> Self {
        let epoch = Now {
            mono_ms: 0,
            wall_ms: 0,
        };
        let mut group = ClassicGroup::new(id, epoch);
        let since = value.current_state_timestamp;
        group.since = (since != -1).then_some(since);
        group.unwritten = false;
        group.generation = value.generation;
        let protocol_type = Some(&value.protocol_type).filter(|name| !name.is_empty());
        group.protocol_type = protocol_type.cloned();
        group.protocol = value.protocol.clone();
        for member in &value.members {
            let protocol = value.protocol.clone().unwrap_or_default();
            let member = ClassicGroupMember::loaded(member, protocol);
            if let Some(instance) = member.instance.clone() {
                group.static_members.insert(instance, member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        if !group.members.is_empty() {
            group.state = ClassicGroupState::Stable;
            let leader = value.leader.clone();
            let leader = leader.filter(|leader| group.members.contains_key(leader));
            group.leader = leader.or_else(|| group.members.keys().next().cloned());
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// The shard has read its log. Everybody may have been heard of just now; a group that is over a
    /// limit that has sunk starts a rebalance, so that its members can commit before some have to go.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        let change = ClassicGroupChange::Loaded {
            state: self.state,
            generation: self.generation,
            members: self.identities(),
            topics: self.subscribed_topics.clone(),
        };
        self.note(turn, change);
        self.unwritten = false;
        for member in self.members.keys() {
            self.start_session(turn, member);
        }
        if turn.config.group_max_size < self.members.len() {
            self.prepare_rebalance(turn);
        }
    }

    /// The broker no longer leads: whoever waits hears NOT_COORDINATOR.
    pub(crate) fn on_unloaded(&mut self, turn: &mut Turn<'_>) {
        self.transition_to(turn, ClassicGroupState::Dead);
        for member in self.members.values_mut() {
            if let Some(Waiter(Some(caller))) = member.awaiting_join.take() {
                answer::join_error(turn, caller, &member.id, ResponseError::NotCoordinator);
            }
            if let Some(Waiter(Some(caller))) = member.awaiting_sync.take() {
                answer::sync_error(turn, caller, ResponseError::NotCoordinator);
            }
        }
    }

    /// Nobody waits on that connection any more. As in Kafka the member still counts as waiting.
    pub(crate) fn on_closed(&mut self, conn: ConnectionId) {
        for member in self.members.values_mut() {
            member.on_closed(conn);
        }
    }

    /// The records that delete it.
    pub(crate) fn delete_records(&self) -> Vec<Record> {
        vec![Record::GroupMetadata {
            group: self.id.clone(),
            value: None,
        }]
    }

    /// Has the group written down as it is, its members with those parts.
    pub(super) fn store(&self, turn: &mut Turn<'_>, part: impl Fn(&ClassicGroupMember) -> Bytes) {
        let record = self.record(part);
        self.write(turn, record);
    }

    /// Has a group written down that exists and has seen no generation.
    pub(super) fn store_new(&self, turn: &mut Turn<'_>) {
        let record = self.empty_record();
        self.write(turn, record);
    }

    fn write(&self, turn: &mut Turn<'_>, record: Record) {
        if let Record::GroupMetadata {
            value: Some(value), ..
        } = &record
        {
            let members = value.members.iter().map(|member| {
                let (id, instance) = (member.member.clone(), member.instance.clone());
                (id, instance, member.assignment.clone())
            });
            let change = ClassicGroupChange::Stored {
                generation: value.generation,
                members: members.collect(),
            };
            self.note(turn, change);
        }
        turn.decision.records.push(record);
    }

    /// The group as it is, its members with those parts.
    fn record(&self, part: impl Fn(&ClassicGroupMember) -> Bytes) -> Record {
        let members = self.members.values().map(|member| {
            let protocol = self.protocol.as_ref().expect("members have a protocol");
            let subscription = member.metadata(protocol).cloned();
            ClassicMemberValue {
                member: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms,
                subscription: subscription.expect("every member has the chosen protocol"),
                assignment: part(member),
            }
        });
        Record::GroupMetadata {
            group: self.id.clone(),
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol.clone(),
                leader: self.leader.clone(),
                current_state_timestamp: self.since.unwrap_or(-1),
                members: members.collect(),
            }),
        }
    }

    /// A group that exists and has seen no generation (`newEmptyGroupMetadataRecord`).
    fn empty_record(&self) -> Record {
        Record::GroupMetadata {
            group: self.id.clone(),
            value: Some(GroupMetadataValue {
                protocol_type: StrBytes::default(),
                generation: 0,
                protocol: None,
                leader: None,
                current_state_timestamp: self.since.unwrap_or(-1),
                members: vec![],
            }),
        }
    }
}
