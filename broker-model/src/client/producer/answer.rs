//! What a produce request's end means for each of its batches.
//!
//! An attempt is *definite* if it provably had no effect: it was never written to a socket, or the
//! broker answered with an error that it gives only before it appends. Which errors those are
//! stands in the catalogue of invariants (0.2): a delayed produce may be answered with
//! NOT_LEADER_OR_FOLLOWER after the append (KAFKA-13574).

use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceResponse, ResponseKind};

use crate::client::command::ClientError;
use crate::client::metadata::{Metadata, endpoint};
use crate::client::network::NetworkError;
use crate::types::{LeaderEpoch, NodeId, Offset, ResponseError, TopicIdPartition};

/// How an attempt to send a batch ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// `None` if it was appended.
    pub(super) error: Option<ResponseError>,
    /// The offset of the batch's first record, -1 if the broker did not say.
    pub(super) base_offset: Offset,
    /// The partition's log start, -1 if the broker did not say.
    pub(super) log_start: Offset,
    /// Whether the attempt provably had no effect.
    pub(super) definite: bool,
    /// Why there was no answer at all.
    network: Option<NetworkError>,
}

impl Answer {
    /// It was written, and nobody answers (acks=0).
    pub(super) const WRITTEN: Answer = Answer {
        error: None,
        base_offset: Offset::UNKNOWN,
        log_start: Offset::UNKNOWN,
        definite: false,
        network: None,
    };

    /// What the application is told if that was the last attempt.
    pub(super) fn failure(&self) -> ClientError {
        match (self.network, self.error) {
            (Some(NetworkError::TimedOut), _) => ClientError::TimedOut,
            (Some(NetworkError::UnsupportedVersion), _) => ClientError::UnsupportedVersion,
            (Some(NetworkError::NotSent | NetworkError::Disconnected), _) => {
                ClientError::Disconnected
            }
            (None, Some(error)) => ClientError::Broker(error),
            (None, None) => ClientError::Broker(ResponseError::UnknownServerError),
        }
    }

    fn of_network(network: NetworkError) -> Answer {
        let error = match network {
            NetworkError::TimedOut => ResponseError::RequestTimedOut,
            NetworkError::NotSent | NetworkError::Disconnected => ResponseError::NetworkException,
            NetworkError::UnsupportedVersion => ResponseError::UnsupportedVersion,
        };
        Answer {
            error: Some(error),
            definite: network.never_sent(),
            network: Some(network),
            ..Answer::WRITTEN
        }
    }

    fn of_error(error: ResponseError) -> Answer {
        Answer {
            error: Some(error),
            definite: is_definite(error),
            ..Answer::WRITTEN
        }
    }

    fn of_partition(partition: &PartitionProduceResponse) -> Answer {
        let log_start = Offset(partition.log_start_offset);
        match ResponseError::try_from_code(partition.error_code) {
            Some(error) => Answer {
                log_start,
                ..Answer::of_error(error)
            },
            None => Answer {
                base_offset: Offset(partition.base_offset),
                log_start,
                ..Answer::WRITTEN
            },
        }
    }
}

/// One answer for each partition of the request. Leaders that the broker names are taken over
/// (KIP-951).
pub(super) fn answers(
    partitions: &[TopicIdPartition],
    result: Result<Box<ResponseKind>, NetworkError>,
    metadata: &mut Metadata,
) -> Vec<Answer> {
    let body = match result {
        Ok(body) => *body,
        Err(error) => return vec![Answer::of_network(error); partitions.len()],
    };
    let ResponseKind::Produce(response) = body else {
        let answer = Answer::of_error(ResponseError::UnknownServerError);
        return vec![answer; partitions.len()];
    };
    let answer = |partition: &TopicIdPartition| {
        let found = find(&response, *partition, metadata);
        let lacking = || Answer::of_error(ResponseError::UnknownServerError);
        found.map_or_else(lacking, Answer::of_partition)
    };
    let answers = partitions.iter().map(answer).collect();
    take_over_leaders(partitions, &response, metadata);
    answers
}

/// The partition's part of the response; versions below 13 name topics instead of ids.
fn find<'a>(
    response: &'a ProduceResponse,
    partition: TopicIdPartition,
    metadata: &Metadata,
) -> Option<&'a PartitionProduceResponse> {
    let name = metadata.topic_name(partition.topic);
    let mut topics = response.responses.iter().filter(|topic| {
        topic.topic_id == partition.topic || topic.topic_id.is_nil() && Some(&topic.name.0) == name
    });
    let partitions = &topics.next()?.partition_responses;
    partitions
        .iter()
        .find(|answer| answer.index == partition.partition)
}

fn take_over_leaders(
    partitions: &[TopicIdPartition],
    response: &ProduceResponse,
    metadata: &mut Metadata,
) {
    for node in &response.node_endpoints {
        let endpoint = endpoint(node.host.clone(), node.port);
        metadata.add_broker(NodeId(node.node_id.0), endpoint);
    }
    for &partition in partitions {
        let Some(answer) = find(response, partition, metadata) else {
            continue;
        };
        let error = ResponseError::try_from_code(answer.error_code);
        if matches!(
            error,
            Some(ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch)
        ) {
            let leader = NodeId(answer.current_leader.leader_id.0);
            let epoch = LeaderEpoch(answer.current_leader.leader_epoch);
            metadata.update_leader(partition, leader, epoch);
        }
    }
}

/// Whether a broker gives this error only before it appends.
fn is_definite(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::MessageTooLarge
            | ResponseError::InvalidTopicException
            | ResponseError::RecordListTooLarge
            | ResponseError::CorruptMessage
            | ResponseError::InvalidTimestamp
            | ResponseError::InvalidRecord
            | ResponseError::PolicyViolation
            | ResponseError::TopicAuthorizationFailed
            | ResponseError::ClusterAuthorizationFailed
            | ResponseError::NotEnoughReplicas
            | ResponseError::OutOfOrderSequenceNumber
            | ResponseError::InvalidProducerEpoch
            | ResponseError::InvalidTxnState
            | ResponseError::InvalidProducerIdMapping
            | ResponseError::TransactionAbortable
    )
}
