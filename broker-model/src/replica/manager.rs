//! The replicas of a broker: which there are, who leads them, and who is told of what.
//!
//! Mirrors `ReplicaManager` without what it does with requests: those are in [`produce`],
//! [`fetch`], [`offsets`] and their like. After each input, the requests that wait for one of the
//! partitions it touched are looked at, and what is to be sent is sent.
//!
//! [`produce`]: super::produce
//! [`fetch`]: super::fetch
//! [`offsets`]: super::offsets

use std::collections::BTreeMap;

use kafka_protocol::messages::RequestKind;

use super::alter_partition::AlterPartitions;
use super::checkpoints::{self, Checkpoint};
use super::cluster::Cluster;
use super::delete_records;
use super::fetcher::{Fetchers, Follower};
use super::partition::{Partition, Surroundings};
use super::purgatory::{News, Operation, OperationId, Parked, Purgatory};
use super::sessions::{FetchSessions, TopicKey};
use super::storage::Storage;
use crate::client::network::Completion;
use crate::config::{BrokerConfig, Given};
use crate::context::Context;
use crate::effect::{DiskRead, File};
use crate::input::RequestHeader;
use crate::log::{RecoveryReport, UnifiedLog};
use crate::metadata::MetadataImage;
use crate::timer::{Channel, Timer};
use crate::types::{
    BrokerEpoch, ConnectionId, Endpoint, LeaderEpoch, NodeId, Offset, ResponseError,
    TopicIdPartition,
};

/// The replicas by partition.
pub(super) type Hosted = BTreeMap<TopicIdPartition, Partition>;

/// What replication needs of the broker's properties. Times are in ms, sizes in bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaConfig {
    /// `node.id`
    pub node: NodeId,
    /// `replica.lag.time.max.ms`
    pub replica_lag_time_max_ms: u64,
    /// `replica.fetch.wait.max.ms`
    pub replica_fetch_wait_max_ms: i32,
    /// `replica.fetch.min.bytes`
    pub replica_fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`
    pub replica_fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`
    pub replica_fetch_response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`
    pub replica_fetch_backoff_ms: u64,
    /// `replica.socket.timeout.ms`
    pub replica_socket_timeout_ms: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`
    pub high_watermark_checkpoint_interval_ms: u64,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_id_expiration_check_interval_ms: u64,
    /// All properties of the node: what topics do not say, they say.
    pub properties: Given,
}

impl ReplicaConfig {
    /// What replication needs of a broker's properties.
    #[must_use]
    pub fn from_broker_config(node: NodeId, config: &BrokerConfig, properties: Given) -> Self {
        ReplicaConfig {
            node,
            replica_lag_time_max_ms: config.replica_lag_time_max_ms,
            replica_fetch_wait_max_ms: config.replica_fetch_wait_max_ms,
            replica_fetch_min_bytes: config.replica_fetch_min_bytes,
            replica_fetch_max_bytes: config.replica_fetch_max_bytes,
            replica_fetch_response_max_bytes: config.replica_fetch_response_max_bytes,
            replica_fetch_backoff_ms: config.replica_fetch_backoff_ms,
            replica_socket_timeout_ms: config.replica_socket_timeout_ms,
            high_watermark_checkpoint_interval_ms: config
                .replica_high_watermark_checkpoint_interval_ms,
            fetch_max_bytes: config.fetch_max_bytes,
            fetch_session_slots: config.max_incremental_fetch_session_cache_slots,
            producer_id_expiration_ms: i64::try_from(config.producer_id_expiration_ms)
                .unwrap_or(i64::MAX),
            producer_id_expiration_check_interval_ms: config
                .producer_id_expiration_check_interval_ms,
            properties,
        }
    }
}

/// The replicas of a broker.
///
/// hosted and unhosted have no partition in common; every partition that is fetched is hosted.
#[derive(Debug)]
pub struct ReplicaManager {
    pub(super) config: ReplicaConfig,
    pub(super) around: Surroundings,
    pub(super) hosted: Hosted,
    /// Logs on the disk of which the metadata has not said, or no longer says, that they are used.
    pub(super) unhosted: BTreeMap<TopicIdPartition, UnifiedLog>,
    pub(super) fetchers: Fetchers,
    pub(super) alter: AlterPartitions,
    pub(super) sessions: FetchSessions,
    pub(super) purgatory: Purgatory,
    pub(super) touched: Touched,
    pub(super) storage: Storage,
    /// What recovery found, until `start` has told it.
    recovered: Vec<(TopicIdPartition, RecoveryReport, Offset)>,
    /// Whether any metadata was taken in.
    pub(super) has_metadata: bool,
    pub(super) is_in_controlled_shutdown: bool,
}

/// The partitions that an input touched, and how.
#[derive(Debug, Default)]
pub(super) struct Touched(BTreeMap<TopicIdPartition, News>);

impl Touched {
    /// There is news of a partition for those that wait.
    pub(super) fn add(&mut self, partition: TopicIdPartition, news: News) {
        let known = self.0.entry(partition).or_insert(news);
        *known = news.max(*known);
    }
}

impl ReplicaManager {
    /// Reads what a process before left on the disk.
    #[must_use]
    pub fn recover(config: ReplicaConfig, disk: &dyn DiskRead) -> Self {
        let clean_epoch = checkpoints::read_clean_shutdown(disk);
        let high_watermarks = checkpoints::read(disk, File::HighWatermarks);
        let log_starts = checkpoints::read(disk, File::LogStarts);
        let offset_in = |checkpoint: &Checkpoint, at| {
            let offset = checkpoint.get(&at).copied();
            offset.unwrap_or(Offset::ZERO)
        };
        let mut unhosted = BTreeMap::new();
        let mut recovered = Vec::new();
        for id in disk.partition_logs() {
            let log_start = offset_in(&log_starts, id);
            let (log, report) = UnifiedLog::recover(id, disk, log_start, clean_epoch.is_some());
            unhosted.insert(id, log);
            recovered.push((id, report, offset_in(&high_watermarks, id)));
        }
        ReplicaManager {
            around: Surroundings {
                node: config.node,
                broker_epoch: BrokerEpoch::UNKNOWN,
                lag_max_ms: config.replica_lag_time_max_ms,
                cluster: Cluster::default(),
            },
            sessions: FetchSessions::new(config.fetch_session_slots),
            config,
            hosted: Hosted::new(),
            unhosted,
            fetchers: Fetchers::default(),
            alter: AlterPartitions::default(),
            purgatory: Purgatory::default(),
            touched: Touched::default(),
            storage: Storage::new(clean_epoch),
            recovered,
            has_metadata: false,
            is_in_controlled_shutdown: false,
        }
    }

    /// The first step: tells what recovery found, and starts the clocks.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        for (id, report, high_watermark) in std::mem::take(&mut self.recovered) {
            let log = self
                .unhosted
                .get_mut(&id)
                .expect("recovered with its report");
            log.report_recovery(cx, &report);
            log.update_high_watermark(cx, high_watermark);
        }
        self.storage.forget_clean_shutdown(cx);
        cx.effects.arm_at(
            Timer::IsrExpiration,
            self.config.replica_lag_time_max_ms / 2,
        );
        let interval_ms = self.config.high_watermark_checkpoint_interval_ms;
        cx.effects
            .arm_at(Timer::HighWatermarkCheckpoint, interval_ms);
        let interval_ms = self.config.producer_id_expiration_check_interval_ms;
        cx.effects.arm_at(Timer::ProducerExpiration, interval_ms);
    }

    /// Raft learned of another active controller, or lost it.
    pub fn set_controller(&mut self, cx: &mut Context<'_>, controller: Option<Endpoint>) {
        self.alter.set_controller(controller);
        self.send_proposals(cx);
    }

    /// The broker was registered.
    pub fn set_broker_epoch(&mut self, epoch: BrokerEpoch) {
        self.around.broker_epoch = epoch;
    }

    /// Handles one of Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords and
    /// DescribeProducers.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &RequestKind,
    ) {
        if self.storage.is_stopping() {
            return cx.effects.close(conn);
        }
        let from = (conn, header);
        match request {
            RequestKind::Produce(request) => self.on_produce(cx, image, from, request),
            RequestKind::Fetch(request) => self.on_fetch(cx, image, from, request),
            RequestKind::ListOffsets(request) => self.on_list_offsets(cx, image, from, request),
            RequestKind::OffsetForLeaderEpoch(request) => {
                self.on_offset_for_leader_epoch(cx, image, from, request);
            }
            RequestKind::DeleteRecords(request) => self.on_delete_records(cx, image, from, request),
            RequestKind::DescribeProducers(request) => {
                self.on_describe_producers(cx, image, from, request);
            }
            other => unreachable!("not a request about replicas: {other:?}"),
        }
        self.finish(cx, image);
    }

    /// A request on `Channel::Fetcher` or `Channel::AlterPartition` ended.
    pub fn on_completion(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        completion: Completion,
    ) {
        if self.storage.is_stopping() {
            return;
        }
        match completion.channel {
            Channel::Fetcher(leader) => {
                let broker = Follower {
                    config: &self.config,
                    broker_epoch: self.around.broker_epoch,
                };
                let replicas = (&mut self.hosted, &mut self.touched);
                let ended = (leader, completion);
                self.fetchers.on_completion(cx, ended, replicas, broker);
            }
            Channel::AlterPartition => self.on_proposals_answered(cx, completion),
            other => unreachable!("not a channel of the replicas: {other:?}"),
        }
        self.finish(cx, image);
    }

    /// One of this part's timers fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, image: &MetadataImage, timer: Timer) {
        if self.storage.is_stopping() {
            return;
        }
        match timer {
            Timer::IsrExpiration => self.shrink_isrs(cx),
            Timer::AlterPartition => self.alter.on_timer(),
            Timer::FetcherBackoff(_) => self.pump_fetchers(cx),
            Timer::Purgatory => self.expire(cx, image),
            Timer::HighWatermarkCheckpoint => {
                self.checkpoint(cx);
                let interval_ms = self.config.high_watermark_checkpoint_interval_ms;
                cx.effects
                    .arm_at(Timer::HighWatermarkCheckpoint, interval_ms);
            }
            Timer::ProducerExpiration => self.expire_producers(cx),
            other => unreachable!("not a timer of the replicas: {other:?}"),
        }
        self.finish(cx, image);
    }

    /// A connection that came in is gone: what waits there is forgotten.
    pub fn on_closed(&mut self, conn: ConnectionId) {
        self.purgatory.drop_connection(conn);
    }

    /// Who leads a partition, and in which epoch.
    pub(super) fn current_leader(
        &self,
        image: &MetadataImage,
        id: TopicIdPartition,
    ) -> (NodeId, LeaderEpoch) {
        if let Some(partition) = self.hosted.get(&id) {
            return (partition.leader(), partition.leader_epoch());
        }
        let state = image.partition(id).map(|it| &it.state);
        state.map_or((NodeId::NONE, LeaderEpoch::NONE), |it| {
            (it.leader, it.leader_epoch)
        })
    }

    pub(super) fn pump_fetchers(&mut self, cx: &mut Context<'_>) {
        let broker = Follower {
            config: &self.config,
            broker_epoch: self.around.broker_epoch,
        };
        self.fetchers.pump(cx, &self.hosted, broker);
    }

    /// The end of a step: answers whoever waited for what it touched, and sends proposals.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, image: &MetadataImage) {
        while let Some((id, news)) = self.touched.0.pop_first() {
            for operation in self.purgatory.waiting(id, news) {
                self.try_complete(cx, image, operation);
            }
        }
        self.send_proposals(cx);
    }

    fn send_proposals(&mut self, cx: &mut Context<'_>) {
        self.alter
            .pump(cx, self.config.node, self.around.broker_epoch);
    }

    fn try_complete(&mut self, cx: &mut Context<'_>, image: &MetadataImage, id: OperationId) {
        let Some(parked) = self.purgatory.get_mut(id) else {
            return;
        };
        let complete = match &mut parked.operation {
            Operation::Produce(it) => it.try_complete(cx, image, &self.hosted),
            Operation::Fetch(it) => it.is_complete(cx, &self.hosted),
            Operation::DeleteRecords(it) => {
                it.try_complete(image, &self.hosted, &self.around.cluster)
            }
        };
        if complete {
            let parked = self.purgatory.take(id).expect("just seen");
            self.answer(cx, image, parked);
        }
    }

    /// `Timer::Purgatory`: answers whoever has waited long enough.
    fn expire(&mut self, cx: &mut Context<'_>, image: &MetadataImage) {
        for id in self.purgatory.on_timer(cx) {
            let mut parked = self.purgatory.take(id).expect("it had a deadline");
            match &mut parked.operation {
                Operation::Produce(it) => it.expire(cx, &self.hosted),
                Operation::DeleteRecords(it) => it.expire(),
                Operation::Fetch(_) => {}
            }
            self.answer(cx, image, parked);
        }
        self.purgatory.arm(cx);
    }

    fn answer(&mut self, cx: &mut Context<'_>, image: &MetadataImage, parked: Parked) {
        match parked.operation {
            Operation::Produce(it) => self.reply_produce(cx, image, it),
            Operation::Fetch(it) => self.answer_fetch(cx, image, it),
            Operation::DeleteRecords(it) => delete_records::reply_delete(cx, it),
        }
    }

    fn on_proposals_answered(&mut self, cx: &mut Context<'_>, completion: Completion) {
        for ended in self.alter.on_completion(cx, completion) {
            let id = ended.0.partition;
            let Some(partition) = self.hosted.get_mut(&id) else {
                continue;
            };
            if partition.on_proposal_answer(cx, &self.around, &mut self.alter, ended) {
                self.touched.add(id, News::Watermarks);
            }
        }
    }

    fn shrink_isrs(&mut self, cx: &mut Context<'_>) {
        for partition in self.hosted.values_mut() {
            partition.maybe_shrink_isr(cx, &self.around, &mut self.alter);
        }
        let interval_ms = self.config.replica_lag_time_max_ms / 2;
        cx.effects.arm_at(Timer::IsrExpiration, interval_ms);
    }

    fn expire_producers(&mut self, cx: &mut Context<'_>) {
        let expiration_ms = self.config.producer_id_expiration_ms;
        for partition in self.hosted.values_mut() {
            partition.log.remove_expired_producers(cx, expiration_ms);
        }
        let interval_ms = self.config.producer_id_expiration_check_interval_ms;
        cx.effects.arm_at(Timer::ProducerExpiration, interval_ms);
    }
}

/// The partition that a request names, if the metadata has it.
pub(super) fn resolve(
    image: &MetadataImage,
    topic: &TopicKey,
    partition: i32,
) -> Result<TopicIdPartition, ResponseError> {
    let topic = match topic {
        TopicKey::Id(id) => image.topic(*id).ok_or(ResponseError::UnknownTopicId)?,
        TopicKey::Name(name) => image
            .topic_by_name(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?,
    };
    if topic.partitions.contains_key(&partition) {
        let topic = topic.id;
        return Ok(TopicIdPartition { topic, partition });
    }
    Err(ResponseError::UnknownTopicOrPartition)
}

/// The error for a partition of which this broker has no replica.
pub(super) fn not_hosted(image: &MetadataImage, partition: TopicIdPartition) -> ResponseError {
    if image.partition(partition).is_some() {
        ResponseError::NotLeaderOrFollower
    } else {
        ResponseError::UnknownTopicOrPartition
    }
}

/// Whether only brokers write to the topic (`Topic.isInternal`).
pub(super) fn is_internal(topic: &str) -> bool {
    matches!(
        topic,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}
