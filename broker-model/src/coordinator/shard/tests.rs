//! A shard decides, and the test says when what it wrote is committed.

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    GroupId, JoinGroupRequest, OffsetCommitRequest, ResponseKind, TopicName,
};

use super::Shard;
use crate::config::BrokerConfig;
use crate::coordinator::record::Record;
use crate::coordinator::turn::{Caller, Decision, TimerKey, Turn};
use crate::effect::Effects;
use crate::ids::IdSource;
use crate::metadata::MetadataImage;
use crate::types::{ConnectionId, Now, StrBytes};

struct Rig {
    shard: Shard,
    config: BrokerConfig,
    image: MetadataImage,
    ids: IdSource,
    effects: Effects,
    wall_ms: i64,
}

impl Rig {
    fn new() -> Self {
        Rig {
            shard: Shard::default(),
            config: BrokerConfig::default(),
            image: MetadataImage::empty(),
            ids: IdSource::new(1),
            effects: Effects::new(),
            wall_ms: 1_000,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: 0,
            wall_ms: self.wall_ms,
        }
    }

    /// A decision whose records are not written yet.
    fn decide(&mut self, decide: impl FnOnce(&mut Shard, &mut Turn<'_>)) -> Decision {
        let mut turn = Turn {
            partition: 0,
            now: self.now(),
            ids: &mut self.ids,
            image: &self.image,
            config: &self.config,
            effects: &mut self.effects,
            decision: Decision::default(),
        };
        self.shard.begin();
        decide(&mut self.shard, &mut turn);
        turn.decision
    }

    /// A decision that is written and not committed.
    fn write(&mut self, decide: impl FnOnce(&mut Shard, &mut Turn<'_>)) -> Decision {
        let decision = self.decide(decide);
        let now = self.now();
        for record in &decision.records {
            self.shard.replay(now, record, true);
        }
        decision
    }

    fn commit(&mut self, records: &[Record]) {
        for record in records {
            self.shard.commit(record);
        }
    }

    fn fetch(&self) -> i64 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(TopicName(text("t")))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_topics(Some(vec![topic]));
        let fetched = self.shard.fetch_committed(&request).expect("may fetch");
        fetched.topics[0].partitions[0].committed_offset
    }

    fn state(&self) -> (String, i16) {
        let described = self.shard.describe(&text("g"), 6);
        (described.group_state.to_string(), described.error_code)
    }
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn caller(version: i16) -> Caller {
    Caller {
        conn: ConnectionId(1),
        correlation_id: 1,
        version,
        client_id: text("c"),
    }
}

fn offset(offset: i64, generation: i32) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic])
}

fn commit(version: i16, request: OffsetCommitRequest) -> impl FnOnce(&mut Shard, &mut Turn<'_>) {
    move |shard, turn| shard.commit_offsets(turn, caller(version), &request, Vec::new())
}

fn code(answer: &ResponseKind) -> i16 {
    match answer {
        ResponseKind::OffsetCommit(it) => it.topics[0].partitions[0].error_code,
        ResponseKind::DeleteGroups(it) => it.results[0].error_code,
        ResponseKind::JoinGroup(it) => it.error_code,
        other => panic!("{other:?}"),
    }
}

fn join(member: &'static str) -> impl FnOnce(&mut Shard, &mut Turn<'_>) {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_session_timeout_ms(10_000)
        .with_protocols(vec![protocol]);
    move |shard, turn| shard.join(turn, caller(9), text("/h"), &request)
}

fn delete(shard: &mut Shard, turn: &mut Turn<'_>) {
    shard.delete_groups(turn, caller(2), &[group()]);
}

#[test]
fn whoever_names_no_generation_needs_no_group() {
    let mut rig = Rig::new();
    let decision = rig.write(commit(9, offset(5, -1)));
    assert_eq!((decision.records.len(), decision.at_once.len()), (1, 0));
    assert_eq!(code(&decision.answers[0].1), 0);
}

#[test]
fn whoever_names_a_generation_of_a_group_that_is_not_there_is_refused_at_once() {
    for (version, expected) in [(9, 69), (8, 22)] {
        let mut rig = Rig::new();
        let decision = rig.write(commit(version, offset(5, 1)));
        assert!(decision.records.is_empty() && decision.answers.is_empty());
        assert_eq!(code(&decision.at_once[0].1), expected);
    }
}

#[test]
fn an_offset_is_seen_when_it_is_committed_and_not_before() {
    let mut rig = Rig::new();
    let decision = rig.write(commit(9, offset(5, -1)));
    assert_eq!((rig.fetch(), rig.state().0), (-1, "Dead".to_owned()));
    rig.commit(&decision.records);
    assert_eq!((rig.fetch(), rig.state().0), (5, "Empty".to_owned()));
}

#[test]
fn a_group_that_was_made_for_records_that_could_not_be_written_was_not_there() {
    let mut rig = Rig::new();
    rig.decide(commit(9, offset(5, -1)));
    assert_eq!(rig.shard.groups.len(), 1);
    let undo = rig.shard.take_undo();
    rig.shard.revert(undo);
    assert!(rig.shard.groups.is_empty());
    // A group that was there before stays.
    rig.write(commit(9, offset(5, -1)));
    rig.decide(commit(9, offset(6, -1)));
    let undo = rig.shard.take_undo();
    rig.shard.revert(undo);
    assert_eq!(rig.shard.groups.len(), 1);
}

#[test]
fn a_deleted_group_is_seen_until_that_is_committed() {
    let mut rig = Rig::new();
    assert_eq!(code(&rig.write(delete).answers[0].1), 69);
    let decision = rig.write(commit(9, offset(5, -1)));
    rig.commit(&decision.records);
    let decision = rig.write(delete);
    assert_eq!(code(&decision.answers[0].1), 0);
    assert_eq!((rig.fetch(), rig.state()), (5, ("Empty".to_owned(), 0)));
    assert_eq!(rig.shard.take_removed().len(), 1);
    rig.commit(&decision.records);
    assert_eq!((rig.fetch(), rig.state()), (-1, ("Dead".to_owned(), 69)));
    assert!(rig.shard.leaving.is_empty());
}

#[test]
fn a_group_goes_with_its_last_offset_and_not_before() {
    let mut rig = Rig::new();
    rig.config.offsets_retention_minutes = 1;
    rig.write(commit(9, offset(5, -1)));
    let clean_up = |shard: &mut Shard, turn: &mut Turn<'_>| {
        shard.on_timer(turn, &TimerKey::Cleanup);
    };
    rig.wall_ms += 59_999;
    let decision = rig.write(clean_up);
    assert_eq!((decision.records.len(), decision.timers.len()), (0, 1));
    rig.wall_ms += 1;
    let decision = rig.write(clean_up);
    assert_eq!((decision.records.len(), decision.timers.len()), (2, 1));
    assert!(rig.shard.groups.is_empty());
}

#[test]
fn a_group_is_made_for_who_has_no_member_id_yet_and_for_nobody_else() {
    let mut rig = Rig::new();
    let decision = rig.write(join("m"));
    assert_eq!(code(&decision.at_once[0].1), 25);
    assert!(rig.shard.groups.is_empty());
    let decision = rig.write(join(""));
    assert_eq!((decision.records.len(), rig.shard.groups.len()), (1, 1));
    rig.commit(&decision.records);
    assert_eq!(rig.state(), ("Empty".to_owned(), 0));
}

#[test]
fn an_empty_consumer_group_becomes_a_classic_one() {
    use crate::coordinator::record::ConsumerGroupMetadataValue;
    let mut rig = Rig::new();
    let epoch = Record::ConsumerGroupMetadata {
        group: text("g"),
        value: Some(ConsumerGroupMetadataValue {
            epoch: 3,
            metadata_hash: 0,
        }),
    };
    let now = rig.now();
    rig.shard.replay(now, &epoch, false);
    rig.shard.commit(&epoch);
    let consumers = |rig: &Rig| rig.shard.list(&[], &[text("consumer")]).len();
    assert_eq!(consumers(&rig), 1);
    let decision = rig.write(join(""));
    assert_eq!(consumers(&rig), 1, "it is there until its end is committed");
    rig.commit(&decision.records);
    assert_eq!(consumers(&rig), 0);
    assert_eq!(rig.state(), ("Empty".to_owned(), 0));
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let mut rig = Rig::new();
    let mut log = rig.write(commit(9, offset(5, -1))).records;
    log.extend(rig.write(delete).records);
    log.extend(rig.write(commit(9, offset(7, -1))).records);
    rig.commit(&log);
    let mut next = Rig::new();
    for record in &log {
        let (key, value) = record.encode();
        let record = Record::decode(&key, value.as_deref()).expect("our own");
        let record = record.expect("a schema that is known");
        next.shard.replay(rig.now(), &record, false);
        next.shard.commit(&record);
    }
    assert_eq!((next.fetch(), next.state()), (rig.fetch(), rig.state()));
    assert_eq!(next.fetch(), 7);
}
