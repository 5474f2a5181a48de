//! What a group makes of topics that come, grow and go: by name and by expression.

use insta::assert_snapshot;
use kafka_protocol::messages::TopicName;

use super::rig::{Rig, beat, join, matching, owns, reads, text};

#[test]
fn a_topic_that_grows_raises_the_epoch_with_the_next_heartbeat() {
    let mut rig = Rig::new(&[("a", 1), ("b", 1)]);
    rig.send(&join("m1", &["a"]));
    rig.create("a", 2);
    assert_eq!(rig.group.epoch, 1);
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 2 [a 0 1]");
    // Somebody else's topic does not matter.
    rig.create("b", 2);
    assert_snapshot!(rig.send(&beat("m1", 2)), @"epoch 2");
}

#[test]
fn a_topic_may_come_after_its_readers() {
    let mut rig = Rig::new(&[]);
    assert_snapshot!(rig.send(&join("m1", &["a"])), @"epoch 1 []");
    rig.create("a", 1);
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 2 [a 0]");
    assert!(rig.group.is_subscribed_to("a") && !rig.group.is_subscribed_to("b"));
}

#[test]
fn a_topic_that_is_gone_has_to_be_given_up() {
    let mut rig = Rig::new(&[("a", 1), ("b", 1)]);
    rig.send(&join("m1", &["a", "b"]));
    rig.delete("b");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0, b 0")), @"epoch 1 [a 0]");
    assert_snapshot!(rig.send(&owns("m1", 1, "a 0")), @"epoch 2");
}

#[test]
fn an_expression_is_resolved_after_the_answer() {
    let mut rig = Rig::new(&[("a1", 1), ("a2", 1), ("b", 1)]);
    let join = matching(join("m1", &[]), "a.*").with_subscribed_topic_names(None);
    assert_snapshot!(rig.send(&join), @"epoch 1 []");
    rig.pass(1);
    assert_eq!(rig.group.epoch, 2);
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 2 [a1 0, a2 0]");
    assert!(rig.group.is_subscribed_to("a1") && !rig.group.is_subscribed_to("b"));
}

#[test]
fn a_second_reader_of_an_expression_does_not_wait() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&matching(join("m1", &[]), "a"));
    rig.pass(1);
    rig.send(&beat("m1", 1));
    assert_snapshot!(rig.send(&matching(join("m2", &[]), "a")), @"epoch 3 []");
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 3 target 3
    m1 epoch 2 Stable [a 0 1] wants [a 0]
    m2 epoch 3 UnreleasedPartitions [] wants [a 1]
    ");
}

#[test]
fn new_topics_are_looked_at_ten_seconds_after_the_last_look() {
    let mut rig = Rig::new(&[("a1", 1)]);
    rig.send(&matching(join("m1", &[]), "a.*"));
    rig.pass(1);
    rig.send(&beat("m1", 1));
    rig.create("a2", 1);
    rig.pass(9_999);
    rig.send(&beat("m1", 2));
    rig.pass(2);
    // Nobody looked yet: the last look was ten seconds ago to the millisecond.
    assert_eq!(rig.group.epoch, 2);
    rig.send(&beat("m1", 2));
    rig.pass(1);
    assert_eq!(rig.group.epoch, 3);
    assert_snapshot!(rig.send(&beat("m1", 2)), @"epoch 3 [a1 0, a2 0]");
}

#[test]
fn without_new_topics_expressions_rest_for_ten_minutes() {
    let mut rig = Rig::new(&[("a", 1)]);
    rig.send(&matching(join("m1", &[]), "a.*"));
    rig.pass(1);
    rig.send(&beat("m1", 1));
    let looked_at = |rig: &Rig| rig.group.regexes.values().next().map(|it| it.timestamp);
    let first = looked_at(&rig);
    for _ in 0..20 {
        rig.pass(30_000);
        rig.send(&beat("m1", 2));
    }
    assert_eq!(looked_at(&rig), first);
    rig.pass(30_000);
    rig.send(&beat("m1", 2));
    rig.pass(1);
    assert_ne!(looked_at(&rig), first);
}

#[test]
fn an_expression_goes_with_its_last_reader() {
    let mut rig = Rig::new(&[("a", 1), ("b", 1)]);
    rig.send(&matching(join("m1", &["b"]), "a"));
    rig.pass(1);
    assert_snapshot!(rig.send(&beat("m1", 1)), @"epoch 2 [a 0, b 0]");
    assert_snapshot!(rig.send(&matching(owns("m1", 2, "a 0, b 0"), "")), @"epoch 2 [b 0]");
    assert!(rig.group.regexes.is_empty());

    rig.send(&matching(join("m2", &["b"]), "a"));
    rig.pass(20_000);
    rig.send(&beat("m2", rig.group.epoch));
    rig.pass(1);
    assert_eq!(rig.group.regexes.len(), 1);
    rig.send(&beat("m2", -1));
    assert!(rig.group.regexes.is_empty());
}

#[test]
fn the_assignor_that_most_ask_for_decides() {
    let mut rig = Rig::new(&[("a", 3), ("b", 3)]);
    let range = |request: kafka_protocol::messages::ConsumerGroupHeartbeatRequest| {
        request.with_server_assignor(Some(text("range")))
    };
    rig.send(&range(join("m1", &["a", "b"])));
    rig.send(&join("m2", &["a", "b"]));
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 2 target 2
    m1 epoch 1 Stable [a 0 1 2, b 0 1 2] wants [a 0 1, b 0 1]
    m2 epoch 2 UnreleasedPartitions [] wants [a 2, b 2]
    ");
    let described = rig.group.describe(&rig.image, &rig.config);
    assert_eq!(&*described.assignor_name, "range");
    // Another wish alone is no reason to distribute anew.
    let uniform = beat("m1", 1).with_server_assignor(Some(text("uniform")));
    assert_snapshot!(rig.send(&uniform), @"epoch 1 [a 0 1, b 0 1]");
    rig.create("a", 4);
    rig.send(&beat("m2", 2));
    assert_snapshot!(rig.show(), @"
    Reconciling epoch 3 target 3
    m1 epoch 1 UnrevokedPartitions [a 0 1, b 0 1] not [a 2, b 2]
    m2 epoch 3 UnreleasedPartitions [a 3] wants [a 2 3, b 2]
    ");
}

#[test]
fn describing_names_topics_and_says_what_is_wanted() {
    let mut rig = Rig::new(&[("a", 2)]);
    rig.send(&join("m1", &["a"]).with_rack_id(Some(text("r1"))));
    rig.send(&reads(join("m2", &[]), &["a"]));
    let described = rig.group.describe(&rig.image, &rig.config);
    assert_eq!(&*described.group_state, "Reconciling");
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(&*described.assignor_name, "uniform");
    let [m1, m2] = &described.members[..] else {
        panic!("two members");
    };
    assert_eq!(
        (m1.rack_id.as_deref(), m1.member_epoch, m1.member_type),
        (Some("r1"), 1, 1)
    );
    assert_eq!(m1.subscribed_topic_names, [TopicName(text("a"))]);
    let [has] = &m1.assignment.topic_partitions[..] else {
        panic!("one topic");
    };
    assert_eq!(
        (&*has.topic_name.0, &has.partitions[..]),
        ("a", &[0, 1][..])
    );
    assert_eq!(m1.target_assignment.topic_partitions[0].partitions, [0]);
    assert!(m2.assignment.topic_partitions.is_empty());
    assert_eq!(m2.target_assignment.topic_partitions[0].partitions, [1]);
}
