//! Fetches batches ahead of the application and hands them out in poll-sized pieces.
//!
//! Mirrors Kafka's `AbstractFetch` and `FetchCollector`: one fetch in flight a broker, none to a
//! broker whose last answer is not used up, answers to outdated positions dropped. As there, a
//! consumer sends no last fetched epoch; it learns of truncation by validating (`positions`).
//! Unlike there, a partition that was answered with an error rests for `retry.backoff.ms`, where
//! Kafka fetches again at once until the leader is known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, RequestKind, ResponseKind};

use super::completed_fetch::{AbortedFilter, CompletedFetch};
use super::positions::Positions;
use super::session::{FetchSession, Wanted};
use crate::client::cluster::Cluster;
use crate::client::command::PolledPartition;
use crate::client::metadata::{Metadata, endpoint, is_invalid_metadata};
use crate::client::network::{Completion, Readiness};
use crate::client::token::Purpose;
use crate::config::{ConsumerConfig, IsolationLevel};
use crate::effect::Effects;
use crate::timer::Channel;
use crate::types::{LeaderEpoch, NodeId, Now, Offset, ProducerId, ResponseError, TopicIdPartition};

/// Sessions with brokers, and what they brought.
#[derive(Debug)]
pub(super) struct Fetcher {
    config: ConsumerConfig,
    sessions: BTreeMap<NodeId, FetchSession>,
    /// In the order of arrival.
    buffer: VecDeque<CompletedFetch>,
}

impl Fetcher {
    /// Nothing fetched yet.
    pub(super) fn new(config: ConsumerConfig) -> Self {
        Fetcher {
            config,
            sessions: BTreeMap::new(),
            buffer: VecDeque::new(),
        }
    }

    /// What a poll returns: at most `max.poll.records` records (`collectFetch`).
    pub(super) fn collect(&mut self, now: Now, positions: &mut Positions) -> Vec<PolledPartition> {
        let mut polled = Vec::new();
        let mut paused = Vec::new();
        let mut room = self.config.max_poll_records;
        while room > 0
            && let Some(fetch) = self.buffer.front_mut()
        {
            let partition = fetch.partition;
            if positions.is_paused(partition) {
                paused.extend(self.buffer.pop_front());
                continue;
            }
            let position = positions.valid(partition);
            let position = position.filter(|_| !positions.is_held(partition));
            let Some(from) = position.filter(|position| position.offset == fetch.next_offset)
            else {
                self.buffer.pop_front();
                continue;
            };
            let Ok(records) = fetch.take(room) else {
                // Bytes that are no batch: fetched again, in case they were spoilt on the way.
                self.buffer.pop_front();
                positions.rest(now, partition);
                continue;
            };
            room -= records.len();
            let (from, to) = (from.offset, fetch.next_offset);
            if from < to {
                positions.advance(partition, to, fetch.last_epoch);
                polled.push(PolledPartition {
                    partition,
                    from,
                    to,
                    records,
                });
            }
            if fetch.is_used_up() {
                self.buffer.pop_front();
            }
        }
        self.buffer.extend(paused);
        polled
    }

    /// Sends a fetch to every broker that leads a partition without buffered records
    /// (`prepareFetchRequests`).
    pub(super) fn send_fetches(
        &mut self,
        now: Now,
        positions: &Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let mut wanted: BTreeMap<NodeId, BTreeMap<TopicIdPartition, Wanted>> = BTreeMap::new();
        let mut busy = BTreeSet::new();
        for (partition, position) in positions.fetchable(now) {
            let Some(leader) = position.leader.leader else {
                cluster.metadata.request_update();
                continue;
            };
            if self.is_buffered(partition) {
                busy.insert(leader);
                continue;
            }
            let want = Wanted {
                offset: position.offset,
                leader_epoch: position.leader.epoch,
                max_bytes: self.config.max_partition_fetch_bytes,
            };
            wanted.entry(leader).or_default().insert(partition, want);
        }
        for (node, wanted) in wanted {
            if !busy.contains(&node) {
                self.send_fetch(now, node, wanted, cluster, effects);
            }
        }
    }

    fn is_buffered(&self, partition: TopicIdPartition) -> bool {
        self.buffer.iter().any(|fetch| fetch.partition == partition)
    }

    fn send_fetch(
        &mut self,
        now: Now,
        node: NodeId,
        wanted: BTreeMap<TopicIdPartition, Wanted>,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let session = self.sessions.entry(node).or_default();
        let channel = Channel::Broker(node);
        let backing_off = cluster.network.readiness(channel) == Readiness::BackingOff;
        if session.is_in_flight() {
            return;
        }
        if cluster.metadata.endpoint(node).is_none() {
            // The last answer named this leader no more, or not yet.
            return cluster.metadata.request_update();
        }
        if backing_off {
            // Asks for the connection, so that its readiness is heard of.
            cluster.can_send(now, node, 1, effects);
            return;
        }
        let request: FetchRequest = session
            .request(wanted, &cluster.metadata)
            .with_max_wait_ms(self.config.fetch_max_wait_ms)
            .with_min_bytes(self.config.fetch_min_bytes)
            .with_max_bytes(self.config.fetch_max_bytes)
            .with_isolation_level(self.config.isolation_level.code());
        let node_number = u64::from(node.0.unsigned_abs());
        let request = (
            Purpose::Fetch.token(node_number),
            RequestKind::Fetch(request),
        );
        let timeout_ms = self.config.request_timeout_ms;
        cluster.send(now, node, request, timeout_ms, effects);
    }

    /// A fetch ended (`handleFetchSuccess`, `handleFetchFailure`).
    pub(super) fn on_fetch(
        &mut self,
        now: Now,
        completion: Completion,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let Channel::Broker(node) = completion.channel else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&node) else {
            return;
        };
        let response = completion.result.ok().and_then(|body| match *body {
            ResponseKind::Fetch(response) => Some(response),
            _ => None,
        });
        let Some(response) = response else {
            let asked: Vec<TopicIdPartition> = session.partitions().collect();
            session.on_error();
            for partition in asked {
                positions.rest(now, partition);
            }
            return;
        };
        let answered = answered(&response, &cluster.metadata);
        if !session.on_response(&response, &answered) {
            cluster.metadata.request_update();
            return;
        }
        for endpoint_of in &response.node_endpoints {
            let endpoint = endpoint(endpoint_of.host.clone(), endpoint_of.port);
            let node = NodeId(endpoint_of.node_id.0);
            cluster.metadata.add_broker(node, endpoint);
        }
        let parts = response.responses.into_iter();
        let parts = parts.flat_map(|topic| topic.partitions);
        for (partition, data) in answered.into_iter().zip(parts) {
            self.on_partition(now, (node, partition), data, positions, cluster, effects);
        }
        positions.on_leaders_changed(&cluster.metadata);
    }

    fn on_partition(
        &mut self,
        now: Now,
        (node, partition): (NodeId, TopicIdPartition),
        data: PartitionData,
        positions: &mut Positions,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let asked = self.sessions.get(&node);
        let Some(asked) = asked.and_then(|session| session.asked(partition)) else {
            return;
        };
        let Some(error) = ResponseError::try_from_code(data.error_code) else {
            return self.on_records(partition, asked.offset, data);
        };
        if matches!(
            error,
            ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch
        ) {
            let leader = NodeId(data.current_leader.leader_id.0);
            let epoch = LeaderEpoch(data.current_leader.leader_epoch);
            cluster.metadata.update_leader(partition, leader, epoch);
        }
        if is_invalid_metadata(error) || error == ResponseError::OffsetNotAvailable {
            cluster.metadata.request_update();
        }
        if error == ResponseError::OffsetOutOfRange {
            positions.on_out_of_range(now, partition, asked.offset, effects);
        } else {
            positions.rest(now, partition);
        }
    }

    fn on_records(&mut self, partition: TopicIdPartition, asked: Offset, data: PartitionData) {
        let records = data.records.unwrap_or_default();
        if records.is_empty() {
            return;
        }
        let committed = self.config.isolation_level == IsolationLevel::ReadCommitted;
        let filter = committed.then(|| {
            let aborted = data.aborted_transactions.unwrap_or_default().into_iter();
            let aborted =
                aborted.map(|txn| (Offset(txn.first_offset), ProducerId(txn.producer_id.0)));
            AbortedFilter::new(aborted.collect())
        });
        let check_crcs = self.config.check_crcs;
        let fetch = CompletedFetch::new(partition, asked, records, filter, check_crcs);
        self.buffer.push_back(fetch);
    }
}

/// The partitions of an answer, in its order; versions below 13 go by name.
fn answered(response: &FetchResponse, metadata: &Metadata) -> Vec<TopicIdPartition> {
    let topic_id = |topic: &FetchableTopicResponse| {
        if topic.topic_id.is_nil() {
            metadata.topic_id(&topic.topic.0).unwrap_or_default()
        } else {
            topic.topic_id
        }
    };
    let partitions = response.responses.iter().flat_map(|topic| {
        let id = topic_id(topic);
        topic
            .partitions
            .iter()
            .map(move |partition| TopicIdPartition {
                topic: id,
                partition: partition.partition_index,
            })
    });
    partitions.collect()
}
