//! A voter grants at most one vote an epoch, and the vote is on disk before the answer leaves.
//! Raft §5.2; `kraft-vote-or-epoch-not-durable`. A vote that was neither answered nor made durable
//! may be forgotten; a pre-vote (KIP-996) is no vote: it changes neither the epoch of who asks nor the vote
//! of who answers.

use std::collections::BTreeMap;

use broker_model::note::{Note, RaftRole};
use broker_model::types::{LeaderEpoch, NodeId};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneVote {
    /// For each voter and epoch: whom it voted for, when that was certain.
    votes: BTreeMap<(NodeId, LeaderEpoch), (NodeId, u64)>,
    /// The vote that each node casts, for whoever asked for it. Only such a one may be written.
    cast: BTreeMap<NodeId, (NodeId, LeaderEpoch)>,
}

impl Check for OneVote {
    fn name(&self) -> &'static str {
        "one-vote-per-epoch/KR-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::VoteCast,
            Kind::VoteAnswered,
            Kind::QuorumStateFlushed,
            Kind::QuorumStateWritten,
            Kind::RaftRecovered,
            Kind::RaftRole,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        match *note {
            Note::QuorumStateFlushed => {
                let durable = world.raft.node(node).map(|node| node.durable);
                if let Some(state) = durable
                    && let Some(candidate) = state.voted
                {
                    self.vote(event, (node, state.epoch), candidate, sink);
                }
            }
            Note::RaftRecovered { .. } => {
                self.cast.remove(&node);
            }
            Note::QuorumStateWritten { epoch, voted, .. } => {
                let before = world.moment.raft.written;
                let is_new = (epoch, voted) != (before.epoch, before.voted);
                if let Some(candidate) = voted.filter(|&voted| voted != node && is_new) {
                    self.written(event, node, (candidate, epoch), sink);
                }
            }
            Note::VoteCast {
                candidate,
                epoch,
                pre_vote: false,
            } => {
                self.cast.insert(node, (candidate, epoch));
            }
            Note::RaftRole {
                epoch,
                role: RaftRole::Prospective,
                ..
            } => stays(event, node, epoch, world, sink),
            Note::VoteAnswered {
                candidate,
                epoch,
                pre_vote,
                granted: true,
            } => self.granted(event, (node, epoch), (candidate, pre_vote), sink),
            _ => {}
        }
    }
}

/// Who asks whether it could win stays in its epoch.
fn stays(event: &Observed<'_>, node: NodeId, epoch: LeaderEpoch, world: &World, sink: &mut Sink) {
    let before = &world.moment.raft;
    if before.role.is_some() && epoch != before.epoch {
        sink.fail(
            Violation::new(format!("n{node} began an epoch for a pre-vote"))
                .fact("before", event.t_us, format!("epoch {}", before.epoch))
                .fact("asks", event.t_us, format!("in epoch {epoch}")),
        );
    }
}

impl OneVote {
    /// A vote for another one is written.
    fn written(
        &self,
        event: &Observed<'_>,
        node: NodeId,
        (candidate, epoch): (NodeId, LeaderEpoch),
        sink: &mut Sink,
    ) {
        if self.cast.get(&node) != Some(&(candidate, epoch)) {
            let vote = format!("for n{candidate} in epoch {epoch}");
            sink.fail(
                Violation::new(format!("n{node} voted where it was only asked"))
                    .fact("voted", event.t_us, vote),
            );
        }
    }

    /// A voter answers that the candidate has its vote, or would have it.
    fn granted(
        &mut self,
        event: &Observed<'_>,
        (node, epoch): (NodeId, LeaderEpoch),
        (candidate, pre_vote): (NodeId, bool),
        sink: &mut Sink,
    ) {
        let vote = format!("for n{candidate} in epoch {epoch}");
        if pre_vote {
            return;
        }
        let durable = self
            .votes
            .get(&(node, epoch))
            .is_some_and(|&(voted, _)| voted == candidate);
        if !self.vote(event, (node, epoch), candidate, sink) {
            return;
        }
        if durable {
            sink.exercised();
        } else {
            sink.fail(
                Violation::new(format!("n{node} granted a vote that is not on its disk"))
                    .fact("granted", event.t_us, vote),
            );
        }
    }

    /// Whether this vote is in accord with what the voter said before.
    fn vote(
        &mut self,
        event: &Observed<'_>,
        ballot: (NodeId, LeaderEpoch),
        candidate: NodeId,
        sink: &mut Sink,
    ) -> bool {
        let &mut (first, t_us) = self.votes.entry(ballot).or_insert((candidate, event.t_us));
        if first != candidate {
            let (node, epoch) = ballot;
            sink.fail(
                Violation::new(format!("n{node} voted twice in epoch {epoch}"))
                    .fact("first", t_us, format!("for n{first}"))
                    .fact("then", event.t_us, format!("for n{candidate}")),
            );
        }
        first == candidate
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::Offset;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn answers(candidate: i32, epoch: i32, pre_vote: bool) -> Note {
        Note::VoteAnswered {
            candidate: NodeId(candidate),
            epoch: LeaderEpoch(epoch),
            pre_vote,
            granted: true,
        }
    }

    fn writes(epoch: i32, candidate: i32) -> Note {
        Note::QuorumStateWritten {
            epoch: LeaderEpoch(epoch),
            leader: None,
            voted: Some(NodeId(candidate)),
        }
    }

    fn casts(epoch: i32, candidate: i32) -> Note {
        Note::VoteCast {
            candidate: NodeId(candidate),
            epoch: LeaderEpoch(epoch),
            pre_vote: false,
        }
    }

    #[test]
    fn a_second_vote_in_the_same_epoch_is_found() {
        Case::of(make::<OneVote>)
            .note(3, casts(4, 1))
            .note(3, writes(4, 1))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(1, 4, false))
            .note(3, answers(2, 4, false))
            .end()
            .fails("n3 voted twice in epoch 4");
    }

    #[test]
    fn a_vote_that_is_only_in_memory_is_found() {
        Case::of(make::<OneVote>)
            .note(3, casts(4, 1))
            .note(3, writes(4, 1))
            .note(3, answers(1, 4, false))
            .end()
            .fails("not on its disk");
    }

    #[test]
    fn the_same_vote_may_be_answered_again_and_pre_votes_are_free() {
        Case::of(make::<OneVote>)
            .note(3, answers(2, 4, true))
            .note(3, answers(1, 4, true))
            .note(3, casts(4, 1))
            .note(3, writes(4, 1))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(1, 4, false))
            .note(3, answers(1, 4, false))
            .note(3, casts(5, 2))
            .note(3, writes(5, 2))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(2, 5, false))
            .end()
            .passes();
    }

    #[test]
    fn a_pre_vote_that_takes_the_vote_is_found() {
        let asked = |pre_vote| {
            let cast = Note::VoteCast {
                candidate: NodeId(1),
                epoch: LeaderEpoch(4),
                pre_vote,
            };
            Case::of(make::<OneVote>).note(3, cast)
        };
        let votes = |case: Case| {
            let case = case.note(3, writes(4, 1)).note(3, Note::QuorumStateFlushed);
            case.note(3, answers(1, 4, true)).end()
        };
        votes(Case::of(make::<OneVote>)).fails("voted where it was only asked");
        votes(asked(true)).fails("voted where it was only asked");
        // The answer to the vote was lost, and whoever has it asks again.
        votes(asked(false)).is_silent();
    }

    #[test]
    fn a_pre_vote_that_begins_an_epoch_is_found() {
        let role = |epoch, role| Note::RaftRole {
            epoch: LeaderEpoch(epoch),
            role,
            leader: None,
            voted: None,
            log_end: Offset(0),
        };
        let asks = |epoch| {
            Case::of(make::<OneVote>)
                .note(3, role(4, RaftRole::Unattached))
                .note(3, role(epoch, RaftRole::Prospective))
                .end()
        };
        asks(5).fails("began an epoch");
        asks(4).is_silent();
    }

    #[test]
    fn a_vote_that_nobody_heard_of_may_be_forgotten() {
        Case::of(make::<OneVote>)
            .note(3, casts(4, 1))
            .note(3, writes(4, 1))
            .note(3, casts(4, 2))
            .note(3, writes(4, 2))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(2, 4, false))
            .end()
            .passes();
    }
}
