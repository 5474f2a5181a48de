//! Epoch and role of a replica, and the only legal ways from one to the next.
//!
//! ```text
//! Unattached  ─▶ Unattached (higher epoch) · Prospective · Follower
//! Follower    ─▶ Follower, Unattached (higher epoch) · Prospective
//! Prospective ─▶ Candidate · Follower · Unattached (same epoch: lost; or higher)
//! Candidate   ─▶ Leader · Prospective (timeout) · Follower · Unattached (higher epoch)
//! Leader      ─▶ Resigned · Follower, Unattached (higher epoch)
//! Resigned    ─▶ Unattached, Follower (higher epoch)
//! ```
//!
//! Observers are only Unattached or Follower. Every transition that changes epoch, leader or vote
//! leaves the quorum *dirty*: [`QuorumState::persist`] writes the file, and nothing leaves the node
//! before that is on disk. Mirrors Kafka's `QuorumState`.

use super::candidate::Candidate;
use super::follower::Follower;
use super::leader::Leader;
use super::prospective::Prospective;
use super::quorum_state::ElectionState;
use super::resigned::Resigned;
use super::unattached::{self, Unattached};
use super::voters::{EpochElection, ReplicaKey, VoterSet};
use crate::effect::{Effects, File, Write};
use crate::note::{Note, RaftRole};
use crate::types::{FlushId, FlushOwner, LeaderEpoch, NodeId, Offset};

/// What a replica is in the current epoch.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Knows nobody to fetch from.
    Unattached(Unattached),
    /// Fetches from a leader.
    Follower(Follower),
    /// Asks for pre-votes.
    Prospective(Prospective),
    /// Asks for votes.
    Candidate(Candidate),
    /// Leads.
    Leader(Leader),
    /// Led, and will not append in this epoch again.
    Resigned(Resigned),
}

/// Epoch, role, and what the disk knows of them.
#[derive(Debug)]
pub(super) struct QuorumState {
    local: ReplicaKey,
    is_voter: bool,
    voters: VoterSet,
    epoch: LeaderEpoch,
    role: Role,
    /// The last state that was written; `None` before the first write of this incarnation, for what
    /// an earlier one wrote may not be on disk.
    written: Option<ElectionState>,
    dirty: bool,
    /// The flush of `written`, while it runs.
    flushing: Option<FlushId>,
    flushes: u64,
}

impl QuorumState {
    /// The role after a restart (`QuorumState.initialize`). A former leader is resigned; a log that is
    /// ahead of the file wins.
    pub(super) fn recover(
        local: ReplicaKey,
        is_voter: bool,
        voters: VoterSet,
        election: ElectionState,
        log_epoch: LeaderEpoch,
    ) -> Self {
        let ElectionState { leader, voted, .. } = election;
        let unattached = |leader, voted| Role::Unattached(Unattached { leader, voted });
        let role = if election.epoch < log_epoch {
            unattached(None, None)
        } else if is_voter && leader == Some(local.id) {
            resigned(&voters, local.id, Vec::new())
        } else if is_voter && voted.is_some_and(|voted| voted.matches(local)) {
            let election = EpochElection::new(&voters, local.id);
            Role::Candidate(Candidate { election })
        } else {
            match leader {
                Some(leader) if voters.contains(leader) && leader != local.id => {
                    Role::Follower(Follower::new(leader, voted, 0))
                }
                _ => unattached(leader, voted),
            }
        };
        QuorumState {
            local,
            is_voter,
            voters,
            epoch: election.epoch.max(log_epoch),
            role,
            written: None,
            dirty: true,
            flushing: None,
            flushes: 0,
        }
    }

    /// The current epoch.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The current role.
    pub(super) fn role(&self) -> &Role {
        &self.role
    }

    /// The current role, to change what is inside it.
    pub(super) fn role_mut(&mut self) -> &mut Role {
        &mut self.role
    }

    /// This replica.
    pub(super) fn local(&self) -> ReplicaKey {
        self.local
    }

    /// Whether this replica votes.
    pub(super) fn is_voter(&self) -> bool {
        self.is_voter
    }

    /// The voters.
    pub(super) fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// The leader state, while this replica leads.
    pub(super) fn leader_state(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Unattached(_)
            | Role::Follower(_)
            | Role::Prospective(_)
            | Role::Candidate(_)
            | Role::Resigned(_) => None,
        }
    }

    /// Whether this replica leads.
    pub(super) fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The leader of the epoch, if known. One that resigned still is.
    pub(super) fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Unattached(state) => state.leader,
            Role::Follower(state) => Some(state.leader),
            Role::Prospective(state) => state.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) | Role::Resigned(_) => Some(self.local.id),
        }
    }

    /// Whether a leader that was named is no contradiction to what is known of that epoch.
    pub(super) fn is_consistent(&self, epoch: LeaderEpoch, leader: Option<NodeId>) -> bool {
        let Some(leader) = leader else { return true };
        if !self.voters.contains(leader) {
            return false;
        }
        if leader == self.local.id {
            // Nobody can know of a leadership of ours that we do not know of.
            return epoch < self.epoch || (epoch == self.epoch && self.leader() == Some(leader));
        }
        epoch != self.epoch || self.leader().is_none_or(|known| known == leader)
    }

    /// Whether a vote is granted in the current epoch.
    pub(super) fn can_grant_vote(
        &self,
        candidate: ReplicaKey,
        log_is_up_to_date: bool,
        pre_vote: bool,
    ) -> bool {
        let grants = |leader, voted| {
            unattached::grants(leader, voted, candidate, log_is_up_to_date, pre_vote)
        };
        match &self.role {
            Role::Unattached(state) => grants(state.leader, state.voted),
            Role::Prospective(state) => grants(state.leader, state.voted),
            Role::Follower(state) => state.grants(log_is_up_to_date, pre_vote),
            Role::Candidate(_) | Role::Resigned(_) => pre_vote && log_is_up_to_date,
            Role::Leader(_) => false,
        }
    }

    /// A higher epoch without a known leader, or an election that a prospective voter lost.
    pub(super) fn become_unattached(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>) {
        let lost = epoch == self.epoch && matches!(self.role, Role::Prospective(_));
        assert!(
            self.epoch < epoch || lost,
            "unattached in epoch {epoch} after {:?} in epoch {}",
            self.role.name(),
            self.epoch
        );
        let voted = if lost { self.voted() } else { None };
        self.epoch = epoch;
        self.role = Role::Unattached(Unattached { leader, voted });
        self.dirty = true;
    }

    /// A vote for `candidate` in the current epoch.
    pub(super) fn add_vote(&mut self, candidate: ReplicaKey) {
        assert_ne!(
            candidate.id, self.local.id,
            "a vote for itself is no answer"
        );
        let name = self.role.name();
        let voted = match &mut self.role {
            Role::Unattached(state) => &mut state.voted,
            Role::Prospective(state) => {
                // Who was voted for gets a chance: pre-votes are gathered anew
                // (`prospectiveAddVotedState`).
                state.election = EpochElection::new(&self.voters, self.local.id);
                &mut state.voted
            }
            Role::Follower(_) | Role::Candidate(_) | Role::Leader(_) | Role::Resigned(_) => {
                panic!("{name:?} votes in epoch {}", self.epoch)
            }
        };
        assert_eq!(*voted, None, "a second vote in epoch {}", self.epoch);
        *voted = Some(candidate);
        self.dirty = true;
    }

    /// A leader of this or a higher epoch is known.
    pub(super) fn become_follower(
        &mut self,
        epoch: LeaderEpoch,
        leader: NodeId,
        fetch_deadline_ms: u64,
    ) {
        assert_ne!(leader, self.local.id, "a replica follows itself");
        let settled = match &self.role {
            Role::Follower(_) | Role::Leader(_) | Role::Resigned(_) => true,
            Role::Unattached(_) | Role::Prospective(_) | Role::Candidate(_) => false,
        };
        assert!(
            self.epoch < epoch || (epoch == self.epoch && !settled),
            "follower of {leader} in epoch {epoch} after {:?} in epoch {}",
            self.role.name(),
            self.epoch
        );
        let voted = if epoch == self.epoch {
            self.voted()
        } else {
            None
        };
        self.epoch = epoch;
        self.role = Role::Follower(Follower::new(leader, voted, fetch_deadline_ms));
        self.dirty = true;
    }

    /// A voter's timeout ran out. Only in memory: neither epoch nor vote change.
    pub(super) fn become_prospective(&mut self) {
        assert!(self.is_voter, "an observer stands for election");
        match &self.role {
            Role::Unattached(_) | Role::Follower(_) | Role::Candidate(_) => {}
            Role::Prospective(_) | Role::Leader(_) | Role::Resigned(_) => {
                panic!("prospective after {:?}", self.role.name())
            }
        }
        self.role = Role::Prospective(Prospective {
            leader: self.leader(),
            voted: self.voted(),
            election: EpochElection::new(&self.voters, self.local.id),
        });
    }

    /// A majority would vote for this replica: the next epoch, and its own vote in it.
    pub(super) fn become_candidate(&mut self) {
        assert!(
            matches!(self.role, Role::Prospective(_)),
            "candidate after {:?}",
            self.role.name()
        );
        self.epoch = self.epoch.next();
        let election = EpochElection::new(&self.voters, self.local.id);
        self.role = Role::Candidate(Candidate { election });
        self.dirty = true;
    }

    /// A majority voted for this replica.
    pub(super) fn become_leader(&mut self, epoch_start: Offset) {
        let Role::Candidate(Candidate { election }) = &self.role else {
            panic!("leader after {:?}", self.role.name());
        };
        assert!(election.is_granted(), "leader without a majority");
        let granting_voters = election.granted().collect();
        let leader = Leader::new(self.local.id, &self.voters, epoch_start, granting_voters);
        self.role = Role::Leader(leader);
        self.dirty = true;
    }

    /// The leader stands down. Only in memory: the file goes on to say that it led.
    pub(super) fn become_resigned(&mut self) {
        let Role::Leader(leader) = &self.role else {
            panic!("resigned after {:?}", self.role.name());
        };
        let successors = leader.successors();
        self.role = resigned(&self.voters, self.local.id, successors);
    }

    /// What the file has to say.
    pub(super) fn election(&self) -> ElectionState {
        ElectionState {
            epoch: self.epoch,
            leader: self.leader(),
            voted: self.voted(),
        }
    }

    /// The note of the role as it is.
    pub(super) fn role_note(&self, log_end: Offset) -> Note {
        Note::RaftRole {
            epoch: self.epoch,
            role: self.role.name(),
            leader: self.leader(),
            voted: self.voted().map(|voted| voted.id),
            log_end,
        }
    }

    /// Whether the disk may not know the state yet: then nothing may leave this node.
    pub(super) fn is_blocked(&self) -> bool {
        self.dirty || self.flushing.is_some()
    }

    /// Writes and flushes what changed since the last write.
    pub(super) fn persist(&mut self, effects: &mut Effects) {
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let election = self.election();
        if self.written.replace(election) == Some(election) {
            return;
        }
        let content = election.encode(&self.voters);
        effects.write(File::QuorumState, Write::Replace(content));
        effects.note(Note::QuorumStateWritten {
            epoch: election.epoch,
            leader: election.leader,
            voted: election.voted.map(|voted| voted.id),
        });
        self.flushes += 1;
        let id = FlushId::new(FlushOwner::Raft, self.flushes * 2 + 1);
        self.flushing = Some(id);
        effects.flush(File::QuorumState, id);
    }

    /// A flush ended. True if it was the one that is awaited.
    pub(super) fn on_flushed(&mut self, effects: &mut Effects, id: FlushId) -> bool {
        let awaited = self.flushing.take_if(|flushing| *flushing == id).is_some();
        if awaited {
            effects.note(Note::QuorumStateFlushed);
        }
        awaited
    }

    fn voted(&self) -> Option<ReplicaKey> {
        match &self.role {
            Role::Unattached(state) => state.voted,
            Role::Follower(state) => state.voted,
            Role::Prospective(state) => state.voted,
            Role::Candidate(_) => Some(self.local),
            // Kafka writes no vote beside the leadership of this replica.
            Role::Leader(_) | Role::Resigned(_) => None,
        }
    }
}

impl Role {
    /// The role's name in notes.
    pub(super) fn name(&self) -> RaftRole {
        match self {
            Role::Unattached(_) => RaftRole::Unattached,
            Role::Follower(_) => RaftRole::Follower,
            Role::Prospective(_) => RaftRole::Prospective,
            Role::Candidate(_) => RaftRole::Candidate,
            Role::Leader(_) => RaftRole::Leader,
            Role::Resigned(_) => RaftRole::Resigned,
        }
    }
}

fn resigned(voters: &VoterSet, local: NodeId, preferred_successors: Vec<NodeId>) -> Role {
    Role::Resigned(Resigned {
        unacked: voters.ids().filter(|&id| id != local).collect(),
        preferred_successors,
    })
}
