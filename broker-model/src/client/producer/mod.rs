//! `KafkaProducer`: records in, outcomes out.
//!
//! A send waits in line until its topic's metadata and memory for it are there, at most
//! `max.block.ms`, as the calling thread does in Kafka; so the records of one application keep
//! their order. From there it is the accumulator's and the sender's.

mod accumulator;
mod answer;
mod batch;
#[cfg(test)]
mod fuzz;
mod partitioner;
mod sender;
#[cfg(test)]
mod tests;
mod txn_manager;

use std::collections::VecDeque;

pub use self::partitioner::partition_for_key;

use self::accumulator::Append;
use self::batch::Record;
use self::partitioner::StickyPartitioner;
use self::sender::Sender;
use super::alarm::Alarm;
use super::cluster::{Cluster, ClusterConfig, Happened};
use super::command::{ClientError, Command, Event, OpId, SendOutcome};
use super::network::Completion;
use super::token::Purpose;
use crate::bug::Bug;
use crate::config::ProducerConfig;
use crate::effect::Effects;
use crate::input::Input;
use crate::timer::Timer;
use crate::types::{Now, StrBytes, TopicIdPartition, Uuid};
use crate::wire::batch::BATCH_OVERHEAD;

/// A producer.
#[derive(Debug)]
pub struct Producer {
    config: ProducerConfig,
    cluster: Cluster,
    sender: Sender,
    partitioner: StickyPartitioner,
    /// Sends that could not be batched yet, first come first served.
    blocked: VecDeque<Blocked>,
    /// The timer of everything but metadata and connections.
    alarm: Alarm,
    phase: Phase,
    /// Kept for its allocation.
    happened: Vec<Happened>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    Closing { op: OpId },
    Closed,
}

#[derive(Debug)]
struct Blocked {
    topic: StrBytes,
    partition: Option<i32>,
    record: Record,
    deadline_ms: u64,
}

/// Why a send cannot be batched.
enum Refusal {
    /// Not yet: metadata is missing.
    NoMetadata,
    /// Not yet: memory is missing.
    NoMemory,
    /// Not ever.
    Error {
        partition: Option<TopicIdPartition>,
        error: ClientError,
    },
}

impl Producer {
    /// A producer that was not started yet.
    pub(super) fn new(config: ProducerConfig, cluster: ClusterConfig, bug: Option<Bug>) -> Self {
        Producer {
            cluster: Cluster::new(cluster),
            sender: Sender::new(config.clone(), bug),
            partitioner: StickyPartitioner::new(config.batch_size),
            config,
            blocked: VecDeque::new(),
            alarm: Alarm::new(Timer::ProducerSender),
            phase: Phase::Open,
            happened: Vec::new(),
        }
    }

    /// One thing that happened.
    pub(super) fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        self.sender.expire(now, effects);
        match input {
            Input::Command(command) => self.on_command(now, command, effects),
            Input::Fired(Timer::ProducerSender) => self.alarm.fired(),
            other => self.on_input(now, other, effects),
        }
        self.run(now, effects);
    }

    fn on_command(&mut self, now: Now, command: Command, effects: &mut Effects) {
        match command {
            Command::Send {
                op,
                topic,
                partition,
                key,
                value,
                headers,
            } => {
                let record = Record {
                    op,
                    timestamp_ms: now.wall_ms,
                    key,
                    value,
                    headers,
                };
                self.on_send(now, (topic, partition), record, effects);
            }
            Command::Close { op } => self.on_close(op, effects),
            // Other clients' and nodes' commands.
            Command::Assign { .. }
            | Command::Seek { .. }
            | Command::Poll { .. }
            | Command::EndOffsets { .. }
            | Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Commit { .. }
            | Command::Committed { .. }
            | Command::Position { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::CallbackDone { .. }
            | Command::EnforceRebalance
            | Command::Wakeup
            | Command::CreateTopic { .. }
            | Command::Group { .. }
            | Command::Shutdown
            | Command::MoveLeader { .. } => {}
        }
    }

    fn on_send(
        &mut self,
        now: Now,
        (topic, partition): (StrBytes, Option<i32>),
        record: Record,
        effects: &mut Effects,
    ) {
        if self.phase != Phase::Open {
            return never_sent(record.op, None, ClientError::Closed, effects);
        }
        self.blocked.push_back(Blocked {
            topic,
            partition,
            record,
            deadline_ms: now.mono_ms + self.config.max_block_ms,
        });
    }

    /// Takes no more sends; what is batched gets until its timeouts.
    fn on_close(&mut self, op: OpId, effects: &mut Effects) {
        if self.phase != Phase::Open {
            return effects.event(Event::Done {
                op,
                result: Err(ClientError::Closed),
            });
        }
        self.phase = Phase::Closing { op };
        self.sender.accumulator.closed = true;
        for blocked in self.blocked.drain(..) {
            never_sent(blocked.record.op, None, ClientError::Closed, effects);
        }
    }

    fn on_input(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let mut happened = std::mem::take(&mut self.happened);
        self.cluster.on_input(now, input, &mut happened, effects);
        for event in happened.drain(..) {
            match event {
                Happened::Completed(completion) => self.on_completed(now, completion, effects),
                Happened::MetadataUpdated | Happened::ConnectionChanged => {}
            }
        }
        self.happened = happened;
    }

    fn on_completed(&mut self, now: Now, completion: Completion, effects: &mut Effects) {
        let cluster = &mut self.cluster;
        match Purpose::of(completion.token).0 {
            Purpose::Produce => self.sender.on_produce(now, completion, cluster, effects),
            Purpose::InitProducerId => self.sender.on_init_producer_id(now, completion, cluster),
            Purpose::Metadata
            | Purpose::Fetch
            | Purpose::ListOffsets
            | Purpose::EpochEnds
            | Purpose::CreateTopic
            | Purpose::GroupCall
            | Purpose::FindCoordinator
            | Purpose::JoinGroup
            | Purpose::SyncGroup
            | Purpose::Heartbeat
            | Purpose::LeaveGroup
            | Purpose::GroupHeartbeat
            | Purpose::OffsetCommit
            | Purpose::OffsetFetch => {}
        }
    }

    /// Does whatever can be done now, and sees to being called when more can.
    fn run(&mut self, now: Now, effects: &mut Effects) {
        if self.phase == Phase::Closed {
            return;
        }
        self.sender.tend(now, &mut self.cluster, effects);
        self.admit(now, effects);
        self.sender.send(now, &mut self.cluster, effects);
        if let Phase::Closing { op } = self.phase
            && self.sender.is_idle()
        {
            self.phase = Phase::Closed;
            self.cluster.close(effects);
            self.alarm.cancel(effects);
            let result = Ok(());
            return effects.event(Event::Done { op, result });
        }
        self.cluster.maybe_update(now, effects);
        self.sender.arm(now, &mut self.alarm, effects);
        if let Some(first) = self.blocked.front() {
            self.alarm.set(now, first.deadline_ms, effects);
        }
    }

    /// Batches the sends in line as far as metadata and memory go.
    fn admit(&mut self, now: Now, effects: &mut Effects) {
        self.sender.accumulator.exhausted = false;
        while let Some(blocked) = self.blocked.front() {
            let (op, timed_out) = (blocked.record.op, blocked.deadline_ms <= now.mono_ms);
            let (partition, error) = match self.batch_first(now) {
                Ok(()) => {
                    self.blocked.pop_front();
                    continue;
                }
                Err(Refusal::NoMetadata) if timed_out => (None, ClientError::TimedOut),
                Err(Refusal::NoMemory) if timed_out => (None, ClientError::BufferExhausted),
                Err(Refusal::NoMetadata) => return,
                Err(Refusal::NoMemory) => {
                    self.sender.accumulator.exhausted = true;
                    return;
                }
                Err(Refusal::Error { partition, error }) => (partition, error),
            };
            self.blocked.pop_front();
            never_sent(op, partition, error, effects);
        }
    }

    /// Batches the first send in line (`KafkaProducer.doSend`).
    fn batch_first(&mut self, now: Now) -> Result<(), Refusal> {
        let blocked = self.blocked.front().expect("called with one in line");
        let metadata = &mut self.cluster.metadata;
        metadata.want(&blocked.topic);
        if let Some(error) = self.sender.fatal_error() {
            let partition = None;
            return Err(Refusal::Error { partition, error });
        }
        if let Some(error) = metadata.fatal_error(&blocked.topic) {
            let (partition, error) = (None, ClientError::Broker(error));
            return Err(Refusal::Error { partition, error });
        }
        let Some(topic) = metadata.topic_id(&blocked.topic) else {
            metadata.request_update();
            return Err(Refusal::NoMetadata);
        };
        let partition = self.choose_partition(topic)?;
        let blocked = self.blocked.front().expect("still in line");
        let size = BATCH_OVERHEAD + blocked.record.size_max();
        if self.config.max_request_size.min(self.config.buffer_memory) < size {
            let (partition, error) = (Some(partition), ClientError::RecordTooLarge);
            return Err(Refusal::Error { partition, error });
        }
        let accumulator = &mut self.sender.accumulator;
        match accumulator.append(now, partition, &blocked.record) {
            Append::NoMemory => Err(Refusal::NoMemory),
            Append::Done {
                bytes,
                batches_full,
            } => {
                let keyed = blocked.record.key.is_some() && !self.config.partitioner_ignore_keys;
                if blocked.partition.is_none() && !keyed {
                    let (metadata, ids) = (&self.cluster.metadata, &mut self.cluster.ids);
                    let sticky = &mut self.partitioner;
                    sticky.appended(topic, bytes, batches_full, metadata, ids);
                }
                Ok(())
            }
        }
    }

    fn choose_partition(&mut self, topic: Uuid) -> Result<TopicIdPartition, Refusal> {
        let blocked = self.blocked.front().expect("called with one in line");
        let metadata = &mut self.cluster.metadata;
        let count = metadata.partition_count(topic);
        let keyed = !self.config.partitioner_ignore_keys;
        let partition = match (blocked.partition, &blocked.record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) if keyed => partition_for_key(key, count),
            (None, _) => {
                let ids = &mut self.cluster.ids;
                self.partitioner.current(topic, metadata, ids)
            }
        };
        let exists = usize::try_from(partition).is_ok_and(|partition| partition < count);
        if !exists {
            metadata.request_update();
            return Err(Refusal::NoMetadata);
        }
        Ok(TopicIdPartition { topic, partition })
    }
}

/// Ends a send that never got into a batch.
fn never_sent(
    op: OpId,
    partition: Option<TopicIdPartition>,
    error: ClientError,
    effects: &mut Effects,
) {
    let outcome = SendOutcome::Failed {
        partition,
        error,
        attempts: 0,
        definite: true,
        identity: None,
        renumbered: false,
    };
    effects.event(Event::Sent { op, outcome });
}
