//! Fetch, for consumers and for followers: read at once, or when there is enough.
//!
//! A follower's fetch also proves how far its log agrees with the leader's, which is what the high
//! watermark is made of. Mirrors `KafkaApis.handleFetchRequest`, `ReplicaManager.fetchMessages` and
//! `readFromLog`, `Partition.fetchRecords`, and `DelayedFetch`. There are no preferred read
//! replicas, but a follower serves a consumer that asks it (KIP-392).

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, ResponseKind};

use super::isr::FollowerFetch;
use super::manager::{Hosted, ReplicaManager, not_hosted, resolve};
use super::partition::Partition;
use super::purgatory::{News, Operation};
use super::sessions::{FetchContext, PartitionFetch, Served, Wanted};
use crate::context::Context;
use crate::input::RequestHeader;
use crate::log::Offsets;
use crate::log::lookup::ReadInfo;
use crate::metadata::MetadataImage;
use crate::note::Note;
use crate::types::{
    BrokerEpoch, ConnectionId, LeaderEpoch, NodeId, Offset, ResponseError, TopicIdPartition,
};

/// A fetch that waits for data.
#[derive(Debug)]
pub(super) struct DelayedFetch {
    params: FetchParams,
    wanted: Vec<Interesting>,
    refused: Vec<Served>,
}

/// What holds for the whole fetch (`FetchParams`).
#[derive(Clone, Copy, Debug)]
struct FetchParams {
    conn: ConnectionId,
    correlation_id: i32,
    version: i16,
    context: FetchContext,
    /// The follower that fetches and its registration; `None` for a consumer.
    follower: Option<(NodeId, BrokerEpoch)>,
    isolation: Isolation,
    min_bytes: u64,
    max_bytes: usize,
}

/// Up to where a fetch reads (`FetchIsolation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Isolation {
    LogEnd,
    HighWatermark,
    Committed,
}

/// A partition to read.
#[derive(Clone, Debug)]
struct Interesting {
    id: TopicIdPartition,
    wanted: Wanted,
}

/// What was read from one partition.
#[derive(Debug)]
struct Read {
    /// The offsets before the fetch was counted: a follower hears of the high watermark that its
    /// fetch makes with the next one.
    offsets: Offsets,
    info: ReadInfo,
    /// Where the logs part, if they do.
    diverging: Option<(LeaderEpoch, Offset)>,
}

impl ReplicaManager {
    /// Handles a Fetch request.
    pub(super) fn on_fetch(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &FetchRequest,
    ) {
        let begun = self.sessions.begin(cx.now.mono_ms, header.version, request);
        let (context, all) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let response = FetchResponse::default().with_error_code(error.code());
                let response = ResponseKind::Fetch(response);
                return cx.effects.reply(conn, header.correlation_id, response);
            }
        };
        let params = self.fetch_params((conn, header), request, context);
        let mut wanted = Vec::with_capacity(all.len());
        let mut refused = Vec::new();
        for it in all {
            match resolve(image, &it.topic, it.partition) {
                Ok(id) => wanted.push(Interesting { id, wanted: it }),
                Err(error) => refused.push(failed(it, error)),
            }
        }
        let reads = self.read_all(cx, image, &params, &wanted, true);
        let bytes: usize = reads.iter().flatten().map(Read::bytes).sum();
        let at_once = request.max_wait_ms <= 0
            || wanted.is_empty()
            || params.min_bytes <= bytes as u64
            || reads
                .iter()
                .any(|it| !matches!(it, Ok(read) if read.diverging.is_none()));
        let fetch = DelayedFetch {
            params,
            wanted,
            refused,
        };
        if at_once {
            return self.reply_fetch(cx, image, fetch, reads);
        }
        let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
        let watched = fetch.wanted.iter().map(|it| it.id).collect();
        let operation = Operation::Fetch(fetch);
        self.purgatory.park(cx, conn, wait_ms, watched, operation);
    }

    /// Answers a fetch that has waited, with what there is now.
    pub(super) fn answer_fetch(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        fetch: DelayedFetch,
    ) {
        let reads = self.read_all(cx, image, &fetch.params, &fetch.wanted, false);
        self.reply_fetch(cx, image, fetch, reads);
    }

    fn fetch_params(
        &self,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &FetchRequest,
        context: FetchContext,
    ) -> FetchParams {
        let (replica, epoch) = if REPLICA_STATE_VERSION_MIN <= header.version {
            let state = &request.replica_state;
            (state.replica_id.0, BrokerEpoch(state.replica_epoch))
        } else {
            (request.replica_id.0, BrokerEpoch::UNKNOWN)
        };
        let follower = (0 <= replica).then_some((NodeId(replica), epoch));
        let isolation = match (follower, request.isolation_level) {
            (Some(_), _) => Isolation::LogEnd,
            (None, READ_COMMITTED) => Isolation::Committed,
            (None, _) => Isolation::HighWatermark,
        };
        let max_bytes = request.max_bytes.min(self.config.fetch_max_bytes).max(0);
        let min_bytes = request.min_bytes.clamp(0, max_bytes);
        FetchParams {
            conn,
            correlation_id: header.correlation_id,
            version: header.version,
            context,
            follower,
            isolation,
            min_bytes: u64::from(min_bytes.unsigned_abs()),
            max_bytes: max_bytes.unsigned_abs() as usize,
        }
    }

    /// Reads every partition in turn, within the bytes that are left (`readFromLog`). The first
    /// batch of all comes whole, however large it is.
    fn read_all(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        params: &FetchParams,
        wanted: &[Interesting],
        count_fetch: bool,
    ) -> Vec<Result<Read, ResponseError>> {
        let mut limit = params.max_bytes;
        let mut min_one = true;
        let reads = wanted.iter().map(|Interesting { id, wanted }| {
            let limits = (limit, min_one);
            let read = match self.hosted.get(id) {
                None => Err(not_hosted(image, *id)),
                Some(partition) => read(cx, params, partition, &wanted.fetch, limits),
            };
            let read = match (read, params.follower) {
                (Ok(read), Some(follower)) if count_fetch && read.diverging.is_none() => self
                    .count_follower_fetch(cx, (*id, follower), &wanted.fetch, read.offsets)
                    .map(|()| read),
                (read, _) => read,
            };
            let bytes = read.as_ref().map_or(0, Read::bytes);
            limit = limit.saturating_sub(bytes);
            min_one &= bytes == 0;
            read
        });
        reads.collect()
    }

    /// A follower has proven to have the log up to its fetch offset.
    fn count_follower_fetch(
        &mut self,
        cx: &mut Context<'_>,
        (id, (replica, broker_epoch)): (TopicIdPartition, (NodeId, BrokerEpoch)),
        fetch: &PartitionFetch,
        offsets: Offsets,
    ) -> Result<(), ResponseError> {
        let partition = self.hosted.get_mut(&id).expect("it was just read");
        let fetched = FollowerFetch {
            log_end: fetch.offset,
            log_start: fetch.log_start,
            broker_epoch,
            leader_log_end: offsets.log_end,
            now_ms: cx.now.mono_ms,
        };
        let fetched = (replica, fetched);
        if partition.follower_fetched(cx, &self.around, &mut self.alter, fetched)? {
            self.touched.add(id, News::Watermarks);
        }
        Ok(())
    }

    fn reply_fetch(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        fetch: DelayedFetch,
        reads: Vec<Result<Read, ResponseError>>,
    ) {
        let params = fetch.params;
        let mut served = Vec::with_capacity(reads.len());
        for (Interesting { id, wanted }, read) in fetch.wanted.into_iter().zip(reads) {
            let data = match read {
                Ok(read) => self.fetched(cx, &params, id, (&wanted, read)),
                Err(error) => error_data(wanted.partition, error),
            };
            served.push(Served { wanted, data });
        }
        served.extend(fetch.refused);
        let follower = params.follower.is_some();
        let answer = self
            .sessions
            .end(cx, params.context, follower, params.version, served);
        let mut response = FetchResponse::default()
            .with_error_code(answer.error.map_or(0, |it| it.code()))
            .with_session_id(answer.session);
        for Served { wanted, mut data } in answer.served {
            if CURRENT_LEADER_VERSION_MIN <= params.version
                && names_leader(data.error_code)
                && let Ok(id) = resolve(image, &wanted.topic, wanted.partition)
            {
                let (leader, epoch) = self.current_leader(image, id);
                data.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader.0))
                    .with_leader_epoch(epoch.0);
                let known = &mut response.node_endpoints;
                let is_new = known.iter().all(|it| it.node_id.0 != leader.0);
                let endpoint = self.around.cluster.alive_endpoint(leader);
                if let Some(to) = endpoint.filter(|_| is_new && !follower) {
                    known.push(
                        NodeEndpoint::default()
                            .with_node_id(BrokerId(leader.0))
                            .with_host(to.host.clone())
                            .with_port(i32::from(to.port)),
                    );
                }
            }
            push_topic(&mut response.responses, wanted, data);
        }
        let response = ResponseKind::Fetch(response);
        cx.effects
            .reply(params.conn, params.correlation_id, response);
    }

    /// What is answered for a partition that could be read.
    fn fetched(
        &self,
        cx: &mut Context<'_>,
        params: &FetchParams,
        id: TopicIdPartition,
        (wanted, read): (&Wanted, Read),
    ) -> PartitionData {
        let Read {
            offsets,
            info,
            diverging,
        } = read;
        let from = wanted.fetch.offset;
        let mut data = PartitionData::default()
            .with_partition_index(wanted.partition)
            .with_high_watermark(offsets.high_watermark.0)
            .with_last_stable_offset(offsets.last_stable.0)
            .with_log_start_offset(offsets.log_start.0)
            .with_aborted_transactions(None);
        if let Some((epoch, end)) = diverging {
            data.diverging_epoch = EpochEndOffset::default()
                .with_epoch(epoch.0)
                .with_end_offset(end.0);
        }
        let partition = self.hosted.get(&id);
        if params.isolation == Isolation::Committed {
            let aborted = partition.map(|it| it.log.aborted_txns(from, info.next));
            let aborted = aborted.into_iter().flatten().map(|txn| {
                AbortedTransaction::default()
                    .with_producer_id(txn.producer.0.into())
                    .with_first_offset(txn.first.0)
            });
            data.aborted_transactions = Some(aborted.collect());
        }
        if params.follower.is_none() {
            cx.effects.note(Note::FetchServed {
                partition: id,
                leader_epoch: partition.map_or(LeaderEpoch::NONE, Partition::leader_epoch),
                from,
                to: info.next,
                committed: params.isolation == Isolation::Committed,
                high_watermark: offsets.high_watermark,
                last_stable: offsets.last_stable,
            });
        }
        data.with_records(Some(info.records))
    }
}

impl DelayedFetch {
    /// Whether it has waited enough: for its bytes, or for something that went wrong.
    pub(super) fn is_complete(&self, cx: &Context<'_>, hosted: &Hosted) -> bool {
        let params = &self.params;
        let mut available = 0;
        for Interesting { id, wanted } in &self.wanted {
            let Some(partition) = hosted.get(id) else {
                return true;
            };
            let fetch = &wanted.fetch;
            if params.check(partition, fetch).is_err() {
                return true;
            }
            let end = params.isolation.end(&partition.log.offsets());
            if end < fetch.offset || !matches!(divergence(cx, partition, fetch), Ok(None)) {
                return true;
            }
            if fetch.offset < end {
                let bytes = partition.log.bytes_available(fetch.offset, end);
                available += bytes.min(byte_limit(fetch) as u64);
            }
        }
        params.min_bytes <= available
    }
}

impl Isolation {
    fn end(self, offsets: &Offsets) -> Offset {
        match self {
            Isolation::LogEnd => offsets.log_end,
            Isolation::HighWatermark => offsets.high_watermark,
            Isolation::Committed => offsets.last_stable,
        }
    }
}

impl FetchParams {
    /// Whether this broker may serve the fetch: in that leader epoch, as leader, to that replica.
    fn check(&self, partition: &Partition, fetch: &PartitionFetch) -> Result<(), ResponseError> {
        let Some((replica, _)) = self.follower else {
            return if self.version < READ_FROM_FOLLOWER_VERSION_MIN {
                partition.check_leader(fetch.current_leader_epoch)
            } else {
                partition.check_epoch(fetch.current_leader_epoch)
            };
        };
        partition.check_leader(fetch.current_leader_epoch)?;
        if partition.has_follower(replica) {
            return Ok(());
        }
        // The metadata here may be older than the replica.
        Err(match fetch.current_leader_epoch {
            Some(_) => ResponseError::UnknownLeaderEpoch,
            None => ResponseError::NotLeaderOrFollower,
        })
    }
}

impl Read {
    fn bytes(&self) -> usize {
        self.info.records.len()
    }
}

/// Reads one partition (`Partition.readRecords`).
fn read(
    cx: &Context<'_>,
    params: &FetchParams,
    partition: &Partition,
    fetch: &PartitionFetch,
    (limit, min_one): (usize, bool),
) -> Result<Read, ResponseError> {
    params.check(partition, fetch)?;
    let offsets = partition.log.offsets();
    if let Some(diverging) = divergence(cx, partition, fetch)? {
        let nothing = ReadInfo {
            records: Bytes::new(),
            next: fetch.offset,
        };
        return Ok(Read {
            offsets,
            info: nothing,
            diverging: Some(diverging),
        });
    }
    let max_bytes = limit.min(byte_limit(fetch));
    let end = params.isolation.end(&offsets);
    let info = partition
        .log
        .read(cx.disk, fetch.offset, max_bytes, end, min_one)?;
    Ok(Read {
        offsets,
        info,
        diverging: None,
    })
}

/// Where the fetcher's log and this one part, if it says what its last record is and this log has
/// another one there (KIP-595).
fn divergence(
    cx: &Context<'_>,
    partition: &Partition,
    fetch: &PartitionFetch,
) -> Result<Option<(LeaderEpoch, Offset)>, ResponseError> {
    let Some(last_fetched) = fetch.last_fetched_epoch else {
        return Ok(None);
    };
    let Some((epoch, end)) = partition.end_offset_for(cx, last_fetched) else {
        return Err(ResponseError::OffsetOutOfRange);
    };
    if fetch.offset < partition.log.log_start() {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let parts = epoch < last_fetched || end < fetch.offset;
    Ok(parts.then_some((epoch, end)))
}

/// How many bytes are asked of one partition.
fn byte_limit(fetch: &PartitionFetch) -> usize {
    usize::try_from(fetch.max_bytes).unwrap_or(0)
}

fn failed(wanted: Wanted, error: ResponseError) -> Served {
    let data = error_data(wanted.partition, error);
    Served { wanted, data }
}

fn error_data(partition: i32, error: ResponseError) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_error_code(error.code())
        .with_high_watermark(Offset::UNKNOWN.0)
        .with_last_stable_offset(Offset::UNKNOWN.0)
        .with_log_start_offset(Offset::UNKNOWN.0)
        .with_aborted_transactions(None)
        .with_records(Some(Bytes::new()))
}

/// Whether an error is answered with who leads instead (KIP-951).
fn names_leader(code: i16) -> bool {
    code == ResponseError::NotLeaderOrFollower.code()
        || code == ResponseError::FencedLeaderEpoch.code()
}

/// Adds a partition, to the last topic if it is the same one (`FetchResponse.of`).
fn push_topic(topics: &mut Vec<FetchableTopicResponse>, wanted: Wanted, data: PartitionData) {
    let (name, id) = wanted.topic.into_parts();
    let last = topics.last_mut();
    match last.filter(|it| it.topic == name && it.topic_id == id) {
        Some(topic) => topic.partitions.push(data),
        None => topics.push(
            FetchableTopicResponse::default()
                .with_topic(name)
                .with_topic_id(id)
                .with_partitions(vec![data]),
        ),
    }
}

/// `IsolationLevel.READ_COMMITTED`
const READ_COMMITTED: i8 = 1;

/// Since then a follower names itself with its registration (KIP-903).
const REPLICA_STATE_VERSION_MIN: i16 = 15;

/// Since then consumers may read from followers (KIP-392).
const READ_FROM_FOLLOWER_VERSION_MIN: i16 = 11;

/// Since then a response says who leads instead (KIP-951).
const CURRENT_LEADER_VERSION_MIN: i16 = 16;
