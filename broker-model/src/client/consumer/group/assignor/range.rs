//! `RangeAssignor`: topic by topic, neighbouring partitions to one member, the first members get
//! one more.

use crate::types::StrBytes;

use super::{Assignment, Counts, Members, in_order, partitions_of};

/// The assignment of a generation.
pub(super) fn assign(counts: &Counts, members: &Members) -> Assignment {
    let mut assignment: Assignment = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let order = in_order(members);
    for (topic, &count) in counts {
        let order = order.iter().copied();
        let consumers = order.filter(|id| members[*id].topics.contains(topic));
        let consumers: Vec<&StrBytes> = consumers.collect();
        let mut partitions = partitions_of(topic, count);
        for (at, id) in consumers.iter().enumerate() {
            let extra = usize::from(at < count % consumers.len());
            let share = count / consumers.len() + extra;
            let assigned = assignment.get_mut(*id).expect("every member has an entry");
            assigned.extend(partitions.by_ref().take(share));
        }
    }
    assignment
}
