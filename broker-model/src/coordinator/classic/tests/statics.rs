//! Static members (KIP-345).

use super::rig::{Rig, SESSION_MS, joining};
use crate::bug::Bug;
use crate::note::ClassicGroupChange;
use crate::types::ResponseError;

/// m1 leads as `i1`, m2 follows as `i2`.
fn stable() -> Rig {
    stable_with(None)
}

fn stable_with(bug: Option<Bug>) -> Rig {
    let mut rig = Rig::new();
    rig.bug = bug;
    rig.join(1, joining("").instance("i1"));
    rig.join(2, joining("").instance("i2"));
    rig.fire_join();
    rig.fire_join();
    rig.sync_all();
    assert_eq!(rig.group.state_name(), "Stable");
    rig
}

#[test]
fn an_instance_is_let_in_without_being_told_its_id_first() {
    let mut rig = Rig::new();
    assert_eq!(rig.join(1, joining("").instance("i1")), ["write gen 0 []"]);
    assert!(rig.id("m1").starts_with("i1-"));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m1 gen 1 range leader m1 [m1]"]
    );
}

#[test]
fn a_follower_comes_back_without_a_rebalance() {
    let mut rig = stable();
    rig.slow = true;
    assert_eq!(
        rig.join(3, joining("").instance("i2")),
        ["write gen 1 [m1 m3]"]
    );
    assert_eq!(rig.group.state_name(), "Stable");
    assert_eq!(
        rig.commit(Ok(())),
        ["c3 join ok m3 gen 1 range leader m1 []"]
    );
    assert_eq!(rig.sync(3, "m3"), ["c3 sync ok 'part of m2'"]);
    assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat ok"]);
    assert_eq!(rig.group.generation, 1);
    let change = ClassicGroupChange::Replaced {
        instance: "i2".into(),
        previous: rig.id("m2"),
        member: rig.id("m3"),
    };
    assert!(rig.changes.contains(&change));
}

#[test]
fn a_leader_comes_back_and_is_told_not_to_assign() {
    let mut rig = stable();
    assert_eq!(
        rig.join(3, joining("").instance("i1")),
        [
            "write gen 1 [m2 m3]",
            "c3 join ok m3 gen 1 range leader m3 [m2 m3] skip",
        ]
    );
    // Older clients would assign: they hear of the id that they had.
    let mut rig = stable();
    assert_eq!(
        rig.join(3, joining("").instance("i1").version(8)),
        [
            "write gen 1 [m2 m3]",
            "c3 join ok m3 gen 1 range leader m1 []",
        ]
    );
    assert_eq!(rig.group.leader, Some(rig.id("m3")));
}

#[test]
fn the_old_id_is_fenced() {
    let mut rig = stable();
    rig.join(3, joining("").instance("i2"));
    let fenced = "FencedInstanceId";
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        [format!("c80 heartbeat {fenced}")]
    );
    assert_eq!(
        rig.heartbeat_with("m2", None, 1),
        ["c80 heartbeat UnknownMemberId"]
    );
    assert_eq!(
        rig.join(2, joining("m2").instance("i2")),
        [format!("c2 join {fenced} m2")]
    );
    assert_eq!(
        rig.leave(&["m2/i2"]),
        [format!("c81 leave ok: m2 {fenced}")]
    );
    let refused = rig.commit_offsets("m2", Some("i2"), 1);
    assert_eq!(refused, Err(ResponseError::FencedInstanceId));
    // The nearest legal neighbours.
    assert_eq!(
        rig.heartbeat_with("m3", Some("i2"), 1),
        ["c80 heartbeat ok"]
    );
    assert_eq!(rig.commit_offsets("m3", Some("i2"), 1), Ok(()));
    assert_eq!(
        rig.heartbeat_with("m3", Some("i1"), 1),
        [format!("c80 heartbeat {fenced}")]
    );
    assert_eq!(
        rig.heartbeat_with("m3", Some("i3"), 1),
        ["c80 heartbeat UnknownMemberId"]
    );
}

#[test]
fn the_replacement_outlives_the_coordinator() {
    let mut rig = stable();
    rig.join(3, joining("").instance("i2"));
    rig.fail_over();
    assert_eq!(
        rig.heartbeat_with("m3", Some("i2"), 1),
        ["c80 heartbeat ok"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        ["c80 heartbeat FencedInstanceId"]
    );
    assert_eq!(rig.sync(3, "m3"), ["c3 sync ok 'part of m2'"]);
}

#[test]
fn a_replacement_that_cannot_be_written_is_taken_back() {
    let mut rig = stable();
    rig.slow = true;
    let mut other = joining("").instance("i2");
    other.session_ms = 2 * SESSION_MS;
    rig.join(3, other);
    assert_eq!(rig.due_in(&rig.session("m3")), Some(SESSION_MS as u64));
    assert_eq!(
        rig.commit(Err(ResponseError::NotEnoughReplicas)),
        ["c3 join CoordinatorNotAvailable"]
    );
    assert_eq!(
        rig.heartbeat_with("m3", Some("i2"), 1),
        ["c80 heartbeat FencedInstanceId"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        ["c80 heartbeat ok"]
    );
    assert_eq!(rig.due_in(&rig.session("m2")), Some(SESSION_MS as u64));
}

#[test]
fn a_replacement_that_was_replaced_meanwhile_means_nothing() {
    let mut rig = stable();
    rig.slow = true;
    rig.join(3, joining("").instance("i2"));
    let said = rig.join(4, joining("").instance("i2"));
    assert_eq!(said, ["c3 join FencedInstanceId m3", "write gen 1 [m1 m4]"]);
    assert!(rig.commit(Ok(())).is_empty());
    assert_eq!(
        rig.commit(Ok(())),
        ["c4 join ok m4 gen 1 range leader m1 []"]
    );
}

#[test]
fn a_static_member_that_changes_the_choice_rebalances() {
    let mut rig = Rig::new();
    rig.join(
        1,
        joining("").instance("i1").protocols(&["range", "sticky"]),
    );
    rig.fire_join();
    rig.sync_all();
    let other = joining("").instance("i1").protocols(&["sticky", "range"]);
    assert_eq!(
        rig.join(2, other),
        ["c2 join ok m2 gen 2 sticky leader m2 [m2]"]
    );
}

#[test]
fn a_static_member_that_comes_back_before_the_assignment_rebalances() {
    let mut rig = Rig::new();
    rig.join(1, joining("").instance("i1"));
    rig.join(2, joining("").instance("i2"));
    rig.fire_join();
    rig.fire_join();
    rig.sync(2, "m2");
    assert_eq!(
        rig.join(3, joining("").instance("i2")),
        ["c2 sync FencedInstanceId"]
    );
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.join(1, joining("m1").instance("i1")).len(), 2);
}

#[test]
fn a_static_member_that_comes_back_during_the_join_phase_fences_itself() {
    let mut rig = stable();
    rig.join(1, joining("m1").instance("i1"));
    rig.join(2, joining("").instance("i2"));
    assert_eq!(rig.group.generation, 2, "both have joined: m3 is i2");
    rig.join(1, joining("m1").instance("i1"));
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    let mut rig = stable();
    rig.join(1, joining("m1").instance("i1"));
    assert_eq!(
        rig.join(4, joining("").instance("i1")),
        ["c1 join FencedInstanceId m1"]
    );
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
}

#[test]
fn static_members_that_do_not_join_stay_until_their_session_ends() {
    let mut rig = stable();
    rig.join(1, joining("m1").instance("i1"));
    let key = rig.session("m2");
    rig.timers.insert(key, 1_000_000);
    let said = rig.fire_join();
    assert_eq!(said, ["c1 join ok m1 gen 2 range leader m1 [m1 m2]"]);
}

#[test]
fn when_no_static_member_joins_everything_waits() {
    let mut rig = stable();
    rig.join(3, joining("").version(3));
    rig.leave(&["m3"]);
    for member in ["m1", "m2"] {
        let key = rig.session(member);
        rig.timers.insert(key, 1_000_000);
    }
    assert!(rig.fire_join().is_empty());
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert!(rig.due_join().is_some());
    rig.join(1, joining("m1").instance("i1"));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m1 gen 2 range leader m1 [m1 m2]"]
    );
}

#[test]
fn kip_345_old_members_speak_for_their_instance() {
    let mut rig = stable_with(Some(Bug::Kip345InstanceNotFenced));
    rig.join(3, joining("").instance("i2"));
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        ["c80 heartbeat ok"]
    );
    assert_eq!(rig.commit_offsets("m2", Some("i2"), 1), Ok(()));
    assert_eq!(
        rig.join(2, joining("m2").instance("i2")),
        ["c2 join ok m3 gen 1 range leader m1 []"]
    );
    // The rest of the rule stays.
    assert_eq!(
        rig.heartbeat_with("m2", Some("i3"), 1),
        ["c80 heartbeat UnknownMemberId"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", None, 1),
        ["c80 heartbeat UnknownMemberId"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 0),
        ["c80 heartbeat IllegalGeneration"]
    );
}

/// m2 is there twice: its replacement came while the group waited for m1.
fn replaced_in_a_rebalance(bug: Option<Bug>) -> Rig {
    let mut rig = stable_with(bug);
    rig.join(4, joining("").instance("i4"));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    rig.join(3, joining("").instance("i2"));
    let said = rig.join(1, joining("m1").instance("i1"));
    assert_eq!(said.len(), 3, "all three hear of the generation");
    rig.sync_all();
    rig
}

#[test]
fn kip_345_two_members_have_one_id_after_a_rebalance() {
    let mut rig = replaced_in_a_rebalance(Some(Bug::Kip345ReplaceOnlyStable));
    for conn in [2, 3] {
        assert_eq!(
            rig.join(conn, joining("m2").instance("i2")),
            [format!("c{conn} join ok m2 gen 2 range leader m1 []")]
        );
    }
    // In a stable group the new one gets an id of its own.
    rig.join(5, joining("").instance("i2"));
    assert_eq!(
        rig.join(2, joining("m2").instance("i2")),
        ["c2 join FencedInstanceId m2"]
    );

    let mut rig = replaced_in_a_rebalance(None);
    assert_eq!(
        rig.join(2, joining("m2").instance("i2")),
        ["c2 join FencedInstanceId m2"]
    );
}

#[test]
fn kip_345_the_next_coordinator_takes_the_old_member_for_the_new_one() {
    let mut rig = stable_with(Some(Bug::Kip345ReplacementNotPersisted));
    assert_eq!(
        rig.join(3, joining("").instance("i2")),
        ["c3 join ok m3 gen 1 range leader m1 []"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        ["c80 heartbeat FencedInstanceId"]
    );
    rig.fail_over();
    assert_eq!(
        rig.heartbeat_with("m3", Some("i2"), 1),
        ["c80 heartbeat FencedInstanceId"]
    );
    assert_eq!(
        rig.heartbeat_with("m2", Some("i2"), 1),
        ["c80 heartbeat ok"]
    );
}
