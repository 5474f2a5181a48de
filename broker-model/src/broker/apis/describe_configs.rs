//! DescribeConfigs for topics and brokers.
//!
//! Mirrors `ConfigHelper`. Values come from the same tables that the rest of the model reads; there
//! are no client metrics, groups or loggers, so those resources are refused.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{resource, topics};
use crate::config::{self, BROKER, Given, Property, TopicEntry};
use crate::metadata::MetadataImage;
use crate::metadata::image::ConfigResource;
use crate::types::{NodeId, ResponseError, StrBytes};

/// Whom the questions go to.
pub(crate) struct Asked<'a> {
    /// The metadata as applied.
    pub(crate) image: &'a MetadataImage,
    /// This broker.
    pub(crate) node: NodeId,
    /// Its `server.properties`.
    pub(crate) properties: &'a Given,
    /// Fields that a version lacks are left out.
    pub(crate) version: i16,
}

impl Asked<'_> {
    /// One result a resource. A kind of resource that nobody knows spoils the whole request.
    pub(crate) fn answer(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        let known = |resource: &DescribeConfigsResource| {
            matches!(
                resource.resource_type,
                resource::TOPIC
                    | resource::BROKER
                    | resource::BROKER_LOGGER
                    | resource::CLIENT_METRICS
                    | resource::GROUP
            )
        };
        let spoilt = !request.resources.iter().all(known);
        let results = request.resources.iter().map(|resource| {
            let outcome = if spoilt {
                Err(ResponseError::InvalidRequest)
            } else {
                self.describe(request, resource)
            };
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_message(None);
            match outcome {
                Ok(configs) => result.with_configs(configs),
                Err(error) => result.with_error_code(error.code()),
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn describe(
        &self,
        request: &DescribeConfigsRequest,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
        let name = resource.resource_name.as_str();
        let entries = match resource.resource_type {
            resource::TOPIC => self.topic(request, name)?,
            resource::BROKER if name.is_empty() => self.broker(request, None),
            resource::BROKER if name.parse() == Ok(self.node.0) => {
                self.broker(request, Some(self.node))
            }
            _ => return Err(ResponseError::InvalidRequest),
        };
        let wanted = resource.configuration_keys.as_deref().unwrap_or_default();
        let chosen = entries
            .into_iter()
            .filter(|entry| wanted.is_empty() || wanted.contains(&entry.name));
        Ok(chosen.collect())
    }

    fn topic(
        &self,
        request: &DescribeConfigsRequest,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
        let topic = self
            .image
            .topic_by_name(name)
            .ok_or_else(|| topics::absent(name))?;
        let overrides = self.configured(&ConfigResource::topic(topic.name.clone()));
        let entries = config::describe_topic(self.properties, &overrides);
        let results = entries
            .into_iter()
            .map(|entry| self.topic_entry(request, entry));
        Ok(results.collect())
    }

    fn topic_entry(
        &self,
        request: &DescribeConfigsRequest,
        entry: TopicEntry,
    ) -> DescribeConfigsResourceResult {
        let said = entry.synonyms.into_iter();
        let said = said.map(|said| synonym(said.name, said.value, said.source as i8));
        let row = Row {
            name: entry.name,
            value: Some(entry.value),
            read_only: false,
            source: entry.source as i8,
            kind: entry.kind as i8,
            doc: entry.doc,
        };
        self.result(request, row, said.collect())
    }

    /// Everything about a broker, or with `None` what was said to all of them.
    fn broker(
        &self,
        request: &DescribeConfigsRequest,
        node: Option<NodeId>,
    ) -> Vec<DescribeConfigsResourceResult> {
        let every = self.configured(&ConfigResource::every_broker());
        let own = node.map(|node| {
            self.configured(&ConfigResource {
                kind: ConfigResource::BROKER,
                name: StrBytes::from_string(node.0.to_string()),
            })
        });
        let mut rows: Vec<&Property> = BROKER.iter().collect();
        rows.sort_unstable_by_key(|row| row.name);
        let results = rows.into_iter().filter_map(|row| {
            let of = |given: &Given| given.get(row.name).cloned();
            let mut said = Vec::new();
            let mut say = |value: Option<String>, source: i8| {
                said.extend(value.map(|value| synonym(row.name, value, source)));
            };
            say(own.as_ref().and_then(of), DYNAMIC_BROKER);
            say(of(&every), DYNAMIC_DEFAULT_BROKER);
            if own.is_some() {
                say(of(self.properties), STATIC_BROKER);
                say(row.default.map(str::to_owned), DEFAULT);
            } else if said.is_empty() {
                return None;
            }
            let row = Row {
                name: row.name,
                value: said
                    .first()
                    .and_then(|said| said.value.as_deref().map(str::to_owned)),
                read_only: !is_dynamic(row.name),
                source: said.first().map_or(DEFAULT, |said| said.source),
                kind: row.kind as i8,
                doc: row.doc,
            };
            Some(self.result(request, row, said))
        });
        results.collect()
    }

    fn result(
        &self,
        request: &DescribeConfigsRequest,
        row: Row,
        said: Vec<DescribeConfigsSynonym>,
    ) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(row.name))
            .with_value(row.value.map(StrBytes::from_string))
            .with_read_only(row.read_only)
            .with_config_source(row.source)
            .with_documentation(None);
        if request.include_synonyms {
            result.synonyms = said;
        }
        if 3 <= self.version {
            result.config_type = row.kind;
            if request.include_documentation {
                result.documentation = Some(StrBytes::from_static_str(row.doc));
            }
        }
        result
    }

    fn configured(&self, resource: &ConfigResource) -> Given {
        let configured = self.image.config(resource).map(|configs| {
            let pairs = configs.iter();
            pairs
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect()
        });
        configured.unwrap_or_default()
    }
}

/// One property, about to be answered.
struct Row {
    name: &'static str,
    value: Option<String>,
    read_only: bool,
    source: i8,
    kind: i8,
    doc: &'static str,
}

fn synonym(name: &'static str, value: String, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value)))
        .with_source(source)
}

/// Whether Kafka lets that broker property change without a restart
/// (`DynamicBrokerConfig.AllDynamicConfigs`, as far as the table has them).
fn is_dynamic(name: &str) -> bool {
    let of_logs = name.starts_with("log.") && !NOT_DYNAMIC_OF_LOGS.contains(&name);
    of_logs || name.starts_with("compression.") || DYNAMIC.contains(&name)
}

const DYNAMIC: &[&str] = &[
    "background.threads",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "message.max.bytes",
    "min.insync.replicas",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "producer.id.expiration.ms",
    "transaction.partition.verification.enable",
    "unclean.leader.election.enable",
];

const NOT_DYNAMIC_OF_LOGS: &[&str] = &[
    "log.cleaner.enable",
    "log.dir",
    "log.dir.failure.timeout.ms",
    "log.dirs",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.scheduler.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.initial.task.delay.ms",
    "log.retention.check.interval.ms",
    "log.retention.hours",
    "log.retention.minutes",
    "log.roll.hours",
    "log.roll.jitter.hours",
    "log.segment.delete.delay.ms",
];

/// `ConfigSource.DYNAMIC_BROKER_CONFIG`.
const DYNAMIC_BROKER: i8 = 2;
/// `ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG`.
const DYNAMIC_DEFAULT_BROKER: i8 = 3;
/// `ConfigSource.STATIC_BROKER_CONFIG`.
const STATIC_BROKER: i8 = 4;
/// `ConfigSource.DEFAULT_CONFIG`.
const DEFAULT: i8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rig::{configure, image};

    fn resource(kind: i8, name: &'static str) -> DescribeConfigsResource {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_static_str(name))
            .with_configuration_keys(None)
    }

    fn ask(resources: Vec<DescribeConfigsResource>) -> Vec<DescribeConfigsResult> {
        let mut image = image();
        configure(&mut image, "orders", "max.message.bytes", "77777");
        let asked = Asked {
            image: &image,
            node: NodeId(1),
            properties: &Given::new(),
            version: 4,
        };
        let request = DescribeConfigsRequest::default()
            .with_resources(resources)
            .with_include_synonyms(true);
        asked.answer(&request).results
    }

    #[test]
    fn an_override_is_the_topics_and_its_synonym_the_brokers() {
        let keys = ["max.message.bytes", "cleanup.policy"].map(StrBytes::from_static_str);
        let resource =
            resource(resource::TOPIC, "orders").with_configuration_keys(Some(keys.to_vec()));
        let results = ask(vec![resource]);
        let [policy, bytes] = &results[0].configs[..] else {
            panic!("two were asked for");
        };
        assert_eq!((policy.config_source, policy.config_type), (DEFAULT, 7));
        assert_eq!(policy.synonyms[0].name.as_str(), "log.cleanup.policy");
        assert_eq!(bytes.value.as_deref(), Some("77777"));
        assert_eq!(bytes.config_source, 1);
        let said = bytes.synonyms.iter();
        let said: Vec<_> = said.map(|said| (said.name.as_str(), said.source)).collect();
        assert_eq!(said, [("max.message.bytes", 1), ("message.max.bytes", 5)]);
    }

    #[test]
    fn what_is_not_there_is_an_error_of_its_own() {
        let codes = |resources| -> Vec<i16> {
            ask(resources)
                .iter()
                .map(|result| result.error_code)
                .collect()
        };
        let asked = vec![
            resource(resource::TOPIC, "none"),
            resource(resource::TOPIC, "a/b"),
            resource(resource::TOPIC, ""),
            resource(resource::BROKER, "1"),
            resource(resource::BROKER, "2"),
            resource(resource::BROKER, ""),
        ];
        assert_eq!(codes(asked), [3, 17, 17, 0, 42, 0]);
        let spoilt = vec![resource(resource::TOPIC, "orders"), resource(77, "x")];
        assert_eq!(codes(spoilt), [42, 42]);
    }

    #[test]
    fn a_broker_shows_its_whole_table_and_its_cluster_only_what_was_said() {
        let results = ask(vec![
            resource(resource::BROKER, "1"),
            resource(resource::BROKER, ""),
        ]);
        assert_eq!(results[0].configs.len(), BROKER.iter().count());
        assert!(results[1].configs.is_empty());
    }
}
