//! Who gets which partition: the assignors that a classic group's leader runs.
//!
//! Mirrors Kafka's `ConsumerPartitionAssignor`s: `range`, `roundrobin`, `sticky` and
//! `cooperative-sticky`. Pure functions of the members and the partition counts; where Kafka goes
//! through a hash map, members and topics are taken in order. Racks play no part (KIP-881).

mod constrained;
mod general;
#[cfg(test)]
mod laws;
mod movements;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::assignment::Shares;
use crate::bug::Bug;
use crate::types::{StrBytes, TopicPartition};
use crate::wire::consumer_protocol as wire;

/// Partition counts of the topics that exist, by name.
pub(super) type Counts = BTreeMap<StrBytes, usize>;

/// The members of a generation, by member id.
pub(super) type Members = BTreeMap<StrBytes, Member>;

/// What each member gets.
pub(super) type Assignment = BTreeMap<StrBytes, Vec<TopicPartition>>;

/// What the leader knows of a member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Member {
    /// `group.instance.id`.
    pub(super) instance: Option<StrBytes>,
    /// What it is subscribed to.
    pub(super) topics: BTreeSet<StrBytes>,
    /// What it says it owns.
    pub(super) owned: Vec<TopicPartition>,
    /// Since which generation.
    pub(super) generation: Option<i32>,
    /// What its assignor added.
    pub(super) user_data: Option<Bytes>,
}

/// An assignor by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Assignor {
    /// `RangeAssignor`
    Range,
    /// `RoundRobinAssignor`
    RoundRobin,
    /// `StickyAssignor`
    Sticky,
    /// `CooperativeStickyAssignor`
    CooperativeSticky,
}

impl Assignor {
    const ALL: [Assignor; 4] = [
        Assignor::Range,
        Assignor::RoundRobin,
        Assignor::Sticky,
        Assignor::CooperativeSticky,
    ];

    /// The name in JoinGroup.
    pub(super) fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor that the group chose.
    pub(super) fn of_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The assignor that `partition.assignment.strategy` names by its class, with or without the
    /// package.
    pub(super) fn of_class(class: &str) -> Option<Assignor> {
        match class.rsplit('.').next()? {
            "RangeAssignor" => Some(Assignor::Range),
            "RoundRobinAssignor" => Some(Assignor::RoundRobin),
            "StickyAssignor" => Some(Assignor::Sticky),
            "CooperativeStickyAssignor" => Some(Assignor::CooperativeSticky),
            _ => None,
        }
    }

    /// Whether its members may keep what they own while they rebalance (KIP-429).
    pub(super) fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// What it adds to a member's subscription. `last` is the assignment that it saw last, with
    /// its generation.
    pub(super) fn user_data(self, last: Option<(&[TopicPartition], i32)>) -> Option<Bytes> {
        match self {
            Assignor::Range | Assignor::RoundRobin => None,
            Assignor::Sticky => {
                last.map(|(assigned, generation)| wire::encode_sticky(assigned, generation))
            }
            Assignor::CooperativeSticky => {
                let generation = last.map_or(-1, |(_, generation)| generation);
                Some(wire::encode_cooperative_sticky(generation))
            }
        }
    }

    /// The assignment of a generation.
    pub(super) fn assign(self, counts: &Counts, members: &Members, bug: Option<Bug>) -> Assignment {
        match self {
            Assignor::Range => range::assign(counts, members),
            Assignor::RoundRobin => round_robin::assign(counts, members),
            Assignor::Sticky => sticky::assign(counts, members),
            Assignor::CooperativeSticky => sticky::assign_cooperative(counts, members, bug),
        }
    }
}

/// The assignors of `partition.assignment.strategy`.
pub(super) fn assignors_of(strategy: &[String]) -> Vec<Assignor> {
    let assignors = strategy.iter().map(|class| Assignor::of_class(class));
    assignors
        .map(|assignor| assignor.expect("the configuration was checked"))
        .collect()
}

/// Members in the order of `MemberInfo`: static ones first, by instance id, then by member id.
fn in_order(members: &Members) -> Vec<&StrBytes> {
    let mut order: Vec<_> = members.iter().collect();
    order.sort_by_key(|(id, member)| {
        let is_dynamic = member.instance.is_none();
        (is_dynamic, member.instance.clone(), (*id).clone())
    });
    order.into_iter().map(|(id, _)| id).collect()
}

/// What that assignor gives to each member of a group that reads one topic.
pub(crate) fn shares_of_leader(assignor: &str, shares: &Shares) -> Option<Vec<Vec<i32>>> {
    let assignor = Assignor::of_name(assignor)?;
    let topic = StrBytes::from_static_str("t");
    let members = shares.owned.iter().enumerate().map(|(at, owned)| {
        let name = |&partition| TopicPartition {
            topic: topic.clone(),
            partition,
        };
        let owned: Vec<_> = owned.iter().map(name).collect();
        let member = Member {
            instance: None,
            topics: BTreeSet::from([topic.clone()]),
            user_data: assignor.user_data(Some((&owned, 1))),
            owned,
            generation: Some(1),
        };
        (StrBytes::from_string(format!("m{at:05}")), member)
    });
    let count = usize::try_from(shares.partitions).unwrap_or(0);
    let counts = Counts::from([(topic.clone(), count)]);
    let assignment = assignor.assign(&counts, &members.collect(), None);
    let indexes = |assigned: Vec<TopicPartition>| {
        let indexes = assigned.into_iter().map(|one| one.partition);
        indexes.collect()
    };
    Some(assignment.into_values().map(indexes).collect())
}

/// Every partition of a topic.
fn partitions_of(topic: &StrBytes, count: usize) -> impl Iterator<Item = TopicPartition> + '_ {
    let count = i32::try_from(count).expect("partition indexes are 32 bits wide");
    (0..count).map(|partition| TopicPartition {
        topic: topic.clone(),
        partition,
    })
}
