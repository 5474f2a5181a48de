//! DeleteRecords: move the log start, and wait until the followers' logs start there too.
//!
//! Mirrors `ReplicaManager.deleteRecords` and `DelayedDeleteRecords`. Followers learn the log start
//! from the leader's answer to their fetches, and tell theirs with the next one.

use kafka_protocol::messages::delete_records_request::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{ResponseKind, TopicName};

use super::cluster::Cluster;
use super::manager::{Hosted, ReplicaManager, is_internal, not_hosted, resolve};
use super::purgatory::Operation;
use super::sessions::TopicKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::metadata::MetadataImage;
use crate::types::{ConnectionId, Offset, ResponseError, TopicIdPartition};

/// A deletion that waits for the followers.
#[derive(Debug)]
pub(super) struct DelayedDeleteRecords {
    conn: ConnectionId,
    correlation_id: i32,
    answers: Vec<Answer>,
}

#[derive(Debug)]
struct Answer {
    topic: TopicName,
    index: i32,
    /// The partition and the log start that is waited for.
    waits_for: Option<(TopicIdPartition, Offset)>,
    /// The low watermark, or what went wrong.
    result: Result<Offset, ResponseError>,
}

impl ReplicaManager {
    /// Handles a DeleteRecords request.
    pub(super) fn on_delete_records(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &DeleteRecordsRequest,
    ) {
        let mut answers: Vec<Answer> = Vec::new();
        for topic in &request.topics {
            for asked in &topic.partitions {
                let index = asked.partition_index;
                let deleted = self.delete(cx, image, (&topic.name, index), Offset(asked.offset));
                // Named twice, a partition is answered once.
                answers.retain(|it| it.index != index || it.topic != topic.name);
                answers.push(Answer {
                    topic: topic.name.clone(),
                    index,
                    waits_for: deleted.ok(),
                    result: deleted.map(|(_, to)| to),
                });
            }
        }
        let mut delete = DelayedDeleteRecords {
            conn,
            correlation_id: header.correlation_id,
            answers,
        };
        if delete.try_complete(image, &self.hosted, &self.around.cluster) {
            return reply_delete(cx, delete);
        }
        let wait_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
        let waiting = delete.answers.iter().filter_map(|it| it.waits_for);
        let watched = waiting.map(|(id, _)| id).collect();
        let operation = Operation::DeleteRecords(delete);
        self.purgatory.park(cx, conn, wait_ms, watched, operation);
    }

    /// Moves the log start. Returns where every replica's log has to start now.
    fn delete(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (topic, index): (&TopicName, i32),
        to: Offset,
    ) -> Result<(TopicIdPartition, Offset), ResponseError> {
        let id = resolve(image, &TopicKey::Name(topic.clone()), index)?;
        if is_internal(topic) {
            return Err(ResponseError::InvalidTopicException);
        }
        let partition = self.hosted.get_mut(&id);
        let partition = partition.ok_or_else(|| not_hosted(image, id))?;
        partition.check_leader(None)?;
        let policy = partition.config.cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(ResponseError::PolicyViolation);
        }
        let required = match to {
            Offset::UNKNOWN => partition.log.high_watermark(),
            to => to,
        };
        partition.log.delete_records(cx, required)?;
        Ok((id, required))
    }
}

impl DelayedDeleteRecords {
    /// Looks at every partition that is waited for. Returns whether none is left.
    pub(super) fn try_complete(
        &mut self,
        image: &MetadataImage,
        hosted: &Hosted,
        cluster: &Cluster,
    ) -> bool {
        for answer in &mut self.answers {
            let Some((id, required)) = answer.waits_for else {
                continue;
            };
            let result = match hosted.get(&id) {
                None => Err(not_hosted(image, id)),
                Some(it) if !it.is_leader() => Err(ResponseError::NotLeaderOrFollower),
                Some(it) => Ok(it.low_watermark(cluster)),
            };
            if result.is_ok_and(|low_watermark| low_watermark < required) {
                continue;
            }
            answer.waits_for = None;
            answer.result = result;
        }
        self.answers.iter().all(|it| it.waits_for.is_none())
    }

    /// It has waited long enough: what the followers have not done is REQUEST_TIMED_OUT.
    pub(super) fn expire(&mut self) {
        for answer in &mut self.answers {
            if answer.waits_for.take().is_some() {
                answer.result = Err(ResponseError::RequestTimedOut);
            }
        }
    }
}

/// Answers a deletion.
pub(super) fn reply_delete(cx: &mut Context<'_>, delete: DelayedDeleteRecords) {
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for answer in delete.answers {
        let low_watermark = answer.result.unwrap_or(Offset::UNKNOWN);
        let data = DeleteRecordsPartitionResult::default()
            .with_partition_index(answer.index)
            .with_low_watermark(low_watermark.0)
            .with_error_code(answer.result.err().map_or(0, |it| it.code()));
        match topics.iter_mut().find(|it| it.name == answer.topic) {
            Some(topic) => topic.partitions.push(data),
            None => topics.push(
                DeleteRecordsTopicResult::default()
                    .with_name(answer.topic)
                    .with_partitions(vec![data]),
            ),
        }
    }
    let response = DeleteRecordsResponse::default().with_topics(topics);
    let response = ResponseKind::DeleteRecords(response);
    cx.effects
        .reply(delete.conn, delete.correlation_id, response);
}
