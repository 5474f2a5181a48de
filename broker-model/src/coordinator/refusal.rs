//! One error for everything that a request to a coordinator asked for, in the shape of its response.
//!
//! Mirrors `getErrorResponse` of the group requests, `OffsetFetchResponse.groupError` and
//! `CoordinatorOperationExceptionHelper`.

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup as ConsumerDescribed;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatResponse, GroupId, HeartbeatResponse, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, ResponseKind, SyncGroupResponse,
};

use super::forms;
use crate::types::{LeaderEpoch, Offset, ResponseError, StrBytes};

/// What a client is told of an error that a log made
/// (`CoordinatorOperationExceptionHelper.handleOperationException`).
pub(crate) fn of_operation(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::NetworkException => ResponseError::CoordinatorLoadInProgress,
        ResponseError::UnknownTopicOrPartition
        | ResponseError::NotEnoughReplicas
        | ResponseError::RequestTimedOut => ResponseError::CoordinatorNotAvailable,
        ResponseError::NotLeaderOrFollower | ResponseError::KafkaStorageError => {
            ResponseError::NotCoordinator
        }
        ResponseError::MessageTooLarge
        | ResponseError::RecordListTooLarge
        | ResponseError::InvalidFetchSize => ResponseError::UnknownServerError,
        other => other,
    }
}

/// JoinGroup of that member.
pub(crate) fn of_join(member: StrBytes, error: ResponseError) -> ResponseKind {
    ResponseKind::JoinGroup(
        JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_member_id(member),
    )
}

/// SyncGroup.
pub(crate) fn of_sync(error: ResponseError) -> ResponseKind {
    ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(error.code()))
}

/// Heartbeat.
pub(crate) fn of_heartbeat(error: ResponseError) -> ResponseKind {
    ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(error.code()))
}

/// LeaveGroup: an unknown group is an error of each member.
pub(crate) fn of_leave(request: &LeaveGroupRequest, error: ResponseError) -> ResponseKind {
    let answer = LeaveGroupResponse::default();
    if error != ResponseError::UnknownMemberId {
        return ResponseKind::LeaveGroup(answer.with_error_code(error.code()));
    }
    let members = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(error.code())
    });
    ResponseKind::LeaveGroup(answer.with_members(members.collect()))
}

/// ConsumerGroupHeartbeat.
pub(crate) fn of_consumer_heartbeat(error: ResponseError) -> ResponseKind {
    ResponseKind::ConsumerGroupHeartbeat(
        ConsumerGroupHeartbeatResponse::default().with_error_code(error.code()),
    )
}

/// OffsetCommit, to which some partitions are refused for reasons of their own.
pub(crate) fn of_commit(
    request: &OffsetCommitRequest,
    refused: Vec<OffsetCommitResponseTopic>,
    error: ResponseError,
) -> ResponseKind {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error.code())
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    let topics = forms::merge_commit(refused, topics.collect());
    ResponseKind::OffsetCommit(OffsetCommitResponse::default().with_topics(topics))
}

/// OffsetFetch of one group.
pub(crate) fn of_fetch(
    request: &OffsetFetchRequestGroup,
    version: i16,
    error: ResponseError,
) -> ResponseKind {
    let group = fetch_group(request, version, error);
    ResponseKind::OffsetFetch(OffsetFetchResponse::default().with_groups(vec![group]))
}

/// An error about a group: before version 2 only partitions have errors.
pub(crate) fn fetch_group(
    request: &OffsetFetchRequestGroup,
    version: i16,
    error: ResponseError,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(request.group_id.clone());
    if GROUP_ERROR_VERSION_MIN <= version {
        return group.with_error_code(error.code());
    }
    let topics = request.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|&partition| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(partition)
                .with_committed_offset(Offset::UNKNOWN.0)
                .with_committed_leader_epoch(LeaderEpoch::NONE.0)
                .with_metadata(Some(StrBytes::default()))
                .with_error_code(error.code())
        });
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    group.with_topics(topics.collect())
}

/// OffsetDelete.
pub(crate) fn of_offset_delete(error: ResponseError) -> ResponseKind {
    ResponseKind::OffsetDelete(OffsetDeleteResponse::default().with_error_code(error.code()))
}

/// One group of DeleteGroups.
pub(crate) fn deleted_group(id: GroupId, error: ResponseError) -> DeletableGroupResult {
    DeletableGroupResult::default()
        .with_group_id(id)
        .with_error_code(error.code())
}

/// One group of DescribeGroups.
pub(crate) fn described_group(id: GroupId, error: ResponseError) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id)
        .with_error_code(error.code())
}

/// One group of ConsumerGroupDescribe.
pub(crate) fn described_consumer_group(id: GroupId, error: ResponseError) -> ConsumerDescribed {
    ConsumerDescribed::default()
        .with_group_id(id)
        .with_error_code(error.code())
}

/// The answer to a request whose records could not be written, or were not committed: it says so
/// instead of what it was going to say.
pub(crate) fn instead(answer: ResponseKind, error: ResponseError) -> ResponseKind {
    let code = of_operation(error).code();
    match answer {
        ResponseKind::OffsetCommit(mut answer) => {
            let unknown = ResponseError::UnknownTopicOrPartition.code();
            for topic in &mut answer.topics {
                let asked = topic.partitions.iter_mut();
                for partition in asked.filter(|it| it.error_code != unknown) {
                    partition.error_code = code;
                }
            }
            ResponseKind::OffsetCommit(answer)
        }
        ResponseKind::OffsetFetch(mut answer) => {
            // Consumers of old do not know the other code (`handleOffsetFetchException`).
            let code = match error {
                ResponseError::UnknownTopicOrPartition
                | ResponseError::NotEnoughReplicas
                | ResponseError::RequestTimedOut => ResponseError::NotCoordinator.code(),
                _ => code,
            };
            for group in &mut answer.groups {
                group.topics.clear();
                group.error_code = code;
            }
            ResponseKind::OffsetFetch(answer)
        }
        ResponseKind::DeleteGroups(mut answer) => {
            for result in &mut answer.results {
                result.error_code = code;
            }
            ResponseKind::DeleteGroups(answer)
        }
        ResponseKind::OffsetDelete(_) => {
            ResponseKind::OffsetDelete(OffsetDeleteResponse::default().with_error_code(code))
        }
        ResponseKind::JoinGroup(_) => {
            ResponseKind::JoinGroup(JoinGroupResponse::default().with_error_code(code))
        }
        ResponseKind::SyncGroup(_) => {
            ResponseKind::SyncGroup(SyncGroupResponse::default().with_error_code(code))
        }
        ResponseKind::Heartbeat(_) => {
            ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code))
        }
        ResponseKind::LeaveGroup(_) => {
            ResponseKind::LeaveGroup(LeaveGroupResponse::default().with_error_code(code))
        }
        ResponseKind::ConsumerGroupHeartbeat(_) => ResponseKind::ConsumerGroupHeartbeat(
            ConsumerGroupHeartbeatResponse::default().with_error_code(code),
        ),
        other => unreachable!("no answer of a write: {other:?}"),
    }
}

/// Since then OffsetFetch has an error for a whole group.
const GROUP_ERROR_VERSION_MIN: i16 = 2;
