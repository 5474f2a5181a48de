//! What a broker refuses of an IncrementalAlterConfigs before the controller sees it.
//!
//! Mirrors `ConfigAdminManager.preprocess` and `reassembleIncrementalResponse`. There are no
//! loggers in the model: changes of BROKER_LOGGER resources are refused.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::resource;
use crate::types::{NodeId, ResponseError, StrBytes};

/// The refused resources, by their place in the request, and why.
pub(crate) type Refused = BTreeMap<usize, &'static str>;

/// The resources that make no sense whatever the controller knows: all are INVALID_REQUEST.
pub(crate) fn refuse(request: &IncrementalAlterConfigsRequest, node: NodeId) -> Refused {
    let mut seen = BTreeMap::new();
    let mut refused = Refused::new();
    for (at, resource) in request.resources.iter().enumerate() {
        let key = (resource.resource_type, &resource.resource_name);
        if let Some(first) = seen.insert(key, at) {
            refused.insert(first, REPEATED);
            refused.insert(at, REPEATED);
        }
    }
    for (at, resource) in request.resources.iter().enumerate() {
        if let Err(reason) = check(resource, node) {
            refused.entry(at).or_insert(reason);
        }
    }
    refused
}

fn check(resource: &AlterConfigsResource, node: NodeId) -> Result<(), &'static str> {
    let mut names = BTreeSet::new();
    if !resource
        .configs
        .iter()
        .all(|config| names.insert(&config.name))
    {
        return Err("Error due to duplicate config keys");
    }
    let needs_value = |operation| operation != DELETE;
    if resource
        .configs
        .iter()
        .any(|config| needs_value(config.config_operation) && config.value.is_none())
    {
        return Err("Null value not supported");
    }
    match resource.resource_type {
        resource::TOPIC | resource::CLIENT_METRICS | resource::GROUP => Ok(()),
        resource::BROKER => {
            let name = &resource.resource_name;
            if name.is_empty() || name.parse() == Ok(node.0) {
                Ok(())
            } else {
                Err("Unexpected broker id")
            }
        }
        resource::BROKER_LOGGER => Err("There are no loggers"),
        _ => Err("Unknown resource type"),
    }
}

/// The request without what was refused.
pub(crate) fn without(
    request: &IncrementalAlterConfigsRequest,
    refused: &Refused,
) -> IncrementalAlterConfigsRequest {
    let resources = request.resources.iter().enumerate();
    let accepted = resources.filter(|(at, _)| !refused.contains_key(at));
    IncrementalAlterConfigsRequest::default()
        .with_validate_only(request.validate_only)
        .with_resources(accepted.map(|(_, resource)| resource.clone()).collect())
}

/// The whole answer: what was refused, and what the controller said about the rest.
pub(crate) fn reassemble(
    request: &IncrementalAlterConfigsRequest,
    refused: &Refused,
    answer: Option<&IncrementalAlterConfigsResponse>,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for (at, resource) in request.resources.iter().enumerate() {
        let own = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        let theirs = answer.and_then(|answer| find(answer, resource));
        responses.push(match (refused.get(&at), theirs) {
            (Some(&reason), _) => own
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(StrBytes::from_static_str(reason))),
            (None, Some(theirs)) => theirs.clone(),
            (None, None) => own.with_error_code(ResponseError::UnknownServerError.code()),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn find<'a>(
    answer: &'a IncrementalAlterConfigsResponse,
    resource: &AlterConfigsResource,
) -> Option<&'a AlterConfigsResourceResponse> {
    answer.responses.iter().find(|response| {
        response.resource_type == resource.resource_type
            && response.resource_name == resource.resource_name
    })
}

/// `AlterConfigOp.OpType.DELETE`.
const DELETE: i8 = 1;

const REPEATED: &str = "Each resource must appear at most once.";

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;

    fn change(name: &'static str, operation: i8, value: Option<&'static str>) -> AlterableConfig {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str))
    }

    fn topic(name: &'static str, configs: Vec<AlterableConfig>) -> AlterConfigsResource {
        AlterConfigsResource::default()
            .with_resource_type(resource::TOPIC)
            .with_resource_name(StrBytes::from_static_str(name))
            .with_configs(configs)
    }

    #[test]
    fn the_broker_refuses_doubles_and_nulls_and_keeps_the_order_of_the_rest() {
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![
            topic("a", vec![change("x", 0, Some("1")), change("x", 1, None)]),
            topic("b", vec![change("x", 0, Some("1"))]),
            topic("c", vec![change("x", 0, None)]),
            topic("d", vec![change("x", DELETE, None)]),
        ]);
        let refused = refuse(&request, NodeId(1));
        assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [0, 2]);
        let rest = without(&request, &refused);
        let answers = rest.resources.iter().map(|resource| {
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        let answer = IncrementalAlterConfigsResponse::default().with_responses(answers.collect());
        let whole = reassemble(&request, &refused, Some(&answer));
        let codes: Vec<i16> = whole.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [42, 0, 42, 0]);
    }
}
