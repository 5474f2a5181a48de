//! Asks leaders where logs begin and end, and where an epoch ends.
//!
//! Mirrors Kafka's `OffsetFetcher` and `OffsetsForLeaderEpochClient`: one request a leader for all
//! its partitions; what fails is asked again after `retry.backoff.ms` with fresh metadata.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, RequestKind, ResponseKind, TopicName,
};

use super::positions::{FetchPosition, Positions, ResetTo};
use crate::client::cluster::Cluster;
use crate::client::command::{Event, OpId};
use crate::client::metadata::Metadata;
use crate::client::network::Completion;
use crate::client::token::Purpose;
use crate::config::ConsumerConfig;
use crate::effect::Effects;
use crate::types::{
    LeaderEpoch, NodeId, Now, Offset, ResponseError, TopicIdPartition, TopicPartition,
};

/// Requests for offsets, and the application's calls that wait for them.
#[derive(Debug)]
pub(super) struct Lookups {
    isolation_level: i8,
    request_timeout_ms: u64,
    api_timeout_ms: u64,
    retry_backoff_ms: u64,
    next_request: u64,
    offsets: BTreeMap<u64, Vec<(TopicIdPartition, Asker)>>,
    epoch_ends: BTreeMap<u64, Vec<(TopicIdPartition, FetchPosition)>>,
    calls: BTreeMap<OpId, EndOffsets>,
}

/// Who asked for an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Reset { to: ResetTo, target: u64 },
    Call(OpId),
}

impl Asker {
    fn resets(self) -> bool {
        matches!(self, Asker::Reset { .. })
    }

    fn timestamp(self, now: Now) -> i64 {
        match self {
            Asker::Reset { to, .. } => to.timestamp(now),
            Asker::Call(_) => ResetTo::Latest.timestamp(now),
        }
    }
}

/// `KafkaConsumer.endOffsets`
#[derive(Debug)]
struct EndOffsets {
    partitions: Vec<TopicPartition>,
    found: BTreeMap<TopicIdPartition, Offset>,
    asked: BTreeSet<TopicIdPartition>,
    deadline_ms: u64,
    not_before_ms: u64,
}

impl EndOffsets {
    /// The partitions by id, once every topic is known.
    fn resolved(&self, metadata: &Metadata) -> Option<Vec<TopicIdPartition>> {
        let resolve = |name: &TopicPartition| {
            Some(TopicIdPartition {
                topic: metadata.topic_id(&name.topic)?,
                partition: name.partition,
            })
        };
        self.partitions.iter().map(resolve).collect()
    }
}

impl Lookups {
    /// Nothing asked yet.
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        Lookups {
            isolation_level: config.isolation_level.code(),
            request_timeout_ms: config.request_timeout_ms,
            api_timeout_ms: config.default_api_timeout_ms,
            retry_backoff_ms: config.retry_backoff_ms,
            next_request: 0,
            offsets: BTreeMap::new(),
            epoch_ends: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// The application wants the ends of these partitions.
    pub(super) fn on_end_offsets(
        &mut self,
        now: Now,
        op: OpId,
        partitions: Vec<TopicPartition>,
        metadata: &mut Metadata,
    ) {
        for partition in &partitions {
            metadata.want(&partition.topic);
        }
        let call = EndOffsets {
            partitions,
            found: BTreeMap::new(),
            asked: BTreeSet::new(),
            deadline_ms: now.mono_ms + self.api_timeout_ms,
            not_before_ms: 0,
        };
        self.calls.insert(op, call);
    }

    /// Ends every call with that error.
    pub(super) fn abort(&mut self, error: ResponseError, effects: &mut Effects) {
        for op in std::mem::take(&mut self.calls).into_keys() {
            let result = Err(error);
            effects.event(Event::Offsets { op, result });
        }
    }

    /// Ends calls that are answered or took too long, and asks what is to be asked.
    pub(super) fn run(
        &mut self,
        now: Now,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        self.end_calls(now, &cluster.metadata, effects);
        self.ask_offsets(now, positions, cluster, effects);
        self.ask_epoch_ends(now, positions, cluster, effects);
    }

    /// When a call times out or may ask again, monotonic.
    pub(super) fn next_deadline_ms(&self, now: Now) -> Option<u64> {
        let calls = self.calls.values();
        let deadlines = calls.map(|call| {
            let held = now.mono_ms < call.not_before_ms;
            let again_ms = if held { call.not_before_ms } else { u64::MAX };
            call.deadline_ms.min(again_ms)
        });
        deadlines.min()
    }

    fn end_calls(&mut self, now: Now, metadata: &Metadata, effects: &mut Effects) {
        self.calls.retain(|&op, call| {
            let found = call.resolved(metadata).and_then(|partitions| {
                let found = |partition| Some((partition, *call.found.get(&partition)?));
                partitions
                    .into_iter()
                    .map(found)
                    .collect::<Option<Vec<_>>>()
            });
            let result = match found {
                Some(found) => Ok(found),
                None if call.deadline_ms <= now.mono_ms => Err(ResponseError::RequestTimedOut),
                None => return true,
            };
            effects.event(Event::Offsets { op, result });
            false
        });
    }

    fn ask_offsets(
        &mut self,
        now: Now,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let resets = positions.needing_reset(now).into_iter();
        let mut asked: Vec<(TopicIdPartition, Asker)> = resets
            .map(|(partition, reset)| {
                let (to, target) = (reset.to, reset.target);
                (partition, Asker::Reset { to, target })
            })
            .collect();
        let due = |call: &EndOffsets| call.not_before_ms <= now.mono_ms;
        for (&op, call) in self.calls.iter().filter(|(_, call)| due(call)) {
            let partitions = call.resolved(&cluster.metadata).unwrap_or_default();
            let missing = partitions.into_iter().filter(|partition| {
                !call.found.contains_key(partition) && !call.asked.contains(partition)
            });
            asked.extend(missing.map(|partition| (partition, Asker::Call(op))));
        }
        let by_leader = group_by_leader(asked, |(partition, _)| *partition, cluster);
        for (node, asked) in by_leader {
            let request = self.list_offsets(now, &asked, &cluster.metadata);
            for &(partition, asker) in &asked {
                match asker {
                    Asker::Reset { .. } => {
                        positions.hold(partition, now.mono_ms + self.request_timeout_ms);
                    }
                    Asker::Call(op) => {
                        let call = self.calls.get_mut(&op).expect("listed from there");
                        call.asked.insert(partition);
                    }
                }
            }
            let n = self.next_request;
            self.next_request += 1;
            self.offsets.insert(n, asked);
            let request = (Purpose::ListOffsets.token(n), request);
            cluster.send(now, node, request, self.request_timeout_ms, effects);
        }
    }

    fn list_offsets(
        &self,
        now: Now,
        asked: &[(TopicIdPartition, Asker)],
        metadata: &Metadata,
    ) -> RequestKind {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for &(partition, asker) in asked {
            let name = metadata.topic_name(partition.topic).cloned();
            let name = TopicName(name.unwrap_or_default());
            let data = ListOffsetsPartition::default()
                .with_partition_index(partition.partition)
                .with_current_leader_epoch(metadata.current_leader(partition).epoch.0)
                .with_timestamp(asker.timestamp(now));
            match topics.iter_mut().find(|topic| topic.name == name) {
                Some(topic) => topic.partitions.push(data),
                None => topics.push(
                    ListOffsetsTopic::default()
                        .with_name(name)
                        .with_partitions(vec![data]),
                ),
            }
        }
        RequestKind::ListOffsets(
            ListOffsetsRequest::default()
                .with_replica_id(CONSUMER)
                .with_isolation_level(self.isolation_level)
                .with_topics(topics),
        )
    }

    /// A request for offsets ended (`handleListOffsetResponse`).
    pub(super) fn on_list_offsets(
        &mut self,
        now: Now,
        completion: Completion,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let (_, n) = Purpose::of(completion.token);
        let Some(asked) = self.offsets.remove(&n) else {
            return;
        };
        let response = completion.result.ok().and_then(|body| match *body {
            ResponseKind::ListOffsets(response) => Some(response),
            _ => None,
        });
        for (partition, asker) in asked {
            let metadata = &mut cluster.metadata;
            let found = response
                .as_ref()
                .and_then(|response| found_offset(response, partition, metadata));
            let found = found.unwrap_or(Found::Failed);
            if let Asker::Call(op) = asker
                && let Some(call) = self.calls.get_mut(&op)
            {
                call.asked.remove(&partition);
            }
            let (offset, epoch) = match found {
                Found::At(offset, epoch) => (offset, epoch),
                // No record is young enough: asked again when the request would have timed out.
                Found::Nothing if asker.resets() => continue,
                Found::Nothing | Found::Failed => {
                    metadata.request_update();
                    self.retry_later(now, partition, asker, positions);
                    continue;
                }
            };
            metadata.saw_epoch(partition, epoch);
            match asker {
                Asker::Reset { target, .. } => {
                    positions.on_reset(partition, target, offset, metadata, effects);
                }
                Asker::Call(op) => {
                    if let Some(call) = self.calls.get_mut(&op) {
                        call.found.insert(partition, offset);
                    }
                }
            }
        }
    }

    fn retry_later(
        &mut self,
        now: Now,
        partition: TopicIdPartition,
        asker: Asker,
        positions: &mut Positions,
    ) {
        match asker {
            Asker::Reset { target, .. } => {
                let still = positions.awaits(partition, target);
                if still {
                    positions.retry_later(now, partition);
                }
            }
            Asker::Call(op) => {
                if let Some(call) = self.calls.get_mut(&op) {
                    call.not_before_ms = now.mono_ms + self.retry_backoff_ms;
                }
            }
        }
    }

    fn ask_epoch_ends(
        &mut self,
        now: Now,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let asked = positions.needing_validation(now);
        for (node, asked) in group_by_leader(asked, |(partition, _)| *partition, cluster) {
            let request = epoch_end_request(&asked, &cluster.metadata);
            for &(partition, _) in &asked {
                positions.hold(partition, now.mono_ms + self.request_timeout_ms);
            }
            let n = self.next_request;
            self.next_request += 1;
            self.epoch_ends.insert(n, asked);
            let request = (Purpose::EpochEnds.token(n), request);
            cluster.send(now, node, request, self.request_timeout_ms, effects);
        }
    }

    /// A request for epoch ends ended.
    pub(super) fn on_epoch_ends(
        &mut self,
        now: Now,
        completion: Completion,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let (_, n) = Purpose::of(completion.token);
        let Some(asked) = self.epoch_ends.remove(&n) else {
            return;
        };
        let response = completion.result.ok().and_then(|body| match *body {
            ResponseKind::OffsetForLeaderEpoch(response) => Some(response),
            _ => None,
        });
        for (partition, position) in asked {
            let metadata = &mut cluster.metadata;
            let found = response
                .as_ref()
                .and_then(|response| found_epoch_end(response, partition, metadata));
            match found {
                Some(end) => positions.on_epoch_end(now, (partition, position), end, effects),
                None => {
                    metadata.request_update();
                    positions.retry_validation(now, partition, position);
                }
            }
        }
    }
}

/// The broker id of clients (`ListOffsetsRequest.CONSUMER_REPLICA_ID`).
const CONSUMER: BrokerId = BrokerId(-1);

/// Sorts what is to be asked by who leads it; what nobody leads has to wait for metadata.
fn group_by_leader<T>(
    asked: Vec<T>,
    partition: impl Fn(&T) -> TopicIdPartition,
    cluster: &mut Cluster,
) -> BTreeMap<NodeId, Vec<T>> {
    let mut by_leader: BTreeMap<NodeId, Vec<T>> = BTreeMap::new();
    for asked in asked {
        match cluster.metadata.current_leader(partition(&asked)).leader {
            Some(leader) => by_leader.entry(leader).or_default().push(asked),
            None => cluster.metadata.request_update(),
        }
    }
    by_leader
}

fn epoch_end_request(
    asked: &[(TopicIdPartition, FetchPosition)],
    metadata: &Metadata,
) -> RequestKind {
    let mut topics: Vec<OffsetForLeaderTopic> = Vec::new();
    for &(partition, position) in asked {
        let name = metadata.topic_name(partition.topic).cloned();
        let name = TopicName(name.unwrap_or_default());
        let data = OffsetForLeaderPartition::default()
            .with_partition(partition.partition)
            .with_current_leader_epoch(position.leader.epoch.0)
            .with_leader_epoch(position.offset_epoch.0);
        match topics.iter_mut().find(|topic| topic.topic == name) {
            Some(topic) => topic.partitions.push(data),
            None => topics.push(
                OffsetForLeaderTopic::default()
                    .with_topic(name)
                    .with_partitions(vec![data]),
            ),
        }
    }
    RequestKind::OffsetForLeaderEpoch(
        OffsetForLeaderEpochRequest::default()
            .with_replica_id(CONSUMER)
            .with_topics(topics),
    )
}

/// What a response says of a partition.
enum Found {
    At(Offset, LeaderEpoch),
    /// There is no such offset.
    Nothing,
    Failed,
}

/// What a response says of a partition, if it does.
fn found_offset(
    response: &ListOffsetsResponse,
    partition: TopicIdPartition,
    metadata: &Metadata,
) -> Option<Found> {
    let name = metadata.topic_name(partition.topic)?;
    let mut topics = response.topics.iter();
    let topic = topics.find(|topic| topic.name.0 == *name)?;
    let mut partitions = topic.partitions.iter();
    let answer = partitions.find(|answer| answer.partition_index == partition.partition)?;
    Some(match (answer.error_code, Offset(answer.offset)) {
        (0, Offset::UNKNOWN) => Found::Nothing,
        (0, offset) => Found::At(offset, LeaderEpoch(answer.leader_epoch)),
        _ => Found::Failed,
    })
}

/// The epoch end that a response gives for a partition, if it gives one: `Some(None)` says that
/// the leader has no such epoch.
fn found_epoch_end(
    response: &OffsetForLeaderEpochResponse,
    partition: TopicIdPartition,
    metadata: &Metadata,
) -> Option<Option<(LeaderEpoch, Offset)>> {
    let name = metadata.topic_name(partition.topic)?;
    let mut topics = response.topics.iter();
    let topic = topics.find(|topic| topic.topic.0 == *name)?;
    let mut partitions = topic.partitions.iter();
    let answer = partitions.find(|answer| answer.partition == partition.partition)?;
    if answer.error_code != 0 {
        return None;
    }
    let (epoch, offset) = (LeaderEpoch(answer.leader_epoch), Offset(answer.end_offset));
    let undefined = epoch == LeaderEpoch::NONE || offset == Offset::UNKNOWN;
    Some((!undefined).then_some((epoch, offset)))
}
