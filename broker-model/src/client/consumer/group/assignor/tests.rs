//! Small groups, assignment by assignment.

use std::collections::BTreeMap;

use super::{Assignment, Assignor, Counts, Member, Members};
use crate::bug::Bug;
use crate::types::{StrBytes, TopicPartition};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// `"a b-0 b-1"` is: subscribed to a, owns b-0 and b-1.
fn member(text_of: &str, generation: i32) -> Member {
    let mut member = Member {
        generation: Some(generation),
        ..Member::default()
    };
    for word in text_of.split_whitespace() {
        match word.split_once('-') {
            None => {
                member.topics.insert(text(word));
            }
            Some((topic, index)) => member.owned.push(TopicPartition {
                topic: text(topic),
                partition: index.parse().expect("a test's own"),
            }),
        }
    }
    member
}

fn group(members: &[(&str, &str)]) -> Members {
    let member = |&(id, of): &(&str, &str)| (text(id), member(of, 1));
    members.iter().map(member).collect()
}

fn counts(topics: &[(&str, usize)]) -> Counts {
    let topics = topics.iter();
    topics.map(|&(topic, count)| (text(topic), count)).collect()
}

fn brief(assignment: &Assignment) -> BTreeMap<String, String> {
    let brief = assignment.iter().map(|(id, assigned)| {
        let names: Vec<String> = assigned.iter().map(ToString::to_string).collect();
        (id.to_string(), names.join(" "))
    });
    brief.collect()
}

fn check(
    assignor: Assignor,
    topics: &[(&str, usize)],
    members: &Members,
    expected: &[(&str, &str)],
) {
    let assignment = assignor.assign(&counts(topics), members, None);
    let expected = expected.iter();
    let expected: BTreeMap<String, String> = expected
        .map(|&(id, names)| (id.to_owned(), names.to_owned()))
        .collect();
    assert_eq!(brief(&assignment), expected);
}

#[test]
fn range_gives_neighbours_topic_by_topic() {
    let members = group(&[("m1", "a b"), ("m2", "a b")]);
    check(
        Assignor::Range,
        &[("a", 3), ("b", 3)],
        &members,
        &[("m1", "a-0 a-1 b-0 b-1"), ("m2", "a-2 b-2")],
    );
}

#[test]
fn static_members_come_first_by_their_instance() {
    let mut members = group(&[("m1", "a"), ("m2", "a"), ("m3", "a")]);
    members.get_mut(&text("m3")).expect("given").instance = Some(text("i1"));
    members.get_mut(&text("m2")).expect("given").instance = Some(text("i2"));
    let expected = [("m1", "a-2"), ("m2", "a-1"), ("m3", "a-0")];
    check(Assignor::Range, &[("a", 3)], &members, &expected);
    check(Assignor::RoundRobin, &[("a", 3)], &members, &expected);
}

#[test]
fn round_robin_passes_over_members_that_do_not_want_the_topic() {
    let members = group(&[("m1", "a"), ("m2", "a b"), ("m3", "a b c")]);
    check(
        Assignor::RoundRobin,
        &[("a", 1), ("b", 2), ("c", 3)],
        &members,
        &[("m1", "a-0"), ("m2", "b-0"), ("m3", "b-1 c-0 c-1 c-2")],
    );
}

#[test]
fn cooperative_sticky_leaves_out_what_has_to_be_given_up_first() {
    let members = group(&[("m1", "a a-0 a-1 a-2 a-3"), ("m2", "a")]);
    check(
        Assignor::CooperativeSticky,
        &[("a", 4)],
        &members,
        &[("m1", "a-0 a-1"), ("m2", "")],
    );
    let members = group(&[("m1", "a a-0 a-1"), ("m2", "a")]);
    check(
        Assignor::CooperativeSticky,
        &[("a", 4)],
        &members,
        &[("m1", "a-0 a-1"), ("m2", "a-2 a-3")],
    );
}

#[test]
fn kip_429_gives_away_what_somebody_still_owns() {
    let members = group(&[("m1", "a a-0 a-1 a-2 a-3"), ("m2", "a")]);
    let bug = Some(Bug::Kip429AssignBeforeRevoke);
    let assignment = Assignor::CooperativeSticky.assign(&counts(&[("a", 4)]), &members, bug);
    let expected = [("m1", "a-0 a-1"), ("m2", "a-2 a-3")];
    let expected = expected.map(|(id, names)| (id.to_owned(), names.to_owned()));
    assert_eq!(brief(&assignment), BTreeMap::from(expected));
}

#[test]
fn what_two_members_claim_is_left_to_the_younger_generation() {
    let mut members = group(&[("m1", "a a-0 a-1"), ("m2", "a a-1")]);
    members.get_mut(&text("m2")).expect("given").generation = Some(2);
    check(
        Assignor::CooperativeSticky,
        &[("a", 2)],
        &members,
        &[("m1", "a-0"), ("m2", "a-1")],
    );
    members.get_mut(&text("m2")).expect("given").generation = Some(1);
    check(
        Assignor::CooperativeSticky,
        &[("a", 2)],
        &members,
        &[("m1", "a-0"), ("m2", "")],
    );
}

#[test]
fn different_subscriptions_are_balanced_as_far_as_they_allow() {
    let members = group(&[("m1", "a"), ("m2", "a b"), ("m3", "a b c")]);
    check(
        Assignor::CooperativeSticky,
        &[("a", 1), ("b", 2), ("c", 3)],
        &members,
        &[("m1", "a-0"), ("m2", "b-0 b-1"), ("m3", "c-0 c-1 c-2")],
    );
}

#[test]
fn an_assignor_is_known_by_class_and_by_name() {
    let class = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    assert_eq!(Assignor::of_class(class), Some(Assignor::CooperativeSticky));
    assert_eq!(Assignor::of_name("sticky"), Some(Assignor::Sticky));
    assert_eq!(Assignor::of_class("com.example.Mine"), None);
}
