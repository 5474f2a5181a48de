//! A member by the consumer protocol.

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, RequestKind};

use super::rig::{Rig, p, text};
use crate::client::command::{
    ClientError, Command, CommitName, Event, RebalanceCallback, Subscription,
};
use crate::client::testing::TOPIC;
use crate::types::ResponseError;

const CONSUMER: (&str, &str) = ("group.protocol", "consumer");
const MANUAL: (&str, &str) = ("enable.auto.commit", "false");
/// Positions are committed automatically, but by no timer.
const SELDOM: (&str, &str) = ("auto.commit.interval.ms", "600000");

fn is_heartbeat(body: &RequestKind) -> bool {
    matches!(body, RequestKind::ConsumerGroupHeartbeat(_))
}

fn is_fetch(body: &RequestKind) -> bool {
    matches!(body, RequestKind::Fetch(_))
}

/// Indexes that a heartbeat says the member owns, if it says so.
fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<i32>> {
    let topics = request.topic_partitions.as_ref()?;
    let indexes = topics.iter().flat_map(|topic| topic.partitions.clone());
    Some(indexes.collect())
}

#[test]
fn a_member_joins_owns_and_says_so() {
    let mut rig = Rig::new(&[CONSUMER, ("group.remote.assignor", "range")]);
    rig.subscribe();
    rig.poll(10_000);
    rig.answer_lookup();
    let joined = rig.answer_group_heartbeat(3, Some(&[0, 1]));
    assert_eq!(joined.member_epoch, 0);
    assert_eq!(joined.member_id.len(), 22);
    assert_eq!(joined.rebalance_timeout_ms, 300_000);
    assert_eq!(joined.server_assignor, Some(text("range")));
    assert_eq!(owned(&joined), Some(vec![]));
    assert_eq!(
        joined.subscribed_topic_names.map(|names| names.len()),
        Some(1)
    );
    let (callback, what, partitions) = rig.take_callback();
    assert_eq!(
        (what, partitions),
        (RebalanceCallback::Assigned, vec![0, 1])
    );
    rig.answer_committed(5);
    assert!(!rig.has(is_fetch), "the listener has not returned");
    assert!(!rig.has(is_heartbeat));
    rig.callback_done(callback);
    assert!(rig.has(is_fetch));
    let acknowledged = rig.answer_group_heartbeat(3, None);
    assert_eq!(acknowledged.member_epoch, 3);
    assert_eq!(owned(&acknowledged), Some(vec![0, 1]));
    assert_eq!(acknowledged.subscribed_topic_names, None);
    rig.harness.advance(5_000);
    let stable = rig.answer_group_heartbeat(3, None);
    assert_eq!(owned(&stable), None, "nothing new to say");
}

#[test]
fn what_goes_away_is_committed_and_revoked_before_it_is_given_up() {
    let mut rig = Rig::new(&[CONSUMER, SELDOM]);
    rig.join_modern(&[0, 1]);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(2, Some(&[0]));
    assert!(!rig.has(is_heartbeat));
    assert_eq!(rig.answer_commit(None), [(0, 5), (1, 5)]);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![1]));
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Assigned, vec![]));
    let acknowledged = rig.answer_group_heartbeat(2, None);
    assert_eq!(owned(&acknowledged), Some(vec![0]));
}

#[test]
fn the_listener_is_called_while_a_poll_waits() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.subscribe();
    rig.poll(10_000);
    rig.answer_lookup();
    let (sent, _) = rig.take_group_heartbeat();
    rig.harness.advance(10_000);
    assert_eq!(rig.polled().len(), 1);
    rig.harness.sent.push_front(sent);
    rig.answer_group_heartbeat(1, Some(&[0]));
    assert_eq!(rig.harness.take_events(), []);
    rig.poll(10_000);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Assigned, vec![0])
    );
}

#[test]
fn a_fenced_member_loses_everything_and_joins_again() {
    for error in [
        ResponseError::FencedMemberEpoch,
        ResponseError::UnknownMemberId,
    ] {
        let mut rig = Rig::new(&[CONSUMER, MANUAL]);
        rig.join_modern(&[0, 1]);
        rig.harness.advance(5_000);
        rig.refuse_group_heartbeat(error);
        assert!(!rig.has(is_heartbeat), "the listener has not returned");
        assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0, 1]));
        let joins = rig.answer_group_heartbeat(7, Some(&[1]));
        assert_eq!(joins.member_epoch, 0);
        assert_eq!(owned(&joins), Some(vec![]));
        assert_eq!(
            rig.answer_callback(),
            (RebalanceCallback::Assigned, vec![1])
        );
    }
}

#[test]
fn a_rebalance_that_was_fenced_is_not_acknowledged() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0, 1]);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(2, Some(&[0]));
    let (callback, what, _) = rig.take_callback();
    assert_eq!(what, RebalanceCallback::Revoked);
    rig.harness.advance(5_000);
    rig.refuse_group_heartbeat(ResponseError::FencedMemberEpoch);
    assert_eq!(rig.harness.take_events(), []);
    rig.callback_done(callback);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0, 1]));
    let (_, joins) = rig.take_group_heartbeat();
    assert_eq!(joins.member_epoch, 0);
}

#[test]
fn another_coordinator_hears_everything_again() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0]);
    rig.harness.advance(5_000);
    rig.refuse_group_heartbeat(ResponseError::NotCoordinator);
    rig.answer_lookup();
    let repeated = rig.answer_group_heartbeat(1, None);
    assert_eq!(repeated.member_epoch, 1);
    assert_eq!(owned(&repeated), Some(vec![0]));
    assert!(repeated.subscribed_topic_names.is_some());
}

#[test]
fn a_loading_coordinator_is_asked_again_after_a_back_off() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0]);
    rig.harness.advance(5_000);
    rig.refuse_group_heartbeat(ResponseError::CoordinatorLoadInProgress);
    assert!(!rig.has(is_heartbeat));
    rig.harness.advance(200);
    assert!(rig.has(is_heartbeat));
}

#[test]
fn what_nobody_can_cure_is_told_after_the_loss() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0]);
    rig.harness.advance(5_000);
    rig.refuse_group_heartbeat(ResponseError::UnsupportedAssignor);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
    let events = rig.harness.take_events();
    let told = ClientError::Broker(ResponseError::UnsupportedAssignor);
    assert!(matches!(events[0], Event::PollFailed { error, .. } if error == told));
    rig.poll(1_000);
    rig.harness.advance(10_000);
    assert!(!rig.has(is_heartbeat), "that is the end of it");
}

#[test]
fn an_application_that_does_not_poll_leaves_and_comes_back() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL, ("max.poll.interval.ms", "12000")]);
    rig.join_modern(&[0]);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(1, None);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(1, None);
    assert_eq!(rig.polled().len(), 1, "the poll that waited ended");
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(1, None);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(1, None);
    rig.harness.advance(2_000);
    let leaves = rig.answer_group_heartbeat(-1, None);
    assert_eq!(leaves.member_epoch, -1);
    assert_eq!(rig.harness.take_events(), [], "nobody polls");
    rig.poll(1_000);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
    let (_, joins) = rig.take_group_heartbeat();
    assert_eq!(joins.member_epoch, 0);
}

#[test]
fn closing_commits_revokes_and_leaves() {
    let mut rig = Rig::new(&[CONSUMER]);
    rig.join_modern(&[0, 1]);
    let op = rig.close();
    assert_eq!(rig.answer_commit(None), [(0, 5), (1, 5)]);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Revoked, vec![0, 1])
    );
    let leaves = rig.answer_group_heartbeat(-1, None);
    assert_eq!(leaves.member_epoch, -1);
    let result = Ok(());
    assert_eq!(rig.harness.take_events(), [Event::Done { op, result }]);
}

#[test]
fn a_static_member_that_closes_may_come_back() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL, ("group.instance.id", "i1")]);
    rig.join_modern(&[0]);
    rig.close();
    rig.answer_callback();
    let leaves = rig.answer_group_heartbeat(-2, None);
    assert_eq!(leaves.member_epoch, -2);
    assert_eq!(leaves.instance_id, Some(text("i1")));
}

#[test]
fn unsubscribing_waits_for_the_coordinator_and_joining_works_again() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0]);
    let op = rig.op();
    rig.harness.command(Command::Unsubscribe { op });
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![0]));
    assert_eq!(rig.harness.take_events(), []);
    rig.answer_group_heartbeat(-1, None);
    let result = Ok(());
    assert_eq!(rig.harness.take_events(), [Event::Done { op, result }]);
    rig.subscribe();
    rig.poll(1_000);
    let (_, joins) = rig.take_group_heartbeat();
    assert_eq!(joins.member_epoch, 0);
}

#[test]
fn commits_name_the_member_and_its_epoch() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    rig.join_modern(&[0]);
    rig.answer_fetch(0, 5, 2);
    rig.polled();
    let op = rig.commit(true);
    let waits = rig.harness.sent.iter();
    let epochs: Vec<i32> = waits
        .filter_map(|sent| match &sent.body {
            RequestKind::OffsetCommit(commit) => Some(commit.generation_id_or_member_epoch),
            _ => None,
        })
        .collect();
    assert_eq!(epochs, [1]);
    rig.answer_commit(Some(ResponseError::StaleMemberEpoch));
    assert_eq!(rig.committed(), [(CommitName::Call(op), false, true)]);
}

#[test]
fn a_commit_before_a_rebalance_outlives_a_stale_epoch() {
    let mut rig = Rig::new(&[CONSUMER, SELDOM]);
    rig.join_modern(&[0, 1]);
    rig.harness.advance(5_000);
    rig.answer_group_heartbeat(2, Some(&[0]));
    rig.answer_commit(Some(ResponseError::StaleMemberEpoch));
    rig.harness.advance(200);
    assert_eq!(rig.answer_commit(None), [(0, 5), (1, 5)]);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![1]));
}

#[test]
fn a_pattern_is_left_to_the_coordinator_and_topics_are_found_by_id() {
    let mut rig = Rig::new(&[CONSUMER, MANUAL]);
    let to = Subscription::Pattern(text("ord.*"));
    rig.harness.command(Command::Subscribe { to });
    rig.poll(10_000);
    rig.answer_lookup();
    let joins = rig.answer_group_heartbeat(1, Some(&[2]));
    assert_eq!(joins.subscribed_topic_regex, Some(text("ord.*")));
    assert_eq!(joins.subscribed_topic_names, Some(vec![]));
    // The name of the topic is not known yet: what is known is taken over first.
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Assigned, vec![]));
    let acknowledged = rig.answer_group_heartbeat(1, None);
    assert_eq!(owned(&acknowledged), Some(vec![]));
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Assigned, vec![2])
    );
    rig.answer_committed(5);
    let acknowledged = rig.answer_group_heartbeat(1, None);
    let topics = acknowledged.topic_partitions.expect("it is news");
    assert_eq!(topics[0].topic_id, TOPIC);
    rig.answer_fetch(2, 5, 1);
    assert_eq!(rig.polled()[0].1, [5]);
    assert_eq!(p(2).partition, 2);
}
