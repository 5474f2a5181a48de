//! What a leader appends of a producer continues its sequences: within an epoch one by one, with 0 after
//! the largest number; a new epoch starts at 0; no epoch comes back. KIP-98; bug
//! `kafka-5494-accept-gaps`.
//!
//! A leader that knows nothing of a producer takes any first sequence (`ProducerAppendInfo`).

use broker_model::note::Note;
use broker_model::types::{ProducerEpoch, Sequence};

use crate::check::replication::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Contiguity;

/// An excuse: a broker without state takes any sequence.
const NO_STATE: &str = "the broker knew nothing of the producer";

impl Check for Contiguity {
    fn name(&self) -> &'static str {
        "in-order/PS-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Append]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::Append {
                as_leader: true, ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        let Some(batch) = world.moment.batch.filter(|batch| batch.has_sequence()) else {
            return;
        };
        let before = world.moment.producer;
        if continues(before, batch.producer_epoch, batch.first) {
            sink.exercised();
        } else if before.is_none() || replica.producers.was_forgotten(batch.producer) {
            sink.excused(NO_STATE);
        } else {
            sink.fail(
                Violation::new(format!(
                    "n{node} appended a sequence of producer {} to {} that does not follow",
                    batch.producer, partition.name
                ))
                .fact(
                    "before",
                    event.t_us,
                    match before {
                        Some((epoch, last)) => format!("epoch {epoch}, up to sequence {last}"),
                        None => "nothing".to_owned(),
                    },
                )
                .fact(
                    "appended",
                    event.t_us,
                    format!(
                        "epoch {}, sequences {}..{}, offsets {}..{}",
                        batch.producer_epoch,
                        batch.first,
                        batch.last_sequence(),
                        batch.base,
                        batch.last
                    ),
                ),
            );
        }
    }
}

fn continues(
    before: Option<(ProducerEpoch, Sequence)>,
    epoch: ProducerEpoch,
    first: Sequence,
) -> bool {
    match before {
        Some((known, last)) if known == epoch => first == last.plus(1),
        Some((known, _)) => known < epoch && first == Sequence(0),
        None => first == Sequence(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch};

    fn case() -> Case {
        Case::of(make::<Contiguity>).note(1, TestBatch::at(0, 2, 4).by(9, 1, 0).led())
    }

    #[test]
    fn a_gap_is_found() {
        case()
            .note(1, TestBatch::at(2, 1, 4).by(9, 1, 3).led())
            .end()
            .fails("does not follow");
    }

    #[test]
    fn a_new_epoch_that_does_not_start_at_0_is_found() {
        case()
            .note(1, TestBatch::at(2, 1, 4).by(9, 2, 2).led())
            .end()
            .fails("does not follow");
    }

    #[test]
    fn an_epoch_that_comes_back_is_found() {
        case()
            .note(1, TestBatch::at(2, 1, 4).by(9, 0, 0).led())
            .end()
            .fails("does not follow");
    }

    #[test]
    fn sequences_go_on_wrap_and_start_anew() {
        case()
            .note(1, TestBatch::at(2, 1, 4).by(9, 1, 2).led())
            .note(1, TestBatch::at(3, 1, 4).by(9, 2, 0).led())
            .end()
            .passes();
        assert!(continues(
            Some((ProducerEpoch(1), Sequence(i32::MAX))),
            ProducerEpoch(1),
            Sequence(0)
        ));
    }

    #[test]
    fn a_broker_without_state_takes_any_sequence() {
        Case::of(make::<Contiguity>)
            .note(1, TestBatch::at(0, 1, 4).by(9, 1, 7).led())
            .end()
            .is_excused(NO_STATE);
    }
}
