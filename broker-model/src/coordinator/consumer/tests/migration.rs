//! Members of the classic protocol in a consumer group, and groups that change their protocol.

use insta::assert_snapshot;

use super::mixed::{Mixed, classic, classic_as};
use super::rig::{beat, join, join_as, owns, text};

/// One member of each protocol, both with what they shall have. Returns the classic one's id.
fn one_of_each() -> (Mixed, String) {
    let mut mixed = Mixed::new(2);
    mixed.beat(&join("m1", &["a"]));
    let told = mixed.join(&classic("", &[]));
    let c1 = told
        .strip_prefix("MemberIdRequired ")
        .expect("an id")
        .to_owned();
    assert_eq!(mixed.join(&classic(&c1, &[])), format!("{c1} generation 2"));
    assert_eq!(mixed.sync(&c1, 2), "[]");
    mixed.beat(&beat("m1", 1));
    mixed.beat(&owns("m1", 1, "a 0"));
    assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    assert_eq!(mixed.join(&classic(&c1, &[])), format!("{c1} generation 2"));
    assert_eq!(mixed.sync(&c1, 2), "[a 1]");
    assert_eq!(mixed.heartbeat(&c1, 2), "ok");
    (mixed, c1)
}

#[test]
fn a_classic_member_joins_until_it_has_everything() {
    let mut mixed = Mixed::new(2);
    mixed.beat(&join("m1", &["a"]));
    assert_snapshot!(mixed.join(&classic("c1", &[])), @"c1 generation 2");
    assert_snapshot!(mixed.sync("c1", 2), @"[]");
    // What it waits for is not free yet.
    assert_snapshot!(mixed.heartbeat("c1", 2), @"ok");
    assert_snapshot!(mixed.beat(&beat("m1", 1)), @"epoch 1 [a 0]");
    assert_snapshot!(mixed.heartbeat("c1", 2), @"ok");
    assert_snapshot!(mixed.beat(&owns("m1", 1, "a 0")), @"epoch 2");
    assert_snapshot!(mixed.heartbeat("c1", 2), @"RebalanceInProgress");
    assert_snapshot!(mixed.join(&classic("c1", &[])), @"c1 generation 2");
    assert_snapshot!(mixed.sync("c1", 2), @"[a 1]");
    assert_snapshot!(mixed.show(), @"
    Stable epoch 2 target 2
    c1 epoch 2 Stable [a 1] classic
    m1 epoch 2 Stable [a 0]
    ");
}

#[test]
fn a_group_may_go_to_and_fro() {
    let (mut mixed, c1) = one_of_each();
    mixed.beat(&beat("m1", -1));
    assert!(mixed.show().starts_with("classic"));
    assert_snapshot!(mixed.beat(&join("m2", &["a"])), @"epoch 3 [a 0]");
    assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    assert_eq!(
        mixed.join(&classic(&c1, &[1])),
        format!("{c1} generation 3")
    );
    assert_eq!(mixed.sync(&c1, 3), "[a 1]");
    assert_snapshot!(mixed.beat(&beat("m2", 3)), @"epoch 3");
}

#[test]
fn a_classic_member_that_has_to_give_up_joins_with_less() {
    let mut mixed = Mixed::new(3);
    mixed.beat(&join("m1", &["a"]));
    mixed.beat(&beat("m1", 1));
    mixed.join(&classic("c1", &[]));
    mixed.sync("c1", 2);
    mixed.beat(&beat("m1", 1));
    mixed.beat(&owns("m1", 1, "a 0 1"));
    mixed.join(&classic("c1", &[]));
    assert_snapshot!(mixed.sync("c1", 2), @"[a 2]");
    // c1 leaves m1's third partition alone when a third member comes, and m1 one of its two.
    mixed.beat(&join("m2", &["a"]));
    assert_snapshot!(mixed.show(), @"
    Reconciling epoch 3 target 3
    c1 epoch 2 Stable [a 2] classic
    m1 epoch 2 Stable [a 0 1] wants [a 0]
    m2 epoch 3 UnreleasedPartitions [] wants [a 1]
    ");
    assert_snapshot!(mixed.sync("c1", 2), @"RebalanceInProgress");
    assert_snapshot!(mixed.heartbeat("c1", 2), @"RebalanceInProgress");
    assert_snapshot!(mixed.join(&classic("c1", &[2])), @"c1 generation 3");
    assert_snapshot!(mixed.sync("c1", 3), @"[a 2]");
}

#[test]
fn a_classic_member_owns_what_it_says_until_it_says_less() {
    let (mut mixed, c1) = one_of_each();
    // m1 leaves for a while and nothing moves; then it reads nothing any more.
    let left = owns("m1", 2, "a 0").with_subscribed_topic_names(Some(vec![]));
    mixed.beat(&left);
    mixed.beat(&owns("m1", 2, ""));
    assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    assert_eq!(
        mixed.join(&classic(&c1, &[1])),
        format!("{c1} generation 3")
    );
    assert_eq!(mixed.sync(&c1, 3), "[a 0 1]");
    // m1 wants one again.
    mixed.beat(&super::rig::reads(owns("m1", 3, ""), &["a"]));
    assert_eq!(mixed.heartbeat(&c1, 3), "RebalanceInProgress");
    let told = mixed.join(&classic(&c1, &[0, 1]));
    assert_eq!(told, format!("{c1} generation 3"));
    assert_eq!(mixed.sync(&c1, 3), "[a 0]");
    assert_eq!(mixed.heartbeat(&c1, 3), "RebalanceInProgress");
    assert_snapshot!(mixed.beat(&beat("m1", 4)), @"epoch 4");
    let told = mixed.join(&classic(&c1, &[0]));
    assert_eq!(told, format!("{c1} generation 4"));
    assert_snapshot!(mixed.beat(&beat("m1", 4)), @"epoch 4 [a 1]");
}

#[test]
fn a_classic_member_has_a_session_and_times_to_join_and_to_sync() {
    // It joins and does not sync.
    let (mut mixed, c1) = one_of_each();
    mixed.join(&classic(&c1, &[1]));
    for _ in 0..12 {
        mixed.pass(5_000);
        mixed.beat(&beat("m1", 2));
        if mixed.show().contains("classic") {
            mixed.heartbeat(&c1, 2);
        }
    }
    assert_snapshot!(mixed.show(), @"
    Stable epoch 3 target 3
    m1 epoch 3 Stable [a 0 1]
    ");

    // It hears that it has to join and does not.
    let (mut mixed, c1) = one_of_each();
    mixed.beat(&join("m2", &["a"]));
    mixed.pass(5_000);
    assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    for _ in 0..11 {
        mixed.pass(5_000);
        mixed.beat(&beat("m1", 2));
        mixed.beat(&beat("m2", 3));
        assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    }
    mixed.pass(5_000);
    assert_eq!(mixed.heartbeat(&c1, 2), "UnknownMemberId");

    // It is silent.
    let (mut mixed, c1) = one_of_each();
    mixed.pass(9_999);
    assert_eq!(mixed.heartbeat(&c1, 2), "ok");
    mixed.pass(9_999);
    assert!(mixed.show().contains("classic"));
    mixed.pass(1);
    assert!(!mixed.show().contains("classic"));
}

#[test]
fn who_may_not_join_sync_or_beat() {
    let (mut mixed, c1) = one_of_each();
    let other = classic("c2", &[]).with_protocol_type(text("connect"));
    assert_snapshot!(mixed.join(&other), @"InconsistentGroupProtocol");
    let mut sticky = classic("c2", &[]);
    sticky.protocols[0].name = text("sticky");
    assert_snapshot!(mixed.join(&sticky), @"InconsistentGroupProtocol");
    let mut nonsense = classic("c2", &[]);
    nonsense.protocols[0].metadata = bytes::Bytes::from_static(b"\0");
    assert_snapshot!(mixed.join(&nonsense), @"UnknownServerError");

    assert_snapshot!(mixed.sync("c9", 2), @"UnknownMemberId");
    assert_snapshot!(mixed.sync("m1", 2), @"UnknownMemberId");
    assert_eq!(mixed.sync(&c1, 1), "IllegalGeneration");
    assert_snapshot!(mixed.heartbeat("c9", 2), @"UnknownMemberId");
    assert_snapshot!(mixed.heartbeat("m1", 2), @"UnknownMemberId");
    assert_eq!(mixed.heartbeat(&c1, 3), "IllegalGeneration");
    mixed.config.group_consumer_max_size = 2;
    assert_snapshot!(mixed.join(&classic("", &[])), @"GroupMaxSizeReached");
}

#[test]
fn leaving_names_members_one_by_one() {
    let (mut mixed, c1) = one_of_each();
    mixed.beat(&join_as("i1", "s1", &["a"]));
    let told = mixed.leave(&[
        (c1.as_str(), None),
        ("c9", None),
        ("other", Some("i1")),
        ("", Some("i1")),
        ("", Some("i9")),
    ]);
    let expected = [
        "ok",
        "UnknownMemberId",
        "FencedInstanceId",
        "ok",
        "UnknownMemberId",
    ];
    assert_eq!(told, expected);
    assert_snapshot!(mixed.show(), @"
    Assigning epoch 4 target 3
    m1 epoch 2 Stable [a 0]
    ");
}

#[test]
fn a_classic_group_becomes_a_consumer_group_with_its_members() {
    let mut mixed = Mixed::new(3);
    let classic_members = mixed.stable_classic(&[&[0, 1], &[2]]);
    assert!(
        mixed.show().starts_with("classic Stable generation 1"),
        "{}",
        mixed.show()
    );
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"epoch 2 []");
    let shown = mixed.show();
    assert!(shown.starts_with("Reconciling epoch 2 target 2"), "{shown}");
    assert!(shown.contains("epoch 1 Stable [a 0 1]"), "{shown}");
    for member in &classic_members {
        assert_eq!(mixed.heartbeat(member, 1), "RebalanceInProgress");
    }
    // Their sessions are those that they asked for.
    let sessions = mixed
        .timers
        .keys()
        .filter(|key| format!("{key:?}").starts_with("Session"));
    assert_eq!(sessions.count(), 3);
    mixed.pass(10_000);
    assert_snapshot!(mixed.show(), @"
    Assigning epoch 4 target 2
    m1 epoch 2 UnreleasedPartitions [] wants [a 1]
    ");
}

#[test]
fn who_had_to_give_up_has_to_sync_as_well() {
    let mut mixed = Mixed::new(2);
    mixed.beat(&join("m1", &["a"]));
    mixed.beat(&beat("m1", 1));
    mixed.beat(&join("m2", &["a"]));
    assert_snapshot!(mixed.beat(&owns("m1", 1, "a 0 1")), @"epoch 1 [a 0]");
    // It goes on as a member of the classic protocol and says nothing any more.
    assert_snapshot!(mixed.join(&classic("m1", &[0])), @"m1 generation 2");
    mixed.pass(10_000);
    assert!(!mixed.show().contains("m1"), "{}", mixed.show());
}

#[test]
fn a_rebalancing_classic_group_sends_its_members_to_join_again() {
    let mut mixed = Mixed::new(2);
    let members = mixed.stable_classic(&[&[0], &[1]]);
    // One joins again, and waits for the other.
    assert_eq!(
        mixed.join(&classic(&members[0], &[]).with_session_timeout_ms(20_000)),
        "waits"
    );
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"epoch 2 []");
    assert!(mixed.show().contains("[a 0] classic"), "{}", mixed.show());
}

#[test]
fn not_every_classic_group_may_become_a_consumer_group() {
    let mut mixed = Mixed::new(2);
    mixed.stable_classic(&[&[0], &[1]]);
    let before = mixed.show();
    for policy in ["disabled", "downgrade"] {
        mixed.config.group_consumer_migration_policy = policy.to_owned();
        assert_eq!(mixed.beat(&join("m1", &["a"])), "GroupIdNotFound");
    }
    mixed.config.group_consumer_migration_policy = "UPGRADE".to_owned();
    mixed.config.group_consumer_max_size = 1;
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"GroupIdNotFound");
    mixed.config.group_consumer_max_size = 2;
    // The group would be full before the member that asks.
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"GroupMaxSizeReached");
    assert_snapshot!(mixed.beat(&beat("m1", 1)), @"GroupIdNotFound");
    assert_eq!(mixed.show(), before);
    mixed.config.group_consumer_max_size = 3;
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"epoch 2 []");
}

#[test]
fn two_owners_of_a_partition_cannot_be_taken_along() {
    let mut mixed = Mixed::new(2);
    mixed.stable_classic(&[&[0, 1], &[1]]);
    assert_snapshot!(mixed.beat(&join("m1", &["a"])), @"UnknownServerError");
}

#[test]
fn a_group_whose_last_consumer_member_leaves_is_classic_again() {
    let (mut mixed, c1) = one_of_each();
    assert_snapshot!(mixed.beat(&beat("m1", -1)), @"epoch -1");
    assert_eq!(
        mixed.show(),
        format!("classic PreparingRebalance generation 2\n{c1} [1]")
    );
    assert_eq!(mixed.heartbeat(&c1, 2), "RebalanceInProgress");
    assert_eq!(
        mixed.join(&classic(&c1, &[1])),
        format!("{c1} generation 3")
    );

    // What was written is the classic group alone.
    mixed.fail_over();
    assert_eq!(
        mixed.show(),
        format!("classic Stable generation 2\n{c1} [1]")
    );
}

#[test]
fn silence_of_the_last_consumer_member_is_enough() {
    let (mut mixed, c1) = one_of_each();
    for _ in 0..9 {
        mixed.pass(5_000);
        mixed.heartbeat(&c1, 2);
    }
    assert_eq!(
        mixed.show(),
        format!("classic PreparingRebalance generation 2\n{c1} [1]")
    );
}

#[test]
fn a_group_stays_a_consumer_group_where_it_must() {
    for policy in ["disabled", "upgrade"] {
        let (mut mixed, _) = one_of_each();
        mixed.config.group_consumer_migration_policy = policy.to_owned();
        mixed.beat(&beat("m1", -1));
        assert!(
            mixed.show().starts_with("Assigning epoch 3"),
            "{}",
            mixed.show()
        );
    }
    // Another member of the consumer protocol is left, or nobody.
    let (mut mixed, c1) = one_of_each();
    mixed.beat(&join("m2", &["a"]));
    mixed.beat(&beat("m1", -1));
    assert!(
        mixed.show().starts_with("Assigning epoch 4"),
        "{}",
        mixed.show()
    );
    mixed.leave(&[(c1.as_str(), None), ("m2", None)]);
    assert_snapshot!(mixed.show(), @"Empty epoch 5 target 3");
}

#[test]
fn a_static_member_may_change_its_protocol_in_place() {
    let mut mixed = Mixed::new(2);
    mixed.beat(&join_as("i1", "m1", &["a"]));
    mixed.beat(&join_as("i2", "m2", &["a"]));
    mixed.beat(&beat("m1", 1).with_instance_id(Some(text("i1"))));
    mixed.beat(&owns("m1", 1, "a 0").with_instance_id(Some(text("i1"))));
    mixed.beat(&beat("m2", 2).with_instance_id(Some(text("i2"))));
    // The first: still a consumer group. It needs no leave before.
    let told = mixed.join(&classic_as("i1", "", &[]));
    let (c1, generation) = told.split_once(' ').expect("an id");
    assert_eq!(generation, "generation 2");
    assert_eq!(mixed.sync_as("i1", c1, 2), "[a 0]");
    // The last: a classic group, without a rebalance, since nobody reads anything else.
    let told = mixed.join(&classic_as("i2", "", &[]));
    let (c2, generation) = told.split_once(' ').expect("an id");
    assert_eq!(generation, "generation 2");
    let shown = mixed.show();
    assert!(shown.starts_with("classic Stable generation 2"), "{shown}");
    assert!(
        shown.contains(&format!("{c1} [0]")) && shown.contains(&format!("{c2} [1]")),
        "{shown}"
    );
    assert_eq!(mixed.sync_as("i2", c2, 2), "[a 1]");
    mixed.fail_over();
    assert_eq!(mixed.show(), shown);

    // And back again.
    assert_snapshot!(mixed.beat(&join_as("i1", "m3", &["a"])), @"epoch 2 [a 0]");
    assert!(
        mixed.show().starts_with("Stable epoch 2 target 2"),
        "{}",
        mixed.show()
    );
}
