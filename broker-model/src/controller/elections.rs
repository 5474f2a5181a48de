//! Leader elections: those that a broker's coming and going brings, those that an operator asks
//! for, and those that time brings.
//!
//! Mirrors `ReplicationControlManager.generateLeaderAndIsrUpdates`, `electLeaders`,
//! `maybeBalancePartitionLeaders` and `maybeElectUncleanLeaders`.

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

use super::decision::{ApiError, Decision, code_and_message};
use super::partition_change::{Election, PartitionChange};
use super::state::ControllerState;
use crate::metadata::MetadataRecord;
use crate::metadata::image::PartitionRegistration;
use crate::metadata::record::PartitionChangeRecord;
use crate::types::{NodeId, ResponseError, StrBytes, TopicIdPartition};

/// What an operator may ask for (`ElectionType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ElectionType {
    Preferred,
    Unclean,
}

impl ControllerState {
    /// What a broker's going (`remove`) or coming (`add`) does to partitions.
    ///
    /// Going, it leaves every ISR that it is in, and leads nothing. Coming, it may lead what has no
    /// leader, although it is still fenced while this is decided.
    pub(super) fn leader_and_isr_updates(
        &self,
        remove: Option<NodeId>,
        add: Option<NodeId>,
    ) -> Vec<MetadataRecord> {
        let concerned = |partition: &PartitionRegistration| match remove {
            Some(broker) => partition.state.isr.contains(&broker),
            None => partition.state.leader == NodeId::NONE,
        };
        let is_acceptable = |broker: NodeId| {
            Some(broker) != remove && (Some(broker) == add || self.image.is_active(broker))
        };
        let partitions = self.image.partitions().filter(|(_, it)| concerned(it));
        let records = partitions.filter_map(|(partition, before)| {
            let stays = |replica: &NodeId| Some(*replica) != remove;
            let isr = before.state.isr.iter().copied().filter(stays).collect();
            PartitionChange::of(partition, before)
                .election(self.online_or_unclean(partition))
                .isr(isr)
                .build(is_acceptable, |broker| self.default_dir(broker))
        });
        records.map(MetadataRecord::PartitionChange).collect()
    }

    /// How an election that nobody asked for may choose.
    pub(super) fn online_or_unclean(&self, partition: TopicIdPartition) -> Election {
        let topic = self.image.topic(partition.topic);
        if topic.is_some_and(|it| self.is_unclean_election_enabled(&it.name)) {
            Election::Unclean
        } else {
            Election::Online
        }
    }

    /// Builds a change in which every active broker may lead.
    pub(super) fn build(&self, change: PartitionChange<'_>) -> Option<PartitionChangeRecord> {
        change.build(
            |broker| self.image.is_active(broker),
            |broker| self.default_dir(broker),
        )
    }

    /// An operator asks for elections.
    pub(super) fn elect_leaders(
        &self,
        request: &ElectLeadersRequest,
    ) -> Result<Decision<ElectLeadersResponse>, ApiError> {
        let election = match request.election_type {
            0 => ElectionType::Preferred,
            1 => ElectionType::Unclean,
            other => {
                return Err(ApiError::new(
                    ResponseError::InvalidRequest,
                    format_args!("unknown election type {other}"),
                ));
            }
        };
        let mut records = Vec::new();
        let mut results = Vec::new();
        match &request.topic_partitions {
            Some(topics) => {
                for topic in topics {
                    let mut elect = |&partition: &i32| {
                        let outcome = self.elect_leader(&topic.topic, partition, election);
                        partition_result(partition, outcome, &mut records)
                    };
                    let partitions = topic.partitions.iter().map(&mut elect).collect();
                    results.push(topic_result(&topic.topic, partitions));
                }
            }
            // Every partition there is, but answers only for those that have another leader to get.
            None => {
                for topic in self.image.topics().values() {
                    let mut partitions = Vec::new();
                    for &partition in topic.partitions.keys() {
                        let outcome = self.elect_leader(&topic.name, partition, election);
                        let result = partition_result(partition, outcome, &mut records);
                        if result.error_code != ResponseError::ElectionNotNeeded.code() {
                            partitions.push(result);
                        }
                    }
                    results.push(topic_result(&topic.name, partitions));
                }
            }
        }
        let response = ElectLeadersResponse::default().with_replica_election_results(results);
        Ok(Decision::new(records, response))
    }

    fn elect_leader(
        &self,
        topic: &str,
        partition: i32,
        election: ElectionType,
    ) -> Result<PartitionChangeRecord, ApiError> {
        let (id, before) = self.partition_by_name(topic, partition)?;
        let leader = before.state.leader;
        let (needless, how, unavailable) = match election {
            ElectionType::Preferred => (
                leader == before.preferred(),
                Election::Preferred,
                ResponseError::PreferredLeaderNotAvailable,
            ),
            ElectionType::Unclean => (
                leader != NodeId::NONE,
                Election::Unclean,
                ResponseError::EligibleLeadersNotAvailable,
            ),
        };
        if needless {
            return Err(ResponseError::ElectionNotNeeded.into());
        }
        let change = PartitionChange::of(id, before).election(how);
        self.build(change).ok_or_else(|| unavailable.into())
    }

    /// The partition, by the names that operators use.
    pub(super) fn partition_by_name(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(TopicIdPartition, &PartitionRegistration), ApiError> {
        let unknown = || {
            ApiError::new(
                ResponseError::UnknownTopicOrPartition,
                format_args!("no such partition as {topic}-{partition}"),
            )
        };
        let topic = self.image.topic_by_name(topic).ok_or_else(unknown)?;
        let before = topic.partitions.get(&partition).ok_or_else(unknown)?;
        let topic = topic.id;
        Ok((TopicIdPartition { topic, partition }, before))
    }

    /// Moves leadership back to preferred replicas that are in sync again.
    pub(super) fn balance_partition_leaders(&self) -> Decision<()> {
        let partitions = self.image.partitions();
        let imbalanced = partitions.filter(|(_, it)| it.state.leader != it.preferred());
        let records = imbalanced.filter_map(|(partition, before)| {
            self.build(PartitionChange::of(partition, before).election(Election::Preferred))
        });
        let records = records.take(MAX_ELECTIONS_PER_IMBALANCE);
        Decision::new(records.map(MetadataRecord::PartitionChange).collect(), ())
    }

    /// Elects whoever lives for partitions without a leader, where their topics allow it: the
    /// permission may have come after the leader went.
    pub(super) fn elect_unclean_leaders(&self) -> Decision<()> {
        let partitions = self.image.partitions();
        let leaderless = partitions.filter(|&(partition, it)| {
            it.state.leader == NodeId::NONE
                && self.online_or_unclean(partition) == Election::Unclean
        });
        let records = leaderless.filter_map(|(partition, before)| {
            self.build(PartitionChange::of(partition, before).election(Election::Unclean))
        });
        let records = records.take(MAX_ELECTIONS_PER_IMBALANCE);
        Decision::new(records.map(MetadataRecord::PartitionChange).collect(), ())
    }

    /// Makes an in-sync replica the preferred one and elects it, as an operator does with a
    /// reassignment and a preferred election. Nothing happens when it could not lead.
    pub(super) fn move_leader(&self, partition: TopicIdPartition, to: NodeId) -> Decision<()> {
        let nothing = Decision::new(Vec::new(), ());
        let Some(before) = self.image.partition(partition) else {
            return nothing;
        };
        let state = &before.state;
        let may_lead = state.isr.contains(&to) && self.image.is_active(to);
        if before.is_reassigning() || state.leader == to || !may_lead {
            return nothing;
        }
        let others = state.replicas.iter().copied().filter(|&it| it != to);
        let replicas = std::iter::once(to).chain(others).collect();
        let mut after = before.clone();
        let reorder = self.build(PartitionChange::of(partition, before).replicas(replicas));
        if let Some(reorder) = &reorder {
            after.merge(reorder);
        }
        let elect =
            self.build(PartitionChange::of(partition, &after).election(Election::Preferred));
        let records = reorder.into_iter().chain(elect);
        Decision::new(records.map(MetadataRecord::PartitionChange).collect(), ())
    }
}

fn partition_result(
    partition: i32,
    outcome: Result<PartitionChangeRecord, ApiError>,
    records: &mut Vec<MetadataRecord>,
) -> PartitionResult {
    let (code, message) = code_and_message(&outcome);
    records.extend(outcome.ok().map(MetadataRecord::PartitionChange));
    PartitionResult::default()
        .with_partition_id(partition)
        .with_error_code(code)
        .with_error_message(message)
}

fn topic_result(topic: &StrBytes, partitions: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default()
        .with_topic(TopicName(topic.clone()))
        .with_partition_result(partitions)
}

/// `ReplicationControlManager.MAX_ELECTIONS_PER_IMBALANCE`.
const MAX_ELECTIONS_PER_IMBALANCE: usize = 1_000;
