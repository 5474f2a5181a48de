//! `KafkaAdminClient`: creates topics.
//!
//! A call is tried at any broker until one gives an answer that trying again does not better, at
//! most for `default.api.timeout.ms`. A topic that an unanswered attempt created is reported as
//! TOPIC_ALREADY_EXISTS, as in Kafka.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, RequestKind, ResponseKind, TopicName};

use super::alarm::Alarm;
use super::cluster::{Cluster, ClusterConfig, Happened};
use super::command::{ClientError, Command, Event, OpId};
use super::config::{ADMIN_API_TIMEOUT_MS, ADMIN_BACKOFF, ADMIN_REQUEST_TIMEOUT_MS};
use super::network::{Completion, NetworkError};
use super::token::Purpose;
use crate::effect::Effects;
use crate::input::Input;
use crate::timer::Timer;
use crate::types::{Now, ResponseError, StrBytes};

/// An admin client.
#[derive(Debug)]
pub struct Admin {
    cluster: Cluster,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    alarm: Alarm,
    closed: bool,
    /// Kept for its allocation.
    happened: Vec<Happened>,
}

#[derive(Debug)]
struct Call {
    op: OpId,
    topic: CreatableTopic,
    deadline_ms: u64,
    failures: u32,
    state: CallState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CallState {
    InFlight,
    NotBefore { ms: u64 },
}

impl Admin {
    /// An admin client that was not started yet.
    pub(super) fn new(cluster: ClusterConfig) -> Self {
        Admin {
            cluster: Cluster::new(cluster),
            calls: BTreeMap::new(),
            next_call: 0,
            alarm: Alarm::new(Timer::Admin),
            closed: false,
            happened: Vec::new(),
        }
    }

    /// One thing that happened.
    pub(super) fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Command(command) => self.on_command(now, command, effects),
            Input::Fired(Timer::Admin) => self.alarm.fired(),
            other => self.on_input(now, other, effects),
        }
        self.run(now, effects);
    }

    fn on_command(&mut self, now: Now, command: Command, effects: &mut Effects) {
        match command {
            Command::CreateTopic { op, .. } if self.closed => {
                end(op, Err(ClientError::Closed), effects);
            }
            Command::CreateTopic {
                op,
                name,
                partitions,
                replication_factor,
                configs,
            } => {
                let topic = CreatableTopic::default()
                    .with_name(TopicName(name))
                    .with_num_partitions(partitions)
                    .with_replication_factor(replication_factor)
                    .with_configs(configs.into_iter().map(topic_config).collect());
                let call = Call {
                    op,
                    topic,
                    deadline_ms: now.mono_ms + ADMIN_API_TIMEOUT_MS,
                    failures: 0,
                    state: CallState::NotBefore { ms: now.mono_ms },
                };
                self.calls.insert(self.next_call, call);
                self.next_call += 1;
            }
            Command::Close { op } => {
                for call in std::mem::take(&mut self.calls).into_values() {
                    end(call.op, Err(ClientError::Closed), effects);
                }
                let result = if self.closed {
                    Err(ClientError::Closed)
                } else {
                    Ok(())
                };
                self.closed = true;
                self.cluster.close(effects);
                self.alarm.cancel(effects);
                end(op, result, effects);
            }
            // Other clients' and nodes' commands.
            Command::Send { .. }
            | Command::Assign { .. }
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
            | Command::Shutdown
            | Command::MoveLeader { .. } => {}
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
        let (_, n) = Purpose::of(completion.token);
        let Some(call) = self.calls.get_mut(&n) else {
            return;
        };
        let result = outcome(completion.result);
        if !result.is_err_and(is_worth_another_try) {
            end(call.op, result, effects);
            self.calls.remove(&n);
            return;
        }
        let delay_ms = ADMIN_BACKOFF.delay_ms(call.failures, &mut self.cluster.ids);
        call.failures += 1;
        call.state = CallState::NotBefore {
            ms: now.mono_ms + delay_ms,
        };
    }

    /// Ends what took too long, sends what may go, and sees to being called again.
    fn run(&mut self, now: Now, effects: &mut Effects) {
        if self.closed {
            return;
        }
        self.calls.retain(|_, call| {
            let keep = now.mono_ms < call.deadline_ms;
            if !keep {
                end(call.op, Err(ClientError::TimedOut), effects);
            }
            keep
        });
        for (&n, call) in &mut self.calls {
            if matches!(call.state, CallState::NotBefore { ms } if ms <= now.mono_ms) {
                let left_ms = call.deadline_ms - now.mono_ms;
                let timeout_ms = ADMIN_REQUEST_TIMEOUT_MS.min(left_ms);
                let request = (Purpose::CreateTopic.token(n), request(call, timeout_ms));
                let sent = self.cluster.send_to_any(now, request, timeout_ms, effects);
                call.state = if sent {
                    CallState::InFlight
                } else {
                    let ms = now.mono_ms + ADMIN_BACKOFF.initial_ms;
                    CallState::NotBefore { ms }
                };
            }
            let deadline_ms = match call.state {
                CallState::NotBefore { ms } => ms.min(call.deadline_ms),
                CallState::InFlight => call.deadline_ms,
            };
            self.alarm.set(now, deadline_ms, effects);
        }
        self.cluster.maybe_update(now, effects);
    }
}

fn request(call: &Call, timeout_ms: u64) -> RequestKind {
    let request = CreateTopicsRequest::default()
        .with_topics(vec![call.topic.clone()])
        .with_timeout_ms(i32::try_from(timeout_ms).unwrap_or(i32::MAX));
    RequestKind::CreateTopics(request)
}

fn topic_config((name, value): (StrBytes, StrBytes)) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(name)
        .with_value(Some(value))
}

/// What an attempt came to.
fn outcome(result: Result<Box<ResponseKind>, NetworkError>) -> Result<(), ClientError> {
    let body = result.map_err(|error| match error {
        NetworkError::TimedOut => ClientError::TimedOut,
        NetworkError::NotSent | NetworkError::Disconnected => ClientError::Disconnected,
        NetworkError::UnsupportedVersion => ClientError::UnsupportedVersion,
    })?;
    let ResponseKind::CreateTopics(response) = *body else {
        return Err(ClientError::Broker(ResponseError::UnknownServerError));
    };
    let lacking = ResponseError::UnknownServerError.code();
    let code = response
        .topics
        .first()
        .map_or(lacking, |topic| topic.error_code);
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => Err(ClientError::Broker(error)),
    }
}

fn is_worth_another_try(error: ClientError) -> bool {
    match error {
        ClientError::Broker(error) => error.is_retriable(),
        ClientError::TimedOut | ClientError::Disconnected => true,
        ClientError::BufferExhausted
        | ClientError::RecordTooLarge
        | ClientError::Closed
        | ClientError::UnsupportedVersion
        | ClientError::NoGroup
        | ClientError::NotMember
        | ClientError::Rebalancing
        | ClientError::NoOffset
        | ClientError::Wakeup
        | ClientError::NotAssigned => false,
    }
}

fn end(op: OpId, result: Result<(), ClientError>, effects: &mut Effects) {
    effects.event(Event::Done { op, result });
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::CreateTopicsResponse;
    use kafka_protocol::messages::create_topics_response::CreatableTopicResult;

    use super::*;
    use crate::client::ClientKind;
    use crate::client::testing::{Harness, orders};
    use crate::types::NodeId;

    fn create(op: u64) -> Command {
        Command::CreateTopic {
            op: OpId(op),
            name: orders(),
            partitions: 2,
            replication_factor: 3,
            configs: Vec::new(),
        }
    }

    fn answer(error_code: i16) -> ResponseKind {
        let result = CreatableTopicResult::default().with_error_code(error_code);
        ResponseKind::CreateTopics(CreateTopicsResponse::default().with_topics(vec![result]))
    }

    fn done(op: u64, result: Result<(), ClientError>) -> Event {
        let op = OpId(op);
        Event::Done { op, result }
    }

    #[test]
    fn a_broker_without_a_controller_is_asked_again() {
        let mut admin = Harness::new(ClientKind::Admin, 0, None);
        admin.command(create(1));
        let sent = admin.sent.pop_front().expect("asked at once");
        admin.answer(&sent, answer(ResponseError::NotController.code()));
        assert!(admin.sent.is_empty() && admin.events.is_empty());
        admin.advance(200);
        let sent = admin.sent.pop_front().expect("asked again");
        admin.answer(&sent, answer(0));
        assert_eq!(admin.take_events(), [done(1, Ok(()))]);
    }

    #[test]
    fn a_lost_answer_may_come_back_as_already_exists() {
        let mut admin = Harness::new(ClientKind::Admin, 0, None);
        admin.command(create(1));
        let node = admin.sent.front().expect("asked at once").node;
        admin.cut(node.0);
        admin.advance(300);
        let sent = admin.sent.pop_front().expect("asked again");
        let exists = ResponseError::TopicAlreadyExists;
        admin.answer(&sent, answer(exists.code()));
        assert_eq!(
            admin.take_events(),
            [done(1, Err(ClientError::Broker(exists)))]
        );
    }

    #[test]
    fn a_call_ends_even_when_the_cluster_is_gone() {
        let mut admin = Harness::new(ClientKind::Admin, 0, None);
        for node in 1..=3 {
            admin.silent.push(NodeId(node));
            admin.cut(node);
        }
        admin.command(create(1));
        admin.advance(ADMIN_API_TIMEOUT_MS - 1);
        assert_eq!(admin.take_events(), []);
        admin.advance(1);
        assert_eq!(admin.take_events(), [done(1, Err(ClientError::TimedOut))]);
    }

    #[test]
    fn a_closed_client_ends_what_it_is_asked() {
        let mut admin = Harness::new(ClientKind::Admin, 0, None);
        admin.command(create(1));
        admin.command(Command::Close { op: OpId(2) });
        admin.command(create(3));
        let closed = Err(ClientError::Closed);
        assert_eq!(
            admin.take_events(),
            [done(1, closed), done(2, Ok(())), done(3, closed)]
        );
    }
}
