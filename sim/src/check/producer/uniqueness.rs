//! No two batches of one log carry the same producer, epoch and first sequence: in the whole log, not only
//! in the window of five. KIP-98; bugs `kafka-5494-window-one`, `kafka-5494-no-rebuild`.

use broker_model::note::Note;

use crate::check::replication::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Uniqueness;

/// An excuse: what a broker forgot it cannot recognize.
const FORGOTTEN: &str = "the broker had forgotten the idle producer";

impl Check for Uniqueness {
    fn name(&self) -> &'static str {
        "no-duplicates/PS-2"
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
        let Some((epoch, last)) = world.moment.producer else {
            return;
        };
        if batch.producer_epoch >= epoch && batch.first == last.plus(1)
            || batch.producer_epoch > epoch
        {
            // Larger than everything before, unless the sequences wrapped.
            sink.exercised();
            return;
        }
        let others = replica.log.ids().iter().rev().skip(1);
        let twin = others.map(|&id| partition.arena.entry(id)).find(|entry| {
            entry.producer == batch.producer
                && entry.producer_epoch == batch.producer_epoch
                && entry.first == batch.first
        });
        let Some(twin) = twin else {
            sink.exercised();
            return;
        };
        if replica.producers.was_forgotten(batch.producer) {
            sink.excused(FORGOTTEN);
            return;
        }
        sink.fail(
            Violation::new(format!(
                "n{node} appended a batch of producer {} to {} twice",
                batch.producer, partition.name
            ))
            .fact(
                "first",
                event.t_us,
                format!(
                    "offsets {}..{} of epoch {}",
                    twin.base, twin.last, twin.epoch
                ),
            )
            .fact(
                "again",
                event.t_us,
                format!(
                    "offsets {}..{}, producer epoch {}, sequence {}",
                    batch.base, batch.last, batch.producer_epoch, batch.first
                ),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::ProducerId;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, partition, truncates};

    fn case() -> Case {
        (0..7).fold(Case::of(make::<Uniqueness>), |case, n: i32| {
            let batch = TestBatch::at(i64::from(n), 1, 4).by(9, 1, n);
            case.note(1, batch.led())
        })
    }

    fn again() -> Note {
        TestBatch::at(7, 1, 4).by(9, 1, 0).led()
    }

    #[test]
    fn a_batch_that_is_appended_twice_is_found_behind_the_window_too() {
        case()
            .note(1, again())
            .end()
            .fails("offsets 0..0 of epoch 4");
    }

    #[test]
    fn a_batch_that_was_cut_may_be_appended_again() {
        case()
            .note(1, truncates(3, 7))
            .note(1, TestBatch::at(3, 1, 5).by(9, 1, 3).led())
            .end()
            .passes();
    }

    #[test]
    fn a_producer_that_was_forgotten_is_excused() {
        case()
            .note(
                1,
                Note::ProducersExpired {
                    partition: partition(),
                    producers: vec![ProducerId(9)],
                },
            )
            .note(1, again())
            .end()
            .is_excused(FORGOTTEN);
    }
}
