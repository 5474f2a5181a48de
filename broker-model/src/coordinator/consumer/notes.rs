//! What the judge is told of a group: every record that is decided, as a fact.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;

use super::super::record::{CurrentAssignmentValue, Record, TopicPartitions};
use super::super::turn::Turn;
use super::group::{ConsumerGroup, each};
use super::member::{Member, MemberState};
use crate::note::{ConsumerGroupChange as Change, ConsumerMemberState, MemberRemoved, Note};
use crate::types::{StrBytes, TopicIdPartition};

impl ConsumerGroup {
    /// Tells of everything that is about to be written.
    pub(super) fn note_records(&self, turn: &mut Turn<'_>) {
        let records = turn.decision.records.iter();
        let changes: Vec<Change> = records.filter_map(of_record).collect();
        for change in changes {
            self.note(turn, change);
        }
    }

    /// Tells why a member is out.
    pub(super) fn note_removed(&self, turn: &mut Turn<'_>, member: &StrBytes, why: MemberRemoved) {
        let member = member.clone();
        self.note(turn, Change::Removed { member, why });
    }

    /// Tells what a member says that it owns.
    pub(super) fn note_reported(&self, turn: &mut Turn<'_>, member: &StrBytes, owned: &[Owned]) {
        let owned = owned.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|&partition| TopicIdPartition {
                topic: topic.topic_id,
                partition,
            })
        });
        let reported = Change::Reported {
            member: member.clone(),
            owned: owned.collect(),
        };
        self.note(turn, reported);
    }

    /// Tells that a static member has another id, if it has.
    pub(super) fn note_replaced(&self, turn: &mut Turn<'_>, member: &Member) {
        let Some(instance) = member.instance.clone() else {
            return;
        };
        let previous = self.static_members.get(&instance).cloned();
        if let Some(previous) = previous.filter(|previous| previous != &member.id) {
            let member = member.id.clone();
            let replaced = Change::Replaced {
                instance,
                previous,
                member,
            };
            self.note(turn, replaced);
        }
    }

    /// Tells what was read.
    pub(super) fn note_loaded(&self, turn: &mut Turn<'_>) {
        let loaded = Change::Loaded {
            epoch: self.epoch,
            target_epoch: self.target_epoch,
        };
        self.note(turn, loaded);
        for member in self.members.values() {
            let said = member.subscription_record(&self.id);
            let has = member.assignment_record(&self.id);
            for change in [of_record(&said), of_record(&has)].into_iter().flatten() {
                self.note(turn, change);
            }
        }
        for (member, partitions) in &self.target {
            let member = member.clone();
            let partitions = set(partitions);
            self.note(turn, Change::Target { member, partitions });
        }
        for (regex, resolved) in &self.regexes {
            let (regex, topics) = (regex.clone(), resolved.topics.clone());
            self.note(turn, Change::Resolved { regex, topics });
        }
    }

    /// Tells.
    pub(super) fn note(&self, turn: &mut Turn<'_>, change: Change) {
        let group = self.id.clone();
        let partition = turn.partition;
        turn.effects.note(Note::ConsumerGroup {
            partition,
            group,
            change,
        });
    }
}

/// Tombstones say less than the decision that they are part of.
fn of_record(record: &Record) -> Option<Change> {
    Some(match record {
        Record::ConsumerGroupMetadata {
            value: Some(value), ..
        } => Change::Epoch { epoch: value.epoch },
        Record::ConsumerGroupMember {
            member,
            value: Some(value),
            ..
        } => Change::Subscribed {
            member: member.clone(),
            instance: value.instance.clone(),
            topics: value.subscribed_topics.iter().cloned().collect(),
            regex: value.subscribed_regex.clone().filter(|it| !it.is_empty()),
            classic: value.classic.is_some(),
        },
        Record::ConsumerGroupTargetEpoch {
            value: Some(epoch), ..
        } => Change::TargetEpoch { epoch: *epoch },
        Record::ConsumerGroupTarget {
            member,
            value: Some(value),
            ..
        } => Change::Target {
            member: member.clone(),
            partitions: set(value),
        },
        Record::ConsumerGroupCurrent {
            member,
            value: Some(value),
            ..
        } => assigned(member, value),
        Record::ConsumerGroupRegex { regex, value, .. } => {
            let regex = regex.clone();
            match value {
                Some(value) => {
                    let topics = value.topics.clone();
                    Change::Resolved { regex, topics }
                }
                None => Change::Forgotten { regex },
            }
        }
        _ => return None,
    })
}

fn assigned(member: &StrBytes, value: &CurrentAssignmentValue) -> Change {
    Change::Assigned {
        member: member.clone(),
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        state: match MemberState::from_value(value.state) {
            MemberState::Stable => ConsumerMemberState::Stable,
            MemberState::UnrevokedPartitions => ConsumerMemberState::UnrevokedPartitions,
            MemberState::UnreleasedPartitions => ConsumerMemberState::UnreleasedPartitions,
            MemberState::Unknown => ConsumerMemberState::Unknown,
        },
        assigned: set(&value.assigned),
        pending_revocation: set(&value.pending_revocation),
    }
}

fn set(partitions: &TopicPartitions) -> BTreeSet<TopicIdPartition> {
    let partition = |(topic, partition)| TopicIdPartition { topic, partition };
    each(partitions).map(partition).collect()
}
