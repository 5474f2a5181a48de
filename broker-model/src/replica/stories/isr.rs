//! The ISR: who falls out, who comes back, and what the high watermark waits for.

use super::rig::{World, n};
use crate::bug::Bug;
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{BrokerEpoch, Offset, ResponseError};

const LAG_MAX_MS: u64 = 30_000;

/// 3 hears nothing until it is out of the ISR, which the metadata of 1 says too.
fn without_3(mut world: World) -> World {
    world.deaf = vec![n(3)];
    let produce = world.produce(n(1), -1, &["a"]);
    world.settle();
    world.pass(2 * LAG_MAX_MS);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
    assert_eq!(world.high_watermark(n(1)), 0);
    world.answer_proposal(None);
    assert_eq!(world.high_watermark(n(1)), 1);
    assert!(world.has_reached(n(1), Probe::IsrShrunk));
    assert_eq!(
        world.produced(produce),
        Some(Err(ResponseError::RequestTimedOut))
    );
    world
}

#[test]
fn a_silent_follower_counts_until_the_controller_has_taken_it_out() {
    without_3(World::new());
}

#[test]
fn a_follower_that_has_caught_up_comes_back() {
    let mut world = without_3(World::new());
    world.deaf.clear();
    world.pass(2_000);
    assert_eq!(world.log(n(3)), "a@0/0");
    assert_eq!(world.proposed(), Some(vec![n(1), n(2), n(3)]));
    let proposed = world.notes(n(1)).iter().rev().find_map(|note| match note {
        Note::IsrProposed { added, .. } => Some(added.clone()),
        _ => None,
    });
    assert_eq!(proposed, Some(vec![(n(3), Offset(1), BrokerEpoch(2))]));
    world.answer_proposal(None);
    assert_eq!(world.hosted(n(1)).isr(), [n(1), n(2), n(3)]);
    assert!(world.has_reached(n(1), Probe::IsrExpanded));
}

/// 3 is being added; what is appended meanwhile reaches 2 alone.
fn while_3_is_being_added(world: World) -> World {
    let mut world = without_3(world);
    world.deaf.clear();
    world.pass(2_000);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2), n(3)]));
    world.kill(n(3));
    // Long enough that 3 does not count for having been caught up a moment ago.
    world.pass(LAG_MAX_MS + 1_000);
    world.produce(n(1), 1, &["b"]);
    world.settle();
    assert_eq!(world.log(n(2)), "a@0/0 b@1/0");
    world
}

#[test]
fn the_high_watermark_waits_for_a_replica_that_may_be_in_the_isr_already() {
    let mut world = while_3_is_being_added(World::new());
    assert_eq!(world.high_watermark(n(1)), 1);
    assert!(world.has_reached(n(1), Probe::HighWatermarkHeldByPendingIsr));

    // The controller says that it did not happen.
    world.answer_proposal(Some(ResponseError::IneligibleReplica));
    world.produce(n(1), 1, &["c"]);
    world.settle();
    assert_eq!(world.high_watermark(n(1)), 3);
}

#[test]
fn with_kip_497_undone_it_does_not_wait() {
    let world = while_3_is_being_added(World::with_bug(Bug::Kip497HwIgnoresPendingIsr));
    assert_eq!(world.high_watermark(n(1)), 2);
}

#[test]
fn a_proposal_whose_fate_is_unknown_counts_until_the_metadata_tells() {
    let mut world = while_3_is_being_added(World::new());
    world.answer_proposal(Some(ResponseError::InvalidUpdateVersion));
    world.produce(n(1), 1, &["c"]);
    world.settle();
    assert_eq!(world.high_watermark(n(1)), 1);

    world.change(0, &[1, 2]);
    world.apply(n(1));
    assert_eq!(world.high_watermark(n(1)), 3);
}

#[test]
fn metadata_that_is_known_already_does_not_take_a_newer_proposal_back() {
    let mut world = without_3(World::new());
    world.deaf.clear();
    world.pass(2_000);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2), n(3)]));
    // Only now the leader applies the shrink, which the controller had answered before.
    world.kill(n(3));
    world.apply(n(1));
    world.pass(LAG_MAX_MS + 1_000);
    world.produce(n(1), 1, &["b"]);
    world.settle();
    assert_eq!(world.high_watermark(n(1)), 1);
}

#[test]
fn a_follower_that_is_only_up_to_a_new_leaders_high_watermark_stays_out() {
    // KAFKA-7128: 2 leads from offset 1 on and does not know that offset 0 is committed.
    let mut world = World::new();
    world.kill(n(3));
    world.change(0, &[1, 2]);
    world.apply(n(1));
    world.pass(LAG_MAX_MS + 1_000);
    let produce = world.produce(n(1), -1, &["a"]);
    while world.produced(produce).is_none() {
        assert!(world.deliver_request() || world.deliver_answer());
    }
    assert_eq!(world.high_watermark(n(2)), 0);
    world.change(2, &[1, 2]);
    world.apply(n(2));
    world.restart(n(3));
    world.apply(n(3));
    // 3 fetches at 0, which is the high watermark, but not where the epoch starts.
    world.deliver_everything_but_answers();
    assert_eq!(world.high_watermark(n(2)), 0);
    assert_eq!(world.proposed(), None);

    world.settle();
    assert_eq!(world.log(n(3)), "a@0/0");
    assert_eq!(world.proposed(), Some(vec![n(1), n(2), n(3)]));
}

#[test]
fn what_was_proven_in_an_older_epoch_does_not_count() {
    // 1 leads in epoch 0 and again in 2; in between 2 has led and had 3 cut its log.
    let mut world = World::new();
    world.deaf = vec![n(2)];
    world.produce(n(1), 1, &["a"]);
    world.settle();
    assert_eq!(world.log(n(3)), "a@0/0");
    world.change(2, &[1, 2, 3]);
    world.apply(n(2));
    world.apply(n(3));
    world.deaf.clear();
    world.settle();
    assert_eq!(world.log(n(3)), "");

    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    world.apply(n(2));
    world.deaf = vec![n(3)];
    world.settle();
    assert_eq!(world.log(n(2)), "a@0/0");
    assert_eq!(world.high_watermark(n(1)), 0);
}
