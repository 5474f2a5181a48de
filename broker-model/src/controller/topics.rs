//! CreateTopics and DeleteTopics.
//!
//! Mirrors the topic half of `ReplicationControlManager` and of `ControllerApis`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use super::configs::topic_config_record;
use super::decision::{ApiError, Decision, code_and_message};
use super::partitions::replicas;
use super::state::ControllerState;
use crate::ids::IdSource;
use crate::metadata::image::TopicImage;
use crate::metadata::record::{RemoveTopicRecord, TopicRecord};
use crate::metadata::{MetadataImage, MetadataRecord};
use crate::types::{METADATA_TOPIC, NodeId, ResponseError, StrBytes, Uuid};

impl ControllerState {
    /// Creates each topic that can be created; the others are answered with their errors.
    pub(super) fn create_topics(
        &self,
        ids: &mut IdSource,
        request: &CreateTopicsRequest,
    ) -> Result<Decision<CreateTopicsResponse>, ApiError> {
        self.check_total_partitions(request)?;
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut answered = BTreeSet::new();
        for topic in &request.topics {
            if !answered.insert(&topic.name) {
                continue;
            }
            let created = self.create_topic(ids, request, topic);
            results.push(match created {
                Ok((result, topic_records)) => {
                    records.extend(topic_records);
                    result
                }
                Err(error) => refused(topic, error),
            });
        }
        if request.validate_only {
            records.clear();
        }
        let response = CreateTopicsResponse::default().with_topics(results);
        Ok(Decision::new(records, response))
    }

    fn create_topic(
        &self,
        ids: &mut IdSource,
        request: &CreateTopicsRequest,
        topic: &CreatableTopic,
    ) -> Result<(CreatableTopicResult, Vec<MetadataRecord>), ApiError> {
        let invalid = |message: &str| ApiError::new(ResponseError::InvalidRequest, message);
        if request
            .topics
            .iter()
            .filter(|it| it.name == topic.name)
            .count()
            > 1
        {
            return Err(invalid("duplicate topic name"));
        }
        if topic.name.as_str() == METADATA_TOPIC {
            return Err(invalid("creation of the metadata topic is prohibited"));
        }
        check_name(&topic.name)?;
        self.check_collisions(&topic.name)?;
        let configs = self.creation_configs(topic)?;
        let assignments = self.creation_assignments(ids, topic)?;

        let id = ids.next_uuid();
        let mut records = vec![MetadataRecord::Topic(TopicRecord {
            name: topic.name.0.clone(),
            id,
        })];
        let settings = configs.iter();
        records.extend(settings.map(|(name, value)| topic_config_record(topic, name, value)));
        let num_partitions = assignments.len();
        let replication_factor = assignments.first().map_or(0, Vec::len);
        let replication_factor = i16::try_from(replication_factor).map_err(|_| {
            let words = "more than 32767 replicas";
            ApiError::new(ResponseError::InvalidReplicaAssignment, words)
        })?;
        for (partition, replicas) in (0..).zip(assignments) {
            records.push(self.new_partition(id, partition, replicas)?);
        }
        let result = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_topic_id(id)
            .with_error_message(None)
            .with_num_partitions(count(num_partitions))
            .with_replication_factor(replication_factor)
            .with_configs(Some(self.effective_topic_configs(&configs)));
        Ok((result, records))
    }

    fn creation_assignments(
        &self,
        ids: &mut IdSource,
        topic: &CreatableTopic,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        if !topic.assignments.is_empty() {
            return self.manual_assignments(topic);
        }
        let partitions = match topic.num_partitions {
            -1 => self.config.default_num_partitions,
            other => other,
        };
        let replication_factor = match topic.replication_factor {
            -1 => self.config.default_replication_factor,
            other => other,
        };
        if replication_factor < 1 {
            return Err(ApiError::new(
                ResponseError::InvalidReplicationFactor,
                "replication factor must be larger than 0, or -1 to use the default value",
            ));
        }
        let Ok(partitions @ 1..) = usize::try_from(partitions) else {
            return Err(ApiError::new(
                ResponseError::InvalidPartitions,
                "number of partitions was set to an invalid non-positive value",
            ));
        };
        self.place(ids, partitions, replication_factor)
    }

    /// Assignments that the client made: partition indexes 0..n, as many replicas each.
    fn manual_assignments(&self, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, ApiError> {
        if topic.replication_factor != -1 || topic.num_partitions != -1 {
            return Err(ApiError::new(
                ResponseError::InvalidRequest,
                "with a manual partition assignment, replication factor and number of partitions \
                 must be -1",
            ));
        }
        let mut assignments = BTreeMap::new();
        let mut replication_factor = None;
        for assignment in &topic.assignments {
            let replicas = replicas(&assignment.broker_ids);
            let partition = assignment.partition_index;
            self.check_manual_assignment(&replicas, replication_factor)?;
            self.check_live(&replicas, ResponseError::InvalidReplicaAssignment)?;
            replication_factor = Some(replicas.len());
            if assignments.insert(partition, replicas).is_some() {
                return Err(ApiError::new(
                    ResponseError::InvalidReplicaAssignment,
                    format_args!("multiple manual assignments for partition {partition}"),
                ));
            }
        }
        if !(0..).zip(assignments.keys()).all(|(at, &key)| at == key) {
            return Err(ApiError::new(
                ResponseError::InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence",
            ));
        }
        Ok(assignments.into_values().collect())
    }

    /// `ReplicationControlManager.validateTotalNumberOfPartitions`.
    fn check_total_partitions(&self, request: &CreateTopicsRequest) -> Result<(), ApiError> {
        let topics = request.topics.iter();
        let total: i64 = topics
            .map(
                |topic| match (topic.assignments.len(), topic.num_partitions) {
                    (0, -1) => i64::from(self.config.default_num_partitions),
                    (0, partitions) => i64::from(partitions.max(0)),
                    (assigned, _) => i64::from(count(assigned)),
                },
            )
            .sum();
        if total > MAX_PARTITIONS_PER_BATCH {
            return Err(ApiError::new(
                ResponseError::PolicyViolation,
                "excessively large number of partitions per request",
            ));
        }
        Ok(())
    }

    /// Metric names make '.' and '_' the same, so topics may not differ in them alone.
    fn check_collisions(&self, name: &str) -> Result<(), ApiError> {
        if self.image.topic_by_name(name).is_some() {
            return Err(ApiError::new(
                ResponseError::TopicAlreadyExists,
                format_args!("topic '{name}' already exists"),
            ));
        }
        if !name.contains(['.', '_']) {
            return Ok(());
        }
        let unified = name.replace('.', "_");
        let mut names = self.image.topic_names().keys();
        match names.find(|it| it.contains(['.', '_']) && it.replace('.', "_") == unified) {
            Some(other) => Err(ApiError::new(
                ResponseError::InvalidTopicException,
                format_args!("topic '{name}' collides with existing topic: {other}"),
            )),
            None => Ok(()),
        }
    }

    /// Deletes topics by name or id. Names and ids are looked up in what is `committed`.
    pub(super) fn delete_topics(
        &self,
        committed: &MetadataImage,
        version: i16,
        request: &DeleteTopicsRequest,
    ) -> Result<Decision<DeleteTopicsResponse>, ApiError> {
        if !self.config.delete_topic_enable {
            return Err(match version {
                ..3 => ResponseError::InvalidRequest.into(),
                _ => ResponseError::TopicDeletionDisabled.into(),
            });
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut found: BTreeMap<Uuid, (&StrBytes, usize)> = BTreeMap::new();
        for (wanted, times) in wanted_topics(request) {
            match find_topic(committed, &wanted, times) {
                Ok(topic) => found.entry(topic.id).or_insert((&topic.name, 0)).1 += 1,
                Err(error) => results.push(deleted(wanted, Err(error))),
            }
        }
        for (id, (name, times)) in found {
            let outcome = match times {
                1 if self.image.topic(id).is_some() => Ok(RemoveTopicRecord { id }),
                1 => Err(ResponseError::UnknownTopicId.into()),
                _ => Err(ApiError::new(
                    ResponseError::InvalidRequest,
                    "the topic name maps to an id that was already supplied",
                )),
            };
            records.extend(outcome.iter().copied().map(MetadataRecord::RemoveTopic));
            results.push(deleted((Some(name.clone()), id), outcome.map(|_| ())));
        }
        let response = DeleteTopicsResponse::default().with_responses(results);
        Ok(Decision::new(records, response))
    }
}

/// What a DeleteTopics names: by name, by id (nil for none).
type WantedTopic = (Option<StrBytes>, Uuid);

/// What is named, and how often.
fn wanted_topics(request: &DeleteTopicsRequest) -> BTreeMap<WantedTopic, usize> {
    let names = request.topic_names.iter();
    let by_name = names.map(|name| (Some(name.0.clone()), Uuid::nil()));
    let states = request.topics.iter();
    let by_state = states.map(|topic| (topic.name.as_ref().map(|it| it.0.clone()), topic.topic_id));
    let mut wanted = BTreeMap::new();
    for topic in by_name.chain(by_state) {
        *wanted.entry(topic).or_insert(0) += 1;
    }
    wanted
}

/// The topic that is named once, by name or by id.
fn find_topic<'a>(
    committed: &'a MetadataImage,
    (name, id): &WantedTopic,
    times: usize,
) -> Result<&'a TopicImage, ApiError> {
    let invalid = |message: &str| ApiError::new(ResponseError::InvalidRequest, message);
    match (name, id.is_nil()) {
        (None, true) => Err(invalid("neither topic name nor id were specified")),
        (Some(_), false) => Err(invalid("you may not specify both topic name and topic id")),
        _ if times > 1 => Err(invalid("duplicate topic name or id")),
        (None, false) => {
            let topic = committed.topic(*id);
            topic.ok_or_else(|| ResponseError::UnknownTopicId.into())
        }
        (Some(name), true) => {
            let topic = committed.topic_by_name(name);
            topic.ok_or_else(|| ResponseError::UnknownTopicOrPartition.into())
        }
    }
}

fn deleted((name, id): WantedTopic, outcome: Result<(), ApiError>) -> DeletableTopicResult {
    let (code, message) = code_and_message(&outcome);
    DeletableTopicResult::default()
        .with_name(name.map(TopicName))
        .with_topic_id(id)
        .with_error_code(code)
        .with_error_message(message)
}

fn refused(topic: &CreatableTopic, error: ApiError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(error.code())
        .with_error_message(error.message)
}

/// `Topic.validate`.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let is_legal = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    let wrong = if name.is_empty() {
        "the empty string is not allowed"
    } else if name == "." || name == ".." {
        "'.' or '..' is not allowed"
    } else if name.len() > MAX_NAME_LENGTH {
        "the length is longer than the max allowed length 249"
    } else if !name.chars().all(is_legal) {
        "it contains characters other than ASCII alphanumerics, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(ApiError::new(
        ResponseError::InvalidTopicException,
        format_args!("topic name is invalid: {wrong}"),
    ))
}

/// A number of partitions, as requests and responses carry it.
pub(super) fn count(partitions: usize) -> i32 {
    i32::try_from(partitions).expect("a request has fewer than 2^31 partitions")
}

/// `Topic.MAX_NAME_LENGTH`.
const MAX_NAME_LENGTH: usize = 249;
/// `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
const MAX_PARTITIONS_PER_BATCH: i64 = 10_000;
