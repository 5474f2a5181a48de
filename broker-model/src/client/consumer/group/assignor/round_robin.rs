//! `RoundRobinAssignor`: all partitions of all topics, one after the other to the next member that
//! is subscribed.

use super::{Assignment, Counts, Members, in_order, partitions_of};

/// The assignment of a generation.
pub(super) fn assign(counts: &Counts, members: &Members) -> Assignment {
    let mut assignment: Assignment = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let order = in_order(members);
    let mut next = 0;
    for (topic, &count) in counts {
        if !members.values().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in partitions_of(topic, count) {
            while !members[order[next]].topics.contains(topic) {
                next = (next + 1) % order.len();
            }
            let assigned = assignment.get_mut(order[next]);
            assigned.expect("every member has an entry").push(partition);
            next = (next + 1) % order.len();
        }
    }
    assignment
}
