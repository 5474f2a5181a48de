//! Sticky assignment where all members are subscribed to the same topics
//! (`ConstrainedAssignmentBuilder`, KAFKA-9987): everybody keeps up to its share of what it owns, the
//! rest is dealt out to those who have too little.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::sticky::Owned;
use super::{Assignment, Counts, partitions_of};
use crate::types::{StrBytes, TopicPartition};

/// The assignment under way.
pub(super) struct Constrained<'a> {
    counts: &'a Counts,
    owned: Assignment,
    contested: BTreeSet<TopicPartition>,
    /// Everybody gets this many …
    min_quota: usize,
    /// … and some one more.
    max_quota: usize,
    /// So many members get more than `min_quota`.
    over_min_expected: usize,
    over_min: usize,
    /// Members with fewer than `min_quota`, in order.
    below_min: Vec<StrBytes>,
    /// Members with `min_quota` that may get one more, in order.
    at_min: VecDeque<StrBytes>,
    assignment: Assignment,
    /// What a member has to give up, and who.
    given_up: BTreeMap<TopicPartition, StrBytes>,
    transferring: BTreeMap<TopicPartition, StrBytes>,
}

impl<'a> Constrained<'a> {
    /// Nothing is assigned yet.
    pub(super) fn new(counts: &'a Counts, owned: Owned) -> Self {
        let total: usize = counts.values().sum();
        let members = owned.by_member.len();
        let assignment = owned.by_member.keys();
        Constrained {
            counts,
            assignment: assignment.map(|id| (id.clone(), Vec::new())).collect(),
            owned: owned.by_member,
            contested: owned.contested,
            min_quota: total / members,
            max_quota: total.div_ceil(members),
            over_min_expected: total % members,
            over_min: 0,
            below_min: Vec::new(),
            at_min: VecDeque::new(),
            given_up: BTreeMap::new(),
            transferring: BTreeMap::new(),
        }
    }

    /// The assignment, and what goes to somebody while somebody else has it.
    pub(super) fn build(mut self) -> (Assignment, BTreeMap<TopicPartition, StrBytes>) {
        for (id, owned) in std::mem::take(&mut self.owned) {
            self.keep(&id, owned);
        }
        self.at_min.make_contiguous().sort();
        self.deal();
        (self.assignment, self.transferring)
    }

    /// Leaves to a member what it owns, up to its share.
    fn keep(&mut self, id: &StrBytes, mut owned: Vec<TopicPartition>) {
        owned.retain(|partition| !self.contested.contains(partition));
        owned.sort_by(|a, b| (a.partition, &a.topic).cmp(&(b.partition, &b.topic)));
        let more_allowed = self.over_min < self.over_min_expected;
        let kept = if owned.len() < self.min_quota {
            self.below_min.push(id.clone());
            owned.len()
        } else if owned.len() >= self.max_quota && more_allowed {
            self.over_min += 1;
            if self.over_min == self.over_min_expected {
                self.at_min.clear();
            }
            self.max_quota
        } else {
            if more_allowed {
                self.at_min.push_back(id.clone());
            }
            self.min_quota
        };
        for partition in owned.split_off(kept) {
            self.given_up.insert(partition, id.clone());
        }
        self.assignment.insert(id.clone(), owned);
    }

    /// Deals out what nobody keeps: round and round among those below the minimum, then one each
    /// to those at it.
    fn deal(&mut self) {
        let mut next = 0;
        for partition in self.unassigned() {
            let from_below = !self.below_min.is_empty();
            let id = if from_below {
                next %= self.below_min.len();
                self.below_min[next].clone()
            } else {
                let id = self.at_min.pop_front();
                id.expect("as many may get one more as partitions are left")
            };
            let count = self.give(partition, &id);
            if count == self.min_quota && from_below {
                self.below_min.remove(next);
                self.at_min.push_back(id);
            } else if from_below {
                next += 1;
            }
            if count == self.max_quota && self.min_quota < self.max_quota {
                self.over_min += 1;
            }
        }
        assert!(
            self.below_min.is_empty(),
            "a member did not get its share: {:?}",
            self.below_min
        );
    }

    fn give(&mut self, partition: TopicPartition, id: &StrBytes) -> usize {
        let owner = self.given_up.get(&partition);
        if owner.is_some_and(|owner| owner != id) || self.contested.contains(&partition) {
            self.transferring.insert(partition.clone(), id.clone());
        }
        let assigned = self.assignment.get_mut(id);
        let assigned = assigned.expect("every member has an entry");
        assigned.push(partition);
        assigned.len()
    }

    /// What nobody keeps, by topic and partition.
    fn unassigned(&self) -> Vec<TopicPartition> {
        let kept: BTreeSet<&TopicPartition> = self.assignment.values().flatten().collect();
        let all = self
            .counts
            .iter()
            .flat_map(|(topic, &count)| partitions_of(topic, count));
        all.filter(|partition| !kept.contains(partition)).collect()
    }
}
