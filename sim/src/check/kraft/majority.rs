//! A leader moves the raft high watermark only behind its epoch's first record, and only over what
//! a majority of voters holds, byte for byte and flushed. Raft §5.4.2; KIP-595; Kafka's simulation:
//! MajorityReachedHighWatermark, which counts log ends only. Bug: `kraft-no-flush-before-fetch`.
//!
//! A voter never loses or cuts what a majority holds, so looking at the moment when the leader
//! moves is exact. A quorum of one publishes its log's end before the flush, as Kafka does.

use broker_model::note::Note;
use broker_model::types::{NodeId, Offset};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct MajorityHasCommitted;

impl Check for MajorityHasCommitted {
    fn name(&self) -> &'static str {
        "majority-has-committed/KR-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftHighWatermark]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            note:
                Note::RaftHighWatermark {
                    high_watermark,
                    leader: true,
                    epoch,
                    epoch_start,
                    ..
                },
            ..
        } = event.fact
        else {
            return;
        };
        let voters = &world.raft.voters;
        let holders: Vec<NodeId> = voters
            .iter()
            .copied()
            .filter(|&voter| holds(world, node, voter, *high_watermark))
            .collect();
        if high_watermark > epoch_start && holders.len() * 2 > voters.len() {
            sink.exercised();
            return;
        }
        let mut violation = Violation::new(format!(
            "n{node} committed metadata that a majority does not have on disk"
        ))
        .fact(
            "committed",
            event.t_us,
            format!("up to {high_watermark} in epoch {epoch}, which starts at {epoch_start}"),
        );
        for &voter in voters {
            if let Some(state) = world.raft.node(voter) {
                let has = if holders.contains(&voter) {
                    "has it"
                } else {
                    "has not"
                };
                let (end, flushed) = (state.log.end(), state.flushed);
                violation = violation.fact(
                    &format!("voter n{voter}"),
                    event.t_us,
                    format!("{has}: log end {end}, flushed to {flushed}"),
                );
            }
        }
        sink.fail(violation);
    }
}

/// Whether the voter holds on disk what the leader holds below `end`.
fn holds(world: &World, leader: NodeId, voter: NodeId, end: Offset) -> bool {
    let raft = &world.raft;
    let (Some(leads), Some(votes)) = (raft.node(leader), raft.node(voter)) else {
        return false;
    };
    let durable = votes.flushed >= end || voter == leader && raft.voters.len() == 1;
    durable && votes.log.agrees(&raft.arena, &leads.log, end)
}

#[cfg(test)]
mod tests {
    use broker_model::types::LeaderEpoch;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn appends(epoch: i32, base: i64) -> Note {
        Note::RaftAppend {
            epoch: LeaderEpoch(epoch),
            base: Offset(base),
            last: Offset(base),
            crc: 1,
        }
    }

    fn flushes(to: i64) -> Note {
        Note::RaftFlushed { to: Offset(to) }
    }

    fn commits(epoch: i32, epoch_start: i64, to: i64) -> Note {
        Note::RaftHighWatermark {
            high_watermark: Offset(to),
            leader: true,
            epoch: LeaderEpoch(epoch),
            epoch_start: Offset(epoch_start),
            log_end: Offset(to),
        }
    }

    #[test]
    fn a_copy_that_is_not_flushed_does_not_count() {
        Case::of(make::<MajorityHasCommitted>)
            .all(&[1, 2], &appends(1, 0))
            .note(1, flushes(1))
            .note(1, commits(1, 0, 1))
            .end()
            .fails("a majority does not have on disk");
    }

    #[test]
    fn another_batch_at_that_offset_does_not_count() {
        Case::of(make::<MajorityHasCommitted>)
            .note(1, appends(2, 0))
            .note(2, appends(1, 0))
            .all(&[1, 2], &flushes(1))
            .note(1, commits(2, 0, 1))
            .end()
            .fails("has not: log end 1, flushed to 1");
    }

    #[test]
    fn records_of_earlier_epochs_commit_only_with_one_of_this_epoch() {
        Case::of(make::<MajorityHasCommitted>)
            .all(&[1, 2], &appends(1, 0))
            .all(&[1, 2], &flushes(1))
            .note(1, commits(2, 1, 1))
            .end()
            .fails("which starts at 1");
    }

    #[test]
    fn two_flushed_copies_of_three_are_enough() {
        Case::of(make::<MajorityHasCommitted>)
            .all(&[1, 2], &appends(1, 0))
            .all(&[1, 2], &flushes(1))
            .note(1, commits(1, 0, 1))
            .end()
            .passes();
    }
}
