//! No metadata is cut that was committed: not below the node's own high watermark, and not below the
//! quorum's where the copy is the committed one. Raft §5.3, §5.4.

use broker_model::note::Note;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct NoCommittedTruncation;

impl Check for NoCommittedTruncation {
    fn name(&self) -> &'static str {
        "no-committed-truncation/KR-9"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftTruncate]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            note: Note::RaftTruncate { to, log_end },
            ..
        } = event.fact
        else {
            return;
        };
        let before = &world.moment.raft;
        let raft = &world.raft;
        let committed = before.removed.iter().find(|&&id| {
            let entry = raft.arena.entry(id);
            raft.canon.at(&raft.arena, entry.last) == Some(id)
        });
        if *to >= before.high_watermark && committed.is_none() {
            sink.exercised();
            return;
        }
        sink.fail(
            Violation::new(format!("n{node} cut committed metadata"))
                .fact(
                    "committed",
                    event.t_us,
                    format!(
                        "up to {}, as n{node} knows up to {}",
                        raft.high_watermark, before.high_watermark
                    ),
                )
                .fact("cut", event.t_us, format!("from {log_end} to {to}")),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, Offset};

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

    fn commits(leader: bool, to: i64) -> Note {
        Note::RaftHighWatermark {
            high_watermark: Offset(to),
            leader,
            epoch: LeaderEpoch(1),
            epoch_start: Offset(0),
            log_end: Offset(to),
        }
    }

    const CUT: Note = Note::RaftTruncate {
        to: Offset(0),
        log_end: Offset(1),
    };

    #[test]
    fn cutting_a_committed_copy_is_found() {
        Case::of(make::<NoCommittedTruncation>)
            .all(&[1, 2], &appends(1, 0))
            .note(1, commits(true, 1))
            .note(2, CUT)
            .end()
            .fails("n2 cut committed metadata");
    }

    #[test]
    fn cutting_below_ones_own_high_watermark_is_found() {
        Case::of(make::<NoCommittedTruncation>)
            .note(2, appends(1, 0))
            .note(2, commits(false, 1))
            .note(2, CUT)
            .end()
            .fails("as n2 knows up to 1");
    }

    #[test]
    fn what_only_one_node_holds_may_go() {
        Case::of(make::<NoCommittedTruncation>)
            .note(2, appends(1, 0))
            .note(1, appends(2, 0))
            .note(1, commits(true, 1))
            .note(2, CUT)
            .end()
            .passes();
    }
}
