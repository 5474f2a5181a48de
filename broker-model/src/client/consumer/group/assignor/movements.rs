//! Which partitions moved from whom to whom, so that no two of a topic change places
//! (`PartitionMovements`).

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{StrBytes, TopicPartition};

/// From a member to a member.
type Pair = (StrBytes, StrBytes);

/// The moves of one assignment.
#[derive(Default)]
pub(super) struct Movements {
    by_topic: BTreeMap<StrBytes, BTreeMap<Pair, BTreeSet<TopicPartition>>>,
    by_partition: BTreeMap<TopicPartition, Pair>,
}

impl Movements {
    /// A partition moves. One that moved before is known by where it came from first; one that is
    /// back there did not move.
    pub(super) fn record(&mut self, partition: &TopicPartition, from: &StrBytes, to: &StrBytes) {
        let Some((first, last)) = self.remove(partition) else {
            return self.add(partition, (from.clone(), to.clone()));
        };
        assert!(
            last == *from,
            "{partition} moved from {from} and was at {last}"
        );
        if first != *to {
            self.add(partition, (first, to.clone()));
        }
    }

    /// What to move instead: a partition of the topic that came the opposite way, if there is one.
    pub(super) fn instead_of(
        &self,
        partition: &TopicPartition,
        from: &StrBytes,
        to: &StrBytes,
    ) -> TopicPartition {
        let first = self.by_partition.get(partition).map(|(first, _)| first);
        let reverse = (to.clone(), first.unwrap_or(from).clone());
        let moves = self.by_topic.get(&partition.topic);
        let back = moves.and_then(|moves| moves.get(&reverse)?.first());
        back.unwrap_or(partition).clone()
    }

    fn add(&mut self, partition: &TopicPartition, pair: Pair) {
        self.by_partition.insert(partition.clone(), pair.clone());
        let moves = self.by_topic.entry(partition.topic.clone()).or_default();
        moves.entry(pair).or_default().insert(partition.clone());
    }

    fn remove(&mut self, partition: &TopicPartition) -> Option<Pair> {
        let pair = self.by_partition.remove(partition)?;
        let moves = self.by_topic.get_mut(&partition.topic);
        let moves = moves.expect("both maps agree");
        let partitions = moves.get_mut(&pair).expect("both maps agree");
        partitions.remove(partition);
        if partitions.is_empty() {
            moves.remove(&pair);
        }
        Some(pair)
    }
}
