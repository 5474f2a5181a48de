//! What the active controller does by the clock.
//!
//! Mirrors `PeriodicTaskControlManager`. Tasks other than the look at sessions share a timer.

use super::config::ControllerConfig;
use crate::context::Context;
use crate::effect::Effects;
use crate::timer::Timer;

/// When each task is due, in milliseconds of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PeriodicTasks {
    sessions_interval_ms: u64,
    balance_interval_ms: Option<u64>,
    unclean_interval_ms: u64,
    balance_at_ms: Option<u64>,
    unclean_at_ms: u64,
    idle_interval_ms: Option<u64>,
    idle_at_ms: Option<u64>,
}

impl PeriodicTasks {
    pub(super) fn start(config: &ControllerConfig, now_ms: u64) -> Self {
        let balance_interval_ms = config
            .auto_leader_rebalance_enable
            .then_some(config.leader_imbalance_check_interval_ms);
        PeriodicTasks {
            // Eight looks in a session: a broker is fenced within 112.5% of its timeout.
            sessions_interval_ms: (config.session_timeout_ms / 8).max(1),
            balance_interval_ms,
            unclean_interval_ms: config.unclean_leader_election_interval_ms,
            balance_at_ms: balance_interval_ms.map(|interval_ms| now_ms + interval_ms),
            unclean_at_ms: now_ms + config.unclean_leader_election_interval_ms,
            idle_interval_ms: config.max_idle_interval_ms,
            idle_at_ms: config
                .max_idle_interval_ms
                .map(|interval_ms| now_ms + interval_ms),
        }
    }

    pub(super) fn arm(&self, cx: &mut Context<'_>) {
        self.arm_sessions(cx.effects);
        self.arm_leaders(cx);
    }

    pub(super) fn arm_sessions(&self, effects: &mut Effects) {
        effects.arm_at(Timer::BrokerSessions, self.sessions_interval_ms);
    }

    pub(super) fn arm_leaders(&self, cx: &mut Context<'_>) {
        let tasks = [self.balance_at_ms, self.idle_at_ms].into_iter().flatten();
        let next_at_ms = tasks.fold(self.unclean_at_ms, u64::min);
        let wait_ms = next_at_ms.saturating_sub(cx.now.mono_ms);
        cx.effects.arm_at(Timer::LeaderImbalance, wait_ms);
    }

    /// Whether leaders are to be moved back now; then it is due again an interval later.
    pub(super) fn is_balance_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.balance_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_due {
            self.balance_at_ms = self
                .balance_interval_ms
                .map(|interval_ms| now_ms + interval_ms);
        }
        is_due
    }

    /// Whether unclean elections are to be tried now; then they are due again an interval later.
    pub(super) fn is_unclean_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.unclean_at_ms <= now_ms;
        if is_due {
            self.unclean_at_ms = now_ms + self.unclean_interval_ms;
        }
        is_due
    }

    /// Whether a no-op record is to be written now; then it is due again an interval later.
    pub(super) fn is_no_op_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.idle_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_due {
            self.idle_at_ms = self
                .idle_interval_ms
                .map(|interval_ms| now_ms + interval_ms);
        }
        is_due
    }

    pub(super) fn disarm(&self, effects: &mut Effects) {
        effects.disarm(Timer::BrokerSessions);
        effects.disarm(Timer::LeaderImbalance);
    }
}
