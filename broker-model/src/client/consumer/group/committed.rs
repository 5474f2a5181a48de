//! Asks what the group has committed: for partitions that start from there, and for the
//! application.
//!
//! Mirrors `fetchCommittedOffsets` of Kafka's `ConsumerCoordinator`, and the other half of
//! `CommitRequestManager`. One request at a time for all positions; what it brings counts only
//! while the same partitions wait for it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, RequestKind, ResponseKind, TopicName};

use super::coordinator::Coordinator;
use super::env::Env;
use crate::client::backoff::Backoff;
use crate::client::command::{ClientError, Event, GroupMember, OffsetAndMetadata, OpId};
use crate::client::config::consumer_backoff;
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::config::ConsumerConfig;
use crate::types::{
    LeaderEpoch, Offset, ResponseError, StrBytes, TopicIdPartition, TopicPartition,
};

/// Questions about committed offsets.
#[derive(Debug)]
pub(super) struct Reads {
    group: StrBytes,
    backoff: Backoff,
    api_timeout_ms: u64,
    next: u64,
    open: BTreeMap<u64, Read>,
    /// The one of `open` that positions wait for.
    for_positions: Option<u64>,
}

/// One question.
#[derive(Debug)]
struct Read {
    partitions: BTreeSet<TopicPartition>,
    /// The application's call and its deadline.
    call: Option<(OpId, u64)>,
    in_flight: bool,
    failures: u32,
    not_before_ms: u64,
}

/// What is committed, by partition.
type Committed = BTreeMap<TopicPartition, OffsetAndMetadata>;

/// Why an answer brought nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// Asked again.
    Retriable,
    /// The coordinator is another one, or none.
    Coordinator,
    /// Told to the application.
    Fatal(ClientError),
}

impl Reads {
    /// Nothing asked yet.
    pub(super) fn new(group: StrBytes, config: &ConsumerConfig) -> Self {
        Reads {
            group,
            backoff: consumer_backoff(config),
            api_timeout_ms: config.default_api_timeout_ms,
            next: 0,
            open: BTreeMap::new(),
            for_positions: None,
        }
    }

    /// The application asks.
    pub(super) fn call(&mut self, env: &mut Env<'_>, op: OpId, partitions: Vec<TopicPartition>) {
        let deadline_ms = env.now.mono_ms.saturating_add(self.api_timeout_ms);
        self.begin(partitions.into_iter().collect(), Some((op, deadline_ms)));
    }

    fn begin(&mut self, partitions: BTreeSet<TopicPartition>, call: Option<(OpId, u64)>) -> u64 {
        let read = Read {
            partitions,
            call,
            in_flight: false,
            failures: 0,
            not_before_ms: 0,
        };
        self.next += 1;
        self.open.insert(self.next, read);
        self.next
    }

    /// A poll waits and the member is up to date: asks for the positions that start from what is
    /// committed.
    pub(super) fn on_poll(&mut self, env: &Env<'_>) {
        let wanted = env.positions.initializing();
        let asked = self.for_positions.and_then(|id| self.open.get(&id));
        if asked.is_some_and(|read| read.partitions == wanted) {
            return;
        }
        if let Some(outdated) = self.for_positions.take() {
            self.open.remove(&outdated);
        }
        if !wanted.is_empty() {
            self.for_positions = Some(self.begin(wanted, None));
        }
    }

    /// Whether positions wait for an answer.
    pub(super) fn is_asked_for_positions(&self) -> bool {
        self.for_positions.is_some()
    }

    /// Whether the coordinator is needed.
    pub(super) fn need_coordinator(&self) -> bool {
        self.open.values().any(|read| !read.in_flight)
    }

    /// Whether a call of the application waits.
    pub(super) fn has_waiting_call(&self) -> bool {
        self.open.values().any(|read| read.call.is_some())
    }

    /// Ends what took too long, and asks what is to be asked, as that member.
    pub(super) fn run(
        &mut self,
        env: &mut Env<'_>,
        coordinator: &Coordinator,
        member: Option<&GroupMember>,
    ) {
        let now_ms = env.now.mono_ms;
        let late = |read: &Read| {
            read.call
                .is_some_and(|(_, deadline_ms)| deadline_ms <= now_ms)
        };
        self.end_calls(env, late, ClientError::TimedOut);
        if !coordinator.is_known() {
            return;
        }
        for (&id, read) in &mut self.open {
            if read.in_flight || now_ms < read.not_before_ms {
                continue;
            }
            read.in_flight = true;
            let request = request(&self.group, &read.partitions, member);
            let token = Purpose::OffsetFetch.token(id);
            coordinator.send(env, token, RequestKind::OffsetFetch(request), None);
        }
    }

    /// Ends every call of the application.
    pub(super) fn abort_calls(&mut self, env: &mut Env<'_>, error: ClientError) {
        self.end_calls(env, |_| true, error);
    }

    fn end_calls(&mut self, env: &mut Env<'_>, which: impl Fn(&Read) -> bool, error: ClientError) {
        self.open.retain(|_, read| {
            let Some((op, _)) = read.call.filter(|_| which(read)) else {
                return true;
            };
            let result = Err(error);
            env.effects.event(Event::CommittedOffsets { op, result });
            false
        });
    }

    /// A question ended. An error concerns the poll that waits, or the next one.
    pub(super) fn on_answer(
        &mut self,
        env: &mut Env<'_>,
        completion: Completion,
        coordinator: &mut Coordinator,
        is_member: bool,
    ) -> Result<(), ClientError> {
        let (_, id) = Purpose::of(completion.token);
        let found = match completion.result {
            Ok(body) => match *body {
                ResponseKind::OffsetFetch(mut response) => found(response.groups.pop(), is_member),
                _ => Err(Failure::Retriable),
            },
            Err(error) => {
                coordinator.on_disconnect(completion.channel);
                Err(match error {
                    NetworkError::UnsupportedVersion => {
                        Failure::Fatal(ClientError::UnsupportedVersion)
                    }
                    _ => Failure::Retriable,
                })
            }
        };
        if found == Err(Failure::Coordinator) {
            coordinator.give_up(env);
        }
        let Some(read) = self.open.get_mut(&id) else {
            return Ok(());
        };
        read.in_flight = false;
        match found {
            Err(Failure::Retriable | Failure::Coordinator) => {
                let delay_ms = self.backoff.delay_ms(read.failures, &mut env.cluster.ids);
                read.failures += 1;
                read.not_before_ms = env.now.mono_ms + delay_ms;
                Ok(())
            }
            Err(Failure::Fatal(error)) => self.end(env, id, Err(error)),
            Ok(committed) => self.end(env, id, Ok(committed)),
        }
    }

    fn end(
        &mut self,
        env: &mut Env<'_>,
        id: u64,
        committed: Result<Committed, ClientError>,
    ) -> Result<(), ClientError> {
        let read = self
            .open
            .remove(&id)
            .expect("an answer ends an open question");
        if let Some((op, _)) = read.call {
            let result = committed.map(|committed| {
                let partitions = read.partitions.into_iter();
                let offset = |name| {
                    let offset = committed.get(&name).cloned();
                    (name, offset)
                };
                partitions.map(offset).collect()
            });
            env.effects.event(Event::CommittedOffsets { op, result });
            return Ok(());
        }
        self.for_positions = None;
        let committed = committed?;
        let mut all_known = true;
        for name in &read.partitions {
            let offset = committed.get(name);
            if let Some(offset) = offset {
                saw_epoch(env, name, offset.leader_epoch);
            }
            let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
            all_known &= env.positions.on_committed(name, offset, metadata, effects);
        }
        if all_known {
            Ok(())
        } else {
            Err(ClientError::NoOffset)
        }
    }

    /// When a question is due or too late, monotonic.
    pub(super) fn next_deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let open = self.open.values().filter_map(|read| {
            let again_ms = (now_ms < read.not_before_ms).then_some(read.not_before_ms);
            let deadline_ms = read.call.map(|(_, deadline_ms)| deadline_ms);
            [again_ms, deadline_ms].into_iter().flatten().min()
        });
        open.min()
    }
}

/// Leaders of older epochs than that are outdated.
fn saw_epoch(env: &mut Env<'_>, name: &TopicPartition, epoch: LeaderEpoch) {
    let metadata = &mut env.cluster.metadata;
    if let Some(topic) = metadata.topic_id(&name.topic) {
        let partition = TopicIdPartition {
            topic,
            partition: name.partition,
        };
        metadata.saw_epoch(partition, epoch);
    }
}

fn request(
    group: &StrBytes,
    partitions: &BTreeSet<TopicPartition>,
    member: Option<&GroupMember>,
) -> OffsetFetchRequest {
    let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
    for name in partitions {
        match topics.last_mut() {
            Some(topic) if topic.name.0 == name.topic => {
                topic.partition_indexes.push(name.partition);
            }
            _ => topics.push(
                OffsetFetchRequestTopics::default()
                    .with_name(TopicName(name.topic.clone()))
                    .with_partition_indexes(vec![name.partition]),
            ),
        }
    }
    let mut asked = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(group.clone()))
        .with_topics(Some(topics));
    if let Some(member) = member {
        asked = asked
            .with_member_id(Some(member.member_id.clone()))
            .with_member_epoch(member.generation);
    }
    OffsetFetchRequest::default()
        .with_require_stable(true)
        .with_groups(vec![asked])
}

/// What an answer says.
fn found(group: Option<OffsetFetchResponseGroup>, is_member: bool) -> Result<Committed, Failure> {
    let Some(group) = group else {
        return Err(Failure::Retriable);
    };
    match ResponseError::try_from_code(group.error_code) {
        None => {}
        Some(ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable) => {
            return Err(Failure::Coordinator);
        }
        // The member has got a newer epoch meanwhile, and asks with that.
        Some(ResponseError::StaleMemberEpoch) if is_member => return Err(Failure::Retriable),
        Some(error) if error.is_retriable() => return Err(Failure::Retriable),
        Some(error) => return Err(Failure::Fatal(ClientError::Broker(error))),
    }
    let mut committed = Committed::new();
    let mut unstable = false;
    for topic in group.topics {
        for answer in topic.partitions {
            match ResponseError::try_from_code(answer.error_code) {
                None => {}
                Some(ResponseError::UnstableOffsetCommit) => {
                    unstable = true;
                    continue;
                }
                Some(error) => return Err(Failure::Fatal(ClientError::Broker(error))),
            }
            if answer.committed_offset < 0 {
                continue;
            }
            let name = TopicPartition {
                topic: topic.name.0.clone(),
                partition: answer.partition_index,
            };
            let offset = OffsetAndMetadata {
                offset: Offset(answer.committed_offset),
                leader_epoch: LeaderEpoch(answer.committed_leader_epoch),
                metadata: answer.metadata.unwrap_or_default(),
            };
            committed.insert(name, offset);
        }
    }
    if unstable {
        return Err(Failure::Retriable);
    }
    Ok(committed)
}
