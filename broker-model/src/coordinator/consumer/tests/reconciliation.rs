//! Every way of a member from what it has to what it shall have.

use insta::assert_snapshot;

use super::rig::{Rig, beat, join, owns, reads};
use crate::bug::Bug;

/// m1 has all four partitions, m2 wants two of them.
fn revoking() -> Rig {
    let mut rig = Rig::new(&[("a", 4)]);
    rig.send(&join("m1", &["a"]));
    assert_eq!(rig.send(&join("m2", &["a"])), "epoch 2 []");
    assert_eq!(rig.send(&beat("m1", 1)), "epoch 1 [a 0 1]");
    rig
}

#[test]
fn what_one_has_to_give_up_the_other_waits_for() {
    let mut rig = revoking();
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 2 target 2
    m1 epoch 1 UnrevokedPartitions [a 0 1] not [a 2 3]
    m2 epoch 2 UnreleasedPartitions [] wants [a 2 3]
    ");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 2");
    // Silence, and one that is left of two, do not count as giving up.
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 1");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0 1 2")), @"epoch 1");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0 1")), @"epoch 2");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 2 target 2
    m1 epoch 2 Stable [a 0 1]
    m2 epoch 2 UnreleasedPartitions [] wants [a 2 3]
    ");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 2 [a 2 3]");
    assert_snapshot!(rig.show(), @"
    Stable epoch 2 target 2
    m1 epoch 2 Stable [a 0 1]
    m2 epoch 2 Stable [a 2 3]
    ");
}

#[test]
fn who_owns_nothing_of_it_revokes_in_one_step() {
    let mut rig = Rig::new(&[("a", 4)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    // It never got hold of 2 and 3.
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0 1")), @"epoch 2 [a 0 1]");
}

#[test]
fn who_does_not_give_up_in_time_is_out() {
    let mut rig = revoking();
    rig.pass(29_999);
    rig.send(&beat("m1", 1));
    rig.send(&beat("m2", 2));
    assert_eq!(rig.group.members.len(), 2);
    rig.pass(1);
    assert_snapshot!(rig.show(), @"
    Assigning epoch 3 target 2
    m2 epoch 2 UnreleasedPartitions [] wants [a 2 3]
    ");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 3 [a 0 1 2 3]");
}

#[test]
fn who_gave_up_in_time_stays() {
    let mut rig = revoking();
    rig.pass(29_999);
    rig.send(&owns("m1", 1, "a 0 1"));
    rig.send(&beat("m2", 2));
    rig.pass(1);
    assert_eq!(rig.group.members.len(), 2);
    assert_eq!(rig.timers.len(), 2, "{:?}", rig.timers);
}

#[test]
fn a_newer_target_may_leave_a_member_what_it_was_giving_up() {
    let mut rig = revoking();
    rig.send(&beat("m2", -1));
    // It no longer owns them by now, but nobody else does either.
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0 1")), @"epoch 3 [a 0 1 2 3]");
    assert_snapshot!(rig.show(), @"
    Stable epoch 3 target 3
    m1 epoch 3 Stable [a 0 1 2 3]
    ");
}

#[test]
fn partitions_that_come_back_stay_owned() {
    // KAFKA-16147: the third member must wait for what the first has, gave up and got again.
    let mut rig = revoking();
    rig.send(&beat("m2", -1));
    rig.send(&owns("m1", 1, "a 0 1"));
    assert_snapshot!(rig.send(&join("m3", &["a"])), @"epoch 4 []");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 4 target 4
    m1 epoch 3 Stable [a 0 1 2 3] wants [a 0 1]
    m3 epoch 4 UnreleasedPartitions [] wants [a 2 3]
    ");
}

#[test]
fn kafka_16147_has_two_owners() {
    let mut rig = revoking();
    rig.bug = Some(Bug::Kafka16147PartitionEpochLost);
    rig.send(&beat("m2", -1));
    rig.send(&owns("m1", 1, "a 0 1"));
    assert_snapshot!(rig.send(&join("m3", &["a"])), @"epoch 4 [a 2 3]");
}

#[test]
fn a_member_takes_what_is_free_and_waits_for_the_rest() {
    let mut rig = Rig::new(&[("a", 3)]);
    rig.send(&join("m1", &["a"]));
    rig.send(&join("m2", &["a"]));
    rig.send(&owns("m1", 1, "a 0 1"));
    rig.send(&beat("m2", 2));
    assert_snapshot!(rig.show(), @"
    Stable epoch 2 target 2
    m1 epoch 2 Stable [a 0 1]
    m2 epoch 2 Stable [a 2]
    ");
    rig.create("a", 6);
    rig.send(&join("m3", &["a"]));
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 3 target 3
    m1 epoch 2 Stable [a 0 1]
    m2 epoch 2 Stable [a 2] wants [a 2 3]
    m3 epoch 3 Stable [a 4 5]
    ");
    assert_snapshot!(rig.send(&reads(beat("m3", 3), &[])), @"epoch 3 []");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 4 target 4
    m1 epoch 2 Stable [a 0 1] wants [a 0 1 4]
    m2 epoch 2 Stable [a 2] wants [a 2 3 5]
    m3 epoch 3 UnrevokedPartitions [] not [a 4 5]
    ");
    assert_snapshot!(rig.send(&beat("m1", 2)), @"epoch 4");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 4 [a 2 3]");
    assert_snapshot!(rig.send(&beat("m2", 4)), @"epoch 4");
    assert_snapshot!(rig.send(&owns("m3", 3, "")), @"epoch 4");
    assert_snapshot!(rig.send(&beat("m2", 4)), @"epoch 4 [a 2 3 5]");
    assert_snapshot!(rig.send(&beat("m1", 4)), @"epoch 4 [a 0 1 4]");
    assert_snapshot!(rig.show(), @"
    Stable epoch 4 target 4
    m1 epoch 4 Stable [a 0 1 4]
    m2 epoch 4 Stable [a 2 3 5]
    m3 epoch 4 Stable []
    ");
}

#[test]
fn who_waits_goes_on_to_a_newer_target() {
    let mut rig = revoking();
    assert_snapshot!(rig.send(&beat("m1", -1)), @"epoch -1");
    assert_snapshot!(rig.send(&beat("m2", 2)), @"epoch 3 [a 0 1 2 3]");
}

#[test]
fn what_a_member_stops_reading_it_has_to_give_up_at_once() {
    let mut rig = Rig::new(&[("a", 1), ("b", 1)]);
    rig.send(&join("m1", &["a", "b"]));
    assert_snapshot!(rig.send(&reads(owns("m1", 1, "a 0, b 0"), &["a"])), @"epoch 1 [a 0]");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 2 target 2
    m1 epoch 1 UnrevokedPartitions [a 0] not [b 0]
    ");
    // Still revoking, it stops reading the other one too.
    assert_snapshot!(rig.send(&reads(owns("m1", 1, "a 0, b 0"), &[])), @"epoch 1 []");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 3 target 3
    m1 epoch 1 UnrevokedPartitions [] not [a 0, b 0]
    ");
    assert_snapshot!(rig.send(&owns("m1", 1, "")), @"epoch 3");
}
