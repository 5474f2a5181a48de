//! What a group of the consumer protocol is made of, and how records make it.
//!
//! Mirrors `ModernGroup` and `ConsumerGroup` and the replay half of `GroupMetadataManager`. KIP-848.
//! Decides nothing. What Kafka counts as it goes (subscribers of a topic, of an expression) is
//! counted here when it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::super::migration::Downgrade;
use super::super::record::{Record, ResolvedRegex, TopicPartitions};
use super::member::{LEAVE, Member};
use super::timers::Timers;
use crate::types::{StrBytes, Uuid};

/// A group of the consumer protocol. Changes only in [`ConsumerGroup::replay`], but for
/// [`Soft`](Soft), which no record keeps.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(super) id: StrBytes,
    /// Rises with each change of members, subscriptions or metadata.
    pub(super) epoch: i32,
    /// Of the metadata that `epoch` has seen.
    pub(super) metadata_hash: i64,
    /// By id.
    pub(super) members: BTreeMap<StrBytes, Member>,
    /// Member ids by `group.instance.id`.
    pub(super) static_members: BTreeMap<StrBytes, StrBytes>,
    /// The group epoch that the target was computed for.
    pub(super) target_epoch: i32,
    /// What each member shall have.
    pub(super) target: BTreeMap<StrBytes, TopicPartitions>,
    /// The epoch of each partition's owner: of the one member that has it assigned or pending
    /// revocation. Who is not in here is free.
    pub(super) partition_epochs: BTreeMap<(Uuid, i32), i32>,
    /// What the expressions resolve to.
    pub(super) regexes: BTreeMap<StrBytes, ResolvedRegex>,
    /// What no record keeps.
    pub(super) soft: Soft,
}

/// What a new coordinator starts without.
#[derive(Debug)]
pub(super) struct Soft {
    /// When the metadata has to be looked at again, in wall-clock ms, …
    pub(super) refresh_at_ms: i64,
    /// … unless the group is below this epoch: then the write that set the time was lost.
    pub(super) refresh_epoch: i32,
    /// The topics of the last image; `None` before the first.
    pub(super) known_topics: Option<BTreeSet<Uuid>>,
    /// Offset of the last image that had new topics, -1 before the first.
    pub(super) new_topics_at: i64,
    /// Whether the expressions are about to be resolved.
    pub(super) regexes_scheduled: bool,
    /// Timers of members.
    pub(super) timers: Timers,
    /// The classic group that the last decision makes of it.
    pub(super) downgrade: Option<Downgrade>,
    /// KAFKA-16147 is switched on.
    pub(super) loses_partition_epochs: bool,
}

/// Where a group is (`ConsumerGroupState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GroupState {
    /// Has no member.
    Empty,
    /// Its epoch is above the target's.
    Assigning,
    /// Members have not what the target gives them.
    Reconciling,
    /// Members have what the target gives them.
    Stable,
}

impl ConsumerGroup {
    /// A group without records.
    pub(crate) fn new(id: StrBytes) -> Self {
        ConsumerGroup {
            id,
            epoch: 0,
            metadata_hash: 0,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target_epoch: 0,
            target: BTreeMap::new(),
            partition_epochs: BTreeMap::new(),
            regexes: BTreeMap::new(),
            soft: Soft {
                refresh_at_ms: 0,
                refresh_epoch: 0,
                known_topics: None,
                new_topics_at: -1,
                regexes_scheduled: false,
                timers: Timers::default(),
                downgrade: None,
                loses_partition_epochs: false,
            },
        }
    }

    /// Takes a record in. There are two copies of each group, one of what is written and one of
    /// what is committed: this is called for both.
    pub(crate) fn replay(&mut self, record: &Record) {
        match record {
            Record::ConsumerGroupMetadata { value, .. } => {
                // The shard drops the group with the tombstone.
                if let Some(value) = value {
                    self.epoch = value.epoch;
                    self.metadata_hash = value.metadata_hash;
                }
            }
            Record::ConsumerGroupMember { member, value, .. } => match value {
                Some(value) => {
                    let mut changed = self.member_or_new(member);
                    changed.describe_as(value);
                    self.put(changed);
                }
                None => self.remove(member),
            },
            Record::ConsumerGroupTargetEpoch { value, .. } => {
                self.target_epoch = value.unwrap_or(-1);
            }
            Record::ConsumerGroupTarget { member, value, .. } => {
                match value {
                    Some(value) => self.target.insert(member.clone(), value.clone()),
                    None => self.target.remove(member),
                };
            }
            Record::ConsumerGroupCurrent { member, value, .. } => match value {
                Some(value) => {
                    let mut changed = self.member_or_new(member);
                    changed.assign_as(value);
                    self.put(changed);
                }
                None => self.strip(member),
            },
            Record::ConsumerGroupRegex { regex, value, .. } => {
                match value {
                    Some(value) => self.regexes.insert(regex.clone(), value.clone()),
                    None => self.regexes.remove(regex),
                };
            }
            Record::ConsumerGroupPartitionMetadata { .. } => {}
            Record::OffsetCommit { .. } | Record::GroupMetadata { .. } => {
                panic!("not a record of a consumer group: {record:?}")
            }
        }
    }

    fn member_or_new(&self, member: &StrBytes) -> Member {
        let known = self.members.get(member);
        known.map_or_else(|| Member::new(member.clone()), Member::clone)
    }

    pub(super) fn put(&mut self, member: Member) {
        let old = self.members.get(&member.id).cloned();
        self.move_partition_epochs(old.as_ref(), &member);
        if let Some(instance) = &member.instance {
            self.static_members
                .insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, member: &StrBytes) {
        self.soft.timers.forget(member);
        let Some(old) = self.members.remove(member) else {
            return;
        };
        self.remove_partition_epochs(&old.assigned, old.epoch);
        self.remove_partition_epochs(&old.pending_revocation, old.epoch);
        if let Some(instance) = &old.instance {
            self.static_members.remove(instance);
        }
    }

    /// The tombstone of a current assignment: the member's own follows.
    fn strip(&mut self, member: &StrBytes) {
        if let Some(mut changed) = self.members.get(member).cloned() {
            changed.epoch = LEAVE;
            changed.previous_epoch = LEAVE;
            changed.assigned.clear();
            changed.pending_revocation.clear();
            self.put(changed);
        }
    }

    /// The old owner's entries go before the new one's come: a partition that moves from "pending
    /// revocation" back to "assigned" must keep its entry (KAFKA-16147).
    fn move_partition_epochs(&mut self, old: Option<&Member>, new: &Member) {
        if self.soft.loses_partition_epochs {
            return self.move_partition_epochs_map_by_map(old, new);
        }
        if let Some(old) = old {
            self.remove_partition_epochs(&old.assigned, old.epoch);
            self.remove_partition_epochs(&old.pending_revocation, old.epoch);
        }
        self.add_partition_epochs(&new.assigned, new.epoch);
        self.add_partition_epochs(&new.pending_revocation, new.epoch);
    }

    /// As before KAFKA-16147: first all of the assigned partitions, then all of the revoked ones, and
    /// whoever owns them by now.
    fn move_partition_epochs_map_by_map(&mut self, old: Option<&Member>, new: &Member) {
        let forget = |group: &mut Self, partitions: &TopicPartitions| {
            for partition in each(partitions) {
                group.partition_epochs.remove(&partition);
            }
        };
        if let Some(old) = old {
            forget(self, &old.assigned);
        }
        self.add_partition_epochs(&new.assigned, new.epoch);
        if let Some(old) = old {
            forget(self, &old.pending_revocation);
        }
        self.add_partition_epochs(&new.pending_revocation, new.epoch);
    }

    fn remove_partition_epochs(&mut self, partitions: &TopicPartitions, epoch: i32) {
        for partition in each(partitions) {
            // Somebody else may own it by now, when a log is read whose older records are gone.
            if self.partition_epochs.get(&partition) == Some(&epoch) {
                self.partition_epochs.remove(&partition);
            }
        }
    }

    fn add_partition_epochs(&mut self, partitions: &TopicPartitions, epoch: i32) {
        for partition in each(partitions) {
            self.partition_epochs.insert(partition, epoch);
        }
    }

    /// The static member with that instance id.
    pub(super) fn static_member(&self, instance: &StrBytes) -> Option<&Member> {
        self.members.get(self.static_members.get(instance)?)
    }

    /// Whether anybody owns the partition or still has to give it up.
    pub(super) fn is_owned(&self, topic: Uuid, partition: i32) -> bool {
        self.partition_epochs.contains_key(&(topic, partition))
    }

    /// How many members gave that expression.
    pub(super) fn subscribers_of(&self, regex: &StrBytes) -> usize {
        let subscribed = |member: &&Member| member.regex() == Some(regex);
        self.members.values().filter(subscribed).count()
    }

    /// Where it is.
    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            return GroupState::Empty;
        }
        if self.target_epoch < self.epoch {
            return GroupState::Assigning;
        }
        let reconciled = |member: &Member| member.is_reconciled_to(self.target_epoch);
        if self.members.values().all(reconciled) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The state's name (`ConsumerGroupState.toString`).
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state() {
            GroupState::Empty => "Empty",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Stable => "Stable",
        }
    }

    /// Whether it has no member.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member reads that topic.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        let named = |member: &Member| member.topics.iter().any(|name| name.as_str() == topic);
        let matched =
            |regex: &ResolvedRegex| regex.topics.iter().any(|name| name.as_str() == topic);
        self.members.values().any(named) || self.regexes.values().any(matched)
    }
}

/// One partition after the other.
pub(super) fn each(partitions: &TopicPartitions) -> impl Iterator<Item = (Uuid, i32)> + '_ {
    let of_topic = |(&topic, partitions)| {
        let partitions: &BTreeSet<i32> = partitions;
        partitions.iter().map(move |&partition| (topic, partition))
    };
    partitions.iter().flat_map(of_topic)
}
