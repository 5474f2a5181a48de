//! When positions are committed by the way (`enable.auto.commit`): with polls, before partitions
//! are given up, and when the consumer is closed.

use super::{Commits, Ended, Retried};
use crate::client::command::CommitName;
use crate::client::consumer::group::env::Env;

/// The timer of automatic commits.
#[derive(Debug)]
pub(super) struct Auto {
    interval_ms: u64,
    /// `None` before the first poll.
    next_ms: Option<u64>,
    one_at_a_time: bool,
    /// The last one that the timer started, until it ends.
    in_flight: Option<u64>,
    count: u64,
}

impl Auto {
    /// Nothing committed yet.
    pub(super) fn new(interval_ms: u64, one_at_a_time: bool) -> Self {
        Auto {
            interval_ms,
            next_ms: None,
            one_at_a_time,
            in_flight: None,
            count: 0,
        }
    }

    /// A commit ended; one that may be repeated is repeated at `again_ms`.
    pub(super) fn on_ended(&mut self, id: u64, ended: Ended, again_ms: u64) {
        if self.in_flight == Some(id) {
            self.in_flight = None;
            if ended == Ended::Retriable {
                self.next_ms = Some(again_ms);
            }
        }
    }
}

impl Commits {
    /// Whether positions are committed by the way.
    pub(in crate::client::consumer::group) fn is_auto(&self) -> bool {
        self.auto.is_some()
    }

    /// A poll begins or goes on: commits the positions if it is time to
    /// (`maybeAutoCommitOffsetsAsync`).
    pub(in crate::client::consumer::group) fn on_poll(&mut self, env: &mut Env<'_>) {
        let Some(auto) = &mut self.auto else {
            return;
        };
        let now_ms = env.now.mono_ms;
        let next_ms = *auto.next_ms.get_or_insert(now_ms + auto.interval_ms);
        if now_ms < next_ms || (auto.one_at_a_time && auto.in_flight.is_some()) {
            return;
        }
        auto.next_ms = Some(now_ms + auto.interval_ms);
        let begun = self.begin_auto(env, (Retried::No, None));
        if let Some(auto) = &mut self.auto {
            auto.in_flight = begun;
        }
    }

    /// When the timer commits, monotonic, while a poll waits.
    pub(in crate::client::consumer::group) fn next_auto_ms(&self) -> Option<u64> {
        self.auto.as_ref().and_then(|auto| auto.next_ms)
    }

    /// A new assignment starts the interval anew.
    pub(in crate::client::consumer::group) fn restart_timer(&mut self, now_ms: u64) {
        if let Some(auto) = &mut self.auto {
            auto.next_ms = Some(now_ms + auto.interval_ms);
        }
    }

    /// Commits the positions once and says how that ended; `None` if there is nothing to commit.
    pub(in crate::client::consumer::group) fn commit_once(
        &mut self,
        env: &mut Env<'_>,
    ) -> Option<u64> {
        let begun = self.begin_auto(env, (Retried::No, None));
        self.watch(begun)
    }

    /// Commits the positions and says how that ended. Repeats it until the deadline.
    pub(in crate::client::consumer::group) fn commit_until(
        &mut self,
        env: &mut Env<'_>,
        deadline_ms: u64,
    ) -> Option<u64> {
        let begun = self.begin_auto(env, (Retried::Yes, Some(deadline_ms)));
        self.watch(begun)
    }

    /// The same, each time with the positions of that moment.
    pub(in crate::client::consumer::group) fn commit_before_rebalance(
        &mut self,
        env: &mut Env<'_>,
        deadline_ms: u64,
    ) -> Option<u64> {
        let begun = self.begin_auto(env, (Retried::BeforeRebalance, Some(deadline_ms)));
        if let Some(auto) = &mut self.auto {
            auto.in_flight = begun.or(auto.in_flight);
        }
        self.watch(begun)
    }

    fn watch(&mut self, begun: Option<u64>) -> Option<u64> {
        let commit = self.open.get_mut(&begun?).expect("begun just now");
        commit.watched = true;
        begun
    }

    /// Commits the positions, if automatic commits are on and there are any.
    fn begin_auto(&mut self, env: &mut Env<'_>, how: (Retried, Option<u64>)) -> Option<u64> {
        let auto = self.auto.as_mut()?;
        let offsets = env.positions.all_consumed();
        if offsets.is_empty() {
            return None;
        }
        auto.count += 1;
        let name = CommitName::Auto(auto.count);
        Some(self.begin(env, name, offsets, how))
    }
}
