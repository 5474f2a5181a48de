//! A consumer is served nothing at or above the high watermark, or the last stable offset when it reads
//! committed data only; and no high watermark is served that no leader had. KIP-98.

use broker_model::note::Note;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct FetchBound;

impl Check for FetchBound {
    fn name(&self) -> &'static str {
        "fetch-bound/RP-17"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::FetchServed]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::FetchServed {
                leader_epoch,
                from,
                to,
                committed,
                high_watermark,
                last_stable,
                ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        if to <= from {
            return;
        }
        let bound = if *committed {
            last_stable
        } else {
            high_watermark
        };
        if to <= bound && last_stable <= high_watermark && *high_watermark <= replica.high_watermark
        {
            sink.exercised();
            return;
        }
        sink.fail(
            Violation::new(format!(
                "n{node} served records of {} that are not committed",
                partition.name
            ))
            .fact(
                "served",
                event.t_us,
                format!(
                    "{from}..{to} (exclusive) in epoch {leader_epoch}, read_committed {committed}"
                ),
            )
            .fact(
                "stable",
                event.t_us,
                format!("up to {last_stable}, high watermark {high_watermark}"),
            )
            .fact(
                "told before",
                event.t_us,
                format!("high watermark {}", replica.high_watermark),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, leader_hw, leads, partition};

    fn serves(to: i64, committed: bool, stable: i64) -> Note {
        Note::FetchServed {
            partition: partition(),
            leader_epoch: LeaderEpoch(4),
            from: Offset(0),
            to: Offset(to),
            committed,
            high_watermark: Offset(3),
            last_stable: Offset(stable),
        }
    }

    fn case() -> Case {
        Case::of(make::<FetchBound>)
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 5, 4).led())
            .note(1, leader_hw(4, 3, 5))
    }

    #[test]
    fn serving_past_the_high_watermark_is_found() {
        case()
            .note(1, serves(4, false, 3))
            .end()
            .fails("not committed");
    }

    #[test]
    fn serving_past_the_last_stable_offset_is_found() {
        case()
            .note(1, serves(3, true, 2))
            .end()
            .fails("not committed");
    }

    #[test]
    fn serving_up_to_the_bound_is_right() {
        case()
            .note(1, serves(3, false, 2))
            .note(1, serves(2, true, 2))
            .end()
            .passes();
    }
}
