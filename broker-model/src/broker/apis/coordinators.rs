//! What a broker without coordinators says to those who look for one.
//!
//! Groups, transactions and share groups are not built: `KafkaApis.handleFindCoordinatorRequest`
//! answers as Kafka does while its coordinator topics do not exist, for as long as the cluster
//! lives, and a transactional InitProducerId meets a broker that coordinates nothing. Idempotent
//! producers need no coordinator and get their ids (`TransactionCoordinator.handleInitProducerId`).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest,
    InitProducerIdResponse,
};

use crate::types::{NodeId, ProducerEpoch, ProducerId, ResponseError, StrBytes};

/// Nobody coordinates anything yet.
pub(crate) fn find_coordinator(
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let error = match request.key_type {
        GROUP | TRANSACTION => ResponseError::CoordinatorNotAvailable,
        SHARE if 6 <= version => ResponseError::CoordinatorNotAvailable,
        _ => ResponseError::InvalidRequest,
    };
    let nobody = BrokerId(NodeId::NONE.0);
    let message = StrBytes::from_static_str(error_message(error));
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(message))
            .with_node_id(nobody)
            .with_port(-1);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(nobody)
            .with_port(-1)
            .with_error_code(error.code())
            .with_error_message(Some(message.clone()))
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// Why an InitProducerId gets no id, whoever hands ids out; `None` if it may have one.
pub(crate) fn refuse_init_producer_id(request: &InitProducerIdRequest) -> Option<ResponseError> {
    let has_id = request.producer_id.0 != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return Some(ResponseError::InvalidRequest);
    }
    let transactional_id = request.transactional_id.as_ref()?;
    Some(if transactional_id.is_empty() {
        ResponseError::InvalidRequest
    } else {
        ResponseError::NotCoordinator
    })
}

/// The answer to an idempotent producer: a new id starts in epoch 0.
pub(crate) fn init_producer_id(
    outcome: Result<ProducerId, ResponseError>,
) -> InitProducerIdResponse {
    let answer = InitProducerIdResponse::default();
    match outcome {
        Ok(id) => answer
            .with_producer_id(kafka_protocol::messages::ProducerId(id.0))
            .with_producer_epoch(0),
        Err(error) => answer
            .with_error_code(error.code())
            .with_producer_id(kafka_protocol::messages::ProducerId(ProducerId::NONE.0))
            .with_producer_epoch(ProducerEpoch::NONE.0),
    }
}

fn error_message(error: ResponseError) -> &'static str {
    if error == ResponseError::InvalidRequest {
        "This is no type of coordinator."
    } else {
        "The coordinator is not available."
    }
}

/// `CoordinatorType.GROUP`.
const GROUP: i8 = 0;
/// `CoordinatorType.TRANSACTION`.
const TRANSACTION: i8 = 1;
/// `CoordinatorType.SHARE`.
const SHARE: i8 = 2;
