//! What every target has to be, whatever came before it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::group::each;
use super::{Assignment, Assignor, GroupSpec, MemberSpec};
use crate::types::{StrBytes, Uuid};

fn id(number: usize) -> StrBytes {
    StrBytes::from_string(format!("m{number:02}"))
}

fn topic(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

/// Topics with so many partitions; members by the topics that they read.
fn group(partitions: &[i32], members: &[BTreeSet<usize>]) -> GroupSpec {
    let topics = partitions.iter().enumerate();
    let member = |read: &BTreeSet<usize>| MemberSpec {
        instance: None,
        topics: read.iter().map(|&number| topic(number)).collect(),
        assigned: BTreeMap::new(),
    };
    GroupSpec {
        members: (0..).map(id).zip(members.iter().map(member)).collect(),
        partitions: topics
            .map(|(number, &count)| (topic(number), count))
            .collect(),
        homogeneous: members.windows(2).all(|pair| pair[0] == pair[1]),
    }
}

fn groups(homogeneous: bool) -> impl Strategy<Value = GroupSpec> {
    let partitions = prop::collection::vec(1..12_i32, 1..5);
    partitions.prop_flat_map(move |partitions| {
        let read = prop::collection::btree_set(0..partitions.len(), 1..=partitions.len());
        prop::collection::vec(read, 1..9).prop_map(move |mut members| {
            if homogeneous {
                let first = members[0].clone();
                members.fill(first);
            }
            group(&partitions, &members)
        })
    })
}

/// Every partition that is read has one owner, and it reads it.
fn check_complete(group: &GroupSpec, assignment: &Assignment) {
    let mut owners = BTreeMap::new();
    for (member, own) in assignment {
        for partition in each(own) {
            assert!(group.members[member].topics.contains(&partition.0));
            let before = owners.insert(partition, member);
            assert_eq!(before, None, "{partition:?} has two owners");
        }
    }
    let read: BTreeSet<Uuid> = group
        .members
        .values()
        .flat_map(|it| it.topics.clone())
        .collect();
    let expected: i32 = read.iter().map(|topic| group.partitions[topic]).sum();
    assert_eq!(owners.len(), usize::try_from(expected).expect("a count"));
}

fn sizes(assignment: &Assignment) -> BTreeMap<&StrBytes, usize> {
    let size = |(member, own)| (member, each(own).count());
    assignment.iter().map(size).collect()
}

/// The group after that assignment.
fn after(group: &GroupSpec, assignment: &Assignment) -> GroupSpec {
    let mut group = group.clone();
    for (id, member) in &mut group.members {
        member.assigned = assignment.get(id).cloned().unwrap_or_default();
    }
    group
}

/// How many partitions changed hands.
fn moved(before: &Assignment, now: &Assignment) -> usize {
    let kept = |(member, own): (&StrBytes, &_)| {
        let own: BTreeSet<_> = each(own).collect();
        let had = before.get(member).into_iter().flat_map(each);
        had.filter(|partition| !own.contains(partition)).count()
    };
    now.iter().map(kept).sum()
}

proptest! {
    #[test]
    fn every_partition_has_one_owner(group in groups(false)) {
        for assignor in [Assignor::Range, Assignor::Uniform] {
            let first = assignor.assign(&group);
            check_complete(&group, &first);
            // And again when nothing changed, which then changes nothing.
            let again = assignor.assign(&after(&group, &first));
            if assignor == Assignor::Range {
                prop_assert_eq!(&again, &first);
            }
            check_complete(&group, &again);
        }
    }

    #[test]
    fn uniform_is_balanced_and_keeps_what_it_can(group in groups(true), gone in 0..9_usize) {
        let first = Assignor::Uniform.assign(&group);
        let spread = |assignment: &Assignment| {
            let sizes = sizes(assignment);
            sizes.values().max().zip(sizes.values().min()).map(|(max, min)| max - min)
        };
        prop_assert!(spread(&first) <= Some(1));
        let before = after(&group, &first);
        prop_assert_eq!(&Assignor::Uniform.assign(&before), &first);

        // One leaves: nobody loses anything.
        let mut fewer = before.clone();
        if fewer.members.len() > 1 {
            fewer.members.remove(&id(gone % fewer.members.len()));
            let next = Assignor::Uniform.assign(&fewer);
            check_complete(&fewer, &next);
            prop_assert!(spread(&next) <= Some(1));
            prop_assert_eq!(moved(&first, &next), 0);
        }

        // One joins: only what it gets moves.
        let mut more = before;
        let mut joined = more.members[&id(0)].clone();
        joined.assigned.clear();
        more.members.insert(StrBytes::from_static_str("new"), joined);
        let next = Assignor::Uniform.assign(&more);
        check_complete(&more, &next);
        prop_assert!(spread(&next) <= Some(1));
        prop_assert_eq!(moved(&first, &next), sizes(&next)[&StrBytes::from_static_str("new")]);
    }

    #[test]
    fn uniform_leaves_no_topic_lopsided(group in groups(false)) {
        let mut group = group;
        group.homogeneous = false;
        let assignment = Assignor::Uniform.assign(&group);
        let sizes = sizes(&assignment);
        // Nobody has a partition that another reader with two fewer could have.
        for (owner, own) in &assignment {
            for topic in own.keys() {
                for (reader, member) in &group.members {
                    let could = member.topics.contains(topic);
                    prop_assert!(!could || sizes[owner] <= sizes[reader] + 1, "{assignment:?}");
                }
            }
        }
        let again = Assignor::Uniform.assign(&after(&group, &assignment));
        prop_assert_eq!(again, assignment);
    }

    #[test]
    fn range_gives_co_partitioned_topics_to_the_same_members(count in 1..12_i32, members in 1..9_usize) {
        let group = group(&[count, count], &vec![BTreeSet::from([0, 1]); members]);
        for own in Assignor::Range.assign(&group).values() {
            prop_assert_eq!(own.get(&topic(0)), own.get(&topic(1)));
            let indexes: Vec<i32> = own.get(&topic(0)).into_iter().flatten().copied().collect();
            prop_assert!(indexes.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        }
    }
}

#[test]
fn static_members_come_first_in_a_range() {
    let mut group = group(&[3], &vec![BTreeSet::from([0]); 2]);
    let last = group.members.get_mut(&id(1)).expect("two members");
    last.instance = Some(StrBytes::from_static_str("i1"));
    let assignment = Assignor::Range.assign(&group);
    assert_eq!(assignment[&id(1)][&topic(0)], BTreeSet::from([0, 1]));
    assert_eq!(assignment[&id(0)][&topic(0)], BTreeSet::from([2]));
}

#[test]
fn a_topic_that_nobody_reads_any_more_is_nobodys() {
    for homogeneous in [true, false] {
        let mut group = group(&[2, 2], &[BTreeSet::from([0])]);
        group.homogeneous = homogeneous;
        let own = group.members.get_mut(&id(0)).expect("one member");
        own.assigned.insert(topic(1), BTreeSet::from([0, 1]));
        let assignment = Assignor::Uniform.assign(&group);
        let expected = BTreeMap::from([(topic(0), BTreeSet::from([0, 1]))]);
        assert_eq!(assignment[&id(0)], expected);
    }
}
