//! A shard with one group that members of both protocols are in.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ResponseKind, SyncGroupRequest,
};

use super::super::embedded;
use super::rig::{caller, listed, show, text, topic_id, world};
use crate::config::BrokerConfig;
use crate::coordinator::record::{Record, TopicPartitions};
use crate::coordinator::shard::{Group, Shard};
use crate::coordinator::turn::{Caller, Continuation, TimerChange, TimerKey, Turn};
use crate::effect::Effects;
use crate::ids::IdSource;
use crate::metadata::MetadataImage;
use crate::types::{Now, ResponseError};

/// The shard. Everything that it writes is committed at once.
pub(super) struct Mixed {
    shard: Shard,
    image: MetadataImage,
    pub(super) config: BrokerConfig,
    pub(super) timers: BTreeMap<TimerKey, u64>,
    pub(super) log: Vec<Record>,
    now_ms: u64,
    ids: IdSource,
    effects: Effects,
    /// What was answered and not looked at yet.
    answers: Vec<(Caller, ResponseKind)>,
    /// What is answered after what comes next.
    later: Vec<(Caller, ResponseKind)>,
    /// The next request's correlation id.
    next: i32,
}

/// What a member of the classic protocol says: it reads that topic and owns these partitions.
pub(super) fn metadata(topic: &str, owned: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.put_i32(1);
    put_name(&mut bytes, topic);
    bytes.put_i32(-1);
    put_partitions(&mut bytes, topic, owned);
    bytes.freeze()
}

/// A part of that topic.
pub(super) fn part(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    put_partitions(&mut bytes, topic, partitions);
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_partitions(bytes: &mut BytesMut, topic: &str, partitions: &[i32]) {
    bytes.put_i32(1);
    put_name(bytes, topic);
    bytes.put_i32(i32::try_from(partitions.len()).expect("few"));
    for &partition in partitions {
        bytes.put_i32(partition);
    }
}

fn put_name(bytes: &mut BytesMut, name: &str) {
    bytes.put_i16(i16::try_from(name.len()).expect("short"));
    bytes.put_slice(name.as_bytes());
}

/// JoinGroup of a member that reads topic `a`.
pub(super) fn classic(member: &str, owned: &[i32]) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(metadata("a", owned));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// The same of a static member.
pub(super) fn classic_as(instance: &str, member: &str, owned: &[i32]) -> JoinGroupRequest {
    classic(member, owned).with_group_instance_id(Some(text(instance)))
}

impl Mixed {
    /// Topic `a` with so many partitions.
    pub(super) fn new(partitions: i32) -> Self {
        Mixed {
            shard: Shard::default(),
            image: world(&[("a", partitions)]),
            config: BrokerConfig::default(),
            timers: BTreeMap::new(),
            log: Vec::new(),
            now_ms: 1_000_000,
            ids: IdSource::new(7),
            effects: Effects::new(),
            answers: Vec::new(),
            later: Vec::new(),
            next: 1,
        }
    }

    /// A classic group with these members, stable, and what they have of topic `a`. Returns their ids.
    pub(super) fn stable_classic(&mut self, parts: &[&[i32]]) -> Vec<String> {
        self.config.group_initial_rebalance_delay_ms = 0;
        let mut members = Vec::new();
        for _ in parts {
            let told = self.join(&classic("", &[]));
            let id = told.strip_prefix("MemberIdRequired ").expect("an id");
            members.push(id.to_owned());
        }
        let mut waiting = Vec::new();
        for member in &members {
            let request = classic(member, &[]);
            waiting.push(self.post(9, |shard, turn, caller| {
                shard.join(turn, caller, text("/h"), &request);
            }));
        }
        self.pass(0);
        let mut generation = 0;
        let mut leader = String::new();
        for asked in waiting {
            let Some(ResponseKind::JoinGroup(answer)) = self.take(asked) else {
                panic!("the join phase goes on");
            };
            generation = answer.generation_id;
            leader = answer.leader.to_string();
        }
        let assignments = members.iter().zip(parts).map(|(member, own)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(part("a", own))
        });
        let assignments: Vec<_> = assignments.collect();
        let mut sorted = members.clone();
        sorted.sort_by_key(|member| *member != leader);
        for member in &sorted {
            let all = if *member == leader {
                assignments.clone()
            } else {
                vec![]
            };
            let request = sync_request(member, generation).with_assignments(all);
            self.post(5, |shard, turn, caller| shard.sync(turn, caller, &request));
        }
        self.answers.clear();
        members
    }

    /// One decision, and what follows from it.
    fn decide(&mut self, decide: impl FnOnce(&mut Shard, &mut Turn<'_>)) {
        let mut next: Option<Continuation> = self.carry_out(decide);
        while let Some(then) = next {
            next = self.carry_out(|shard, turn| shard.on_written(turn, then, Ok(())));
            let later = std::mem::take(&mut self.later);
            self.answers.extend(later);
        }
    }

    /// Returns what comes once the records are committed.
    fn carry_out(
        &mut self,
        decide: impl FnOnce(&mut Shard, &mut Turn<'_>),
    ) -> Option<Continuation> {
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: i64::try_from(self.now_ms).expect("not that late"),
        };
        let mut turn = Turn {
            partition: 0,
            now,
            ids: &mut self.ids,
            image: &self.image,
            config: &self.config,
            effects: &mut self.effects,
            decision: Default::default(),
        };
        self.shard.begin();
        decide(&mut self.shard, &mut turn);
        let decision = turn.decision;
        for record in &decision.records {
            self.shard.replay(now, record, true);
            self.shard.commit(record);
        }
        self.log.extend(decision.records);
        for group in self.shard.take_removed() {
            let of =
                |key: &TimerKey| crate::coordinator::shard::group_of_timer(key) == Some(&group);
            self.timers.retain(|key, _| !of(key));
        }
        for change in decision.timers {
            match change {
                TimerChange::Start(key, ms) => {
                    self.timers.insert(key, self.now_ms + ms);
                }
                TimerChange::Stop(key) => {
                    self.timers.remove(&key);
                }
            }
        }
        self.answers.extend(decision.at_once);
        match decision.then {
            Some(_) => self.later.extend(decision.answers),
            None => self.answers.extend(decision.answers),
        }
        decision.then
    }

    /// Sends a request.
    fn post(&mut self, version: i16, ask: impl FnOnce(&mut Shard, &mut Turn<'_>, Caller)) -> i32 {
        let mut caller = caller(version);
        caller.correlation_id = self.next;
        self.next += 1;
        let asked = caller.correlation_id;
        self.decide(|shard, turn| ask(shard, turn, caller));
        asked
    }

    /// The answer to a request, if it was given.
    fn take(&mut self, asked: i32) -> Option<ResponseKind> {
        let mut answers = self.answers.iter();
        let at = answers.position(|(caller, _)| caller.correlation_id == asked)?;
        Some(self.answers.remove(at).1)
    }

    /// Lets time pass, and fires what is due.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some((key, at)) = self
            .timers
            .iter()
            .map(|(key, &at)| (key.clone(), at))
            .filter(|&(_, at)| at <= end)
            .min_by_key(|&(_, at)| at)
        {
            self.now_ms = self.now_ms.max(at);
            self.timers.remove(&key);
            self.decide(|shard, turn| shard.on_timer(turn, &key));
        }
        self.now_ms = end;
    }

    /// ConsumerGroupHeartbeat: the epoch and what is assigned.
    pub(super) fn beat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> String {
        let asked = self.post(1, |shard, turn, caller| {
            shard.consumer_heartbeat(turn, caller, text("/h"), request);
        });
        let Some(ResponseKind::ConsumerGroupHeartbeat(answer)) = self.take(asked) else {
            panic!("no answer");
        };
        if answer.error_code != 0 {
            return error(answer.error_code);
        }
        let assignment = answer.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            let topics = topics.map(|it| (it.topic_id, it.partitions.into_iter().collect()));
            format!(" [{}]", listed(&topics.collect()))
        });
        format!(
            "epoch {}{}",
            answer.member_epoch,
            assignment.unwrap_or_default()
        )
    }

    /// JoinGroup: the id and the generation.
    pub(super) fn join(&mut self, request: &JoinGroupRequest) -> String {
        let asked = self.post(9, |shard, turn, caller| {
            shard.join(turn, caller, text("/h"), request);
        });
        match self.take(asked) {
            Some(ResponseKind::JoinGroup(answer)) if answer.error_code == 0 => {
                assert_eq!(answer.protocol_name.as_deref(), Some("range"));
                format!("{} generation {}", answer.member_id, answer.generation_id)
            }
            Some(ResponseKind::JoinGroup(answer)) => {
                let told = format!("{} {}", error(answer.error_code), answer.member_id);
                told.trim().to_owned()
            }
            Some(other) => panic!("{other:?}"),
            None => "waits".to_owned(),
        }
    }

    /// SyncGroup: the part.
    pub(super) fn sync(&mut self, member: &str, generation: i32) -> String {
        self.sync_with(&sync_request(member, generation))
    }

    /// The same of a static member.
    pub(super) fn sync_as(&mut self, instance: &str, member: &str, generation: i32) -> String {
        let request = sync_request(member, generation);
        self.sync_with(&request.with_group_instance_id(Some(text(instance))))
    }

    fn sync_with(&mut self, request: &SyncGroupRequest) -> String {
        let asked = self.post(5, |shard, turn, caller| shard.sync(turn, caller, request));
        let Some(ResponseKind::SyncGroup(answer)) = self.take(asked) else {
            return "waits".to_owned();
        };
        if answer.error_code != 0 {
            return error(answer.error_code);
        }
        let part = embedded::part(&answer.assignment).expect("a part");
        let topics = part.assigned.iter();
        let topics = topics.map(|(name, own)| (topic_id(name), own.iter().copied().collect()));
        let topics: TopicPartitions = topics.collect();
        format!("[{}]", listed(&topics))
    }

    /// Heartbeat: the error.
    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> String {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_member_id(text(member))
            .with_generation_id(generation);
        let asked = self.post(4, |shard, turn, caller| {
            shard.heartbeat(turn, caller, &request);
        });
        match self.take(asked) {
            Some(ResponseKind::Heartbeat(answer)) => error(answer.error_code),
            other => panic!("{other:?}"),
        }
    }

    /// LeaveGroup: an error for each.
    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<String> {
        let members = members.iter().map(|(member, instance)| {
            MemberIdentity::default()
                .with_member_id(text(member))
                .with_group_instance_id(instance.map(text))
        });
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_members(members.collect());
        let asked = self.post(5, |shard, turn, caller| shard.leave(turn, caller, &request));
        match self.take(asked) {
            Some(ResponseKind::LeaveGroup(answer)) => {
                let members = answer.members.iter();
                members.map(|member| error(member.error_code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the group looks like.
    pub(super) fn show(&self) -> String {
        match self.shard.group(&text("g")) {
            Some(Group::Consumer(group)) => show(group),
            Some(Group::Classic(group)) => {
                let mut lines = vec![format!(
                    "classic {} generation {}",
                    group.state_name(),
                    group.generation()
                )];
                for member in group.migrants() {
                    let part = embedded::part(&member.assignment).ok();
                    let own = part.and_then(|part| part.assigned.first().cloned());
                    let own = own.map(|(_, own)| own).unwrap_or_default();
                    lines.push(format!("{} {own:?}", member.id));
                }
                lines.join("\n")
            }
            None => "no group".to_owned(),
        }
    }

    /// A new shard from the same records.
    pub(super) fn fail_over(&mut self) {
        self.shard = Shard::default();
        self.timers.clear();
        let now = Now {
            mono_ms: self.now_ms,
            wall_ms: 0,
        };
        for record in &self.log {
            self.shard.replay(now, record, false);
            self.shard.commit(record);
        }
        self.shard.take_removed();
        self.decide(|shard, turn| shard.on_loaded(turn));
    }
}

fn sync_request(member: &str, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(text(member))
        .with_generation_id(generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
}

fn error(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        Some(error) => format!("{error:?}"),
        None => "ok".to_owned(),
    }
}
