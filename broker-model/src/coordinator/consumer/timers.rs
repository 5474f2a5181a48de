//! The timers of a group's members.
//!
//! Mirrors the `schedule…` and `cancel…` methods of `GroupMetadataManager`. A member has a session,
//! and one more timer at most that runs: it has to give partitions up (consumer protocol), or to
//! join or sync again (classic protocol, KIP-848's online migration). Several of these may be due, as
//! each has a timer of its own in Kafka; ours is set to the earliest.

use std::collections::BTreeMap;

use super::super::turn::{TimerChange, TimerKey, Turn};
use crate::types::StrBytes;

/// What the timers of members are about; sessions need no memory.
#[derive(Default, Debug)]
pub(super) struct Timers {
    members: BTreeMap<StrBytes, Due>,
}

/// What a member has to do, and until when, in ms of the monotonic clock.
#[derive(Clone, Copy, Default, Debug)]
struct Due {
    /// Leave this epoch.
    revoke: Option<(i32, u64)>,
    /// Join again.
    join_at_ms: Option<u64>,
    /// Sync.
    sync_at_ms: Option<u64>,
}

/// Why a member is thrown out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overdue {
    /// It did not give up what it had to.
    Revocation,
    /// It did not join.
    Join,
    /// It did not sync.
    Sync,
    /// Nothing: the timer was for something that is done.
    Nothing,
}

impl Timers {
    /// The member has to leave that epoch within the time.
    pub(super) fn revoke_within(
        &mut self,
        turn: &mut Turn<'_>,
        key: TimerKey,
        epoch: i32,
        timeout_ms: i32,
    ) {
        let at_ms = after(turn, timeout_ms);
        self.of(&key).revoke = Some((epoch, at_ms));
        self.settle(turn, key);
    }

    /// The member gave up what it had to.
    pub(super) fn revoked(&mut self, turn: &mut Turn<'_>, key: TimerKey) {
        if self.of(&key).revoke.take().is_some() {
            self.settle(turn, key);
        }
    }

    /// The member has to join within the time, unless it has to already.
    pub(super) fn join_within(&mut self, turn: &mut Turn<'_>, key: TimerKey, timeout_ms: i32) {
        let at_ms = after(turn, timeout_ms);
        let due = self.of(&key);
        if due.join_at_ms.is_none() {
            due.join_at_ms = Some(at_ms);
            self.settle(turn, key);
        }
    }

    /// The member joined and has to sync within the time.
    pub(super) fn joined(&mut self, turn: &mut Turn<'_>, key: TimerKey, sync_within_ms: i32) {
        let at_ms = after(turn, sync_within_ms);
        let due = self.of(&key);
        due.join_at_ms = None;
        due.sync_at_ms = Some(at_ms);
        self.settle(turn, key);
    }

    /// The member synced.
    pub(super) fn synced(&mut self, turn: &mut Turn<'_>, key: TimerKey) {
        if self.of(&key).sync_at_ms.take().is_some() {
            self.settle(turn, key);
        }
    }

    /// The member is gone, once that is written.
    pub(super) fn forget(&mut self, member: &StrBytes) {
        self.members.remove(member);
    }

    /// The member is thrown out; what it had to do is remembered until that is written.
    pub(super) fn cancel(turn: &mut Turn<'_>, group: &StrBytes, member: &StrBytes) {
        let session = session_key(group, member);
        let rebalance = rebalance_key(group, member);
        let timers = &mut turn.decision.timers;
        timers.extend([TimerChange::Stop(session), TimerChange::Stop(rebalance)]);
    }

    /// The timer of a member fired that is in that epoch, if it is there at all.
    pub(super) fn fired(
        &mut self,
        turn: &mut Turn<'_>,
        key: TimerKey,
        member_epoch: Option<i32>,
    ) -> Overdue {
        let now_ms = turn.now.mono_ms;
        let due = *self.of(&key);
        if let Some((epoch, at_ms)) = due.revoke
            && at_ms <= now_ms
        {
            if member_epoch == Some(epoch) {
                return Overdue::Revocation;
            }
            self.of(&key).revoke = None;
        }
        let over = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if over(due.join_at_ms) {
            return Overdue::Join;
        }
        if over(due.sync_at_ms) {
            return Overdue::Sync;
        }
        self.settle(turn, key);
        Overdue::Nothing
    }

    fn of(&mut self, key: &TimerKey) -> &mut Due {
        let TimerKey::Rebalance { member, .. } = key else {
            panic!("not the timer of a member's rebalance: {key:?}");
        };
        self.members.entry(member.clone()).or_default()
    }

    /// Sets the timer to whatever is due first.
    fn settle(&mut self, turn: &mut Turn<'_>, key: TimerKey) {
        let due = *self.of(&key);
        let revoke_at_ms = due.revoke.map(|(_, at_ms)| at_ms);
        let all = [revoke_at_ms, due.join_at_ms, due.sync_at_ms];
        let timers = &mut turn.decision.timers;
        match all.into_iter().flatten().min() {
            Some(at_ms) => {
                let in_ms = at_ms.saturating_sub(turn.now.mono_ms);
                timers.push(TimerChange::Start(key, in_ms));
            }
            None => timers.push(TimerChange::Stop(key)),
        }
    }
}

/// The timer of a member's session.
pub(super) fn session_key(group: &StrBytes, member: &StrBytes) -> TimerKey {
    TimerKey::Session {
        group: group.clone(),
        member: member.clone(),
    }
}

/// The timer of what a member has to do for a rebalance.
pub(super) fn rebalance_key(group: &StrBytes, member: &StrBytes) -> TimerKey {
    TimerKey::Rebalance {
        group: group.clone(),
        member: member.clone(),
    }
}

/// Starts a timer.
pub(super) fn start(turn: &mut Turn<'_>, key: TimerKey, timeout_ms: i32) {
    let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
    turn.decision
        .timers
        .push(TimerChange::Start(key, timeout_ms));
}

fn after(turn: &Turn<'_>, timeout_ms: i32) -> u64 {
    turn.now.mono_ms + u64::try_from(timeout_ms).unwrap_or(0)
}
