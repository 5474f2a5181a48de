//! The state that the metadata log makes, record by record.
//!
//! Mirrors `MetadataImage`, `TopicsImage`, `ClusterImage`, `ConfigurationsImage` and, since a
//! controller's view is the same state, `ReplicationControlManager.replay`. Decides nothing.

use std::collections::BTreeMap;

use super::delta::MetadataDelta;
use super::record::{
    BrokerRegistrationChangeRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};
pub use super::registration::{BrokerRegistration, ConfigResource, PartitionRegistration};
use crate::types::{NodeId, Offset, ProducerId, StrBytes, TopicIdPartition, Uuid};

/// The cluster as the metadata log up to [`MetadataImage::offset`] describes it.
///
/// topics_by_name holds exactly the names of topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataImage {
    offset: Offset,
    topics: BTreeMap<Uuid, TopicImage>,
    topics_by_name: BTreeMap<StrBytes, Uuid>,
    brokers: BTreeMap<NodeId, BrokerRegistration>,
    configs: BTreeMap<ConfigResource, BTreeMap<StrBytes, StrBytes>>,
    features: BTreeMap<StrBytes, i16>,
    next_producer_id: ProducerId,
}

/// A topic and its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    /// The topic's id.
    pub id: Uuid,
    /// The topic's name.
    pub name: StrBytes,
    /// By index.
    pub partitions: BTreeMap<i32, PartitionRegistration>,
}

impl MetadataImage {
    /// The image of an empty log (`MetadataImage.EMPTY`).
    #[must_use]
    pub fn empty() -> Self {
        MetadataImage {
            offset: Offset::UNKNOWN,
            topics: BTreeMap::new(),
            topics_by_name: BTreeMap::new(),
            brokers: BTreeMap::new(),
            configs: BTreeMap::new(),
            features: BTreeMap::new(),
            next_producer_id: ProducerId(0),
        }
    }

    /// The last offset that is in the image, control records included; -1 at first.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Takes note of a batch's last offset, also when the batch had no record for the image.
    pub fn advance_to(&mut self, offset: Offset) {
        self.offset = self.offset.max(offset);
    }

    /// Every topic, by id.
    #[must_use]
    pub fn topics(&self) -> &BTreeMap<Uuid, TopicImage> {
        &self.topics
    }

    /// Every topic's id, by name.
    #[must_use]
    pub fn topic_names(&self) -> &BTreeMap<StrBytes, Uuid> {
        &self.topics_by_name
    }

    /// The topic with that id.
    #[must_use]
    pub fn topic(&self, id: Uuid) -> Option<&TopicImage> {
        self.topics.get(&id)
    }

    /// The topic with that name.
    #[must_use]
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicImage> {
        let id = self.topics_by_name.get(name.as_bytes())?;
        self.topics.get(id)
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self, partition: TopicIdPartition) -> Option<&PartitionRegistration> {
        self.topic(partition.topic)?
            .partitions
            .get(&partition.partition)
    }

    /// Every partition, in the order of topic ids.
    pub fn partitions(
        &self,
    ) -> impl Iterator<Item = (TopicIdPartition, &PartitionRegistration)> + '_ {
        self.topics.values().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|(&partition, registration)| {
                let topic = topic.id;
                (TopicIdPartition { topic, partition }, registration)
            })
        })
    }

    /// Every registered broker.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<NodeId, BrokerRegistration> {
        &self.brokers
    }

    /// The broker's registration.
    #[must_use]
    pub fn broker(&self, broker: NodeId) -> Option<&BrokerRegistration> {
        self.brokers.get(&broker)
    }

    /// Whether the broker is registered and neither fenced nor in controlled shutdown
    /// (`ClusterControlManager.isActive`).
    #[must_use]
    pub fn is_active(&self, broker: NodeId) -> bool {
        self.broker(broker)
            .is_some_and(|it| !it.fenced && !it.in_controlled_shutdown)
    }

    /// What was configured for that resource, without inherited values and defaults.
    #[must_use]
    pub fn config(&self, resource: &ConfigResource) -> Option<&BTreeMap<StrBytes, StrBytes>> {
        self.configs.get(resource)
    }

    /// One property of a topic as it was configured for that topic.
    #[must_use]
    pub fn topic_config(&self, topic: &StrBytes, name: &str) -> Option<&StrBytes> {
        self.config(&ConfigResource::topic(topic.clone()))?
            .get(name.as_bytes())
    }

    /// Every finalized feature level.
    #[must_use]
    pub fn features(&self) -> &BTreeMap<StrBytes, i16> {
        &self.features
    }

    /// The first id of the next producer-id block.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// Takes in the next record.
    ///
    /// A record about something the image does not have changes nothing: only a log that lost a
    /// committed record holds one, and saying so is the judge's task.
    pub fn replay(&mut self, offset: Offset, record: &MetadataRecord, delta: &mut MetadataDelta) {
        self.advance_to(offset);
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(offset, record, delta),
            MetadataRecord::UnregisterBroker(record) => self.unregister_broker(*record, delta),
            MetadataRecord::FenceBroker(record) => {
                let mut change = BrokerRegistrationChangeRecord::new(record.broker, record.epoch);
                change.fenced = Some(true);
                self.change_broker(&change, delta);
            }
            MetadataRecord::UnfenceBroker(record) => {
                let mut change = BrokerRegistrationChangeRecord::new(record.broker, record.epoch);
                change.fenced = Some(false);
                self.change_broker(&change, delta);
            }
            MetadataRecord::BrokerRegistrationChange(record) => self.change_broker(record, delta),
            MetadataRecord::Topic(record) => self.create_topic(record.id, &record.name, delta),
            MetadataRecord::RemoveTopic(record) => self.remove_topic(record.id, delta),
            MetadataRecord::Partition(record) => self.set_partition(record, delta),
            MetadataRecord::PartitionChange(record) => self.change_partition(record, delta),
            MetadataRecord::Config(record) => self.configure(record, delta),
            MetadataRecord::FeatureLevel(record) => {
                if record.level == 0 {
                    self.features.remove(&record.name);
                } else {
                    self.features.insert(record.name.clone(), record.level);
                }
                delta.features = true;
            }
            MetadataRecord::ProducerIds(record) => self.next_producer_id = record.next,
            MetadataRecord::NoOp => {}
        }
    }

    fn register_broker(
        &mut self,
        offset: Offset,
        record: &RegisterBrokerRecord,
        delta: &mut MetadataDelta,
    ) {
        let registration = BrokerRegistration {
            id: record.broker,
            epoch: record.epoch,
            incarnation: record.incarnation,
            endpoints: record.endpoints.clone(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            registered_at: offset,
        };
        let before = self.brokers.insert(record.broker, registration);
        delta.broker_changed(record.broker, before);
    }

    fn unregister_broker(&mut self, record: UnregisterBrokerRecord, delta: &mut MetadataDelta) {
        let registered = self.brokers.get(&record.broker);
        if registered.is_some_and(|it| it.epoch == record.epoch) {
            let before = self.brokers.remove(&record.broker);
            delta.broker_changed(record.broker, before);
        }
    }

    fn change_broker(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
        delta: &mut MetadataDelta,
    ) {
        let registered = self.brokers.get_mut(&record.broker);
        let Some(registered) = registered.filter(|it| it.epoch == record.epoch) else {
            return;
        };
        delta.broker_changed(record.broker, Some(registered.clone()));
        registered.fenced = record.fenced.unwrap_or(registered.fenced);
        registered.in_controlled_shutdown |= record.in_controlled_shutdown;
        if !record.log_dirs.is_empty() {
            registered.log_dirs.clone_from(&record.log_dirs);
        }
    }

    fn create_topic(&mut self, id: Uuid, name: &StrBytes, delta: &mut MetadataDelta) {
        let topic = TopicImage {
            id,
            name: name.clone(),
            partitions: BTreeMap::new(),
        };
        self.topics.insert(id, topic);
        self.topics_by_name.insert(name.clone(), id);
        delta.created_topics.insert(id);
    }

    fn remove_topic(&mut self, id: Uuid, delta: &mut MetadataDelta) {
        let Some(topic) = self.topics.remove(&id) else {
            return;
        };
        self.topics_by_name.remove(&topic.name);
        // Kafka's controller drops the configuration with the topic: there is no record of its own.
        let resource = ConfigResource::topic(topic.name.clone());
        if self.configs.remove(&resource).is_some() {
            delta.changed_configs.insert(resource);
        }
        delta.topic_removed(topic);
    }

    fn set_partition(&mut self, record: &PartitionRecord, delta: &mut MetadataDelta) {
        let Some(topic) = self.topics.get_mut(&record.partition.topic) else {
            return;
        };
        let registration = PartitionRegistration::from(record);
        let index = record.partition.partition;
        let before = topic.partitions.insert(index, registration);
        delta.partition_changed(record.partition, before);
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord, delta: &mut MetadataDelta) {
        let TopicIdPartition { topic, partition } = record.partition;
        let topic = self.topics.get_mut(&topic);
        let Some(registration) = topic.and_then(|it| it.partitions.get_mut(&partition)) else {
            return;
        };
        delta.partition_changed(record.partition, Some(registration.clone()));
        registration.merge(record);
    }

    fn configure(&mut self, record: &ConfigRecord, delta: &mut MetadataDelta) {
        let resource = ConfigResource {
            kind: record.resource_type,
            name: record.resource_name.clone(),
        };
        let configs = self.configs.entry(resource.clone()).or_default();
        match &record.value {
            Some(value) => configs.insert(record.name.clone(), value.clone()),
            None => configs.remove(&record.name),
        };
        if configs.is_empty() {
            self.configs.remove(&resource);
        }
        delta.changed_configs.insert(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::record::{RemoveTopicRecord, TopicRecord};
    use crate::types::{LeaderEpoch, PartitionEpoch};

    const TOPIC: Uuid = Uuid::from_u128(0x7077);
    const ORDERS_0: TopicIdPartition = TopicIdPartition {
        topic: TOPIC,
        partition: 0,
    };

    fn created() -> (MetadataImage, MetadataDelta) {
        let mut image = MetadataImage::empty();
        let mut delta = MetadataDelta::default();
        let topic = TopicRecord {
            name: StrBytes::from_static_str("orders"),
            id: TOPIC,
        };
        let partition = PartitionRecord {
            partition: ORDERS_0,
            replicas: vec![NodeId(1), NodeId(2)],
            isr: vec![NodeId(1), NodeId(2)],
            removing: vec![],
            adding: vec![],
            leader: NodeId(1),
            recovering: false,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            directories: vec![],
        };
        let config = ConfigRecord {
            resource_type: ConfigResource::TOPIC,
            resource_name: StrBytes::from_static_str("orders"),
            name: StrBytes::from_static_str("min.insync.replicas"),
            value: Some(StrBytes::from_static_str("2")),
        };
        image.replay(Offset(1), &MetadataRecord::Topic(topic), &mut delta);
        image.replay(Offset(2), &MetadataRecord::Partition(partition), &mut delta);
        image.replay(Offset(3), &MetadataRecord::Config(config), &mut delta);
        (image, delta)
    }

    fn change(leader: Option<i32>, isr: &[i32]) -> MetadataRecord {
        let mut record = PartitionChangeRecord::new(ORDERS_0);
        record.leader = leader.map(NodeId);
        record.isr = Some(isr.iter().copied().map(NodeId).collect());
        MetadataRecord::PartitionChange(record)
    }

    #[test]
    fn only_a_named_leader_raises_the_leader_epoch() {
        let (mut image, _) = created();
        let mut delta = MetadataDelta::default();
        image.replay(Offset(4), &change(None, &[1]), &mut delta);
        image.replay(Offset(5), &change(Some(2), &[1, 2]), &mut delta);
        image.replay(Offset(6), &change(Some(2), &[2]), &mut delta);

        let state = &image.partition(ORDERS_0).expect("created above").state;
        assert_eq!(state.leader_epoch, LeaderEpoch(2));
        assert_eq!(state.partition_epoch, PartitionEpoch(3));
        assert_eq!(state.isr, [NodeId(2)]);
        assert_eq!(image.offset(), Offset(6));
    }

    #[test]
    fn a_delta_remembers_the_state_before_its_first_change_alone() {
        let (mut image, delta) = created();
        assert_eq!(delta.changed_partitions.get(&ORDERS_0), Some(&None));

        let mut delta = MetadataDelta::default();
        image.replay(Offset(4), &change(Some(2), &[1, 2]), &mut delta);
        image.replay(Offset(5), &change(Some(1), &[1]), &mut delta);
        let before = delta.changed_partitions[&ORDERS_0].as_ref();
        assert_eq!(before.map(|it| it.state.leader_epoch), Some(LeaderEpoch(0)));
    }

    #[test]
    fn a_removed_topic_takes_its_configuration_along() {
        let (mut image, mut first) = created();
        let remove = MetadataRecord::RemoveTopic(RemoveTopicRecord { id: TOPIC });

        let mut delta = MetadataDelta::default();
        image.clone().replay(Offset(4), &remove, &mut delta);
        assert_eq!(delta.deleted_topics[&TOPIC].partitions.len(), 1);

        // Created and removed in one delta: nobody needs to know.
        image.replay(Offset(4), &remove, &mut first);
        assert!(first.deleted_topics.is_empty() && first.changed_partitions.is_empty());
        assert_eq!(image.topic_by_name("orders"), None);
        let name = StrBytes::from_static_str("orders");
        assert_eq!(image.topic_config(&name, "min.insync.replicas"), None);
    }
}
