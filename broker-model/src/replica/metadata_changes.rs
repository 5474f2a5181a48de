//! What new metadata means for the replicas: lead, follow, stop.
//!
//! Mirrors `ReplicaManager.applyDelta`. A broker may see several leader epochs of a partition as
//! one change: it then goes straight to the last one.

use super::cluster::Cluster;
use super::manager::ReplicaManager;
use super::partition::Partition;
use super::purgatory::News;
use crate::config::{Given, TopicConfig};
use crate::context::Context;
use crate::log::UnifiedLog;
use crate::metadata::image::{ConfigResource, PartitionRegistration, TopicImage};
use crate::metadata::{MetadataDelta, MetadataImage};
use crate::note::Note;
use crate::types::{BrokerEpoch, NodeId, Offset, TopicIdPartition};

impl ReplicaManager {
    /// Takes in the changes that led to `image`.
    ///
    /// Nothing is done before the image has the registration of this very process; then all of the
    /// image is new. What is older is about a process before, which may have had records, leader
    /// epochs and metadata that a power loss has taken from this one. (Kafka starts with what the
    /// metadata log on its disk says, and serves nobody until it is registered.)
    pub fn apply(&mut self, cx: &mut Context<'_>, image: &MetadataImage, delta: &MetadataDelta) {
        if !delta.changed_brokers.is_empty() {
            self.around.cluster = Cluster::of(image);
        }
        let registered_at = Offset(self.around.broker_epoch.0);
        if self.around.broker_epoch == BrokerEpoch::UNKNOWN || image.offset() < registered_at {
            return;
        }
        let changed = if self.has_metadata {
            self.delete_removed(cx, image, delta);
            delta.changed_partitions.keys().copied().collect()
        } else {
            self.has_metadata = true;
            self.delete_strays(cx, image);
            image.partitions().map(|(id, _)| id).collect::<Vec<_>>()
        };
        let node = self.config.node;
        let mine = changed.into_iter().filter_map(|id| {
            let registration = image.partition(id)?;
            let is_mine = registration.state.replicas.contains(&node);
            is_mine.then_some((id, registration))
        });
        let (leading, following): (Vec<_>, Vec<_>) =
            mine.partition(|(_, registration)| registration.state.leader == node);
        for (id, registration) in leading {
            self.lead(cx, image, id, registration);
        }
        for (id, registration) in following {
            self.follow(cx, image, id, registration);
        }
        self.fetchers.close_idle(cx);
        self.pump_fetchers(cx);
        self.finish(cx, image);
        // Topics first, their configuration last (`BrokerMetadataPublisher`): what another ISR commits
        // is answered by the minimum that held until now.
        self.configure(cx, image, delta);
        self.finish(cx, image);
    }

    /// The broker is about to leave: replicas outside the ISR stop fetching
    /// (`ReplicaManager.beginControlledShutdown`).
    pub fn begin_controlled_shutdown(&mut self) {
        self.is_in_controlled_shutdown = true;
    }

    fn lead(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        id: TopicIdPartition,
        registration: &PartitionRegistration,
    ) {
        self.fetchers.remove(id);
        self.host(cx, image, id);
        note_applied(cx, id, registration);
        let partition = self.hosted.get_mut(&id).expect("just hosted");
        let before = partition.leader_epoch();
        let moved = partition.become_leader(cx, &self.around, &registration.state);
        if moved || before != partition.leader_epoch() {
            self.touched.add(id, News::Watermarks);
        }
    }

    fn follow(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        id: TopicIdPartition,
        registration: &PartitionRegistration,
    ) {
        let state = &registration.state;
        self.host(cx, image, id);
        note_applied(cx, id, registration);
        let partition = self.hosted.get_mut(&id).expect("just hosted");
        let is_new_epoch = partition.become_follower(cx, state);
        let in_isr = state.isr.contains(&self.config.node);
        if self.is_in_controlled_shutdown && (state.leader == NodeId::NONE || !in_isr) {
            // It stays a follower that fetches no more (`stopPartitions` without deletion).
            self.fetchers.remove(id);
            return self.touched.add(id, News::Watermarks);
        }
        if is_new_epoch {
            self.touched.add(id, News::Watermarks);
            self.fetchers.remove(id);
            if let Some(endpoint) = self.around.cluster.endpoint(state.leader) {
                self.fetchers.add(cx, partition, endpoint);
            }
        }
    }

    /// Makes sure that there is a replica.
    fn host(&mut self, cx: &mut Context<'_>, image: &MetadataImage, id: TopicIdPartition) {
        if self.hosted.contains_key(&id) {
            return;
        }
        let log = self.unhosted.remove(&id);
        let log = log.unwrap_or_else(|| UnifiedLog::create(cx, id));
        let topic = image.topic(id.topic).expect("its partition changed");
        let config = self.topic_config(image, topic);
        let partition = Partition::new(id, topic.name.clone(), log, config);
        self.hosted.insert(id, partition);
    }

    /// Gives a replica up, with its log.
    fn stop(&mut self, cx: &mut Context<'_>, id: TopicIdPartition) {
        self.fetchers.remove(id);
        let hosted = self.hosted.remove(&id).map(|it| it.log);
        let Some(log) = hosted.or_else(|| self.unhosted.remove(&id)) else {
            return;
        };
        log.delete(cx);
        cx.effects.note(Note::ReplicaStopped {
            partition: id,
            deleted: true,
        });
        self.touched.add(id, News::Watermarks);
    }

    /// Deletes the logs that recovery found and that are not this broker's
    /// (`LogManager.deleteStrayKRaftReplicas`).
    fn delete_strays(&mut self, cx: &mut Context<'_>, image: &MetadataImage) {
        let strays: Vec<_> = self.unhosted.keys().copied().collect();
        for id in strays {
            let registration = image.partition(id);
            if !registration.is_some_and(|it| it.state.replicas.contains(&self.config.node)) {
                self.stop(cx, id);
            }
        }
    }

    fn delete_removed(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        delta: &MetadataDelta,
    ) {
        for topic in delta.deleted_topics.values() {
            for &partition in topic.partitions.keys() {
                let topic = topic.id;
                self.stop(cx, TopicIdPartition { topic, partition });
            }
        }
        for &id in delta.changed_partitions.keys() {
            let registration = image.partition(id);
            if registration.is_some_and(|it| !it.state.replicas.contains(&self.config.node)) {
                self.stop(cx, id);
            }
        }
    }

    /// Takes in what topics are told anew.
    fn configure(&mut self, cx: &mut Context<'_>, image: &MetadataImage, delta: &MetadataDelta) {
        let topics = delta.changed_configs.iter();
        for resource in topics.filter(|it| it.kind == ConfigResource::TOPIC) {
            let Some(topic) = image.topic_by_name(&resource.name) else {
                continue;
            };
            let config = self.topic_config(image, topic);
            for &index in topic.partitions.keys() {
                let id = TopicIdPartition {
                    topic: topic.id,
                    partition: index,
                };
                if let Some(partition) = self.hosted.get_mut(&id) {
                    partition.configure(cx, config.clone());
                }
            }
        }
    }

    fn topic_config(&self, image: &MetadataImage, topic: &TopicImage) -> TopicConfig {
        let overrides = image.config(&ConfigResource::topic(topic.name.clone()));
        let overrides = overrides.into_iter().flatten();
        let overrides: Given = overrides
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        TopicConfig::from_properties(&self.config.properties, &overrides)
            .expect("the controller takes no properties that are wrong")
    }
}

fn note_applied(cx: &mut Context<'_>, id: TopicIdPartition, registration: &PartitionRegistration) {
    cx.effects.note(Note::PartitionApplied {
        partition: id,
        state: Box::new(registration.state.clone()),
    });
}
