//! Turns batches into requests and answers into outcomes.
//!
//! Mirrors Kafka's `Sender`: drains the accumulator node by node, keeps
//! `max.in.flight.requests.per.connection`, retries with back-off, expires what passed
//! `delivery.timeout.ms`, and asks for the producer id.
//!
//! It differs from Kafka's in when batches expire: also while it waits for the producer id, so that
//! every send ends in time; and always before an answer that comes too late is looked at. Kafka
//! looks at in-flight batches only up to the first that is not expired, so an answer may find an
//! expired batch behind it, fail it, and bump the epoch while younger batches are unanswered.
//! They may be in the log and would be written again.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    InitProducerIdRequest, ProduceRequest, RequestKind, ResponseKind, TopicName,
};

use super::accumulator::Accumulator;
use super::answer::{Answer, answers};
use super::batch::{BatchId, Identity};
use super::txn_manager::{SequenceAnswer, TransactionManager};
use crate::bug::Bug;
use crate::client::alarm::Alarm;
use crate::client::cluster::Cluster;
use crate::client::command::ClientError;
use crate::client::config::producer_backoff;
use crate::client::metadata::is_invalid_metadata;
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::config::ProducerConfig;
use crate::effect::Effects;
use crate::probe::Probe;
use crate::types::{
    NodeId, Now, Offset, ProducerEpoch, ProducerId, ResponseError, TopicIdPartition, Uuid,
};

/// The sending half of a producer.
#[derive(Debug)]
pub(super) struct Sender {
    config: ProducerConfig,
    /// What is to be sent.
    pub(super) accumulator: Accumulator,
    txn: Option<TransactionManager>,
    requests: BTreeMap<u64, Vec<BatchId>>,
    next_request: u64,
    /// Batches in flight by partition, in the order in which they were drained.
    in_flight: BTreeMap<TopicIdPartition, Vec<BatchId>>,
    init: InitProducerId,
}

/// The request for a producer id.
#[derive(Clone, Copy, Debug)]
enum InitProducerId {
    InFlight,
    NotBefore { ms: u64, failures: u32 },
}

impl Sender {
    /// Nothing to send yet.
    pub(super) fn new(config: ProducerConfig, bug: Option<Bug>) -> Self {
        let txn = config
            .enable_idempotence
            .then(|| TransactionManager::new(bug));
        Sender {
            accumulator: Accumulator::new(&config),
            config,
            txn,
            requests: BTreeMap::new(),
            next_request: 0,
            in_flight: BTreeMap::new(),
            init: InitProducerId::NotBefore { ms: 0, failures: 0 },
        }
    }

    /// Whether every batch ended, also those whose answer nobody waits for any more.
    pub(super) fn is_idle(&self) -> bool {
        self.accumulator.batches.is_empty()
    }

    /// Why nothing can be sent any more.
    pub(super) fn fatal_error(&self) -> Option<ClientError> {
        self.txn.as_ref().and_then(TransactionManager::fatal_error)
    }

    /// Everything that answers made due, but sending (`runOnce`).
    pub(super) fn tend(&mut self, now: Now, cluster: &mut Cluster, effects: &mut Effects) {
        if let Some(error) = self.fatal_error() {
            return self.abort(error, effects);
        }
        let Some(txn) = &mut self.txn else { return };
        txn.maybe_resolve_sequences();
        if let Some(rewritten) = txn.maybe_bump(&mut self.accumulator.batches) {
            effects.probe(Probe::ProducerEpochBumped);
            self.restore_sequence_order(&rewritten);
        }
        self.maybe_init_producer_id(now, cluster, effects);
    }

    /// Sends what may go (`sendProducerData`), request by request.
    pub(super) fn send(&mut self, now: Now, cluster: &mut Cluster, effects: &mut Effects) {
        let without_id = self.txn.as_ref().is_some_and(|txn| !txn.has_identity());
        if without_id || self.fatal_error().is_some() {
            return;
        }
        let in_flight_max = self.config.max_in_flight_requests_per_connection;
        loop {
            let mut sent = false;
            for node in self.accumulator.ready(now, &mut cluster.metadata) {
                if !cluster.can_send(now, node, in_flight_max, effects) {
                    continue;
                }
                let txn = self.txn.as_mut();
                let drained = self.accumulator.drain(now, node, &cluster.metadata, txn);
                if !drained.is_empty() {
                    self.send_produce(now, node, drained, cluster, effects);
                    sent = true;
                }
            }
            if !sent {
                return;
            }
        }
    }

    /// Arms the producer's timer for the next moment at which something is due.
    pub(super) fn arm(&self, now: Now, alarm: &mut Alarm, effects: &mut Effects) {
        let queued = self.accumulator.next_deadline_ms(now);
        let delivery_timeout_ms = self.config.delivery_timeout_ms;
        let in_flight = self.in_flight.values().flatten().map(|&id| {
            let batch = self.accumulator.batches.get(id);
            batch.created_ms + delivery_timeout_ms
        });
        let init = match (&self.txn, self.init) {
            (Some(txn), InitProducerId::NotBefore { ms, .. })
                if !txn.has_identity() && txn.fatal_error().is_none() =>
            {
                Some(ms)
            }
            _ => None,
        };
        if let Some(deadline_ms) = in_flight.chain(queued).chain(init).min() {
            alarm.set(now, deadline_ms, effects);
        }
    }

    /// A request for the producer id ended (`InitProducerIdHandler`).
    pub(super) fn on_init_producer_id(
        &mut self,
        now: Now,
        completion: Completion,
        cluster: &mut Cluster,
    ) {
        let Some(txn) = &mut self.txn else { return };
        match identity(completion.result) {
            Ok(identity) => {
                self.init = InitProducerId::NotBefore { ms: 0, failures: 0 };
                let rewritten = txn.set_identity(identity, &mut self.accumulator.batches);
                self.restore_sequence_order(&rewritten);
            }
            Err(error) => {
                if !error.is_retriable() {
                    txn.fail(ClientError::Broker(error));
                }
                let (_, failures) = Purpose::of(completion.token);
                let failures = u32::try_from(failures).unwrap_or(u32::MAX);
                self.init = self.init_backoff(now, failures, cluster);
            }
        }
    }

    /// A produce request ended (`handleProduceResponse`).
    pub(super) fn on_produce(
        &mut self,
        now: Now,
        completion: Completion,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let (_, n) = Purpose::of(completion.token);
        let Some(batches) = self.requests.remove(&n) else {
            return;
        };
        let partitions: Vec<TopicIdPartition> = batches
            .iter()
            .map(|&id| self.accumulator.batches.get(id).partition)
            .collect();
        let answers = answers(&partitions, completion.result, &mut cluster.metadata);
        for (id, answer) in batches.into_iter().zip(answers) {
            self.on_answer(now, id, answer, cluster, effects);
        }
    }

    /// Acknowledges, retries, splits or fails a batch (`completeBatch`).
    fn on_answer(
        &mut self,
        now: Now,
        id: BatchId,
        answer: Answer,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let batch = self.accumulator.batches.get_mut(id);
        let partition = batch.partition;
        batch.in_flight = false;
        batch.uncertain |= !answer.definite;
        if let Some(batches) = self.in_flight.get_mut(&partition) {
            batches.retain(|other| *other != id);
        }
        match answer.error {
            None => self.complete(id, answer.base_offset, effects),
            Some(ResponseError::DuplicateSequenceNumber) if !self.can_retry(now, id, answer) => {
                // The broker has the batch but not its offset any more.
                self.complete(id, Offset::UNKNOWN, effects);
            }
            Some(ResponseError::MessageTooLarge) if self.is_divisible(id) => self.split(id),
            Some(_) if self.can_retry(now, id, answer) => self.reenqueue(now, id, cluster),
            Some(_) => {
                let retries = self.accumulator.batches.get(id).retries;
                let adjust = retries < self.config.retries.unsigned_abs();
                self.fail(id, answer.failure(), adjust, effects);
                self.accumulator.deallocate(id);
            }
        }
        if answer.error.is_some_and(is_invalid_metadata) {
            cluster.metadata.request_update();
        }
        if self.keeps_order() {
            self.accumulator.mute(partition, false);
        }
    }

    fn complete(&mut self, id: BatchId, base_offset: Offset, effects: &mut Effects) {
        if let Some(txn) = &mut self.txn {
            txn.on_completed(id, &self.accumulator.batches);
        }
        let batch = self.accumulator.batches.get_mut(id);
        if !batch.done {
            batch.acknowledge(base_offset, effects);
        }
        self.accumulator.deallocate(id);
    }

    /// Tells the application and the sequences, unless that happened when the batch expired.
    fn fail(&mut self, id: BatchId, error: ClientError, adjust: bool, effects: &mut Effects) {
        let batch = self.accumulator.batches.get_mut(id);
        if batch.done {
            return;
        }
        batch.fail(error, effects);
        if let Some(txn) = &mut self.txn {
            txn.on_failed(id, error, adjust, &self.accumulator.batches);
        }
    }

    fn can_retry(&mut self, now: Now, id: BatchId, answer: Answer) -> bool {
        let batch = self.accumulator.batches.get(id);
        let Some(error) = answer.error else {
            return false;
        };
        let exhausted = self.config.retries.unsigned_abs() <= batch.retries;
        if batch.done || exhausted || batch.is_expired(now, self.config.delivery_timeout_ms) {
            return false;
        }
        let Some(txn) = &mut self.txn else {
            return error.is_retriable();
        };
        let log_start = answer.log_start;
        let answer = SequenceAnswer { error, log_start };
        txn.can_retry(id, answer, &self.accumulator.batches)
    }

    fn reenqueue(&mut self, now: Now, id: BatchId, cluster: &mut Cluster) {
        let backoff = producer_backoff(&self.config);
        let batch = self.accumulator.batches.get_mut(id);
        let delay_ms = backoff.delay_ms(batch.retries, &mut cluster.ids);
        batch.reenqueued(now.mono_ms + delay_ms);
        self.accumulator.reenqueue(id);
    }

    fn is_divisible(&self, id: BatchId) -> bool {
        let batch = self.accumulator.batches.get(id);
        batch.record_count() > 1 && !batch.done
    }

    /// A batch that the broker finds too large goes on in smaller ones (`splitAndReenqueue`).
    fn split(&mut self, id: BatchId) {
        let batches = &mut self.accumulator.batches;
        let batch = batches.get_mut(id);
        let (partition, numbered) = (batch.partition, batch.numbered);
        let parts = batch.split(self.config.batch_size);
        if let Some(txn) = &mut self.txn {
            txn.untrack(partition, numbered, id);
        }
        self.accumulator.deallocate(id);
        for part in parts.into_iter().rev() {
            let numbered = part.numbered;
            let id = self.accumulator.batches.insert(part);
            if let (Some(txn), Some(numbered)) = (&mut self.txn, numbered) {
                txn.track(partition, numbered, id);
            }
            self.accumulator.reenqueue(id);
        }
    }

    /// Gives up what passed `delivery.timeout.ms`, queued or in flight.
    pub(super) fn expire(&mut self, now: Now, effects: &mut Effects) {
        for id in self.accumulator.take_expired(now) {
            self.fail_expired(id, effects);
            self.accumulator.deallocate(id);
        }
        let mut expired = Vec::new();
        let (batches, timeout_ms) = (&self.accumulator.batches, self.config.delivery_timeout_ms);
        for in_flight in self.in_flight.values_mut() {
            in_flight.retain(|&id| {
                let keep = !batches.get(id).is_expired(now, timeout_ms);
                if !keep {
                    expired.push(id);
                }
                keep
            });
        }
        for id in expired {
            self.fail_expired(id, effects);
        }
    }

    fn fail_expired(&mut self, id: BatchId, effects: &mut Effects) {
        self.fail(id, ClientError::TimedOut, false, effects);
        let batch = self.accumulator.batches.get(id);
        let (Some(txn), Some(last)) = (&mut self.txn, batch.last_sequence()) else {
            return;
        };
        if batch.in_retry() {
            txn.mark_unresolved(batch.partition, last);
        }
    }

    /// Gives up everything (`maybeAbortBatches`). Batches in flight are let go with their answers.
    fn abort(&mut self, error: ClientError, effects: &mut Effects) {
        for id in self.accumulator.take_all() {
            self.fail(id, error, false, effects);
            self.accumulator.deallocate(id);
        }
        for id in std::mem::take(&mut self.in_flight).into_values().flatten() {
            self.fail(id, error, false, effects);
        }
    }

    fn maybe_init_producer_id(&mut self, now: Now, cluster: &mut Cluster, effects: &mut Effects) {
        let has_identity = self
            .txn
            .as_ref()
            .is_none_or(TransactionManager::has_identity);
        let InitProducerId::NotBefore { ms, failures } = self.init else {
            return;
        };
        if has_identity || now.mono_ms < ms {
            return;
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX);
        let body = RequestKind::InitProducerId(request);
        let token = Purpose::InitProducerId.token(u64::from(failures));
        let timeout_ms = self.config.request_timeout_ms;
        self.init = if cluster.send_to_any(now, (token, body), timeout_ms, effects) {
            InitProducerId::InFlight
        } else {
            self.init_backoff(now, failures, cluster)
        };
    }

    fn init_backoff(&self, now: Now, failures: u32, cluster: &mut Cluster) -> InitProducerId {
        let delay_ms = producer_backoff(&self.config).delay_ms(failures, &mut cluster.ids);
        InitProducerId::NotBefore {
            ms: now.mono_ms + delay_ms,
            failures: failures.saturating_add(1),
        }
    }

    fn send_produce(
        &mut self,
        now: Now,
        node: NodeId,
        drained: Vec<BatchId>,
        cluster: &mut Cluster,
        effects: &mut Effects,
    ) {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        for &id in &drained {
            let batch = self.accumulator.batches.get_mut(id);
            let partition = batch.partition;
            let data = PartitionProduceData::default()
                .with_index(partition.partition)
                .with_records(Some(batch.send()));
            let topic = topics
                .iter_mut()
                .find(|topic| topic.topic_id == partition.topic);
            match topic {
                Some(topic) => topic.partition_data.push(data),
                None => topics.push(topic_data(partition.topic, data, cluster)),
            }
            if self.keeps_order() {
                self.accumulator.mute(partition, true);
            }
            self.in_flight.entry(partition).or_default().push(id);
        }
        let timeout_ms = self.config.request_timeout_ms;
        let request = ProduceRequest::default()
            .with_acks(self.config.acks.code())
            .with_timeout_ms(i32::try_from(timeout_ms).unwrap_or(i32::MAX))
            .with_topic_data(topics);
        let n = self.next_request;
        self.next_request += 1;
        let request = (Purpose::Produce.token(n), RequestKind::Produce(request));
        cluster.send(now, node, request, timeout_ms, effects);
        if self.config.acks.code() == 0 {
            // Nobody answers: written to the socket is all there is to know.
            for id in drained {
                self.on_answer(now, id, Answer::WRITTEN, cluster, effects);
            }
        } else {
            self.requests.insert(n, drained);
        }
    }

    fn restore_sequence_order(&mut self, partitions: &BTreeSet<TopicIdPartition>) {
        for &partition in partitions {
            self.accumulator.restore_sequence_order(partition);
        }
    }

    /// `guaranteeMessageOrder`: one request in flight keeps the order without sequences.
    fn keeps_order(&self) -> bool {
        self.config.max_in_flight_requests_per_connection == 1
    }
}

/// The producer id and epoch that an answer gives.
fn identity(result: Result<Box<ResponseKind>, NetworkError>) -> Result<Identity, ResponseError> {
    let body = result.map_err(|error| match error {
        NetworkError::NotSent | NetworkError::Disconnected | NetworkError::TimedOut => {
            ResponseError::NetworkException
        }
        NetworkError::UnsupportedVersion => ResponseError::UnsupportedVersion,
    })?;
    let ResponseKind::InitProducerId(answer) = *body else {
        return Err(ResponseError::UnknownServerError);
    };
    match ResponseError::try_from_code(answer.error_code) {
        Some(error) => Err(error),
        None => Ok(Identity {
            id: ProducerId(answer.producer_id.0),
            epoch: ProducerEpoch(answer.producer_epoch),
        }),
    }
}

fn topic_data(topic: Uuid, data: PartitionProduceData, cluster: &Cluster) -> TopicProduceData {
    let name = cluster.metadata.topic_name(topic).cloned();
    TopicProduceData::default()
        .with_name(TopicName(name.unwrap_or_default()))
        .with_topic_id(topic)
        .with_partition_data(vec![data])
}
