//! Followers that have what their leader never had.

use super::rig::{World, n};
use crate::bug::Bug;
use crate::probe::Probe;

/// Two fast leadership moves; 1 never learns of the epoch in between (KAFKA-6361).
///
/// 1 appends x in epoch 0, 2 appends y at the same offset in epoch 1, then 1 appends z in epoch 2.
/// Nothing of it was replicated when 2 starts to follow 1.
fn after_a_fast_double_failover(mut world: World) -> World {
    let committed = world.produce(n(1), -1, &["a"]);
    world.settle();
    assert_eq!(world.produced(committed), Some(Ok(0)));
    world.pass(600);
    world.deaf = vec![n(1), n(2), n(3)];
    world.produce(n(1), 1, &["x"]);

    world.change(2, &[1, 2, 3]);
    world.apply(n(2));
    world.produce(n(2), 1, &["y"]);
    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    assert!(world.has_reached(n(1), Probe::EpochsSkipped));
    world.produce(n(1), 1, &["z"]);
    assert_eq!(world.log(n(1)), "a@0/0 x@1/0 z@2/2");
    assert_eq!(world.log(n(2)), "a@0/0 y@1/1");

    world.apply(n(2));
    world.apply(n(3));
    world.deaf.clear();
    world.settle();
    world
}

#[test]
fn a_follower_cuts_what_the_leader_never_had_before_it_appends() {
    let world = after_a_fast_double_failover(World::new());
    assert_eq!(world.log(n(2)), "a@0/0 x@1/0 z@2/2");
    assert_eq!(world.log(n(3)), "a@0/0 x@1/0 z@2/2");
    assert!(world.has_reached(n(2), Probe::TruncatedToEpochEnd));
    assert_eq!(world.high_watermark(n(1)), 3);
}

#[test]
fn with_kip_279_undone_the_logs_diverge() {
    let world = after_a_fast_double_failover(World::with_bug(Bug::Kip279UnknownEpochLookup));
    assert_eq!(world.log(n(1)), "a@0/0 x@1/0 z@2/2");
    assert_eq!(world.log(n(2)), "a@0/0 y@1/1 z@2/2");
    assert_eq!(world.high_watermark(n(1)), 3);
}

/// A committed record that 2 does not know to be committed; leadership moves to 3, and 2 follows.
fn after_a_move_without_news(mut world: World) -> World {
    let committed = world.produce(n(1), -1, &["m"]);
    // The second fetch proves that both have it; its answer, with the high watermark, is lost.
    while world.produced(committed).is_none() {
        assert!(world.deliver_request() || world.deliver_answer());
    }
    assert_eq!(world.high_watermark(n(2)), 0);
    world.kill(n(1));
    world.change(3, &[2, 3]);
    world.apply(n(2));
    world
}

#[test]
fn a_new_follower_keeps_what_lies_above_its_high_watermark() {
    let world = after_a_move_without_news(World::new());
    assert_eq!(world.log(n(2)), "m@0/0");
}

#[test]
fn with_kip_101_undone_a_new_follower_cuts_a_committed_record() {
    let world = after_a_move_without_news(World::with_bug(Bug::Kip101HwTruncation));
    assert_eq!(world.log(n(2)), "");
}

#[test]
fn a_follower_that_ends_before_the_leaders_log_starts_begins_there() {
    let mut world = World::new();
    world.kill(n(3));
    world.change(0, &[1, 2]);
    world.apply(n(1));
    world.pass(31_000);
    let produce = world.produce(n(1), -1, &["a"]);
    world.settle();
    world.produce(n(1), -1, &["b"]);
    world.settle();
    assert_eq!(world.produced(produce), Some(Ok(0)));
    world.delete_records(n(1), 1);

    world.restart(n(3));
    world.apply(n(3));
    world.settle();
    world.pass(2_000);
    assert_eq!(world.log(n(3)), "b@1/0");
    assert_eq!(world.hosted(n(3)).log.log_start().0, 1);
}

#[test]
fn a_fenced_follower_waits_for_the_metadata() {
    let mut world = World::new();
    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    world.pass(5_000);
    let behind = world.produce(n(1), 1, &["a"]);
    world.pass(5_000);
    assert_eq!(world.produced(behind), Some(Ok(0)));
    assert_eq!(world.log(n(2)), "");

    world.apply(n(2));
    world.settle();
    assert_eq!(world.log(n(2)), "a@0/1");
}

#[test]
fn a_follower_ahead_of_its_leader_tries_again() {
    let mut world = World::new();
    world.change(2, &[1, 2, 3]);
    world.apply(n(3));
    world.settle();
    world.apply(n(2));
    let produce = world.produce(n(2), 1, &["a"]);
    world.pass(1_500);
    assert_eq!(world.produced(produce), Some(Ok(0)));
    assert_eq!(world.log(n(3)), "a@0/1");
}
