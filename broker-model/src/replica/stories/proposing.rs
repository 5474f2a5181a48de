//! Proposals that the controller does not answer as hoped.

use super::rig::{World, n};
use crate::types::ResponseError;

/// 1 wants 3 out of the ISR, and the controller has not answered.
fn with_a_proposal() -> World {
    let mut world = World::new();
    world.kill(n(3));
    world.produce(n(1), 1, &["a"]);
    world.pass(60_000);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
    world
}

#[test]
fn a_request_that_fails_as_a_whole_is_sent_again_after_a_while() {
    let mut world = with_a_proposal();
    world.refuse_proposal(ResponseError::StaleBrokerEpoch);
    assert_eq!(world.proposed(), None);
    world.pass(50);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
}

#[test]
fn a_controller_that_is_none_any_more_is_not_asked_again_on_that_connection() {
    let mut world = with_a_proposal();
    world.refuse_proposal(ResponseError::NotController);
    world.pass(50);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
    world.answer_proposal(None);
    assert_eq!(world.hosted(n(1)).isr(), [n(1), n(2)]);
}

#[test]
fn a_controller_that_says_so_of_one_partition_is_none_any_more() {
    let mut world = with_a_proposal();
    world.answer_proposal(Some(ResponseError::NotController));
    assert_eq!(world.proposed(), None);
    world.pass(50);
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
}

#[test]
fn an_error_that_says_nothing_has_the_proposal_sent_again() {
    let mut world = with_a_proposal();
    world.answer_proposal(Some(ResponseError::UnknownServerError));
    assert_eq!(world.proposed(), Some(vec![n(1), n(2)]));
}

#[test]
fn a_proposal_of_an_older_epoch_is_answered_in_vain() {
    let mut world = with_a_proposal();
    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    world.answer_proposal(Some(ResponseError::FencedLeaderEpoch));
    assert_eq!(world.hosted(n(1)).isr(), [n(1), n(2), n(3)]);
    // Nothing of it hinders the next proposal.
    world.pass(60_000);
    assert_eq!(world.proposed(), Some(vec![n(1)]));
}
