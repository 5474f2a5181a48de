//! A voter that led its epoch and does not any more.
//!
//! It resigned, or it restarted: what it had not flushed may be gone, so it must never append in that
//! epoch again. It tells the other voters, then waits for its election timeout and moves to the next
//! epoch. Mirrors Kafka's `ResignedState`.

use crate::types::NodeId;

/// The state of a resigned leader.
#[derive(Clone, Debug)]
pub(super) struct Resigned {
    /// The voters that have not confirmed EndQuorumEpoch, ascending.
    pub(super) unacked: Vec<NodeId>,
    /// The other voters, the one with the longest log first; empty after a restart.
    pub(super) preferred_successors: Vec<NodeId>,
}

impl Resigned {
    /// That voter knows.
    pub(super) fn acknowledged(&mut self, voter: NodeId) {
        self.unacked.retain(|&id| id != voter);
    }
}
