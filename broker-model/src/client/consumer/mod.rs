//! `KafkaConsumer`, in assign mode: positions, fetches, polls.
//!
//! Fetches are sent while a poll waits and when one returns, as in Kafka, so a consumer whose
//! application does not poll asks for nothing. Calls that wait end at their timeouts whatever the
//! cluster does.

mod completed_fetch;
mod fetcher;
#[cfg(test)]
mod fuzz;
mod lookups;
mod positions;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::fetcher::Fetcher;
use self::lookups::Lookups;
use self::positions::Positions;
use super::alarm::Alarm;
use super::cluster::{Cluster, ClusterConfig, Happened};
use super::command::{ClientError, Command, Event, OpId, StartFrom};
use super::network::Completion;
use super::token::Purpose;
use crate::config::ConsumerConfig;
use crate::effect::Effects;
use crate::input::Input;
use crate::timer::Timer;
use crate::types::{Now, ResponseError, TopicPartition};

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    cluster: Cluster,
    positions: Positions,
    lookups: Lookups,
    fetcher: Fetcher,
    /// Polls that wait for records, oldest first.
    polls: VecDeque<Poll>,
    /// A poll returned in this step: what it used up is fetched ahead.
    polled: bool,
    /// The timer of everything but metadata and connections.
    alarm: Alarm,
    closed: bool,
    /// Kept for its allocation.
    happened: Vec<Happened>,
}

#[derive(Debug)]
struct Poll {
    op: OpId,
    deadline_ms: u64,
}

impl Consumer {
    /// A consumer that was not started yet.
    pub(super) fn new(config: ConsumerConfig, cluster: ClusterConfig) -> Self {
        Consumer {
            cluster: Cluster::new(cluster),
            positions: Positions::new(&config.auto_offset_reset, config.retry_backoff_ms),
            lookups: Lookups::new(&config),
            fetcher: Fetcher::new(config),
            polls: VecDeque::new(),
            polled: false,
            alarm: Alarm::new(Timer::ConsumerFetch),
            closed: false,
            happened: Vec::new(),
        }
    }

    /// One thing that happened.
    pub(super) fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Command(command) if self.closed => refuse(command, effects),
            Input::Command(command) => self.on_command(now, command, effects),
            Input::Fired(Timer::ConsumerFetch) => self.alarm.fired(),
            other => self.on_input(now, other, effects),
        }
        self.run(now, effects);
    }

    fn on_command(&mut self, now: Now, command: Command, effects: &mut Effects) {
        match command {
            Command::Assign { partitions } => self.on_assign(partitions, effects),
            Command::Seek { partition, to } => {
                let metadata = &self.cluster.metadata;
                self.positions.seek(&partition, to, metadata, effects);
            }
            Command::Poll { op, timeout_ms } => self.polls.push_back(Poll {
                op,
                deadline_ms: now.mono_ms + timeout_ms,
            }),
            Command::EndOffsets { op, partitions } => {
                let metadata = &mut self.cluster.metadata;
                self.lookups.on_end_offsets(now, op, partitions, metadata);
            }
            Command::Close { op } => self.on_close(op, effects),
            // Other clients' and nodes' commands.
            Command::Send { .. }
            | Command::CreateTopic { .. }
            | Command::Shutdown
            | Command::MoveLeader { .. } => {}
        }
    }

    fn on_assign(&mut self, partitions: Vec<(TopicPartition, StartFrom)>, effects: &mut Effects) {
        for (partition, _) in &partitions {
            self.cluster.metadata.want(&partition.topic);
        }
        let metadata = &self.cluster.metadata;
        self.positions.assign(partitions, metadata, effects);
    }

    /// Ends what waits. Sessions are left to the brokers' eviction.
    fn on_close(&mut self, op: OpId, effects: &mut Effects) {
        self.closed = true;
        for poll in self.polls.drain(..) {
            let (op, parts) = (poll.op, Vec::new());
            effects.event(Event::Polled { op, parts });
        }
        self.lookups.abort(CLOSED, effects);
        self.cluster.close(effects);
        self.alarm.cancel(effects);
        let result = Ok(());
        effects.event(Event::Done { op, result });
    }

    fn on_input(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let mut happened = std::mem::take(&mut self.happened);
        self.cluster.on_input(now, input, &mut happened, effects);
        for event in happened.drain(..) {
            match event {
                Happened::Completed(completion) => self.on_completed(now, completion, effects),
                Happened::MetadataUpdated => {
                    let metadata = &self.cluster.metadata;
                    self.positions.resolve_topics(metadata, effects);
                    self.positions.on_leaders_changed(metadata);
                }
                Happened::ConnectionChanged => {}
            }
        }
        self.happened = happened;
    }

    fn on_completed(&mut self, now: Now, completion: Completion, effects: &mut Effects) {
        let (positions, cluster) = (&mut self.positions, &mut self.cluster);
        match Purpose::of(completion.token).0 {
            Purpose::Fetch => {
                self.fetcher
                    .on_fetch(now, completion, positions, cluster, effects);
            }
            Purpose::ListOffsets => {
                self.lookups
                    .on_list_offsets(now, completion, positions, cluster, effects);
            }
            Purpose::EpochEnds => {
                self.lookups
                    .on_epoch_ends(now, completion, positions, cluster, effects);
            }
            Purpose::Metadata
            | Purpose::InitProducerId
            | Purpose::Produce
            | Purpose::CreateTopic => {}
        }
    }

    /// Does whatever can be done now, and sees to being called when more can.
    fn run(&mut self, now: Now, effects: &mut Effects) {
        if self.closed {
            return;
        }
        let (positions, cluster) = (&mut self.positions, &mut self.cluster);
        self.lookups.run(now, positions, cluster, effects);
        self.end_polls(now, effects);
        if self.polled || !self.polls.is_empty() {
            self.polled = false;
            let cluster = &mut self.cluster;
            self.fetcher
                .send_fetches(now, &self.positions, cluster, effects);
        }
        self.cluster.maybe_update(now, effects);
        let deadlines = [
            self.polls.iter().map(|poll| poll.deadline_ms).min(),
            self.lookups.next_deadline_ms(now),
            self.positions.next_deadline_ms(now),
        ];
        if let Some(deadline_ms) = deadlines.into_iter().flatten().min() {
            self.alarm.set(now, deadline_ms, effects);
        }
    }

    /// Answers the polls for which there are records, or no more time.
    fn end_polls(&mut self, now: Now, effects: &mut Effects) {
        while let Some(poll) = self.polls.front() {
            let parts = self.fetcher.collect(now, &mut self.positions);
            if parts.is_empty() && now.mono_ms < poll.deadline_ms {
                break;
            }
            let op = poll.op;
            self.polls.pop_front();
            self.polled = true;
            effects.event(Event::Polled { op, parts });
        }
        // A later poll may be less patient than an earlier one.
        self.polls.retain(|poll| {
            let keep = now.mono_ms < poll.deadline_ms;
            if !keep {
                let (op, parts) = (poll.op, Vec::new());
                effects.event(Event::Polled { op, parts });
            }
            keep
        });
    }
}

/// A closed consumer ends every call at once.
fn refuse(command: Command, effects: &mut Effects) {
    match command {
        Command::Poll { op, .. } => {
            let parts = Vec::new();
            effects.event(Event::Polled { op, parts });
        }
        Command::EndOffsets { op, .. } => {
            let result = Err(CLOSED);
            effects.event(Event::Offsets { op, result });
        }
        Command::Close { op } => {
            let result = Err(ClientError::Closed);
            effects.event(Event::Done { op, result });
        }
        Command::Assign { .. }
        | Command::Seek { .. }
        | Command::Send { .. }
        | Command::CreateTopic { .. }
        | Command::Shutdown
        | Command::MoveLeader { .. } => {}
    }
}

/// How a lookup ends that the consumer was closed over; Kafka throws a WakeupException.
const CLOSED: ResponseError = ResponseError::NetworkException;
