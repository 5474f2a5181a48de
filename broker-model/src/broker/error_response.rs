//! One error for everything that a request asked for, in the shape of its response.
//!
//! Mirrors `AbstractRequest.getErrorResponse` for the requests that brokers forward.

use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeQuorumResponse, ElectLeadersRequest,
    ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsResponse, RequestKind, ResponseKind, UnregisterBrokerResponse,
};

use crate::types::ResponseError;

/// The response to `request` that says `error` about all of it. `None` for a request that no
/// broker forwards.
pub(crate) fn error_response(
    request: &RequestKind,
    version: i16,
    error: ResponseError,
) -> Option<ResponseKind> {
    let code = error.code();
    Some(match request {
        RequestKind::CreateTopics(body) => ResponseKind::CreateTopics(create_topics(body, code)),
        RequestKind::DeleteTopics(body) => ResponseKind::DeleteTopics(delete_topics(body, code)),
        RequestKind::CreatePartitions(body) => {
            ResponseKind::CreatePartitions(create_partitions(body, code))
        }
        RequestKind::ElectLeaders(body) => {
            ResponseKind::ElectLeaders(elect_leaders(body, version, code))
        }
        RequestKind::AlterPartitionReassignments(body) => {
            ResponseKind::AlterPartitionReassignments(alter_reassignments(body, code))
        }
        RequestKind::ListPartitionReassignments(_) => ResponseKind::ListPartitionReassignments(
            ListPartitionReassignmentsResponse::default()
                .with_error_code(code)
                .with_error_message(None),
        ),
        RequestKind::IncrementalAlterConfigs(body) => {
            ResponseKind::IncrementalAlterConfigs(incremental_alter_configs(body, code))
        }
        RequestKind::UnregisterBroker(_) => ResponseKind::UnregisterBroker(
            UnregisterBrokerResponse::default()
                .with_error_code(code)
                .with_error_message(None),
        ),
        RequestKind::DescribeQuorum(_) => ResponseKind::DescribeQuorum(
            DescribeQuorumResponse::default()
                .with_error_code(code)
                .with_error_message(None),
        ),
        _ => return None,
    })
}

fn create_topics(request: &CreateTopicsRequest, code: i16) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| {
        CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(None)
            .with_num_partitions(-1)
            .with_replication_factor(-1)
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn delete_topics(request: &DeleteTopicsRequest, code: i16) -> DeleteTopicsResponse {
    let failed = || {
        DeletableTopicResult::default()
            .with_error_code(code)
            .with_error_message(None)
    };
    let by_name = request.topic_names.iter();
    let by_name = by_name.map(|name| failed().with_name(Some(name.clone())));
    let by_state = request.topics.iter().map(|topic| {
        failed()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
    });
    DeleteTopicsResponse::default().with_responses(by_name.chain(by_state).collect())
}

fn create_partitions(request: &CreatePartitionsRequest, code: i16) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| {
        CreatePartitionsTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(None)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn elect_leaders(request: &ElectLeadersRequest, version: i16, code: i16) -> ElectLeadersResponse {
    let results = request.topic_partitions.iter().flatten().map(|topic| {
        let partitions = topic.partitions.iter().map(|&partition| {
            PartitionResult::default()
                .with_partition_id(partition)
                .with_error_code(code)
                .with_error_message(None)
        });
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(partitions.collect())
    });
    // Version 0 has no error for the whole.
    let whole = if version == 0 { 0 } else { code };
    ElectLeadersResponse::default()
        .with_error_code(whole)
        .with_replica_election_results(results.collect())
}

fn alter_reassignments(
    request: &AlterPartitionReassignmentsRequest,
    code: i16,
) -> AlterPartitionReassignmentsResponse {
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
                .with_error_message(None)
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_error_code(code)
        .with_error_message(None)
        .with_responses(responses.collect())
}

fn incremental_alter_configs(
    request: &IncrementalAlterConfigsRequest,
    code: i16,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| {
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(None)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}
