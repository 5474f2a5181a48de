//! The raft requests and responses, built and taken apart.
//!
//! Each is about the one partition of `__cluster_metadata`. Mirrors Kafka's `RaftUtil`.

use bytes::Bytes;
use kafka_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest,
    EndQuorumEpochResponse, FetchRequest, FetchResponse, RequestKind, ResponseKind, VoteRequest,
    VoteResponse, begin_quorum_epoch_request, begin_quorum_epoch_response,
    end_quorum_epoch_request, end_quorum_epoch_response, fetch_request, fetch_response,
    vote_request, vote_response,
};

use super::voters::ReplicaKey;
use crate::types::{
    Endpoint, LeaderEpoch, METADATA_TOPIC, METADATA_TOPIC_ID, NodeId, Offset, ResponseError,
    StrBytes, Uuid,
};

/// `KafkaRaftClient.MAX_FETCH_SIZE_BYTES`.
pub(super) const FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// `KafkaRaftClient.MAX_FETCH_WAIT_MS`.
const FETCH_WAIT_MAX_MS: i32 = 500;

/// What every raft response tells about the quorum.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The responder's epoch.
    pub(super) epoch: LeaderEpoch,
    /// The leader of it, with its controller listener.
    pub(super) leader: Option<(NodeId, &'a Endpoint)>,
}

impl View<'_> {
    fn leader_id(&self) -> i32 {
        self.leader.map_or(NodeId::NONE.0, |(id, _)| id.0)
    }
}

/// What a response says about the quorum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// The partition's error, 0 for none.
    pub(super) error_code: i16,
    /// The leader that the responder knows.
    pub(super) leader: Option<NodeId>,
    /// The responder's epoch.
    pub(super) epoch: LeaderEpoch,
}

impl Answer {
    fn new(error_code: i16, leader: i32, epoch: i32) -> Answer {
        Answer {
            error_code,
            leader: (0 <= leader).then_some(NodeId(leader)),
            epoch: LeaderEpoch(epoch),
        }
    }

    /// Whether that is the error.
    pub(super) fn is(&self, error: ResponseError) -> bool {
        self.error_code == error.code()
    }
}

/// The error code on the wire.
pub(super) fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

fn topic() -> StrBytes {
    StrBytes::from_static_str(METADATA_TOPIC)
}

/// The one partition of the one topic, if that is what a message has.
macro_rules! only_partition {
    ($topics:expr) => {{
        match $topics.as_slice() {
            [topic] if topic.topic_name.0.as_str() == METADATA_TOPIC => {
                match topic.partitions.as_slice() {
                    [partition] if partition.partition_index == 0 => Some(partition),
                    _ => None,
                }
            }
            _ => None,
        }
    }};
}

pub(super) fn vote_request(
    cluster_id: &StrBytes,
    epoch: LeaderEpoch,
    (local, voter): (ReplicaKey, NodeId),
    (last_epoch, log_end): (LeaderEpoch, Offset),
    pre_vote: bool,
) -> RequestKind {
    let partition = vote_request::PartitionData::default()
        .with_replica_epoch(epoch.0)
        .with_replica_id(local.id.0.into())
        .with_replica_directory_id(local.directory)
        .with_last_offset_epoch(last_epoch.0)
        .with_last_offset(log_end.0)
        .with_pre_vote(pre_vote);
    let topic = vote_request::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let request = VoteRequest::default()
        .with_cluster_id(Some(cluster_id.clone()))
        .with_voter_id(voter.0.into())
        .with_topics(vec![topic]);
    RequestKind::Vote(request)
}

pub(super) fn vote_partition(request: &VoteRequest) -> Option<&vote_request::PartitionData> {
    only_partition!(request.topics)
}

pub(super) fn vote_response(
    version: i16,
    view: View<'_>,
    error: Option<ResponseError>,
    granted: bool,
) -> ResponseKind {
    let partition = vote_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(view.leader_id().into())
        .with_leader_epoch(view.epoch.0)
        .with_vote_granted(granted);
    let topic = vote_response::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let mut response = VoteResponse::default().with_topics(vec![topic]);
    if let (1.., Some((id, endpoint))) = (version, view.leader) {
        let node = vote_response::NodeEndpoint::default()
            .with_node_id(id.0.into())
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port);
        response.node_endpoints.push(node);
    }
    ResponseKind::Vote(response)
}

/// What a Vote response says, and whether the vote was granted; `None` for a top-level error.
pub(super) fn vote_answer(response: &VoteResponse) -> Option<(Answer, bool)> {
    if response.error_code != 0 {
        return None;
    }
    let partition = only_partition!(response.topics)?;
    let (leader, epoch) = (partition.leader_id.0, partition.leader_epoch);
    let answer = Answer::new(partition.error_code, leader, epoch);
    Some((answer, partition.vote_granted))
}

pub(super) fn begin_request(
    cluster_id: &StrBytes,
    epoch: LeaderEpoch,
    leader: (NodeId, &Endpoint),
    voter: NodeId,
) -> RequestKind {
    let (leader_id, endpoint) = leader;
    let partition = begin_quorum_epoch_request::PartitionData::default()
        .with_leader_id(leader_id.0.into())
        .with_leader_epoch(epoch.0);
    let topic = begin_quorum_epoch_request::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let listener = begin_quorum_epoch_request::LeaderEndpoint::default()
        .with_name(StrBytes::from_static_str(CONTROLLER_LISTENER))
        .with_host(endpoint.host.clone())
        .with_port(endpoint.port);
    let request = BeginQuorumEpochRequest::default()
        .with_cluster_id(Some(cluster_id.clone()))
        .with_voter_id(voter.0.into())
        .with_topics(vec![topic])
        .with_leader_endpoints(vec![listener]);
    RequestKind::BeginQuorumEpoch(request)
}

pub(super) fn begin_partition(
    request: &BeginQuorumEpochRequest,
) -> Option<&begin_quorum_epoch_request::PartitionData> {
    only_partition!(request.topics)
}

pub(super) fn begin_response(
    version: i16,
    view: View<'_>,
    error: Option<ResponseError>,
) -> ResponseKind {
    let partition = begin_quorum_epoch_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(view.leader_id().into())
        .with_leader_epoch(view.epoch.0);
    let topic = begin_quorum_epoch_response::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let mut response = BeginQuorumEpochResponse::default().with_topics(vec![topic]);
    if let (1.., Some((id, endpoint))) = (version, view.leader) {
        let node = begin_quorum_epoch_response::NodeEndpoint::default()
            .with_node_id(id.0.into())
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port);
        response.node_endpoints.push(node);
    }
    ResponseKind::BeginQuorumEpoch(response)
}

/// What a BeginQuorumEpoch response says; `None` for a top-level error.
pub(super) fn begin_answer(response: &BeginQuorumEpochResponse) -> Option<Answer> {
    if response.error_code != 0 {
        return None;
    }
    let partition = only_partition!(response.topics)?;
    let (leader, epoch) = (partition.leader_id.0, partition.leader_epoch);
    Some(Answer::new(partition.error_code, leader, epoch))
}

pub(super) fn end_request(
    cluster_id: &StrBytes,
    epoch: LeaderEpoch,
    leader: NodeId,
    successors: &[NodeId],
) -> RequestKind {
    let candidate = |id: &NodeId| {
        end_quorum_epoch_request::ReplicaInfo::default().with_candidate_id(id.0.into())
    };
    let partition = end_quorum_epoch_request::PartitionData::default()
        .with_leader_id(leader.0.into())
        .with_leader_epoch(epoch.0)
        .with_preferred_candidates(successors.iter().map(candidate).collect());
    let topic = end_quorum_epoch_request::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let request = EndQuorumEpochRequest::default()
        .with_cluster_id(Some(cluster_id.clone()))
        .with_topics(vec![topic]);
    RequestKind::EndQuorumEpoch(request)
}

pub(super) fn end_partition(
    request: &EndQuorumEpochRequest,
) -> Option<&end_quorum_epoch_request::PartitionData> {
    only_partition!(request.topics)
}

/// The successors of an EndQuorumEpoch request in the order of preference, as either version has it.
pub(super) fn successors(
    partition: &end_quorum_epoch_request::PartitionData,
) -> Vec<(NodeId, Uuid)> {
    let old = partition.preferred_successors.iter();
    let new = partition.preferred_candidates.iter();
    old.map(|&id| (NodeId(id), Uuid::nil()))
        .chain(new.map(|info| (NodeId(info.candidate_id.0), info.candidate_directory_id)))
        .collect()
}

pub(super) fn end_response(
    version: i16,
    view: View<'_>,
    error: Option<ResponseError>,
) -> ResponseKind {
    let partition = end_quorum_epoch_response::PartitionData::default()
        .with_error_code(code(error))
        .with_leader_id(view.leader_id().into())
        .with_leader_epoch(view.epoch.0);
    let topic = end_quorum_epoch_response::TopicData::default()
        .with_topic_name(topic().into())
        .with_partitions(vec![partition]);
    let mut response = EndQuorumEpochResponse::default().with_topics(vec![topic]);
    if let (1.., Some((id, endpoint))) = (version, view.leader) {
        let node = end_quorum_epoch_response::NodeEndpoint::default()
            .with_node_id(id.0.into())
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port);
        response.node_endpoints.push(node);
    }
    ResponseKind::EndQuorumEpoch(response)
}

/// What an EndQuorumEpoch response says; `None` for a top-level error.
pub(super) fn end_answer(response: &EndQuorumEpochResponse) -> Option<Answer> {
    if response.error_code != 0 {
        return None;
    }
    let partition = only_partition!(response.topics)?;
    let (leader, epoch) = (partition.leader_id.0, partition.leader_epoch);
    Some(Answer::new(partition.error_code, leader, epoch))
}

pub(super) fn fetch_request(
    cluster_id: &StrBytes,
    epoch: LeaderEpoch,
    local: ReplicaKey,
    (last_epoch, log_end): (LeaderEpoch, Offset),
    high_watermark: Offset,
) -> RequestKind {
    let partition = fetch_request::FetchPartition::default()
        .with_current_leader_epoch(epoch.0)
        .with_fetch_offset(log_end.0)
        .with_last_fetched_epoch(last_epoch.0)
        .with_replica_directory_id(local.directory)
        .with_high_watermark(high_watermark.0);
    let topic = fetch_request::FetchTopic::default()
        .with_topic_id(METADATA_TOPIC_ID)
        .with_partitions(vec![partition]);
    let state = fetch_request::ReplicaState::default().with_replica_id(local.id.0.into());
    let request = FetchRequest::default()
        .with_cluster_id(Some(cluster_id.clone()))
        .with_replica_state(state)
        .with_max_wait_ms(FETCH_WAIT_MAX_MS)
        .with_max_bytes(i32::try_from(FETCH_BYTES_MAX).expect("8 MiB"))
        .with_topics(vec![topic]);
    RequestKind::Fetch(request)
}

/// The one partition of the metadata topic, by name or id as the version has it.
pub(super) fn fetch_partition(
    version: i16,
    request: &FetchRequest,
) -> Option<&fetch_request::FetchPartition> {
    let [topic] = request.topics.as_slice() else {
        return None;
    };
    let is_metadata = if version <= 12 {
        topic.topic.0.as_str() == METADATA_TOPIC
    } else {
        topic.topic_id == METADATA_TOPIC_ID
    };
    match topic.partitions.as_slice() {
        [partition] if is_metadata && partition.partition == 0 => Some(partition),
        _ => None,
    }
}

/// The replica that fetches: negative for a consumer.
pub(super) fn fetch_replica(version: i16, request: &FetchRequest) -> NodeId {
    let old = request.replica_id.0;
    let new = request.replica_state.replica_id.0;
    NodeId(if version <= 14 { old } else { new })
}

/// What a fetch is answered beside the view.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Fetched {
    /// The partition's error.
    pub(super) error: Option<ResponseError>,
    /// The leader's high watermark, -1 while it has none.
    pub(super) high_watermark: Offset,
    /// Where the logs part: the epoch and its end on the leader.
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    /// Whole batches.
    pub(super) records: Bytes,
}

impl Fetched {
    /// No records, for that reason.
    pub(super) fn error(error: ResponseError) -> Fetched {
        Fetched {
            error: Some(error),
            high_watermark: Offset::UNKNOWN,
            diverging: None,
            records: Bytes::new(),
        }
    }
}

pub(super) fn fetch_response(version: i16, view: View<'_>, fetched: Fetched) -> ResponseKind {
    let mut partition = fetch_response::PartitionData::default()
        .with_error_code(code(fetched.error))
        .with_high_watermark(fetched.high_watermark.0)
        .with_log_start_offset(0)
        .with_records(Some(fetched.records));
    partition.current_leader.leader_id = view.leader_id().into();
    partition.current_leader.leader_epoch = view.epoch.0;
    if let Some((epoch, end)) = fetched.diverging {
        partition.diverging_epoch.epoch = epoch.0;
        partition.diverging_epoch.end_offset = end.0;
    }
    let mut topic = fetch_response::FetchableTopicResponse::default();
    if version <= 12 {
        topic.topic = self::topic().into();
    } else {
        topic.topic_id = METADATA_TOPIC_ID;
    }
    topic.partitions.push(partition);
    let mut response = FetchResponse::default();
    response.responses.push(topic);
    // Who fetched successfully knows where the leader is.
    if let (17.., Some(_), Some((id, endpoint))) = (version, fetched.error, view.leader) {
        let node = fetch_response::NodeEndpoint::default()
            .with_node_id(id.0.into())
            .with_host(endpoint.host.clone())
            .with_port(i32::from(endpoint.port));
        response.node_endpoints.push(node);
    }
    ResponseKind::Fetch(response)
}

/// A fetch refused as a whole.
pub(super) fn fetch_error(error: ResponseError) -> ResponseKind {
    ResponseKind::Fetch(FetchResponse::default().with_error_code(error.code()))
}

/// What a Fetch response says, and its partition; `None` for a top-level error.
pub(super) fn fetch_answer(
    response: FetchResponse,
) -> Option<(Answer, fetch_response::PartitionData)> {
    if response.error_code != 0 {
        return None;
    }
    let [topic]: [_; 1] = response.responses.try_into().ok()?;
    let [partition]: [_; 1] = topic.partitions.try_into().ok()?;
    let current = &partition.current_leader;
    let (leader, epoch) = (current.leader_id.0, current.leader_epoch);
    Some((Answer::new(partition.error_code, leader, epoch), partition))
}

/// The name of the listener that the quorum uses (`controller.listener.names`).
pub(super) const CONTROLLER_LISTENER: &str = "CONTROLLER";
