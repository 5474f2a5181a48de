//! One member of a group of the consumer protocol.
//!
//! Mirrors `ConsumerGroupMember` and `MemberState`. KIP-848. A member is a value: what changes it is a
//! record, and the record is made from the changed value.

use std::collections::BTreeSet;

use super::super::record::{
    ClassicMemberMetadata, ConsumerGroupMemberValue, CurrentAssignmentValue, Record,
    TopicPartitions,
};
use crate::types::StrBytes;

/// The epoch with which a member leaves (`LEAVE_GROUP_MEMBER_EPOCH`).
pub(crate) const LEAVE: i32 = -1;
/// The epoch with which a static member leaves for a while (`LEAVE_GROUP_STATIC_MEMBER_EPOCH`).
pub(crate) const LEAVE_STATIC: i32 = -2;

/// How far a member has come with its assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MemberState {
    /// It has what its epoch gives it.
    Stable,
    /// It has to give partitions up before its epoch can rise.
    UnrevokedPartitions,
    /// It waits for partitions that others have to give up.
    UnreleasedPartitions,
    /// A later version of Kafka knows what this is.
    Unknown,
}

impl MemberState {
    /// As it is written down.
    pub(crate) fn value(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
            MemberState::Unknown => 127,
        }
    }

    /// As it was written down.
    pub(super) fn from_value(value: i8) -> Self {
        match value {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => MemberState::Unknown,
        }
    }
}

/// A member. No partition is both assigned and pending revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    /// Its id.
    pub(crate) id: StrBytes,
    /// Its epoch; [`LEAVE_STATIC`] while a static member is away.
    pub(crate) epoch: i32,
    /// The one before.
    pub(crate) previous_epoch: i32,
    /// How far it has come.
    pub(crate) state: MemberState,
    /// `group.instance.id`.
    pub(crate) instance: Option<StrBytes>,
    /// `client.rack`.
    pub(crate) rack: Option<StrBytes>,
    /// In ms, -1 if unknown.
    pub(crate) rebalance_timeout_ms: i32,
    /// `client.id`.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// The topics that it named.
    pub(crate) topics: BTreeSet<StrBytes>,
    /// The expression that it gave, empty for none; null only if it was written so.
    pub(crate) regex: Option<StrBytes>,
    /// The assignor that it asked for.
    pub(crate) server_assignor: Option<StrBytes>,
    /// What it owns.
    pub(crate) assigned: TopicPartitions,
    /// What it has to give up.
    pub(crate) pending_revocation: TopicPartitions,
    /// Set for a member that speaks the classic protocol.
    pub(crate) classic: Option<ClassicMemberMetadata>,
}

impl Member {
    /// A member that was never heard of.
    pub(crate) fn new(id: StrBytes) -> Self {
        Member {
            id,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            rebalance_timeout_ms: -1,
            client_id: StrBytes::default(),
            client_host: StrBytes::default(),
            topics: BTreeSet::new(),
            regex: Some(StrBytes::default()),
            server_assignor: None,
            assigned: TopicPartitions::new(),
            pending_revocation: TopicPartitions::new(),
            classic: None,
        }
    }

    /// Moves it to that epoch.
    pub(crate) fn advance_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Whether it has all that the target of that epoch gives it.
    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// Whether it speaks the classic protocol.
    pub(crate) fn is_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// Its expression, if it has one.
    pub(crate) fn regex(&self) -> Option<&StrBytes> {
        self.regex.as_ref().filter(|regex| !regex.is_empty())
    }

    /// Takes over what it said of itself.
    pub(crate) fn describe_as(&mut self, value: &ConsumerGroupMemberValue) {
        self.instance.clone_from(&value.instance);
        self.rack.clone_from(&value.rack);
        self.client_id = value.client_id.clone();
        self.client_host = value.client_host.clone();
        self.topics = value.subscribed_topics.iter().cloned().collect();
        self.regex.clone_from(&value.subscribed_regex);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.server_assignor.clone_from(&value.server_assignor);
        self.classic.clone_from(&value.classic);
    }

    /// Takes over what it has.
    pub(crate) fn assign_as(&mut self, value: &CurrentAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_value(value.state);
        self.assigned.clone_from(&value.assigned);
        self.pending_revocation
            .clone_from(&value.pending_revocation);
    }

    /// The record of what it said of itself.
    pub(crate) fn subscription_record(&self, group: &StrBytes) -> Record {
        Record::ConsumerGroupMember {
            group: group.clone(),
            member: self.id.clone(),
            value: Some(ConsumerGroupMemberValue {
                instance: self.instance.clone(),
                rack: self.rack.clone(),
                client_id: self.client_id.clone(),
                client_host: self.client_host.clone(),
                subscribed_topics: self.topics.iter().cloned().collect(),
                subscribed_regex: self.regex.clone(),
                rebalance_timeout_ms: self.rebalance_timeout_ms,
                server_assignor: self.server_assignor.clone(),
                classic: self.classic.clone(),
            }),
        }
    }

    /// The record of what it has.
    pub(crate) fn assignment_record(&self, group: &StrBytes) -> Record {
        Record::ConsumerGroupCurrent {
            group: group.clone(),
            member: self.id.clone(),
            value: Some(CurrentAssignmentValue {
                member_epoch: self.epoch,
                previous_member_epoch: self.previous_epoch,
                state: self.state.value(),
                assigned: self.assigned.clone(),
                pending_revocation: self.pending_revocation.clone(),
            }),
        }
    }
}
