//! One group, with its records replayed as soon as they are decided.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, OffsetCommitRequest, ResponseKind, TopicName,
};

use super::super::ConsumerGroup;
use crate::config::BrokerConfig;
use crate::coordinator::record::{Record, TopicPartitions};
use crate::coordinator::turn::{Caller, Decision, TimerChange, TimerKey, Turn};
use crate::effect::Effects;
use crate::ids::IdSource;
use crate::metadata::record::{PartitionRecord, RemoveTopicRecord, TopicRecord};
use crate::metadata::{MetadataDelta, MetadataImage, MetadataRecord};
use crate::types::{
    ConnectionId, LeaderEpoch, NodeId, Now, Offset, PartitionEpoch, ResponseError, StrBytes,
    TopicIdPartition, Uuid,
};

/// The group and all that it sees.
pub(super) struct Rig {
    pub(super) group: ConsumerGroup,
    pub(super) image: MetadataImage,
    pub(super) config: BrokerConfig,
    pub(super) timers: BTreeMap<TimerKey, u64>,
    pub(super) log: Vec<Record>,
    pub(super) now_ms: u64,
    ids: IdSource,
    effects: Effects,
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The id of the topic with that name: its letters.
pub(super) fn topic_id(name: &str) -> Uuid {
    let bits = name
        .bytes()
        .fold(0, |bits, byte| bits << 8 | u128::from(byte));
    Uuid::from_u128(bits)
}

/// Topics and partitions, such as `a 0 1 2, b 0`.
pub(super) fn partitions(listed: &str) -> TopicPartitions {
    let topics = listed.split(',').filter(|topic| !topic.trim().is_empty());
    let parse = |topic: &str| {
        let mut words = topic.split_whitespace();
        let name = words.next().expect("a topic's name");
        let indexes = words.map(|index| index.parse::<i32>().expect("an index"));
        (topic_id(name), indexes.collect())
    };
    topics.map(parse).collect()
}

/// The other way round.
pub(super) fn listed(partitions: &TopicPartitions) -> String {
    let topic = |(id, indexes): (&Uuid, &BTreeSet<i32>)| {
        let bytes = id.as_bytes().iter().copied().filter(|&byte| byte != 0);
        let mut line: String = bytes.map(char::from).collect();
        for index in indexes {
            line += &format!(" {index}");
        }
        line
    };
    partitions.iter().map(topic).collect::<Vec<_>>().join(", ")
}

/// A heartbeat that says nothing but the epoch.
pub(super) fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

/// A heartbeat that says what the member owns.
pub(super) fn owns(member: &str, epoch: i32, listed: &str) -> ConsumerGroupHeartbeatRequest {
    let topics = partitions(listed).into_iter().map(|(id, indexes)| {
        Owned::default()
            .with_topic_id(id)
            .with_partitions(indexes.into_iter().collect())
    });
    beat(member, epoch).with_topic_partitions(Some(topics.collect()))
}

/// A first heartbeat.
pub(super) fn join(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    reads(owns(member, 0, ""), topics).with_rebalance_timeout_ms(30_000)
}

/// A first heartbeat of a static member.
pub(super) fn join_as(
    instance: &str,
    member: &str,
    topics: &[&str],
) -> ConsumerGroupHeartbeatRequest {
    join(member, topics).with_instance_id(Some(text(instance)))
}

/// The same that names these topics.
pub(super) fn reads(
    request: ConsumerGroupHeartbeatRequest,
    topics: &[&str],
) -> ConsumerGroupHeartbeatRequest {
    let names = topics.iter().map(|topic| TopicName(text(topic)));
    request.with_subscribed_topic_names(Some(names.collect()))
}

/// The same with that expression.
pub(super) fn matching(
    request: ConsumerGroupHeartbeatRequest,
    regex: &str,
) -> ConsumerGroupHeartbeatRequest {
    request.with_subscribed_topic_regex(Some(text(regex)))
}

/// Topics with so many partitions.
pub(super) fn world(topics: &[(&str, i32)]) -> MetadataImage {
    let mut image = MetadataImage::empty();
    for &(topic, partitions) in topics {
        add(&mut image, topic, partitions);
    }
    image
}

/// A topic, or more partitions for one.
fn add(image: &mut MetadataImage, topic: &str, partitions: i32) {
    let id = topic_id(topic);
    let known = image.topic(id).map(|topic| topic.partitions.len());
    if known.is_none() {
        let name = text(topic);
        learn(image, &MetadataRecord::Topic(TopicRecord { name, id }));
    }
    let known = i32::try_from(known.unwrap_or(0)).expect("a count");
    for partition in known..partitions {
        let partition = TopicIdPartition {
            topic: id,
            partition,
        };
        let record = PartitionRecord {
            partition,
            replicas: vec![NodeId(1)],
            isr: vec![NodeId(1)],
            removing: vec![],
            adding: vec![],
            leader: NodeId(1),
            recovering: false,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            directories: vec![],
        };
        learn(image, &MetadataRecord::Partition(record));
    }
}

fn learn(image: &mut MetadataImage, record: &MetadataRecord) {
    let next = Offset(image.offset().0 + 1);
    image.replay(next, record, &mut MetadataDelta::default());
}

/// A group in a few lines.
pub(super) fn show(group: &ConsumerGroup) -> String {
    let mut lines = vec![format!(
        "{} epoch {} target {}",
        group.state_name(),
        group.epoch,
        group.target_epoch
    )];
    for member in group.members.values() {
        let mut line = format!("{} epoch {} {:?}", member.id, member.epoch, member.state);
        line += &format!(" [{}]", listed(&member.assigned));
        if !member.pending_revocation.is_empty() {
            line += &format!(" not [{}]", listed(&member.pending_revocation));
        }
        if let Some(target) = group.target.get(&member.id)
            && target != &member.assigned
        {
            line += &format!(" wants [{}]", listed(target));
        }
        if member.is_classic() {
            line += " classic";
        }
        lines.push(line);
    }
    lines.join("\n")
}

impl Rig {
    /// A group without records, and topics with so many partitions.
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        Rig {
            group: ConsumerGroup::new(text("g")),
            image: world(topics),
            config: BrokerConfig::default(),
            timers: BTreeMap::new(),
            log: Vec::new(),
            now_ms: 1_000_000,
            ids: IdSource::new(7),
            effects: Effects::new(),
        }
    }

    /// A topic, or more partitions for one.
    pub(super) fn create(&mut self, topic: &str, partitions: i32) {
        add(&mut self.image, topic, partitions);
        self.turn(|group, turn| group.on_metadata(turn));
    }

    pub(super) fn delete(&mut self, topic: &str) {
        let id = topic_id(topic);
        let record = MetadataRecord::RemoveTopic(RemoveTopicRecord { id });
        learn(&mut self.image, &record);
        self.turn(|group, turn| group.on_metadata(turn));
    }

    /// One decision, taken and written.
    pub(super) fn turn(
        &mut self,
        decide: impl FnOnce(&mut ConsumerGroup, &mut Turn<'_>),
    ) -> Decision {
        let mut turn = Turn {
            partition: 0,
            now: Now {
                mono_ms: self.now_ms,
                wall_ms: i64::try_from(self.now_ms).expect("not that late"),
            },
            ids: &mut self.ids,
            image: &self.image,
            config: &self.config,
            effects: &mut self.effects,
            decision: Decision::default(),
        };
        decide(&mut self.group, &mut turn);
        let decision = turn.decision;
        for record in &decision.records {
            self.group.replay(record);
        }
        self.log.extend(decision.records.iter().cloned());
        for change in &decision.timers {
            match change {
                TimerChange::Start(key, ms) => {
                    self.timers.insert(key.clone(), self.now_ms + ms);
                }
                TimerChange::Stop(key) => {
                    self.timers.remove(key);
                }
            }
        }
        self.check();
        decision
    }

    /// What has to hold between any two decisions.
    fn check(&self) {
        let mut owners = BTreeMap::new();
        for member in self.group.members.values() {
            for part in [&member.assigned, &member.pending_revocation] {
                for partition in super::super::group::each(part) {
                    let before = owners.insert(partition, member.epoch);
                    assert_eq!(before, None, "{partition:?} has two owners");
                }
            }
            let gone = member.epoch < 0;
            assert!(gone || member.epoch <= self.group.epoch, "{member:?}");
        }
        assert_eq!(owners, self.group.partition_epochs);
    }

    /// Sends a heartbeat: the answer's epoch and assignment, or its error.
    pub(super) fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> String {
        self.send_as(1, request)
    }

    /// The same in that version.
    pub(super) fn send_as(
        &mut self,
        version: i16,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> String {
        let caller = caller(version);
        let host = text("/127.0.0.1");
        let decision = self.turn(|group, turn| group.heartbeat(turn, caller, host, request));
        let mut answers = decision.answers.into_iter().chain(decision.at_once);
        let Some((_, ResponseKind::ConsumerGroupHeartbeat(answer))) = answers.next() else {
            panic!("no answer");
        };
        assert!(answers.next().is_none(), "two answers");
        if answer.error_code != 0 {
            let error = ResponseError::try_from_code(answer.error_code);
            assert!(decision.records.is_empty(), "a refusal that writes");
            return format!("{:?}", error.expect("an error"));
        }
        let mut told = format!("epoch {}", answer.member_epoch);
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            let topics = topics.map(|it| (it.topic_id, it.partitions.into_iter().collect()));
            told += &format!(" [{}]", listed(&topics.collect()));
        }
        told
    }

    /// Lets time pass, and fires what is due.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let due = self.timers.iter().min_by_key(|(_, at)| **at);
            let Some((key, at)) = due.map(|(key, &at)| (key.clone(), at)) else {
                break;
            };
            if end < at {
                break;
            }
            self.now_ms = self.now_ms.max(at);
            self.timers.remove(&key);
            self.turn(|group, turn| group.on_timer(turn, &key));
        }
        self.now_ms = end;
    }

    /// The group in a few lines.
    pub(super) fn show(&self) -> String {
        show(&self.group)
    }

    /// Members with a running session timer.
    pub(super) fn sessions(&self) -> Vec<String> {
        let of = |key: &TimerKey| match key {
            TimerKey::Session { member, .. } => Some(member.to_string()),
            _ => None,
        };
        self.timers.keys().filter_map(of).collect()
    }

    /// The same records in a new coordinator.
    pub(super) fn fail_over(&mut self) {
        self.group = ConsumerGroup::new(text("g"));
        self.timers.clear();
        for record in &self.log {
            self.group.replay(record);
        }
        self.turn(|group, turn| group.on_loaded(turn));
    }

    /// Whether the member may commit in that epoch.
    pub(super) fn commit(
        &mut self,
        version: i16,
        member: &str,
        epoch: i32,
    ) -> Result<(), ResponseError> {
        let request = OffsetCommitRequest::default()
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch);
        let mut result = Ok(());
        self.turn(|group, turn| {
            result = group.validate_offset_commit(turn, version, &request);
        });
        result
    }
}

pub(super) fn caller(version: i16) -> Caller {
    Caller {
        conn: ConnectionId(1),
        correlation_id: 1,
        version,
        client_id: text("client"),
    }
}
