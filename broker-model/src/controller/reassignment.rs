//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455).
//!
//! Mirrors the reassignment half of `ReplicationControlManager`, `PartitionReassignmentReplicas` and
//! `PartitionReassignmentRevert`. A reassignment completes in
//! [`partition_change`](super::partition_change), when its targets are in sync.

use std::collections::BTreeSet;

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};

use super::decision::{ApiError, Decision, code_and_message};
use super::partition_change::PartitionChange;
use super::partitions::replicas;
use super::state::ControllerState;
use crate::metadata::image::{PartitionRegistration, TopicImage};
use crate::metadata::record::PartitionChangeRecord;
use crate::metadata::{MetadataImage, MetadataRecord};
use crate::types::{NodeId, ResponseError, TopicIdPartition};

impl ControllerState {
    /// Starts, changes or cancels reassignments, each partition on its own.
    pub(super) fn alter_partition_reassignments(
        &self,
        version: i16,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<AlterPartitionReassignmentsResponse> {
        let response = AlterPartitionReassignmentsResponse::default().with_error_message(None);
        let mut decision = Decision::new(Vec::new(), response);
        if version >= 1 {
            decision.response.allow_replication_factor_change =
                request.allow_replication_factor_change;
        }
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for target in &topic.partitions {
                let factor_may_change = request.allow_replication_factor_change;
                let outcome = self.reassign(&topic.name, target, factor_may_change);
                let (code, message) = code_and_message(&outcome);
                let record = outcome.ok().flatten();
                let record = record.map(MetadataRecord::PartitionChange);
                decision.records.extend(record);
                let answer = ReassignablePartitionResponse::default()
                    .with_partition_index(target.partition_index)
                    .with_error_code(code)
                    .with_error_message(message);
                partitions.push(answer);
            }
            let answer = ReassignableTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions);
            decision.response.responses.push(answer);
        }
        decision
    }

    fn reassign(
        &self,
        topic: &TopicName,
        target: &ReassignablePartition,
        factor_may_change: bool,
    ) -> Result<Option<PartitionChangeRecord>, ApiError> {
        let (partition, before) = self.partition_by_name(topic, target.partition_index)?;
        let Some(brokers) = &target.replicas else {
            return self.cancel_reassignment(topic, partition, before);
        };
        let target = replicas(brokers);
        self.check_manual_assignment(&target, None)?;
        let factor = difference(&before.state.replicas, &before.removing).len();
        if !factor_may_change && factor != target.len() {
            return Err(ApiError::new(
                ResponseError::InvalidReplicationFactor,
                format_args!(
                    "the replication factor is changed from {factor} to {}",
                    target.len()
                ),
            ));
        }
        let current = &before.state.replicas;
        let removing = difference(current, &target);
        let adding = difference(&target, current);
        let mut change = PartitionChange::of(partition, before)
            .replicas(target.iter().chain(&removing).copied().collect());
        // What is neither coming nor going leaves the marks of a reassignment under way, as Kafka
        // does.
        let or_before = |new: Vec<NodeId>, old: &Vec<NodeId>| {
            if new.is_empty() { old.clone() } else { new }
        };
        change = change.reassigning(
            or_before(removing, &before.removing),
            or_before(adding, &before.adding),
        );
        Ok(self.build(change))
    }

    fn cancel_reassignment(
        &self,
        topic: &TopicName,
        partition: TopicIdPartition,
        before: &PartitionRegistration,
    ) -> Result<Option<PartitionChangeRecord>, ApiError> {
        if !before.is_reassigning() {
            return Err(ResponseError::NoReassignmentInProgress.into());
        }
        let state = &before.state;
        let original = |it: &NodeId| !before.adding.contains(it);
        let replicas: Vec<NodeId> = state.replicas.iter().copied().filter(original).collect();
        let mut isr: Vec<NodeId> = state.isr.iter().copied().filter(original).collect();
        if isr.is_empty() {
            // Only replicas that were being added are in sync: going back loses what they have.
            let first = replicas.first().copied();
            let first = first.ok_or(ResponseError::InvalidReplicaAssignment)?;
            if !self.is_unclean_election_enabled(&topic.0) {
                return Err(ApiError::new(
                    ResponseError::InvalidReplicaAssignment,
                    "reverting the assignment would require an unclean leader election",
                ));
            }
            isr.push(first);
        }
        let change = PartitionChange::of(partition, before)
            .election(self.online_or_unclean(partition))
            .isr(isr)
            .replicas(replicas)
            .reassigning(Vec::new(), Vec::new());
        Ok(self.build(change))
    }
}

/// The reassignments under way, as far as they are committed.
pub(super) fn list_partition_reassignments(
    committed: &MetadataImage,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let mut response = ListPartitionReassignmentsResponse::default().with_error_message(None);
    match &request.topics {
        Some(topics) => {
            for wanted in topics {
                let topic = committed.topic_by_name(&wanted.name);
                response.topics.extend(
                    topic.and_then(|topic| ongoing(topic, wanted.partition_indexes.iter())),
                );
            }
        }
        None => {
            let topics = committed.topics().values();
            let topics = topics.filter_map(|topic| ongoing(topic, topic.partitions.keys()));
            response.topics.extend(topics);
        }
    }
    response
}

fn ongoing<'a>(
    topic: &TopicImage,
    partitions: impl Iterator<Item = &'a i32>,
) -> Option<OngoingTopicReassignment> {
    let reassigning = partitions.filter_map(|partition| {
        let registration = topic.partitions.get(partition)?;
        let brokers = |nodes: &[NodeId]| nodes.iter().map(|node| BrokerId(node.0)).collect();
        registration.is_reassigning().then(|| {
            OngoingPartitionReassignment::default()
                .with_partition_index(*partition)
                .with_replicas(brokers(&registration.state.replicas))
                .with_adding_replicas(brokers(&registration.adding))
                .with_removing_replicas(brokers(&registration.removing))
        })
    });
    let partitions: Vec<_> = reassigning.collect();
    (!partitions.is_empty()).then(|| {
        OngoingTopicReassignment::default()
            .with_name(TopicName(topic.name.clone()))
            .with_partitions(partitions)
    })
}

/// What is in `all` but not in `others`, ascending.
fn difference(all: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    let only = all.iter().copied().filter(|it| !others.contains(it));
    let only: BTreeSet<NodeId> = only.collect();
    only.into_iter().collect()
}
