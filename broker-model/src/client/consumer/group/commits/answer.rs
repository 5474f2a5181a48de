//! What becomes of a commit when its answer comes, or does not.

use kafka_protocol::messages::{OffsetCommitResponse, ResponseKind};

use super::{Commit, Commits, Ended, Retried};
use crate::client::command::{ClientError, Event};
use crate::client::consumer::group::coordinator::Coordinator;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::identity::Identity;
use crate::client::network::{Completion, NetworkError};
use crate::client::token::Purpose;
use crate::types::ResponseError;

/// The coordinator says that the member may not commit: the membership decides what that means.
#[derive(Debug)]
pub(in crate::client::consumer::group) struct Refusal {
    /// The commit, which has not ended.
    pub(in crate::client::consumer::group) id: u64,
    /// What the coordinator said.
    pub(in crate::client::consumer::group) error: ResponseError,
    /// As whom it was sent.
    pub(in crate::client::consumer::group) sent_as: Identity,
    /// Whether a call of the application waits for it.
    pub(in crate::client::consumer::group) is_sync: bool,
}

impl Commits {
    /// A request ended.
    pub(in crate::client::consumer::group) fn on_answer(
        &mut self,
        env: &mut Env<'_>,
        completion: Completion,
        coordinator: &mut Coordinator,
    ) -> Option<Refusal> {
        let (_, id) = Purpose::of(completion.token);
        let channel = completion.channel;
        // A commit whose time was up has ended already.
        let commit = self.open.get_mut(&id);
        let sent_as = commit.and_then(|commit| commit.in_flight.take());
        let response = match completion.result {
            Ok(body) => match *body {
                ResponseKind::OffsetCommit(response) => Ok(response),
                _ => Err(NetworkError::Disconnected),
            },
            Err(error) => Err(error),
        };
        if response.is_err() {
            coordinator.on_disconnect(channel);
        }
        let sent_as = sent_as?;
        let commit = self.open.get_mut(&id).expect("it was in flight");
        let error = match response {
            Err(error) => {
                commit.attempts += u32::from(!error.never_sent());
                commit.definite &= error.never_sent();
                if error == NetworkError::UnsupportedVersion {
                    let error = ClientError::UnsupportedVersion;
                    self.end(env, id, Err(error), Ended::Badly);
                    return None;
                }
                self.retry(env, id, ClientError::Disconnected);
                return None;
            }
            Ok(response) => {
                commit.attempts += 1;
                commit.definite &= is_definite(&response, commit);
                first_error(&response)
            }
        };
        let Some(error) = error else {
            self.end(env, id, Ok(()), Ended::Well);
            return None;
        };
        self.on_error(env, (id, error), sent_as, coordinator)
    }

    fn on_error(
        &mut self,
        env: &mut Env<'_>,
        (id, error): (u64, ResponseError),
        sent_as: Identity,
        coordinator: &mut Coordinator,
    ) -> Option<Refusal> {
        match error {
            ResponseError::CoordinatorNotAvailable
            | ResponseError::NotCoordinator
            | ResponseError::RequestTimedOut => {
                coordinator.give_up(env);
                self.retry(env, id, ClientError::Broker(error));
            }
            ResponseError::CoordinatorLoadInProgress
            | ResponseError::UnknownTopicOrPartition
            | ResponseError::UnknownTopicId => self.retry(env, id, ClientError::Broker(error)),
            ResponseError::FencedInstanceId
            | ResponseError::RebalanceInProgress
            | ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::StaleMemberEpoch => {
                let is_sync = self.open[&id].retried != Retried::No;
                return Some(Refusal {
                    id,
                    error,
                    sent_as,
                    is_sync,
                });
            }
            other => self.end(env, id, Err(ClientError::Broker(other)), Ended::Badly),
        }
        None
    }

    /// What the membership says to a refusal: the commit fails, …
    pub(in crate::client::consumer::group) fn refuse(
        &mut self,
        env: &mut Env<'_>,
        id: u64,
        error: ClientError,
    ) {
        self.end(env, id, Err(error), Ended::Badly);
    }

    /// … or, if it waits for a rebalance, may be tried again with a newer member epoch.
    pub(in crate::client::consumer::group) fn refuse_or_retry(
        &mut self,
        env: &mut Env<'_>,
        id: u64,
        error: ClientError,
    ) {
        let commit = self.open.get(&id).expect("it was refused just now");
        if commit.retried == Retried::BeforeRebalance {
            self.retry(env, id, error);
        } else {
            self.refuse(env, id, error);
        }
    }

    fn retry(&mut self, env: &mut Env<'_>, id: u64, error: ClientError) {
        let commit = self.open.get_mut(&id).expect("it was answered just now");
        let missing = ClientError::Broker(ResponseError::UnknownTopicOrPartition);
        match commit.retried {
            Retried::No => return self.end(env, id, Err(error), Ended::Retriable),
            Retried::BeforeRebalance if error == missing => {
                return self.end(env, id, Err(error), Ended::Badly);
            }
            Retried::BeforeRebalance => {
                commit.offsets = env.positions.all_consumed();
                env.effects.event(Event::Committing {
                    commit: commit.name,
                    offsets: commit.offsets.clone(),
                });
            }
            Retried::Yes => {}
        }
        let delay_ms = self.backoff.delay_ms(commit.failures, &mut env.cluster.ids);
        commit.failures += 1;
        commit.not_before_ms = env.now.mono_ms + delay_ms;
    }
}

fn first_error(response: &OffsetCommitResponse) -> Option<ResponseError> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let mut errors =
        partitions.filter_map(|answer| ResponseError::try_from_code(answer.error_code));
    errors.next()
}

/// Whether nothing at all was written: every partition was refused with an error that a
/// coordinator gives only before it writes.
fn is_definite(response: &OffsetCommitResponse, commit: &Commit) -> bool {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let refused = partitions.filter(|answer| {
        let error = ResponseError::try_from_code(answer.error_code);
        error.is_some_and(is_given_before_writing)
    });
    refused.count() == commit.offsets.len()
}

fn is_given_before_writing(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::CoordinatorLoadInProgress
            | ResponseError::UnknownTopicOrPartition
            | ResponseError::UnknownTopicId
            | ResponseError::FencedInstanceId
            | ResponseError::RebalanceInProgress
            | ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::StaleMemberEpoch
            | ResponseError::FencedMemberEpoch
            | ResponseError::OffsetMetadataTooLarge
            | ResponseError::InvalidCommitOffsetSize
            | ResponseError::InvalidGroupId
            | ResponseError::GroupIdNotFound
            | ResponseError::GroupAuthorizationFailed
            | ResponseError::TopicAuthorizationFailed
            | ResponseError::UnsupportedVersion
    )
}
