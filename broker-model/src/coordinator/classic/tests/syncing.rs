//! SyncGroup and Heartbeat.

use kafka_protocol::messages::SyncGroupRequest;

use super::rig::{REBALANCE_MS, Rig, SESSION_MS, joining, str_bytes};
use crate::note::{ClassicGroupChange, MemberRemoved};
use crate::types::ResponseError;

/// Two members know their generation, m1 leads.
fn completing() -> Rig {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.join(2, joining("").version(3));
    rig.fire_join();
    rig.fire_join();
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    rig
}

#[test]
fn everybody_hears_of_the_assignment_when_it_is_committed() {
    let mut rig = completing();
    rig.slow = true;
    assert!(rig.sync(2, "m2").is_empty());
    assert_eq!(rig.sync_leading(1, "m1"), ["write gen 1 [m1 m2]"]);
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    let mut said = rig.commit(Ok(()));
    said.sort();
    assert_eq!(said, ["c1 sync ok 'part of m1'", "c2 sync ok 'part of m2'"]);
    assert_eq!(rig.group.state_name(), "Stable");
    let assigned = ClassicGroupChange::Assigned {
        generation: 1,
        assignment: {
            let mut parts = vec![
                (rig.id("m1"), "part of m1".into()),
                (rig.id("m2"), "part of m2".into()),
            ];
            parts.sort();
            parts
        },
    };
    assert!(rig.changes.contains(&assigned));
}

#[test]
fn who_syncs_later_gets_its_part_at_once_and_again() {
    let mut rig = completing();
    assert_eq!(
        rig.sync_leading(1, "m1"),
        ["write gen 1 [m1 m2]", "c1 sync ok 'part of m1'"]
    );
    for _ in 0..2 {
        assert_eq!(rig.sync(2, "m2"), ["c2 sync ok 'part of m2'"]);
    }
}

#[test]
fn whom_the_leader_forgets_gets_nothing_and_strangers_are_left_out() {
    let mut rig = completing();
    rig.sync_with(1, "m1", 1, &["m1", "stranger"]);
    assert_eq!(rig.sync(2, "m2"), ["c2 sync ok ''"]);
    assert_eq!(rig.last_value().members.len(), 2);
}

#[test]
fn a_follower_s_assignment_is_not_looked_at() {
    let mut rig = completing();
    assert!(rig.sync_leading(2, "m2").is_empty());
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
}

#[test]
fn an_assignment_that_cannot_be_written_is_void() {
    let mut rig = completing();
    rig.slow = true;
    rig.sync(2, "m2");
    rig.sync_leading(1, "m1");
    let mut said = rig.commit(Err(ResponseError::NotEnoughReplicas));
    said.sort();
    let error = "sync CoordinatorNotAvailable";
    assert_eq!(said, [format!("c1 {error}"), format!("c2 {error}")]);
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    rig.join(1, joining("m1"));
    rig.join(2, joining("m2"));
    assert_eq!(rig.group.generation, 2);
}

#[test]
fn an_assignment_of_an_old_generation_is_ignored() {
    let mut rig = completing();
    rig.slow = true;
    rig.sync_leading(1, "m1");
    assert_eq!(
        rig.leave(&["m2"]),
        ["c1 sync RebalanceInProgress", "c81 leave ok: m2 ok"]
    );
    rig.join(1, joining("m1"));
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    assert!(rig.commit(Ok(())).is_empty());
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    rig.sync_leading(1, "m1");
    assert_eq!(rig.commit(Ok(())), ["c1 sync ok 'part of m1'"]);
}

#[test]
fn a_leader_that_syncs_twice_assigns_once() {
    let mut rig = completing();
    rig.slow = true;
    rig.sync_with(1, "m1", 1, &["m1", "m2"]);
    rig.sync_with(3, "m1", 1, &["m1"]);
    assert_eq!(rig.commit(Ok(())), ["c3 sync ok 'part of m1'"]);
    assert!(rig.commit(Ok(())).is_empty());
    assert_eq!(rig.sync(2, "m2"), ["c2 sync ok 'part of m2'"]);
}

#[test]
fn unknown_members_old_generations_and_other_protocols_are_refused() {
    let mut rig = completing();
    assert_eq!(rig.sync(5, "nobody"), ["c5 sync UnknownMemberId"]);
    for generation in [0, 2] {
        let said = rig.sync_with(5, "m2", generation, &[]);
        assert_eq!(said, ["c5 sync IllegalGeneration"]);
    }
    let request = || SyncGroupRequest::default().with_generation_id(1);
    let refused = ["c5 sync InconsistentGroupProtocol"];
    let other = Some(str_bytes("other"));
    let said = rig.sync_request(5, "m2", request().with_protocol_name(other.clone()));
    assert_eq!(said, refused);
    let said = rig.sync_request(5, "m2", request().with_protocol_type(other));
    assert_eq!(said, refused);
    rig.join(1, joining("m1").metadata(b"new"));
    assert_eq!(rig.sync(5, "m2"), ["c5 sync RebalanceInProgress"]);
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut rig = completing();
    rig.sync_leading(1, "m1");
    rig.heartbeat("m2");
    rig.wait(9000);
    rig.heartbeat("m1");
    rig.timers.remove(&rig.session("m2"));
    let key = rig.session("m2");
    rig.timers.insert(key, 1_000_000);
    assert!(rig.fire_sync().is_empty());
    let change = ClassicGroupChange::Removed {
        member: rig.id("m2"),
        why: MemberRemoved::SyncExpired,
    };
    assert!(rig.changes.contains(&change));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(
        rig.join(1, joining("m1")),
        ["c1 join ok m1 gen 2 range leader m1 [m1]"]
    );
}

#[test]
fn without_a_leader_s_word_the_others_start_anew() {
    let mut rig = completing();
    rig.sync(2, "m2");
    let key = rig.session("m1");
    rig.timers.insert(key, 1_000_000);
    assert_eq!(rig.due_in(&rig.session("m2")), Some(SESSION_MS as u64));
    assert_eq!(rig.fire_sync(), ["c2 sync RebalanceInProgress"]);
    assert_eq!(rig.now_ms, 6000 + REBALANCE_MS as u64);
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join ok m2 gen 2 range leader m2 [m2]"]
    );
}

#[test]
fn the_timer_stops_when_everybody_has_synced() {
    let mut rig = completing();
    rig.sync_all();
    assert!(
        rig.timers
            .keys()
            .all(|key| *key == rig.session("m1") || *key == rig.session("m2"))
    );
}

#[test]
fn heartbeats_are_for_members_of_this_generation() {
    let mut rig = completing();
    assert_eq!(
        rig.heartbeat("m1"),
        ["c80 heartbeat ok"],
        "before the assignment"
    );
    assert_eq!(rig.heartbeat("nobody"), ["c80 heartbeat UnknownMemberId"]);
    assert_eq!(rig.heartbeat(""), ["c80 heartbeat UnknownMemberId"]);
    rig.sync_all();
    rig.wait(9999);
    assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat ok"]);
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
    for generation in [0, 2] {
        let said = rig.heartbeat_with("m1", None, generation);
        assert_eq!(said, ["c80 heartbeat IllegalGeneration"]);
    }
}
