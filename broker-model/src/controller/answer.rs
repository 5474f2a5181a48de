//! How a request is answered: directly, or inside the envelope in which a broker forwarded it
//! (KIP-590).
//!
//! Mirrors `AbstractRequest.getErrorResponse` of the controller's APIs and
//! `RequestContext.buildResponseEnvelopePayload`.

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AllocateProducerIdsResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterPartitionResponse, ApiKey, BrokerHeartbeatResponse,
    BrokerRegistrationResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterResponse, ElectLeadersRequest, ElectLeadersResponse, EnvelopeResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsResponse, RequestKind, ResponseKind, UnregisterBrokerResponse,
};

use super::decision::ApiError;
use crate::effect::Effects;
use crate::types::{ConnectionId, ResponseError};
use crate::wire::frame;

/// Who waits for an answer, and how it is to be wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    /// The connection the request came in by.
    pub(super) conn: ConnectionId,
    /// The request's, or that of its envelope.
    pub(super) correlation_id: i32,
    /// The version of the request to answer, inside its envelope if it has one.
    pub(super) version: i16,
    /// What was inside the envelope, if there was one.
    pub(super) enveloped: Option<Enveloped>,
}

/// A request that a broker forwarded for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Enveloped {
    pub(super) api_key: ApiKey,
    pub(super) correlation_id: i32,
}

impl Asker {
    /// Sends the answer.
    pub(super) fn answer(self, effects: &mut Effects, response: ResponseKind) {
        let response = match self.enveloped {
            Some(inner) => ResponseKind::Envelope(enclose(inner, self.version, &response)),
            None => response,
        };
        effects.reply(self.conn, self.correlation_id, response);
    }

    /// Answers with an error.
    pub(super) fn refuse(self, effects: &mut Effects, request: &RequestKind, error: &ApiError) {
        // The broker that forwarded has to look for the controller itself: its client cannot.
        if self.enveloped.is_some() && error.error == ResponseError::NotController {
            return self.refuse_envelope(effects, error.error);
        }
        match refusal(request, self.version, error) {
            Some(response) => self.answer(effects, response),
            None if self.enveloped.is_some() => {
                self.refuse_envelope(effects, ResponseError::InvalidRequest);
            }
            None => effects.close(self.conn),
        }
    }

    /// Answers the envelope itself with an error. A broker that found its connection closed instead
    /// would send the same envelope again, and everything behind it would wait.
    pub(super) fn refuse_envelope(self, effects: &mut Effects, error: ResponseError) {
        let response = EnvelopeResponse::default().with_error_code(error.code());
        let response = ResponseKind::Envelope(response);
        effects.reply(self.conn, self.correlation_id, response);
    }
}

fn enclose(inner: Enveloped, version: i16, response: &ResponseKind) -> EnvelopeResponse {
    let mut out = BytesMut::new();
    let Enveloped {
        api_key,
        correlation_id,
    } = inner;
    match frame::encode_response(api_key, version, correlation_id, response, &mut out) {
        Ok(()) => {
            // An envelope holds the header and the body, without the frame's length.
            out.advance(LENGTH_BYTES);
            EnvelopeResponse::default().with_response_data(Some(out.freeze()))
        }
        Err(_) => {
            EnvelopeResponse::default().with_error_code(ResponseError::UnknownServerError.code())
        }
    }
}

/// The answer that carries nothing but the error; `None` for what the controller does not serve.
fn refusal(request: &RequestKind, version: i16, error: &ApiError) -> Option<ResponseKind> {
    let code = error.code();
    let message = || error.message.clone();
    Some(match request {
        RequestKind::BrokerRegistration(_) => BrokerRegistrationResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::BrokerHeartbeat(_) => BrokerHeartbeatResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::UnregisterBroker(_) => UnregisterBrokerResponse::default()
            .with_error_code(code)
            .with_error_message(message())
            .into(),
        RequestKind::AlterPartition(_) => AlterPartitionResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::AllocateProducerIds(_) => AllocateProducerIdsResponse::default()
            .with_error_code(code)
            .into(),
        RequestKind::ListPartitionReassignments(_) => ListPartitionReassignmentsResponse::default()
            .with_error_code(code)
            .with_error_message(message())
            .into(),
        RequestKind::DescribeCluster(_) => DescribeClusterResponse::default()
            .with_error_code(code)
            .with_error_message(message())
            .into(),
        RequestKind::CreateTopics(request) => topics_not_created(request, error).into(),
        RequestKind::DeleteTopics(request) => topics_not_deleted(request, error).into(),
        RequestKind::CreatePartitions(request) => partitions_not_created(request, error).into(),
        RequestKind::ElectLeaders(request) => not_elected(request, version, error).into(),
        RequestKind::AlterPartitionReassignments(request) => not_reassigned(request, error).into(),
        RequestKind::IncrementalAlterConfigs(request) => not_altered(request, error).into(),
        _ => return None,
    })
}

fn topics_not_created(request: &CreateTopicsRequest, error: &ApiError) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| {
        CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(error.code())
            .with_error_message(error.message.clone())
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

fn topics_not_deleted(request: &DeleteTopicsRequest, error: &ApiError) -> DeleteTopicsResponse {
    let failed = || DeletableTopicResult::default().with_error_code(error.code());
    let names = request.topic_names.iter();
    let by_name = names.map(|name| failed().with_name(Some(name.clone())));
    let topics = request.topics.iter();
    let by_state = topics.map(|topic| {
        failed()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
    });
    DeleteTopicsResponse::default().with_responses(by_name.chain(by_state).collect())
}

fn partitions_not_created(
    request: &CreatePartitionsRequest,
    error: &ApiError,
) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| {
        CreatePartitionsTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(error.code())
            .with_error_message(error.message.clone())
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn not_elected(
    request: &ElectLeadersRequest,
    version: i16,
    error: &ApiError,
) -> ElectLeadersResponse {
    let topics = request.topic_partitions.iter().flatten();
    let results = topics.map(|topic| {
        let partitions = topic.partitions.iter().map(|&partition| {
            PartitionResult::default()
                .with_partition_id(partition)
                .with_error_code(error.code())
                .with_error_message(error.message.clone())
        });
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(partitions.collect())
    });
    let response = ElectLeadersResponse::default().with_replica_election_results(results.collect());
    match version {
        0 => response,
        _ => response.with_error_code(error.code()),
    }
}

fn not_reassigned(
    request: &AlterPartitionReassignmentsRequest,
    error: &ApiError,
) -> AlterPartitionReassignmentsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error.code())
                .with_error_message(error.message.clone())
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_error_code(error.code())
        .with_error_message(error.message.clone())
        .with_responses(topics.collect())
}

fn not_altered(
    request: &IncrementalAlterConfigsRequest,
    error: &ApiError,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| {
        AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_code(error.code())
            .with_error_message(error.message.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// A frame's length prefix.
const LENGTH_BYTES: usize = 4;
