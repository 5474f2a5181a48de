//! The lines of responses.

use kafka_protocol::messages::{
    AlterPartitionResponse, ApiVersionsResponse, BeginQuorumEpochResponse, BrokerHeartbeatResponse,
    CreateTopicsResponse, DeleteTopicsResponse, DescribeQuorumResponse, ElectLeadersResponse,
    EndQuorumEpochResponse, FetchResponse, FetchSnapshotResponse, FindCoordinatorResponse,
    InitProducerIdResponse, ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse,
    ProduceResponse, ResponseKind, VoteResponse,
};

use kafka_protocol::messages::fetch_response::PartitionData as FetchedPartition;

use super::{Names, error, error_name, list, nodes, records, topic, unless, when};

/// Everything behind the API's name.
pub(super) fn detail(response: &ResponseKind, names: Names<'_>) -> String {
    match response {
        ResponseKind::Produce(response) => produce(response, names),
        ResponseKind::Fetch(response) => fetch(response, names),
        ResponseKind::ListOffsets(response) => list_offsets(response),
        ResponseKind::OffsetForLeaderEpoch(response) => offset_for_leader_epoch(response),
        ResponseKind::Metadata(response) => metadata(response, names),
        ResponseKind::ApiVersions(response) => api_versions(response),
        ResponseKind::InitProducerId(response) => init_producer_id(response),
        ResponseKind::FindCoordinator(response) => find_coordinator(response),
        ResponseKind::Vote(response) => vote(response),
        ResponseKind::BeginQuorumEpoch(response) => begin_quorum_epoch(response),
        ResponseKind::EndQuorumEpoch(response) => end_quorum_epoch(response),
        ResponseKind::FetchSnapshot(response) => fetch_snapshot(response),
        ResponseKind::DescribeQuorum(response) => describe_quorum(response),
        ResponseKind::BrokerRegistration(response) => or_error(response.error_code, || {
            format!("epoch={}", response.broker_epoch)
        }),
        ResponseKind::BrokerHeartbeat(response) => broker_heartbeat(response),
        ResponseKind::AlterPartition(response) => alter_partition(response, names),
        ResponseKind::AllocateProducerIds(response) => or_error(response.error_code, || {
            format!(
                "{}+{}",
                response.producer_id_start.0, response.producer_id_len
            )
        }),
        ResponseKind::UnregisterBroker(response) => or_error(response.error_code, ok),
        ResponseKind::Envelope(response) => or_error(response.error_code, || {
            format!(
                "{} bytes",
                response
                    .response_data
                    .as_ref()
                    .map_or(0, |bytes| bytes.len())
            )
        }),
        ResponseKind::CreateTopics(response) => create_topics(response),
        ResponseKind::DeleteTopics(response) => delete_topics(response, names),
        ResponseKind::CreatePartitions(response) => list(
            response
                .results
                .iter()
                .map(|result| named(&result.name, result.error_code)),
        ),
        ResponseKind::ElectLeaders(response) => elect_leaders(response),
        ResponseKind::IncrementalAlterConfigs(response) => list(
            response
                .responses
                .iter()
                .map(|result| named(&result.resource_name, result.error_code)),
        ),
        _ => String::new(),
    }
}

fn ok() -> String {
    "ok".to_owned()
}

/// The error alone, or what success has to say.
fn or_error(code: i16, success: impl FnOnce() -> String) -> String {
    if code == 0 {
        success()
    } else {
        error_name(code)
    }
}

fn named(name: &str, code: i16) -> String {
    format!("{name} {}", or_error(code, ok))
}

fn produce(response: &ProduceResponse, names: Names<'_>) -> String {
    list(response.responses.iter().flat_map(|data| {
        let name = topic(&data.name, data.topic_id, names);
        data.partition_responses.iter().map(move |partition| {
            let index = partition.index;
            match partition.error_code {
                0 => format!("{name}-{index}@{}", partition.base_offset),
                code => {
                    let leader = &partition.current_leader;
                    let leader = leader_hint(leader.leader_id.0, leader.leader_epoch);
                    format!("{name}-{index} {}{leader}", error_name(code))
                }
            }
        })
    }))
}

fn fetch(response: &FetchResponse, names: Names<'_>) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    let session = unless(0, "session", response.session_id);
    let parts = list(response.responses.iter().flat_map(|data| {
        let name = topic(&data.topic, data.topic_id, names);
        data.partitions
            .iter()
            .map(move |partition| format!("{name}-{}", fetched(partition)))
    }));
    format!("{parts}{session}")
}

fn fetched(partition: &FetchedPartition) -> String {
    let index = partition.partition_index;
    let leader = &partition.current_leader;
    let leader = leader_hint(leader.leader_id.0, leader.leader_epoch);
    if partition.error_code != 0 {
        return format!("{index} {}{leader}", error_name(partition.error_code));
    }
    let diverging = &partition.diverging_epoch;
    if 0 <= diverging.end_offset {
        return format!(
            "{index} diverging {}@{}{leader}",
            diverging.epoch, diverging.end_offset
        );
    }
    let snapshot = &partition.snapshot_id;
    if 0 <= snapshot.end_offset {
        return format!(
            "{index} snapshot {}@{}{leader}",
            snapshot.epoch, snapshot.end_offset
        );
    }
    let (hw, stable) = (partition.high_watermark, partition.last_stable_offset);
    let lso = if stable == hw || stable < 0 {
        String::new()
    } else {
        format!(" lso={stable}")
    };
    let start = unless(0, "start", partition.log_start_offset.max(0));
    let content = records(partition.records.as_deref());
    format!("{index} {content} hw={hw}{lso}{start}{leader}")
}

/// ` leader=n2/4`, where an answer tells the leader.
fn leader_hint(leader: i32, epoch: i32) -> String {
    if leader < 0 && epoch < 0 {
        String::new()
    } else {
        format!(" leader=n{leader}/{epoch}")
    }
}

fn list_offsets(response: &ListOffsetsResponse) -> String {
    list(response.topics.iter().flat_map(|topic| {
        let name = topic.name.as_str();
        topic.partitions.iter().map(move |partition| {
            let index = partition.partition_index;
            match partition.error_code {
                0 => {
                    let epoch = unless(-1, "epoch", partition.leader_epoch);
                    format!("{name}-{index}@{}{epoch}", partition.offset)
                }
                code => format!("{name}-{index} {}", error_name(code)),
            }
        })
    }))
}

fn offset_for_leader_epoch(response: &OffsetForLeaderEpochResponse) -> String {
    list(response.topics.iter().flat_map(|topic| {
        let name = topic.topic.as_str();
        topic.partitions.iter().map(move |partition| {
            let end = || format!("{}@{}", partition.leader_epoch, partition.end_offset);
            format!(
                "{name}-{} {}",
                partition.partition,
                or_error(partition.error_code, end)
            )
        })
    }))
}

fn metadata(response: &MetadataResponse, names: Names<'_>) -> String {
    let brokers = nodes(response.brokers.iter().map(|broker| broker.node_id));
    let topics = list(response.topics.iter().map(|data| {
        let name = data.name.as_ref().map_or("", |name| name.as_str());
        let name = topic(name, data.topic_id, names);
        let leaders = data.partitions.iter().map(|partition| {
            let (leader, epoch) = (partition.leader_id.0, partition.leader_epoch);
            format!(
                "{}:n{leader}/{epoch}{}",
                partition.partition_index,
                error(partition.error_code)
            )
        });
        if data.error_code != 0 {
            return named(&name, data.error_code);
        }
        let leaders: Vec<String> = leaders.collect();
        format!("{name}[{}]", leaders.join(" "))
    }));
    format!("brokers {brokers} {topics}")
}

fn api_versions(response: &ApiVersionsResponse) -> String {
    or_error(response.error_code, || {
        format!("{} apis", response.api_keys.len())
    })
}

fn init_producer_id(response: &InitProducerIdResponse) -> String {
    or_error(response.error_code, || {
        format!("pid={}/{}", response.producer_id.0, response.producer_epoch)
    })
}

fn find_coordinator(response: &FindCoordinatorResponse) -> String {
    if response.coordinators.is_empty() {
        return or_error(response.error_code, || format!("n{}", response.node_id.0));
    }
    list(response.coordinators.iter().map(|found| {
        let at = or_error(found.error_code, || format!("n{}", found.node_id.0));
        format!("{} {at}", found.key.as_str())
    }))
}

/// What every KRaft answer tells: its error, the leader it knows and that leader's epoch.
fn raft(code: i16, leader: i32, epoch: i32) -> String {
    let leader = if leader < 0 {
        "none".to_owned()
    } else {
        format!("n{leader}")
    };
    format!("epoch={epoch} leader {leader}{}", error(code))
}

fn vote(response: &VoteResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                let verdict = if partition.vote_granted {
                    "granted"
                } else {
                    "refused"
                };
                let known = raft(
                    partition.error_code,
                    partition.leader_id.0,
                    partition.leader_epoch,
                );
                format!("{verdict} {known}")
            }),
    )
}

fn begin_quorum_epoch(response: &BeginQuorumEpochResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                raft(
                    partition.error_code,
                    partition.leader_id.0,
                    partition.leader_epoch,
                )
            }),
    )
}

fn end_quorum_epoch(response: &EndQuorumEpochResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                raft(
                    partition.error_code,
                    partition.leader_id.0,
                    partition.leader_epoch,
                )
            }),
    )
}

fn fetch_snapshot(response: &FetchSnapshotResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                or_error(partition.error_code, || {
                    let id = &partition.snapshot_id;
                    let (from, bytes) = (partition.position, partition.unaligned_records.len());
                    let (epoch, end, size) = (id.epoch, id.end_offset, partition.size);
                    format!("{epoch}@{end} bytes {from}+{bytes} of {size}")
                })
            }),
    )
}

fn describe_quorum(response: &DescribeQuorumResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(
        response
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| {
                let known = raft(
                    partition.error_code,
                    partition.leader_id.0,
                    partition.leader_epoch,
                );
                let voters = nodes(
                    partition
                        .current_voters
                        .iter()
                        .map(|voter| voter.replica_id),
                );
                format!("{known} hw={} voters {voters}", partition.high_watermark)
            }),
    )
}

fn broker_heartbeat(response: &BrokerHeartbeatResponse) -> String {
    or_error(response.error_code, || {
        let fenced = if response.is_fenced {
            "fenced"
        } else {
            "unfenced"
        };
        let caught_up = when(response.is_caught_up, "caught-up");
        format!(
            "{fenced}{caught_up}{}",
            when(response.should_shut_down, "shut-down")
        )
    })
}

fn alter_partition(response: &AlterPartitionResponse, names: Names<'_>) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(response.topics.iter().flat_map(|data| {
        let name = topic("", data.topic_id, names);
        data.partitions.iter().map(move |partition| {
            let granted = || {
                let isr = nodes(partition.isr.iter().copied());
                let (leader, epoch) = (partition.leader_id.0, partition.leader_epoch);
                format!(
                    "isr {isr} leader=n{leader}/{epoch} version={}",
                    partition.partition_epoch
                )
            };
            format!(
                "{name}-{} {}",
                partition.partition_index,
                or_error(partition.error_code, granted)
            )
        })
    }))
}

fn create_topics(response: &CreateTopicsResponse) -> String {
    list(
        response
            .topics
            .iter()
            .map(|topic| named(&topic.name, topic.error_code)),
    )
}

fn delete_topics(response: &DeleteTopicsResponse, names: Names<'_>) -> String {
    list(response.responses.iter().map(|result| {
        let name = result.name.as_ref().map_or("", |name| name.as_str());
        named(&topic(name, result.topic_id, names), result.error_code)
    }))
}

fn elect_leaders(response: &ElectLeadersResponse) -> String {
    if response.error_code != 0 {
        return error_name(response.error_code);
    }
    list(response.replica_election_results.iter().flat_map(|topic| {
        let name = topic.topic.as_str();
        topic.partition_result.iter().map(move |result| {
            named(
                &format!("{name}-{}", result.partition_id),
                result.error_code,
            )
        })
    }))
}

#[cfg(test)]
mod tests {
    use crate::wire::brief::brief_response;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{
        BrokerHeartbeatResponse, FetchResponse, ProduceResponse, ResponseKind, TopicName,
    };
    use kafka_protocol::protocol::StrBytes;

    fn orders() -> TopicName {
        TopicName(StrBytes::from_static_str("orders"))
    }

    #[test]
    fn a_produce_tells_the_offset_or_the_error() {
        let answer = |partition| {
            let topic = TopicProduceResponse::default()
                .with_name(orders())
                .with_partition_responses(vec![partition]);
            let response = ProduceResponse::default().with_responses(vec![topic]);
            brief_response(&ResponseKind::Produce(response), None)
        };
        let partition = PartitionProduceResponse::default()
            .with_index(1)
            .with_base_offset(40);
        assert_eq!(answer(partition.clone()), "Produce orders-1@40");
        let moved = partition.with_error_code(6);
        assert_eq!(answer(moved), "Produce orders-1 NOT_LEADER_OR_FOLLOWER");
    }

    #[test]
    fn a_fetch_tells_records_and_high_watermark() {
        let partition = PartitionData::default()
            .with_high_watermark(9)
            .with_last_stable_offset(7);
        let topic = FetchableTopicResponse::default()
            .with_topic(orders())
            .with_partitions(vec![partition]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let brief = brief_response(&ResponseKind::Fetch(response), None);
        assert_eq!(brief, "Fetch orders-0 0 records hw=9 lso=7");
    }

    #[test]
    fn a_heartbeat_tells_whether_the_broker_is_fenced() {
        let response = BrokerHeartbeatResponse::default().with_is_fenced(true);
        let brief = brief_response(&ResponseKind::BrokerHeartbeat(response), None);
        assert_eq!(brief, "BrokerHeartbeat fenced");
    }
}
