//! What every answer about topics needs: legal names, internal topics, who is reachable.
//!
//! Mirrors `Topic` and the private half of `KRaftMetadataCache`.

use kafka_protocol::messages::BrokerId;

use crate::metadata::MetadataImage;
use crate::metadata::image::{BrokerRegistration, PartitionRegistration};
use crate::types::{NodeId, ResponseError, Uuid};

/// What is wrong with a topic that the metadata does not have (`Topic.validate`).
pub(crate) fn absent(name: &str) -> ResponseError {
    if is_legal(name) {
        ResponseError::UnknownTopicOrPartition
    } else {
        ResponseError::InvalidTopicException
    }
}

/// Whether a topic may have that name.
pub(crate) fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !matches!(name, "" | "." | "..") && name.len() <= NAME_LENGTH_MAX && name.bytes().all(legal)
}

/// Whether Kafka keeps its own state in the topic (`Topic.isInternal`).
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(
        name,
        "__consumer_offsets" | "__transaction_state" | "__share_group_state"
    )
}

/// The leader, if clients can reach it.
pub(crate) fn reachable_leader(
    image: &MetadataImage,
    partition: &PartitionRegistration,
) -> Option<NodeId> {
    let leader = image.broker(partition.state.leader)?;
    leader.endpoint().map(|_| leader.id)
}

/// The replicas that nobody can reach: unregistered or fenced brokers, lost directories.
pub(crate) fn offline_replicas(
    image: &MetadataImage,
    partition: &PartitionRegistration,
) -> Vec<BrokerId> {
    let replicas = partition.state.replicas.iter().enumerate();
    let offline = replicas.filter(|&(at, &replica)| {
        image.broker(replica).is_none_or(|broker| {
            let directory = partition.directories.get(at);
            broker.fenced || directory.is_some_and(|&directory| !has_online(broker, directory))
        })
    });
    offline.map(|(_, &replica)| BrokerId(replica.0)).collect()
}

/// Those of `nodes` that are registered and not fenced.
pub(crate) fn alive(image: &MetadataImage, nodes: &[NodeId]) -> Vec<BrokerId> {
    let alive = |node: &&NodeId| image.broker(**node).is_some_and(|broker| !broker.fenced);
    let alive = nodes.iter().filter(alive);
    alive.map(|node| BrokerId(node.0)).collect()
}

/// As they are on the wire.
pub(crate) fn broker_ids(nodes: &[NodeId]) -> Vec<BrokerId> {
    nodes.iter().map(|node| BrokerId(node.0)).collect()
}

/// Whether the broker still has that directory (`DirectoryId.isOnline`).
fn has_online(broker: &BrokerRegistration, directory: Uuid) -> bool {
    match directory {
        MIGRATING | UNASSIGNED => true,
        LOST => false,
        named => broker.log_dirs.is_empty() || broker.log_dirs.contains(&named),
    }
}

/// Every operation that there is on a topic, as a bit field: nobody is refused anything.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Every operation that there is on a cluster, as a bit field.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// Nobody asked for the operations.
pub(crate) const NO_OPERATIONS: i32 = i32::MIN;

/// `DirectoryId.MIGRATING`.
const MIGRATING: Uuid = Uuid::from_u128(0);
/// `DirectoryId.UNASSIGNED`.
const UNASSIGNED: Uuid = Uuid::from_u128(1);
/// `DirectoryId.LOST`.
const LOST: Uuid = Uuid::from_u128(2);
/// `Topic.MAX_NAME_LENGTH`.
const NAME_LENGTH_MAX: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_kafka_says() {
        for name in ["a", "a.b_c-D9", &"x".repeat(249)] {
            assert!(is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", &"x".repeat(250)] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn operations_are_the_bits_of_their_codes() {
        let bits = |codes: &[u32]| codes.iter().fold(0, |bits, code| bits | 1 << code);
        assert_eq!(TOPIC_OPERATIONS, bits(&[3, 4, 5, 6, 7, 8, 10, 11]));
        assert_eq!(CLUSTER_OPERATIONS, bits(&[5, 7, 8, 9, 10, 11, 12]));
    }
}
