//! The assignors of the coordinator: who shall have what.
//!
//! Mirrors `ConsumerGroupPartitionAssignor`, `GroupSpec` and `SubscribedTopicDescriber`. KIP-848.
//! An assignor is a pure function of the members, their subscriptions and the target before.

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::TopicPartitions;
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
