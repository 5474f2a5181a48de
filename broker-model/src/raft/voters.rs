//! Who votes, and how an election stands.
//!
//! Static voters only (`controller.quorum.voters`): the set never changes, and a voter's directory
//! id is not part of it. Mirrors Kafka's `VoterSet`, `ReplicaKey` and `EpochElection`.

use crate::node::Voter;
use crate::types::{Endpoint, NodeId, Uuid};

/// A replica of the metadata log: a node and its log directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ReplicaKey {
    /// The node.
    pub(super) id: NodeId,
    /// Its directory; nil where it is not known.
    pub(super) directory: Uuid,
}

impl ReplicaKey {
    /// Whether `other` may be the replica that this names: a directory that is not known matches
    /// every one.
    pub(super) fn matches(self, other: ReplicaKey) -> bool {
        self.id == other.id && (self.directory.is_nil() || self.directory == other.directory)
    }
}

/// The voters and where they are reached, sorted by id.
#[derive(Clone, Debug)]
pub(super) struct VoterSet {
    voters: Vec<Voter>,
}

impl VoterSet {
    /// The set of `controller.quorum.voters`.
    pub(super) fn new(mut voters: Vec<Voter>) -> Self {
        voters.sort_by_key(|voter| voter.id);
        assert!(!voters.is_empty(), "a quorum without voters");
        VoterSet { voters }
    }

    /// Whether that node votes.
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.endpoint(id).is_some()
    }

    /// Where that voter is reached.
    pub(super) fn endpoint(&self, id: NodeId) -> Option<&Endpoint> {
        let voter = self.voters.iter().find(|voter| voter.id == id)?;
        Some(&voter.endpoint)
    }

    /// The ids, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.iter().map(|voter| voter.id)
    }

    /// How many voters there are.
    pub(super) fn len(&self) -> usize {
        self.voters.len()
    }

    /// How many voters decide.
    pub(super) fn majority(&self) -> usize {
        majority(self.voters.len())
    }
}

/// The votes of one election, a voter's own included.
#[derive(Clone, Debug)]
pub(super) struct EpochElection {
    votes: Vec<(NodeId, Option<bool>)>,
}

impl EpochElection {
    /// An election in which `local` has voted for itself and nobody else has answered.
    pub(super) fn new(voters: &VoterSet, local: NodeId) -> Self {
        let votes = voters.ids().map(|id| (id, (id == local).then_some(true)));
        EpochElection {
            votes: votes.collect(),
        }
    }

    /// Notes a voter's answer. Who is no voter has none.
    pub(super) fn record(&mut self, voter: NodeId, granted: bool) {
        if let Some((_, vote)) = self.votes.iter_mut().find(|(id, _)| *id == voter) {
            *vote = Some(granted);
        }
    }

    /// Whether a majority granted it.
    pub(super) fn is_granted(&self) -> bool {
        majority(self.votes.len()) <= self.granted().count()
    }

    /// Whether a majority can no longer grant it.
    pub(super) fn is_rejected(&self) -> bool {
        let open = self.unrecorded().count();
        self.granted().count() + open < majority(self.votes.len())
    }

    /// Who has not answered.
    pub(super) fn unrecorded(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.with(None)
    }

    /// Who granted it.
    pub(super) fn granted(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.with(Some(true))
    }

    fn with(&self, vote: Option<bool>) -> impl Iterator<Item = NodeId> + '_ {
        let votes = self.votes.iter().filter(move |(_, has)| *has == vote);
        votes.map(|(id, _)| *id)
    }
}

fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StrBytes;

    fn voters(ids: &[i32]) -> VoterSet {
        let endpoint = Endpoint {
            host: StrBytes::from_static_str("n"),
            port: 1,
        };
        let voter = |&id: &i32| Voter {
            id: NodeId(id),
            endpoint: endpoint.clone(),
        };
        VoterSet::new(ids.iter().map(voter).collect())
    }

    #[test]
    fn two_of_three_win_and_two_of_three_refuse() {
        let mut election = EpochElection::new(&voters(&[1, 2, 3]), NodeId(1));
        assert!(!election.is_granted() && !election.is_rejected());
        election.record(NodeId(2), false);
        assert!(!election.is_rejected());
        election.record(NodeId(3), true);
        assert!(election.is_granted());
        election.record(NodeId(3), false);
        assert!(election.is_rejected());
        assert_eq!(election.unrecorded().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_known_matches_every_one() {
        let key = |directory| ReplicaKey {
            id: NodeId(1),
            directory: Uuid::from_u128(directory),
        };
        assert!(key(0).matches(key(7)));
        assert!(key(7).matches(key(7)));
        assert!(!key(7).matches(key(8)));
    }
}
