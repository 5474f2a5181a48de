//! BeginQuorumEpoch and EndQuorumEpoch, both sides, and what every response tells about the quorum.

use kafka_protocol::messages::{
    BeginQuorumEpochRequest, BeginQuorumEpochResponse, EndQuorumEpochRequest,
    EndQuorumEpochResponse,
};

use super::client::RaftClient;
use super::messages::{self, Answer};
use super::quorum::Role;
use super::votes::voter_key;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::timer::Timer;
use crate::types::{ConnectionId, LeaderEpoch, NodeId, ResponseError, Uuid};

impl RaftClient {
    /// A leader announces itself.
    pub(super) fn handle_begin(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &BeginQuorumEpochRequest,
    ) {
        let partition = messages::begin_partition(request);
        let refusal = if !self.is_our_cluster(request.cluster_id.as_ref()) {
            Some(ResponseError::InconsistentClusterId)
        } else if partition.is_none() {
            Some(ResponseError::InvalidRequest)
        } else {
            None
        };
        let (Some(partition), None) = (partition, refusal) else {
            let response =
                BeginQuorumEpochResponse::default().with_error_code(messages::code(refusal));
            self.reply(cx, conn, header.correlation_id, response.into(), None);
            return;
        };
        let leader = NodeId(partition.leader_id.0);
        let epoch = LeaderEpoch(partition.leader_epoch);
        let voter = voter_key(request.voter_id.0, partition.voter_directory_id);
        let error = match self.learn_leader_from_request(cx, leader, epoch) {
            Ok(()) if !self.is_voter_key_ours(voter) => Some(ResponseError::InvalidVoterKey),
            outcome => outcome.err(),
        };
        let body = messages::begin_response(header.version, self.view(), error);
        self.reply(cx, conn, header.correlation_id, body, None);
    }

    /// A leader resigned, or restarted.
    pub(super) fn handle_end(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &EndQuorumEpochRequest,
    ) {
        let partition = messages::end_partition(request);
        let refusal = if !self.is_our_cluster(request.cluster_id.as_ref()) {
            Some(ResponseError::InconsistentClusterId)
        } else if partition.is_none() {
            Some(ResponseError::InvalidRequest)
        } else {
            None
        };
        let (Some(partition), None) = (partition, refusal) else {
            let response =
                EndQuorumEpochResponse::default().with_error_code(messages::code(refusal));
            self.reply(cx, conn, header.correlation_id, response.into(), None);
            return;
        };
        let leader = NodeId(partition.leader_id.0);
        let epoch = LeaderEpoch(partition.leader_epoch);
        let learned = self.learn_leader_from_request(cx, leader, epoch);
        if learned.is_ok() {
            let successors = messages::successors(partition);
            self.hurry_election(cx, leader, &successors);
        }
        let body = messages::end_response(header.version, self.view(), learned.err());
        self.reply(cx, conn, header.correlation_id, body, None);
    }

    /// Learns the leader that a voter-only request comes from.
    fn learn_leader_from_request(
        &mut self,
        cx: &mut Context<'_>,
        leader: NodeId,
        epoch: LeaderEpoch,
    ) -> Result<(), ResponseError> {
        self.validate_voter_request(leader, epoch)?;
        if self.maybe_transition(cx, epoch, Some(leader)) {
            Ok(())
        } else {
            // Kafka throws, which its request handler answers like this.
            Err(ResponseError::UnknownServerError)
        }
    }

    /// A follower of a leader that resigned stands for election early, the preferred successor at
    /// once (`strictExponentialElectionBackoffMs`).
    fn hurry_election(
        &mut self,
        cx: &mut Context<'_>,
        resigned: NodeId,
        successors: &[(NodeId, Uuid)],
    ) {
        let max_ms = self.config.timeouts.election_backoff_max_ms;
        let local = self.quorum.local();
        let named = |&(id, directory): &(NodeId, Uuid)| voter_key(id.0, directory).matches(local);
        let position = successors
            .iter()
            .position(named)
            .unwrap_or(successors.len());
        let backoff_ms = match position {
            0 => 0,
            _ if successors.len() <= position => max_ms,
            _ => ((max_ms >> (successors.len() - 1)) << (position - 1)).min(max_ms),
        };
        let is_voter = self.quorum.is_voter();
        if let Role::Follower(follower) = self.quorum.role_mut()
            && follower.leader == resigned
        {
            follower.fetch_deadline_ms = cx.now.mono_ms + backoff_ms;
            if is_voter {
                cx.effects.arm_at(Timer::RaftFetch, backoff_ms);
            }
        }
    }

    /// A voter answered BeginQuorumEpoch. True if the answer was of use.
    pub(super) fn on_begin_response(
        &mut self,
        cx: &mut Context<'_>,
        response: &BeginQuorumEpochResponse,
    ) -> bool {
        let Some(answer) = messages::begin_answer(response) else {
            return false;
        };
        self.handle_common(cx, answer)
            .unwrap_or(answer.error_code == 0)
    }

    /// A voter answered EndQuorumEpoch. True if the answer was of use.
    pub(super) fn on_end_response(
        &mut self,
        cx: &mut Context<'_>,
        voter: NodeId,
        response: &EndQuorumEpochResponse,
    ) -> bool {
        let Some(answer) = messages::end_answer(response) else {
            return false;
        };
        if let Some(handled) = self.handle_common(cx, answer) {
            return handled;
        }
        if answer.error_code != 0 {
            return false;
        }
        if let Role::Resigned(resigned) = self.quorum.role_mut() {
            resigned.acknowledged(voter);
        }
        true
    }

    /// What all responses have in common (`maybeHandleCommonResponse`): another epoch or leader is
    /// learned from. `None` if the response is for its own handler; otherwise whether it was of use.
    ///
    /// Kafka calls every such answer a success and asks again at once. Where nothing was learned we
    /// back off: between two leaders, a tight loop of fetches tells nobody anything.
    pub(super) fn handle_common(&mut self, cx: &mut Context<'_>, answer: Answer) -> Option<bool> {
        let Answer { leader, epoch, .. } = answer;
        let own = self.quorum.epoch();
        let is_about_leader = answer.is(ResponseError::FencedLeaderEpoch)
            || answer.is(ResponseError::NotLeaderOrFollower);
        if epoch < own || answer.is(ResponseError::UnknownLeaderEpoch) {
            Some(false)
        } else if own < epoch || is_about_leader {
            let before = (own, self.quorum.leader());
            self.maybe_transition(cx, epoch, leader);
            Some(before != (self.quorum.epoch(), self.quorum.leader()))
        } else if leader.is_some() && self.quorum.leader().is_none() {
            let learned = self.maybe_transition(cx, epoch, leader);
            (!learned || answer.error_code != 0).then_some(learned)
        } else {
            None
        }
    }

    /// Follows a leader that is news, or moves to an epoch that is (`maybeTransition`). False if what
    /// was said contradicts what is known.
    pub(super) fn maybe_transition(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
    ) -> bool {
        if !self.quorum.is_consistent(epoch, leader) {
            return false;
        }
        let is_higher = self.quorum.epoch() < epoch;
        match leader {
            Some(leader) if is_higher || self.quorum.leader().is_none() => {
                self.become_follower(cx, epoch, leader);
            }
            None if is_higher => self.become_unattached(cx, epoch, None),
            Some(_) | None => {}
        }
        true
    }
}
