//! A leader's high watermark never goes back within its leadership, and until it has reached the start
//! of the leader's epoch nothing is told from it: LATEST is withheld and nobody joins the ISR.
//! KIP-207 (LATEST), KAFKA-7128 (ISR). A follower's high watermark may fall.

use broker_model::note::Note;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct HighWatermarkMonotonic;

impl Check for HighWatermarkMonotonic {
    fn name(&self) -> &'static str {
        "high-watermark-monotonic/RP-10"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::HighWatermark, Kind::LatestServed]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((node, note, partition, replica)) = about(event, world) else {
            return;
        };
        match note {
            Note::HighWatermark {
                as_leader: true,
                leader_epoch,
                high_watermark,
                ..
            } if world.moment.led == Some(*leader_epoch) => {
                let before = world.moment.high_watermark;
                if *high_watermark < before {
                    sink.fail(
                        Violation::new(format!(
                            "the high watermark of {} went back on its leader n{node}",
                            partition.name
                        ))
                        .fact("before", event.t_us, before.to_string())
                        .fact(
                            "now",
                            event.t_us,
                            format!("{high_watermark} in the same epoch {leader_epoch}"),
                        ),
                    );
                } else if *high_watermark > before {
                    sink.exercised();
                }
            }
            Note::LatestServed {
                offset,
                epoch_start,
                leader_epoch,
                ..
            } => {
                let high_watermark = replica.high_watermark;
                if high_watermark < *epoch_start || *offset > high_watermark {
                    sink.fail(
                        Violation::new(format!(
                            "n{node} told the end of {} before it knew it",
                            partition.name
                        ))
                        .fact(
                            "told",
                            event.t_us,
                            format!(
                                "{offset} in epoch {leader_epoch}, which starts at {epoch_start}"
                            ),
                        )
                        .fact(
                            "knew",
                            event.t_us,
                            format!("high watermark {high_watermark}"),
                        ),
                    );
                } else {
                    sink.exercised();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, Offset};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, leader_hw, leads, partition};

    fn case() -> Case {
        Case::of(make::<HighWatermarkMonotonic>)
            .note(1, TestBatch::at(0, 3, 4).followed())
            .note(1, leads(5, 3, 1))
    }

    fn tells(offset: i64) -> Note {
        Note::LatestServed {
            partition: partition(),
            leader_epoch: LeaderEpoch(5),
            offset: Offset(offset),
            epoch_start: Offset(3),
            committed: false,
        }
    }

    #[test]
    fn a_leader_whose_high_watermark_falls_is_found() {
        case()
            .note(1, leader_hw(5, 3, 3))
            .note(1, leader_hw(5, 2, 3))
            .end()
            .fails("went back on its leader n1");
    }

    #[test]
    fn an_end_that_is_told_before_the_epoch_start_is_committed_is_found() {
        case().note(1, tells(1)).end().fails("before it knew it");
    }

    #[test]
    fn a_new_leader_may_start_lower() {
        case()
            .note(1, leader_hw(5, 3, 3))
            .note(1, tells(3))
            .note(2, TestBatch::at(0, 3, 4).followed())
            .note(2, leads(6, 3, 1))
            .note(2, leader_hw(6, 2, 3))
            .end()
            .passes();
    }
}
