//! What a set of members reads, taken together.
//!
//! Mirrors `SubscriptionCount`, `ConsumerGroup.subscriptionType` and the hash of `Utils`
//! (`computeGroupHash`, KIP-1101): when the hash of the topics that a group reads changes, its
//! partitions are distributed anew.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::super::record::ResolvedRegex;
use super::member::Member;
use crate::metadata::MetadataImage;
use crate::metadata::image::TopicImage;
use crate::types::StrBytes;

/// Who reads what.
pub(super) struct Subscriptions<'a> {
    members: usize,
    topics: BTreeMap<&'a StrBytes, Readers>,
    regexes: BTreeMap<&'a StrBytes, usize>,
}

/// How often a topic is read.
#[derive(Default)]
struct Readers {
    /// How many members named it.
    by_name: usize,
    /// How many expressions match it.
    by_regex: usize,
}

impl<'a> Subscriptions<'a> {
    /// What these members read.
    pub(super) fn of(
        members: impl IntoIterator<Item = &'a Member>,
        resolved: &'a BTreeMap<StrBytes, ResolvedRegex>,
    ) -> Self {
        let mut all = Subscriptions {
            members: 0,
            topics: BTreeMap::new(),
            regexes: BTreeMap::new(),
        };
        for member in members {
            all.members += 1;
            for topic in &member.topics {
                all.topics.entry(topic).or_default().by_name += 1;
            }
            if let Some(regex) = member.regex() {
                *all.regexes.entry(regex).or_default() += 1;
            }
        }
        for (regex, resolved) in resolved {
            if all.regexes.contains_key(regex) {
                for topic in &resolved.topics {
                    all.topics.entry(topic).or_default().by_regex += 1;
                }
            }
        }
        all
    }

    /// Whether every member reads the same topics (`SubscriptionType.HOMOGENEOUS`), as far as that
    /// can be told without comparing expressions.
    pub(super) fn are_homogeneous(&self) -> bool {
        let mut readers = self.topics.values();
        match self.regexes.values().next() {
            None => readers.all(|topic| topic.by_name == self.members),
            Some(&count) if count == self.members => {
                readers.all(|topic| topic.by_regex == 1 && topic.by_name == 0)
            }
            Some(_) => false,
        }
    }

    /// The hash of all topics that are read and exist.
    pub(super) fn hash(&self, image: &MetadataImage) -> i64 {
        let topics = self.topics.keys();
        let existing = topics.filter_map(|name| image.topic_by_name(name.as_str()));
        let hashes: Vec<u8> = existing
            .flat_map(|topic| topic_hash(topic, image).to_le_bytes())
            .collect();
        if hashes.is_empty() {
            return 0;
        }
        xxh3_64(&hashes).cast_signed()
    }
}

/// The hash of a topic's id, name, partitions and their racks (`Utils.computeTopicHash`). Kafka
/// streams the fields through hash4j, which writes numbers little-endian and strings as their UTF-16
/// units and then their length.
fn topic_hash(topic: &TopicImage, image: &MetadataImage) -> u64 {
    let mut bytes = vec![TOPIC_HASH_MAGIC_BYTE];
    let (high, low) = topic.id.as_u64_pair();
    bytes.extend(high.to_le_bytes());
    bytes.extend(low.to_le_bytes());
    put_string(&mut bytes, topic.name.as_str());
    put_int(&mut bytes, topic.partitions.len());
    for (&index, partition) in &topic.partitions {
        bytes.extend(index.to_le_bytes());
        let brokers = partition.state.replicas.iter();
        let racks = brokers.filter_map(|&broker| image.broker(broker)?.rack.as_ref());
        let mut racks: Vec<&str> = racks.map(StrBytes::as_str).collect();
        racks.sort_unstable();
        for rack in racks {
            put_int(&mut bytes, rack.encode_utf16().count());
            put_string(&mut bytes, rack);
        }
    }
    xxh3_64(&bytes)
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    put_int(bytes, text.encode_utf16().count());
}

fn put_int(bytes: &mut Vec<u8>, number: usize) {
    let number = i32::try_from(number).expect("no topic or string is that long");
    bytes.extend(number.to_le_bytes());
}

const TOPIC_HASH_MAGIC_BYTE: u8 = 0;
