//! How the application ends its membership: unsubscribing, or closing the consumer.
//!
//! Mirrors `unsubscribe` and `close` of Kafka's consumers: positions are committed (closing), the
//! listener hears what is given up, the member leaves, and what was asked of the coordinator gets
//! until `request.timeout.ms` to be answered.

use std::collections::BTreeSet;

use super::Group;
use super::env::Env;
use crate::client::command::{ClientError, Event, OpId, RebalanceCallback};

/// A membership that ends.
#[derive(Debug)]
pub(super) struct Leaving {
    op: OpId,
    closes: bool,
    deadline_ms: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Positions are to be committed.
    Commit,
    /// Commits are under way.
    Committing,
    /// The listener is to be called.
    Revoke,
    /// It was called.
    Revoking,
    /// Answers of the coordinator are waited for.
    Awaiting,
    /// Nothing is left to do.
    Done,
}

impl Leaving {
    /// When waiting is over, monotonic.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let waits = matches!(self.stage, Stage::Committing | Stage::Awaiting);
        waits.then_some(self.deadline_ms)
    }
}

impl Group {
    /// The application unsubscribes.
    pub(in crate::client::consumer) fn unsubscribe(&mut self, env: &Env<'_>, op: OpId) {
        let deadline_ms = env.now.mono_ms + self.shared.config.api_timeout_ms;
        self.leaving = Some(Leaving {
            op,
            closes: false,
            deadline_ms,
            stage: Stage::Revoke,
        });
    }

    /// The application closes the consumer.
    pub(in crate::client::consumer) fn close(&mut self, env: &Env<'_>, op: OpId) {
        let timeout_ms = self.shared.config.request_timeout_ms;
        self.leaving = Some(Leaving {
            op,
            closes: true,
            deadline_ms: env.now.mono_ms + timeout_ms.min(DEFAULT_CLOSE_TIMEOUT_MS),
            stage: Stage::Commit,
        });
    }

    /// Whether the application unsubscribes or closes at the moment.
    pub(in crate::client::consumer) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// The call of `close` that has nothing left to do, once.
    pub(in crate::client::consumer) fn take_closed(&mut self) -> Option<OpId> {
        let leaving = self
            .leaving
            .take_if(|leaving| leaving.stage == Stage::Done)?;
        Some(leaving.op)
    }

    /// Goes on as far as possible.
    pub(super) fn run_leaving(&mut self, env: &mut Env<'_>) {
        while let Some(mut leaving) = self.leaving.take() {
            let next = self.leave(env, &leaving);
            let goes_on = next.is_some_and(|next| next != leaving.stage);
            leaving.stage = next.unwrap_or(leaving.stage);
            if leaving.stage == Stage::Done && !leaving.closes {
                let (op, result) = (leaving.op, Ok(()));
                env.effects.event(Event::Done { op, result });
                return;
            }
            self.leaving = Some(leaving);
            if !goes_on {
                return;
            }
        }
    }

    /// The next stage, if there is no need to wait for it.
    fn leave(&mut self, env: &mut Env<'_>, leaving: &Leaving) -> Option<Stage> {
        let is_late = leaving.deadline_ms <= env.now.mono_ms;
        match leaving.stage {
            Stage::Commit => {
                let commit = &mut self.shared.commits;
                commit.commit_until(env, leaving.deadline_ms);
                Some(Stage::Committing)
            }
            Stage::Committing => {
                let waits = !self.shared.commits.is_empty() && !is_late;
                (!waits).then_some(Stage::Revoke)
            }
            Stage::Revoke | Stage::Revoking if self.is_calling_back() => None,
            Stage::Revoke => {
                let (shared, closes) = (&mut self.shared, leaving.closes);
                if !self.membership.prepare_leaving(env, shared, closes) {
                    return None;
                }
                self.call_listener(env);
                Some(Stage::Revoking)
            }
            Stage::Revoking => {
                self.end_membership(env, leaving.closes);
                Some(Stage::Awaiting)
            }
            Stage::Awaiting => {
                let is_asked = leaving.closes && self.shared.coordinator.has_outstanding(env);
                if (is_asked || !self.membership.has_left()) && !is_late {
                    return None;
                }
                if leaving.closes {
                    self.abort(env, ClientError::Closed);
                }
                Some(Stage::Done)
            }
            Stage::Done => None,
        }
    }

    fn call_listener(&mut self, env: &mut Env<'_>) {
        let owned = env.positions.names();
        if !self.is_subscribed() || owned.is_empty() {
            return;
        }
        let what = if self.membership.has_lost_partitions() {
            RebalanceCallback::Lost
        } else {
            RebalanceCallback::Revoked
        };
        let member = self.membership.member(&self.shared);
        self.shared.callbacks.call(env, what, &owned, member);
    }

    fn end_membership(&mut self, env: &mut Env<'_>, closes: bool) {
        let nothing = BTreeSet::new();
        let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
        env.positions
            .assign_from_group(&nothing, &nothing, metadata, effects);
        if self.is_subscribed() {
            let reason = if closes {
                "the consumer is being closed"
            } else {
                "the consumer unsubscribed from all topics"
            };
            self.membership.leave(env, &self.shared, reason);
        }
        self.shared.topics.clear();
        self.shared.pattern = None;
        env.positions.subscribe(None);
    }
}

/// `ConsumerUtils.DEFAULT_CLOSE_TIMEOUT_MS`
const DEFAULT_CLOSE_TIMEOUT_MS: u64 = 30_000;
