//! What a new coordinator makes of the log.

use super::rig::{Rig, SESSION_MS, joining};
use crate::coordinator::offsets::ExpirySince;
use crate::coordinator::record::Record;
use crate::note::ClassicGroupChange;

#[test]
fn a_stable_group_goes_on_as_if_nothing_had_happened() {
    let mut rig = Rig::stable(2);
    let before = rig.group.describe();
    rig.fail_over();
    assert_eq!(rig.group.describe(), before);
    assert!(matches!(
        rig.changes.last(),
        Some(ClassicGroupChange::Loaded { generation: 1, .. })
    ));
    assert_eq!(rig.due_in(&rig.session("m1")), Some(SESSION_MS as u64));
    assert_eq!(rig.heartbeat("m2"), ["c80 heartbeat ok"]);
    assert_eq!(rig.sync(2, "m2"), ["c2 sync ok 'part of m2'"]);
    assert!(rig.fire_session("m1").is_empty());
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
}

#[test]
fn a_rebalance_that_did_not_end_never_was() {
    let mut rig = Rig::stable(2);
    rig.join(3, joining("").version(3));
    rig.join(1, joining("m1"));
    rig.join(2, joining("m2"));
    assert_eq!(rig.group.generation, 2);
    rig.fail_over();
    assert_eq!(
        (rig.group.generation, rig.group.state_name()),
        (1, "Stable")
    );
    assert_eq!(
        rig.heartbeat_with("m1", None, 2),
        ["c80 heartbeat IllegalGeneration"]
    );
    assert_eq!(
        rig.heartbeat_with("m3", None, 2),
        ["c80 heartbeat UnknownMemberId"]
    );
}

#[test]
fn an_empty_group_is_empty_since_it_became_so() {
    let mut rig = Rig::stable(1);
    rig.leave(&["m1"]);
    let since = rig.group.since;
    rig.wait(5000);
    rig.fail_over();
    assert_eq!(rig.group.state_name(), "Empty");
    assert_eq!(rig.group.since, since);
    let since = since.expect("it is known");
    assert_eq!(rig.group.expiry(), Some(ExpirySince::Empty(since)));
    rig.join(1, joining("").version(3));
    assert_eq!(
        rig.fire_join(),
        ["c1 join ok m2 gen 3 range leader m2 [m2]"]
    );
}

#[test]
fn a_group_that_is_over_a_new_limit_rebalances() {
    let mut rig = Rig::stable(2);
    rig.config.group_max_size = 2;
    rig.fail_over();
    assert_eq!(rig.group.state_name(), "Stable");
    rig.config.group_max_size = 1;
    rig.fail_over();
    assert_eq!(rig.group.state_name(), "PreparingRebalance");
    assert_eq!(rig.commit_offsets("m2", None, 1), Ok(()));
    rig.join(1, joining("m1"));
    assert_eq!(rig.join(2, joining("m2")), ["c2 join GroupMaxSizeReached"]);
}

#[test]
fn old_records_have_no_rebalance_timeout_and_no_timestamp() {
    let mut rig = Rig::stable(1);
    let mut value = rig.last_value();
    value.members[0].rebalance_timeout = -1;
    value.current_state_timestamp = -1;
    let group = "g".into();
    rig.log.push(Record::GroupMetadata {
        group,
        value: Some(value),
    });
    rig.fail_over();
    assert_eq!(rig.group.rebalance_timeout_ms(), SESSION_MS as u64);
    assert_eq!(rig.group.since, None);
}

#[test]
fn who_waits_hears_that_the_coordinator_has_moved() {
    let mut rig = Rig::stable(2);
    rig.join(1, joining("m1"));
    assert_eq!(rig.unload(), ["c1 join NotCoordinator m1"]);
    assert_eq!(rig.group.state_name(), "Dead");

    let mut rig = Rig::new();
    rig.join(1, joining("").version(3));
    rig.join(2, joining("").version(3));
    rig.fire_join();
    rig.fire_join();
    rig.sync(2, "m2");
    assert_eq!(rig.unload(), ["c2 sync NotCoordinator"]);
    assert_eq!(
        rig.heartbeat("m2"),
        ["c80 heartbeat CoordinatorNotAvailable"]
    );
    assert_eq!(rig.sync(2, "m2"), ["c2 sync CoordinatorNotAvailable"]);
    assert_eq!(
        rig.join(2, joining("m2")),
        ["c2 join CoordinatorNotAvailable m2"]
    );
    assert_eq!(rig.leave(&["m2"]), ["c81 leave CoordinatorNotAvailable:"]);
}
