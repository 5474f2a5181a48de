//! The offsets that groups have committed.
//!
//! Mirrors `OffsetMetadataManager`, `OffsetAndMetadata` and `OffsetExpirationConditionImpl`. Whether
//! a member may commit is decided by its group. KIP-211. There are no transactions yet, so no offset
//! is ever pending.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, TopicName};

use super::record::{OffsetCommitValue, Record};
use crate::types::{LeaderEpoch, Now, Offset, ResponseError, StrBytes, TopicPartition, Uuid};

/// From when the age of a group's offsets counts (`OffsetExpirationConditionImpl`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExpirySince {
    /// Each from its commit.
    Commit,
    /// All from then: the group has been empty since, in ms since 1970.
    Empty(i64),
}

/// Offsets by partition.
type Partitions = BTreeMap<i32, OffsetCommitValue>;
/// Offsets by topic and partition.
type Topics = BTreeMap<StrBytes, Partitions>;

/// The offsets of a shard's groups. Changes only by replay.
///
/// No map in it is empty but the outermost.
#[derive(Default, Debug)]
pub(crate) struct Offsets {
    groups: BTreeMap<StrBytes, Topics>,
}

impl Offsets {
    /// A group's offset of a partition.
    pub(crate) fn get(
        &self,
        group: &StrBytes,
        topic: &StrBytes,
        partition: i32,
    ) -> Option<&OffsetCommitValue> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// Takes in an `OffsetCommit` record.
    pub(crate) fn replay(
        &mut self,
        group: &StrBytes,
        topic: &StrBytes,
        partition: i32,
        value: Option<&OffsetCommitValue>,
    ) {
        if let Some(value) = value {
            let topics = self.groups.entry(group.clone()).or_default();
            let partitions = topics.entry(topic.clone()).or_default();
            partitions.insert(partition, value.clone());
            return;
        }
        let Some(topics) = self.groups.get_mut(group) else {
            return;
        };
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// All of them by group: partitions, their offsets and when those were committed.
    pub(crate) fn all(
        &self,
    ) -> impl Iterator<Item = (&StrBytes, Vec<(TopicPartition, Offset, i64)>)> {
        self.groups.keys().map(|group| {
            let offsets = self.of_group(group).map(|(topic, partition, value)| {
                let topic = topic.clone();
                let partition = TopicPartition { topic, partition };
                (partition, value.offset, value.commit_timestamp)
            });
            (group, offsets.collect())
        })
    }

    /// The records that delete all offsets of a group (`deleteAllOffsets`).
    pub(crate) fn delete_all(&self, group: &StrBytes) -> Vec<Record> {
        let all = self.of_group(group);
        all.map(|(topic, partition, _)| tombstone(group, topic, partition))
            .collect()
    }

    /// The records that delete what is too old, and whether nothing is left then
    /// (`cleanupExpiredOffsets`).
    pub(crate) fn delete_expired(
        &self,
        group: &StrBytes,
        since: Option<ExpirySince>,
        is_subscribed_to: impl Fn(&str) -> bool,
        (now, retention_ms): (Now, i64),
    ) -> (Vec<Record>, bool) {
        let mut records = Vec::new();
        let mut all = true;
        for (topic, partition, value) in self.of_group(group) {
            let is_old = |since| is_expired(value, since, now.wall_ms, retention_ms);
            if since.is_some_and(is_old) && !is_subscribed_to(topic) {
                records.push(tombstone(group, topic, partition));
            } else {
                all = false;
            }
        }
        (records, all)
    }

    /// The records that delete the offsets of partitions that are gone (`onPartitionsDeleted`).
    pub(crate) fn delete_partitions(&self, gone: &BTreeSet<TopicPartition>) -> Vec<Record> {
        let mut records = Vec::new();
        for group in self.groups.keys() {
            for (topic, partition, _) in self.of_group(group) {
                let topic = topic.clone();
                if gone.contains(&TopicPartition {
                    topic: topic.clone(),
                    partition,
                }) {
                    records.push(tombstone(group, &topic, partition));
                }
            }
        }
        records
    }

    /// Answers an OffsetFetch of one group, which may have fetched (`fetchOffsets`,
    /// `fetchAllOffsets`). `known`: whether there is such a group at all.
    pub(crate) fn fetch(
        &self,
        request: &OffsetFetchRequestGroup,
        known: bool,
    ) -> OffsetFetchResponseGroup {
        static NOTHING: Topics = Topics::new();
        let offsets = self.groups.get(&request.group_id.0).filter(|_| known);
        let offsets = offsets.unwrap_or(&NOTHING);
        let topics = match &request.topics {
            Some(asked) => asked
                .iter()
                .map(|topic| {
                    let offsets = offsets.get(&topic.name.0);
                    let partitions = topic.partition_indexes.iter().map(|&partition| {
                        let offset = offsets.and_then(|it| it.get(&partition));
                        fetched(
                            partition,
                            offset.filter(|it| is_of_topic(it, topic.topic_id)),
                        )
                    });
                    OffsetFetchResponseTopics::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id)
                        .with_partitions(partitions.collect())
                })
                .collect(),
            None => offsets
                .iter()
                .map(|(topic, partitions)| {
                    let partitions = partitions.iter();
                    let partitions =
                        partitions.map(|(&partition, offset)| fetched(partition, Some(offset)));
                    OffsetFetchResponseTopics::default()
                        .with_name(TopicName(topic.clone()))
                        .with_partitions(partitions.collect())
                })
                .collect(),
        };
        OffsetFetchResponseGroup::default()
            .with_group_id(request.group_id.clone())
            .with_topics(topics)
    }

    fn of_group(
        &self,
        group: &StrBytes,
    ) -> impl Iterator<Item = (&StrBytes, i32, &OffsetCommitValue)> {
        let topics = self.groups.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |(&partition, value)| (topic, partition, value))
        })
    }
}

/// The records of a commit that is allowed, and what is answered once they are committed
/// (`OffsetMetadataManager.commitOffset`).
pub(crate) fn commit(
    request: &OffsetCommitRequest,
    now: Now,
    metadata_bytes_max: usize,
) -> (Vec<Record>, Vec<OffsetCommitResponseTopic>) {
    let mut records = Vec::new();
    let expire_timestamp = match request.retention_time_ms {
        NO_RETENTION => -1,
        retention_ms => now.wall_ms.saturating_add(retention_ms),
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index);
            if metadata_bytes_max < metadata_len(partition) {
                return answer.with_error_code(ResponseError::OffsetMetadataTooLarge.code());
            }
            records.push(Record::OffsetCommit {
                group: request.group_id.0.clone(),
                topic: topic.name.0.clone(),
                partition: partition.partition_index,
                value: Some(OffsetCommitValue {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    commit_timestamp: now.wall_ms,
                    expire_timestamp,
                    topic_id: topic.topic_id,
                }),
            });
            answer
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    (records, topics)
}

/// The record that deletes an offset.
pub(crate) fn tombstone(group: &StrBytes, topic: &StrBytes, partition: i32) -> Record {
    Record::OffsetCommit {
        group: group.clone(),
        topic: topic.clone(),
        partition,
        value: None,
    }
}

/// `String.length` counts what UTF-16 needs.
fn metadata_len(partition: &OffsetCommitRequestPartition) -> usize {
    let metadata = partition.committed_metadata.iter();
    metadata.map(|it| it.encode_utf16().count()).sum()
}

fn is_expired(
    value: &OffsetCommitValue,
    since: ExpirySince,
    now_ms: i64,
    retention_ms: i64,
) -> bool {
    if value.expire_timestamp != -1 {
        return value.expire_timestamp <= now_ms;
    }
    let since = match since {
        ExpirySince::Commit => value.commit_timestamp,
        ExpirySince::Empty(since) => since,
    };
    retention_ms <= now_ms.saturating_sub(since)
}

/// A topic of the same name that was created anew has no offsets of the old one.
fn is_of_topic(value: &OffsetCommitValue, topic_id: Uuid) -> bool {
    value.topic_id.is_nil() || topic_id.is_nil() || value.topic_id == topic_id
}

fn fetched(partition: i32, offset: Option<&OffsetCommitValue>) -> OffsetFetchResponsePartitions {
    let answer = OffsetFetchResponsePartitions::default().with_partition_index(partition);
    match offset {
        Some(it) => answer
            .with_committed_offset(it.offset.0)
            .with_committed_leader_epoch(it.leader_epoch.0)
            .with_metadata(Some(it.metadata.clone())),
        None => answer
            .with_committed_offset(Offset::UNKNOWN.0)
            .with_committed_leader_epoch(LeaderEpoch::NONE.0)
            .with_metadata(Some(StrBytes::default())),
    }
}

/// `OffsetCommitRequest.DEFAULT_RETENTION_TIME`: the broker says how long.
const NO_RETENTION: i64 = -1;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::GroupId;
    use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;

    use super::*;

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    fn at(wall_ms: i64) -> Now {
        Now {
            mono_ms: 0,
            wall_ms,
        }
    }

    fn request(metadata: &'static str, retention_time_ms: i64) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(1)
            .with_committed_offset(5)
            .with_committed_metadata(Some(text(metadata)));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text("t")))
            .with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_retention_time_ms(retention_time_ms)
            .with_topics(vec![topic])
    }

    fn committed(retention_time_ms: i64) -> Offsets {
        let mut offsets = Offsets::default();
        let (records, _) = commit(&request("m", retention_time_ms), at(100), 10);
        let [
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value,
            },
        ] = &records[..]
        else {
            panic!("one offset");
        };
        offsets.replay(group, topic, *partition, value.as_ref());
        offsets
    }

    #[test]
    fn metadata_as_long_as_allowed_is_taken_and_longer_is_not() {
        let (records, topics) = commit(&request("abc", -1), at(0), 3);
        assert_eq!((records.len(), topics[0].partitions[0].error_code), (1, 0));
        let (records, topics) = commit(&request("abcd", -1), at(0), 3);
        assert_eq!((records.len(), topics[0].partitions[0].error_code), (0, 12));
    }

    #[test]
    fn an_offset_expires_when_its_retention_is_over_and_nobody_reads_the_topic() {
        let offsets = committed(-1);
        let group = text("g");
        let expire = |since, reads, now_ms| {
            let (records, all) = offsets.delete_expired(&group, since, |_| reads, (at(now_ms), 50));
            (records.len(), all)
        };
        assert_eq!(expire(Some(ExpirySince::Commit), false, 149), (0, false));
        assert_eq!(expire(Some(ExpirySince::Commit), false, 150), (1, true));
        assert_eq!(expire(Some(ExpirySince::Commit), true, 150), (0, false));
        assert_eq!(expire(None, false, 150), (0, false));
        assert_eq!(
            expire(Some(ExpirySince::Empty(120)), false, 150),
            (0, false)
        );
        assert_eq!(expire(Some(ExpirySince::Empty(120)), false, 170), (1, true));
    }

    #[test]
    fn a_retention_that_the_client_named_counts_instead() {
        let offsets = committed(10);
        let expire = |now_ms| {
            let when = (at(now_ms), 1_000_000);
            let since = Some(ExpirySince::Commit);
            offsets.delete_expired(&text("g"), since, |_| false, when).1
        };
        assert!(!expire(109));
        assert!(expire(110));
    }

    #[test]
    fn a_tombstone_leaves_nothing_behind() {
        let mut offsets = committed(-1);
        assert_eq!(offsets.delete_all(&text("g")).len(), 1);
        offsets.replay(&text("g"), &text("t"), 0, None);
        assert!(offsets.get(&text("g"), &text("t"), 1).is_some());
        offsets.replay(&text("g"), &text("t"), 1, None);
        assert!(offsets.groups.is_empty());
    }

    #[test]
    fn a_deleted_partition_takes_its_offsets_along() {
        let offsets = committed(-1);
        let gone = |partition| {
            BTreeSet::from([TopicPartition {
                topic: text("t"),
                partition,
            }])
        };
        assert!(offsets.delete_partitions(&gone(0)).is_empty());
        assert_eq!(offsets.delete_partitions(&gone(1)).len(), 1);
    }
}
