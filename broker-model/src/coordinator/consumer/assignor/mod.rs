//! The assignors of the coordinator: who shall have what.
//!
//! Mirrors `ConsumerGroupPartitionAssignor`, `GroupSpec` and `SubscribedTopicDescriber`. KIP-848.
//! An assignor is a pure function of the members, their subscriptions and the target before.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::TopicPartitions;
use crate::assignment::Shares;
use crate::types::{StrBytes, Uuid};

mod balancer;
mod heterogeneous;
mod range;
mod uniform;

#[cfg(test)]
mod properties;

/// What an assignor is told.
#[derive(Clone, Debug)]
pub(super) struct GroupSpec {
    /// By member id.
    pub(super) members: BTreeMap<StrBytes, MemberSpec>,
    /// How many partitions each subscribed topic has.
    pub(super) partitions: BTreeMap<Uuid, i32>,
    /// Whether every member reads the same topics.
    pub(super) homogeneous: bool,
}

/// A member, as an assignor sees it.
#[derive(Clone, Debug)]
pub(super) struct MemberSpec {
    /// `group.instance.id`.
    pub(super) instance: Option<StrBytes>,
    /// The topics that it reads; all of them exist.
    pub(super) topics: BTreeSet<Uuid>,
    /// What the target gave it before.
    pub(super) assigned: TopicPartitions,
}

/// By member id; who is missing gets nothing.
pub(super) type Assignment = BTreeMap<StrBytes, TopicPartitions>;

/// An assignor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Assignor {
    /// Balanced and sticky (`UniformAssignor`).
    Uniform,
    /// Topic by topic, by the order of members (`RangeAssignor`).
    Range,
}

impl Assignor {
    /// The assignor with that name.
    pub(super) fn named(name: &str) -> Option<Assignor> {
        match name {
            "uniform" => Some(Assignor::Uniform),
            "range" => Some(Assignor::Range),
            _ => None,
        }
    }

    /// Distributes the partitions.
    pub(super) fn assign(self, group: &GroupSpec) -> Assignment {
        if group.members.is_empty() {
            return Assignment::new();
        }
        match self {
            Assignor::Range => range::assign(group),
            Assignor::Uniform if group.homogeneous => uniform::assign(group),
            Assignor::Uniform => heterogeneous::assign(group),
        }
    }
}

/// What that assignor gives to each member of a group that reads one topic.
pub(crate) fn shares_of_coordinator(assignor: &str, shares: &Shares) -> Option<Vec<Vec<i32>>> {
    let assignor = Assignor::named(assignor)?;
    let topic = Uuid::from_u128(1);
    let members = shares.owned.iter().enumerate().map(|(at, owned)| {
        let member = MemberSpec {
            instance: None,
            topics: BTreeSet::from([topic]),
            assigned: TopicPartitions::from([(topic, owned.iter().copied().collect())]),
        };
        (StrBytes::from_string(format!("m{at:05}")), member)
    });
    let group = GroupSpec {
        members: members.collect(),
        partitions: BTreeMap::from([(topic, shares.partitions)]),
        homogeneous: true,
    };
    let mut assignment = assignor.assign(&group);
    let indexes = |id| {
        let assigned = assignment.remove(id).unwrap_or_default();
        assigned.into_values().flatten().collect()
    };
    Some(group.members.keys().map(indexes).collect())
}
