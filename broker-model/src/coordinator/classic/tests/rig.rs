//! A group, its timers, and whoever talks to it.
//!
//! Requests and timers return what the group says to whom, in words. After each step the rig checks
//! what is always true: each member has its session timer unless it waits, nobody else has one, and
//! the two phases have theirs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, ResponseKind,
    SyncGroupRequest,
};

use crate::config::BrokerConfig;
use crate::coordinator::classic::ClassicGroup;
use crate::coordinator::record::{GroupMetadataValue, Record};
use crate::coordinator::turn::{Caller, Continuation, Decision, TimerChange, TimerKey, Turn};
use crate::effect::{Effect, Effects};
use crate::ids::IdSource;
use crate::metadata::MetadataImage;
use crate::note::{ClassicGroupChange, Note};
use crate::types::{ConnectionId, Now, ResponseError, StrBytes};

pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;

pub(super) struct Rig {
    pub(super) group: ClassicGroup,
    pub(super) config: BrokerConfig,
    pub(super) now_ms: u64,
    /// When they fire.
    pub(super) timers: BTreeMap<TimerKey, u64>,
    /// What is appended and not committed.
    pub(super) writing: Vec<(Vec<Record>, Option<Continuation>)>,
    /// Committed.
    pub(super) log: Vec<Record>,
    pub(super) changes: Vec<ClassicGroupChange>,
    /// Whether writes wait for [`Rig::commit`].
    pub(super) slow: bool,
    ids: IdSource,
    names: Vec<StrBytes>,
    answered: BTreeSet<ConnectionId>,
}

/// How somebody joins.
#[derive(Clone)]
pub(super) struct Joining {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) version: i16,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<String>,
    pub(super) metadata: Bytes,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
}

/// A dynamic member of the newest version that can do `range`.
pub(super) fn joining(member: &str) -> Joining {
    Joining {
        member: member.to_owned(),
        instance: None,
        version: 9,
        protocol_type: "consumer".to_owned(),
        protocols: vec!["range".to_owned()],
        metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff"),
        session_ms: SESSION_MS,
        rebalance_ms: REBALANCE_MS,
    }
}

impl Joining {
    pub(super) fn instance(mut self, instance: &str) -> Self {
        self.instance = Some(instance.to_owned());
        self
    }

    pub(super) fn version(mut self, version: i16) -> Self {
        self.version = version;
        self
    }

    pub(super) fn protocols(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(ToString::to_string).collect();
        self
    }

    pub(super) fn protocol_type(mut self, protocol_type: &str) -> Self {
        self.protocol_type = protocol_type.to_owned();
        self
    }

    pub(super) fn metadata(mut self, metadata: &'static [u8]) -> Self {
        self.metadata = Bytes::from_static(metadata);
        self
    }
}

impl Rig {
    /// A group that nobody has joined.
    pub(super) fn new() -> Self {
        let now = at(0);
        Rig {
            group: ClassicGroup::new(str_bytes("g"), now),
            config: BrokerConfig::default(),
            now_ms: 0,
            timers: BTreeMap::new(),
            writing: vec![],
            log: vec![],
            changes: vec![],
            slow: false,
            ids: IdSource::new(7),
            names: vec![],
            answered: BTreeSet::new(),
        }
    }

    /// A stable group of so many dynamic members, m1 leading.
    pub(super) fn stable(members: usize) -> Self {
        let mut rig = Rig::new();
        for n in 1..=members {
            rig.join(n as u64, joining(""));
            rig.join(n as u64, joining(&format!("m{n}")));
        }
        // The delay, and once more if somebody came during it.
        rig.fire_join();
        if members > 1 {
            rig.fire_join();
        }
        rig.sync_all();
        assert_eq!(rig.group.state_name(), "Stable");
        rig
    }

    /// Everybody syncs, the leader first, and gets `part of` its name.
    pub(super) fn sync_all(&mut self) {
        let leader = self.group.leader.clone().expect("there is a generation");
        let mut members: Vec<StrBytes> = self.group.members.keys().cloned().collect();
        members.sort_by_key(|member| *member != leader);
        for member in members {
            let name = self.name(&member);
            let conn = 90 + name[1..].parse::<u64>().expect("m1, m2 …");
            if member == leader {
                self.sync_leading(conn, &name);
            } else {
                self.sync(conn, &name);
            }
        }
    }

    // ---- Requests ----

    pub(super) fn join(&mut self, conn: u64, joining: Joining) -> Vec<String> {
        let protocols = joining.protocols.iter().map(|name| {
            JoinGroupRequestProtocol::default()
                .with_name(str_bytes(name))
                .with_metadata(joining.metadata.clone())
        });
        let request = JoinGroupRequest::default()
            .with_group_id(str_bytes("g").into())
            .with_session_timeout_ms(joining.session_ms)
            .with_rebalance_timeout_ms(joining.rebalance_ms)
            .with_member_id(self.id(&joining.member))
            .with_group_instance_id(joining.instance.as_deref().map(str_bytes))
            .with_protocol_type(str_bytes(&joining.protocol_type))
            .with_protocols(protocols.collect());
        let caller = caller(conn, joining.version);
        let host = str_bytes("/10.0.0.1");
        self.turn(|group, turn| group.join(turn, caller, host, &request))
    }

    pub(super) fn sync(&mut self, conn: u64, member: &str) -> Vec<String> {
        self.sync_with(conn, member, self.group.generation, &[])
    }

    /// With a part for everybody.
    pub(super) fn sync_leading(&mut self, conn: u64, member: &str) -> Vec<String> {
        let members: Vec<StrBytes> = self.group.members.keys().cloned().collect();
        let names: Vec<String> = members.iter().map(|member| self.name(member)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.sync_with(conn, member, self.group.generation, &names)
    }

    pub(super) fn sync_with(
        &mut self,
        conn: u64,
        member: &str,
        generation: i32,
        assigned: &[&str],
    ) -> Vec<String> {
        let assignments = assigned.iter().map(|name| {
            SyncGroupRequestAssignment::default()
                .with_member_id(self.id(name))
                .with_assignment(Bytes::from(format!("part of {name}")))
        });
        let request = SyncGroupRequest::default()
            .with_generation_id(generation)
            .with_assignments(assignments.collect());
        self.sync_request(conn, member, request)
    }

    pub(super) fn sync_request(
        &mut self,
        conn: u64,
        member: &str,
        request: SyncGroupRequest,
    ) -> Vec<String> {
        let request = request.with_member_id(self.id(member));
        let caller = caller(conn, 5);
        self.turn(|group, turn| group.sync(turn, caller, &request))
    }

    pub(super) fn heartbeat(&mut self, member: &str) -> Vec<String> {
        self.heartbeat_with(member, None, self.group.generation)
    }

    pub(super) fn heartbeat_with(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Vec<String> {
        let request = HeartbeatRequest::default()
            .with_member_id(self.id(member))
            .with_group_instance_id(instance.map(str_bytes))
            .with_generation_id(generation);
        self.turn(|group, turn| group.heartbeat(turn, caller(80, 4), &request))
    }

    /// Members, or `/instance`, or `member/instance`.
    pub(super) fn leave(&mut self, who: &[&str]) -> Vec<String> {
        let members = who.iter().map(|who| {
            let (member, instance) = match who.split_once('/') {
                Some((member, instance)) => (member, Some(str_bytes(instance))),
                None => (*who, None),
            };
            MemberIdentity::default()
                .with_member_id(self.id(member))
                .with_group_instance_id(instance)
        });
        let request = LeaveGroupRequest::default().with_members(members.collect());
        self.turn(|group, turn| group.leave(turn, caller(81, 5), &request))
    }

    pub(super) fn commit_offsets(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        let request = OffsetCommitRequest::default()
            .with_member_id(self.id(member))
            .with_group_instance_id(instance.map(str_bytes))
            .with_generation_id_or_member_epoch(generation);
        let mut result = Ok(());
        self.turn(|group, turn| result = group.validate_offset_commit(turn, &request));
        result
    }

    // ---- Time and the log ----

    /// Lets time pass without a timer.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    pub(super) fn fire_join(&mut self) -> Vec<String> {
        let group = str_bytes("g");
        self.fire(&TimerKey::Join { group })
    }

    pub(super) fn fire_sync(&mut self) -> Vec<String> {
        let group = str_bytes("g");
        self.fire(&TimerKey::Sync { group })
    }

    pub(super) fn fire_session(&mut self, member: &str) -> Vec<String> {
        let key = self.session(member);
        self.fire(&key)
    }

    pub(super) fn session(&self, member: &str) -> TimerKey {
        TimerKey::Session {
            group: str_bytes("g"),
            member: self.id(member),
        }
    }

    /// The clock goes to a timer that runs.
    pub(super) fn fire(&mut self, key: &TimerKey) -> Vec<String> {
        let when = self.timers.remove(key);
        let when = when.unwrap_or_else(|| panic!("{key:?} does not run"));
        self.now_ms = self.now_ms.max(when);
        self.turn(|group, turn| group.on_timer(turn, key))
    }

    /// The oldest write is committed, or fails.
    pub(super) fn commit(&mut self, result: Result<(), ResponseError>) -> Vec<String> {
        let (records, then) = self.writing.remove(0);
        if result.is_ok() {
            self.log.extend(records);
        }
        match then {
            Some(then) => self.turn(|group, turn| group.on_written(turn, then, result)),
            None => vec![],
        }
    }

    /// Nobody says anything any more: writes are committed and timers fire until there are none.
    pub(super) fn be_silent(&mut self) {
        for _ in 0..1000 {
            while !self.writing.is_empty() {
                self.commit(Ok(()));
            }
            let next = self.timers.iter().min_by_key(|(_, when)| **when);
            let Some(key) = next.map(|(key, _)| key.clone()) else {
                return;
            };
            self.fire(&key);
        }
        panic!("timers fire for ever");
    }

    /// Another broker takes over from the log.
    pub(super) fn fail_over(&mut self) {
        let value = self.last_value();
        self.group = ClassicGroup::replay(str_bytes("g"), &value);
        self.timers.clear();
        self.writing.clear();
        self.turn(|group, turn| group.on_loaded(turn));
    }

    /// The broker no longer leads: the group and its timers go.
    pub(super) fn unload(&mut self) -> Vec<String> {
        self.timers.clear();
        self.turn(|group, turn| group.on_unloaded(turn))
    }

    pub(super) fn last_value(&self) -> GroupMetadataValue {
        let values = self.log.iter().rev().filter_map(|record| match record {
            Record::GroupMetadata { value, .. } => value.clone(),
            other => panic!("a classic group does not write {other:?}"),
        });
        let mut values = values;
        values.next().expect("something was written")
    }

    /// When a timer fires, from now.
    pub(super) fn due_in(&self, key: &TimerKey) -> Option<u64> {
        self.timers.get(key).map(|when| when - self.now_ms)
    }

    pub(super) fn due_join(&self) -> Option<u64> {
        let group = str_bytes("g");
        self.due_in(&TimerKey::Join { group })
    }

    pub(super) fn turn(
        &mut self,
        what: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>),
    ) -> Vec<String> {
        let mut effects = Effects::new();
        let mut turn = Turn {
            partition: 0,
            now: at(self.now_ms),
            ids: &mut self.ids,
            image: &MetadataImage::empty(),
            config: &self.config,
            effects: &mut effects,
            decision: Decision::default(),
        };
        what(&mut self.group, &mut turn);
        let decision = turn.decision;
        let known = self.group.members.keys().chain(&self.group.pending_join);
        for id in known {
            if !self.names.contains(id) {
                self.names.push(id.clone());
            }
        }
        for effect in effects.drain() {
            let Effect::Note(Note::ClassicGroup { change, .. }) = effect else {
                panic!("a classic group asks for nothing: {effect:?}");
            };
            self.changes.push(change);
        }
        self.take(decision)
    }

    fn take(&mut self, decision: Decision) -> Vec<String> {
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
        self.check();
        for (to, _) in decision.at_once.iter().chain(&decision.answers) {
            // Connections below 100 are used again and again.
            let first = to.conn.0 < 100 || self.answered.insert(to.conn);
            assert!(first, "c{} is answered twice", to.conn);
        }
        let answers = decision.at_once.iter().chain(&decision.answers);
        let mut said: Vec<String> = answers.map(|(to, answer)| self.say(to, answer)).collect();
        if decision.records.is_empty() {
            assert_eq!(decision.then, None, "it waits for nothing");
            return said;
        }
        said.extend(
            decision
                .records
                .iter()
                .map(|record| self.say_record(record)),
        );
        self.writing.push((decision.records, decision.then));
        if !self.slow {
            said.extend(self.commit(Ok(())));
        }
        said
    }

    /// What is always true.
    pub(super) fn check(&self) {
        let group = &self.group;
        let state = group.state_name();
        if state == "Dead" {
            return;
        }
        for key in self.timers.keys() {
            match key {
                TimerKey::Session { member, .. } => assert!(
                    group.members.contains_key(member) || group.pending_join.contains(member),
                    "a session of nobody runs"
                ),
                TimerKey::Join { .. } => assert_eq!(state, "PreparingRebalance"),
                TimerKey::Sync { .. } => assert!(matches!(state, "CompletingRebalance" | "Stable")),
                other => panic!("no timer of a classic group: {other:?}"),
            }
        }
        let group_id = str_bytes("g");
        let joins = self
            .timers
            .contains_key(&TimerKey::Join { group: group_id });
        assert!(
            joins || state != "PreparingRebalance",
            "nothing ends the join phase"
        );
        for (id, member) in &group.members {
            let key = TimerKey::Session {
                group: str_bytes("g"),
                member: id.clone(),
            };
            let runs = self.timers.contains_key(&key);
            assert!(
                runs || member.has_satisfied_heartbeat(),
                "a member without a session"
            );
        }
        for (instance, id) in &group.static_members {
            let member = &group.members[id];
            assert_eq!(member.instance.as_ref(), Some(instance));
        }
        assert_eq!(group.members.is_empty(), group.leader.is_none());
        assert!(
            group
                .leader
                .iter()
                .all(|leader| group.members.contains_key(leader))
        );
        assert!(group.members.is_empty() || state != "Empty");
        assert!(!group.members.is_empty() || !matches!(state, "Stable" | "CompletingRebalance"));
    }

    // ---- Words ----

    /// The id behind a name; a name that was not given out is its own id.
    pub(super) fn id(&self, name: &str) -> StrBytes {
        let n = name.strip_prefix('m').and_then(|n| n.parse::<usize>().ok());
        let id = n.and_then(|n| self.names.get(n - 1));
        id.cloned().unwrap_or_else(|| str_bytes(name))
    }

    pub(super) fn name(&self, id: &StrBytes) -> String {
        let n = self.names.iter().position(|known| known == id);
        n.map_or_else(|| id.to_string(), |n| format!("m{}", n + 1))
    }

    fn say(&self, to: &Caller, answer: &ResponseKind) -> String {
        let what = match answer {
            ResponseKind::JoinGroup(join) if join.error_code != 0 => {
                format!(
                    "join {} {}",
                    error(join.error_code),
                    self.name(&join.member_id)
                )
            }
            ResponseKind::JoinGroup(join) => {
                let members = join.members.iter().map(|it| self.name(&it.member_id));
                let mut members: Vec<String> = members.collect();
                members.sort();
                let skip = if join.skip_assignment { " skip" } else { "" };
                format!(
                    "join ok {} gen {} {} leader {} [{}]{skip}",
                    self.name(&join.member_id),
                    join.generation_id,
                    join.protocol_name.as_deref().unwrap_or("-"),
                    self.name(&join.leader),
                    members.join(" "),
                )
            }
            ResponseKind::SyncGroup(sync) if sync.error_code != 0 => {
                format!("sync {}", error(sync.error_code))
            }
            ResponseKind::SyncGroup(sync) => {
                let part = String::from_utf8_lossy(&sync.assignment);
                format!("sync ok '{part}'")
            }
            ResponseKind::Heartbeat(answer) => format!("heartbeat {}", error(answer.error_code)),
            ResponseKind::LeaveGroup(answer) => {
                let members = answer.members.iter().map(|it| {
                    let name = self.name(&it.member_id);
                    format!(" {name} {}", error(it.error_code))
                });
                format!(
                    "leave {}:{}",
                    error(answer.error_code),
                    members.collect::<String>()
                )
            }
            other => panic!("not an answer of a classic group: {other:?}"),
        };
        format!("c{} {}", to.conn, what.trim_end())
    }

    fn say_record(&self, record: &Record) -> String {
        let Record::GroupMetadata {
            value: Some(value), ..
        } = record
        else {
            panic!("a classic group does not write {record:?}");
        };
        let members = value.members.iter().map(|it| self.name(&it.member));
        let mut members: Vec<String> = members.collect();
        members.sort();
        format!("write gen {} [{}]", value.generation, members.join(" "))
    }
}

/// Kafka's name of a code.
fn error(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| "ok".to_owned(), |it| format!("{it:?}"))
}

fn caller(conn: u64, version: i16) -> Caller {
    Caller {
        conn: ConnectionId(conn),
        correlation_id: 0,
        version,
        client_id: str_bytes("app"),
    }
}

fn at(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_ms: 1_000_000 + i64::try_from(ms).expect("a short story"),
    }
}

pub(super) fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
