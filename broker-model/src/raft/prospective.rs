//! A voter that asks whether it could win, without a new epoch (KIP-996).
//!
//! Neither epoch nor vote change on the way in. It keeps the leader it knew, goes back to it when it
//! loses, and may still grant a real vote of its epoch. Mirrors Kafka's `ProspectiveState`.

use super::voters::{EpochElection, ReplicaKey};
use crate::types::NodeId;

/// The state of a prospective voter.
#[derive(Clone, Debug)]
pub(super) struct Prospective {
    /// The leader of the epoch, if known.
    pub(super) leader: Option<NodeId>,
    /// The vote in the epoch.
    pub(super) voted: Option<ReplicaKey>,
    /// The pre-votes.
    pub(super) election: EpochElection,
}
