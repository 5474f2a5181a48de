//! A voter that voted for itself in a new epoch and asks for votes.
//!
//! One that lost waits for the rest of its election timeout, then asks for pre-votes again. Mirrors
//! Kafka's `CandidateState`.

use super::voters::EpochElection;

/// The state of a candidate; its vote is its own.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// The votes.
    pub(super) election: EpochElection,
}
