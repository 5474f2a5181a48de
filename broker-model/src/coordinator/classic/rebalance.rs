//! The join phase: from the first who joins to a generation.
//!
//! A new group waits `group.initial.rebalance.delay.ms` for more members, and again while more come;
//! any other waits until everybody has joined, at most as long as its most patient member asks.
//! Who has not joined then is out, unless it is static.
//!
//! Mirrors `GroupMetadataManager.prepareRebalance`, `completeClassicGroupJoin` and their timers.

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::{ClassicGroup, InitialRebalance, start, stop};
use crate::coordinator::turn::{Continuation, Turn};
use crate::note::{ClassicGroupChange, ClassicGroupState, MemberRemoved};
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// Starts a rebalance; or, if one goes on, ends its join phase if it can end.
    pub(super) fn prepare_rebalance_or_complete_join(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            ClassicGroupState::Stable
            | ClassicGroupState::CompletingRebalance
            | ClassicGroupState::Empty => self.prepare_rebalance(turn),
            ClassicGroupState::PreparingRebalance | ClassicGroupState::Dead => {
                self.maybe_complete_join(turn);
            }
        }
    }

    /// Starts a rebalance.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == ClassicGroupState::CompletingRebalance {
            self.reset_assignment(turn, ResponseError::RebalanceInProgress);
        }
        self.pending_sync.clear();
        stop(turn, self.sync_key());
        let initial = self.state == ClassicGroupState::Empty;
        self.transition_to(turn, ClassicGroupState::PreparingRebalance);
        let timeout_ms = self.rebalance_timeout_ms();
        if initial {
            let delay_ms = turn.config.group_initial_rebalance_delay_ms;
            self.initial = Some(InitialRebalance {
                delay_ms,
                remaining_ms: timeout_ms.saturating_sub(delay_ms),
            });
            start(turn, self.join_key(), delay_ms);
        } else if self.all_joined() {
            self.complete_join(turn);
        } else {
            start(turn, self.join_key(), timeout_ms);
        }
    }

    /// Ends the join phase if everybody has joined. A new group's goes on to the end of its delay.
    pub(super) fn maybe_complete_join(&mut self, turn: &mut Turn<'_>) {
        if self.state == ClassicGroupState::PreparingRebalance
            && self.previous != ClassicGroupState::Empty
            && self.all_joined()
        {
            self.complete_join(turn);
        }
    }

    /// The time is over, or a new group's delay.
    pub(super) fn join_phase_expired(&mut self, turn: &mut Turn<'_>) {
        if self.state != ClassicGroupState::PreparingRebalance {
            return;
        }
        let added = self.new_member_added;
        let initial = self.initial.as_mut();
        match initial.filter(|initial| added && initial.remaining_ms > 0) {
            Some(initial) => {
                let delay_ms = turn.config.group_initial_rebalance_delay_ms;
                let delay_ms = delay_ms.min(initial.remaining_ms);
                *initial = InitialRebalance {
                    delay_ms,
                    remaining_ms: initial.remaining_ms.saturating_sub(initial.delay_ms),
                };
                self.new_member_added = false;
                start(turn, self.join_key(), delay_ms);
            }
            None => self.complete_join(turn),
        }
    }

    /// Ends the join phase: with those who have joined there is a new generation, which is written
    /// down if it is empty. If only static members are left and none has joined, everything waits
    /// until one does, or until their sessions end.
    pub(super) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        self.initial = None;
        stop(turn, self.join_key());
        let members = self.members.values();
        let absent = members.filter(|own| own.awaiting_join.is_none() && own.instance.is_none());
        let absent: Vec<StrBytes> = absent.map(|member| member.id.clone()).collect();
        for member in &absent {
            self.remove(turn, member, MemberRemoved::JoinExpired);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            start(turn, self.join_key(), self.rebalance_timeout_ms());
            return;
        }
        self.next_generation(turn);
        if self.state == ClassicGroupState::Empty {
            self.store(turn, |_| unreachable!());
            let group = self.id.clone();
            turn.decision.then = Some(Continuation::ClassicEmptied { group });
            return;
        }
        let members: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in members {
            self.answer_join(turn, &id);
            self.start_session(turn, &id);
            let member = self.members.get_mut(&id).expect("it is a member");
            member.is_new = false;
            self.pending_sync.insert(id);
        }
        start(turn, self.sync_key(), self.rebalance_timeout_ms());
    }

    fn next_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation += 1;
        self.pending_sync.clear();
        self.assignments.clear();
        let to = if self.members.is_empty() {
            self.protocol = None;
            ClassicGroupState::Empty
        } else {
            let protocol = self.select_protocol();
            let protocol = protocol.expect("nobody is let in without a common protocol");
            self.protocol = Some(protocol);
            ClassicGroupState::CompletingRebalance
        };
        self.subscribed_topics = self.compute_subscribed_topics();
        self.transition_to(turn, to);
        let change = ClassicGroupChange::Generation {
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.identities(),
            topics: self.subscribed_topics.clone(),
        };
        self.note(turn, change);
    }

    /// What the leader hears of everybody.
    pub(super) fn join_response_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_ref().expect("a generation has a protocol");
        let members = self.members.values();
        let members = members.map(|member| {
            let metadata = member.metadata(protocol).cloned();
            JoinGroupResponseMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance.clone())
                .with_metadata(metadata.expect("every member has the chosen protocol"))
        });
        members.collect()
    }
}
