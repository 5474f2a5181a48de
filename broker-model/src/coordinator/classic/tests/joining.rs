//! JoinGroup.

use super::rig::{Rig, SESSION_MS, joining, str_bytes};
use crate::coordinator::classic::join::NEW_MEMBER_JOIN_TIMEOUT_MS;
use crate::coordinator::turn::Continuation;
use crate::note::{ClassicGroupChange, MemberRemoved};
use crate::types::{ConnectionId, ResponseError};

#[test]
fn a_new_member_is_told_its_id_and_then_waits_for_the_delay() {
    let mut rig = Rig::new();
    assert_eq!(
        rig.join(1, joining("")),
        ["c1 join MemberIdRequired m1", "write gen 0 []"],
        "the group is written down although it is empty"
    );
    assert!(rig.id("m1").starts_with("app-"));
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
    assert_eq!(rig.group.state_name(), "Empty");
    let nothing: [&str; 0] = [];
    assert_eq!(rig.join(1, joining("m1")), nothing);
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(
        rig.due_in(&rig.session("m1")),
        Some(NEW_MEMBER_JOIN_TIMEOUT_MS)
    );
    assert_eq!(rig.due_join(), Some(3000));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m1 gen 1 range leader m1 [m1]"]
    );
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
}

#[test]
fn older_clients_are_let_in_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.join(1, joining("").version(3)), ["write gen 0 []"]);
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m1 gen 1 range leader m1 [m1]"]
    );
}

#[test]
fn version_0_waits_as_long_as_its_session() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(0));
    assert_eq!(rig.group.rebalance_timeout_ms(), SESSION_MS as u64);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_after_the_session_timeout() {
    let mut rig = Rig::new();
    rig.join(1, joining(""));
    rig.fire_session("m1");
    assert_eq!(rig.join(1, joining("m1")), ["c1 join UnknownMemberId m1"]);
}

#[test]
fn an_id_that_was_made_up_is_unknown() {
    let mut rig = Rig::stable(1);
    assert_eq!(
        rig.join(5, joining("nobody")),
        ["c5 join UnknownMemberId nobody"]
    );
    assert_eq!(rig.group.state_name(), "Stable");
}

#[test]
fn without_protocols_nobody_joins() {
    let mut rig = Rig::new();
    let refused = ["c1 join InconsistentGroupProtocol"];
    assert_eq!(rig.join(1, joining("").protocols(&[]))[..1], refused);
    assert_eq!(rig.join(1, joining("").protocol_type("")), refused);
}

#[test]
fn a_second_member_needs_the_type_and_a_protocol_of_the_first() {
    let mut rig = Rig::stable(1);
    let refused = ["c2 join InconsistentGroupProtocol"];
    assert_eq!(rig.join(2, joining("").protocol_type("connect")), refused);
    assert_eq!(rig.join(2, joining("").protocols(&["sticky"])), refused);
    assert_eq!(
        rig.join(1, joining("m1").protocols(&["sticky"])),
        ["c1 join InconsistentGroupProtocol m1"]
    );
    assert_eq!(
        rig.join(2, joining("").protocols(&["sticky", "range"])),
        ["c2 join MemberIdRequired m2"]
    );
}

#[test]
fn the_protocol_with_most_votes_among_the_common_ones_wins() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3).protocols(&["a", "b", "c"]));
    rig.join(2, joining("").version(3).protocols(&["x", "c", "b"]));
    rig.join(3, joining("").version(3).protocols(&["c", "b"]));
    rig.fire_join();
    let said = rig.fire_join();
    assert!(
        said.iter()
            .all(|answer| answer.contains("gen 1 c leader m1")),
        "{said:?}"
    );
}

#[test]
fn a_protocol_that_is_named_twice_is_one() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3).protocols(&["range", "range"]));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m1 gen 1 range leader m1 [m1]"]
    );
}

#[test]
fn a_pending_member_has_no_instance() {
    let mut rig = Rig::new();
    rig.join(1, joining(""));
    assert_eq!(
        rig.join(1, joining("m1").instance("i")),
        ["c1 join UnknownServerError"]
    );
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut rig = Rig::stable(2);
    rig.config.group_max_size = 2;
    assert_eq!(rig.join(3, joining("")), ["c3 join GroupMaxSizeReached"]);
    // A member may always join again.
    let rejoined = rig.join(1, joining("m1"));
    assert_eq!(rejoined, [""; 0]);
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    // Room is kept for nobody who has not joined again.
    rig.join(4, joining("").version(3));
    assert_eq!(rig.join(2, joining("m2")), ["c2 join GroupMaxSizeReached"]);
    let change = ClassicGroupChange::Removed {
        member: rig.id("m2"),
        why: MemberRemoved::GroupFull,
    };
    assert!(rig.changes.contains(&change));
    assert_eq!(
        rig.fire_join(),
        [
            "c1 join ok m1 gen 2 range leader m1 [m1 m3]",
            "c4 join ok m3 gen 2 range leader m1 []",
        ]
    );
}

#[test]
fn who_missed_the_answer_gets_it_again() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.fire_join();
    let again = ["c7 join ok m1 gen 1 range leader m1 [m1]"];
    assert_eq!(rig.join(7, joining("m1")), again);
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
}

#[test]
fn other_metadata_before_the_assignment_starts_anew() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.fire_join();
    let again = ["c7 join ok m1 gen 2 range leader m1 [m1]"];
    assert_eq!(rig.join(7, joining("m1").metadata(b"new")), again);
}

#[test]
fn only_a_leader_or_new_metadata_rebalances_a_stable_group() {
    let mut rig = Rig::stable(2);
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join ok m2 gen 1 range leader m1 []"]
    );
    assert_eq!(rig.group.state_name(), "Stable");
    rig.join(2, joining("m2").metadata(b"new"));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
}

#[test]
fn a_group_that_could_not_be_written_says_so_to_whom_it_was_made_for() {
    let mut rig = Rig::new();
    rig.slow = true;
    rig.join(1, joining("").version(3));
    rig.join(2, joining("").version(3));
    assert_eq!(
        rig.commit(Err(ResponseError::NotEnoughReplicas)),
        ["c1 join CoordinatorNotAvailable"]
    );
    // If the group goes on all the same, the answer is not given twice.
    rig.fire_join();
    assert_eq!(rig.fire_join(), ["c2 join ok m2 gen 1 range leader m1 []"]);
}

#[test]
fn an_answer_to_a_closed_connection_is_not_given() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.join(2, joining("").version(3));
    rig.group.on_closed(ConnectionId(1));
    rig.fire_join();
    assert_eq!(rig.fire_join(), ["c2 join ok m2 gen 1 range leader m1 []"]);
}

#[test]
fn what_is_written_is_named() {
    let mut rig = Rig::new();
    rig.slow = true;
    rig.join(1, joining(""));
    let group = str_bytes("g");
    assert_eq!(
        rig.writing[0].1,
        Some(Continuation::ClassicEmptied { group })
    );
}
