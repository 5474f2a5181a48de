//! Metadata: who the brokers are, and who leads what.
//!
//! Mirrors `KafkaApis.handleTopicMetadataRequest` and `KRaftMetadataCache.getTopicMetadata`. The
//! answer is as old as the metadata that this broker has applied.

use std::collections::BTreeSet;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};

use super::topics::{
    CLUSTER_OPERATIONS, NO_OPERATIONS, TOPIC_OPERATIONS, absent, alive, broker_ids, is_internal,
    is_legal, offline_replicas, reachable_leader,
};
use crate::metadata::MetadataImage;
use crate::metadata::image::{PartitionRegistration, TopicImage};
use crate::types::{NodeId, ResponseError, StrBytes, Uuid};

/// What a broker knows beside its image.
pub(crate) struct Setting<'a> {
    /// `cluster.id`.
    pub(crate) cluster_id: &'a StrBytes,
    /// An unfenced broker, to be named as the controller: clients never talk to the real one.
    pub(crate) controller: NodeId,
    /// `auto.create.topics.enable`.
    pub(crate) auto_create: bool,
}

/// The answer, and the topics that are to be created because somebody asked for them.
pub(crate) fn metadata(
    image: &MetadataImage,
    setting: &Setting<'_>,
    version: i16,
    request: &MetadataRequest,
) -> (MetadataResponse, Vec<TopicName>) {
    let wanted = match Wanted::read(request, version) {
        Ok(wanted) => wanted,
        Err(error) => return (refused(request, error), Vec::new()),
    };
    let ops = if request.include_topic_authorized_operations {
        TOPIC_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    let describe = |topic: &TopicImage| describe(image, topic, version, ops);
    let mut auto_create = Vec::new();
    let topics = match wanted {
        Wanted::All => {
            let topics = image.topic_names().values();
            topics
                .filter_map(|&id| image.topic(id))
                .map(describe)
                .collect()
        }
        Wanted::Ids(ids) => {
            let topics = ids
                .iter()
                .map(|&id| image.topic(id).map_or_else(|| unknown_id(id), describe));
            topics.collect()
        }
        Wanted::Names(names) => {
            let may_create = setting.auto_create && request.allow_auto_topic_creation;
            let topics = names.iter().map(|&name| {
                image.topic_by_name(name).map_or_else(
                    || {
                        if may_create && is_legal(name) {
                            auto_create.push(name.clone());
                        }
                        unknown_name(name, ops)
                    },
                    describe,
                )
            });
            topics.collect()
        }
    };
    let cluster_ops = if request.include_cluster_authorized_operations {
        CLUSTER_OPERATIONS
    } else {
        NO_OPERATIONS
    };
    let answer = MetadataResponse::default()
        .with_brokers(brokers(image))
        .with_cluster_id(Some(setting.cluster_id.clone()))
        .with_controller_id(BrokerId(setting.controller.0))
        .with_topics(topics)
        .with_cluster_authorized_operations(cluster_ops);
    (answer, auto_create)
}

/// The topics that a request is about. Ids win over names, and nothing is answered twice.
enum Wanted<'a> {
    All,
    Ids(BTreeSet<Uuid>),
    Names(BTreeSet<&'a TopicName>),
}

impl<'a> Wanted<'a> {
    fn read(request: &'a MetadataRequest, version: i16) -> Result<Self, ResponseError> {
        let Some(topics) = &request.topics else {
            return Ok(Wanted::All);
        };
        if version == 0 && topics.is_empty() {
            return Ok(Wanted::All);
        }
        let has_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_nil();
        let unnamed = |topic: &MetadataRequestTopic| topic.name.is_none();
        if version < 12 && topics.iter().any(|topic| has_id(topic) || unnamed(topic)) {
            return Err(ResponseError::InvalidRequest);
        }
        if topics.iter().any(has_id) {
            let ids = topics.iter().filter(|topic| has_id(topic));
            return Ok(Wanted::Ids(ids.map(|topic| topic.topic_id).collect()));
        }
        // Neither a name nor an id: Kafka stumbles over the null.
        if topics.iter().any(unnamed) {
            return Err(ResponseError::UnknownServerError);
        }
        let names = topics.iter().filter_map(|topic| topic.name.as_ref());
        Ok(Wanted::Names(names.collect()))
    }
}

fn brokers(image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let alive = image.brokers().values().filter(|broker| !broker.fenced);
    let reachable = alive.filter_map(|broker| {
        let endpoint = broker.endpoint()?;
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id.0))
            .with_host(endpoint.host)
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.clone());
        Some(broker)
    });
    reachable.collect()
}

fn describe(
    image: &MetadataImage,
    topic: &TopicImage,
    version: i16,
    ops: i32,
) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter();
    let partitions =
        partitions.map(|(&index, partition)| describe_partition(image, index, partition, version));
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(topic.name.clone())))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(ops)
}

fn describe_partition(
    image: &MetadataImage,
    index: i32,
    partition: &PartitionRegistration,
    version: i16,
) -> MetadataResponsePartition {
    let state = &partition.state;
    // Only version 0 hides replicas that are not there, and says so.
    let (replicas, isr) = if version == 0 {
        (alive(image, &state.replicas), alive(image, &state.isr))
    } else {
        (broker_ids(&state.replicas), broker_ids(&state.isr))
    };
    let leader = reachable_leader(image, partition);
    let hidden = replicas.len() < state.replicas.len() || isr.len() < state.isr.len();
    let error = match leader {
        None if image.broker(state.leader).is_none() || version < 6 => {
            ResponseError::LeaderNotAvailable.code()
        }
        None => ResponseError::ListenerNotFound.code(),
        Some(_) if hidden => ResponseError::ReplicaNotAvailable.code(),
        Some(_) => 0,
    };
    MetadataResponsePartition::default()
        .with_error_code(error)
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader.unwrap_or(NodeId::NONE).0))
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(replicas)
        .with_isr_nodes(isr)
        .with_offline_replicas(offline_replicas(image, partition))
}

fn unknown_id(id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(ResponseError::UnknownTopicId.code())
        .with_name(None)
        .with_topic_id(id)
        .with_topic_authorized_operations(NO_OPERATIONS)
}

fn unknown_name(name: &TopicName, ops: i32) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(absent(name).code())
        .with_name(Some(name.clone()))
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(ops)
}

/// The same error for every topic (`MetadataRequest.getErrorResponse`).
fn refused(request: &MetadataRequest, error: ResponseError) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(topic.name.clone().unwrap_or_default()))
            .with_topic_authorized_operations(NO_OPERATIONS)
    });
    MetadataResponse::default()
        .with_error_code(error.code())
        .with_controller_id(BrokerId(NodeId::NONE.0))
        .with_topics(topics.collect())
        .with_cluster_authorized_operations(NO_OPERATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rig::{ORDERS, image};

    fn topic(name: Option<&'static str>, id: Uuid) -> MetadataRequestTopic {
        let name = name.map(|name| TopicName(StrBytes::from_static_str(name)));
        MetadataRequestTopic::default()
            .with_name(name)
            .with_topic_id(id)
    }

    fn ask(
        version: i16,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> (MetadataResponse, Vec<TopicName>) {
        let setting = Setting {
            cluster_id: &StrBytes::from_static_str("c"),
            controller: NodeId(2),
            auto_create: true,
        };
        let request = MetadataRequest::default().with_topics(topics);
        metadata(&image(), &setting, version, &request)
    }

    fn codes(answer: &MetadataResponse) -> Vec<i16> {
        answer.topics.iter().map(|topic| topic.error_code).collect()
    }

    #[test]
    fn no_list_is_all_topics_and_an_empty_list_is_none_but_in_version_0() {
        assert_eq!(ask(12, None).0.topics.len(), 1);
        assert_eq!(ask(1, Some(Vec::new())).0.topics.len(), 0);
        assert_eq!(ask(0, Some(Vec::new())).0.topics.len(), 1);
    }

    #[test]
    fn fenced_brokers_are_absent_and_their_replicas_offline() {
        let (answer, _) = ask(12, None);
        let ids: Vec<i32> = answer
            .brokers
            .iter()
            .map(|broker| broker.node_id.0)
            .collect();
        assert_eq!(ids, [1, 2]);
        let led = &answer.topics[0].partitions[0];
        assert_eq!(
            (led.error_code, led.leader_id.0, led.leader_epoch),
            (0, 1, 4)
        );
        assert_eq!(led.offline_replicas, [BrokerId(3)]);
        let orphan = &answer.topics[0].partitions[1];
        assert_eq!((orphan.error_code, orphan.leader_id.0), (5, -1));
    }

    #[test]
    fn version_0_hides_replicas_that_are_gone() {
        let (answer, _) = ask(0, None);
        let led = &answer.topics[0].partitions[0];
        assert_eq!((led.error_code, led.replica_nodes.len()), (9, 1));
    }

    #[test]
    fn ids_win_over_names_and_unknown_ones_say_so() {
        let unknown = Uuid::from_u128(77);
        let topics = vec![
            topic(Some("x"), ORDERS),
            topic(None, unknown),
            topic(Some("y"), Uuid::nil()),
        ];
        let (answer, missing) = ask(12, Some(topics));
        assert_eq!(codes(&answer), [100, 0]);
        assert_eq!(answer.topics[0].name, None);
        assert!(missing.is_empty());
    }

    #[test]
    fn what_has_neither_name_nor_id_spoils_the_request() {
        let (answer, _) = ask(12, Some(vec![topic(None, Uuid::nil())]));
        assert_eq!(codes(&answer), [-1]);
        assert_eq!(
            answer.topics[0].name.as_deref().map(|name| name.as_str()),
            Some("")
        );
        assert_eq!(
            codes(&ask(11, Some(vec![topic(Some("x"), ORDERS)])).0),
            [42]
        );
    }

    #[test]
    fn names_that_may_exist_are_to_be_created() {
        let topics = ["new", "a/b", "new"].map(|name| topic(Some(name), Uuid::nil()));
        let (answer, missing) = ask(12, Some(topics.to_vec()));
        assert_eq!(codes(&answer), [17, 3]);
        assert_eq!(missing, [TopicName(StrBytes::from_static_str("new"))]);
    }
}
