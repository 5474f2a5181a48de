//! Who coordinates what, for those who look for a coordinator.
//!
//! Groups are coordinated by the leader of their partition of `__consumer_offsets`, which is created
//! when somebody asks for the first time. Transactions and share groups are not built: they are
//! answered as Kafka does while its coordinator topics do not exist, and a transactional
//! InitProducerId meets a broker that coordinates none. Idempotent producers need no coordinator and
//! get their ids. Mirrors `KafkaApis.handleFindCoordinatorRequest` and
//! `TransactionCoordinator.handleInitProducerId`.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest,
    InitProducerIdResponse,
};

use super::topics::reachable_leader;
use crate::coordinator::{OFFSETS_TOPIC, partition_for};
use crate::metadata::MetadataImage;
use crate::types::{Endpoint, NodeId, ProducerEpoch, ProducerId, ResponseError, StrBytes};

/// The answer, and whether `__consumer_offsets` is to be created for it.
pub(crate) fn find_coordinator(
    image: &MetadataImage,
    offsets_partitions: i32,
    version: i16,
    request: &FindCoordinatorRequest,
) -> (FindCoordinatorResponse, bool) {
    let mut is_missing = false;
    let mut find = |key: &StrBytes| match request.key_type {
        GROUP => {
            is_missing |= image.topic_by_name(OFFSETS_TOPIC).is_none();
            of_group(image, offsets_partitions, key)
        }
        TRANSACTION => Err(ResponseError::CoordinatorNotAvailable),
        SHARE if 6 <= version => Err(ResponseError::CoordinatorNotAvailable),
        _ => Err(ResponseError::InvalidRequest),
    };
    let answer = FindCoordinatorResponse::default();
    let answer = if version < 4 {
        let found = Found::of(find(&request.key));
        answer
            .with_error_code(found.code)
            .with_error_message(found.message)
            .with_node_id(found.node)
            .with_host(found.host)
            .with_port(found.port)
    } else {
        let coordinators = request.coordinator_keys.iter().map(|key| {
            let found = Found::of(find(key));
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(found.code)
                .with_error_message(found.message)
                .with_node_id(found.node)
                .with_host(found.host)
                .with_port(found.port)
        });
        answer.with_coordinators(coordinators.collect())
    };
    (answer, is_missing)
}

/// The leader of the group's partition, if clients can reach it.
fn of_group(
    image: &MetadataImage,
    offsets_partitions: i32,
    group: &StrBytes,
) -> Result<(NodeId, Endpoint), ResponseError> {
    let at = partition_for(image, offsets_partitions, group);
    let found = image
        .topic_by_name(OFFSETS_TOPIC)
        .and_then(|topic| topic.partitions.get(&at))
        .and_then(|partition| reachable_leader(image, partition))
        .and_then(|leader| image.broker(leader).filter(|it| !it.fenced))
        .and_then(|leader| Some((leader.id, leader.endpoint()?)));
    found.ok_or(ResponseError::CoordinatorNotAvailable)
}

/// The fields of an answer that both forms of it have.
struct Found {
    code: i16,
    message: Option<StrBytes>,
    node: BrokerId,
    host: StrBytes,
    port: i32,
}

impl Found {
    fn of(found: Result<(NodeId, Endpoint), ResponseError>) -> Found {
        match found {
            Ok((node, to)) => Found {
                code: 0,
                message: None,
                node: BrokerId(node.0),
                host: to.host,
                port: i32::from(to.port),
            },
            Err(error) => Found {
                code: error.code(),
                message: Some(StrBytes::from_static_str(error_message(error))),
                node: BrokerId(NodeId::NONE.0),
                host: StrBytes::default(),
                port: -1,
            },
        }
    }
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
