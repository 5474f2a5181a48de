//! Sticky assignment where members are subscribed to different topics
//! (`GeneralAssignmentBuilder`, KIP-54): everybody keeps what it owns, the rest goes to whom has
//! least, and then partitions move as long as that makes it more balanced.

use std::collections::{BTreeMap, BTreeSet};

use super::movements::Movements;
use super::sticky::{Claim, Owned};
use super::{Assignment, Counts, Members, partitions_of};
use crate::types::{StrBytes, TopicPartition};

/// The assignment under way.
pub(super) struct General<'a> {
    counts: &'a Counts,
    /// The topics that exist and that a member is subscribed to.
    topics_of: BTreeMap<StrBytes, BTreeSet<StrBytes>>,
    /// Who may get a topic.
    consumers_of: BTreeMap<StrBytes, Vec<StrBytes>>,
    current: Assignment,
    owner_of: BTreeMap<TopicPartition, StrBytes>,
    /// Members by how much they have. Those that cannot take part are left out.
    by_size: BTreeSet<(usize, StrBytes)>,
    max_generation: i32,
    movements: Movements,
    /// A member owned something that it is not subscribed to any more.
    revocation_required: bool,
}

impl<'a> General<'a> {
    /// Everybody has what it owned.
    pub(super) fn new(counts: &'a Counts, members: &Members, owned: Owned) -> Self {
        let existing = |topics: &BTreeSet<StrBytes>| {
            let existing = topics.iter().filter(|topic| counts.contains_key(*topic));
            existing.cloned().collect()
        };
        let topics_of: BTreeMap<StrBytes, BTreeSet<StrBytes>> = members
            .iter()
            .map(|(id, member)| (id.clone(), existing(&member.topics)))
            .collect();
        let consumers = |topic: &StrBytes| {
            let consumers = topics_of
                .iter()
                .filter(|(_, topics)| topics.contains(topic));
            consumers.map(|(id, _)| id.clone()).collect()
        };
        let consumers_of = counts.keys();
        let consumers_of = consumers_of.map(|topic| (topic.clone(), consumers(topic)));
        General {
            counts,
            consumers_of: consumers_of.collect(),
            topics_of,
            current: owned.by_member,
            owner_of: BTreeMap::new(),
            by_size: BTreeSet::new(),
            max_generation: owned.max_generation,
            movements: Movements::default(),
            revocation_required: false,
        }
    }

    /// The assignment.
    pub(super) fn build(mut self, claims: &BTreeMap<StrBytes, Claim>) -> Assignment {
        let previous = self.previous_owners(claims);
        self.drop_unsubscribed();
        let unassigned = self.unassigned();
        self.by_size = self
            .current
            .iter()
            .map(|(id, assigned)| (assigned.len(), id.clone()))
            .collect();
        self.balance(&previous, unassigned);
        self.current
    }

    /// Who owned what before the youngest generation
    /// (`prepopulateCurrentAssignments`).
    fn previous_owners(
        &self,
        claims: &BTreeMap<StrBytes, Claim>,
    ) -> BTreeMap<TopicPartition, StrBytes> {
        let mut previous: BTreeMap<TopicPartition, (i32, StrBytes)> = BTreeMap::new();
        for (id, (partitions, generation)) in claims {
            let generation = generation.unwrap_or(-1);
            if generation >= self.max_generation {
                continue;
            }
            for partition in partitions {
                let known = previous.get(partition);
                if known.is_none_or(|(known, _)| *known < generation) {
                    previous.insert(partition.clone(), (generation, id.clone()));
                }
            }
        }
        let owners = previous.into_iter();
        owners.map(|(partition, (_, id))| (partition, id)).collect()
    }

    /// Members keep nothing that they are not subscribed to.
    fn drop_unsubscribed(&mut self) {
        for (id, assigned) in &mut self.current {
            let topics = &self.topics_of[id];
            let before = assigned.len();
            assigned.retain(|partition| topics.contains(&partition.topic));
            self.revocation_required |= assigned.len() < before;
            for partition in assigned {
                self.owner_of.insert(partition.clone(), id.clone());
            }
        }
    }

    /// Every partition, those that fewest may get first.
    fn all_partitions(&self) -> Vec<TopicPartition> {
        let mut topics: Vec<(usize, &StrBytes)> = self
            .consumers_of
            .iter()
            .map(|(topic, consumers)| (consumers.len(), topic))
            .collect();
        topics.sort();
        let all = topics.into_iter();
        all.flat_map(|(_, topic)| partitions_of(topic, self.counts[topic]))
            .collect()
    }

    fn unassigned(&self) -> Vec<TopicPartition> {
        let mut unassigned = self.all_partitions();
        unassigned.retain(|partition| !self.owner_of.contains_key(partition));
        unassigned
    }

    fn balance(
        &mut self,
        previous: &BTreeMap<TopicPartition, StrBytes>,
        mut unassigned: Vec<TopicPartition>,
    ) {
        let initializing = self.current.values().all(Vec::is_empty);
        for partition in &unassigned {
            if let Some(to) = self.smallest_for(partition) {
                self.resize(&to, |assigned| assigned.push(partition.clone()));
                self.owner_of.insert(partition.clone(), to);
            }
        }
        let contended = |partition: &TopicPartition, consumers_of: &BTreeMap<_, Vec<_>>| {
            consumers_of[&partition.topic].len() >= 2
        };
        let mut all = self.all_partitions();
        all.retain(|partition| contended(partition, &self.consumers_of));
        unassigned.retain(|partition| contended(partition, &self.consumers_of));
        let fixed = self.set_aside();
        let before = (self.current.clone(), self.owner_of.clone());
        if !self.revocation_required {
            self.reassign(&unassigned, previous);
        }
        let moved = self.reassign(&all, previous);
        if !initializing && moved && score(&self.current) >= score(&before.0) {
            (self.current, self.owner_of) = before;
        }
        self.current.extend(fixed);
    }

    /// Members that have all they can get, and nothing that another one could.
    fn set_aside(&mut self) -> Assignment {
        let takes_part = |id: &StrBytes, assigned: &Vec<TopicPartition>| {
            let is_contended = |partition: &TopicPartition| {
                let consumers = &self.consumers_of[&partition.topic];
                consumers.len() >= 2
            };
            assigned.len() < self.most(id) || assigned.iter().any(is_contended)
        };
        let aside: Vec<StrBytes> = self
            .current
            .iter()
            .filter(|(id, assigned)| !takes_part(id, assigned))
            .map(|(id, _)| id.clone())
            .collect();
        let mut fixed = Assignment::new();
        for id in aside {
            let assigned = self.current.remove(&id).expect("listed from there");
            self.by_size.remove(&(assigned.len(), id.clone()));
            fixed.insert(id, assigned);
        }
        fixed
    }

    /// How much a member could have.
    fn most(&self, id: &StrBytes) -> usize {
        let topics = self.topics_of[id].iter();
        topics.map(|topic| self.counts[topic]).sum()
    }

    /// Moves partitions until nothing gets better. True if one moved.
    fn reassign(
        &mut self,
        partitions: &[TopicPartition],
        previous: &BTreeMap<TopicPartition, StrBytes>,
    ) -> bool {
        let mut moved = false;
        loop {
            let mut again = false;
            for partition in partitions {
                if self.is_balanced() {
                    break;
                }
                let Some(to) = self.better_owner(partition, previous) else {
                    continue;
                };
                self.move_to(partition, &to);
                again = true;
            }
            moved |= again;
            if !again {
                return moved;
            }
        }
    }

    /// Who should have the partition: its former owner if that has less by two, else whoever has
    /// least, if anybody has less by two.
    fn better_owner(
        &self,
        partition: &TopicPartition,
        previous: &BTreeMap<TopicPartition, StrBytes>,
    ) -> Option<StrBytes> {
        let owner = self.owner_of.get(partition)?;
        let size = self.current.get(owner)?.len();
        let has_less = |id: &StrBytes| {
            let assigned = self.current.get(id);
            assigned.is_some_and(|assigned| assigned.len() + 1 < size)
        };
        if let Some(former) = previous.get(partition)
            && has_less(former)
            && self.topics_of[former].contains(&partition.topic)
        {
            return Some(former.clone());
        }
        let consumers = &self.consumers_of[&partition.topic];
        let anybody = consumers.iter().any(has_less);
        anybody.then(|| self.smallest_for(partition)).flatten()
    }

    fn smallest_for(&self, partition: &TopicPartition) -> Option<StrBytes> {
        let mut by_size = self.by_size.iter();
        let fits = |id: &StrBytes| self.topics_of[id].contains(&partition.topic);
        by_size.find(|(_, id)| fits(id)).map(|(_, id)| id.clone())
    }

    fn move_to(&mut self, partition: &TopicPartition, to: &StrBytes) {
        let owner = &self.owner_of[partition];
        let partition = self.movements.instead_of(partition, owner, to);
        let from = self.owner_of[&partition].clone();
        self.movements.record(&partition, &from, to);
        self.resize(&from, |assigned| assigned.retain(|one| *one != partition));
        self.resize(to, |assigned| assigned.push(partition.clone()));
        self.owner_of.insert(partition, to.clone());
    }

    fn resize(&mut self, id: &StrBytes, change: impl FnOnce(&mut Vec<TopicPartition>)) {
        let assigned = self.current.get_mut(id).expect("a member that takes part");
        self.by_size.remove(&(assigned.len(), id.clone()));
        change(assigned);
        self.by_size.insert((assigned.len(), id.clone()));
    }

    /// Whether nobody could get a partition from somebody that has more by two.
    fn is_balanced(&self) -> bool {
        let sizes = (self.by_size.first(), self.by_size.last());
        let (Some((least, _)), Some((most, _))) = sizes else {
            return true;
        };
        if most - least <= 1 {
            return true;
        }
        self.by_size.iter().all(|(size, id)| {
            let wanted = self.topics_of[id].iter();
            let mut wanted = wanted.flat_map(|topic| partitions_of(topic, self.counts[topic]));
            *size == self.most(id)
                || wanted.all(|partition| {
                    let owner = self.owner_of.get(&partition);
                    let others = owner.and_then(|owner| self.current.get(owner));
                    others.is_none_or(|others| others.len() <= size + 1)
                })
        })
    }
}

/// How far the members are apart, pair by pair.
fn score(assignment: &Assignment) -> usize {
    let sizes: Vec<usize> = assignment.values().map(Vec::len).collect();
    let pairs = sizes.iter().enumerate();
    pairs
        .flat_map(|(at, one)| sizes[at + 1..].iter().map(|other| one.abs_diff(*other)))
        .sum()
}
