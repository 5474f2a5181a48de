//! A voter grants at most one vote an epoch, and the vote is on disk before the answer leaves.
//! Raft §5.2; `kraft-vote-or-epoch-not-durable`. A vote that was neither answered nor made durable
//! may be forgotten; a pre-vote (KIP-996) is no vote.

use std::collections::BTreeMap;

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, NodeId};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneVote {
    /// For each voter and epoch: whom it voted for, when that was certain.
    votes: BTreeMap<(NodeId, LeaderEpoch), (NodeId, u64)>,
}

impl Check for OneVote {
    fn name(&self) -> &'static str {
        "one-vote-per-epoch/KR-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::VoteAnswered, Kind::QuorumStateFlushed]
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
            Note::VoteAnswered {
                candidate,
                epoch,
                pre_vote: false,
                granted: true,
            } => {
                let durable = self
                    .votes
                    .get(&(node, epoch))
                    .is_some_and(|&(voted, _)| voted == candidate);
                if self.vote(event, (node, epoch), candidate, sink) {
                    if durable {
                        sink.exercised();
                    } else {
                        sink.fail(
                            Violation::new(format!(
                                "n{node} granted a vote that is not on its disk"
                            ))
                            .fact(
                                "granted",
                                event.t_us,
                                format!("to n{candidate} in epoch {epoch}"),
                            ),
                        );
                    }
                }
            }
            _ => {}
        }
    }
}

impl OneVote {
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

    #[test]
    fn a_second_vote_in_the_same_epoch_is_found() {
        Case::of(make::<OneVote>)
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
            .note(3, writes(4, 1))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(1, 4, false))
            .note(3, answers(1, 4, false))
            .note(3, writes(5, 2))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(2, 5, false))
            .end()
            .passes();
    }

    #[test]
    fn a_vote_that_nobody_heard_of_may_be_forgotten() {
        Case::of(make::<OneVote>)
            .note(3, writes(4, 1))
            .note(3, writes(4, 2))
            .note(3, Note::QuorumStateFlushed)
            .note(3, answers(2, 4, false))
            .end()
            .passes();
    }
}
