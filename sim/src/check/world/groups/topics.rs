//! Which topics there are, by metadata offset: what a coordinator may know of them.

use std::collections::BTreeMap;

use broker_model::types::{NodeId, Offset, StrBytes, TopicIdPartition, Uuid};

/// Topics and how far each broker has applied the metadata.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    topics: BTreeMap<Uuid, Topic>,
    names: BTreeMap<StrBytes, Vec<Uuid>>,
    applied: BTreeMap<NodeId, Offset>,
}

/// A topic: its name, the records that made and removed it, and those that made its partitions.
#[derive(Debug)]
struct Topic {
    name: StrBytes,
    made: Offset,
    removed: Option<Offset>,
    partitions: BTreeMap<i32, Offset>,
}

impl Topics {
    /// The record that made or removed a topic is committed.
    pub(in crate::check::world) fn topic(
        &mut self,
        offset: Offset,
        id: Uuid,
        name: &str,
        removed: bool,
    ) {
        let name = StrBytes::from_string(name.to_owned());
        let topic = self.topics.entry(id).or_insert_with(|| Topic {
            name: name.clone(),
            made: offset,
            removed: None,
            partitions: BTreeMap::new(),
        });
        if removed {
            topic.removed.get_or_insert(offset);
            return;
        }
        topic.name = name.clone();
        let ids = self.names.entry(name).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    /// The record that made a partition is committed.
    pub(in crate::check::world) fn partition(&mut self, offset: Offset, id: TopicIdPartition) {
        let topic = self.topics.entry(id.topic).or_insert_with(|| Topic {
            name: StrBytes::default(),
            made: offset,
            removed: None,
            partitions: BTreeMap::new(),
        });
        topic.partitions.entry(id.partition).or_insert(offset);
    }

    /// A broker applied the metadata up to there, inclusive.
    pub(in crate::check::world) fn applied(&mut self, node: NodeId, offset: Offset) {
        self.applied.insert(node, offset);
    }

    /// The topic of that name that the broker knows.
    pub(crate) fn known(&self, node: NodeId, name: &StrBytes) -> Option<Uuid> {
        let ids = self.names.get(name)?;
        ids.iter().copied().find(|id| self.knows(node, *id))
    }

    /// The name of a topic that the broker knows.
    pub(crate) fn name(&self, node: NodeId, id: Uuid) -> Option<&StrBytes> {
        let topic = self.topics.get(&id).filter(|_| self.knows(node, id))?;
        Some(&topic.name)
    }

    /// The name of a topic that there was at any time.
    pub(crate) fn any_name(&self, id: Uuid) -> Option<&StrBytes> {
        let topic = self.topics.get(&id);
        topic.map(|topic| &topic.name).filter(|it| !it.is_empty())
    }

    /// Whether a topic of that name was ever removed.
    pub(crate) fn was_removed(&self, name: &StrBytes) -> bool {
        let ids = self.names.get(name).into_iter().flatten();
        let mut topics = ids.filter_map(|id| self.topics.get(id));
        topics.any(|topic| topic.removed.is_some())
    }

    /// The partitions of a topic that the broker knows.
    pub(crate) fn partitions(
        &self,
        node: NodeId,
        id: Uuid,
    ) -> impl Iterator<Item = TopicIdPartition> + '_ {
        let applied = self.applied.get(&node).copied();
        let topic = self.topics.get(&id).filter(|_| self.knows(node, id));
        let partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
        partitions
            .filter(move |&(_, made)| Some(*made) <= applied)
            .map(move |(&partition, _)| TopicIdPartition {
                topic: id,
                partition,
            })
    }

    /// Whether nobody knows of the topic yet: a broker may, before a controller told of it.
    pub(crate) fn is_unheard_of(&self, id: Uuid) -> bool {
        !self.topics.contains_key(&id)
    }

    fn knows(&self, node: NodeId, id: Uuid) -> bool {
        let applied = self.applied.get(&node).copied();
        self.topics.get(&id).is_some_and(|topic| {
            Some(topic.made) <= applied && topic.removed.is_none_or(|at| applied < Some(at))
        })
    }
}
