//! Which partition a record goes to when the application does not say.
//!
//! With a key: murmur2, as every Kafka client. Without: the uniform sticky partitioner of KIP-794,
//! which stays with a partition for about `batch.size` bytes. Mirrors Kafka's
//! `BuiltInPartitioner`; it does not weigh partitions by their queues
//! (`partitioner.adaptive.partitioning.enable`).

use std::collections::BTreeMap;

use crate::client::metadata::Metadata;
use crate::ids::IdSource;
use crate::types::Uuid;

/// The sticky choice of each topic.
#[derive(Debug)]
pub(super) struct StickyPartitioner {
    batch_size: usize,
    topics: BTreeMap<Uuid, Sticky>,
}

#[derive(Clone, Copy, Debug)]
struct Sticky {
    partition: i32,
    produced_bytes: usize,
}

impl StickyPartitioner {
    /// No choice yet. `batch_size` is `batch.size`.
    pub(super) fn new(batch_size: usize) -> Self {
        StickyPartitioner {
            batch_size: batch_size.max(1),
            topics: BTreeMap::new(),
        }
    }

    /// The partition that records without a key go to for now (`peekCurrentPartitionInfo`).
    pub(super) fn current(&mut self, topic: Uuid, metadata: &Metadata, ids: &mut IdSource) -> i32 {
        let sticky = self.topics.entry(topic).or_insert_with(|| Sticky {
            partition: random_partition(topic, metadata, ids),
            produced_bytes: 0,
        });
        sticky.partition
    }

    /// `bytes` went to the current partition: switches once `batch.size` is passed and no batch
    /// was left half full, at twice of it in any case (`updatePartitionInfo`).
    pub(super) fn appended(
        &mut self,
        topic: Uuid,
        bytes: usize,
        batches_full: bool,
        metadata: &Metadata,
        ids: &mut IdSource,
    ) {
        let Some(sticky) = self.topics.get_mut(&topic) else {
            return;
        };
        sticky.produced_bytes += bytes;
        let passed = self.batch_size <= sticky.produced_bytes;
        if passed && batches_full || 2 * self.batch_size <= sticky.produced_bytes {
            *sticky = Sticky {
                partition: random_partition(topic, metadata, ids),
                produced_bytes: 0,
            };
        }
    }
}

/// One of the partitions with a leader, or any if there is none.
fn random_partition(topic: Uuid, metadata: &Metadata, ids: &mut IdSource) -> i32 {
    let available = metadata.available_partitions(topic).count() as u64;
    if available > 0 {
        let nth = usize::try_from(ids.below(available)).expect("less than a count");
        let chosen = metadata.available_partitions(topic).nth(nth);
        return chosen.expect("below their number");
    }
    let count = metadata.partition_count(topic).max(1) as u64;
    i32::try_from(ids.below(count)).expect("partition indexes fit an i32")
}

/// The partition of a key (`BuiltInPartitioner.partitionForKey`).
pub fn partition_for_key(key: &[u8], partitions: usize) -> i32 {
    let partitions = u32::try_from(partitions).expect("partition indexes fit an i32");
    let index = (murmur2(key) & 0x7fff_ffff) % partitions;
    i32::try_from(index).expect("a positive i32 was reduced")
}

/// Kafka's variant of MurmurHash2 (`Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).expect("a record is below 2 GiB");
    let mut h = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = word.first_chunk::<4>().expect("chunks of four");
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, &byte) in rest.iter().enumerate() {
            h ^= u32::from(byte) << (8 * at);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::metadata_of;

    /// `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn murmur2_is_kafkas() {
        let published: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ];
        for (data, hash) in published {
            assert_eq!(murmur2(data).cast_signed(), hash, "{data:?}");
        }
    }

    #[test]
    fn a_key_always_goes_to_the_same_partition() {
        assert_eq!(
            partition_for_key(b"21", 7),
            (-973_932_308 & 0x7fff_ffff) % 7
        );
        assert_eq!(partition_for_key(b"21", 1), 0);
    }

    #[test]
    fn the_sticky_partition_changes_after_a_batch_of_bytes() {
        let topic = Uuid::from_u128(100);
        let metadata = metadata_of(topic, 50);
        let mut ids = IdSource::new(3);
        let mut sticky = StickyPartitioner::new(100);
        let first = sticky.current(topic, &metadata, &mut ids);
        sticky.appended(topic, 99, true, &metadata, &mut ids);
        assert_eq!(sticky.current(topic, &metadata, &mut ids), first);
        sticky.appended(topic, 99, false, &metadata, &mut ids);
        let kept = sticky.current(topic, &metadata, &mut ids);
        assert_eq!(kept, first, "a half full batch is filled first");
        sticky.appended(topic, 2, false, &metadata, &mut ids);
        let second = sticky.current(topic, &metadata, &mut ids);
        assert_ne!(second, first, "seed 3 draws another of the fifty");
    }
}
