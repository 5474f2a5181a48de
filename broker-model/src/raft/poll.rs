//! What each role does by itself: its timers, its requests, its transitions.
//!
//! `poll` runs after every input, once everything is on disk, and sends what the role asks for to
//! whoever may be sent to. Mirrors the `poll*` methods of Kafka's `KafkaRaftClient`.

use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::client::RaftClient;
use super::messages;
use super::quorum::Role;
use super::voters::ReplicaKey;
use crate::client::network::{Completion, NetworkError};
use crate::context::Context;
use crate::probe::Probe;
use crate::timer::{Channel, Timer};
use crate::types::{LeaderEpoch, NodeId, ResponseError};

impl RaftClient {
    /// Does what the role asks for. True if the role changed, so that there is more to do.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        match self.quorum.role() {
            Role::Leader(_) if self.is_shutting_down => {
                self.become_resigned(cx);
                true
            }
            Role::Leader(leader) => {
                if !leader.begun {
                    self.begin_epoch(cx);
                }
                false
            }
            Role::Prospective(state) if state.election.is_granted() => {
                self.become_candidate(cx);
                true
            }
            Role::Prospective(state) if state.election.is_rejected() => {
                self.lose_pre_vote(cx);
                true
            }
            Role::Candidate(state) if state.election.is_granted() => {
                self.become_leader(cx);
                true
            }
            Role::Prospective(_) | Role::Candidate(_) => {
                self.send_votes(cx);
                false
            }
            Role::Follower(_) | Role::Unattached(_) => {
                if !self.is_shutting_down {
                    self.send_fetch(cx);
                }
                false
            }
            Role::Resigned(_) => {
                self.send_end(cx);
                false
            }
        }
    }

    /// A timer fired.
    pub(super) fn handle_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::Election => self.on_election_timeout(cx),
            Timer::RaftFetch => self.on_fetch_timeout(cx),
            Timer::CheckQuorum => self.check_quorum(cx),
            Timer::BeginQuorumEpoch => self.send_begin(cx),
            Timer::RaftPurgatory => self.expire_fetches(cx),
            Timer::RaftRetry(node) => self.requests.retry(node),
            // RaftLinger, ElectionBackoff: never set, for there is no linger, and since KIP-996 no
            // back-off of a candidate beside its timeout. The others belong to other parts.
            _ => {}
        }
    }

    /// A request ended.
    pub(super) fn handle_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        let Channel::Raft(node) = completion.channel else {
            return;
        };
        if !self.requests.is_expected(node, completion.token) {
            return;
        }
        let lost = completion.result.is_err();
        let was_of_use = match completion.result {
            Ok(body) => self.handle_response(cx, node, *body),
            Err(error) => {
                // A voter that knows no pre-vote gets a vote (KIP-996).
                let old_voter = error == NetworkError::UnsupportedVersion;
                if old_voter && matches!(self.quorum.role(), Role::Prospective(_)) {
                    self.become_candidate(cx);
                }
                false
            }
        };
        // A change of role has forgotten the request, and whoever answered it may be asked at once.
        if !self.requests.is_expected(node, completion.token) {
            return;
        }
        if was_of_use {
            self.requests.succeeded(node);
        } else {
            let window_ms = self.requests.failed(cx.now, node, lost);
            cx.effects.arm(Timer::RaftRetry(node), window_ms);
        }
    }

    fn handle_response(&mut self, cx: &mut Context<'_>, node: NodeId, body: ResponseKind) -> bool {
        match body {
            ResponseKind::Fetch(response) => self.on_fetch_response(cx, response),
            ResponseKind::Vote(response) => self.on_vote_response(cx, node, &response),
            ResponseKind::BeginQuorumEpoch(response) => self.on_begin_response(cx, &response),
            ResponseKind::EndQuorumEpoch(response) => self.on_end_response(cx, node, &response),
            _ => false,
        }
    }

    // ---- requests ----

    fn send(&mut self, cx: &mut Context<'_>, to: NodeId, body: RequestKind) {
        let token = self.requests.sent(to);
        let endpoint = self.quorum.voters().endpoint(to);
        let endpoint = endpoint.expect("requests go to voters");
        let timeout_ms = self.config.timeouts.request_timeout_ms;
        let channel = Channel::Raft(to);
        cx.network.send(
            cx.now,
            channel,
            endpoint,
            (token, body),
            timeout_ms,
            cx.effects,
        );
    }

    /// Asks every voter that has not answered for its vote.
    fn send_votes(&mut self, cx: &mut Context<'_>) {
        let (open, pre_vote): (Vec<NodeId>, bool) = match self.quorum.role() {
            Role::Prospective(state) => (state.election.unrecorded().collect(), true),
            Role::Candidate(state) if state.election.is_rejected() => return,
            Role::Candidate(state) => (state.election.unrecorded().collect(), false),
            Role::Unattached(_) | Role::Follower(_) | Role::Leader(_) | Role::Resigned(_) => return,
        };
        for voter in open {
            if self.requests.is_ready(cx.now, voter) {
                let body = messages::vote_request(
                    &self.config.cluster_id,
                    self.quorum.epoch(),
                    (self.quorum.local(), voter),
                    (self.log.last_epoch(), self.log.end()),
                    pre_vote,
                );
                self.send(cx, voter, body);
            }
        }
    }

    /// Fetches from the leader, or asks the next voter that may know one. One fetch at a time, and
    /// none before the disk has what it acknowledges.
    fn send_fetch(&mut self, cx: &mut Context<'_>) {
        if self.log.is_flushing() || self.requests.any_in_flight() {
            return;
        }
        let leader = match self.quorum.role() {
            Role::Follower(follower) => Some(follower.leader),
            _ => None,
        };
        let leader = leader.filter(|&leader| self.requests.is_ready(cx.now, leader));
        let Some(to) = leader.or_else(|| self.requests.next_ready(cx.now)) else {
            return;
        };
        let body = messages::fetch_request(
            &self.config.cluster_id,
            self.quorum.epoch(),
            self.quorum.local(),
            (self.log.last_epoch(), self.log.end()),
            self.log.high_watermark(),
        );
        self.send(cx, to, body);
    }

    /// Tells the voters that have not fetched for a while who leads, and again after half a fetch
    /// timeout.
    fn send_begin(&mut self, cx: &mut Context<'_>) {
        let period_ms = self.config.timeouts.fetch_timeout_ms / 2;
        let Role::Leader(leader) = self.quorum.role() else {
            return;
        };
        for voter in leader.silent_voters(cx.now, period_ms) {
            if self.requests.is_ready(cx.now, voter) {
                let local = self.config.node;
                let endpoint = self.quorum.voters().endpoint(local);
                let endpoint = endpoint.expect("a leader is a voter");
                let body = messages::begin_request(
                    &self.config.cluster_id,
                    self.quorum.epoch(),
                    (local, endpoint),
                    voter,
                );
                self.send(cx, voter, body);
            }
        }
        cx.effects.arm_at(Timer::BeginQuorumEpoch, period_ms.max(1));
    }

    /// Tells the voters that have not confirmed it that this leader resigned.
    fn send_end(&mut self, cx: &mut Context<'_>) {
        let Role::Resigned(resigned) = self.quorum.role() else {
            return;
        };
        for voter in resigned.unacked.clone() {
            if self.requests.is_ready(cx.now, voter) {
                let Role::Resigned(resigned) = self.quorum.role() else {
                    return;
                };
                let body = messages::end_request(
                    &self.config.cluster_id,
                    self.quorum.epoch(),
                    self.config.node,
                    &resigned.preferred_successors,
                );
                self.send(cx, voter, body);
            }
        }
    }

    // ---- timeouts ----

    fn on_election_timeout(&mut self, cx: &mut Context<'_>) {
        if self.is_shutting_down || !self.quorum.is_voter() {
            return;
        }
        match self.quorum.role() {
            Role::Unattached(_) | Role::Candidate(_) => self.become_prospective(cx),
            Role::Prospective(state) => {
                let is_alone = state.leader.is_none();
                self.lose_pre_vote(cx);
                if is_alone {
                    // Nobody refused: it goes on with what is left of its timeout, which is nothing.
                    self.become_prospective(cx);
                }
            }
            Role::Resigned(_) => {
                // What is left of the timeout goes along, which is nothing.
                let next = self.quorum.epoch().next();
                self.become_unattached(cx, next, None);
                cx.effects.arm_at(Timer::Election, 0);
            }
            Role::Follower(_) | Role::Leader(_) => {}
        }
    }

    /// A leader resigns when its deadline has passed; otherwise it waits for the rest.
    fn check_quorum(&mut self, cx: &mut Context<'_>) {
        let Role::Leader(leader) = self.quorum.role() else {
            return;
        };
        let deadline_ms = leader.check_quorum_deadline_ms;
        let left_ms = deadline_ms.saturating_sub(cx.now.mono_ms);
        if 0 < left_ms {
            cx.effects.arm_at(Timer::CheckQuorum, left_ms);
        } else {
            cx.effects.probe(Probe::CheckQuorumResigned);
            self.become_resigned(cx);
        }
    }

    fn on_fetch_timeout(&mut self, cx: &mut Context<'_>) {
        let Role::Follower(follower) = self.quorum.role() else {
            return;
        };
        if self.is_shutting_down || !self.quorum.is_voter() {
            return;
        }
        let left_ms = follower.fetch_deadline_ms.saturating_sub(cx.now.mono_ms);
        if 0 < left_ms {
            cx.effects.arm_at(Timer::RaftFetch, left_ms);
        } else {
            self.become_prospective(cx);
        }
    }

    // ---- transitions: the quorum's, with what goes with them ----

    /// The timers of the role that recovery chose.
    pub(super) fn enter_first_role(&mut self, cx: &mut Context<'_>) {
        let fetch_timeout_ms = self.config.timeouts.fetch_timeout_ms;
        let is_voter = self.quorum.is_voter();
        match self.quorum.role_mut() {
            Role::Follower(follower) => {
                follower.fetch_deadline_ms = cx.now.mono_ms + fetch_timeout_ms;
                if is_voter {
                    cx.effects.arm_at(Timer::RaftFetch, fetch_timeout_ms);
                }
            }
            Role::Unattached(_) | Role::Candidate(_) | Role::Resigned(_) => {
                self.arm_election(cx);
            }
            Role::Prospective(_) | Role::Leader(_) => unreachable!("no role to start in"),
        }
        // A voter that is the only one need not wait for anybody.
        if self.quorum.voters().len() == 1 && is_voter {
            cx.effects.arm_at(Timer::Election, 0);
        }
        self.note_role(cx);
    }

    pub(super) fn become_unattached(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
    ) {
        // Who was waiting for an election goes on with what is left of its timeout.
        let goes_on = match self.quorum.role() {
            Role::Unattached(_) | Role::Candidate(_) | Role::Resigned(_) => true,
            Role::Prospective(state) => !state.election.is_rejected(),
            Role::Follower(_) | Role::Leader(_) => false,
        };
        let was_leader = self.stop_leading(cx);
        self.quorum.become_unattached(epoch, leader);
        if was_leader {
            self.fail_fetches(cx, ResponseError::NotLeaderOrFollower);
        }
        cx.effects.disarm(Timer::RaftFetch);
        if !goes_on {
            self.arm_election(cx);
        }
        self.role_changed(cx);
    }

    pub(super) fn become_follower(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        leader: NodeId,
    ) {
        let timeout_ms = self.config.timeouts.fetch_timeout_ms;
        self.stop_leading(cx);
        let deadline_ms = cx.now.mono_ms + timeout_ms;
        self.quorum.become_follower(epoch, leader, deadline_ms);
        self.fail_fetches(cx, ResponseError::NotLeaderOrFollower);
        cx.effects.disarm(Timer::Election);
        if self.quorum.is_voter() {
            cx.effects.arm_at(Timer::RaftFetch, timeout_ms);
        }
        self.role_changed(cx);
    }

    /// Gives a vote; a voter that did waits for a whole election timeout again.
    pub(super) fn vote_for(&mut self, cx: &mut Context<'_>, candidate: ReplicaKey) {
        self.quorum.add_vote(candidate);
        self.arm_election(cx);
        self.note_role(cx);
    }

    fn become_prospective(&mut self, cx: &mut Context<'_>) {
        self.quorum.become_prospective();
        cx.effects.disarm(Timer::RaftFetch);
        self.arm_election(cx);
        self.role_changed(cx);
    }

    fn become_candidate(&mut self, cx: &mut Context<'_>) {
        self.quorum.become_candidate();
        self.arm_election(cx);
        self.role_changed(cx);
    }

    /// Back to the leader that was known, or to nobody (`prospectiveTransitionAfterElectionLoss`).
    fn lose_pre_vote(&mut self, cx: &mut Context<'_>) {
        let (leader, epoch) = (self.quorum.leader(), self.quorum.epoch());
        match leader {
            Some(leader) if self.quorum.voters().contains(leader) => {
                self.become_follower(cx, epoch, leader);
            }
            _ => self.become_unattached(cx, epoch, leader),
        }
    }

    fn become_leader(&mut self, cx: &mut Context<'_>) {
        self.quorum.become_leader(self.log.end());
        cx.effects.disarm(Timer::Election);
        cx.effects.probe(Probe::RaftElected);
        self.role_changed(cx);
    }

    /// The leader's first acts, once its election is on disk.
    fn begin_epoch(&mut self, cx: &mut Context<'_>) {
        let check_quorum_ms = self.check_quorum_timeout_ms();
        let alone = self.quorum.voters().majority() == 1;
        let leader = self
            .quorum
            .leader_state()
            .expect("only a leader begins its epoch");
        leader.begun = true;
        if !alone {
            leader.check_quorum_deadline_ms = cx.now.mono_ms + check_quorum_ms;
            cx.effects.arm_at(Timer::CheckQuorum, check_quorum_ms);
        }
        self.append_leader_change(cx);
        self.update_leader_end(cx);
        self.send_begin(cx);
    }

    pub(super) fn become_resigned(&mut self, cx: &mut Context<'_>) {
        self.fail_fetches(cx, ResponseError::NotLeaderOrFollower);
        self.stop_leading(cx);
        self.quorum.become_resigned();
        self.arm_election(cx);
        self.role_changed(cx);
    }

    /// Ends what only a leader does. True if this node led.
    fn stop_leading(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.quorum.is_leader() {
            return false;
        }
        self.give_up_claim();
        cx.effects.disarm(Timer::CheckQuorum);
        cx.effects.disarm(Timer::BeginQuorumEpoch);
        true
    }

    fn role_changed(&mut self, cx: &mut Context<'_>) {
        self.requests.reset();
        self.note_role(cx);
    }

    /// A voter waits between one and two election timeouts, an observer for ever.
    fn arm_election(&self, cx: &mut Context<'_>) {
        if self.quorum.is_voter() {
            let least_ms = self.config.timeouts.election_timeout_ms;
            let most_ms = (2 * least_ms).saturating_sub(1).max(least_ms);
            cx.effects.arm(Timer::Election, least_ms..=most_ms);
        }
    }
}
