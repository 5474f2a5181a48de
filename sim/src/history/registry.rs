//! Small numbers for partitions.

use std::collections::BTreeMap;

use broker_model::types::TopicIdPartition;

use super::P;

/// Which number stands for which partition, in the order in which they were declared.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    numbers: BTreeMap<TopicIdPartition, P>,
    partitions: Vec<TopicIdPartition>,
}

impl Registry {
    /// The partition's number; a new one if it has none yet.
    pub fn declare(&mut self, partition: TopicIdPartition) -> P {
        if let Some(&p) = self.numbers.get(&partition) {
            return p;
        }
        let p = P::try_from(self.partitions.len()).expect("a run has few partitions");
        self.numbers.insert(partition, p);
        self.partitions.push(partition);
        p
    }

    /// The partition's number, if it was declared.
    #[must_use]
    pub fn number(&self, partition: &TopicIdPartition) -> Option<P> {
        self.numbers.get(partition).copied()
    }

    /// The partition with that number.
    #[must_use]
    pub fn partition(&self, p: P) -> Option<TopicIdPartition> {
        self.partitions.get(p as usize).copied()
    }

    /// How many there are; the numbers are `0..len`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Whether none was declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Numbers and partitions, by number.
    pub fn iter(&self) -> impl Iterator<Item = (P, TopicIdPartition)> + '_ {
        (0..).zip(self.partitions.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::Uuid;

    use super::*;

    #[test]
    fn a_partition_keeps_its_number() {
        let partition = |index| TopicIdPartition {
            topic: Uuid::from_u128(7),
            partition: index,
        };
        let mut registry = Registry::default();
        assert_eq!(registry.declare(partition(1)), 0);
        assert_eq!(registry.declare(partition(0)), 1);
        assert_eq!(registry.declare(partition(1)), 0);
        assert_eq!(registry.number(&partition(0)), Some(1));
        assert_eq!(registry.partition(0), Some(partition(1)));
        assert_eq!(registry.number(&partition(2)), None);
    }
}
