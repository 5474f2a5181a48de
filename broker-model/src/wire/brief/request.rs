//! The lines of requests.

use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, BeginQuorumEpochRequest,
    BrokerHeartbeatRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    ElectLeadersRequest, EndQuorumEpochRequest, FetchRequest, FetchSnapshotRequest,
    FindCoordinatorRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest, RequestKind,
    VoteRequest,
};

use super::{Names, list, nodes, records, short, topic, unless, when};

/// Everything behind the API's name.
pub(super) fn detail(request: &RequestKind, names: Names<'_>) -> String {
    match request {
        RequestKind::Produce(request) => produce(request, names),
        RequestKind::Fetch(request) => fetch(request, names),
        RequestKind::ListOffsets(request) => list_offsets(request),
        RequestKind::OffsetForLeaderEpoch(request) => offset_for_leader_epoch(request),
        RequestKind::Metadata(request) => metadata(request, names),
        RequestKind::InitProducerId(request) => init_producer_id(request),
        RequestKind::FindCoordinator(request) => find_coordinator(request),
        RequestKind::Vote(request) => vote(request),
        RequestKind::BeginQuorumEpoch(request) => begin_quorum_epoch(request),
        RequestKind::EndQuorumEpoch(request) => end_quorum_epoch(request),
        RequestKind::FetchSnapshot(request) => fetch_snapshot(request),
        RequestKind::BrokerRegistration(request) => {
            format!(
                "n{} incarnation={}",
                request.broker_id.0,
                short(request.incarnation_id)
            )
        }
        RequestKind::BrokerHeartbeat(request) => broker_heartbeat(request),
        RequestKind::AlterPartition(request) => alter_partition(request, names),
        RequestKind::AllocateProducerIds(request) => {
            format!("n{} epoch={}", request.broker_id.0, request.broker_epoch)
        }
        RequestKind::UnregisterBroker(request) => format!("n{}", request.broker_id.0),
        RequestKind::Envelope(request) => format!("{} bytes", request.request_data.len()),
        RequestKind::CreateTopics(request) => create_topics(request),
        RequestKind::DeleteTopics(request) => delete_topics(request, names),
        RequestKind::CreatePartitions(request) => list(
            request
                .topics
                .iter()
                .map(|topic| format!("{} to {}", topic.name.as_str(), topic.count)),
        ),
        RequestKind::DeleteRecords(request) => delete_records(request),
        RequestKind::ElectLeaders(request) => elect_leaders(request),
        RequestKind::AlterPartitionReassignments(request) => reassignments(request),
        RequestKind::IncrementalAlterConfigs(request) => alter_configs(request),
        _ => String::new(),
    }
}

fn produce(request: &ProduceRequest, names: Names<'_>) -> String {
    let parts = list(request.topic_data.iter().flat_map(|data| {
        let name = topic(&data.name, data.topic_id, names);
        data.partition_data.iter().map(move |partition| {
            format!(
                "{name}-{} {}",
                partition.index,
                records(partition.records.as_deref())
            )
        })
    }));
    let acks = match request.acks {
        -1 => "all".to_owned(),
        acks => acks.to_string(),
    };
    let transaction = request.transactional_id.as_ref();
    let transaction = transaction.map_or_else(String::new, |id| format!(" txn={}", id.0.as_str()));
    format!("{parts} acks={acks}{transaction}")
}

fn fetch(request: &FetchRequest, names: Names<'_>) -> String {
    let replica = request.replica_id.0.max(request.replica_state.replica_id.0);
    let parts = list(request.topics.iter().flat_map(|data| {
        let name = topic(&data.topic, data.topic_id, names);
        data.partitions.iter().map(move |partition| {
            let epoch = unless(-1, "epoch", partition.current_leader_epoch);
            let last = unless(-1, "last", partition.last_fetched_epoch);
            format!(
                "{name}-{}@{}{epoch}{last}",
                partition.partition, partition.fetch_offset
            )
        })
    }));
    let session = if request.session_id == 0 {
        String::new()
    } else {
        format!(" session={}/{}", request.session_id, request.session_epoch)
    };
    let by = if replica < 0 {
        String::new()
    } else {
        format!(" by n{replica}")
    };
    let committed = when(request.isolation_level == 1, "read_committed");
    format!("{parts}{by}{session}{committed}")
}

fn list_offsets(request: &ListOffsetsRequest) -> String {
    list(request.topics.iter().flat_map(|topic| {
        let name = topic.name.as_str();
        topic.partitions.iter().map(move |partition| {
            let at = match partition.timestamp {
                -1 => "latest".to_owned(),
                -2 => "earliest".to_owned(),
                -3 => "max-timestamp".to_owned(),
                timestamp => format!("time={timestamp}"),
            };
            let epoch = unless(-1, "epoch", partition.current_leader_epoch);
            format!("{name}-{} {at}{epoch}", partition.partition_index)
        })
    }))
}

fn offset_for_leader_epoch(request: &OffsetForLeaderEpochRequest) -> String {
    list(request.topics.iter().flat_map(|topic| {
        let name = topic.topic.as_str();
        topic.partitions.iter().map(move |partition| {
            let current = unless(-1, "current", partition.current_leader_epoch);
            format!(
                "{name}-{} epoch={}{current}",
                partition.partition, partition.leader_epoch
            )
        })
    }))
}

fn metadata(request: &MetadataRequest, names: Names<'_>) -> String {
    let Some(topics) = &request.topics else {
        return "all".to_owned();
    };
    list(topics.iter().map(|data| {
        let name = data.name.as_ref().map_or("", |name| name.as_str());
        topic(name, data.topic_id, names)
    }))
}

fn init_producer_id(request: &InitProducerIdRequest) -> String {
    let id = request.transactional_id.as_ref();
    let id = id.map_or_else(
        || "idempotent".to_owned(),
        |id| format!("txn={}", id.0.as_str()),
    );
    if request.producer_id.0 < 0 {
        return id;
    }
    format!(
        "{id} pid={}/{}",
        request.producer_id.0, request.producer_epoch
    )
}

fn find_coordinator(request: &FindCoordinatorRequest) -> String {
    let kind = match request.key_type {
        0 => "group",
        1 => "transaction",
        2 => "share",
        _ => "unknown",
    };
    if request.coordinator_keys.is_empty() {
        return format!("{kind} {}", request.key.as_str());
    }
    format!(
        "{kind} {}",
        list(request.coordinator_keys.iter().map(|key| key.as_str()))
    )
}

fn vote(request: &VoteRequest) -> String {
    list(
        request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                let (epoch, candidate) = (partition.replica_epoch, partition.replica_id.0);
                let (last_epoch, end) = (partition.last_offset_epoch, partition.last_offset);
                let prevote = when(partition.pre_vote, "prevote");
                format!("epoch={epoch} n{candidate} log {last_epoch}@{end}{prevote}")
            }),
    )
}

fn begin_quorum_epoch(request: &BeginQuorumEpochRequest) -> String {
    list(
        request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                format!(
                    "epoch={} leader n{}",
                    partition.leader_epoch, partition.leader_id.0
                )
            }),
    )
}

fn end_quorum_epoch(request: &EndQuorumEpochRequest) -> String {
    list(
        request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                let named = partition
                    .preferred_candidates
                    .iter()
                    .map(|named| named.candidate_id.0);
                let successors: Vec<String> = named
                    .chain(partition.preferred_successors.iter().copied())
                    .map(|id| format!("n{id}"))
                    .collect();
                let (epoch, leader) = (partition.leader_epoch, partition.leader_id.0);
                format!(
                    "epoch={epoch} leader n{leader} successors {}",
                    list(successors)
                )
            }),
    )
}

fn fetch_snapshot(request: &FetchSnapshotRequest) -> String {
    let parts = list(request.topics.iter().flat_map(|topic| {
        let name = topic.name.as_str();
        topic.partitions.iter().map(move |partition| {
            let id = &partition.snapshot_id;
            let (epoch, end) = (id.epoch, id.end_offset);
            format!(
                "{name}-{} {epoch}@{end} from byte {}",
                partition.partition, partition.position
            )
        })
    }));
    format!("{parts} by n{}", request.replica_id.0)
}

fn broker_heartbeat(request: &BrokerHeartbeatRequest) -> String {
    let (id, epoch) = (request.broker_id.0, request.broker_epoch);
    let fence = when(request.want_fence, "wants-fence");
    let shutdown = when(request.want_shut_down, "wants-shutdown");
    let offline = unless(0, "offline-dirs", request.offline_log_dirs.len());
    let at = request.current_metadata_offset;
    format!("n{id} epoch={epoch} at={at}{fence}{shutdown}{offline}")
}

fn alter_partition(request: &AlterPartitionRequest, names: Names<'_>) -> String {
    let parts = list(request.topics.iter().flat_map(|data| {
        let name = topic("", data.topic_id, names);
        data.partitions.iter().map(move |partition| {
            let plain = partition.new_isr.iter().copied();
            let isr = nodes(plain.chain(partition.new_isr_with_epochs.iter().map(|b| b.broker_id)));
            let (epoch, version) = (partition.leader_epoch, partition.partition_epoch);
            format!(
                "{name}-{} isr {isr} epoch={epoch} version={version}",
                partition.partition_index
            )
        })
    }));
    format!(
        "{parts} by n{} epoch={}",
        request.broker_id.0, request.broker_epoch
    )
}

fn create_topics(request: &CreateTopicsRequest) -> String {
    let topics = list(request.topics.iter().map(|topic| {
        let name = topic.name.as_str();
        if topic.assignments.is_empty() {
            format!(
                "{name} {}x{}",
                topic.num_partitions, topic.replication_factor
            )
        } else {
            format!("{name} {} assigned", topic.assignments.len())
        }
    }));
    format!("{topics}{}", when(request.validate_only, "validate-only"))
}

fn delete_topics(request: &DeleteTopicsRequest, names: Names<'_>) -> String {
    let named = request
        .topic_names
        .iter()
        .map(|name| name.as_str().to_owned());
    list(named.chain(request.topics.iter().map(|state| {
        let name = state.name.as_ref().map_or("", |name| name.as_str());
        topic(name, state.topic_id, names)
    })))
}

fn delete_records(request: &DeleteRecordsRequest) -> String {
    list(request.topics.iter().flat_map(|topic| {
        let name = topic.name.as_str();
        topic.partitions.iter().map(move |partition| {
            format!(
                "{name}-{} below {}",
                partition.partition_index, partition.offset
            )
        })
    }))
}

fn elect_leaders(request: &ElectLeadersRequest) -> String {
    let kind = if request.election_type == 0 {
        "preferred"
    } else {
        "unclean"
    };
    let Some(topics) = &request.topic_partitions else {
        return format!("{kind} all");
    };
    let parts = topics.iter().flat_map(|topic| {
        let name = topic.topic.as_str();
        topic
            .partitions
            .iter()
            .map(move |partition| format!("{name}-{partition}"))
    });
    format!("{kind} {}", list(parts))
}

fn reassignments(request: &AlterPartitionReassignmentsRequest) -> String {
    list(request.topics.iter().flat_map(|topic| {
        let name = topic.name.as_str();
        topic.partitions.iter().map(move |partition| {
            let target = partition.replicas.as_ref();
            let target = target.map_or("cancel".to_owned(), |ids| nodes(ids.iter().copied()));
            format!("{name}-{} {target}", partition.partition_index)
        })
    }))
}

fn alter_configs(request: &IncrementalAlterConfigsRequest) -> String {
    list(request.resources.iter().map(|resource| {
        let changes = resource.configs.iter().map(|config| {
            let value = config.value.as_ref().map_or("", |value| value.as_str());
            let operation = match config.config_operation {
                0 => "=",
                1 => " deleted",
                2 => "+=",
                3 => "-=",
                _ => "?",
            };
            format!("{}{operation}{value}", config.name.as_str())
        });
        format!("{} {}", resource.resource_name.as_str(), list(changes))
    }))
}

#[cfg(test)]
mod tests {
    use crate::types::{ProducerEpoch, ProducerId, Sequence};
    use crate::wire::batch::ProducerState;
    use crate::wire::brief::brief_request;
    use crate::wire::build::BatchBuilder;
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::vote_request::{PartitionData, TopicData};
    use kafka_protocol::messages::{
        BrokerId, FetchRequest, ProduceRequest, RequestKind, TopicName, VoteRequest,
    };
    use kafka_protocol::protocol::StrBytes;
    use uuid::Uuid;

    fn name(name: &'static str) -> TopicName {
        TopicName(StrBytes::from_static_str(name))
    }

    #[test]
    fn a_fetch_tells_positions_and_epochs() {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_fetch_offset(42)
            .with_current_leader_epoch(4);
        let by_id = FetchTopic::default()
            .with_topic_id(Uuid::from_u128(0xbeef << 112))
            .with_partitions(vec![partition]);
        let request = RequestKind::Fetch(
            FetchRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![by_id]),
        );
        assert_eq!(brief_request(&request, None), "Fetch beef-0@42 epoch=4");
        let orders = |_| Some("orders".to_owned());
        assert_eq!(
            brief_request(&request, Some(&orders)),
            "Fetch orders-0@42 epoch=4"
        );
    }

    #[test]
    fn a_produce_tells_records_and_sequence() {
        let producer = ProducerState {
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(17),
            transactional: false,
        };
        let mut builder = BatchBuilder::new().by(producer);
        for _ in 0..3 {
            builder.push(1, None, None, &[]);
        }
        let partition = PartitionProduceData::default()
            .with_index(1)
            .with_records(Some(builder.build()));
        let orders = TopicProduceData::default()
            .with_name(name("orders"))
            .with_partition_data(vec![partition]);
        let request = RequestKind::Produce(
            ProduceRequest::default()
                .with_acks(-1)
                .with_topic_data(vec![orders]),
        );
        assert_eq!(
            brief_request(&request, None),
            "Produce orders-1 3 records seq=17 pid=5/0 acks=all"
        );
    }

    #[test]
    fn a_vote_tells_candidate_and_log() {
        let partition = PartitionData::default()
            .with_replica_epoch(4)
            .with_replica_id(BrokerId(2))
            .with_last_offset_epoch(1)
            .with_last_offset(10)
            .with_pre_vote(true);
        let topic = TopicData::default().with_partitions(vec![partition]);
        let request = RequestKind::Vote(VoteRequest::default().with_topics(vec![topic]));
        assert_eq!(
            brief_request(&request, None),
            "Vote epoch=4 n2 log 1@10 prevote"
        );
    }

    #[test]
    fn an_api_without_a_line_is_its_name() {
        let request = RequestKind::DescribeCluster(Default::default());
        assert_eq!(brief_request(&request, None), "DescribeCluster");
    }
}
