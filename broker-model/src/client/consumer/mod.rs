//! `KafkaConsumer`: positions, fetches, polls, and its group.
//!
//! Fetches are sent while a poll waits and when one returns, as in Kafka, so a consumer whose
//! application does not poll asks for nothing. Calls that wait end at their timeouts whatever the
//! cluster does.

mod completed_fetch;
mod fetcher;
#[cfg(test)]
mod fuzz;
mod group;
mod inquiries;
mod lookups;
mod positions;
mod session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::fetcher::Fetcher;
pub(crate) use self::group::shares_of_leader;
use self::group::{Env, Group};
use self::inquiries::Inquiries;
use self::lookups::Lookups;
use self::positions::Positions;
use super::alarm::Alarm;
use super::cluster::{Cluster, ClusterConfig, Happened};
use super::command::{ClientError, Command, CommitName, Event, GroupMember, OpId, StartFrom};
use super::network::Completion;
use super::token::Purpose;
use crate::bug::Bug;
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
    /// There with a `group.id`.
    group: Option<Box<Group>>,
    /// The next call that waits ends at once.
    wakeup: bool,
    /// Polls that wait for records, oldest first.
    polls: VecDeque<Poll>,
    inquiries: Inquiries,
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
    pub(super) fn new(config: ConsumerConfig, cluster: ClusterConfig, bug: Option<Bug>) -> Self {
        Consumer {
            cluster: Cluster::new(cluster),
            positions: Positions::new(
                config.auto_offset_reset,
                config.retry_backoff_ms,
                config.group_id.is_some(),
            ),
            lookups: Lookups::new(&config),
            inquiries: Inquiries::new(&config),
            group: Group::new(&config, bug).map(Box::new),
            wakeup: false,
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
            Input::Command(command) if self.closed => {
                refuse(command, ClientError::Closed, effects);
            }
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
            Command::Poll { op, .. } if self.is_leaving() => end_poll(op, effects),
            Command::Poll { op, timeout_ms } => self.polls.push_back(Poll {
                op,
                deadline_ms: now.mono_ms + timeout_ms,
            }),
            Command::EndOffsets { op, partitions } => {
                let metadata = &mut self.cluster.metadata;
                self.lookups.on_end_offsets(now, op, partitions, metadata);
            }
            Command::Position { op, partition } => self.inquiries.ask(now, op, partition),
            Command::Pause { partitions } => self.positions.pause(&partitions, true),
            Command::Resume { partitions } => self.positions.pause(&partitions, false),
            Command::Wakeup => self.wakeup = true,
            Command::Close { op } => self.on_close(now, op, effects),
            Command::Subscribe { .. }
            | Command::Unsubscribe { .. }
            | Command::Commit { .. }
            | Command::Committed { .. }
            | Command::CallbackDone { .. }
            | Command::EnforceRebalance => self.on_group_command(now, command, effects),
            // Other clients' and nodes' commands.
            Command::Send { .. }
            | Command::CreateTopic { .. }
            | Command::Group { .. }
            | Command::Shutdown
            | Command::MoveLeader { .. } => {}
        }
    }

    fn on_group_command(&mut self, now: Now, command: Command, effects: &mut Effects) {
        let Some(group) = &mut self.group else {
            return refuse(command, ClientError::NoGroup, effects);
        };
        let env = &mut Env {
            now,
            cluster: &mut self.cluster,
            positions: &mut self.positions,
            effects,
        };
        match command {
            Command::Subscribe { to } => group.subscribe(env, to),
            Command::Unsubscribe { op } => group.unsubscribe(env, op),
            Command::Commit { op, offsets, sync } => group.commit(env, op, offsets, sync),
            Command::Committed { op, partitions } => group.committed(env, op, partitions),
            Command::CallbackDone { callback } => group.on_callback_done(callback),
            Command::EnforceRebalance => group.enforce_rebalance(),
            other => unreachable!("{other:?} is no business of the group's"),
        }
    }

    fn is_leaving(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_leaving())
    }

    fn on_assign(&mut self, partitions: Vec<(TopicPartition, StartFrom)>, effects: &mut Effects) {
        let group = self.group.as_ref();
        assert!(
            !group.is_some_and(|group| group.is_subscribed()),
            "subscribe and assign exclude each other"
        );
        for (partition, _) in &partitions {
            self.cluster.metadata.want(&partition.topic);
        }
        let metadata = &self.cluster.metadata;
        self.positions.assign(partitions, metadata, effects);
    }

    /// Ends what waits. A member leaves its group before the consumer is closed.
    fn on_close(&mut self, now: Now, op: OpId, effects: &mut Effects) {
        for poll in self.polls.drain(..) {
            end_poll(poll.op, effects);
        }
        while self.inquiries.fail_first(ClientError::Closed, effects) {}
        self.lookups.abort(CLOSED, effects);
        let Some(group) = &mut self.group else {
            return self.shut(op, effects);
        };
        let env = Env {
            now,
            cluster: &mut self.cluster,
            positions: &mut self.positions,
            effects,
        };
        group.close(&env, op);
    }

    /// Nothing is left to do. Sessions are left to the brokers' eviction.
    fn shut(&mut self, op: OpId, effects: &mut Effects) {
        self.closed = true;
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
                    let group = self.group.as_ref();
                    if group.is_some_and(|group| group.is_subscribed()) {
                        self.positions.follow_names(metadata, effects);
                    }
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
            Purpose::FindCoordinator
            | Purpose::JoinGroup
            | Purpose::SyncGroup
            | Purpose::Heartbeat
            | Purpose::LeaveGroup
            | Purpose::GroupHeartbeat
            | Purpose::OffsetCommit
            | Purpose::OffsetFetch => {
                let env = &mut Env {
                    now,
                    cluster,
                    positions,
                    effects,
                };
                let group = self.group.as_mut();
                group
                    .expect("only a group's requests have these purposes")
                    .on_completed(env, completion);
            }
            Purpose::Metadata
            | Purpose::InitProducerId
            | Purpose::Produce
            | Purpose::CreateTopic
            | Purpose::GroupCall => {}
        }
    }

    /// Does whatever can be done now, and sees to being called when more can.
    fn run(&mut self, now: Now, effects: &mut Effects) {
        if self.closed {
            return;
        }
        self.run_group(now, effects);
        if self.closed {
            return;
        }
        let (positions, cluster) = (&mut self.positions, &mut self.cluster);
        self.lookups.run(now, positions, cluster, effects);
        self.inquiries.answer(now, positions, effects);
        self.end_polls(now, effects);
        if self.polled || !self.polls.is_empty() {
            self.polled = false;
            let cluster = &mut self.cluster;
            self.fetcher
                .send_fetches(now, &self.positions, cluster, effects);
        }
        self.cluster.maybe_update(now, effects);
        let polls = !self.polls.is_empty();
        let is_calling_back = self.is_calling_back();
        let polls_end = self.polls.iter().map(|poll| poll.deadline_ms).min();
        let deadlines = [
            polls_end.filter(|_| !is_calling_back),
            self.lookups.next_deadline_ms(now),
            self.inquiries.next_deadline_ms(),
            self.positions.next_deadline_ms(now),
            self.group
                .as_ref()
                .and_then(|group| group.next_deadline_ms(now.mono_ms, polls)),
        ];
        if let Some(deadline_ms) = deadlines.into_iter().flatten().min() {
            self.alarm.set(now, deadline_ms, effects);
        }
    }

    fn run_group(&mut self, now: Now, effects: &mut Effects) {
        let Some(group) = &mut self.group else {
            return self.wake_poll(effects);
        };
        // Before the coordinator is looked for: the same broker may be asked both.
        self.cluster.maybe_update(now, effects);
        let env = &mut Env {
            now,
            cluster: &mut self.cluster,
            positions: &mut self.positions,
            effects,
        };
        if self.wakeup && group.wake_up(env) {
            self.wakeup = false;
        }
        group.run(env, !self.polls.is_empty(), !self.inquiries.is_empty());
        if let Some(op) = group.take_closed() {
            return self.shut(op, effects);
        }
        if !group.is_calling_back()
            && let Some(poll) = self.polls.front()
            && let Some(error) = group.take_error()
        {
            let op = poll.op;
            self.polls.pop_front();
            effects.event(Event::PollFailed { op, error });
        } else if !self.inquiries.is_empty()
            && let Some(error) = group.take_error()
        {
            self.inquiries.fail_first(error, effects);
        }
        self.wake_poll(effects);
    }

    /// Ends the poll that waits, or another call, if the application asked for it.
    fn wake_poll(&mut self, effects: &mut Effects) {
        if self.wakeup && self.inquiries.fail_first(ClientError::Wakeup, effects) {
            self.wakeup = false;
        }
        if self.wakeup
            && !self.is_calling_back()
            && let Some(poll) = self.polls.pop_front()
        {
            self.wakeup = false;
            let (op, error) = (poll.op, ClientError::Wakeup);
            effects.event(Event::PollFailed { op, error });
        }
    }

    fn is_calling_back(&self) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.is_calling_back())
    }

    /// Answers the polls for which there are records, or no more time.
    fn end_polls(&mut self, now: Now, effects: &mut Effects) {
        // The application's thread is in its rebalance listener.
        if self.is_calling_back() {
            return;
        }
        let group = self.group.as_ref();
        let is_blocked = group.is_some_and(|group| group.blocks_polls());
        while let Some(poll) = self.polls.front() {
            if is_blocked && now.mono_ms < poll.deadline_ms {
                break;
            }
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
                end_poll(poll.op, effects);
            }
            keep
        });
    }
}

/// A poll returns nothing.
fn end_poll(op: OpId, effects: &mut Effects) {
    let parts = Vec::new();
    effects.event(Event::Polled { op, parts });
}

/// Ends a call at once that cannot be done.
fn refuse(command: Command, error: ClientError, effects: &mut Effects) {
    match command {
        Command::Poll { op, .. } => end_poll(op, effects),
        Command::EndOffsets { op, .. } => {
            let result = Err(CLOSED);
            effects.event(Event::Offsets { op, result });
        }
        Command::Commit { op, .. } => effects.event(Event::Committed {
            commit: CommitName::Call(op),
            member: GroupMember::NONE,
            result: Err(error),
            attempts: 0,
            definite: true,
        }),
        Command::Committed { op, .. } => {
            let result = Err(error);
            effects.event(Event::CommittedOffsets { op, result });
        }
        Command::Position { op, .. } => inquiries::end(op, Err(error), effects),
        Command::Unsubscribe { op } | Command::Close { op } => {
            let result = Err(error);
            effects.event(Event::Done { op, result });
        }
        Command::Assign { .. }
        | Command::Seek { .. }
        | Command::Subscribe { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::CallbackDone { .. }
        | Command::EnforceRebalance
        | Command::Wakeup
        | Command::Send { .. }
        | Command::CreateTopic { .. }
        | Command::Group { .. }
        | Command::Shutdown
        | Command::MoveLeader { .. } => {}
    }
}

/// How a lookup ends that the consumer was closed over; Kafka throws a WakeupException.
const CLOSED: ResponseError = ResponseError::NetworkException;
