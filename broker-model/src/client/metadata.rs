//! What a client believes about brokers, topics and leaders, and when it asks again.
//!
//! Mirrors Kafka's `Metadata` and `MetadataSnapshot`: leaders never go back to an older epoch,
//! errors ask for a refresh, refreshes that change nothing back off (KIP-580 and
//! `equivalentResponseCount`), and leaders that Produce and Fetch answers name are taken over at
//! once (KIP-951). Does not send anything; `cluster` does.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use super::backoff::Backoff;
use crate::ids::IdSource;
use crate::types::{
    Endpoint, LeaderEpoch, NodeId, Now, ResponseError, StrBytes, TopicIdPartition, Uuid,
};

/// A client's cache of the cluster.
#[derive(Debug)]
pub(super) struct Metadata {
    config: MetadataConfig,
    brokers: BTreeMap<NodeId, Endpoint>,
    /// What the application uses: asked for at every refresh.
    wanted: BTreeMap<StrBytes, Wanted>,
    /// Topics that are to be used, whose names are not known.
    wanted_ids: BTreeSet<Uuid>,
    topics: BTreeMap<Uuid, Topic>,
    refresh: Refresh,
    /// How many answers were taken in (`updateVersion`).
    version: u64,
}

/// When to refresh, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MetadataConfig {
    /// `metadata.max.age.ms`.
    pub(super) max_age_ms: u64,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(super) backoff: Backoff,
    /// Whether asking about an unknown topic may create it (`allow.auto.create.topics`).
    pub(super) allow_auto_topic_creation: bool,
}

/// Who leads a partition, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LeaderAndEpoch {
    /// `None` while an election runs or the cached leader is known to be outdated.
    pub(super) leader: Option<NodeId>,
    /// The newest epoch seen.
    pub(super) epoch: LeaderEpoch,
}

impl LeaderAndEpoch {
    /// Nothing is known.
    pub(super) const NONE: LeaderAndEpoch = LeaderAndEpoch {
        leader: None,
        epoch: LeaderEpoch::NONE,
    };
}

#[derive(Default, Debug)]
struct Wanted {
    id: Option<Uuid>,
    error: Option<ResponseError>,
}

#[derive(Debug)]
struct Topic {
    name: StrBytes,
    /// By index; empty while the last answer had an error for the topic.
    partitions: Vec<Partition>,
    /// How many of `partitions` the last answer vouched for.
    known: usize,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    cached: LeaderAndEpoch,
    /// At least `cached.epoch`.
    last_seen: LeaderEpoch,
}

#[derive(Debug)]
struct Refresh {
    needed: bool,
    /// A topic was added after the request in flight was built.
    needed_again: bool,
    /// No request before this moment.
    allowed_ms: u64,
    succeeded_ms: Option<u64>,
    failures: u32,
    /// Answers in a row that brought nothing new.
    equivalent: u32,
}

impl Metadata {
    /// Knows nothing and wants to.
    pub(super) fn new(config: MetadataConfig) -> Self {
        Metadata {
            config,
            brokers: BTreeMap::new(),
            wanted: BTreeMap::new(),
            wanted_ids: BTreeSet::new(),
            topics: BTreeMap::new(),
            refresh: Refresh {
                needed: true,
                needed_again: false,
                allowed_ms: 0,
                succeeded_ms: None,
                failures: 0,
                equivalent: 0,
            },
            version: 0,
        }
    }

    /// Grows with every answer.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether a refresh was asked for, or is due (`updateRequested`).
    pub(super) fn is_update_due(&self, now: Now) -> bool {
        self.refresh.needed || self.due_ms(now) <= now.mono_ms
    }

    /// Adds a topic to what is asked for; asks at once if it is new
    /// (`requestUpdateForNewTopics`).
    pub(super) fn want(&mut self, topic: &StrBytes) {
        if self.wanted.contains_key(topic) {
            return;
        }
        self.wanted.insert(topic.clone(), Wanted::default());
        self.refresh.needed = true;
        self.refresh.needed_again = true;
        self.refresh.allowed_ms = 0;
        self.refresh.equivalent = 0;
    }

    /// The same, by the topic's id.
    pub(super) fn want_id(&mut self, id: Uuid) {
        if self.topics.contains_key(&id) {
            return;
        }
        if self.wanted_ids.insert(id) {
            self.refresh.needed_again = true;
            self.refresh.allowed_ms = 0;
            self.refresh.equivalent = 0;
        }
        self.refresh.needed = true;
    }

    /// Asks for a refresh, no sooner than the back-off allows.
    pub(super) fn request_update(&mut self) {
        self.refresh.needed = true;
    }

    /// The topic's id, once known.
    pub(super) fn topic_id(&self, name: &StrBytes) -> Option<Uuid> {
        let id = self.wanted.get(name)?.id?;
        (self.partition_count(id) > 0).then_some(id)
    }

    /// The topic of that id.
    pub(super) fn topic_name(&self, id: Uuid) -> Option<&StrBytes> {
        self.topics.get(&id).map(|topic| &topic.name)
    }

    /// Why the topic cannot be used: an error that asking again does not cure.
    pub(super) fn fatal_error(&self, name: &StrBytes) -> Option<ResponseError> {
        let error = self.wanted.get(name)?.error?;
        (!error.is_retriable()).then_some(error)
    }

    /// The number of partitions, 0 while unknown.
    pub(super) fn partition_count(&self, topic: Uuid) -> usize {
        self.topics.get(&topic).map_or(0, |topic| topic.known)
    }

    /// Partitions of the topic whose leader is known, by index.
    pub(super) fn available_partitions(&self, topic: Uuid) -> impl Iterator<Item = i32> + '_ {
        let partitions = self.topics.get(&topic).into_iter();
        let partitions = partitions.flat_map(|topic| topic.partitions[..topic.known].iter());
        (0..)
            .zip(partitions)
            .filter(|(_, partition)| partition.cached.leader.is_some())
            .map(|(index, _)| index)
    }

    /// The leader, if the cached one is of the newest epoch seen and its endpoint is known.
    pub(super) fn current_leader(&self, partition: TopicIdPartition) -> LeaderAndEpoch {
        let Some(known) = self.partition(partition) else {
            return LeaderAndEpoch::NONE;
        };
        let leader = known.cached.leader;
        let current = known.cached.epoch == known.last_seen;
        LeaderAndEpoch {
            leader: leader.filter(|leader| current && self.brokers.contains_key(leader)),
            epoch: known.last_seen,
        }
    }

    /// Where a broker is to be reached.
    pub(super) fn endpoint(&self, node: NodeId) -> Option<&Endpoint> {
        self.brokers.get(&node)
    }

    /// Every broker known.
    pub(super) fn brokers(&self) -> impl Iterator<Item = (NodeId, &Endpoint)> {
        self.brokers
            .iter()
            .map(|(&node, endpoint)| (node, endpoint))
    }

    /// Takes over a leader that a Produce or Fetch answer named (KIP-951). True if it was news.
    pub(super) fn update_leader(
        &mut self,
        partition: TopicIdPartition,
        leader: NodeId,
        epoch: LeaderEpoch,
    ) -> bool {
        if leader == NodeId::NONE || !self.brokers.contains_key(&leader) {
            return false;
        }
        let Some(known) = self.partition_mut(partition) else {
            return false;
        };
        if epoch <= known.last_seen {
            return false;
        }
        known.last_seen = epoch;
        known.cached = LeaderAndEpoch {
            leader: Some(leader),
            epoch,
        };
        true
    }

    /// Adds a broker that an answer named (`NodeEndpoints`, KIP-951).
    pub(super) fn add_broker(&mut self, node: NodeId, endpoint: Endpoint) {
        self.brokers.entry(node).or_insert(endpoint);
    }

    /// A broker spoke of this leader epoch: an older cached leader is outdated
    /// (`updateLastSeenEpochIfNewer`).
    pub(super) fn saw_epoch(&mut self, partition: TopicIdPartition, epoch: LeaderEpoch) {
        let Some(known) = self.partition_mut(partition) else {
            return;
        };
        if known.last_seen < epoch {
            known.last_seen = epoch;
            self.refresh.needed = true;
        }
    }

    /// When the next request is due, in monotonic milliseconds.
    pub(super) fn due_ms(&self, now: Now) -> u64 {
        let expiry_ms = match self.refresh.succeeded_ms {
            Some(succeeded_ms) if !self.refresh.needed => succeeded_ms + self.config.max_age_ms,
            Some(_) | None => now.mono_ms,
        };
        expiry_ms.max(self.refresh.allowed_ms)
    }

    /// The request to send now.
    pub(super) fn request(&mut self) -> MetadataRequest {
        self.refresh.needed_again = false;
        let topics = self
            .wanted
            .keys()
            .map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(name.clone()))));
        let by_id = self.wanted_ids.iter();
        let by_id = by_id.map(|&id| {
            MetadataRequestTopic::default()
                .with_topic_id(id)
                .with_name(None)
        });
        MetadataRequest::default()
            .with_topics(Some(topics.chain(by_id).collect()))
            .with_allow_auto_topic_creation(self.config.allow_auto_topic_creation)
    }

    /// The request failed (`failedUpdate`).
    pub(super) fn on_failure(&mut self, now: Now, ids: &mut IdSource) {
        self.refresh.needed = true;
        self.refresh.equivalent = 0;
        let delay_ms = self.config.backoff.delay_ms(self.refresh.failures, ids);
        self.refresh.failures += 1;
        self.refresh.allowed_ms = now.mono_ms + delay_ms;
    }

    /// The request was answered (`update`).
    pub(super) fn on_response(&mut self, now: Now, response: MetadataResponse, ids: &mut IdSource) {
        self.version += 1;
        let expired = self
            .refresh
            .succeeded_ms
            .is_none_or(|succeeded_ms| succeeded_ms + self.config.max_age_ms <= now.mono_ms);
        self.refresh.needed = self.refresh.needed_again;
        self.refresh.succeeded_ms = Some(now.mono_ms);
        self.refresh.failures = 0;
        self.refresh.equivalent = if expired {
            1
        } else {
            self.refresh.equivalent + 1
        };
        if !response.brokers.is_empty() {
            let brokers = response.brokers.into_iter();
            self.brokers = brokers
                .map(|broker| (NodeId(broker.node_id.0), endpoint(broker.host, broker.port)))
                .collect();
        }
        for topic in response.topics {
            self.on_topic(topic);
        }
        let equivalent = self.refresh.equivalent.saturating_sub(1);
        let delay_ms = self.config.backoff.delay_ms(equivalent, ids);
        self.refresh.allowed_ms = if self.refresh.needed_again {
            now.mono_ms
        } else {
            now.mono_ms + delay_ms
        };
    }

    fn on_topic(&mut self, topic: MetadataResponseTopic) {
        let Some(TopicName(name)) = topic.name else {
            return;
        };
        if topic.error_code == 0 && self.wanted_ids.remove(&topic.topic_id) {
            self.wanted.entry(name.clone()).or_default();
        }
        let Some(wanted) = self.wanted.get_mut(&name) else {
            return;
        };
        wanted.error = ResponseError::try_from_code(topic.error_code);
        if let Some(error) = wanted.error {
            if is_invalid_metadata(error) {
                self.refresh.needed = true;
            }
            if let Some(known) = wanted.id.and_then(|id| self.topics.get_mut(&id)) {
                known.known = 0;
            }
            return;
        }
        if wanted.id != Some(topic.topic_id) {
            // A topic that was created anew starts from its own leader epochs.
            if let Some(old) = wanted.id.replace(topic.topic_id) {
                self.topics.remove(&old);
            }
        }
        let known = self.topics.entry(topic.topic_id).or_insert_with(|| Topic {
            name,
            partitions: Vec::new(),
            known: 0,
        });
        known.known = topic.partitions.len();
        let mut changed = known.partitions.len() < topic.partitions.len();
        known.partitions.resize(
            topic.partitions.len().max(known.partitions.len()),
            Partition {
                cached: LeaderAndEpoch::NONE,
                last_seen: LeaderEpoch::NONE,
            },
        );
        for partition in topic.partitions {
            let error = ResponseError::try_from_code(partition.error_code);
            if error.is_some_and(is_invalid_metadata) {
                self.refresh.needed = true;
            }
            let at = usize::try_from(partition.partition_index).ok();
            if let Some(known) = at.and_then(|at| known.partitions.get_mut(at)) {
                changed |= known.update(&partition);
            }
        }
        if changed {
            self.refresh.equivalent = 0;
        }
    }

    fn partition(&self, partition: TopicIdPartition) -> Option<&Partition> {
        let topic = self.topics.get(&partition.topic)?;
        let at = usize::try_from(partition.partition).ok()?;
        topic.partitions[..topic.known].get(at)
    }

    fn partition_mut(&mut self, partition: TopicIdPartition) -> Option<&mut Partition> {
        let topic = self.topics.get_mut(&partition.topic)?;
        let at = usize::try_from(partition.partition).ok()?;
        topic.partitions.get_mut(at)
    }
}

impl Partition {
    /// Takes an answer over unless its epoch is older. True if the epoch is newer.
    fn update(&mut self, answer: &MetadataResponsePartition) -> bool {
        let epoch = LeaderEpoch(answer.leader_epoch);
        if epoch < self.last_seen {
            return false;
        }
        let newer = self.last_seen < epoch;
        self.last_seen = epoch;
        let leader = NodeId(answer.leader_id.0);
        self.cached = LeaderAndEpoch {
            leader: (leader != NodeId::NONE).then_some(leader),
            epoch,
        };
        newer
    }
}

/// An endpoint as a response states it.
pub(super) fn endpoint(host: StrBytes, port: i32) -> Endpoint {
    Endpoint {
        host,
        port: u16::try_from(port).unwrap_or_default(),
    }
}

/// Whether the error says that the client's metadata is outdated (`InvalidMetadataException`).
pub(super) fn is_invalid_metadata(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::UnknownTopicOrPartition
            | ResponseError::LeaderNotAvailable
            | ResponseError::NotLeaderOrFollower
            | ResponseError::NetworkException
            | ResponseError::ReplicaNotAvailable
            | ResponseError::KafkaStorageError
            | ResponseError::ListenerNotFound
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownTopicId
            | ResponseError::InconsistentTopicId
    )
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;

    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(100);
    const P0: TopicIdPartition = TopicIdPartition {
        topic: TOPIC,
        partition: 0,
    };

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 0,
        }
    }

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new(MetadataConfig {
            max_age_ms: 300_000,
            backoff: Backoff {
                initial_ms: 100,
                max_ms: 1_000,
            },
            allow_auto_topic_creation: true,
        });
        metadata.want(&StrBytes::from_static_str("orders"));
        metadata
    }

    fn answer(leader: i32, epoch: i32) -> MetadataResponse {
        let broker = |id| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_static_str("n"))
                .with_port(9092)
        };
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("orders"))))
            .with_topic_id(TOPIC)
            .with_partitions(vec![partition]);
        MetadataResponse::default()
            .with_brokers(vec![broker(1), broker(2)])
            .with_topics(vec![topic])
    }

    fn leader(node: i32, epoch: i32) -> LeaderAndEpoch {
        LeaderAndEpoch {
            leader: Some(NodeId(node)),
            epoch: LeaderEpoch(epoch),
        }
    }

    #[test]
    fn an_answer_with_an_older_leader_epoch_changes_nothing() {
        let mut metadata = metadata();
        let mut ids = IdSource::new(0);
        metadata.on_response(at(0), answer(1, 5), &mut ids);
        metadata.on_response(at(1), answer(2, 4), &mut ids);
        assert_eq!(metadata.current_leader(P0), leader(1, 5));
        metadata.on_response(at(2), answer(2, 6), &mut ids);
        assert_eq!(metadata.current_leader(P0), leader(2, 6));
    }

    #[test]
    fn a_newer_leader_in_an_answer_is_taken_over_at_once() {
        let mut metadata = metadata();
        metadata.on_response(at(0), answer(1, 5), &mut IdSource::new(0));
        assert!(!metadata.update_leader(P0, NodeId(2), LeaderEpoch(5)));
        assert!(
            !metadata.update_leader(P0, NodeId(9), LeaderEpoch(6)),
            "not a known broker"
        );
        assert!(metadata.update_leader(P0, NodeId(2), LeaderEpoch(6)));
        assert_eq!(metadata.current_leader(P0), leader(2, 6));
    }

    #[test]
    fn a_newer_epoch_without_a_leader_makes_the_cached_one_unusable() {
        let mut metadata = metadata();
        metadata.on_response(at(0), answer(1, 5), &mut IdSource::new(0));
        metadata.saw_epoch(P0, LeaderEpoch(7));
        assert_eq!(metadata.current_leader(P0).leader, None);
        assert!(metadata.due_ms(at(5_000)) <= 5_000);
    }

    #[test]
    fn answers_that_bring_nothing_new_back_off_up_to_the_bound() {
        let mut metadata = metadata();
        let mut ids = IdSource::new(0);
        metadata.request();
        metadata.on_response(at(0), answer(1, 5), &mut ids);
        let mut now = at(0);
        for bound_ms in [120, 120, 240, 480, 960, 1_000] {
            metadata.request_update();
            let due_ms = metadata.due_ms(now);
            assert!(due_ms - now.mono_ms <= bound_ms, "{due_ms} after {now:?}");
            assert!(
                now.mono_ms + bound_ms * 6 / 10 <= due_ms,
                "{due_ms} after {now:?}"
            );
            now = at(due_ms);
            metadata.request();
            metadata.on_response(now, answer(1, 5), &mut ids);
        }
        assert_eq!(metadata.due_ms(now), now.mono_ms + 300_000);
    }

    #[test]
    fn a_topic_that_is_new_is_asked_for_at_once() {
        let mut metadata = metadata();
        metadata.request();
        metadata.want(&StrBytes::from_static_str("other"));
        metadata.on_response(at(10), answer(1, 5), &mut IdSource::new(0));
        assert_eq!(metadata.due_ms(at(10)), 10);
        assert_eq!(metadata.topic_id(&StrBytes::from_static_str("other")), None);
    }
}
