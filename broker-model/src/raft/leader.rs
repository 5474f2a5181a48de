//! The leader: how far each replica is, and what that commits.
//!
//! The high watermark is the offset that a majority of the voters has on disk, and it moves only past
//! the start of the leader's own epoch (Raft §5.4.2). A leader that a majority stopped fetching from
//! for one and a half fetch timeouts resigns (KAFKA-15489). Mirrors Kafka's `LeaderState`.

use std::collections::BTreeMap;

use super::voters::{ReplicaKey, VoterSet};
use crate::types::{NodeId, Now, Offset, Uuid};

/// How far one replica is, as the leader knows it.
#[derive(Clone, Debug)]
pub(super) struct ReplicaState {
    /// The node.
    pub(super) id: NodeId,
    /// Its directory, nil until its first fetch.
    pub(super) directory: Uuid,
    /// Its log end, exclusive; `None` before its first valid fetch.
    pub(super) end: Option<Offset>,
    /// When it last fetched, on the monotonic clock.
    pub(super) last_fetch_ms: Option<u64>,
    /// When it last fetched, in milliseconds since 1970.
    pub(super) last_fetch_wall_ms: i64,
    /// When it last had everything, in milliseconds since 1970.
    pub(super) last_caught_up_wall_ms: i64,
    /// The leader's log end at its last fetch.
    leader_end_at_fetch: Offset,
}

impl ReplicaState {
    fn new(id: NodeId) -> Self {
        ReplicaState {
            id,
            directory: Uuid::nil(),
            end: None,
            last_fetch_ms: None,
            last_fetch_wall_ms: -1,
            last_caught_up_wall_ms: -1,
            leader_end_at_fetch: Offset::UNKNOWN,
        }
    }

    /// Notes a fetch from `end`. True if the end is another one than before.
    fn fetched(&mut self, now: Now, directory: Uuid, end: Offset, leader_end: Offset) -> bool {
        if leader_end <= end {
            self.last_caught_up_wall_ms = self.last_caught_up_wall_ms.max(now.wall_ms);
        } else if Offset::ZERO < self.leader_end_at_fetch && self.leader_end_at_fetch <= end {
            let before = self.last_fetch_wall_ms;
            self.last_caught_up_wall_ms = self.last_caught_up_wall_ms.max(before);
        }
        self.leader_end_at_fetch = leader_end;
        self.last_fetch_ms = Some(now.mono_ms);
        self.last_fetch_wall_ms = self.last_fetch_wall_ms.max(now.wall_ms);
        self.directory = directory;
        self.end.replace(end) != Some(end)
    }
}

/// The state of a leader.
///
/// high_watermark is `None` or beyond epoch_start
#[derive(Clone, Debug)]
pub(super) struct Leader {
    local: NodeId,
    /// The offset of this epoch's LeaderChange record.
    pub(super) epoch_start: Offset,
    /// Who elected it, ascending.
    pub(super) granting_voters: Vec<NodeId>,
    /// Whether the LeaderChange record was appended: once the election is on disk.
    pub(super) begun: bool,
    /// When it resigns unless a majority fetches, on the monotonic clock.
    pub(super) check_quorum_deadline_ms: u64,
    /// All voters, this one included, by id.
    voters: Vec<ReplicaState>,
    observers: BTreeMap<NodeId, ReplicaState>,
    /// Voters that fetched since the deadline was last moved.
    fetched_voters: Vec<NodeId>,
    high_watermark: Option<Offset>,
}

impl Leader {
    /// A leader that has appended nothing and heard from nobody.
    pub(super) fn new(
        local: NodeId,
        voters: &VoterSet,
        epoch_start: Offset,
        granting_voters: Vec<NodeId>,
    ) -> Self {
        Leader {
            local,
            epoch_start,
            granting_voters,
            begun: false,
            check_quorum_deadline_ms: u64::MAX,
            voters: voters.ids().map(ReplicaState::new).collect(),
            observers: BTreeMap::new(),
            fetched_voters: Vec::new(),
            high_watermark: None,
        }
    }

    /// What this leader has committed in its epoch.
    pub(super) fn high_watermark(&self) -> Option<Offset> {
        self.high_watermark
    }

    /// The voters' progress, by id.
    pub(super) fn voters(&self) -> &[ReplicaState] {
        &self.voters
    }

    /// The observers' progress, by id.
    pub(super) fn observers(&self) -> impl Iterator<Item = &ReplicaState> {
        self.observers.values()
    }

    /// The leader's own log is on disk up to `flushed`. True if that moved the high watermark.
    pub(super) fn update_local(&mut self, flushed: Offset) -> bool {
        let local = self.local;
        let state = self.voter_mut(local).expect("a leader is a voter");
        state.end = Some(flushed);
        self.maybe_update_high_watermark()
    }

    /// Notes a fetch that agrees with the leader's log up to `end`. Tells whether the replica is a
    /// voter with another end than before, and whether that moved the high watermark.
    pub(super) fn update_replica(
        &mut self,
        now: Now,
        replica: ReplicaKey,
        end: Offset,
        leader_end: Offset,
    ) -> (bool, bool) {
        let ReplicaKey { id, directory } = replica;
        if let Some(state) = self.voter_mut(id) {
            let moved = state.fetched(now, directory, end, leader_end);
            return (moved, moved && self.maybe_update_high_watermark());
        }
        self.observers
            .entry(id)
            .or_insert_with(|| ReplicaState::new(id))
            .fetched(now, directory, end, leader_end);
        (false, false)
    }

    /// Counts a voter's fetch for the check of the quorum. True when a majority has fetched since
    /// the deadline was last moved: then it moves again.
    pub(super) fn count_for_quorum(&mut self, voter: NodeId) -> bool {
        if self.voter_mut(voter).is_some() && !self.fetched_voters.contains(&voter) {
            self.fetched_voters.push(voter);
        }
        // The leader itself is one of the majority.
        let complete = self.voters.len() / 2 <= self.fetched_voters.len();
        if complete {
            self.fetched_voters.clear();
        }
        complete
    }

    /// Other voters that have not fetched for `silence_ms`: they may not know of this leader.
    pub(super) fn silent_voters(&self, now: Now, silence_ms: u64) -> Vec<NodeId> {
        let silent = |state: &&ReplicaState| {
            let heard = state.last_fetch_ms;
            heard.is_none_or(|heard| silence_ms <= now.mono_ms.saturating_sub(heard))
        };
        let others = self.voters.iter().filter(|state| state.id != self.local);
        others.filter(silent).map(|state| state.id).collect()
    }

    /// The other voters, the one with the longest log first.
    pub(super) fn successors(&self) -> Vec<NodeId> {
        let mut others: Vec<&ReplicaState> = self.voters.iter().collect();
        others.retain(|state| state.id != self.local);
        others.sort_by_key(|state| (std::cmp::Reverse(state.end), state.id));
        others.iter().map(|state| state.id).collect()
    }

    /// Forgets observers that have not fetched for five minutes.
    pub(super) fn expire_observers(&mut self, now: Now) {
        self.observers.retain(|_, state| {
            let heard = state.last_fetch_ms.unwrap_or(0);
            now.mono_ms.saturating_sub(heard) < OBSERVER_SESSION_TIMEOUT_MS
        });
    }

    fn voter_mut(&mut self, id: NodeId) -> Option<&mut ReplicaState> {
        self.voters.iter_mut().find(|state| state.id == id)
    }

    fn maybe_update_high_watermark(&mut self) -> bool {
        let mut ends: Vec<Option<Offset>> = self.voters.iter().map(|state| state.end).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let Some(on_majority) = ends[self.voters.len() / 2] else {
            return false;
        };
        // Records of earlier epochs are committed only by one of this epoch behind them.
        let moves = self.epoch_start < on_majority && self.high_watermark < Some(on_majority);
        if moves {
            self.high_watermark = Some(on_majority);
        }
        moves
    }
}

/// `LeaderState.OBSERVER_SESSION_TIMEOUT_MS`.
const OBSERVER_SESSION_TIMEOUT_MS: u64 = 300_000;
