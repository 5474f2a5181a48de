//! What changed between two images.
//!
//! Mirrors `MetadataDelta`. A delta may cover any number of records: a broker that lags jumps over
//! several leader epochs at once and sees only the last state, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};

use super::image::{BrokerRegistration, ConfigResource, PartitionRegistration, TopicImage};
use crate::types::{NodeId, TopicIdPartition, Uuid};

/// The differences, each with the state before; the state after is in the image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataDelta {
    /// Partitions that were created or changed and still exist: their state before, `None` for a
    /// new one.
    pub changed_partitions: BTreeMap<TopicIdPartition, Option<PartitionRegistration>>,
    /// Topics that are new and still exist.
    pub created_topics: BTreeSet<Uuid>,
    /// Topics that were there before and are gone, as they were when they were removed.
    pub deleted_topics: BTreeMap<Uuid, TopicImage>,
    /// Brokers whose registration is new, changed or gone: the state before.
    pub changed_brokers: BTreeMap<NodeId, Option<BrokerRegistration>>,
    /// Resources of which a property was set or removed.
    pub changed_configs: BTreeSet<ConfigResource>,
    /// Whether a feature level was decided.
    pub features: bool,
}

impl MetadataDelta {
    /// Whether nothing changed that anybody could see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == MetadataDelta::default()
    }

    pub(super) fn partition_changed(
        &mut self,
        partition: TopicIdPartition,
        before: Option<PartitionRegistration>,
    ) {
        self.changed_partitions.entry(partition).or_insert(before);
    }

    pub(super) fn broker_changed(&mut self, broker: NodeId, before: Option<BrokerRegistration>) {
        self.changed_brokers.entry(broker).or_insert(before);
    }

    pub(super) fn topic_removed(&mut self, topic: TopicImage) {
        for &partition in topic.partitions.keys() {
            let topic = topic.id;
            self.changed_partitions
                .remove(&TopicIdPartition { topic, partition });
        }
        if !self.created_topics.remove(&topic.id) {
            self.deleted_topics.insert(topic.id, topic);
        }
    }
}
