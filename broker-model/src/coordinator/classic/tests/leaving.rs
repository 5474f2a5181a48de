//! LeaveGroup.

use super::rig::{Rig, joining};
use crate::types::ResponseError;

#[test]
fn one_of_two_leaves_and_the_other_gets_everything() {
    let mut rig = Rig::stable(2);
    assert_eq!(rig.leave(&["m1"]), ["c81 leave ok: m1 ok"]);
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.heartbeat("m2"), ["c80 heartbeat RebalanceInProgress"]);
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join ok m2 gen 2 range leader m2 [m2]"]
    );
    assert_eq!(
        rig.sync_leading(2, "m2"),
        ["write gen 2 [m2]", "c2 sync ok 'part of m2'"]
    );
}

#[test]
fn the_last_one_leaves_an_empty_generation_behind() {
    let mut rig = Rig::stable(1);
    assert_eq!(
        rig.leave(&["m1"]),
        ["c81 leave ok: m1 ok", "write gen 2 []"]
    );
    assert_eq!(rig.group.state_name(), "Empty");
    assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat UnknownMemberId"]);
    let value = rig.last_value();
    assert_eq!((value.protocol, value.leader), (None, None));
    assert_eq!(&*value.protocol_type, "consumer");
}

#[test]
fn an_empty_generation_that_cannot_be_written_changes_nothing() {
    let mut rig = Rig::stable(1);
    rig.slow = true;
    rig.leave(&["m1"]);
    assert!(rig.commit(Err(ResponseError::NotEnoughReplicas)).is_empty());
    assert_eq!(rig.group.state_name(), "Empty");
}

#[test]
fn known_and_unknown_leave_in_one_batch() {
    let mut rig = Rig::stable(2);
    assert_eq!(
        rig.leave(&["m1", "nobody", ""]),
        ["c81 leave ok: m1 ok nobody UnknownMemberId  UnknownMemberId"]
    );
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
}

#[test]
fn nobody_leaves_and_nothing_happens() {
    let mut rig = Rig::stable(1);
    assert_eq!(rig.leave(&[]), ["c81 leave ok:"]);
    assert_eq!(
        rig.leave(&["nobody"]),
        ["c81 leave ok: nobody UnknownMemberId"]
    );
    assert_eq!(rig.group.state_name(), "Stable");
}

#[test]
fn an_operator_removes_an_instance() {
    let mut rig = Rig::new();
    rig.join(1, joining("").instance("i"));
    rig.fire_join();
    rig.sync_all();
    assert_eq!(rig.leave(&["/other"]), ["c81 leave ok:  UnknownMemberId"]);
    assert_eq!(
        rig.leave(&["m1/other"]),
        ["c81 leave ok: m1 UnknownMemberId"]
    );
    assert_eq!(rig.leave(&["x/i"]), ["c81 leave ok: x FencedInstanceId"]);
    assert_eq!(rig.leave(&["/i"]), ["c81 leave ok:  ok", "write gen 2 []"]);
}

#[test]
fn a_pending_member_leaves_and_the_join_phase_goes_on() {
    let mut rig = Rig::stable(1);
    rig.join(2, joining(""));
    rig.join(1, joining("m1"));
    assert_eq!(
        rig.leave(&["m2"]),
        [
            "c1 join ok m1 gen 2 range leader m1 [m1]",
            "c81 leave ok: m2 ok",
        ]
    );
}

#[test]
fn who_waits_for_the_generation_hears_that_it_is_out() {
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert_eq!(
        rig.leave(&["m1"]),
        ["c1 join UnknownMemberId", "c81 leave ok: m1 ok"]
    );
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join ok m2 gen 2 range leader m2 [m2]"]
    );
}

#[test]
fn the_delay_of_a_new_group_is_not_cut_short() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    assert_eq!(
        rig.leave(&["m1"]),
        ["c1 join UnknownMemberId", "c81 leave ok: m1 ok"]
    );
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.fire_join(), ["write gen 1 []"]);
}
