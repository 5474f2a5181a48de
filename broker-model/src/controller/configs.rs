//! Configuration of topics and brokers: what may be set, and IncrementalAlterConfigs (KIP-339).
//!
//! Mirrors `ConfigurationControlManager` and `ControllerConfigurationValidator`. Brokers take
//! dynamic properties of their own from nowhere: the cluster's defaults for topics are the only ones
//! that have an effect.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicConfigs;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::decision::{ApiError, Decision, code_and_message};
use super::state::ControllerState;
use super::topics::check_name;
use crate::config::{
    BROKER, Given, Kind, PropertyTable, TOPIC, TopicConfig, describe_topic, parse,
};
use crate::metadata::MetadataRecord;
use crate::metadata::image::ConfigResource;
use crate::metadata::record::ConfigRecord;
use crate::types::{NodeId, ResponseError, StrBytes};

impl ControllerState {
    /// The configuration that a new topic asks for, checked.
    pub(super) fn creation_configs(&self, topic: &CreatableTopic) -> Result<Given, ApiError> {
        let mut configs = Given::new();
        for config in &topic.configs {
            let Some(value) = &config.value else {
                return Err(ApiError::new(
                    ResponseError::InvalidConfig,
                    format_args!("null value not supported for topic config {}", config.name),
                ));
            };
            configs.insert(config.name.to_string(), value.to_string());
        }
        self.check_topic_config(&configs)?;
        Ok(configs)
    }

    /// Everything that holds for a topic with those overrides.
    pub(super) fn effective_topic_configs(&self, configs: &Given) -> Vec<CreatableTopicConfigs> {
        let entries = describe_topic(&self.config.properties, configs).into_iter();
        entries
            .map(|entry| {
                CreatableTopicConfigs::default()
                    .with_name(StrBytes::from_static_str(entry.name))
                    .with_value(Some(StrBytes::from_string(entry.value)))
                    .with_config_source(entry.source as i8)
            })
            .collect()
    }

    /// Changes each resource as a whole, or not at all.
    pub(super) fn incremental_alter_configs(
        &self,
        request: &IncrementalAlterConfigsRequest,
    ) -> Decision<IncrementalAlterConfigsResponse> {
        let mut decision = Decision::new(Vec::new(), IncrementalAlterConfigsResponse::default());
        let mut answered = BTreeSet::new();
        for resource in &request.resources {
            let id = |it: &AlterConfigsResource| (it.resource_type, it.resource_name.clone());
            if !answered.insert(id(resource)) {
                continue;
            }
            let same = request.resources.iter().filter(|it| id(it) == id(resource));
            let outcome = if same.count() > 1 {
                let words = "duplicate resource";
                Err(ApiError::new(ResponseError::InvalidRequest, words))
            } else {
                self.alter_resource(resource)
            };
            let (code, message) = code_and_message(&outcome);
            if !request.validate_only {
                decision.records.extend(outcome.unwrap_or_default());
            }
            let answer = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(code)
                .with_error_message(message);
            decision.response.responses.push(answer);
        }
        decision
    }

    fn alter_resource(
        &self,
        resource: &AlterConfigsResource,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let invalid = |words: &str| ApiError::new(ResponseError::InvalidRequest, words);
        let table = match resource.resource_type {
            ConfigResource::TOPIC => &TOPIC,
            ConfigResource::BROKER => &BROKER,
            _ => return Err(invalid("unexpected resource type")),
        };
        let id = ConfigResource {
            kind: resource.resource_type,
            name: resource.resource_name.clone(),
        };
        let mut names = BTreeSet::new();
        if !resource.configs.iter().all(|it| names.insert(&it.name)) {
            return Err(invalid("duplicate config keys"));
        }
        let mut configs = self.configured(&id);
        let mut records = Vec::new();
        for config in &resource.configs {
            let before = configs.get(config.name.as_str()).cloned();
            let after = self.altered(table, before.as_deref(), config)?;
            // Brokers reload on every record, changed or not (KAFKA-14136).
            if before == after && id.kind == ConfigResource::TOPIC {
                continue;
            }
            match &after {
                Some(value) => configs.insert(config.name.to_string(), value.clone()),
                None => configs.remove(config.name.as_str()),
            };
            records.push(MetadataRecord::Config(ConfigRecord {
                resource_type: id.kind,
                resource_name: id.name.clone(),
                name: config.name.clone(),
                value: after.map(StrBytes::from_string),
            }));
        }
        match id.kind {
            ConfigResource::TOPIC => self.check_topic_resource(&id.name, &configs)?,
            _ => self.check_broker_resource(&id.name, &configs)?,
        }
        Ok(records)
    }

    /// A property's value after one operation; `None` removes it.
    fn altered(
        &self,
        table: &PropertyTable,
        before: Option<&str>,
        config: &AlterableConfig,
    ) -> Result<Option<String>, ApiError> {
        if config.config_operation == DELETE {
            return Ok(None);
        }
        let Some(value) = &config.value else {
            return Err(ApiError::new(
                ResponseError::InvalidRequest,
                format_args!("null value not supported for {}", config.name),
            ));
        };
        match config.config_operation {
            SET => return Ok(Some(value.to_string())),
            APPEND | SUBTRACT => {}
            other => {
                return Err(ApiError::new(
                    ResponseError::InvalidRequest,
                    format_args!("unknown operation type {other}"),
                ));
            }
        }
        let property = table.find(&config.name).filter(|it| it.kind == Kind::List);
        let Some(property) = property else {
            return Err(ApiError::new(
                ResponseError::InvalidConfig,
                format_args!("can't append to or subtract from {}: no list", config.name),
            ));
        };
        let inherited = property.default.unwrap_or_default();
        let before = before.unwrap_or(inherited).split(',');
        let mut items: Vec<&str> = before.filter(|item| !item.is_empty()).collect();
        for item in value.split(',') {
            let known = items.contains(&item);
            if config.config_operation == APPEND && !known {
                items.push(item);
            }
            if config.config_operation == SUBTRACT {
                items.retain(|it| *it != item);
            }
        }
        Ok(Some(items.join(",")))
    }

    fn configured(&self, resource: &ConfigResource) -> Given {
        let configs = self.image.config(resource).into_iter().flatten();
        configs
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn check_topic_resource(&self, name: &StrBytes, configs: &Given) -> Result<(), ApiError> {
        if name.is_empty() {
            let words = "default topic resources are not allowed";
            return Err(ApiError::new(ResponseError::InvalidRequest, words));
        }
        check_name(name)?;
        self.check_topic_config(configs)?;
        if self.image.topic_by_name(name).is_none() {
            return Err(ApiError::new(
                ResponseError::UnknownTopicOrPartition,
                format_args!("the topic '{name}' does not exist"),
            ));
        }
        Ok(())
    }

    fn check_topic_config(&self, configs: &Given) -> Result<(), ApiError> {
        TopicConfig::from_properties(&self.config.properties, configs)
            .map(|_| ())
            .map_err(|error| ApiError::new(ResponseError::InvalidConfig, error))
    }

    fn check_broker_resource(&self, name: &StrBytes, configs: &Given) -> Result<(), ApiError> {
        for (property, value) in configs {
            parse(&BROKER, property, value)
                .map_err(|error| ApiError::new(ResponseError::InvalidConfig, error))?;
        }
        if name.is_empty() {
            return Ok(());
        }
        let Ok(node) = name.parse().map(NodeId) else {
            return Err(ApiError::new(
                ResponseError::InvalidRequest,
                format_args!("invalid broker name {name}"),
            ));
        };
        let is_controller = self.config.voters.iter().any(|voter| voter.id == node);
        if is_controller || self.image.broker(node).is_some() {
            return Ok(());
        }
        Err(ApiError::new(
            ResponseError::BrokerIdNotRegistered,
            format_args!("no node with id {node} found"),
        ))
    }
}

/// One property of a new topic.
pub(super) fn topic_config_record(
    topic: &CreatableTopic,
    name: &str,
    value: &str,
) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: ConfigResource::TOPIC,
        resource_name: topic.name.0.clone(),
        name: StrBytes::from_string(name.to_owned()),
        value: Some(StrBytes::from_string(value.to_owned())),
    })
}

/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;
