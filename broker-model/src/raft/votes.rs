//! Vote: pre-votes and votes, both sides.

use kafka_protocol::messages::{VoteRequest, VoteResponse, vote_request};

use super::client::RaftClient;
use super::messages;
use super::quorum::Role;
use super::voters::ReplicaKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{ConnectionId, LeaderEpoch, NodeId, Offset, ResponseError, Uuid};

impl RaftClient {
    /// A voter asks for a vote, or whether it would get one.
    pub(super) fn handle_vote(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &VoteRequest,
    ) {
        let refusal = if !self.is_our_cluster(request.cluster_id.as_ref()) {
            Some(ResponseError::InconsistentClusterId)
        } else if messages::vote_partition(request).is_none() {
            Some(ResponseError::InvalidRequest)
        } else {
            None
        };
        let (Some(partition), None) = (messages::vote_partition(request), refusal) else {
            let response = VoteResponse::default().with_error_code(messages::code(refusal));
            self.reply(cx, conn, header.correlation_id, response.into(), None);
            return;
        };
        let voter = ReplicaKey {
            id: NodeId(request.voter_id.0),
            directory: partition.voter_directory_id,
        };
        let (error, granted) = match self.decide_vote(cx, voter, partition) {
            Ok(granted) => (None, granted),
            Err(error) => (Some(error), false),
        };
        let note = Note::VoteAnswered {
            candidate: NodeId(partition.replica_id.0),
            epoch: LeaderEpoch(partition.replica_epoch),
            pre_vote: partition.pre_vote,
            granted,
        };
        let body = messages::vote_response(header.version, self.view(), error, granted);
        self.reply(cx, conn, header.correlation_id, body, Some(note));
    }

    /// Decides, and remembers a vote that was given.
    fn decide_vote(
        &mut self,
        cx: &mut Context<'_>,
        voter: ReplicaKey,
        request: &vote_request::PartitionData,
    ) -> Result<bool, ResponseError> {
        let epoch = LeaderEpoch(request.replica_epoch);
        let candidate = ReplicaKey {
            id: NodeId(request.replica_id.0),
            directory: request.replica_directory_id,
        };
        let log = (
            LeaderEpoch(request.last_offset_epoch),
            Offset(request.last_offset),
        );
        // A candidate's epoch is new, so no log can have it.
        let epoch_bound = if request.pre_vote {
            epoch.next()
        } else {
            epoch
        };
        if log.1 < Offset::ZERO || log.0 < LeaderEpoch(0) || epoch_bound <= log.0 {
            return Err(ResponseError::InvalidRequest);
        }
        self.validate_voter_request(candidate.id, epoch)?;
        if candidate.id == self.config.node {
            return Err(ResponseError::InvalidRequest);
        }
        if self.quorum.epoch() < epoch {
            self.become_unattached(cx, epoch, None);
        }
        if !self.is_voter_key_ours(voter) {
            return Err(ResponseError::InvalidVoterKey);
        }
        let log_is_up_to_date = (self.log.last_epoch(), self.log.end()) <= log;
        let pre_vote = request.pre_vote;
        let granted = self
            .quorum
            .can_grant_vote(candidate, log_is_up_to_date, pre_vote);
        if granted && !pre_vote && self.quorum.election().voted.is_none() {
            cx.effects.note(Note::VoteCast {
                candidate: candidate.id,
                epoch,
                pre_vote,
            });
            self.vote_for(cx, candidate);
        }
        if pre_vote && !granted {
            cx.effects.probe(Probe::PreVoteRefused);
        }
        Ok(granted)
    }

    /// A voter answered. True if the answer was of use.
    pub(super) fn on_vote_response(
        &mut self,
        cx: &mut Context<'_>,
        voter: NodeId,
        response: &VoteResponse,
    ) -> bool {
        let Some((answer, granted)) = messages::vote_answer(response) else {
            return false;
        };
        if let Some(handled) = self.handle_common(cx, answer) {
            return handled;
        }
        if answer.error_code != 0 {
            return false;
        }
        match self.quorum.role_mut() {
            Role::Prospective(state) => state.election.record(voter, granted),
            Role::Candidate(state) => state.election.record(voter, granted),
            Role::Unattached(_) | Role::Follower(_) | Role::Leader(_) | Role::Resigned(_) => {}
        }
        true
    }

    /// A voter-only request is of this epoch or a later one (`validateVoterOnlyRequest`).
    pub(super) fn validate_voter_request(
        &self,
        sender: NodeId,
        epoch: LeaderEpoch,
    ) -> Result<(), ResponseError> {
        if epoch < self.quorum.epoch() {
            Err(ResponseError::FencedLeaderEpoch)
        } else if sender < NodeId(0) {
            Err(ResponseError::InvalidRequest)
        } else {
            Ok(())
        }
    }

    /// Whether a request is meant for this replica, as far as it says (`isValidVoterKey`).
    pub(super) fn is_voter_key_ours(&self, voter: ReplicaKey) -> bool {
        voter.id < NodeId(0) || voter.matches(self.quorum.local())
    }

    /// Whether a request is meant for this cluster, as far as it says.
    pub(super) fn is_our_cluster(&self, cluster_id: Option<&crate::types::StrBytes>) -> bool {
        cluster_id.is_none_or(|id| *id == self.config.cluster_id)
    }
}

/// The key that a request of an old version leaves out.
pub(super) fn voter_key(id: i32, directory: Uuid) -> ReplicaKey {
    ReplicaKey {
        id: NodeId(id),
        directory,
    }
}
