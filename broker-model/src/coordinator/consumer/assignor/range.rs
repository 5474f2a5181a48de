//! Each topic's partitions in ranges, in the order of members.
//!
//! Mirrors `RangeAssignor`. Members come in the order of their instance ids, then of their member
//! ids, so that what two topics have at the same index goes to the same member.

use std::collections::BTreeMap;

use super::{Assignment, GroupSpec, MemberSpec};
use crate::types::{StrBytes, Uuid};

/// What is left of a topic.
struct Topic {
    partitions: i32,
    members: i32,
    extra: i32,
    next: i32,
}

/// Distributes the partitions.
pub(super) fn assign(group: &GroupSpec) -> Assignment {
    let mut topics: BTreeMap<Uuid, Topic> = BTreeMap::new();
    for topic in group.members.values().flat_map(|member| &member.topics) {
        let partitions = group.partitions[topic];
        let fresh = || Topic {
            partitions,
            members: 0,
            extra: 0,
            next: 0,
        };
        topics.entry(*topic).or_insert_with(fresh).members += 1;
    }
    for topic in topics.values_mut() {
        topic.extra = topic.partitions % topic.members;
    }
    let mut assignment = Assignment::new();
    for (id, member) in sorted(group) {
        let mut own = BTreeMap::new();
        for id in &member.topics {
            let topic = topics.get_mut(id).expect("filled in above");
            let start = topic.next;
            topic.next += topic.partitions / topic.members;
            if topic.extra > 0 {
                topic.extra -= 1;
                topic.next += 1;
            }
            if start < topic.next {
                own.insert(*id, (start..topic.next).collect());
            }
        }
        assignment.insert(id.clone(), own);
    }
    assignment
}

/// Static members first, by instance id; then the others, by member id.
fn sorted(group: &GroupSpec) -> Vec<(&StrBytes, &MemberSpec)> {
    let mut members: Vec<_> = group.members.iter().collect();
    members.sort_by(
        |(id, member), (other_id, other)| match (&member.instance, &other.instance) {
            (Some(instance), Some(other)) => instance.cmp(other),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => id.cmp(other_id),
        },
    );
    members
}
