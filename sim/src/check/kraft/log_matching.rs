//! Two metadata logs that hold the same offset in the same epoch hold the same up to there, not only
//! below the high watermark. Raft §5.3 (Log Matching).

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LogMatching;

impl Check for LogMatching {
    fn name(&self) -> &'static str {
        "log-matching/KR-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftAppend]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, .. } = event.fact else {
            return;
        };
        let Some(last) = world.raft.node(node).and_then(|node| node.log.last()) else {
            return;
        };
        let mine = world.raft.arena.entry(last);
        if let Some(clash) = world.moment.raft.clash {
            let other = world.raft.arena.entry(clash);
            sink.fail(
                Violation::new(format!(
                    "metadata offset {} of epoch {} is not the same everywhere",
                    mine.last, mine.epoch
                ))
                .fact(
                    "first",
                    event.t_us,
                    format!(
                        "on n{}: {}..{} crc {:08x}",
                        other.by, other.base, other.last, other.crc
                    ),
                )
                .fact(
                    "now",
                    event.t_us,
                    format!(
                        "on n{node}: {}..{} crc {:08x}, or what is before it differs",
                        mine.base, mine.last, mine.crc
                    ),
                ),
            );
        } else if mine.by != node {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::note::Note;
    use broker_model::types::{LeaderEpoch, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn appends(epoch: i32, base: i64, crc: u32) -> Note {
        Note::RaftAppend {
            epoch: LeaderEpoch(epoch),
            base: Offset(base),
            last: Offset(base),
            crc,
        }
    }

    #[test]
    fn two_batches_under_one_offset_and_epoch_are_found() {
        Case::of(make::<LogMatching>)
            .note(1, appends(1, 0, 7))
            .note(2, appends(1, 0, 8))
            .end()
            .fails("metadata offset 0 of epoch 1 is not the same everywhere");
    }

    #[test]
    fn a_copy_behind_another_prefix_is_found() {
        Case::of(make::<LogMatching>)
            .note(1, appends(1, 0, 7))
            .note(1, appends(3, 1, 9))
            .note(2, appends(2, 0, 8))
            .note(2, appends(3, 1, 9))
            .end()
            .fails("metadata offset 1 of epoch 3");
    }

    #[test]
    fn logs_may_differ_where_epochs_do() {
        Case::of(make::<LogMatching>)
            .note(1, appends(1, 0, 7))
            .note(2, appends(1, 0, 7))
            .note(1, appends(1, 1, 8))
            .note(2, appends(2, 1, 9))
            .end()
            .passes();
    }
}
