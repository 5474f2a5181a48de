//! A new target: what each member shall have.
//!
//! Mirrors `TargetAssignmentBuilder` and `updateTargetAssignment`. KIP-848.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::{Record, TopicPartitions};
use super::assignor::{Assignor, GroupSpec, MemberSpec};
use super::group::ConsumerGroup;
use super::member::Member;
use super::reconcile::subscribed_topics;
use crate::config::BrokerConfig;
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes, Uuid};

/// A target that was computed.
pub(super) struct NewTarget {
    /// What it changes, and its epoch.
    pub(super) records: Vec<Record>,
    /// What the member that caused it shall have.
    pub(super) own: TopicPartitions,
}

impl ConsumerGroup {
    /// The members as they will be once `updated` is one of them.
    pub(super) fn members_with<'a>(
        &'a self,
        updated: &'a Member,
    ) -> BTreeMap<&'a StrBytes, &'a Member> {
        let mut members: BTreeMap<_, _> = self.members.iter().collect();
        if let Some(instance) = &updated.instance
            && let Some(previous) = self.static_members.get(instance)
        {
            members.remove(previous);
        }
        members.insert(&updated.id, updated);
        members
    }

    /// The target for that epoch.
    pub(super) fn compute_target(
        &self,
        image: &MetadataImage,
        config: &BrokerConfig,
        epoch: i32,
        updated: &Member,
        homogeneous: bool,
    ) -> Result<NewTarget, ResponseError> {
        let members = self.members_with(updated);
        let assignor = preferred_assignor(members.values().copied(), config)
            .ok_or(ResponseError::UnknownServerError)?;
        let mut spec = GroupSpec {
            members: BTreeMap::new(),
            partitions: BTreeMap::new(),
            homogeneous,
        };
        for (&id, &member) in &members {
            let topics = subscribed_topics(member, &self.regexes, image);
            spec.partitions.extend(counts(&topics, image));
            let assigned = if id == &updated.id {
                self.target_of(updated)
            } else {
                self.target.get(id)
            };
            let member = MemberSpec {
                instance: member.instance.clone(),
                topics,
                assigned: assigned.cloned().unwrap_or_default(),
            };
            spec.members.insert(id.clone(), member);
        }
        let mut assignment = assignor.assign(&spec);
        let mut records = Vec::new();
        let mut own = TopicPartitions::new();
        for id in spec.members.into_keys() {
            let target = assignment.remove(&id).unwrap_or_default();
            if id == updated.id {
                own.clone_from(&target);
            }
            if self.target.get(&id) != Some(&target) {
                records.push(Record::ConsumerGroupTarget {
                    group: self.id.clone(),
                    member: id,
                    value: Some(target),
                });
            }
        }
        records.push(Record::ConsumerGroupTargetEpoch {
            group: self.id.clone(),
            value: Some(epoch),
        });
        Ok(NewTarget { records, own })
    }

    /// What the target gives the member; a static one has what its predecessor had.
    pub(super) fn target_of(&self, member: &Member) -> Option<&TopicPartitions> {
        match &member.instance {
            None => self.target.get(&member.id),
            Some(instance) => self.target.get(self.static_members.get(instance)?),
        }
    }

    /// The assignor that most members ask for.
    pub(super) fn assignor_name(&self, config: &BrokerConfig) -> String {
        let preferred = most_wanted(self.members.values());
        preferred.unwrap_or_else(|| config.group_consumer_assignors[0].clone())
    }
}

/// The assignor that most of them ask for, if the broker has it; the broker's first one if nobody
/// asks.
fn preferred_assignor<'a>(
    members: impl Iterator<Item = &'a Member>,
    config: &BrokerConfig,
) -> Option<Assignor> {
    let own = &config.group_consumer_assignors;
    match most_wanted(members) {
        Some(name) => own.contains(&name).then(|| Assignor::named(&name))?,
        None => Assignor::named(&own[0]),
    }
}

fn most_wanted<'a>(members: impl Iterator<Item = &'a Member>) -> Option<String> {
    let mut votes: BTreeMap<&StrBytes, usize> = BTreeMap::new();
    for name in members.filter_map(|member| member.server_assignor.as_ref()) {
        *votes.entry(name).or_default() += 1;
    }
    // Of several with most votes Kafka takes the first of a hash map, this the first by name.
    let most = votes.values().copied().max()?;
    let first = votes.into_iter().find(|&(_, count)| count == most)?;
    Some(first.0.to_string())
}

fn counts<'a>(
    topics: &'a BTreeSet<Uuid>,
    image: &'a MetadataImage,
) -> impl Iterator<Item = (Uuid, i32)> + 'a {
    topics.iter().filter_map(|&id| {
        let partitions = image.topic(id)?.partitions.len();
        Some((
            id,
            i32::try_from(partitions).expect("a count of partitions"),
        ))
    })
}
