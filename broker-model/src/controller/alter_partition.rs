//! AlterPartition: a leader asks for another ISR (KIP-497, KIP-841, KIP-903).

use kafka_protocol::messages::alter_partition_request::{self as request, BrokerState};
use kafka_protocol::messages::alter_partition_response as response;
use kafka_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse, BrokerId};

use super::decision::{ApiError, Decision};
use super::partition_change::PartitionChange;
use super::state::ControllerState;
use crate::metadata::MetadataRecord;
use crate::metadata::image::PartitionRegistration;
use crate::note::Note;
use crate::types::{
    BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, ResponseError, TopicIdPartition,
};

impl ControllerState {
    /// Accepts or refuses each proposed ISR on its own.
    pub(super) fn alter_partition(
        &self,
        request: &AlterPartitionRequest,
    ) -> Result<Decision<AlterPartitionResponse>, ApiError> {
        let broker = NodeId(request.broker_id.0);
        self.check_broker_epoch(broker, BrokerEpoch(request.broker_epoch))?;
        let mut decision = Decision::new(Vec::new(), AlterPartitionResponse::default());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let partition = TopicIdPartition {
                    topic: topic.topic_id,
                    partition: asked.partition_index,
                };
                let answer = self
                    .alter_one(broker, partition, asked, &mut decision)
                    .unwrap_or_else(|error| {
                        response::PartitionData::default().with_error_code(error.code())
                    });
                partitions.push(answer.with_partition_index(asked.partition_index));
            }
            let answer = response::TopicData::default()
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions);
            decision.response.topics.push(answer);
        }
        Ok(decision)
    }

    fn alter_one(
        &self,
        leader: NodeId,
        partition: TopicIdPartition,
        asked: &request::PartitionData,
        decision: &mut Decision<AlterPartitionResponse>,
    ) -> Result<response::PartitionData, ResponseError> {
        let topic = self.image.topic(partition.topic);
        let topic = topic.ok_or(ResponseError::UnknownTopicId)?;
        let before = topic.partitions.get(&partition.partition);
        let before = before.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let isr = proposed_isr(asked);
        self.check_alter_partition(leader, before, asked, &isr)?;
        let change = PartitionChange::of(partition, before)
            .election(self.online_or_unclean(partition))
            .isr(isr.iter().map(|&(replica, _)| replica).collect())
            .recovering(asked.leader_recovery_state == RECOVERING);
        let mut after = before.clone();
        if let Some(record) = self.build(change) {
            after.merge(&record);
            let new_leader = record.leader.is_some_and(|it| it != leader);
            decision
                .records
                .push(MetadataRecord::PartitionChange(record));
            decision
                .notes
                .push(self.accepted(leader, partition, before, isr));
            // The new ISR completed a reassignment that took the leadership away: the leader has
            // to hear of it by metadata (KAFKA-13916).
            if new_leader {
                return Err(ResponseError::NewLeaderElected);
            }
        }
        let state = &after.state;
        let members = state.isr.iter().map(|replica| BrokerId(replica.0));
        Ok(response::PartitionData::default()
            .with_leader_id(BrokerId(state.leader.0))
            .with_leader_epoch(state.leader_epoch.0)
            .with_partition_epoch(state.partition_epoch.0)
            .with_isr(members.collect())
            .with_leader_recovery_state(i8::from(state.recovering)))
    }

    /// `ReplicationControlManager.validateAlterPartitionData`.
    fn check_alter_partition(
        &self,
        broker: NodeId,
        before: &PartitionRegistration,
        asked: &request::PartitionData,
        isr: &[(NodeId, BrokerEpoch)],
    ) -> Result<(), ResponseError> {
        let state = &before.state;
        let leader_epoch = LeaderEpoch(asked.leader_epoch);
        let partition_epoch = PartitionEpoch(asked.partition_epoch);
        // A leader that is ahead of this controller has heard of a newer one.
        if state.leader_epoch < leader_epoch || state.partition_epoch < partition_epoch {
            return Err(ResponseError::NotController);
        }
        if leader_epoch < state.leader_epoch {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        if broker != state.leader {
            return Err(ResponseError::InvalidRequest);
        }
        if partition_epoch < state.partition_epoch {
            return Err(ResponseError::InvalidUpdateVersion);
        }
        let is_member = |replica: NodeId| isr.iter().any(|&(it, _)| it == replica);
        let recovering = asked.leader_recovery_state == RECOVERING;
        if !is_valid_isr(&state.replicas, isr)
            || !is_member(state.leader)
            || (recovering && isr.len() > 1)
            || (recovering && !state.recovering)
        {
            return Err(ResponseError::InvalidRequest);
        }
        if isr.iter().all(|&member| self.is_eligible(member)) {
            Ok(())
        } else {
            Err(ResponseError::IneligibleReplica)
        }
    }

    /// Whether that incarnation of the broker may be in an ISR; epoch -1 stands for any.
    fn is_eligible(&self, (replica, epoch): (NodeId, BrokerEpoch)) -> bool {
        let registered = self.image.broker(replica);
        self.image.is_active(replica)
            && registered.is_some_and(|it| epoch == BrokerEpoch::UNKNOWN || epoch == it.epoch)
    }

    fn accepted(
        &self,
        leader: NodeId,
        partition: TopicIdPartition,
        before: &PartitionRegistration,
        isr: Vec<(NodeId, BrokerEpoch)>,
    ) -> Note {
        let registered = isr.iter().map(|&(replica, _)| {
            let epoch = self.image.broker(replica).map(|it| it.epoch);
            let epoch = epoch.unwrap_or(BrokerEpoch::UNKNOWN);
            (replica, epoch, self.image.is_active(replica))
        });
        Note::AlterPartitionAccepted {
            partition,
            leader,
            leader_epoch: before.state.leader_epoch,
            partition_epoch: before.state.partition_epoch,
            before: Box::new(before.state.clone()),
            registered: registered.collect(),
            isr,
        }
    }
}

/// The ISR as version 3 has it; version 2 names no broker epochs.
fn proposed_isr(asked: &request::PartitionData) -> Vec<(NodeId, BrokerEpoch)> {
    if asked.new_isr_with_epochs.is_empty() {
        let members = asked.new_isr.iter();
        return members
            .map(|replica| (NodeId(replica.0), BrokerEpoch::UNKNOWN))
            .collect();
    }
    let member = |it: &BrokerState| (NodeId(it.broker_id.0), BrokerEpoch(it.broker_epoch));
    asked.new_isr_with_epochs.iter().map(member).collect()
}

/// Not empty, no member twice, and only replicas (`Replicas.validateIsr`).
fn is_valid_isr(replicas: &[NodeId], isr: &[(NodeId, BrokerEpoch)]) -> bool {
    let distinct = |(at, &(member, _)): (usize, &(NodeId, BrokerEpoch))| {
        replicas.contains(&member) && !isr[..at].iter().any(|&(other, _)| other == member)
    };
    !isr.is_empty() && isr.iter().enumerate().all(distinct)
}

/// `LeaderRecoveryState.RECOVERING`.
const RECOVERING: i8 = 1;
