//! Calls about groups: requests and answers. Mirrors the handlers of `KafkaAdminClient`
//! (`AlterConsumerGroupOffsetsHandler` and its like).

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, RequestKind, ResponseKind, TopicName,
};

use crate::client::command::{GroupAnswer, GroupCall, OffsetAndMetadata};
use crate::types::{LeaderEpoch, Offset, ResponseError, StrBytes, TopicPartition};

/// The request of a call.
pub(super) fn request(call: &GroupCall) -> RequestKind {
    let id = GroupId(call.group().clone());
    match call {
        GroupCall::AlterOffsets { offsets, .. } => {
            let topics = offsets.iter().map(|(name, offset)| {
                let partition = OffsetCommitRequestPartition::default()
                    .with_partition_index(name.partition)
                    .with_committed_offset(offset.offset.0)
                    .with_committed_leader_epoch(offset.leader_epoch.0)
                    .with_committed_metadata(Some(offset.metadata.clone()));
                OffsetCommitRequestTopic::default()
                    .with_name(TopicName(name.topic.clone()))
                    .with_partitions(vec![partition])
            });
            let request = OffsetCommitRequest::default()
                .with_group_id(id)
                .with_generation_id_or_member_epoch(NO_GENERATION)
                .with_topics(topics.collect());
            RequestKind::OffsetCommit(request)
        }
        GroupCall::ListOffsets { partitions, .. } => {
            let topics = partitions.iter().map(|name| {
                OffsetFetchRequestTopics::default()
                    .with_name(TopicName(name.topic.clone()))
                    .with_partition_indexes(vec![name.partition])
            });
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(id)
                .with_topics(Some(topics.collect()));
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]))
        }
        GroupCall::DeleteOffsets { partitions, .. } => {
            let topics = partitions.iter().map(|name| {
                let partition =
                    OffsetDeleteRequestPartition::default().with_partition_index(name.partition);
                OffsetDeleteRequestTopic::default()
                    .with_name(TopicName(name.topic.clone()))
                    .with_partitions(vec![partition])
            });
            let request = OffsetDeleteRequest::default()
                .with_group_id(id)
                .with_topics(topics.collect());
            RequestKind::OffsetDelete(request)
        }
        GroupCall::Delete { .. } => {
            RequestKind::DeleteGroups(DeleteGroupsRequest::default().with_groups_names(vec![id]))
        }
        GroupCall::Describe { .. } => {
            RequestKind::DescribeGroups(DescribeGroupsRequest::default().with_groups(vec![id]))
        }
    }
}

/// A commit of nobody in particular.
const NO_GENERATION: i32 = -1;

/// What an answer says: with the first error, if there is one.
pub(super) fn answer(body: ResponseKind) -> Result<GroupAnswer, ResponseError> {
    match body {
        ResponseKind::OffsetCommit(it) => {
            let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
            done(partitions.map(|partition| partition.error_code))
        }
        ResponseKind::OffsetDelete(it) => {
            let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
            let partitions = partitions.map(|partition| partition.error_code);
            done([it.error_code].into_iter().chain(partitions))
        }
        ResponseKind::DeleteGroups(it) => done(it.results.iter().map(|result| result.error_code)),
        ResponseKind::DescribeGroups(mut it) => {
            let group = it.groups.pop().ok_or(ResponseError::UnknownServerError)?;
            done([group.error_code])?;
            Ok(GroupAnswer::Group {
                state: group.group_state,
                members: group.members.len(),
            })
        }
        ResponseKind::OffsetFetch(mut it) => {
            let group = it.groups.pop().ok_or(ResponseError::UnknownServerError)?;
            done([group.error_code])?;
            offsets(group)
        }
        _ => Err(ResponseError::UnknownServerError),
    }
}

fn done(codes: impl IntoIterator<Item = i16>) -> Result<GroupAnswer, ResponseError> {
    let mut errors = codes.into_iter().filter_map(ResponseError::try_from_code);
    errors.next().map_or(Ok(GroupAnswer::Done), Err)
}

fn offsets(group: OffsetFetchResponseGroup) -> Result<GroupAnswer, ResponseError> {
    let mut offsets = Vec::new();
    for topic in group.topics {
        for found in topic.partitions {
            done([found.error_code])?;
            let name = TopicPartition {
                topic: topic.name.0.clone(),
                partition: found.partition_index,
            };
            let offset = (0 <= found.committed_offset).then(|| OffsetAndMetadata {
                offset: Offset(found.committed_offset),
                leader_epoch: LeaderEpoch(found.committed_leader_epoch),
                metadata: found
                    .metadata
                    .unwrap_or_else(|| StrBytes::from_static_str("")),
            });
            offsets.push((name, offset));
        }
    }
    Ok(GroupAnswer::Offsets(offsets))
}
