//! The fetchers of a broker: one for each broker that leads something, with one fetch in flight.
//!
//! A follower's fetch names the epoch of its last record; a leader whose log has another history
//! answers up to where they may agree, and the follower cuts its log and asks again (KIP-595's way,
//! since IBP 2.7). Nothing is cut before a leader has said so.
//!
//! Mirrors `AbstractFetcherManager`, `AbstractFetcherThread` and `RemoteLeaderEndPoint`. Whom to
//! follow is in the metadata; what an answer does to a log is in [`follower`](super::follower).

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::fetch_response::FetchResponse;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::list_offsets_response::ListOffsetsResponse;
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind, TopicName};

use super::follower::{self, Verdict};
use super::follower_session::{FollowerSession, SessionRequest};
use super::manager::{Hosted, ReplicaConfig, Touched};
use super::partition::Partition;
use super::sessions::PartitionFetch;
use crate::bug::Bug;
use crate::client::network::Completion;
use crate::context::Context;
use crate::log::lookup::timestamps;
use crate::timer::{Channel, Timer};
use crate::types::{
    BrokerEpoch, Endpoint, LeaderEpoch, NodeId, Offset, ResponseError, TopicIdPartition,
};

/// Every fetcher of a broker.
#[derive(Debug, Default)]
pub(super) struct Fetchers {
    by_leader: BTreeMap<NodeId, Fetcher>,
    last_token: u64,
}

/// Fetches from one broker.
#[derive(Debug)]
struct Fetcher {
    leader: NodeId,
    endpoint: Endpoint,
    partitions: BTreeMap<TopicIdPartition, FetchState>,
    session: FollowerSession,
    /// The token of the fetch in flight.
    in_flight: Option<u64>,
    /// Questions for offsets in flight, by token.
    lookups: BTreeMap<u64, Lookup>,
}

/// Where a partition stands (`PartitionFetchState`). It fetches at its log end, always.
#[derive(Clone, Copy, Debug)]
struct FetchState {
    leader_epoch: LeaderEpoch,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Fetching,
    /// Waits after an error, up to that moment of the monotonic clock.
    Delayed {
        until_ms: u64,
    },
    /// Asks the leader where its log ends.
    FindingEnd,
    /// Asks the leader where its log starts.
    FindingStart,
}

/// A question for the leader's log end or log start.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    partition: TopicIdPartition,
    leader_epoch: LeaderEpoch,
    /// One of ListOffsets' special timestamps.
    timestamp: i64,
}

/// What a fetcher needs to know of its broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower<'a> {
    /// Sizes and times.
    pub(super) config: &'a ReplicaConfig,
    /// The broker's registration.
    pub(super) broker_epoch: BrokerEpoch,
}

impl Fetchers {
    /// Starts to fetch a partition anew; [`Fetchers::pump`] sends.
    pub(super) fn add(&mut self, cx: &mut Context<'_>, partition: &Partition, endpoint: &Endpoint) {
        self.remove(partition.id);
        let leader = partition.leader();
        let fetcher = self
            .by_leader
            .entry(leader)
            .or_insert_with(|| Fetcher::new(leader, endpoint.clone()));
        if fetcher.endpoint != *endpoint {
            // The broker registered anew elsewhere: what it had in processing is gone.
            cx.network.close(Channel::Fetcher(leader), cx.effects);
            let partitions = std::mem::take(&mut fetcher.partitions);
            *fetcher = Fetcher::new(leader, endpoint.clone());
            fetcher.partitions = partitions;
        }
        let state = FetchState {
            leader_epoch: partition.leader_epoch(),
            phase: Phase::Fetching,
        };
        fetcher.partitions.insert(partition.id, state);
    }

    /// No longer fetches a partition.
    pub(super) fn remove(&mut self, partition: TopicIdPartition) {
        for fetcher in self.by_leader.values_mut() {
            fetcher.partitions.remove(&partition);
        }
    }

    /// Closes the fetchers that have no partition left.
    pub(super) fn close_idle(&mut self, cx: &mut Context<'_>) {
        self.by_leader.retain(|&leader, fetcher| {
            let idle = fetcher.partitions.is_empty();
            if idle {
                cx.network.close(Channel::Fetcher(leader), cx.effects);
                cx.effects.disarm(Timer::FetcherBackoff(leader));
            }
            !idle
        });
    }

    /// Closes all.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        for fetcher in self.by_leader.values_mut() {
            fetcher.partitions.clear();
        }
        self.close_idle(cx);
    }

    /// Sends what can be sent, after partitions came, went or waited long enough.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>, hosted: &Hosted, broker: Follower<'_>) {
        for fetcher in self.by_leader.values_mut() {
            fetcher.pump(cx, &mut self.last_token, hosted, broker);
        }
    }

    /// A request to that broker ended.
    pub(super) fn on_completion(
        &mut self,
        cx: &mut Context<'_>,
        (leader, completion): (NodeId, Completion),
        (hosted, touched): (&mut Hosted, &mut Touched),
        broker: Follower<'_>,
    ) {
        let Some(fetcher) = self.by_leader.get_mut(&leader) else {
            return;
        };
        let token = completion.token;
        if fetcher.in_flight.take_if(|it| *it == token).is_some() {
            match completion.result.map(|body| *body) {
                Ok(ResponseKind::Fetch(response)) => {
                    fetcher.on_fetched(cx, response, (hosted, touched), broker);
                }
                Ok(_) => unreachable!("Fetch is answered with Fetch"),
                Err(_) => {
                    fetcher.session.on_failure();
                    fetcher.delay_all(cx, broker);
                }
            }
        } else if let Some(lookup) = fetcher.lookups.remove(&token) {
            let offset = match completion.result.map(|body| *body) {
                Ok(ResponseKind::ListOffsets(response)) => looked_up(&response),
                Ok(_) => unreachable!("ListOffsets is answered with ListOffsets"),
                Err(_) => Err(ResponseError::NetworkException),
            };
            fetcher.on_looked_up(cx, (lookup, offset), (hosted, touched), broker);
        } else {
            return;
        }
        fetcher.pump(cx, &mut self.last_token, hosted, broker);
    }
}

impl Fetcher {
    fn new(leader: NodeId, endpoint: Endpoint) -> Self {
        Fetcher {
            leader,
            endpoint,
            partitions: BTreeMap::new(),
            session: FollowerSession::new(),
            in_flight: None,
            lookups: BTreeMap::new(),
        }
    }

    /// Asks for offsets where they are wanted, and fetches unless a fetch is in flight.
    fn pump(
        &mut self,
        cx: &mut Context<'_>,
        last_token: &mut u64,
        hosted: &Hosted,
        broker: Follower<'_>,
    ) {
        self.ask_for_offsets(cx, last_token, hosted, broker);
        if self.in_flight.is_some() {
            return;
        }
        let wanted = self.wanted(cx, hosted, broker);
        let Some(request) = self.session.request(&wanted) else {
            return self.wait(cx);
        };
        let request = RequestKind::Fetch(fetch_request(request, broker));
        self.in_flight = Some(self.send(cx, last_token, request, broker));
    }

    fn send(
        &self,
        cx: &mut Context<'_>,
        last_token: &mut u64,
        request: RequestKind,
        broker: Follower<'_>,
    ) -> u64 {
        *last_token += 1;
        cx.network.send(
            cx.now,
            Channel::Fetcher(self.leader),
            &self.endpoint,
            (*last_token, request),
            broker.config.replica_socket_timeout_ms,
            cx.effects,
        );
        *last_token
    }

    /// What to ask of each partition that is ready, in ascending order.
    fn wanted(
        &mut self,
        cx: &Context<'_>,
        hosted: &Hosted,
        broker: Follower<'_>,
    ) -> Vec<(TopicIdPartition, PartitionFetch)> {
        let mut wanted = Vec::with_capacity(self.partitions.len());
        for (&id, state) in &mut self.partitions {
            if let Phase::Delayed { until_ms } = state.phase
                && until_ms <= cx.now.mono_ms
            {
                state.phase = Phase::Fetching;
            }
            if state.phase != Phase::Fetching {
                continue;
            }
            let log = &hosted.get(&id).expect("what is fetched is hosted").log;
            let has_epochs = !cx.has(Bug::Kip101HwTruncation);
            let fetch = PartitionFetch {
                offset: log.log_end(),
                last_fetched_epoch: log.latest_epoch().filter(|_| has_epochs),
                current_leader_epoch: Some(state.leader_epoch),
                log_start: log.log_start(),
                max_bytes: broker.config.replica_fetch_max_bytes,
            };
            wanted.push((id, fetch));
        }
        wanted
    }

    /// Nothing is ready: comes back when the first delay is over.
    fn wait(&mut self, cx: &mut Context<'_>) {
        let delays = self.partitions.values().filter_map(|it| match it.phase {
            Phase::Delayed { until_ms } => Some(until_ms),
            Phase::Fetching | Phase::FindingEnd | Phase::FindingStart => None,
        });
        if let Some(until_ms) = delays.min() {
            let wait_ms = until_ms.saturating_sub(cx.now.mono_ms);
            cx.effects
                .arm_at(Timer::FetcherBackoff(self.leader), wait_ms);
        }
    }

    fn on_fetched(
        &mut self,
        cx: &mut Context<'_>,
        response: FetchResponse,
        (hosted, touched): (&mut Hosted, &mut Touched),
        broker: Follower<'_>,
    ) {
        if !self.session.on_response(&response) {
            return;
        }
        for topic in response.responses {
            for data in topic.partitions {
                let id = TopicIdPartition {
                    topic: topic.topic_id,
                    partition: data.partition_index,
                };
                let Some(state) = self.partitions.get_mut(&id) else {
                    continue;
                };
                let partition = hosted.get_mut(&id).expect("what is fetched is hosted");
                // Since it was asked for, the partition may have got another leader epoch.
                let asked = self.session.asked(id);
                let is_current = asked.is_some_and(|asked| {
                    state.phase == Phase::Fetching
                        && asked.offset == partition.log.log_end()
                        && asked.current_leader_epoch == Some(state.leader_epoch)
                });
                if is_current {
                    let verdict = follower::take_in(cx, partition, data, touched);
                    self.settle(cx, id, verdict, broker);
                }
            }
        }
    }

    /// The leader answered where its log ends or starts.
    fn on_looked_up(
        &mut self,
        cx: &mut Context<'_>,
        (lookup, offset): (Lookup, Result<Offset, ResponseError>),
        (hosted, touched): (&mut Hosted, &mut Touched),
        broker: Follower<'_>,
    ) {
        let id = lookup.partition;
        let Some(state) = self.partitions.get(&id) else {
            return;
        };
        if state.leader_epoch != lookup.leader_epoch || state.phase.asks() != Some(lookup.timestamp)
        {
            return;
        }
        let partition = hosted.get_mut(&id).expect("what is fetched is hosted");
        let verdict = match offset {
            Err(error) => Verdict::of(error),
            Ok(end) if lookup.timestamp == timestamps::LATEST => {
                follower::leader_ends_at(cx, partition, end)
            }
            Ok(start) => follower::leader_starts_at(cx, partition, start),
        };
        touched.add(id, super::purgatory::News::Watermarks);
        self.settle(cx, id, verdict, broker);
    }

    /// Carries out what an answer means for the partition.
    fn settle(
        &mut self,
        cx: &Context<'_>,
        id: TopicIdPartition,
        verdict: Verdict,
        broker: Follower<'_>,
    ) {
        let Some(state) = self.partitions.get_mut(&id) else {
            return;
        };
        match verdict {
            Verdict::Ready => state.phase = Phase::Fetching,
            Verdict::Delay => state.phase = Phase::delayed(cx, broker),
            Verdict::OutOfRange => state.phase = Phase::FindingEnd,
            Verdict::BehindEnd => state.phase = Phase::FindingStart,
            Verdict::Failed => {
                self.partitions.remove(&id);
            }
        }
    }

    fn delay_all(&mut self, cx: &Context<'_>, broker: Follower<'_>) {
        let fetching = self.partitions.values_mut();
        for state in fetching.filter(|it| it.phase == Phase::Fetching) {
            state.phase = Phase::delayed(cx, broker);
        }
    }

    fn ask_for_offsets(
        &mut self,
        cx: &mut Context<'_>,
        last_token: &mut u64,
        hosted: &Hosted,
        broker: Follower<'_>,
    ) {
        let asking = self.partitions.iter().filter_map(|(&partition, state)| {
            Some(Lookup {
                partition,
                leader_epoch: state.leader_epoch,
                timestamp: state.phase.asks()?,
            })
        });
        let asking: Vec<Lookup> = asking
            .filter(|lookup| !self.lookups.values().any(|it| it.is_same(lookup)))
            .collect();
        for lookup in asking {
            let partition = hosted.get(&lookup.partition);
            let partition = partition.expect("what is fetched is hosted");
            let request = RequestKind::ListOffsets(lookup.request(partition, broker));
            let token = self.send(cx, last_token, request, broker);
            self.lookups.insert(token, lookup);
        }
    }
}

impl Phase {
    fn delayed(cx: &Context<'_>, broker: Follower<'_>) -> Phase {
        Phase::Delayed {
            until_ms: cx.now.mono_ms + broker.config.replica_fetch_backoff_ms,
        }
    }

    /// The special timestamp of the offset that is wanted.
    fn asks(self) -> Option<i64> {
        match self {
            Phase::FindingEnd => Some(timestamps::LATEST),
            Phase::FindingStart => Some(timestamps::EARLIEST),
            Phase::Fetching | Phase::Delayed { .. } => None,
        }
    }
}

impl Lookup {
    fn is_same(&self, other: &Lookup) -> bool {
        self.partition == other.partition
            && self.leader_epoch == other.leader_epoch
            && self.timestamp == other.timestamp
    }

    fn request(&self, partition: &Partition, broker: Follower<'_>) -> ListOffsetsRequest {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(self.partition.partition)
            .with_current_leader_epoch(self.leader_epoch.0)
            .with_timestamp(self.timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(partition.topic.clone()))
            .with_partitions(vec![asked]);
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(broker.config.node.0))
            .with_topics(vec![topic])
    }
}

/// The one offset that was asked for.
fn looked_up(response: &ListOffsetsResponse) -> Result<Offset, ResponseError> {
    let mut answers = response.topics.iter().flat_map(|it| &it.partitions);
    let answer = answers.next().ok_or(ResponseError::UnknownServerError)?;
    match ResponseError::try_from_code(answer.error_code) {
        Some(error) => Err(error),
        None => Ok(Offset(answer.offset)),
    }
}

fn fetch_request(request: SessionRequest, broker: Follower<'_>) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (id, fetch) in request.changed {
        let epoch = |epoch: Option<LeaderEpoch>| epoch.unwrap_or(LeaderEpoch::NONE).0;
        let partition = FetchPartition::default()
            .with_partition(id.partition)
            .with_current_leader_epoch(epoch(fetch.current_leader_epoch))
            .with_fetch_offset(fetch.offset.0)
            .with_last_fetched_epoch(epoch(fetch.last_fetched_epoch))
            .with_log_start_offset(fetch.log_start.0)
            .with_partition_max_bytes(fetch.max_bytes);
        match topics.last_mut().filter(|it| it.topic_id == id.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                FetchTopic::default()
                    .with_topic_id(id.topic)
                    .with_partitions(vec![partition]),
            ),
        }
    }
    let forgotten = request.forgotten.iter().map(|id| {
        ForgottenTopic::default()
            .with_topic_id(id.topic)
            .with_partitions(vec![id.partition])
    });
    let config = broker.config;
    FetchRequest::default()
        .with_replica_state(
            ReplicaState::default()
                .with_replica_id(BrokerId(config.node.0))
                .with_replica_epoch(broker.broker_epoch.0),
        )
        .with_max_wait_ms(config.replica_fetch_wait_max_ms)
        .with_min_bytes(config.replica_fetch_min_bytes)
        .with_max_bytes(config.replica_fetch_response_max_bytes)
        .with_session_id(request.session)
        .with_session_epoch(request.epoch)
        .with_topics(topics)
        .with_forgotten_topics_data(forgotten.collect())
}
