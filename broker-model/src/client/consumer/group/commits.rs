//! Commits of offsets: those of the application, and those that the consumer makes by itself.
//!
//! Mirrors the half of Kafka's `ConsumerCoordinator` that commits, and `CommitRequestManager`.
//! `commitSync` is repeated until its time is up, `commitAsync` and automatic commits are tried
//! once. Whether somebody may commit at all is decided by the membership. Unlike in Kafka, the end
//! of an asynchronous commit is told when it happens, not with the next call.

mod answer;
mod auto;

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, RequestKind, TopicName};

use self::auto::Auto;
use super::coordinator::Coordinator;
use super::env::Env;
use super::identity::{Identity, Standing};
use crate::client::backoff::Backoff;
use crate::client::command::{
    ClientError, CommitName, Event, GroupMember, OffsetAndMetadata, OpId,
};
use crate::client::config::consumer_backoff;
use crate::client::token::Purpose;
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::effect::Effects;
use crate::types::{StrBytes, TopicPartition};

pub(super) use self::answer::Refusal;

/// Offsets by partition, sorted.
pub(super) type Offsets = Vec<(TopicPartition, OffsetAndMetadata)>;

/// Commits under way.
#[derive(Debug)]
pub(super) struct Commits {
    group: StrBytes,
    backoff: Backoff,
    retry_backoff_ms: u64,
    api_timeout_ms: u64,
    next: u64,
    open: BTreeMap<u64, Commit>,
    /// How commits ended that the membership waits for.
    ended: BTreeMap<u64, Ended>,
    auto: Option<Auto>,
}

/// One commit.
#[derive(Debug)]
struct Commit {
    name: CommitName,
    retried: Retried,
    offsets: Offsets,
    deadline_ms: Option<u64>,
    not_before_ms: u64,
    failures: u32,
    attempts: u32,
    /// Whether every attempt so far provably had no effect.
    definite: bool,
    /// As whom it was sent, while that is unanswered.
    in_flight: Option<Identity>,
    /// As whom it was sent last.
    member: GroupMember,
    /// The membership asks for the outcome.
    watched: bool,
}

/// How often a commit is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Retried {
    /// Once.
    No,
    /// Until its deadline.
    Yes,
    /// Until its deadline, each time with the positions as they are then, and with the member
    /// epoch as it is then (`maybeAutoCommitSyncBeforeRebalance`).
    BeforeRebalance,
}

/// How a commit ended that the membership waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// Well.
    Well,
    /// Badly; another try may help.
    Retriable,
    /// Badly.
    Badly,
}

impl Commits {
    /// Nothing to commit.
    pub(super) fn new(group: StrBytes, config: &ConsumerConfig) -> Self {
        let auto = config.enable_auto_commit.then(|| {
            let one_at_a_time = config.group_protocol == GroupProtocol::Consumer;
            Auto::new(config.auto_commit_interval_ms, one_at_a_time)
        });
        Commits {
            group,
            backoff: consumer_backoff(config),
            retry_backoff_ms: config.retry_backoff_ms,
            api_timeout_ms: config.default_api_timeout_ms,
            next: 0,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            auto,
        }
    }

    /// The application commits.
    pub(super) fn call(
        &mut self,
        env: &mut Env<'_>,
        op: OpId,
        offsets: Option<Offsets>,
        sync: bool,
    ) {
        let mut offsets = offsets.unwrap_or_else(|| env.positions.all_consumed());
        offsets.sort();
        let deadline_ms = env.now.mono_ms.saturating_add(self.api_timeout_ms);
        let retried = if sync { Retried::Yes } else { Retried::No };
        let deadline_ms = sync.then_some(deadline_ms);
        self.begin(env, CommitName::Call(op), offsets, (retried, deadline_ms));
    }

    fn begin(
        &mut self,
        env: &mut Env<'_>,
        name: CommitName,
        offsets: Offsets,
        (retried, deadline_ms): (Retried, Option<u64>),
    ) -> u64 {
        env.effects.event(Event::Committing {
            commit: name,
            offsets: offsets.clone(),
        });
        let commit = Commit {
            name,
            retried,
            offsets,
            deadline_ms,
            not_before_ms: 0,
            failures: 0,
            attempts: 0,
            definite: true,
            in_flight: None,
            member: GroupMember::NONE,
            watched: false,
        };
        self.next += 1;
        self.open.insert(self.next, commit);
        self.next
    }

    /// Whether the coordinator is needed.
    pub(super) fn need_coordinator(&self) -> bool {
        let mut open = self.open.values();
        open.any(|commit| commit.in_flight.is_none() && !commit.offsets.is_empty())
    }

    /// Whether a call of the application waits (`commitSync`).
    pub(super) fn has_waiting_call(&self) -> bool {
        let mut open = self.open.values();
        open.any(|commit| commit.retried == Retried::Yes)
    }

    /// Whether anything is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How a commit ended that the membership started; `None` while it has not.
    pub(super) fn take_ended(&mut self, id: u64) -> Option<Ended> {
        self.ended.remove(&id)
    }

    /// Ends what took too long, and sends what is due.
    pub(super) fn run(
        &mut self,
        env: &mut Env<'_>,
        coordinator: &Coordinator,
        standing: &Standing,
    ) {
        self.expire(env);
        let ids: Vec<u64> = self.open.keys().copied().collect();
        for id in ids {
            let commit = self.open.get(&id).expect("only `end` takes commits out");
            if commit.in_flight.is_some() || env.now.mono_ms < commit.not_before_ms {
                continue;
            }
            if commit.offsets.is_empty() {
                let mut earlier = self.open.range(..id);
                let waits = commit.retried == Retried::Yes
                    && earlier.any(|(_, commit)| commit.retried == Retried::No);
                if !waits {
                    self.end(env, id, Ok(()), Ended::Well);
                }
                continue;
            }
            if !coordinator.is_known() {
                continue;
            }
            match standing {
                Standing::As(identity) => self.send(env, coordinator, id, identity),
                Standing::Rebalancing => {
                    self.end(env, id, Err(ClientError::Rebalancing), Ended::Badly);
                }
                Standing::NotMember => {
                    self.end(env, id, Err(ClientError::NotMember), Ended::Badly);
                }
            }
        }
    }

    fn send(&mut self, env: &mut Env<'_>, coordinator: &Coordinator, id: u64, identity: &Identity) {
        let commit = self.open.get_mut(&id).expect("listed by `run`");
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(self.group.clone()))
            .with_generation_id_or_member_epoch(identity.member.generation)
            .with_member_id(identity.member.member_id.clone())
            .with_group_instance_id(identity.instance.clone())
            .with_topics(topics(&commit.offsets));
        commit.member = identity.member.clone();
        commit.in_flight = Some(identity.clone());
        let token = Purpose::OffsetCommit.token(id);
        coordinator.send(env, token, RequestKind::OffsetCommit(request), None);
    }

    fn expire(&mut self, env: &mut Env<'_>) {
        let late = |commit: &Commit| {
            let deadline_ms = commit.deadline_ms;
            deadline_ms.is_some_and(|deadline_ms| deadline_ms <= env.now.mono_ms)
        };
        let late: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, commit)| late(commit))
            .map(|(&id, _)| id)
            .collect();
        for id in late {
            self.end(env, id, Err(ClientError::TimedOut), Ended::Badly);
        }
    }

    /// Ends the calls that wait (`commitSync`).
    pub(super) fn abort_waiting(&mut self, env: &mut Env<'_>, error: ClientError) {
        let is_call = |commit: &Commit| matches!(commit.name, CommitName::Call(_));
        let waits = |commit: &Commit| commit.retried == Retried::Yes && is_call(commit);
        let waiting = self.open.iter().filter(|(_, commit)| waits(commit));
        let waiting: Vec<u64> = waiting.map(|(&id, _)| id).collect();
        for id in waiting {
            self.end(env, id, Err(error), Ended::Badly);
        }
    }

    /// Ends everything.
    pub(super) fn abort_all(&mut self, env: &mut Env<'_>, error: ClientError) {
        let ids: Vec<u64> = self.open.keys().copied().collect();
        for id in ids {
            self.end(env, id, Err(error), Ended::Badly);
        }
    }

    /// The coordinator was not found: what is tried once has failed.
    pub(super) fn on_lookup_failed(&mut self, env: &mut Env<'_>, error: ClientError) {
        let waits = |commit: &Commit| {
            let once = commit.retried == Retried::No;
            once && commit.in_flight.is_none() && !commit.offsets.is_empty()
        };
        let waiting = self.open.iter().filter(|(_, commit)| waits(commit));
        let waiting: Vec<u64> = waiting.map(|(&id, _)| id).collect();
        for id in waiting {
            self.end(env, id, Err(error), Ended::Retriable);
        }
    }

    fn end(&mut self, env: &mut Env<'_>, id: u64, result: Result<(), ClientError>, ended: Ended) {
        let commit = self.open.remove(&id).expect("a commit ends once");
        if commit.watched {
            self.ended.insert(id, ended);
        }
        if let Some(auto) = &mut self.auto {
            auto.on_ended(id, ended, env.now.mono_ms + self.retry_backoff_ms);
        }
        tell(&commit, result, env.effects);
    }

    /// When a commit is due or too late, monotonic.
    pub(super) fn next_deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let open = self.open.values().filter_map(|commit| {
            let held = now_ms < commit.not_before_ms;
            let again_ms = held.then_some(commit.not_before_ms);
            [again_ms, commit.deadline_ms].into_iter().flatten().min()
        });
        open.min()
    }
}

fn tell(commit: &Commit, result: Result<(), ClientError>, effects: &mut Effects) {
    effects.event(Event::Committed {
        commit: commit.name,
        member: commit.member.clone(),
        result,
        attempts: commit.attempts + u32::from(commit.in_flight.is_some()),
        // What is still on its way may have an effect yet.
        definite: commit.definite && commit.in_flight.is_none() && result.is_err(),
    });
}

fn topics(offsets: &Offsets) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for (name, offset) in offsets {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(name.partition)
            .with_committed_offset(offset.offset.0)
            .with_committed_leader_epoch(offset.leader_epoch.0)
            .with_committed_metadata(Some(offset.metadata.clone()));
        match topics.last_mut() {
            Some(topic) if topic.name.0 == name.topic => topic.partitions.push(partition),
            _ => topics.push(
                OffsetCommitRequestTopic::default()
                    .with_name(TopicName(name.topic.clone()))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    topics
}
