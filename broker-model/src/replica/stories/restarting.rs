//! Brokers that stop and start.

use super::rig::{T_0, World, n};
use crate::types::{BrokerEpoch, Offset, ResponseError};

#[test]
fn the_high_watermark_survives_as_far_as_it_was_written_down() {
    let mut world = World::new();
    world.produce(n(1), -1, &["a"]);
    world.pass(5_000);
    world.produce(n(1), -1, &["b"]);
    world.settle();
    world.pass(600);
    assert_eq!(world.high_watermark(n(2)), 2);

    world.kill(n(2));
    world.restart(n(2));
    world.apply(n(2));
    assert_eq!(world.log(n(2)), "a@0/0 b@1/0");
    assert_eq!(world.high_watermark(n(2)), 1);
}

#[test]
fn a_broker_that_stopped_in_order_leaves_a_mark_once() {
    let mut world = World::new();
    world.produce(n(1), -1, &["a"]);
    world.settle();
    world.on(n(2), |replicas, cx, _| replicas.shutdown(cx));
    assert!(world.replicas(n(2)).is_shut_down());
    world.kill(n(2));
    world.restart(n(2));
    let replicas = world.replicas(n(2));
    assert_eq!(replicas.cleanly_stopped_epoch(), Some(BrokerEpoch(1)));

    world.kill(n(2));
    world.restart(n(2));
    assert_eq!(world.replicas(n(2)).cleanly_stopped_epoch(), None);
}

#[test]
fn a_process_leads_nothing_before_the_metadata_knows_it() {
    let mut world = World::new();
    world.produce(n(1), 1, &["a"]);
    world.kill(n(1));
    world.restart(n(1));
    world.on(n(1), |replicas, _, _| {
        replicas.set_broker_epoch(BrokerEpoch(6));
    });
    world.apply(n(1));
    assert!(world.replicas(n(1)).hosted.is_empty());

    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    assert_eq!(world.hosted(n(1)).epoch_start(), Some(Offset(1)));
}

#[test]
fn a_deleted_topic_takes_its_log_along_and_fails_whoever_waits() {
    let mut world = World::new();
    world.deaf = vec![n(2), n(3)];
    let produce = world.produce(n(1), -1, &["a"]);
    world.delete_topic();
    world.apply(n(1));
    assert_eq!(
        world.produced(produce),
        Some(Err(ResponseError::UnknownTopicOrPartition))
    );
    assert!(world.files(n(1)).is_empty());
    world.apply(n(2));
    world.deaf.clear();
    world.settle();
}

#[test]
fn a_log_that_no_metadata_names_is_deleted_once_the_metadata_is_recent() {
    let mut world = World::new();
    world.produce(n(1), 1, &["a"]);
    world.settle();
    world.kill(n(2));
    world.restart(n(2));
    // Nothing is known yet, not even that broker 2 has registered.
    world.apply_up_to(n(2), 1);
    assert_eq!(world.files(n(2)), [T_0]);
    world.delete_topic();
    world.apply(n(2));
    assert!(world.files(n(2)).is_empty());
}
