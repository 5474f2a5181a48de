//! DescribeProducers: what a log remembers of its producers (KIP-664).

use kafka_protocol::messages::ResponseKind;
use kafka_protocol::messages::describe_producers_request::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::manager::{ReplicaManager, not_hosted, resolve};
use super::partition::Partition;
use super::sessions::TopicKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::metadata::MetadataImage;
use crate::types::{ConnectionId, Offset};

impl ReplicaManager {
    /// Handles a DescribeProducers request.
    pub(super) fn on_describe_producers(
        &self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &DescribeProducersRequest,
    ) {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let key = TopicKey::Name(topic.name.clone());
            let answers = topic.partition_indexes.iter().map(|&index| {
                let answer = PartitionResponse::default().with_partition_index(index);
                let hosted = resolve(image, &key, index).and_then(|id| {
                    let hosted = self.hosted.get(&id);
                    hosted.ok_or_else(|| not_hosted(image, id))
                });
                match hosted {
                    Err(error) => answer.with_error_code(error.code()),
                    Ok(partition) => answer.with_active_producers(active_producers(partition)),
                }
            });
            topics.push(
                TopicResponse::default()
                    .with_name(topic.name.clone())
                    .with_partitions(answers.collect()),
            );
        }
        let response = DescribeProducersResponse::default().with_topics(topics);
        let response = ResponseKind::DescribeProducers(response);
        cx.effects.reply(conn, header.correlation_id, response);
    }
}

fn active_producers(partition: &Partition) -> Vec<ProducerState> {
    let producers = partition.log.producers().iter();
    let described = producers.map(|(id, entry)| {
        ProducerState::default()
            .with_producer_id(id.0.into())
            .with_producer_epoch(i32::from(entry.epoch().0))
            .with_last_sequence(entry.last_sequence().0)
            .with_last_timestamp(entry.last_timestamp())
            .with_coordinator_epoch(entry.coordinator_epoch())
            .with_current_txn_start_offset(entry.open_since().unwrap_or(Offset::UNKNOWN).0)
    });
    described.collect()
}
