//! `KafkaAdminClient`: creates topics, and deals with groups and their offsets.
//!
//! A call is tried until it gets an answer that trying again does not better, at most for
//! `default.api.timeout.ms`. Topics are created by any broker; groups are dealt with by their
//! coordinator, which any broker knows (`AdminApiDriver`, `CoordinatorStrategy`). A topic that an
//! unanswered attempt created is reported as TOPIC_ALREADY_EXISTS, as in Kafka.

mod groups;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, RequestKind, ResponseKind, TopicName,
};

use super::alarm::Alarm;
use super::cluster::{Cluster, ClusterConfig, Happened};
use super::command::{ClientError, Command, Event, GroupAnswer, GroupCall, OpId};
use super::config::admin_backoff;
use super::network::{Completion, NetworkError};
use super::token::Purpose;
use crate::config::AdminConfig;
use crate::effect::Effects;
use crate::input::Input;
use crate::timer::Timer;
use crate::types::{NodeId, Now, ResponseError, StrBytes};

/// An admin client.
#[derive(Debug)]
pub struct Admin {
    config: AdminConfig,
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
    what: What,
    deadline_ms: u64,
    failures: u32,
    state: CallState,
    /// Attempts that were sent and not answered.
    unanswered: u32,
    /// An attempt that was refused may have had an effect.
    doubtful: bool,
}

#[derive(Debug)]
enum What {
    CreateTopic(CreatableTopic),
    /// With the coordinator, while it is known.
    Group(GroupCall, Option<NodeId>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CallState {
    InFlight,
    NotBefore { ms: u64 },
}

/// How an attempt ended.
#[derive(Debug)]
enum Attempt {
    /// The call is over.
    Over(Result<GroupAnswer, ClientError>),
    /// The next step can be taken.
    Found,
    /// It is worth another try, or is the error at last.
    Failed(ClientError),
}

impl Admin {
    /// An admin client that was not started yet.
    pub(super) fn new(config: AdminConfig, cluster: ClusterConfig) -> Self {
        Admin {
            config,
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
                self.begin(now, op, What::CreateTopic(topic), effects);
            }
            Command::Group { op, call } => self.begin(now, op, What::Group(call, None), effects),
            Command::Close { op } => self.close(op, effects),
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

    fn begin(&mut self, now: Now, op: OpId, what: What, effects: &mut Effects) {
        let call = Call {
            op,
            what,
            deadline_ms: now.mono_ms + self.config.default_api_timeout_ms,
            failures: 0,
            state: CallState::NotBefore { ms: now.mono_ms },
            unanswered: 0,
            doubtful: false,
        };
        if self.closed {
            return call.end(Err(ClientError::Closed), effects);
        }
        self.calls.insert(self.next_call, call);
        self.next_call += 1;
    }

    fn close(&mut self, op: OpId, effects: &mut Effects) {
        for call in std::mem::take(&mut self.calls).into_values() {
            call.end(Err(ClientError::Closed), effects);
        }
        let result = if self.closed {
            Err(ClientError::Closed)
        } else {
            Ok(())
        };
        self.closed = true;
        self.cluster.close(effects);
        self.alarm.cancel(effects);
        effects.event(Event::Done { op, result });
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
        let (purpose, n) = Purpose::of(completion.token);
        let Some(call) = self.calls.get_mut(&n) else {
            return;
        };
        let retries = u32::try_from(self.config.retries).unwrap_or(0);
        call.state = CallState::NotBefore { ms: now.mono_ms };
        let result = match call.on_answer(purpose, completion.result) {
            Attempt::Found => return,
            Attempt::Failed(error) if call.failures < retries && is_worth_another_try(error) => {
                let backoff = admin_backoff(&self.config);
                let delay_ms = backoff.delay_ms(call.failures, &mut self.cluster.ids);
                call.failures += 1;
                call.state = CallState::NotBefore {
                    ms: now.mono_ms + delay_ms,
                };
                return;
            }
            Attempt::Failed(error) => Err(error),
            Attempt::Over(result) => result,
        };
        if let Some(call) = self.calls.remove(&n) {
            call.end(result, effects);
        }
    }

    /// Ends what took too long, sends what may go, and sees to being called again.
    fn run(&mut self, now: Now, effects: &mut Effects) {
        if self.closed {
            return;
        }
        let late = |call: &Call| call.deadline_ms <= now.mono_ms;
        let late: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| late(call))
            .map(|(&n, _)| n)
            .collect();
        for call in late.iter().filter_map(|n| self.calls.remove(n)) {
            call.end(Err(ClientError::TimedOut), effects);
        }
        for (&n, call) in &mut self.calls {
            if matches!(call.state, CallState::NotBefore { ms } if ms <= now.mono_ms) {
                let left_ms = call.deadline_ms - now.mono_ms;
                let timeout_ms = self.config.request_timeout_ms.min(left_ms);
                call.state = if call.send(now, n, &mut self.cluster, timeout_ms, effects) {
                    CallState::InFlight
                } else {
                    let ms = now.mono_ms + self.config.retry_backoff_ms.max(1);
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

impl Call {
    /// Sends what the call needs next. False if nobody can be asked now.
    fn send(
        &self,
        now: Now,
        n: u64,
        cluster: &mut Cluster,
        timeout_ms: u64,
        effects: &mut Effects,
    ) -> bool {
        match &self.what {
            What::CreateTopic(topic) => {
                let request = CreateTopicsRequest::default()
                    .with_topics(vec![topic.clone()])
                    .with_timeout_ms(i32::try_from(timeout_ms).unwrap_or(i32::MAX));
                let request = RequestKind::CreateTopics(request);
                let request = (Purpose::CreateTopic.token(n), request);
                cluster.send_to_any(now, request, timeout_ms, effects)
            }
            What::Group(call, None) => {
                let request = FindCoordinatorRequest::default()
                    .with_key_type(GROUP)
                    .with_coordinator_keys(vec![call.group().clone()]);
                let request = RequestKind::FindCoordinator(request);
                let request = (Purpose::FindCoordinator.token(n), request);
                cluster.send_to_any(now, request, timeout_ms, effects)
            }
            What::Group(call, Some(node)) => {
                if cluster.metadata.endpoint(*node).is_none() {
                    cluster.metadata.request_update();
                    return false;
                }
                let request = (Purpose::GroupCall.token(n), groups::request(call));
                cluster.send(now, *node, request, timeout_ms, effects);
                true
            }
        }
    }

    fn on_answer(
        &mut self,
        purpose: Purpose,
        result: Result<Box<ResponseKind>, NetworkError>,
    ) -> Attempt {
        let body = match result {
            Ok(body) => *body,
            Err(error) => {
                let acts = purpose != Purpose::FindCoordinator;
                self.unanswered += u32::from(acts && !error.never_sent());
                self.forget_coordinator();
                return Attempt::Failed(client_error(error));
            }
        };
        match (&mut self.what, body) {
            (What::CreateTopic(_), ResponseKind::CreateTopics(response)) => {
                let lacking = ResponseError::UnknownServerError.code();
                let code = response
                    .topics
                    .first()
                    .map_or(lacking, |topic| topic.error_code);
                match ResponseError::try_from_code(code) {
                    None => Attempt::Over(Ok(GroupAnswer::Done)),
                    Some(error) => Attempt::Failed(ClientError::Broker(error)),
                }
            }
            (What::Group(_, coordinator), ResponseKind::FindCoordinator(mut response)) => {
                let Some(found) = response.coordinators.pop() else {
                    return Attempt::Failed(NO_SENSE);
                };
                match ResponseError::try_from_code(found.error_code) {
                    None => {
                        *coordinator = Some(NodeId(found.node_id.0));
                        Attempt::Found
                    }
                    Some(error) => Attempt::Failed(ClientError::Broker(error)),
                }
            }
            (What::Group(..), body) => match groups::answer(body) {
                Ok(answer) => Attempt::Over(Ok(answer)),
                Err(error) => {
                    // It may have been written before its coordinator was deposed.
                    let moved = matches!(
                        error,
                        ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable
                    );
                    if moved {
                        self.doubtful = true;
                        self.forget_coordinator();
                    }
                    Attempt::Failed(ClientError::Broker(error))
                }
            },
            (What::CreateTopic(_), _) => Attempt::Over(Err(NO_SENSE)),
        }
    }

    fn forget_coordinator(&mut self) {
        if let What::Group(_, coordinator) = &mut self.what {
            *coordinator = None;
        }
    }

    fn end(self, result: Result<GroupAnswer, ClientError>, effects: &mut Effects) {
        let op = self.op;
        effects.event(match self.what {
            What::CreateTopic(_) => Event::Done {
                op,
                result: result.map(|_| ()),
            },
            What::Group(_, coordinator) => {
                let sent = self.state == CallState::InFlight && coordinator.is_some();
                let open = matches!(result, Err(ClientError::TimedOut | ClientError::Closed));
                let unanswered = self.unanswered + u32::from(sent && open);
                Event::Group {
                    op,
                    unanswered,
                    definite: result.is_err() && unanswered == 0 && !self.doubtful,
                    result,
                }
            }
        });
    }
}

/// An answer that does not belong to its request.
const NO_SENSE: ClientError = ClientError::Broker(ResponseError::UnknownServerError);

/// `FindCoordinatorRequest.CoordinatorType.GROUP`
const GROUP: i8 = 0;

fn topic_config((name, value): (StrBytes, StrBytes)) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(name)
        .with_value(Some(value))
}

fn client_error(error: NetworkError) -> ClientError {
    match error {
        NetworkError::TimedOut => ClientError::TimedOut,
        NetworkError::NotSent | NetworkError::Disconnected => ClientError::Disconnected,
        NetworkError::UnsupportedVersion => ClientError::UnsupportedVersion,
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
