//! Positions in partitions that a group assigned: kept while they stay assigned, started from what
//! the group committed, and held while the application must not see them.
//!
//! Mirrors what Kafka's `SubscriptionState` has for `subscribe`: `assignFromSubscribed`,
//! `markPendingRevocation`, `pause`, `allConsumed`, `initializingPartitions`.

use std::collections::BTreeSet;

use super::{Assigned, FetchPosition, FetchState, Held, Positions, Unresolved, moved};
use crate::client::command::{OffsetAndMetadata, ResetReason, StartFrom};
use crate::client::metadata::{LeaderAndEpoch, Metadata};
use crate::effect::Effects;
use crate::types::{LeaderEpoch, Offset, StrBytes, TopicIdPartition, TopicPartition, Uuid};

impl Positions {
    /// From now on nothing but these topics is fetched; `None` lifts that.
    pub(in crate::client::consumer) fn subscribe(&mut self, topics: Option<BTreeSet<StrBytes>>) {
        self.subscribed = topics;
    }

    /// Replaces the assignment. What stays keeps its place; what is new starts from what the group
    /// committed, and is held if it is `unannounced`.
    pub(in crate::client::consumer) fn assign_from_group(
        &mut self,
        partitions: &BTreeSet<TopicPartition>,
        unannounced: &BTreeSet<TopicPartition>,
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let had = self.names();
        self.assigned
            .retain(|_, assigned| partitions.contains(&assigned.name));
        self.unresolved
            .retain(|waiting| partitions.contains(&waiting.name));
        let new = partitions.difference(&had).map(|name| Unresolved {
            name: name.clone(),
            start: StartFrom::Committed,
            held: Held::default(),
        });
        self.unresolved.extend(new);
        self.update_held(unannounced, |held| held.unannounced = true);
        self.resolve_topics(metadata, effects);
    }

    /// Follows topics that were created anew: a group assigns names. The position goes on at the
    /// same offset, as far as the new topic has that.
    pub(in crate::client::consumer) fn follow_names(
        &mut self,
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let renewed = self.assigned.iter().filter_map(|(&old, assigned)| {
            let topic = metadata.topic_id(&assigned.name.topic)?;
            (topic != old.topic).then_some((old, topic))
        });
        let renewed: Vec<(TopicIdPartition, Uuid)> = renewed.collect();
        for (old, topic) in renewed {
            let assigned = self.assigned.remove(&old).expect("listed from there");
            let partition = TopicIdPartition { topic, ..old };
            if let Some(position) = assigned.state.position() {
                let (from, why) = (Offset::UNKNOWN, ResetReason::Start);
                moved(partition, from, position.offset, why, effects);
            }
            self.assigned.insert(partition, assigned);
        }
    }

    /// Everything that is assigned.
    pub(in crate::client::consumer) fn names(&self) -> BTreeSet<TopicPartition> {
        let resolved = self.assigned.values().map(|assigned| &assigned.name);
        let unresolved = self.unresolved.iter().map(|waiting| &waiting.name);
        resolved.chain(unresolved).cloned().collect()
    }

    /// These are about to be revoked.
    pub(in crate::client::consumer) fn mark_revoking(&mut self, names: &BTreeSet<TopicPartition>) {
        self.update_held(names, |held| held.revoking = true);
    }

    /// The application knows of everything that is assigned.
    pub(in crate::client::consumer) fn mark_announced(&mut self) {
        self.update_held(&self.names(), |held| held.unannounced = false);
    }

    /// The application wants nothing of these, or wants it again.
    pub(in crate::client::consumer) fn pause(&mut self, names: &[TopicPartition], paused: bool) {
        let names = names.iter().cloned().collect();
        self.update_held(&names, |held| held.paused = paused);
    }

    fn update_held(&mut self, names: &BTreeSet<TopicPartition>, update: impl Fn(&mut Held)) {
        for assigned in self.assigned.values_mut() {
            if names.contains(&assigned.name) {
                update(&mut assigned.held);
            }
        }
        for waiting in &mut self.unresolved {
            if names.contains(&waiting.name) {
                update(&mut waiting.held);
            }
        }
    }

    /// Whether the application paused it.
    pub(in crate::client::consumer) fn is_paused(&self, partition: TopicIdPartition) -> bool {
        let assigned = self.assigned.get(&partition);
        assigned.is_some_and(|assigned| assigned.held.paused)
    }

    /// Whether nothing may be fetched from it, whatever its position.
    pub(in crate::client::consumer) fn is_held(&self, partition: TopicIdPartition) -> bool {
        let Some(assigned) = self.assigned.get(&partition) else {
            return true;
        };
        let subscribed = self.subscribed.as_ref();
        assigned.held != Held::default()
            || subscribed.is_some_and(|topics| !topics.contains(&assigned.name.topic))
    }

    /// What a commit of the positions says: every position that may be used, by name.
    pub(in crate::client::consumer) fn all_consumed(
        &self,
    ) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let consumed = self.assigned.values().filter_map(|assigned| {
            let FetchState::Fetching(position) = assigned.state else {
                return None;
            };
            let offset = OffsetAndMetadata {
                offset: position.offset,
                leader_epoch: position.offset_epoch,
                metadata: StrBytes::default(),
            };
            Some((assigned.name.clone(), offset))
        });
        let mut consumed: Vec<_> = consumed.collect();
        consumed.sort();
        consumed
    }

    /// Partitions that start from what the group committed.
    pub(in crate::client::consumer) fn initializing(&self) -> BTreeSet<TopicPartition> {
        let initializing = self.assigned.values().filter(|assigned| {
            matches!(assigned.state, FetchState::AwaitCommitted { .. }) && !assigned.held.revoking
        });
        initializing.map(|assigned| assigned.name.clone()).collect()
    }

    /// What the group committed for a partition that waits for it. False if there is nothing and
    /// no rule what then.
    pub(in crate::client::consumer) fn on_committed(
        &mut self,
        name: &TopicPartition,
        committed: Option<&OffsetAndMetadata>,
        metadata: &Metadata,
        effects: &mut Effects,
    ) -> bool {
        let Some((partition, assigned)) = self.named(name, metadata) else {
            return true;
        };
        let FetchState::AwaitCommitted { from } = assigned.state else {
            return true;
        };
        let Some(committed) = committed else {
            let Some(to) = self.policy else {
                return false;
            };
            let state = self.await_reset(to, ResetReason::Start, from);
            self.set(partition, state);
            return true;
        };
        let leader = metadata.current_leader(partition);
        let state = unvalidated(committed.offset, committed.leader_epoch, leader);
        self.set(partition, state);
        let (to, why) = (committed.offset, ResetReason::Committed);
        moved(partition, from, to, why, effects);
        true
    }

    /// What is assigned under that name, which may be another topic's by now.
    fn named(
        &self,
        name: &TopicPartition,
        metadata: &Metadata,
    ) -> Option<(TopicIdPartition, &Assigned)> {
        let topic = metadata.topic_id(&name.topic);
        let current = topic.map(|topic| TopicIdPartition {
            topic,
            partition: name.partition,
        });
        if let Some(current) = current
            && let Some(assigned) = self.assigned.get(&current)
            && assigned.name == *name
        {
            return Some((current, assigned));
        }
        let mut assigned = self.assigned.iter();
        let found = assigned.find(|(_, assigned)| assigned.name == *name);
        found.map(|(&partition, assigned)| (partition, assigned))
    }
}

/// A place that somebody named: to be validated if its leader epoch is known
/// (`seekUnvalidated`).
fn unvalidated(offset: Offset, offset_epoch: LeaderEpoch, leader: LeaderAndEpoch) -> FetchState {
    let position = FetchPosition {
        offset,
        offset_epoch,
        leader,
    };
    if offset_epoch == LeaderEpoch::NONE || leader.epoch == LeaderEpoch::NONE {
        FetchState::Fetching(position)
    } else {
        FetchState::AwaitValidation(position)
    }
}
