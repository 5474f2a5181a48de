//! CreatePartitions, and what it shares with CreateTopics: assignments and new partitions.
//!
//! Mirrors `ReplicationControlManager.createPartitions` and `validateManualPartitionAssignment`.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse};

use super::decision::{ApiError, Decision, code_and_message};
use super::state::ControllerState;
use super::topics::count;
use crate::ids::IdSource;
use crate::metadata::MetadataRecord;
use crate::metadata::image::TopicImage;
use crate::metadata::record::PartitionRecord;
use crate::types::{LeaderEpoch, NodeId, PartitionEpoch, ResponseError, TopicIdPartition, Uuid};

impl ControllerState {
    /// Adds partitions to each topic that can have more.
    pub(super) fn create_partitions(
        &self,
        ids: &mut IdSource,
        request: &CreatePartitionsRequest,
    ) -> Decision<CreatePartitionsResponse> {
        let mut decision = Decision::new(Vec::new(), CreatePartitionsResponse::default());
        let mut answered = BTreeSet::new();
        for topic in &request.topics {
            if !answered.insert(&topic.name) {
                continue;
            }
            let same = request.topics.iter().filter(|it| it.name == topic.name);
            let outcome = if same.count() > 1 {
                let words = "duplicate topic name";
                Err(ApiError::new(ResponseError::InvalidRequest, words))
            } else {
                self.more_partitions(ids, topic)
            };
            let (code, message) = code_and_message(&outcome);
            if !request.validate_only {
                decision.records.extend(outcome.unwrap_or_default());
            }
            let result = CreatePartitionsTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code)
                .with_error_message(message);
            decision.response.results.push(result);
        }
        decision
    }

    fn more_partitions(
        &self,
        ids: &mut IdSource,
        wanted: &CreatePartitionsTopic,
    ) -> Result<Vec<MetadataRecord>, ApiError> {
        let topic = self.image.topic_by_name(&wanted.name);
        let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let first = count(topic.partitions.len());
        let Ok(additional @ 1..) = usize::try_from(wanted.count.saturating_sub(first)) else {
            return Err(ApiError::new(
                ResponseError::InvalidPartitions,
                format_args!(
                    "the topic {} currently has {first} partition(s); {} would not be an increase",
                    topic.name, wanted.count
                ),
            ));
        };
        if additional > MAX_RECORDS_PER_USER_OP {
            let words = "too many partitions for one request";
            return Err(ApiError::new(ResponseError::PolicyViolation, words));
        }
        let assignments = self.more_assignments(ids, topic, wanted, additional)?;
        let partitions = (first..).zip(assignments);
        partitions
            .map(|(partition, replicas)| self.new_partition(topic.id, partition, replicas))
            .collect()
    }

    fn more_assignments(
        &self,
        ids: &mut IdSource,
        topic: &TopicImage,
        wanted: &CreatePartitionsTopic,
        additional: usize,
    ) -> Result<Vec<Vec<NodeId>>, ApiError> {
        let mut existing = topic.partitions.values();
        let replication_factor = existing.next().map_or(0, |it| it.state.replicas.len());
        let Some(assignments) = &wanted.assignments else {
            let replication_factor =
                i16::try_from(replication_factor).expect("it was a 16-bit number at creation");
            return self.place(ids, additional, replication_factor);
        };
        if assignments.len() != additional {
            return Err(ApiError::new(
                ResponseError::InvalidReplicaAssignment,
                format_args!(
                    "attempted to add {additional} partition(s), but {} assignment(s) were given",
                    assignments.len()
                ),
            ));
        }
        let checked = assignments.iter().map(|assignment| {
            let replicas = replicas(&assignment.broker_ids);
            self.check_manual_assignment(&replicas, Some(replication_factor))?;
            self.check_live(&replicas, ResponseError::InvalidReplicaAssignment)?;
            Ok(replicas)
        });
        checked.collect()
    }

    /// A partition whose live replicas are all in sync, led by the first of them.
    pub(super) fn new_partition(
        &self,
        topic: Uuid,
        partition: i32,
        replicas: Vec<NodeId>,
    ) -> Result<MetadataRecord, ApiError> {
        self.check_live(&replicas, ResponseError::InvalidReplicationFactor)?;
        let live = replicas.iter().copied();
        let isr: Vec<NodeId> = live.filter(|&it| self.image.is_active(it)).collect();
        let directories = replicas.iter().map(|&it| self.default_dir(it)).collect();
        Ok(MetadataRecord::Partition(PartitionRecord {
            partition: TopicIdPartition { topic, partition },
            leader: isr[0],
            isr,
            directories,
            replicas,
            removing: Vec::new(),
            adding: Vec::new(),
            recovering: false,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        }))
    }

    /// One of the replicas must be able to lead; `error` is what it is answered otherwise.
    pub(super) fn check_live(
        &self,
        replicas: &[NodeId],
        error: ResponseError,
    ) -> Result<(), ApiError> {
        if replicas.iter().any(|&it| self.image.is_active(it)) {
            return Ok(());
        }
        let words = "all brokers of a partition are fenced or in controlled shutdown";
        Err(ApiError::new(error, words))
    }

    /// Replicas that a client chose: registered, each once, and as many as for the others.
    pub(super) fn check_manual_assignment(
        &self,
        replicas: &[NodeId],
        replication_factor: Option<usize>,
    ) -> Result<(), ApiError> {
        let invalid = |words| ApiError::new(ResponseError::InvalidReplicaAssignment, words);
        if replicas.is_empty() {
            return Err(invalid(
                "the assignment is an empty replica list".to_owned(),
            ));
        }
        let unknown = |it: &&NodeId| self.image.broker(**it).is_none();
        if let Some(broker) = replicas.iter().find(unknown) {
            return Err(invalid(format!("no broker {broker} is registered")));
        }
        let distinct: BTreeSet<&NodeId> = replicas.iter().collect();
        if distinct.len() != replicas.len() {
            return Err(invalid("a broker is assigned more than once".to_owned()));
        }
        match replication_factor {
            Some(others) if others != replicas.len() => Err(invalid(format!(
                "a partition with {} replica(s) is not consistent with others of {others}",
                replicas.len()
            ))),
            _ => Ok(()),
        }
    }
}

/// `QuorumController.MAX_RECORDS_PER_USER_OP`.
const MAX_RECORDS_PER_USER_OP: usize = 10_000;

/// Broker ids of a request.
pub(super) fn replicas(brokers: &[BrokerId]) -> Vec<NodeId> {
    brokers.iter().map(|broker| NodeId(broker.0)).collect()
}
