//! What an admin client does when brokers answer, and when they do not.

use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsResponse, FindCoordinatorResponse, OffsetCommitResponse,
};

use super::*;
use crate::client::ClientKind;
use crate::client::command::OffsetAndMetadata;
use crate::client::testing::{Harness, Sent, orders};
use crate::types::{LeaderEpoch, Offset, TopicPartition};

const API_TIMEOUT_MS: u64 = 60_000;

fn create(op: u64) -> Command {
    Command::CreateTopic {
        op: OpId(op),
        name: orders(),
        partitions: 2,
        replication_factor: 3,
        configs: Vec::new(),
    }
}

fn answer(error_code: i16) -> ResponseKind {
    let result = CreatableTopicResult::default().with_error_code(error_code);
    ResponseKind::CreateTopics(CreateTopicsResponse::default().with_topics(vec![result]))
}

fn done(op: u64, result: Result<(), ClientError>) -> Event {
    let op = OpId(op);
    Event::Done { op, result }
}

#[test]
fn a_broker_without_a_controller_is_asked_again() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 0, None);
    admin.command(create(1));
    let sent = admin.sent.pop_front().expect("asked at once");
    admin.answer(&sent, answer(ResponseError::NotController.code()));
    assert!(admin.sent.is_empty() && admin.events.is_empty());
    admin.advance(200);
    let sent = admin.sent.pop_front().expect("asked again");
    admin.answer(&sent, answer(0));
    assert_eq!(admin.take_events(), [done(1, Ok(()))]);
}

#[test]
fn a_lost_answer_may_come_back_as_already_exists() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 0, None);
    admin.command(create(1));
    let node = admin.sent.front().expect("asked at once").node;
    admin.cut(node.0);
    admin.advance(300);
    let sent = admin.sent.pop_front().expect("asked again");
    let exists = ResponseError::TopicAlreadyExists;
    admin.answer(&sent, answer(exists.code()));
    assert_eq!(
        admin.take_events(),
        [done(1, Err(ClientError::Broker(exists)))]
    );
}

#[test]
fn a_call_ends_even_when_the_cluster_is_gone() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 0, None);
    for node in 1..=3 {
        admin.silent.push(NodeId(node));
        admin.cut(node);
    }
    admin.command(create(1));
    admin.advance(API_TIMEOUT_MS - 1);
    assert_eq!(admin.take_events(), []);
    admin.advance(1);
    assert_eq!(admin.take_events(), [done(1, Err(ClientError::TimedOut))]);
}

#[test]
fn a_closed_client_ends_what_it_is_asked() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 0, None);
    admin.command(create(1));
    admin.command(Command::Close { op: OpId(2) });
    admin.command(create(3));
    let closed = Err(ClientError::Closed);
    assert_eq!(
        admin.take_events(),
        [done(1, closed), done(2, Ok(())), done(3, closed)]
    );
}

fn p0() -> TopicPartition {
    TopicPartition {
        topic: orders(),
        partition: 0,
    }
}

fn group(op: u64, call: fn(StrBytes) -> GroupCall) -> Command {
    Command::Group {
        op: OpId(op),
        call: call(StrBytes::from_static_str("g")),
    }
}

fn alters(group: StrBytes) -> GroupCall {
    let offset = OffsetAndMetadata {
        offset: Offset(5),
        leader_epoch: LeaderEpoch(-1),
        metadata: StrBytes::default(),
    };
    GroupCall::AlterOffsets {
        group,
        offsets: vec![(p0(), offset)],
    }
}

fn found(node: i32) -> ResponseKind {
    let it = Coordinator::default().with_node_id(BrokerId(node));
    let all = FindCoordinatorResponse::default().with_coordinators(vec![it]);
    ResponseKind::FindCoordinator(all)
}

fn committed(code: i16) -> ResponseKind {
    let partition = OffsetCommitResponsePartition::default().with_error_code(code);
    let topic = OffsetCommitResponseTopic::default().with_partitions(vec![partition]);
    ResponseKind::OffsetCommit(OffsetCommitResponse::default().with_topics(vec![topic]))
}

/// Answers the lookup; what is asked of the coordinator then.
fn looked_up(admin: &mut Harness, node: i32) -> Sent {
    let sent = admin.sent.pop_front().expect("somebody is asked");
    assert!(matches!(sent.body, RequestKind::FindCoordinator(_)));
    admin.answer(&sent, found(node));
    admin.advance(0);
    let sent = admin.sent.pop_front().expect("the coordinator is asked");
    assert_eq!(sent.node, NodeId(node));
    sent
}

fn ended(
    op: u64,
    result: Result<GroupAnswer, ClientError>,
    unanswered: u32,
    definite: bool,
) -> Event {
    Event::Group {
        op: OpId(op),
        result,
        unanswered,
        definite,
    }
}

#[test]
fn a_group_is_dealt_with_by_its_coordinator() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 1, None);
    admin.command(group(1, alters));
    let sent = looked_up(&mut admin, 2);
    admin.answer(&sent, committed(ResponseError::NotCoordinator.code()));
    assert_eq!(admin.take_events(), []);
    admin.advance(200);
    let sent = looked_up(&mut admin, 3);
    admin.answer(&sent, committed(0));
    assert_eq!(
        admin.take_events(),
        [ended(1, Ok(GroupAnswer::Done), 0, false)]
    );
}

#[test]
fn a_refusal_is_definite_unless_an_earlier_attempt_may_count() {
    let refused = ResponseError::UnknownMemberId;
    let error = Err(ClientError::Broker(refused));
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 1, None);
    admin.command(group(1, alters));
    let sent = looked_up(&mut admin, 2);
    admin.answer(&sent, committed(refused.code()));
    assert_eq!(admin.take_events(), [ended(1, error.clone(), 0, true)]);

    admin.command(group(2, alters));
    let _ = looked_up(&mut admin, 2);
    admin.cut(2);
    admin.advance(300);
    let sent = looked_up(&mut admin, 3);
    admin.answer(&sent, committed(refused.code()));
    assert_eq!(admin.take_events(), [ended(2, error, 1, false)]);
}

#[test]
fn a_coordinator_that_says_nothing_may_act_later() {
    let mut admin = Harness::new(ClientKind::Admin(AdminConfig::default()), 1, None);
    admin.command(group(1, |group| GroupCall::Delete { group }));
    let sent = looked_up(&mut admin, 2);
    assert!(matches!(sent.body, RequestKind::DeleteGroups(_)));
    admin.command(Command::Close { op: OpId(2) });
    let closed = Err(ClientError::Closed);
    assert_eq!(
        admin.take_events(),
        [ended(1, closed, 1, false), done(2, Ok(()))]
    );
}
