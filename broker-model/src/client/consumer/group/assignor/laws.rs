//! What holds of every assignment, whatever the members are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Assignment, Assignor, Counts, Member, Members};
use crate::types::{StrBytes, TopicPartition};
use crate::wire::consumer_protocol as wire;

fn name(prefix: &str, n: usize) -> StrBytes {
    StrBytes::from_string(format!("{prefix}{n}"))
}

/// Up to four topics of up to nine partitions.
fn counts() -> impl Strategy<Value = Counts> {
    let counts = prop::collection::vec(1..10_usize, 1..5);
    counts.prop_map(|counts| (0..).map(|n| name("t", n)).zip(counts).collect())
}

/// Up to seven members; each bit of `topics` is a topic that it is subscribed to.
fn members(topics: impl Strategy<Value = u8> + Clone) -> impl Strategy<Value = Members> {
    let member = (topics, any::<Option<bool>>());
    prop::collection::vec(member, 1..8).prop_map(|members| {
        let member = |(n, (topics, instance)): (usize, (u8, Option<bool>))| {
            let subscribed = (0..4).filter(|bit| topics & (1 << bit) != 0);
            let member = Member {
                instance: instance.map(|_| name("i", 9 - n)),
                topics: subscribed.map(|topic| name("t", topic)).collect(),
                ..Member::default()
            };
            (name("m", n), member)
        };
        members.into_iter().enumerate().map(member).collect()
    })
}

/// The same, with everybody subscribed to everything.
fn equal_members() -> impl Strategy<Value = Members> {
    members(Just(0b1111))
}

/// Topics that exist and that somebody wants: what Kafka hands to an assignor.
fn wanted(counts: &Counts, members: &Members) -> Counts {
    let wanted = |topic: &StrBytes| members.values().any(|member| member.topics.contains(topic));
    let wanted = counts.iter().filter(|(topic, _)| wanted(topic));
    wanted
        .map(|(topic, &count)| (topic.clone(), count))
        .collect()
}

/// Members as they join again after that assignment.
fn rejoined(members: &Members, assignment: &Assignment, generation: i32) -> Members {
    let rejoin = |(id, member): (&StrBytes, &Member)| {
        let assigned = assignment.get(id).cloned().unwrap_or_default();
        let member = Member {
            user_data: Some(wire::encode_sticky(&assigned, generation)),
            owned: assigned,
            generation: Some(generation),
            ..member.clone()
        };
        (id.clone(), member)
    };
    members.iter().map(rejoin).collect()
}

/// Every partition of the topics once, and only to members that want it.
fn is_legal(counts: &Counts, members: &Members, assignment: &Assignment) {
    let mut all = BTreeSet::new();
    for (id, assigned) in assignment {
        for partition in assigned {
            assert!(
                members[id].topics.contains(&partition.topic),
                "{id} {partition}"
            );
            assert!(all.insert(partition.clone()), "{partition} twice");
        }
    }
    let expected: usize = counts.values().sum();
    assert_eq!(all.len(), expected);
    assert_eq!(assignment.len(), members.len());
}

fn sizes(assignment: &Assignment) -> (usize, usize) {
    let sizes = || assignment.values().map(Vec::len);
    (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0))
}

/// How many partitions a member keeps from one assignment to the next.
fn kept(before: &Assignment, after: &Assignment) -> usize {
    let kept = after.iter().map(|(id, assigned)| {
        let had = before.get(id).map_or(&[][..], Vec::as_slice);
        assigned.iter().filter(|one| had.contains(one)).count()
    });
    kept.sum()
}

/// The cooperative assignment of one generation after the other, until nobody has to give
/// anything up.
fn settle(counts: &Counts, members: &Members) -> (Assignment, u32) {
    let mut members = members.clone();
    for round in 1.. {
        let assignment = Assignor::CooperativeSticky.assign(counts, &members, None);
        let gives_up = members.iter().any(|(id, member)| {
            let assigned = &assignment[id];
            member.owned.iter().any(|one| !assigned.contains(one))
        });
        if !gives_up {
            return (assignment, round);
        }
        let generation = i32::try_from(round).expect("few rounds") + 10;
        members = rejoined(&members, &assignment, generation);
    }
    unreachable!("the range has no end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn everything_is_assigned_once(counts in counts(), members in members(0..16_u8)) {
        let counts = wanted(&counts, &members);
        for assignor in Assignor::ALL {
            is_legal(&counts, &members, &assignor.assign(&counts, &members, None));
        }
    }

    #[test]
    fn equal_members_get_equal_shares(counts in counts(), members in equal_members()) {
        for assignor in [Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
            let (least, most) = sizes(&assignor.assign(&counts, &members, None));
            prop_assert!(most - least <= 1, "{assignor:?}: {least} to {most}");
        }
        let range = Assignor::Range.assign(&counts, &members, None);
        for topic in counts.keys() {
            let of_topic: Assignment = range.iter().map(|(id, assigned)| {
                let of_topic = assigned.iter().filter(|one| one.topic == *topic);
                (id.clone(), of_topic.cloned().collect())
            }).collect();
            let (least, most) = sizes(&of_topic);
            prop_assert!(most - least <= 1);
        }
    }

    #[test]
    fn a_sticky_assignment_stays_while_nothing_changes(
        counts in counts(),
        members in members(0..16_u8),
    ) {
        let counts = wanted(&counts, &members);
        for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
            let first = assignor.assign(&counts, &members, None);
            let second = assignor.assign(&counts, &rejoined(&members, &first, 1), None);
            let all: usize = counts.values().sum();
            prop_assert_eq!(kept(&first, &second), all);
        }
    }

    #[test]
    fn a_member_that_leaves_moves_nothing_of_the_others(
        counts in counts(),
        members in equal_members(),
    ) {
        let first = Assignor::Sticky.assign(&counts, &members, None);
        let mut left = rejoined(&members, &first, 1);
        if left.len() > 1 {
            let (gone, _) = left.pop_first().expect("at least two");
            let second = Assignor::Sticky.assign(&counts, &left, None);
            let of_others: usize = counts.values().sum::<usize>() - first[&gone].len();
            prop_assert_eq!(kept(&first, &second), of_others);
            is_legal(&counts, &left, &second);
        }
    }

    #[test]
    fn a_member_that_joins_takes_no_more_than_its_share(
        counts in counts(),
        members in equal_members(),
    ) {
        let first = Assignor::Sticky.assign(&counts, &members, None);
        let mut joined = rejoined(&members, &first, 1);
        let topics = joined.values().next().expect("at least one").topics.clone();
        joined.insert(name("n", 0), Member { topics, ..Member::default() });
        let second = Assignor::Sticky.assign(&counts, &joined, None);
        is_legal(&counts, &joined, &second);
        let moved = counts.values().sum::<usize>() - kept(&first, &second);
        prop_assert_eq!(moved, second[&name("n", 0)].len());
    }

    #[test]
    fn nothing_is_given_to_one_while_another_has_it(
        counts in counts(),
        before in members(0..16_u8),
        after in members(0..16_u8),
    ) {
        let first = Assignor::Sticky.assign(&wanted(&counts, &before), &before, None);
        let counts = wanted(&counts, &after);
        let members = rejoined(&after, &first, 1);
        let assignment = Assignor::CooperativeSticky.assign(&counts, &members, None);
        let owner: BTreeMap<&TopicPartition, &StrBytes> = members.iter()
            .flat_map(|(id, member)| member.owned.iter().map(move |one| (one, id)))
            .collect();
        for (id, assigned) in &assignment {
            for partition in assigned {
                prop_assert!(owner.get(partition).is_none_or(|owner| *owner == id));
            }
        }
        let (settled, rounds) = settle(&counts, &members);
        is_legal(&counts, &members, &settled);
        prop_assert!(rounds <= 3, "{rounds} rounds");
    }
}
