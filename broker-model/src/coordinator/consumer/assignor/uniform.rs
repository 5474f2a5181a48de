//! All partitions evenly over members that read the same topics.
//!
//! Mirrors `UniformHomogeneousAssignmentBuilder`. Each member keeps what it had, up to its share; what
//! is left over goes to those below theirs.

use std::collections::BTreeSet;

use super::super::super::record::TopicPartitions;
use super::super::group::each;
use super::{Assignment, GroupSpec};
use crate::types::{StrBytes, Uuid};

/// Shares while they are given out.
struct Shares {
    /// What each member gets.
    quota: usize,
    /// How many members get one more.
    extra: usize,
    /// How many members are still to come, this one included.
    left: usize,
    /// Who takes how many more.
    unfilled: Vec<(StrBytes, usize)>,
    /// What nobody has.
    unassigned: Vec<(Uuid, i32)>,
}

/// Distributes the partitions.
pub(super) fn assign(group: &GroupSpec) -> Assignment {
    let first = group.members.values().next().expect("there are members");
    let topics = &first.topics;
    if topics.is_empty() {
        return Assignment::new();
    }
    let taken: BTreeSet<(Uuid, i32)> = group
        .members
        .values()
        .flat_map(|member| each(&member.assigned))
        .collect();
    let all = topics
        .iter()
        .flat_map(|&topic| (0..group.partitions[&topic]).map(move |at| (topic, at)));
    let (owned, unassigned): (Vec<_>, Vec<_>) = all.partition(|at| taken.contains(at));
    let partitions = owned.len() + unassigned.len();
    let members = group.members.len();
    let mut shares = Shares {
        quota: partitions / members,
        extra: partitions % members,
        left: members,
        unfilled: Vec::new(),
        unassigned,
    };
    let mut assignment = Assignment::new();
    for (id, member) in &group.members {
        let kept = shares.keep(id, &member.assigned, topics);
        assignment.insert(id.clone(), kept);
    }
    shares.hand_out(&mut assignment);
    assignment
}

impl Shares {
    /// What a member keeps of what it had (`maybeRevokePartitions`).
    fn keep(
        &mut self,
        member: &StrBytes,
        had: &TopicPartitions,
        topics: &BTreeSet<Uuid>,
    ) -> TopicPartitions {
        let mut has_extra = self.extra > 0;
        let mut room = self.quota + usize::from(has_extra);
        let mut kept = TopicPartitions::new();
        for (topic, at) in each(had).filter(|(topic, _)| topics.contains(topic)) {
            if room > 0 {
                room -= 1;
                kept.entry(topic).or_default().insert(at);
            } else {
                self.unassigned.push((topic, at));
            }
        }
        // One more is for somebody who already has one more, if enough members are still to come.
        if room > 0 && has_extra && self.left > self.extra {
            room -= 1;
            has_extra = false;
        }
        if room > 0 {
            self.unfilled.push((member.clone(), room));
        }
        self.extra -= usize::from(has_extra);
        self.left -= 1;
        kept
    }

    fn hand_out(self, assignment: &mut Assignment) {
        let mut unassigned = self.unassigned.into_iter();
        for (member, room) in self.unfilled {
            let own = assignment.get_mut(&member).expect("every member is there");
            for (topic, at) in unassigned.by_ref().take(room) {
                own.entry(topic).or_default().insert(at);
            }
        }
        assert_eq!(unassigned.next(), None, "a partition was left over");
    }
}
