//! Produce: append a batch to each partition, answer at once or when it is replicated.
//!
//! Mirrors `KafkaApis.handleProduceRequest`, `ReplicaManager.appendToLocalLog` and
//! `DelayedProduce`. Whether a batch is well formed is checked in
//! [`validate`](crate::wire::validate), whether it is the producer's next one in the log.

use bytes::Bytes;
use kafka_protocol::messages::produce_request::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ResponseKind};

use super::manager::{Hosted, ReplicaManager, is_internal, not_hosted, resolve};
use super::partition::{Partition, Replicated};
use super::purgatory::{News, Operation};
use super::sessions::TopicKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::log::AppendInfo;
use crate::metadata::MetadataImage;
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{ConnectionId, LeaderEpoch, Offset, ResponseError, StrBytes, TopicIdPartition};
use crate::wire::batch::{BatchHeader, NO_TIMESTAMP};
use crate::wire::validate::{Rejected, check_request_records, validate_produce};

/// A produce that waits for replication.
#[derive(Debug)]
pub(super) struct DelayedProduce {
    reply: ProduceReply,
    answers: Vec<Answer>,
}

/// How to answer.
#[derive(Clone, Copy, Debug)]
struct ProduceReply {
    conn: ConnectionId,
    correlation_id: i32,
    version: i16,
    acks: i16,
}

/// What is answered for one partition.
#[derive(Clone, Debug)]
struct Answer {
    topic: TopicKey,
    index: i32,
    /// `None` where there is no such partition.
    partition: Option<TopicIdPartition>,
    result: Result<Appended, Refusal>,
    /// Set while replication is waited for.
    waits_for: Option<Offset>,
    /// What replication came to.
    replicated: Result<(), ResponseError>,
}

/// A batch that is in the log.
#[derive(Clone, Copy, Debug)]
struct Appended {
    leader_epoch: LeaderEpoch,
    info: AppendInfo,
    log_start: Offset,
}

/// A batch that is not.
#[derive(Clone, Debug)]
struct Refusal {
    error: ResponseError,
    /// -1 where Kafka does not look at the log.
    log_start: Offset,
    message: Option<StrBytes>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl ReplicaManager {
    /// Handles a Produce request.
    pub(super) fn on_produce(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (conn, header): (ConnectionId, &RequestHeader),
        request: &ProduceRequest,
    ) {
        let reply = ProduceReply {
            conn,
            correlation_id: header.correlation_id,
            version: header.version,
            acks: request.acks,
        };
        let mut answers = Vec::new();
        let unnamed_transaction = request.transactional_id.is_none() && has_transaction(request);
        for (topic, index, records) in entries(header.version, request) {
            let partition = resolve(image, &topic, index);
            let result = match partition {
                _ if unnamed_transaction => {
                    Err(ResponseError::TransactionalIdAuthorizationFailed.into())
                }
                Err(error) => Err(error.into()),
                Ok(id) => self.append(cx, image, (header, request.acks), (id, records)),
            };
            let partition = partition.ok();
            let waits_for = match &result {
                Ok(appended) if request.acks == ACKS_ALL => Some(appended.info.last.next()),
                Ok(_) | Err(_) => None,
            };
            let answer = Answer {
                topic,
                index,
                partition,
                result,
                waits_for,
                replicated: Ok(()),
            };
            if waits_for.is_none() {
                answer.note(cx, request.acks, &self.hosted);
            }
            answers.push(answer);
        }
        let mut produce = DelayedProduce { reply, answers };
        if produce.try_complete(cx, image, &self.hosted) {
            return self.reply_produce(cx, image, produce);
        }
        let wait_ms = u64::try_from(request.timeout_ms).unwrap_or(0);
        let waiting = produce.answers.iter().filter(|it| it.waits_for.is_some());
        let watched = waiting.filter_map(|it| it.partition).collect();
        let operation = Operation::Produce(produce);
        self.purgatory.park(cx, conn, wait_ms, watched, operation);
    }

    /// Answers a produce: with acks=0 by closing the connection if anything failed.
    pub(super) fn reply_produce(
        &self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        produce: DelayedProduce,
    ) {
        let ProduceReply {
            conn,
            correlation_id,
            version,
            acks,
        } = produce.reply;
        if acks == 0 {
            let failed = produce.answers.iter().any(|it| it.error().is_some());
            return match failed {
                true => cx.effects.close(conn),
                false => cx.effects.done(conn),
            };
        }
        let mut response = ProduceResponse::default();
        for mut answer in produce.answers {
            let mut data = answer.response();
            if CURRENT_LEADER_VERSION_MIN <= version
                && answer.error() == Some(ResponseError::NotLeaderOrFollower)
                && let Some(id) = answer.partition
            {
                let (leader, epoch) = self.current_leader(image, id);
                data.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader.0))
                    .with_leader_epoch(epoch.0);
                let known = &mut response.node_endpoints;
                let is_new = known.iter().all(|it| it.node_id.0 != leader.0);
                if let Some(to) = self
                    .around
                    .cluster
                    .alive_endpoint(leader)
                    .filter(|_| is_new)
                {
                    known.push(
                        NodeEndpoint::default()
                            .with_node_id(BrokerId(leader.0))
                            .with_host(to.host.clone())
                            .with_port(i32::from(to.port)),
                    );
                }
            }
            let (name, id) = answer.topic.into_parts();
            let mut topics = response.responses.iter_mut();
            match topics.find(|it| it.name == name && it.topic_id == id) {
                Some(topic) => topic.partition_responses.push(data),
                None => response.responses.push(
                    TopicProduceResponse::default()
                        .with_name(name)
                        .with_topic_id(id)
                        .with_partition_responses(vec![data]),
                ),
            }
        }
        let response = ResponseKind::Produce(response);
        cx.effects.reply(conn, correlation_id, response);
    }

    /// Appends the batch of one partition.
    fn append(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        (header, acks): (&RequestHeader, i16),
        (id, records): (TopicIdPartition, &Bytes),
    ) -> Result<Appended, Refusal> {
        check_request_records(header.version, records)
            .map_err(|it| Refusal::of(it, Offset::UNKNOWN))?;
        if !(ACKS_ALL..=1).contains(&acks) {
            return Err(ResponseError::InvalidRequiredAcks.into());
        }
        let topic = image.topic(id.topic).expect("the partition was resolved");
        if is_internal(&topic.name) && *header.client_id != *INTERNAL_CLIENT_ID {
            return Err(ResponseError::InvalidTopicException.into());
        }
        let partition = self.hosted.get_mut(&id).filter(|it| it.is_leader());
        let Some(partition) = partition else {
            return Err(ResponseError::NotLeaderOrFollower.into());
        };
        let log_start = partition.log.log_start();
        if acks == ACKS_ALL && partition.isr().len() < partition.min_isr() {
            cx.effects.probe(Probe::NotEnoughReplicas);
            return Err(Refusal::at(ResponseError::NotEnoughReplicas, log_start));
        }
        let rules = partition.config.produce_rules();
        let validated = validate_produce(records, &rules, cx.now.wall_ms)
            .map_err(|it| Refusal::of(it, log_start))?;
        let leader_epoch = partition.leader_epoch();
        let info = partition
            .log
            .append_as_leader(cx, records, &validated, leader_epoch)
            .map_err(|error| Refusal::at(error, log_start))?;
        if !info.duplicate {
            let moved = partition.maybe_increment_high_watermark(cx, &self.around);
            let news = if moved {
                News::Watermarks
            } else {
                News::LogEnd
            };
            self.touched.add(id, news);
        }
        Ok(Appended {
            leader_epoch,
            info,
            log_start,
        })
    }
}

impl DelayedProduce {
    /// Looks at every partition that is waited for. Returns whether none is left.
    pub(super) fn try_complete(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        hosted: &Hosted,
    ) -> bool {
        let mut complete = true;
        for answer in &mut self.answers {
            let (Some(required), Some(id)) = (answer.waits_for, answer.partition) else {
                continue;
            };
            let replicated = match hosted.get(&id) {
                Some(partition) => partition.check_replicated(required),
                None => Replicated::Done(Err(not_hosted(image, id))),
            };
            match replicated {
                Replicated::Waiting => complete = false,
                Replicated::Done(result) => {
                    answer.waits_for = None;
                    answer.replicated = result;
                    probe_replicated(cx, result);
                    answer.note(cx, self.reply.acks, hosted);
                }
            }
        }
        complete
    }

    /// It has waited long enough: what is not replicated is REQUEST_TIMED_OUT.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>, hosted: &Hosted) {
        for answer in &mut self.answers {
            if answer.waits_for.take().is_some() {
                answer.replicated = Err(ResponseError::RequestTimedOut);
                answer.note(cx, self.reply.acks, hosted);
            }
        }
    }
}

impl Answer {
    fn error(&self) -> Option<ResponseError> {
        match &self.result {
            Err(refusal) => Some(refusal.error),
            Ok(_) => self.replicated.err(),
        }
    }

    /// Tells the judge what was decided.
    fn note(&self, cx: &mut Context<'_>, acks: i16, hosted: &Hosted) {
        let Some(id) = self.partition else {
            return;
        };
        let partition = hosted.get(&id);
        let appended = self.result.as_ref().ok();
        let current_epoch = partition.map_or(LeaderEpoch::NONE, Partition::leader_epoch);
        cx.effects.note(Note::ProduceAnswered {
            partition: id,
            leader_epoch: appended.map_or(current_epoch, |it| it.leader_epoch),
            acks,
            base: appended.map_or(Offset::UNKNOWN, |it| it.info.base),
            last: appended.map_or(Offset::UNKNOWN, |it| it.info.last),
            error: self.error(),
            isr: partition.map_or(0, |it| it.isr().len()),
            min_isr: partition.map_or(0, Partition::min_isr),
        });
    }

    fn response(&mut self) -> PartitionProduceResponse {
        let data = PartitionProduceResponse::default()
            .with_index(self.index)
            .with_error_code(self.error().map_or(0, |it| it.code()));
        match &mut self.result {
            Ok(appended) => data
                .with_base_offset(appended.info.base.0)
                .with_log_append_time_ms(appended.info.log_append_time_ms)
                .with_log_start_offset(appended.log_start.0),
            Err(refusal) => data
                .with_base_offset(Offset::UNKNOWN.0)
                .with_log_append_time_ms(NO_TIMESTAMP)
                .with_log_start_offset(refusal.log_start.0)
                .with_error_message(refusal.message.take())
                .with_record_errors(std::mem::take(&mut refusal.records)),
        }
    }
}

impl Refusal {
    fn at(error: ResponseError, log_start: Offset) -> Self {
        Refusal {
            error,
            log_start,
            message: None,
            records: Vec::new(),
        }
    }

    /// A batch that is not well formed, for a log that starts there.
    fn of(rejected: Rejected, log_start: Offset) -> Self {
        let records = rejected.record_errors.into_iter().map(|record| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(record.batch_index)
                .with_batch_index_error_message(Some(StrBytes::from_string(record.message)))
        });
        Refusal {
            error: rejected.error,
            log_start: if rejected.log_start_offset_told {
                log_start
            } else {
                Offset::UNKNOWN
            },
            message: rejected.message.map(StrBytes::from_string),
            records: records.collect(),
        }
    }
}

impl From<ResponseError> for Refusal {
    /// An error for which Kafka does not look at the log.
    fn from(error: ResponseError) -> Self {
        Refusal::at(error, Offset::UNKNOWN)
    }
}

/// The batches of a request, each with its partition; named twice, the last one counts.
fn entries(version: i16, request: &ProduceRequest) -> Vec<(TopicKey, i32, &Bytes)> {
    static NOTHING: Bytes = Bytes::new();
    let mut all: Vec<(TopicKey, i32, &Bytes)> = Vec::new();
    for topic in &request.topic_data {
        let key = TopicKey::of(version, &topic.name, topic.topic_id);
        for data in &topic.partition_data {
            let records = data.records.as_ref().unwrap_or(&NOTHING);
            let same = |it: &&mut (TopicKey, i32, &Bytes)| it.1 == data.index && it.0 == key;
            match all.iter_mut().find(same) {
                Some(before) => before.2 = records,
                None => all.push((key.clone(), data.index, records)),
            }
        }
    }
    all
}

/// Whether any batch belongs to a transaction.
fn has_transaction(request: &ProduceRequest) -> bool {
    let data = request.topic_data.iter().flat_map(|it| &it.partition_data);
    let mut records = data.filter_map(|it| it.records.as_ref());
    records
        .any(|it| BatchHeader::parse(it).is_ok_and(|header| header.attributes.is_transactional()))
}

fn probe_replicated(cx: &mut Context<'_>, result: Result<(), ResponseError>) {
    match result {
        Err(ResponseError::NotEnoughReplicasAfterAppend) => {
            cx.effects.probe(Probe::NotEnoughReplicasAfterAppend);
        }
        Err(_) => cx.effects.probe(Probe::DelayedProduceDemoted),
        Ok(()) => {}
    }
}

/// acks=all.
const ACKS_ALL: i16 = -1;

/// The client id that may write to internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const INTERNAL_CLIENT_ID: &str = "__admin_client";

/// Since then a response says who leads instead (KIP-951).
const CURRENT_LEADER_VERSION_MIN: i16 = 10;
