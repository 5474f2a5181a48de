//! No replica cuts a record that was committed, and a leader cuts nothing. KIP-101; bug
//! `kip-101-hw-truncation`. (Brokers themselves only log a warning.)
//!
//! A copy that differs from what was committed may be cut anywhere.

use broker_model::note::Note;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct NoCommittedTruncation;

impl Check for NoCommittedTruncation {
    fn name(&self) -> &'static str {
        "no-committed-truncation/RP-13"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Truncate]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::Truncate {
                to,
                log_end,
                high_watermark,
                ..
            },
            partition,
            _,
        )) = about(event, world)
        else {
            return;
        };
        let cut = format!("from {log_end} to {to}, its own high watermark {high_watermark}");
        if let Some(epoch) = world.moment.led {
            sink.fail(
                Violation::new(format!(
                    "n{node} cut its log of {} while it led",
                    partition.name
                ))
                .fact("leads", event.t_us, format!("in epoch {epoch}"))
                .fact("cut", event.t_us, cut),
            );
            return;
        }
        let committed = world.moment.removed.iter().find(|&&id| {
            let last = partition.arena.entry(id).last;
            last >= partition.log_start && partition.canon.at(&partition.arena, last) == Some(id)
        });
        let Some(&committed) = committed else {
            sink.exercised();
            return;
        };
        if let Some(reason) = partition.unpromised {
            sink.excused(reason);
            return;
        }
        let entry = partition.arena.entry(committed);
        sink.fail(
            Violation::new(format!(
                "n{node} cut committed records of {}",
                partition.name
            ))
            .fact(
                "committed",
                event.t_us,
                format!(
                    "up to {}; {}..{} of epoch {} among them",
                    partition.true_high_watermark, entry.base, entry.last, entry.epoch
                ),
            )
            .fact("cut", event.t_us, cut),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, follows, leader_hw, leads, truncates};

    fn case() -> Case {
        let batch = TestBatch::at(0, 2, 4);
        Case::of(make::<NoCommittedTruncation>)
            .note(1, leads(4, 0, 0))
            .note(1, batch.led())
            .note(2, batch.followed())
            .note(1, leader_hw(4, 2, 2))
    }

    #[test]
    fn cutting_to_ones_own_high_watermark_is_found() {
        case()
            .note(2, follows(5, 3, 2, 0))
            .note(2, truncates(0, 2))
            .end()
            .fails("n2 cut committed records");
    }

    #[test]
    fn a_leader_that_cuts_is_found() {
        case()
            .note(1, TestBatch::at(2, 1, 4).led())
            .note(1, truncates(2, 3))
            .end()
            .fails("while it led");
    }

    #[test]
    fn a_tail_that_was_not_committed_may_be_cut() {
        case()
            .note(2, TestBatch::at(2, 3, 4).followed())
            .note(2, truncates(2, 5))
            .end()
            .passes();
    }

    #[test]
    fn a_copy_that_diverged_may_be_cut_below_what_was_committed() {
        case()
            .note(3, TestBatch::at(0, 4, 3).followed())
            .note(3, truncates(0, 4))
            .end()
            .passes();
    }
}
