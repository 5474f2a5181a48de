//! ListOffsets and OffsetForLeaderEpoch: where logs start, end, and part.
//!
//! Mirrors `ReplicaManager.fetchOffset` and `lastOffsetForLeaderEpoch`, and
//! `Partition.fetchOffsetForTimestamp`.

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{ResponseKind, TopicName};

use super::manager::{ReplicaManager, not_hosted, resolve};
use super::partition::Partition;
use super::sessions::TopicKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::log::TimestampAndOffset;
use crate::log::lookup::timestamps;
use crate::metadata::MetadataImage;
use crate::note::Note;
use crate::types::{ConnectionId, LeaderEpoch, Offset, ResponseError};
use crate::wire::batch::NO_TIMESTAMP;

/// Who asks, and up to where he may see.
#[derive(Clone, Copy, Debug)]
struct Asker {
    version: i16,
    /// A consumer, and whether it is read_committed; otherwise a replica, which sees it all.
    consumer: Option<bool>,
    /// All but debugging tools need the leader.
    needs_leader: bool,
}

impl ReplicaManager {
    /// Handles a ListOffsets request.
    pub(super) fn on_list_offsets(
        &self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &ListOffsetsRequest,
    ) {
        let asker = Asker {
            version: header.version,
            consumer: (request.replica_id.0 == CONSUMER_REPLICA)
                .then_some(request.isolation_level == READ_COMMITTED),
            needs_leader: request.replica_id.0 != DEBUGGING_REPLICA,
        };
        let mut topics: Vec<ListOffsetsTopicResponse> = Vec::new();
        for topic in &request.topics {
            for asked in &topic.partitions {
                let named = count_named(request, &topic.name, asked.partition_index);
                let answered = topics.iter().any(|it| {
                    it.name == topic.name
                        && (it.partitions.iter())
                            .any(|it| it.partition_index == asked.partition_index)
                });
                if answered {
                    continue;
                }
                let found = if 1 < named {
                    Err(ResponseError::InvalidRequest)
                } else if is_unsupported(asked.timestamp, header.version) {
                    Err(ResponseError::UnsupportedVersion)
                } else {
                    self.find_offset(cx, image, asker, (&topic.name, asked))
                };
                let answer = offset_answer(asked.partition_index, header.version, found);
                match topics.iter_mut().find(|it| it.name == topic.name) {
                    Some(topic) => topic.partitions.push(answer),
                    None => topics.push(
                        ListOffsetsTopicResponse::default()
                            .with_name(topic.name.clone())
                            .with_partitions(vec![answer]),
                    ),
                }
            }
        }
        let response = ListOffsetsResponse::default().with_topics(topics);
        let response = ResponseKind::ListOffsets(response);
        cx.effects.reply(conn, header.correlation_id, response);
    }

    /// Finds the offset of a timestamp; `None` if no record that may be seen has one.
    fn find_offset(
        &self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        asker: Asker,
        (topic, asked): (&TopicName, &ListOffsetsPartition),
    ) -> Result<Option<TimestampAndOffset>, ResponseError> {
        let topic = TopicKey::Name(topic.clone());
        let id = resolve(image, &topic, asked.partition_index)?;
        let partition = self.hosted.get(&id);
        let partition = partition.ok_or_else(|| not_hosted(image, id))?;
        let epoch = asked.current_leader_epoch;
        let epoch = (0 <= epoch).then_some(LeaderEpoch(epoch));
        if asker.needs_leader {
            partition.check_leader(epoch)?;
        } else {
            partition.check_epoch(epoch)?;
        }
        let visible = asker.visible_end(partition);
        match asked.timestamp {
            timestamps::LATEST => {
                asker.check_high_watermark(partition)?;
                note_latest(cx, partition, asker, visible);
                Ok(Some(TimestampAndOffset {
                    timestamp: NO_TIMESTAMP,
                    offset: visible,
                    epoch: Some(partition.leader_epoch()),
                }))
            }
            timestamps::EARLIEST | timestamps::EARLIEST_LOCAL => {
                Ok(partition.log.offset_for_timestamp(cx.disk, asked.timestamp))
            }
            timestamp => {
                let found = partition.log.offset_for_timestamp(cx.disk, timestamp);
                let found = found.filter(|it| it.offset < visible);
                if found.is_none() {
                    asker.check_high_watermark(partition)?;
                }
                Ok(found)
            }
        }
    }

    /// Handles an OffsetForLeaderEpoch request.
    pub(super) fn on_offset_for_leader_epoch(
        &self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &OffsetForLeaderEpochRequest,
    ) {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let answers = topic.partitions.iter().map(|asked| {
                let answer = EpochEndOffset::default().with_partition(asked.partition);
                match self.find_epoch_end(cx, image, (&topic.topic, asked)) {
                    Err(error) => answer
                        .with_error_code(error.code())
                        .with_leader_epoch(LeaderEpoch::NONE.0)
                        .with_end_offset(Offset::UNKNOWN.0),
                    Ok((epoch, end)) => answer.with_leader_epoch(epoch.0).with_end_offset(end.0),
                }
            });
            topics.push(
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partitions(answers.collect()),
            );
        }
        let response = OffsetForLeaderEpochResponse::default().with_topics(topics);
        let response = ResponseKind::OffsetForLeaderEpoch(response);
        cx.effects.reply(conn, header.correlation_id, response);
    }

    fn find_epoch_end(
        &self,
        cx: &Context<'_>,
        image: &MetadataImage,
        (topic, asked): (&TopicName, &OffsetForLeaderPartition),
    ) -> Result<(LeaderEpoch, Offset), ResponseError> {
        let topic = TopicKey::Name(topic.clone());
        let id = resolve(image, &topic, asked.partition)?;
        let partition = self.hosted.get(&id);
        let partition = partition.ok_or_else(|| not_hosted(image, id))?;
        let known = asked.current_leader_epoch;
        partition.check_leader((0 <= known).then_some(LeaderEpoch(known)))?;
        let end = partition.end_offset_for(cx, LeaderEpoch(asked.leader_epoch));
        Ok(end.unwrap_or((LeaderEpoch::NONE, Offset::UNKNOWN)))
    }
}

impl Asker {
    /// What he sees ends here.
    fn visible_end(self, partition: &Partition) -> Offset {
        match self.consumer {
            None => partition.log.log_end(),
            Some(false) => partition.log.high_watermark(),
            Some(true) => partition.log.last_stable(),
        }
    }

    /// A new leader's high watermark may lie behind what was once told: until it has reached the
    /// start of the epoch, consumers are told nothing that depends on it (KIP-207).
    fn check_high_watermark(self, partition: &Partition) -> Result<(), ResponseError> {
        let behind = partition
            .epoch_start()
            .is_some_and(|start| partition.log.high_watermark() < start);
        if self.consumer.is_none() || !behind {
            return Ok(());
        }
        Err(if OFFSET_NOT_AVAILABLE_VERSION_MIN <= self.version {
            ResponseError::OffsetNotAvailable
        } else {
            ResponseError::LeaderNotAvailable
        })
    }
}

fn note_latest(cx: &mut Context<'_>, partition: &Partition, asker: Asker, offset: Offset) {
    if let (Some(committed), Some(epoch_start)) = (asker.consumer, partition.epoch_start()) {
        cx.effects.note(Note::LatestServed {
            partition: partition.id,
            leader_epoch: partition.leader_epoch(),
            offset,
            epoch_start,
            committed,
        });
    }
}

fn offset_answer(
    partition: i32,
    version: i16,
    found: Result<Option<TimestampAndOffset>, ResponseError>,
) -> ListOffsetsPartitionResponse {
    let error = found.as_ref().err().map_or(0, |it| it.code());
    let found = found.ok().flatten();
    let epoch = found.and_then(|it| it.epoch).unwrap_or(LeaderEpoch::NONE);
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(partition)
        .with_error_code(error)
        .with_timestamp(found.map_or(NO_TIMESTAMP, |it| it.timestamp))
        .with_offset(found.map_or(Offset::UNKNOWN, |it| it.offset).0);
    if LEADER_EPOCH_VERSION_MIN <= version {
        answer.with_leader_epoch(epoch.0)
    } else {
        answer
    }
}

/// How often a request names that partition.
fn count_named(request: &ListOffsetsRequest, topic: &TopicName, partition: i32) -> usize {
    let same = request.topics.iter().filter(|it| it.name == *topic);
    let named = same.flat_map(|it| &it.partitions);
    named.filter(|it| it.partition_index == partition).count()
}

/// Whether a special timestamp is not known in that version.
fn is_unsupported(timestamp: i64, version: i16) -> bool {
    let since = match timestamp {
        0.. => return false,
        timestamps::LATEST | timestamps::EARLIEST => 1,
        timestamps::MAX => 7,
        timestamps::EARLIEST_LOCAL => 8,
        timestamps::LATEST_TIERED => 9,
        timestamps::EARLIEST_PENDING_UPLOAD => 11,
        _ => return true,
    };
    version < since
}

/// `ListOffsetsRequest.CONSUMER_REPLICA_ID`
const CONSUMER_REPLICA: i32 = -1;

/// `ListOffsetsRequest.DEBUGGING_REPLICA_ID`
const DEBUGGING_REPLICA: i32 = -2;

/// `IsolationLevel.READ_COMMITTED`
const READ_COMMITTED: i8 = 1;

/// Since then a response says the epoch of the offset.
const LEADER_EPOCH_VERSION_MIN: i16 = 4;

/// Since then clients know OFFSET_NOT_AVAILABLE.
const OFFSET_NOT_AVAILABLE_VERSION_MIN: i16 = 5;
