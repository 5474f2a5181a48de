//! DescribeCluster, as brokers answer it.
//!
//! Mirrors `KafkaApis.handleDescribeCluster` and `AuthHelper.computeDescribeClusterResponse`.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::topics::{CLUSTER_OPERATIONS, NO_OPERATIONS};
use crate::metadata::MetadataImage;
use crate::types::{NodeId, ResponseError, StrBytes};

/// The brokers of the cluster. `controller` is an unfenced broker, to be named as the controller.
pub(crate) fn describe_cluster(
    image: &MetadataImage,
    cluster_id: &StrBytes,
    controller: NodeId,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refused = |error: ResponseError| {
        DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(None)
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => return refused(ResponseError::MismatchedEndpointType),
        _ => return refused(ResponseError::UnsupportedEndpointType),
    }
    let brokers = image.brokers().values();
    let shown = brokers.filter(|broker| !broker.fenced || request.include_fenced_brokers);
    let brokers = shown.filter_map(|broker| {
        let endpoint = broker.endpoint()?;
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id.0))
            .with_host(endpoint.host)
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.clone())
            .with_is_fenced(broker.fenced);
        Some(broker)
    });
    let ops = if request.include_cluster_authorized_operations {
        CLUSTER_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    DescribeClusterResponse::default()
        .with_error_message(None)
        .with_endpoint_type(BROKERS)
        .with_cluster_id(cluster_id.clone())
        .with_controller_id(BrokerId(controller.0))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(ops)
}

/// `EndpointType.BROKER`.
const BROKERS: i8 = 1;
/// `EndpointType.CONTROLLER`.
const CONTROLLERS: i8 = 2;
