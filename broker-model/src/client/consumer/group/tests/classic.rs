//! A member by the classic protocol.

use kafka_protocol::messages::RequestKind;

use super::rig::{COOPERATIVE, RANGE, Rig, follower, leader, ps, text};
use crate::client::command::{ClientError, Command, Event, RebalanceCallback, ResetReason};
use crate::client::testing::orders;
use crate::types::{Offset, ResponseError};
use crate::wire::consumer_protocol::{Subscription, decode_assignment};

const MANUAL: (&str, &str) = ("enable.auto.commit", "false");

fn is_join(body: &RequestKind) -> bool {
    matches!(body, RequestKind::JoinGroup(_))
}

fn is_fetch(body: &RequestKind) -> bool {
    matches!(body, RequestKind::Fetch(_))
}

fn failures(rig: &mut Rig) -> Vec<ClientError> {
    let events = rig.harness.take_events().into_iter();
    let failures = events.filter_map(|event| match event {
        Event::PollFailed { error, .. } => Some(error),
        _ => None,
    });
    failures.collect()
}

#[test]
fn a_leader_joins_assigns_and_reads_from_what_is_committed() {
    let mut rig = Rig::new(&[]);
    rig.subscribe();
    assert!(rig.harness.sent.is_empty(), "nobody polls yet");
    rig.poll(10_000);
    rig.answer_lookup();
    let (sent, join) = rig.take_join();
    assert_eq!(
        (join.member_id, join.session_timeout_ms),
        (text(""), 45_000)
    );
    let names: Vec<String> = join
        .protocols
        .iter()
        .map(|one| one.name.to_string())
        .collect();
    assert_eq!(names, ["range", "cooperative-sticky"]);
    rig.refuse_join(&sent, ResponseError::MemberIdRequired);
    let (sent, join) = rig.take_join();
    assert_eq!(join.member_id, text("m1"));
    rig.answer_join(&sent, leader("range", 1, &["m1", "m2"]));
    let (sent, sync) = rig.take_sync();
    let shares: Vec<_> = sync
        .assignments
        .iter()
        .map(|one| (one.member_id.clone(), decode_assignment(&one.assignment)))
        .collect();
    let expected = [(text("m1"), Ok(ps(&[0, 1]))), (text("m2"), Ok(ps(&[2, 3])))];
    assert_eq!(shares, expected);
    rig.answer_sync(&sent, &[0, 1]);
    let (callback, what, partitions) = rig.take_callback();
    assert_eq!(
        (what, partitions),
        (RebalanceCallback::Assigned, vec![0, 1])
    );
    assert!(!rig.has(is_fetch), "the listener has not returned");
    rig.callback_done(callback);
    rig.answer_committed(7);
    let resets = rig.harness.take_events();
    assert!(resets.iter().all(|event| matches!(
        event,
        Event::Reset {
            to: Offset(7),
            why: ResetReason::Committed,
            ..
        }
    )));
    assert_eq!(resets.len(), 2);
    rig.answer_fetch(1, 7, 2);
    assert_eq!(rig.polled()[0].1, [7, 8]);
}

#[test]
fn a_poll_does_not_end_while_the_listener_runs() {
    let mut rig = Rig::new(&[RANGE]);
    rig.subscribe();
    let op = rig.poll(1_000);
    rig.answer_lookup();
    rig.rejoin("range", 1, &[0]);
    let (callback, ..) = rig.take_callback();
    rig.harness.advance(5_000);
    assert_eq!(rig.polled(), []);
    rig.callback_done(callback);
    assert_eq!(rig.polled(), [(op, vec![])]);
}

#[test]
fn what_was_given_up_is_not_read_even_if_the_coordinator_is_gone() {
    let mut rig = Rig::new(&[
        RANGE,
        MANUAL,
        ("session.timeout.ms", "7000"),
        ("request.timeout.ms", "60000"),
    ]);
    rig.join("range", &[0]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    let (callback, what, _) = rig.take_callback();
    assert_eq!(what, RebalanceCallback::Revoked);
    rig.answer_fetch(0, 5, 2);
    // The session is over meanwhile, the coordinator is looked for, and the poll's time is up.
    rig.harness.advance(20_000);
    rig.callback_done(callback);
    assert!(rig.polled().iter().all(|(_, offsets)| offsets.is_empty()));
}

#[test]
fn an_answer_to_join_group_waits_for_a_poll() {
    let mut rig = Rig::new(&[RANGE]);
    rig.subscribe();
    rig.poll(100);
    rig.answer_lookup();
    let (sent, _) = rig.take_join();
    rig.harness.advance(200);
    assert_eq!(rig.polled().len(), 1);
    rig.answer_join(&sent, follower("range", 1));
    let is_sync = |body: &RequestKind| matches!(body, RequestKind::SyncGroup(_));
    assert!(!rig.has(is_sync));
    rig.poll(100);
    assert!(rig.has(is_sync));
}

#[test]
fn an_eager_member_gives_everything_up_before_it_rejoins() {
    let mut rig = Rig::new(&[RANGE, MANUAL]);
    rig.join("range", &[0, 1]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    assert!(!rig.has(is_join), "the listener has not returned");
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Revoked, vec![0, 1])
    );
    let (sent, join) = rig.take_join();
    let metadata = Subscription::decode(&join.protocols[0].metadata).expect("our own");
    assert_eq!(metadata.owned, []);
    assert_eq!(metadata.generation, Some(1));
    rig.answer_join(&sent, follower("range", 2));
    let (sent, _) = rig.take_sync();
    rig.answer_sync(&sent, &[1]);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Assigned, vec![1])
    );
}

#[test]
fn a_cooperative_member_keeps_what_it_is_not_asked_for() {
    let mut rig = Rig::new(&[COOPERATIVE, MANUAL]);
    rig.join("cooperative-sticky", &[0, 1]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    let (sent, join) = rig.take_join();
    let metadata = Subscription::decode(&join.protocols[0].metadata).expect("our own");
    assert_eq!(metadata.owned, ps(&[0, 1]));
    rig.answer_join(&sent, follower("cooperative-sticky", 2));
    // What it owns is consumed while the group rebalances.
    rig.answer_fetch(0, 5, 1);
    assert_eq!(rig.polled()[0].1, [5]);
    rig.poll(10_000);
    let (sent, _) = rig.take_sync();
    rig.answer_sync(&sent, &[0]);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![1]));
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Assigned, vec![]));
    // Somebody else may get it now.
    rig.rejoin("cooperative-sticky", 3, &[0, 2]);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Assigned, vec![2])
    );
}

#[test]
fn a_member_that_is_unknown_has_lost_its_partitions() {
    let mut rig = Rig::new(&[COOPERATIVE, MANUAL]);
    rig.join("cooperative-sticky", &[0, 1]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::UnknownMemberId));
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0, 1]));
    let (_, join) = rig.take_join();
    assert_eq!(join.member_id, text(""));
}

#[test]
fn a_member_of_an_old_generation_keeps_its_id() {
    let mut rig = Rig::new(&[RANGE, MANUAL]);
    rig.join("range", &[0]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::IllegalGeneration));
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
    let (_, join) = rig.take_join();
    assert_eq!(join.member_id, text("m1"));
}

#[test]
fn an_application_that_does_not_poll_leaves_the_group() {
    let mut rig = Rig::new(&[RANGE, MANUAL, ("max.poll.interval.ms", "10000")]);
    rig.join("range", &[0]);
    rig.harness.advance(10_000);
    assert_eq!(rig.polled().len(), 1, "the poll that waited ended");
    for _ in 0..3 {
        rig.answer_heartbeat(None);
        rig.harness.advance(3_000);
    }
    rig.harness.advance(2_000);
    assert_eq!(rig.answer_leave(), "m1");
    rig.poll(1_000);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
    assert!(rig.has(is_join));
}

#[test]
fn a_static_member_that_does_not_poll_says_nothing() {
    let instance = ("group.instance.id", "i1");
    let mut rig = Rig::new(&[RANGE, MANUAL, instance, ("max.poll.interval.ms", "10000")]);
    rig.join("range", &[0]);
    rig.harness.advance(10_000);
    for _ in 0..3 {
        rig.answer_heartbeat(None);
        rig.harness.advance(3_000);
    }
    rig.harness.advance(2_000);
    assert!(!rig.has(|body| matches!(body, RequestKind::LeaveGroup(_))));
    rig.harness.take_events();
    rig.poll(1_000);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
    let (_, join) = rig.take_join();
    assert_eq!(
        (join.member_id, join.group_instance_id),
        (text(""), Some(text("i1")))
    );
}

#[test]
fn a_fenced_static_member_tells_its_application() {
    let mut rig = Rig::new(&[RANGE, MANUAL, ("group.instance.id", "i1")]);
    rig.join("range", &[0]);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::FencedInstanceId));
    let fenced = ClientError::Broker(ResponseError::FencedInstanceId);
    assert_eq!(failures(&mut rig), [fenced]);
}

#[test]
fn a_coordinator_that_stays_silent_is_looked_for_again() {
    let mut rig = Rig::new(&[
        RANGE,
        MANUAL,
        ("session.timeout.ms", "7000"),
        ("request.timeout.ms", "60000"),
    ]);
    rig.join("range", &[0]);
    rig.harness.advance(7_500);
    let is_lookup = |body: &RequestKind| matches!(body, RequestKind::FindCoordinator(_));
    assert!(rig.has(is_lookup));
    rig.answer_lookup();
    assert!(rig.has(|body| matches!(body, RequestKind::Heartbeat(_))));
}

#[test]
fn another_coordinator_is_asked_after_not_coordinator() {
    let mut rig = Rig::new(&[RANGE, MANUAL]);
    rig.subscribe();
    rig.poll(10_000);
    rig.answer_lookup();
    let (sent, _) = rig.take_join();
    rig.refuse_join(&sent, ResponseError::NotCoordinator);
    rig.answer_lookup();
    assert!(!rig.has(is_join), "it waits for retry.backoff.ms");
    rig.harness.advance(100);
    rig.rejoin("range", 1, &[0]);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Assigned, vec![0])
    );
}

#[test]
fn what_nobody_can_cure_is_told() {
    let mut rig = Rig::new(&[RANGE]);
    rig.subscribe();
    rig.poll(10_000);
    rig.answer_lookup();
    let (sent, _) = rig.take_join();
    rig.refuse_join(&sent, ResponseError::GroupMaxSizeReached);
    let full = ClientError::Broker(ResponseError::GroupMaxSizeReached);
    assert_eq!(failures(&mut rig), [full]);
}

#[test]
fn a_leader_rejoins_when_its_topics_grow() {
    let mut rig = Rig::new(&[COOPERATIVE, MANUAL, ("metadata.max.age.ms", "4000")]);
    rig.subscribe();
    rig.poll(60_000);
    rig.answer_lookup();
    let (sent, _) = rig.take_join();
    rig.answer_join(&sent, leader("cooperative-sticky", 1, &["m1"]));
    let (sent, _) = rig.take_sync();
    rig.answer_sync(&sent, &[0, 1, 2, 3]);
    rig.answer_callback();
    rig.answer_committed(5);
    rig.harness.leaders.push((1, 1));
    rig.harness.advance(3_000);
    rig.answer_heartbeat(None);
    rig.harness.advance(1_500);
    let (sent, _) = rig.take_join();
    rig.answer_join(&sent, leader("cooperative-sticky", 2, &["m1"]));
    let (_, sync) = rig.take_sync();
    let assigned = decode_assignment(&sync.assignments[0].assignment);
    assert_eq!(assigned, Ok(ps(&[0, 1, 2, 3, 4])));
}

#[test]
fn a_changed_subscription_gives_up_topics_and_rejoins() {
    let mut rig = Rig::new(&[COOPERATIVE, MANUAL]);
    rig.join("cooperative-sticky", &[0]);
    let to = crate::client::command::Subscription::Topics(vec![text("payments")]);
    rig.harness.command(Command::Subscribe { to });
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![0]));
    let (_, join) = rig.take_join();
    let metadata = Subscription::decode(&join.protocols[0].metadata).expect("our own");
    assert_eq!(metadata.topics, [text("payments")]);
    assert_ne!(metadata.topics, [orders()]);
}

#[test]
fn closing_commits_revokes_and_leaves() {
    let mut rig = Rig::new(&[RANGE]);
    rig.join("range", &[0, 1]);
    let op = rig.close();
    assert_eq!(rig.answer_commit(None), [(0, 5), (1, 5)]);
    assert_eq!(
        rig.answer_callback(),
        (RebalanceCallback::Revoked, vec![0, 1])
    );
    let done = |event: &Event| matches!(event, Event::Done { .. });
    assert!(!rig.harness.take_events().iter().any(done));
    assert_eq!(rig.answer_leave(), "m1");
    let result = Ok(());
    assert_eq!(rig.harness.take_events(), [Event::Done { op, result }]);
}

#[test]
fn closing_ends_whatever_the_coordinator_does() {
    let mut rig = Rig::new(&[RANGE]);
    rig.join("range", &[0]);
    let op = rig.close();
    rig.harness.advance(30_000);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![0]));
    rig.harness.advance(1_000);
    let result = Ok(());
    let events = rig.harness.take_events();
    assert!(events.contains(&Event::Done { op, result }), "{events:?}");
}

#[test]
fn a_wakeup_ends_the_poll_that_waits_or_the_next_one() {
    let mut rig = Rig::new(&[RANGE]);
    rig.join("range", &[0]);
    rig.harness.command(Command::Wakeup);
    assert_eq!(failures(&mut rig), [ClientError::Wakeup]);
    rig.harness.command(Command::Wakeup);
    assert_eq!(failures(&mut rig), []);
    rig.poll(1_000);
    assert_eq!(failures(&mut rig), [ClientError::Wakeup]);
}

#[test]
fn unsubscribing_leaves_and_subscribing_joins_again() {
    let mut rig = Rig::new(&[RANGE, MANUAL]);
    rig.join("range", &[0]);
    let op = rig.op();
    rig.harness.command(Command::Unsubscribe { op });
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![0]));
    let result = Ok(());
    assert!(
        rig.harness
            .take_events()
            .contains(&Event::Done { op, result })
    );
    assert_eq!(rig.answer_leave(), "m1");
    rig.subscribe();
    rig.poll(1_000);
    let (_, join) = rig.take_join();
    assert_eq!(join.member_id, text(""));
}
