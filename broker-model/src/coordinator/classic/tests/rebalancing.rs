//! The join phase and sessions.

use super::rig::{REBALANCE_MS, Rig, SESSION_MS, joining};
use crate::note::{ClassicGroupChange, ClassicGroupState, MemberRemoved};

/// Why that member was removed, if it was.
fn removed(rig: &Rig, member: &str) -> Option<MemberRemoved> {
    let id = rig.id(member);
    rig.changes.iter().find_map(|change| match change {
        ClassicGroupChange::Removed { member, why } if *member == id => Some(*why),
        _ => None,
    })
}

#[test]
fn a_new_group_waits_again_while_members_come_at_most_their_rebalance_timeout() {
    let mut rig = Rig::new();
    rig.config.group_initial_rebalance_delay_ms = 3000;
    let patient = |member: &str| {
        let mut joining = joining(member).version(3);
        joining.rebalance_ms = 7000;
        joining
    };
    rig.join(1, patient(""));
    assert_eq!(rig.due_join(), Some(3000));
    rig.join(2, patient(""));
    assert!(rig.fire_join().is_empty());
    assert_eq!(rig.due_join(), Some(3000), "4000 of 7000 were left");
    rig.join(3, patient(""));
    assert!(rig.fire_join().is_empty());
    assert_eq!(rig.due_join(), Some(1000));
    rig.join(4, patient(""));
    assert_eq!(rig.fire_join().len(), 4, "there is no time left");
    assert_eq!(rig.now_ms, 7000);
}

#[test]
fn nobody_new_ends_the_delay() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    assert_eq!(rig.fire_join().len(), 1);
    assert_eq!(rig.now_ms, 3000);
}

#[test]
fn a_group_without_a_delay_still_waits_for_its_timer() {
    let mut rig = Rig::new();
    rig.config.group_initial_rebalance_delay_ms = 0;
    rig.join(1, joining("").version(3));
    assert_eq!(rig.due_join(), Some(0));
    assert_eq!(rig.fire_join().len(), 1);
}

#[test]
fn a_rebalance_ends_when_the_last_one_has_joined() {
    let mut rig = Rig::stable(2);
    rig.join(3, joining("").version(3));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.due_join(), Some(REBALANCE_MS as u64));
    assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat RebalanceInProgress"]);
    assert!(rig.join(1, joining("m1")).is_empty());
    let mut said = rig.join(2, joining("m2"));
    said.sort();
    assert_eq!(
        said,
        [
            "c1 join ok m1 gen 2 range leader m1 [m1 m2 m3]",
            "c2 join ok m2 gen 2 range leader m1 []",
            "c3 join ok m3 gen 2 range leader m1 []",
        ]
    );
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
}

#[test]
fn an_id_that_was_given_out_holds_the_join_phase_up() {
    let mut rig = Rig::stable(1);
    rig.join(2, joining(""));
    assert_eq!(rig.group.state_name(), "Stable", "it is not in yet");
    assert!(rig.join(1, joining("m1")).is_empty(), "m2 may come");
    assert_eq!(
        rig.fire_session("m2"),
        ["c1 join ok m1 gen 2 range leader m1 [m1]"]
    );
}

#[test]
fn who_does_not_join_in_time_is_out_and_another_leads() {
    let mut rig = Rig::stable(2);
    rig.join(2, joining("m2").metadata(b"new"));
    for _ in 0..5 {
        // It lives, and does not care.
        rig.wait(9000);
        assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat RebalanceInProgress"]);
    }
    assert_eq!(
        rig.fire_join(),
        ["c2 join ok m2 gen 2 range leader m2 [m2]"]
    );
    assert_eq!(removed(&rig, "m1"), Some(MemberRemoved::JoinExpired));
    assert_eq!(rig.heartbeat("m1"), ["c80 heartbeat UnknownMemberId"]);
}

#[test]
fn a_rebalance_that_nobody_joins_empties_the_group() {
    let mut rig = Rig::stable(2);
    rig.join(3, joining("").version(3));
    rig.leave(&["m3"]);
    assert_eq!(rig.fire_join(), ["write gen 2 []"]);
    assert_eq!(rig.group.state_name(), "Empty");
}

#[test]
fn a_silent_member_of_a_stable_group_starts_a_rebalance() {
    let mut rig = Rig::stable(2);
    assert!(rig.fire_session("m1").is_empty());
    assert_eq!(removed(&rig, "m1"), Some(MemberRemoved::SessionExpired));
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.heartbeat("m2"), ["c80 heartbeat RebalanceInProgress"]);
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join ok m2 gen 2 range leader m2 [m2]"]
    );
}

#[test]
fn the_last_silent_member_empties_the_group() {
    let mut rig = Rig::stable(1);
    assert_eq!(rig.fire_session("m1"), ["write gen 2 []"]);
    assert_eq!(rig.group.state_name(), "Empty");
    assert_eq!(rig.group.protocol_type().map(|it| &**it), Some("consumer"));
    // And a new life begins with the next generation.
    rig.join(1, joining("").version(3));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m2 gen 3 range leader m2 [m2]"]
    );
}

#[test]
fn a_silent_member_before_the_assignment_starts_another_rebalance() {
    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.join(2, joining("").version(3));
    rig.fire_join();
    rig.fire_join();
    rig.sync(2, "m2");
    assert_eq!(rig.fire_session("m1"), ["c2 sync RebalanceInProgress"]);
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
}

#[test]
fn a_silent_member_during_the_join_phase_lets_it_end() {
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert_eq!(
        rig.fire_session("m2"),
        ["c1 join ok m1 gen 2 range leader m1 [m1]"]
    );
}

#[test]
fn who_waits_for_the_generation_need_not_say_anything() {
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert!(rig.fire_session("m1").is_empty());
    rig.wait(SESSION_MS as u64);
    rig.join(2, joining("m2"));
    assert_eq!(rig.group.state_name(), "CompletingRebalance");
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
}

#[test]
fn a_first_join_does_not_wait_for_ever() {
    let mut rig = Rig::stable(1);
    let mut patient = joining("").version(3);
    patient.rebalance_ms = 3_600_000;
    rig.join(2, patient);
    assert_eq!(rig.fire_session("m2"), ["c2 join UnknownMemberId"]);
    assert_eq!(removed(&rig, "m2"), Some(MemberRemoved::SessionExpired));
}

#[test]
fn a_session_of_an_empty_group_means_nothing() {
    let mut rig = Rig::new();
    rig.join(1, joining(""));
    rig.fire_session("m1");
    assert_eq!(rig.group.state_name(), "Empty");
}

#[test]
fn a_negative_rebalance_timeout_is_none_at_all() {
    let mut rig = Rig::new();
    let mut hasty = joining("").version(3);
    hasty.rebalance_ms = -1;
    rig.join(1, hasty);
    rig.fire_join();
    assert_eq!(rig.fire_sync(), ["write gen 2 []"]);
}

#[test]
fn every_transition_is_noted_with_the_state_before() {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    let mut rig = Rig::stable(1);
    rig.leave(&["m1"]);
    let states = rig.changes.iter().filter_map(|change| match change {
        ClassicGroupChange::State {
            from,
            to,
            generation,
        } => Some((*from, *to, *generation)),
        _ => None,
    });
    assert_eq!(
        states.collect::<Vec<_>>(),
        [
            (Empty, PreparingRebalance, 0),
            (PreparingRebalance, CompletingRebalance, 1),
            (CompletingRebalance, Stable, 1),
            (Stable, PreparingRebalance, 1),
            (PreparingRebalance, Empty, 2),
        ]
    );
}
