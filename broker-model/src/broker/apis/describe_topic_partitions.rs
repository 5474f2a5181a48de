//! DescribeTopicPartitions (KIP-966): topics page by page.
//!
//! Mirrors `DescribeTopicPartitionsRequestHandler` and `KRaftMetadataCache.describeTopicResponse`.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};

use super::topics::{
    TOPIC_OPERATIONS, absent, broker_ids, is_internal, offline_replicas, reachable_leader,
};
use crate::metadata::MetadataImage;
use crate::metadata::image::{PartitionRegistration, TopicImage};
use crate::types::{NodeId, ResponseError, StrBytes};

/// The next page. `partitions_max` is `max.request.partition.size.limit`.
///
/// A cursor that makes no sense is INVALID_REQUEST for every topic.
pub(crate) fn describe_topic_partitions(
    image: &MetadataImage,
    request: &DescribeTopicPartitionsRequest,
    partitions_max: usize,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    let from = cursor.map_or("", |cursor| cursor.topic_name.as_str());
    let all = request.topics.is_empty();
    let names: BTreeSet<&str> = if all {
        let names = image.topic_names().keys().map(|name| name.as_str());
        names.filter(|&name| from <= name).collect()
    } else {
        let names = request.topics.iter().map(|topic| topic.name.as_str());
        names.filter(|&name| from <= name).collect()
    };
    let lost = cursor.is_some_and(|cursor| {
        cursor.partition_index < 0 || (!all && !names.contains(cursor.topic_name.as_str()))
    });
    if lost {
        return refused(request);
    }
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut page = Page {
        image,
        left: asked.min(partitions_max).max(1),
        answer: DescribeTopicPartitionsResponse::default().with_next_cursor(None),
    };
    for name in names {
        let start = cursor
            .filter(|cursor| cursor.topic_name.as_str() == name)
            .map_or(0, |cursor| cursor.partition_index);
        if page.left == 0 {
            page.answer.next_cursor = Some(at(name, 0));
            break;
        }
        match image.topic_by_name(name) {
            Some(topic) => page.add(topic, start),
            None if !all => page.answer.topics.push(unknown(name)),
            None => {}
        }
        if page.answer.next_cursor.is_some() {
            break;
        }
    }
    page.answer
}

/// The answer as it fills.
struct Page<'a> {
    image: &'a MetadataImage,
    left: usize,
    answer: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    fn add(&mut self, topic: &TopicImage, start: i32) {
        let rest = topic.partitions.range(start..);
        let partitions: Vec<_> = rest
            .clone()
            .take(self.left)
            .map(|(&index, partition)| describe(self.image, index, partition))
            .collect();
        let next = rest.map(|(&index, _)| index).nth(partitions.len());
        self.answer.next_cursor = next.map(|index| at(&topic.name, index));
        self.left -= partitions.len();
        self.answer.topics.push(
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(TopicName(topic.name.clone())))
                .with_topic_id(topic.id)
                .with_is_internal(is_internal(&topic.name))
                .with_partitions(partitions)
                .with_topic_authorized_operations(TOPIC_OPERATIONS),
        );
    }
}

fn describe(
    image: &MetadataImage,
    index: i32,
    partition: &PartitionRegistration,
) -> DescribeTopicPartitionsResponsePartition {
    let state = &partition.state;
    let leader = reachable_leader(image, partition).unwrap_or(NodeId::NONE);
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(leader.0))
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(broker_ids(&state.replicas))
        .with_isr_nodes(broker_ids(&state.isr))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(offline_replicas(image, partition))
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(absent(name).code())
        .with_name(Some(topic_name(name)))
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(ResponseError::InvalidRequest.code())
            .with_name(Some(topic.name.clone()))
    });
    DescribeTopicPartitionsResponse::default()
        .with_topics(topics.collect())
        .with_next_cursor(None)
}

fn at(name: &str, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(topic_name(name))
        .with_partition_index(partition)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_topic_partitions_request as request;

    use super::*;
    use crate::broker::rig::image;

    fn ask(
        names: &[&str],
        limit: i32,
        cursor: Option<(&str, i32)>,
    ) -> DescribeTopicPartitionsResponse {
        let topics = names
            .iter()
            .map(|name| request::TopicRequest::default().with_name(topic_name(name)));
        let cursor = cursor.map(|(name, partition)| {
            request::Cursor::default()
                .with_topic_name(topic_name(name))
                .with_partition_index(partition)
        });
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics.collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor);
        describe_topic_partitions(&image(), &request, 2_000)
    }

    #[test]
    fn a_page_ends_at_the_limit_and_the_next_starts_there() {
        let page = ask(&["orders", "zz"], 1, None);
        assert_eq!((page.topics.len(), page.topics[0].partitions.len()), (1, 1));
        assert_eq!(page.next_cursor, Some(at("orders", 1)));
        let page = ask(&["orders", "zz"], 2, Some(("orders", 1)));
        assert_eq!(page.topics[0].partitions[0].partition_index, 1);
        assert_eq!(page.topics[1].error_code, 3);
        assert_eq!(page.next_cursor, None);
    }

    #[test]
    fn a_full_page_points_at_the_next_topic() {
        let page = ask(&["orders", "zz"], 2, None);
        assert_eq!(page.topics.len(), 1);
        assert_eq!(page.next_cursor, Some(at("zz", 0)));
    }

    #[test]
    fn a_cursor_that_makes_no_sense_is_refused() {
        assert_eq!(
            ask(&["orders"], 1, Some(("other", 0))).topics[0].error_code,
            42
        );
        assert_eq!(
            ask(&["orders"], 1, Some(("orders", -1))).topics[0].error_code,
            42
        );
    }
}
