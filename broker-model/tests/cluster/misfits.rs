//! What a member of a group may do wrong: it is told so in Kafka's error codes, and costs the others
//! one timeout at most.

use std::collections::BTreeSet;

use broker_model::types::StrBytes;
use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DescribeGroupsRequest, GroupId,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, RequestKind,
    ResponseKind, SyncGroupRequest, SyncGroupResponse, TopicName,
};

use crate::groups::{Asked, GROUP, TOPIC};
use crate::world::Actor;

const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const REBALANCE_IN_PROGRESS: i16 = 27;
const GROUP_ID_NOT_FOUND: i16 = 69;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_MEMBER_EPOCH: i16 = 110;
const STALE_MEMBER_EPOCH: i16 = 113;
const INVALID_REGULAR_EXPRESSION: i16 = 128;

const SESSION_MS: i32 = 6_000;
const REBALANCE_MS: i32 = 20_000;
/// Between two heartbeats.
const BEAT_MS: u64 = 500;

/// One node, and those who ask it.
struct Circle {
    asked: Asked,
    coordinator: Actor,
}

/// Somebody in the group.
#[derive(Clone)]
struct Somebody {
    hand: Actor,
    id: StrBytes,
    generation: i32,
}

impl Circle {
    fn new() -> Self {
        let mut asked = Asked::of(1, 0);
        let coordinator = asked.coordinator(&[1]);
        let mut circle = Circle { asked, coordinator };
        // Until the coordinator has loaded.
        let anybody = circle.somebody();
        let beat = || anybody.beat();
        while circle.code(&anybody, 4, beat()) != UNKNOWN_MEMBER_ID {
            circle.asked.world.run_for(100);
        }
        circle
    }

    fn somebody(&mut self) -> Somebody {
        Somebody {
            hand: self.asked.world.start_hand(),
            id: StrBytes::default(),
            generation: -1,
        }
    }

    fn ask(&mut self, who: &Somebody, version: i16, request: RequestKind) -> ResponseKind {
        let (world, to) = (&mut self.asked.world, (self.coordinator, 30_000));
        let answer = world.ask(who.hand, to, version, request);
        answer.expect("it is answered")
    }

    /// The error code of the answer.
    fn code(&mut self, who: &Somebody, version: i16, request: RequestKind) -> i16 {
        match self.ask(who, version, request) {
            ResponseKind::JoinGroup(it) => it.error_code,
            ResponseKind::SyncGroup(it) => it.error_code,
            ResponseKind::Heartbeat(it) => it.error_code,
            ResponseKind::ConsumerGroupHeartbeat(it) => it.error_code,
            ResponseKind::OffsetCommit(it) => it.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn post(&mut self, who: &Somebody, request: JoinGroupRequest) {
        let request = RequestKind::JoinGroup(request);
        let to = self.coordinator;
        self.asked.world.post(who.hand, to, 9, request);
    }

    fn joined(&mut self, who: &mut Somebody, within_ms: u64) -> Option<JoinGroupResponse> {
        let answer = self.asked.world.answer(who.hand, within_ms)?;
        let ResponseKind::JoinGroup(it) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(it.error_code, 0);
        who.generation = it.generation_id;
        Some(it)
    }

    /// Somebody new is told its id.
    fn newcomer(&mut self) -> Somebody {
        let mut new = self.somebody();
        match self.ask(&new.clone(), 9, RequestKind::JoinGroup(new.join())) {
            ResponseKind::JoinGroup(it) if it.error_code == MEMBER_ID_REQUIRED => {
                new.id = it.member_id;
            }
            other => panic!("{other:?}"),
        }
        new
    }

    fn sync(&mut self, who: &Somebody, parts: &[(&Somebody, &'static [u8])]) -> SyncGroupResponse {
        match self.ask(who, 5, who.sync(parts)) {
            ResponseKind::SyncGroup(it) => it,
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of two, the first of which leads.
    fn two(&mut self) -> (Somebody, Somebody) {
        let (mut one, mut two) = (self.newcomer(), self.newcomer());
        self.post(&one, one.join());
        self.post(&two, two.join());
        let (first, _) = (self.joined(&mut one, 1_000), self.joined(&mut two, 1_000));
        // The one may have been let in alone.
        if first.is_none_or(|it| it.members.len() < 2) || one.generation != two.generation {
            self.post(&one, one.join());
            assert!(self.joined(&mut one, 1_000).is_some());
            assert!(self.joined_or_was(&mut two));
        }
        assert_eq!(one.generation, two.generation);
        self.sync(&one, &[(&one, b"1"), (&two, b"2")]);
        assert_eq!(self.sync(&two, &[]).error_code, 0);
        (one, two)
    }

    fn joined_or_was(&mut self, who: &mut Somebody) -> bool {
        who.generation != -1 || self.joined(who, 1_000).is_some()
    }

    /// The one beats its heart until it has to join, joins, and is in again; the other did not.
    /// Returns how long that took.
    fn until_without_the_other(&mut self, one: &mut Somebody) -> u64 {
        let start_ms = self.asked.world.now_ms;
        while self.code(one, 4, one.beat()) != REBALANCE_IN_PROGRESS {
            self.asked.world.run_for(BEAT_MS);
            let passed = self.asked.world.now_ms - start_ms;
            assert!(passed < 60_000, "the silent one is still in");
        }
        self.post(one, one.join());
        let joined = self.joined(one, 60_000).expect("the join phase ends");
        assert_eq!(joined.members.len(), 1, "the silent one is still in");
        assert_eq!(self.sync(one, &[(one, b"1")]).error_code, 0);
        self.asked.world.now_ms - start_ms
    }

    /// For a minute nobody has to join.
    fn assert_calm(&mut self, one: &Somebody) {
        for _ in 0..120 {
            assert_eq!(self.code(one, 4, one.beat()), 0);
            self.asked.world.run_for(BEAT_MS);
        }
    }

    fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let anybody = self.somebody();
        match self.ask(&anybody, 1, RequestKind::ConsumerGroupHeartbeat(request)) {
            ResponseKind::ConsumerGroupHeartbeat(it) => it,
            other => panic!("{other:?}"),
        }
    }
}

impl Somebody {
    fn join(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"no subscription"));
        JoinGroupRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    fn sync(&self, parts: &[(&Somebody, &'static [u8])]) -> RequestKind {
        let parts = parts.iter().map(|(who, part)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(who.id.clone())
                .with_assignment(Bytes::from_static(part))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation)
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(parts.collect());
        RequestKind::SyncGroup(request)
    }

    fn beat(&self) -> RequestKind {
        let request = HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id(self.generation);
        RequestKind::Heartbeat(request)
    }

    fn commit(&self, metadata_len: usize) -> RequestKind {
        let metadata = StrBytes::from_string("m".repeat(metadata_len));
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(1)
            .with_committed_metadata(Some(metadata));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id_or_member_epoch(self.generation)
            .with_topics(vec![topic]);
        RequestKind::OffsetCommit(request)
    }
}

fn group() -> GroupId {
    GroupId(text(GROUP))
}

fn text(of: &'static str) -> StrBytes {
    StrBytes::from_static_str(of)
}

/// A member of the consumer protocol.
fn alive(member: &'static str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_member_epoch(epoch);
    match epoch {
        0 => request
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_subscribed_topic_names(Some(vec![TopicName(text(TOPIC))]))
            .with_topic_partitions(Some(Vec::new())),
        _ => request,
    }
}

/// It says that it owns just that.
fn owning(
    request: ConsumerGroupHeartbeatRequest,
    owned: Vec<TopicPartitions>,
) -> ConsumerGroupHeartbeatRequest {
    request.with_topic_partitions(Some(owned))
}

/// What the answer assigns, as the member would say that it owns it.
fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Vec<TopicPartitions> {
    let assignment = answer.assignment.as_ref().expect("an assignment");
    let topics = assignment.topic_partitions.iter().map(|topic| {
        TopicPartitions::default()
            .with_topic_id(topic.topic_id)
            .with_partitions(topic.partitions.clone())
    });
    topics.collect()
}

#[test]
fn a_session_timeout_out_of_bounds_is_refused() {
    let mut circle = Circle::new();
    let anybody = circle.somebody();
    for timeout_ms in [i32::MIN, -1, 0, 5_999, 1_800_001, i32::MAX] {
        let join = anybody.join().with_session_timeout_ms(timeout_ms);
        let code = circle.code(&anybody, 9, RequestKind::JoinGroup(join));
        assert_eq!(code, INVALID_SESSION_TIMEOUT, "{timeout_ms}");
    }
    for timeout_ms in [6_000, 1_800_000] {
        let join = anybody.join().with_session_timeout_ms(timeout_ms);
        let code = circle.code(&anybody, 9, RequestKind::JoinGroup(join));
        assert_eq!(code, MEMBER_ID_REQUIRED, "{timeout_ms}");
    }
}

#[test]
fn strangers_and_those_of_old_generations_are_refused() {
    let mut circle = Circle::new();
    let (one, _) = circle.two();
    let mut stranger = one.clone();
    stranger.id = text("nobody");
    let mut old = one.clone();
    old.generation -= 1;
    for (who, code) in [(stranger, UNKNOWN_MEMBER_ID), (old, ILLEGAL_GENERATION)] {
        assert_eq!(circle.code(&who, 4, who.beat()), code);
        assert_eq!(circle.code(&who, 5, who.sync(&[])), code);
        assert_eq!(circle.code(&who, 9, who.commit(1)), code);
    }
    assert_eq!(circle.code(&one, 9, one.commit(1)), 0);
}

#[test]
fn metadata_that_is_too_long_is_not_committed() {
    let mut circle = Circle::new();
    let (one, _) = circle.two();
    assert_eq!(circle.code(&one, 9, one.commit(4_096)), 0);
    let told = circle.code(&one, 9, one.commit(4_097));
    assert_eq!(told, OFFSET_METADATA_TOO_LARGE);
}

#[test]
fn what_is_no_subscription_and_no_assignment_is_passed_on_as_it_is() {
    let mut circle = Circle::new();
    let (one, two) = circle.two();
    // A coordinator of the classic protocol does not read what its members agree on.
    assert_eq!(&*circle.sync(&two, &[]).assignment, b"2");
    let request = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let answer = circle.ask(&one, 6, RequestKind::DescribeGroups(request));
    let ResponseKind::DescribeGroups(described) = answer else {
        panic!("{answer:?}");
    };
    let members = &described.groups[0].members;
    let told: BTreeSet<_> = members.iter().map(|it| &*it.member_assignment).collect();
    assert_eq!(told, BTreeSet::from([&b"1"[..], b"2"]));
    assert!(
        members
            .iter()
            .all(|it| &*it.member_metadata == b"no subscription")
    );
    for who in [one, two] {
        assert_eq!(circle.code(&who, 4, who.beat()), 0);
    }
}

#[test]
fn a_silent_member_costs_one_session_timeout() {
    let mut circle = Circle::new();
    let (mut one, _) = circle.two();
    let took_ms = circle.until_without_the_other(&mut one);
    let session_ms = u64::try_from(SESSION_MS).expect("positive");
    let bounds = session_ms - BEAT_MS..=session_ms + 2 * BEAT_MS;
    assert!(bounds.contains(&took_ms), "{took_ms} ms");
    circle.assert_calm(&one);
}

#[test]
fn a_member_that_lives_but_does_not_join_costs_one_rebalance_timeout() {
    let mut circle = Circle::new();
    let (mut one, two) = circle.two();
    let mut new = circle.newcomer();
    let start_ms = circle.asked.world.now_ms;
    circle.post(&new, new.join());
    circle.post(&one, one.join());
    while circle.joined(&mut one, BEAT_MS).is_none() {
        let passed_ms = circle.asked.world.now_ms - start_ms;
        assert!(passed_ms < 60_000, "the join phase does not end");
        let told = circle.code(&two, 4, two.beat());
        assert!([REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID].contains(&told));
    }
    let took_ms = circle.asked.world.now_ms - start_ms;
    let rebalance_ms = u64::try_from(REBALANCE_MS).expect("positive");
    let bounds = rebalance_ms - BEAT_MS..=rebalance_ms + 2 * BEAT_MS;
    assert!(bounds.contains(&took_ms), "{took_ms} ms");
    let joined = circle.joined(&mut new, 1_000).expect("both are told");
    assert_eq!(joined.generation_id, one.generation);
    assert_eq!(circle.code(&two, 4, two.beat()), UNKNOWN_MEMBER_ID);
}

#[test]
fn an_expression_that_is_none_and_epochs_that_are_wrong_are_refused() {
    let mut circle = Circle::new();
    let broken = alive("m1", 0)
        .with_subscribed_topic_names(Some(Vec::new()))
        .with_subscribed_topic_regex(Some(text("ord(")));
    assert_eq!(circle.beat(broken).error_code, INVALID_REGULAR_EXPRESSION);
    // What was refused has made no group.
    assert_eq!(circle.beat(alive("m1", 5)).error_code, GROUP_ID_NOT_FOUND);
    let joined = circle.beat(alive("m1", 0));
    assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
    assert_eq!(circle.beat(alive("m1", 9)).error_code, FENCED_MEMBER_EPOCH);
    assert_eq!(circle.beat(alive("m2", 1)).error_code, UNKNOWN_MEMBER_ID);
    let mut member = circle.somebody();
    member.id = text("m1");
    member.generation = 9;
    let told = circle.code(&member, 9, member.commit(1));
    assert_eq!(told, STALE_MEMBER_EPOCH);
    member.generation = 1;
    assert_eq!(circle.code(&member, 9, member.commit(1)), 0);
    let told = circle.code(&member, 9, member.commit(4_097));
    assert_eq!(told, OFFSET_METADATA_TOO_LARGE);
}

#[test]
fn who_does_not_give_up_costs_one_rebalance_timeout() {
    let mut circle = Circle::new();
    let all = assigned(&circle.beat(alive("m1", 0)));
    circle.beat(owning(alive("m1", 1), all.clone()));
    let start_ms = circle.asked.world.now_ms;
    let second = circle.beat(alive("m2", 0));
    let mut epoch = second.member_epoch;
    let mut owned = assigned(&second);
    // The first lives, and says that it keeps what it has.
    while owned.iter().all(|topic| topic.partitions.len() < 2) {
        let passed_ms = circle.asked.world.now_ms - start_ms;
        assert!(passed_ms < 60_000, "it waits for ever");
        circle.beat(owning(alive("m1", 1), all.clone()));
        let answer = circle.beat(owning(alive("m2", epoch), owned.clone()));
        assert_eq!(answer.error_code, 0);
        epoch = answer.member_epoch;
        if answer.assignment.is_some() {
            owned = assigned(&answer);
        }
        circle.asked.world.run_for(BEAT_MS);
    }
    let took_ms = circle.asked.world.now_ms - start_ms;
    let rebalance_ms = u64::try_from(REBALANCE_MS).expect("positive");
    let bounds = rebalance_ms - BEAT_MS..=rebalance_ms + 3 * BEAT_MS;
    assert!(bounds.contains(&took_ms), "{took_ms} ms");
    assert_eq!(circle.beat(alive("m1", 1)).error_code, UNKNOWN_MEMBER_ID);
}
