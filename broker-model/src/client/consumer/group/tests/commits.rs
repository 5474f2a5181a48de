//! Commits, and where partitions start.

use kafka_protocol::messages::RequestKind;

use super::rig::{COOPERATIVE, RANGE, Rig, p, text, topic};
use crate::client::command::{
    ClientError, Command, CommitName, Event, OffsetAndMetadata, RebalanceCallback, ResetReason,
    StartFrom,
};
use crate::types::{LeaderEpoch, Offset, ResponseError};

const MANUAL: (&str, &str) = ("enable.auto.commit", "false");

fn is_commit(body: &RequestKind) -> bool {
    matches!(body, RequestKind::OffsetCommit(_))
}

/// A member that has read offsets 5 and 6 of partition 0.
fn at_offset_7(given: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new(given);
    rig.join("range", &[0]);
    rig.answer_fetch(0, 5, 2);
    assert_eq!(rig.polled()[0].1, [5, 6]);
    rig
}

#[test]
fn positions_are_committed_as_the_member_of_that_generation() {
    let mut rig = at_offset_7(&[RANGE, MANUAL]);
    let op = rig.commit(true);
    let waits = rig.harness.sent.iter();
    let commit = waits
        .filter_map(|sent| match &sent.body {
            RequestKind::OffsetCommit(commit) => Some(commit),
            _ => None,
        })
        .next()
        .expect("a commit waits");
    assert_eq!(commit.member_id, text("m1"));
    assert_eq!(commit.generation_id_or_member_epoch, 1);
    assert_eq!(commit.topics[0].name, topic());
    assert_eq!(commit.topics[0].partitions[0].committed_leader_epoch, 1);
    assert_eq!(rig.answer_commit(None), [(0, 7)]);
    assert_eq!(rig.committed(), [(CommitName::Call(op), true, false)]);
}

#[test]
fn a_synchronous_commit_is_repeated_at_the_new_coordinator() {
    let mut rig = at_offset_7(&[RANGE, MANUAL]);
    let op = rig.commit(true);
    rig.answer_commit(Some(ResponseError::NotCoordinator));
    assert_eq!(rig.committed(), []);
    rig.answer_lookup();
    rig.harness.advance(200);
    rig.answer_commit(None);
    assert_eq!(rig.committed(), [(CommitName::Call(op), true, false)]);
}

#[test]
fn an_asynchronous_commit_is_tried_once() {
    let mut rig = at_offset_7(&[RANGE, MANUAL]);
    let op = rig.commit(false);
    rig.answer_commit(Some(ResponseError::CoordinatorLoadInProgress));
    // The coordinator says so before it writes anything.
    assert_eq!(rig.committed(), [(CommitName::Call(op), false, true)]);
    let op = rig.commit(false);
    rig.harness.cut(2);
    assert_eq!(rig.committed(), [(CommitName::Call(op), false, false)]);
}

#[test]
fn a_synchronous_commit_times_out() {
    let mut rig = at_offset_7(&[RANGE, MANUAL, ("default.api.timeout.ms", "2000")]);
    let op = rig.commit(true);
    rig.harness.advance(2_000);
    let ended = Event::Committed {
        commit: CommitName::Call(op),
        member: crate::client::command::GroupMember {
            member_id: text("m1"),
            generation: 1,
        },
        result: Err(ClientError::TimedOut),
        attempts: 1,
        definite: false,
    };
    assert!(rig.harness.take_events().contains(&ended));
}

#[test]
fn nobody_commits_while_the_group_rebalances() {
    let mut rig = at_offset_7(&[RANGE, MANUAL]);
    rig.poll(10_000);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    // In the listener the old generation still counts.
    let (callback, ..) = rig.take_callback();
    rig.commit(true);
    rig.answer_commit(None);
    rig.callback_done(callback);
    rig.harness.take_events();
    let op = rig.op();
    let offset = OffsetAndMetadata {
        offset: Offset(9),
        leader_epoch: LeaderEpoch::NONE,
        metadata: text("w1"),
    };
    let offsets = Some(vec![(p(0), offset)]);
    let sync = true;
    rig.harness.command(Command::Commit { op, offsets, sync });
    assert_eq!(rig.committed(), [(CommitName::Call(op), false, true)]);
}

#[test]
fn a_commit_of_an_unknown_member_makes_it_rejoin() {
    let mut rig = at_offset_7(&[RANGE, MANUAL]);
    let op = rig.commit(true);
    rig.answer_commit(Some(ResponseError::UnknownMemberId));
    assert_eq!(rig.committed(), [(CommitName::Call(op), false, true)]);
    rig.poll(1_000);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
}

#[test]
fn automatic_commits_never_cover_the_poll_they_come_with() {
    let mut rig = at_offset_7(&[RANGE]);
    rig.harness.advance(6_000);
    rig.take_heartbeat();
    assert!(!rig.has(is_commit), "nobody polls");
    rig.answer_fetch(0, 7, 3);
    rig.poll(1_000);
    // What the earlier poll returned, not what this one does.
    assert_eq!(rig.polled()[0].1, [7, 8, 9]);
    assert_eq!(rig.answer_commit(None), [(0, 7)]);
    rig.poll(1_000);
    assert!(!rig.has(is_commit), "not before the next interval");
}

#[test]
fn an_eager_member_commits_before_it_gives_up() {
    let mut rig = at_offset_7(&[RANGE]);
    rig.poll(10_000);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    assert_eq!(rig.answer_commit(None), [(0, 7)]);
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Revoked, vec![0]));
}

#[test]
fn what_is_committed_before_a_rebalance_is_retried() {
    let mut rig = at_offset_7(&[RANGE]);
    rig.poll(10_000);
    rig.harness.advance(3_000);
    rig.answer_heartbeat(Some(ResponseError::RebalanceInProgress));
    rig.answer_commit(Some(ResponseError::CoordinatorLoadInProgress));
    rig.harness.advance(100);
    rig.answer_commit(Some(ResponseError::IllegalGeneration));
    // What cannot be cured does not hold up the rebalance.
    assert_eq!(rig.answer_callback(), (RebalanceCallback::Lost, vec![0]));
}

#[test]
fn without_a_committed_offset_the_reset_policy_counts() {
    let mut rig = Rig::new(&[RANGE, ("auto.offset.reset", "earliest")]);
    rig.subscribe();
    rig.poll(10_000);
    rig.answer_lookup();
    rig.rejoin("range", 1, &[0]);
    rig.answer_callback();
    rig.answer_committed(-1);
    assert!(rig.has(|body| matches!(body, RequestKind::ListOffsets(_))));
}

#[test]
fn without_a_policy_the_application_is_told() {
    let mut rig = Rig::new(&[RANGE, ("auto.offset.reset", "none")]);
    rig.subscribe();
    let op = rig.poll(10_000);
    rig.answer_lookup();
    rig.rejoin("range", 1, &[0]);
    rig.answer_callback();
    rig.answer_committed(-1);
    let error = ClientError::NoOffset;
    assert_eq!(rig.harness.take_events(), [Event::PollFailed { op, error }]);
    rig.poll(10_000);
    rig.answer_committed(4);
    let events = rig.harness.take_events();
    assert!(matches!(
        events[0],
        Event::Reset {
            to: Offset(4),
            why: ResetReason::Committed,
            ..
        }
    ));
}

#[test]
fn a_consumer_without_membership_starts_from_what_its_group_committed() {
    let mut rig = Rig::new(&[MANUAL]);
    let partitions = vec![(p(0), StartFrom::Committed)];
    rig.harness.command(Command::Assign { partitions });
    rig.poll(10_000);
    rig.answer_lookup();
    rig.answer_committed(3);
    rig.answer_fetch(0, 3, 1);
    assert_eq!(rig.polled()[0].1, [3]);
    rig.commit(true);
    let (_, commit) = rig.take_commit();
    assert_eq!(commit.generation_id_or_member_epoch, -1);
    assert_eq!(commit.member_id, text(""));
}

#[test]
fn the_application_asks_what_is_committed() {
    let mut rig = Rig::new(&[MANUAL]);
    let op = rig.op();
    let partitions = vec![p(0)];
    rig.harness.command(Command::Committed { op, partitions });
    rig.answer_lookup();
    rig.answer_committed(3);
    let events = rig.harness.take_events();
    let Event::CommittedOffsets {
        result: Ok(found), ..
    } = &events[0]
    else {
        panic!("{events:?}");
    };
    assert_eq!(found[0].1.as_ref().map(|one| one.offset), Some(Offset(3)));
}

#[test]
fn paused_partitions_return_nothing_until_they_are_resumed() {
    let mut rig = Rig::new(&[COOPERATIVE, MANUAL]);
    rig.join("cooperative-sticky", &[0]);
    rig.harness.command(Command::Pause {
        partitions: vec![p(0)],
    });
    rig.answer_fetch(0, 5, 2);
    assert_eq!(rig.polled(), []);
    rig.harness.command(Command::Resume {
        partitions: vec![p(0)],
    });
    assert_eq!(rig.polled()[0].1, [5, 6]);
}

#[test]
fn a_consumer_without_a_group_cannot_commit() {
    let config = crate::config::ConsumerConfig::default();
    let kind = crate::client::ClientKind::Consumer(config);
    let mut harness = crate::client::testing::Harness::new(kind, 1, None);
    let op = crate::client::command::OpId(1);
    let (offsets, sync) = (None, true);
    harness.command(Command::Commit { op, offsets, sync });
    let events = harness.take_events();
    assert!(matches!(
        events[0],
        Event::Committed {
            result: Err(ClientError::NoGroup),
            ..
        }
    ));
}
