//! Who is in a group: joining, leaving, static members, silence, and what a new coordinator does.

use insta::assert_snapshot;

use super::rig::{Rig, beat, join, join_as, owns, reads, text};
use crate::types::ResponseError;

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut rig = Rig::new(&[("a", 3), ("b", 2)]);
    assert_snapshot!(rig.send(&join("m1", &["a", "b"])), @"epoch 1 [a 0 1 2, b 0 1]");
    assert_snapshot!(rig.show(), @"
    Stable epoch 1 target 1
    m1 epoch 1 Stable [a 0 1 2, b 0 1]
    ");
    // An answer repeats the assignment only if something changed or the member asks in full.
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 1");
    let full = reads(owns("m1", 1, "a 0"), &["a", "b"]).with_rebalance_timeout_ms(30_000);
    assert_snapshot!(rig.send(&full), @"epoch 1 [a 0 1 2, b 0 1]");
}

#[test]
fn a_member_without_an_id_gets_one_in_version_0_only() {
    let mut rig = Rig::new(&[("a", 1)]);
    assert_snapshot!(rig.send(&join("", &["a"])), @"InvalidRequest");
    assert_snapshot!(rig.send_as(0, &join("", &["a"])), @"epoch 1 [a 0]");
    let id = rig.group.members.keys().next().expect("it joined");
    assert_eq!(id.len(), 22);
}

#[test]
fn who_leaves_frees_its_partitions_and_raises_the_epoch() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    rig.send(&owns("m1", 1, "a 0"));
    rig.send(&beat("m2", 2));
    assert_snapshot!(rig.send(&beat("m1", -1)), @"epoch -1");
    assert_eq!(rig.sessions(), ["m2"]);
    assert_snapshot!(rig.show(), @"
    Assigning epoch 3 target 2
    m2 epoch 2 Stable [a 1]
    ");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 3 [a 0 1]");
    assert_snapshot!(rig.send(&beat("m2", -1)), @"epoch -1");
    assert_snapshot!(rig.show(), @"Empty epoch 4 target 3");
    assert_eq!(rig.timers.len(), 0);
}

#[test]
fn who_is_silent_for_its_session_is_out() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join("m1", &["a"]));
    rig.pass(44_999);
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 1");
    rig.pass(44_999);
    assert!(!rig.group.is_empty());
    rig.pass(1);
    assert!(rig.group.is_empty());
    assert_snapshot!(rig.send(&beat("m1", 1)), @"UnknownMemberId");
}

#[test]
fn a_full_group_takes_its_own_members_only() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.config.group_consumer_max_size = 1;
    rig.send(&join("m1", &["a"]));
    assert_snapshot!(rig.send(&join("m2", &["a"])), @"GroupMaxSizeReached");
    assert_snapshot!(rig.send(&join("m1", &["a"])), @"epoch 1 [a 0 1]");
}

#[test]
fn a_static_member_that_went_for_a_while_comes_back_to_what_it_had() {
    let mut rig = Rig::new(&[("a", 4)]);
    rig.send(&join_as("i1", "m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    rig.send(&owns("m1", 1, "a 0 1"));
    rig.send(&beat("m2", 2));
    let epoch = rig.group.epoch;

    let away = beat("m1", -2).with_instance_id(Some(text("i1")));
    assert_snapshot!(rig.send(&away), @"epoch -2");
    // Nobody gets what it holds.
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 2");
    assert_snapshot!(rig.send(&join_as("i1", "m3", &["a"])), @"epoch 2 [a 0 1]");
    assert_eq!(rig.group.epoch, epoch);
    assert_snapshot!(rig.show(), @"
    Stable epoch 2 target 2
    m2 epoch 2 Stable [a 2 3]
    m3 epoch 2 Stable [a 0 1]
    ");
    assert_snapshot!(rig.send(&beat("m1", 2)), @"UnknownMemberId");
    // The session of the id that is gone ends without harm.
    rig.pass(44_000);
    rig.send(&beat("m2", 2));
    rig.send(&beat("m3", 2).with_instance_id(Some(text("i1"))));
    rig.pass(44_000);
    assert_eq!(rig.group.members.len(), 2);
}

#[test]
fn a_static_member_that_reads_something_else_costs_a_rebalance() {
    let mut rig = Rig::new(&[("a", 2), ("b", 1)]);
    rig.send(&join_as("i1", "m1", &["a"]));
    rig.send(&beat("m1", -2).with_instance_id(Some(text("i1"))));
    assert_snapshot!(rig.send(&join_as("i1", "m2", &["a", "b"])), @"epoch 2 [a 0 1, b 0]");
    assert_eq!(rig.group.epoch, 2);
}

#[test]
fn a_static_member_that_does_not_come_back_is_out_after_its_session() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join_as("i1", "m1", &["a"]));
    rig.send(&beat("m1", -2).with_instance_id(Some(text("i1"))));
    rig.pass(45_000);
    assert_snapshot!(rig.show(), @"Empty epoch 2 target 1");
    assert_snapshot!(rig.send(&join_as("i1", "m2", &["a"])), @"epoch 3 [a 0 1]");
}

#[test]
fn a_static_member_may_leave_for_good() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join_as("i1", "m1", &["a"]));
    let leave = beat("m1", -1).with_instance_id(Some(text("i1")));
    assert_snapshot!(rig.send(&leave), @"epoch -1");
    assert!(rig.group.is_empty());
    assert!(rig.group.static_members.is_empty());
}

#[test]
fn a_new_coordinator_gives_everybody_a_whole_session() {
    let mut rig = Rig::new(&[("a", 4)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    rig.send(&beat("m1", 1));
    let before = rig.show();
    assert_snapshot!(before, @"
    Reconciling epoch 2 target 2
    m1 epoch 1 UnrevokedPartitions [a 0 1] not [a 2 3]
    m2 epoch 2 UnreleasedPartitions [] wants [a 2 3]
    ");
    rig.fail_over();
    assert_eq!(rig.show(), before);
    assert_eq!(rig.sessions(), ["m1", "m2"]);
    // And the time that it had to give partitions up, from the start.
    rig.pass(29_999);
    rig.send(&beat("m1", 1));
    rig.send(&beat("m2", 2));
    assert_eq!(rig.group.members.len(), 2);
    rig.pass(1);
    assert_snapshot!(rig.show(), @"
    Assigning epoch 3 target 2
    m2 epoch 2 UnreleasedPartitions [] wants [a 2 3]
    ");
}

#[test]
fn the_records_that_delete_a_group_leave_nothing_of_it() {
    let mut rig = Rig::new(&[("a", 1)]);
    rig.send(&join("m1", &["a"]));
    let refused = rig.group.validate_delete_group();
    assert_eq!(refused, Err(ResponseError::NonEmptyGroup));
    rig.send(&beat("m1", -1));
    assert_eq!(rig.group.validate_delete_group(), Ok(()));

    rig.send(&join("m2", &["a"]));
    for record in rig.group.delete_records() {
        rig.group.replay(&record);
    }
    assert!(rig.group.members.is_empty() && rig.group.target.is_empty());
    assert!(rig.group.partition_epochs.is_empty());
}
