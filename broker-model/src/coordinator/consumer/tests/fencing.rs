//! Who may not: wrong epochs, wrong ids, requests that make no sense, and commits.

use insta::assert_snapshot;

use super::rig::{Rig, beat, join, join_as, matching, owns, reads, text};
use crate::types::ResponseError;

/// Two members of two partitions; m1 is in epoch 2 and was in 1.
fn two_members() -> Rig {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    rig.send(&beat("m1", 1));
    assert_eq!(rig.send(&owns("m1", 1, "a 0")), "epoch 2");
    rig.send(&beat("m2", 2));
    rig
}

#[test]
fn an_epoch_above_the_members_is_fenced() {
    let mut rig = two_members();
    assert_snapshot!(rig.send(&beat("m1", 3)), @"FencedMemberEpoch");
    assert_snapshot!(rig.send(&beat("m1", 2)), @"epoch 2");
}

#[test]
fn the_epoch_before_counts_only_with_partitions_of_this_one() {
    let mut rig = two_members();
    // The answer that raised the epoch was lost.
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0")), @"epoch 2");
    assert_snapshot!(rig.send(&owns("m1", 1, "")), @"epoch 2");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0 1")), @"FencedMemberEpoch");
    assert_snapshot!(rig.send(&owns("m1", 1, "b 0")), @"FencedMemberEpoch");
    assert_snapshot!(rig.send(&beat("m1", 1)), @"FencedMemberEpoch");
}

#[test]
fn an_epoch_before_the_one_before_is_fenced() {
    let mut rig = two_members();
    rig.send(&beat("m2", -1));
    assert_snapshot!(rig.send(&beat("m1", 2)), @"epoch 3 [a 0 1]");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0")), @"FencedMemberEpoch");
    assert_snapshot!(rig.send(&owns("m1", 2, "a 0")), @"epoch 3");
}

#[test]
fn joining_again_is_always_allowed() {
    let mut rig = two_members();
    assert_snapshot!(rig.send(&join("m1", &["a"])), @"epoch 2 [a 0]");
}

#[test]
fn an_unknown_member_has_to_join() {
    let mut rig = two_members();
    assert_snapshot!(rig.send(&beat("m9", 1)), @"UnknownMemberId");
    assert_snapshot!(rig.send(&beat("m9", -1)), @"UnknownMemberId");
}

#[test]
fn an_instance_id_belongs_to_one_member() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join_as("i1", "m1", &["a"]));
    assert_snapshot!(rig.send(&join_as("i1", "m2", &["a"])), @"UnreleasedInstanceId");
    // Not even its owner may join twice.
    assert_snapshot!(rig.send(&join_as("i1", "m1", &["a"])), @"UnreleasedInstanceId");
    let of = |member, epoch| beat(member, epoch).with_instance_id(Some(text("i1")));
    assert_snapshot!(rig.send(&of("m2", 1)), @"FencedInstanceId");
    assert_snapshot!(rig.send(&of("m2", -1)), @"FencedInstanceId");
    assert_snapshot!(rig.send(&of("m2", -2)), @"FencedInstanceId");
    assert_snapshot!(rig.send(&of("m1", 1)), @"epoch 1");
    let unknown = beat("m1", 1).with_instance_id(Some(text("i2")));
    assert_snapshot!(rig.send(&unknown), @"UnknownMemberId");

    rig.send(&of("m1", -2));
    assert_snapshot!(rig.send(&of("m1", 1)), @"FencedMemberEpoch");
    assert_snapshot!(rig.send(&join_as("i1", "m2", &["a"])), @"epoch 1 [a 0 1]");
    assert_snapshot!(rig.send(&of("m1", 1)), @"FencedInstanceId");
}

#[test]
fn a_request_that_makes_no_sense_is_invalid() {
    let mut rig = two_members();
    let valid = || join("m3", &["a"]);
    let mut refused = vec![
        valid().with_rebalance_timeout_ms(-1),
        valid().with_topic_partitions(None),
        valid().with_subscribed_topic_names(None),
        valid().with_instance_id(Some(text(" "))),
        valid().with_rack_id(Some(text(""))),
        valid().with_group_id(kafka_protocol::messages::GroupId(text(""))),
        beat("", -1),
        beat("m1", -2),
        beat("m1", -3),
    ];
    refused.push(valid().with_topic_partitions(owns("m3", 0, "a 0").topic_partitions));
    for request in refused {
        assert_eq!(rig.send(&request), "InvalidRequest", "{request:?}");
    }
    let foreign = valid().with_server_assignor(Some(text("sticky")));
    assert_snapshot!(rig.send(&foreign), @"UnsupportedAssignor");
    assert_snapshot!(rig.send(&matching(valid(), "(")), @"InvalidRegularExpression");
    assert_eq!(rig.group.members.len(), 2);
    // No topics at all are fine, and nothing new to the group.
    assert_snapshot!(rig.send(&reads(valid(), &[])), @"epoch 2 []");
}

#[test]
fn a_commit_names_the_members_epoch_exactly() {
    let mut rig = two_members();
    assert_eq!(rig.commit(9, "m1", 2), Ok(()));
    for epoch in [-1, 0, 1, 3] {
        let told = rig.commit(9, "m1", epoch);
        assert_eq!(told, Err(ResponseError::StaleMemberEpoch), "{epoch}");
    }
    assert_eq!(
        rig.commit(8, "m1", 2),
        Err(ResponseError::UnsupportedVersion)
    );
    assert_eq!(rig.commit(9, "m9", 2), Err(ResponseError::UnknownMemberId));
    assert_eq!(rig.commit(9, "", -1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn an_empty_group_takes_commits_of_no_member() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&beat("m1", -1));
    assert_eq!(rig.commit(9, "", -1), Ok(()));
    assert_eq!(rig.commit(8, "whoever", -1), Ok(()));
    assert_eq!(rig.commit(9, "m1", 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_fetch_names_the_members_epoch_or_nothing() {
    let rig = two_members();
    let fetch = |member: Option<&str>, epoch| {
        let member = member.map(text);
        rig.group.validate_offset_fetch(member.as_ref(), epoch)
    };
    assert_eq!(fetch(None, -1), Ok(()));
    assert_eq!(fetch(Some("m1"), 2), Ok(()));
    assert_eq!(fetch(Some("m1"), 1), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(fetch(Some("m9"), 2), Err(ResponseError::UnknownMemberId));
    assert_eq!(fetch(None, 2), Err(ResponseError::UnknownMemberId));
}
