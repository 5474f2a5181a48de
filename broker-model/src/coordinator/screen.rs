//! What is refused before a shard is asked: malformed requests, and partitions that do not exist.
//!
//! Mirrors `GroupCoordinatorService` (`throwIf…IsInvalid`, session timeouts, empty group ids) and
//! the first half of `KafkaApis.handleOffsetCommitRequest`, `handleOffsetDeleteRequest` and
//! `handleSyncGroupRequest`.

use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    LeaveGroupRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, RequestKind,
    ResponseKind, SyncGroupRequest,
};

use super::consumer::validate_heartbeat;
use super::{World, forms, refusal};
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes, TopicIdPartition};

/// A request that a shard decides.
#[derive(Debug)]
pub(super) enum Screened {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    /// Its members are listed.
    Leave(LeaveGroupRequest),
    ConsumerHeartbeat(ConsumerGroupHeartbeatRequest),
    /// With what is refused already.
    Commit(OffsetCommitRequest, Vec<OffsetCommitResponseTopic>),
    /// With what is refused already.
    DeleteOffsets(OffsetDeleteRequest, Vec<OffsetDeleteResponseTopic>),
}

impl Screened {
    /// The group that it is about.
    pub(super) fn group(&self) -> &StrBytes {
        match self {
            Screened::Join(it) => &it.group_id.0,
            Screened::Sync(it) => &it.group_id.0,
            Screened::Heartbeat(it) => &it.group_id.0,
            Screened::Leave(it) => &it.group_id.0,
            Screened::ConsumerHeartbeat(it) => &it.group_id.0,
            Screened::Commit(it, _) => &it.group_id.0,
            Screened::DeleteOffsets(it, _) => &it.group_id.0,
        }
    }

    /// The answer if no shard can decide it.
    pub(super) fn refuse(self, error: ResponseError) -> ResponseKind {
        match self {
            Screened::Join(_) => refusal::of_join(StrBytes::default(), error),
            Screened::Sync(_) => refusal::of_sync(error),
            // A member need not worry that its group is still read.
            Screened::Heartbeat(_) if error == ResponseError::CoordinatorLoadInProgress => {
                ResponseKind::Heartbeat(HeartbeatResponse::default())
            }
            Screened::Heartbeat(_) => refusal::of_heartbeat(error),
            Screened::Leave(it) => refusal::of_leave(&it, error),
            Screened::ConsumerHeartbeat(_) => refusal::of_consumer_heartbeat(error),
            Screened::Commit(it, refused) => refusal::of_commit(&it, refused, error),
            Screened::DeleteOffsets(..) => refusal::of_offset_delete(error),
        }
    }
}

/// The request if a shard is to decide it, or its answer.
pub(super) fn screen(
    world: &World<'_>,
    version: i16,
    request: RequestKind,
) -> Result<Screened, Box<ResponseKind>> {
    let request = match request {
        RequestKind::JoinGroup(it) => {
            if let Err(error) = check_join(world, &it) {
                return Err(Box::new(refusal::of_join(it.member_id, error)));
            }
            Screened::Join(it)
        }
        RequestKind::SyncGroup(it) => {
            // Since version 5 a member says what it believes the group to be.
            let names_protocol = it.protocol_type.is_some() && it.protocol_name.is_some();
            if SYNC_PROTOCOL_VERSION_MIN <= version && !names_protocol {
                let error = ResponseError::InconsistentGroupProtocol;
                return Err(Box::new(refusal::of_sync(error)));
            }
            Screened::Sync(it)
        }
        RequestKind::Heartbeat(it) => Screened::Heartbeat(it),
        RequestKind::LeaveGroup(it) => Screened::Leave(forms::listed_members(version, it)),
        RequestKind::ConsumerGroupHeartbeat(it) => {
            let valid = match speaks_consumer_protocol(world) {
                true => validate_heartbeat(world.config, version, &it),
                false => Err(ResponseError::UnsupportedVersion),
            };
            return match valid {
                Ok(()) => Ok(Screened::ConsumerHeartbeat(it)),
                Err(error) => Err(Box::new(refusal::of_consumer_heartbeat(error))),
            };
        }
        RequestKind::OffsetCommit(it) => return screen_commit(world.image, it),
        RequestKind::OffsetDelete(it) => screen_offset_delete(world.image, it),
        other => unreachable!("not a request about one group: {other:?}"),
    };
    match request.group().is_empty() {
        true => Err(Box::new(request.refuse(ResponseError::InvalidGroupId))),
        false => Ok(request),
    }
}

/// Whether the broker serves groups of the consumer protocol, and the cluster has agreed on them
/// (`KafkaApis.isConsumerGroupProtocolEnabled`).
pub(super) fn speaks_consumer_protocol(world: &World<'_>) -> bool {
    let served = &world.config.group_coordinator_rebalance_protocols;
    let level = world.image.features().get("group.version".as_bytes());
    served.iter().any(|protocol| protocol == "consumer") && level.is_some_and(|level| 1 <= *level)
}

fn check_join(world: &World<'_>, request: &JoinGroupRequest) -> Result<(), ResponseError> {
    if request.group_id.0.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shortest_ms = world.config.group_min_session_timeout_ms;
    let longest_ms = world.config.group_max_session_timeout_ms;
    match u64::try_from(request.session_timeout_ms) {
        Ok(timeout_ms) if (shortest_ms..=longest_ms).contains(&timeout_ms) => Ok(()),
        _ => Err(ResponseError::InvalidSessionTimeout),
    }
}

/// Partitions that do not exist are refused; if none is left, there is nothing to ask a shard.
fn screen_commit(
    image: &MetadataImage,
    mut request: OffsetCommitRequest,
) -> Result<Screened, Box<ResponseKind>> {
    let mut refused = Vec::new();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    for topic in &mut request.topics {
        let partitions = std::mem::take(&mut topic.partitions);
        let (known, others): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|it| exists(image, &topic.name.0, it.partition_index));
        topic.partitions = known;
        if others.is_empty() {
            continue;
        }
        let others = others.iter().map(|it| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(it.partition_index)
                .with_error_code(unknown)
        });
        refused.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(others.collect()),
        );
    }
    request.topics.retain(|it| !it.partitions.is_empty());
    if request.topics.is_empty() {
        let answer = OffsetCommitResponse::default().with_topics(refused);
        return Err(Box::new(ResponseKind::OffsetCommit(answer)));
    }
    Ok(Screened::Commit(request, refused))
}

fn screen_offset_delete(image: &MetadataImage, mut request: OffsetDeleteRequest) -> Screened {
    let mut refused = Vec::new();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    for topic in &mut request.topics {
        let partitions = std::mem::take(&mut topic.partitions);
        let (known, others): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|it| exists(image, &topic.name.0, it.partition_index));
        topic.partitions = known;
        if others.is_empty() {
            continue;
        }
        let others = others.iter().map(|it| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(it.partition_index)
                .with_error_code(unknown)
        });
        refused.push(
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(others.collect()),
        );
    }
    request.topics.retain(|it| !it.partitions.is_empty());
    Screened::DeleteOffsets(request, refused)
}

fn exists(image: &MetadataImage, topic: &StrBytes, partition: i32) -> bool {
    image.topic_by_name(topic).is_some_and(|topic| {
        let topic = topic.id;
        let id = TopicIdPartition { topic, partition };
        image.partition(id).is_some()
    })
}

const SYNC_PROTOCOL_VERSION_MIN: i16 = 5;
