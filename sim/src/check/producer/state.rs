//! What a broker remembers of producers is what its log says: epoch and last five batches of each, after a
//! restart, a truncation and a change of leader. KIP-98; bug `kafka-5494-no-rebuild`.
//!
//! Producers that it forgot because they were idle are left out, and so is a log whose beginning was
//! deleted: there the state may know more than the log.

use broker_model::note::{Note, ProducerEntry};
use broker_model::types::Offset;

use crate::check::replication::about;
use crate::check::world::producers::Fold;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ProducerState;

impl Check for ProducerState {
    fn name(&self) -> &'static str {
        "producer-state/PS-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ProducerState]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((node, Note::ProducerState { end, producers, .. }, partition, replica)) =
            about(event, world)
        else {
            return;
        };
        if replica.log_start > Offset::ZERO {
            return;
        }
        let folds = &replica.producers;
        let mut compared = 0_u32;
        let mut wrong = None;
        for (producer, fold) in folds.iter() {
            if folds.was_forgotten(producer) {
                continue;
            }
            compared += 1;
            let known = producers.iter().find(|known| known.producer == producer);
            if known.is_none_or(|known| !same(known, fold)) {
                wrong = Some((producer, format!("{known:?}"), format!("{fold:?}")));
            }
        }
        for known in producers {
            if folds.get(known.producer).is_none() && !known.batches.is_empty() {
                wrong = Some((known.producer, format!("{known:?}"), "nothing".to_owned()));
            }
        }
        let Some((producer, knows, says)) = wrong else {
            if compared > 0 {
                sink.exercised();
            }
            return;
        };
        sink.fail(
            Violation::new(format!(
                "n{node} remembers of producer {producer} something else than its log of {} says",
                partition.name
            ))
            .fact("remembers", event.t_us, format!("{knows}, up to {end}"))
            .fact(
                "log",
                event.t_us,
                format!("{says}, log end {}", replica.log.end()),
            ),
        );
    }
}

fn same(known: &ProducerEntry, fold: &Fold) -> bool {
    known.epoch == fold.epoch && known.batches.iter().eq(&fold.batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, identity, partition, truncates};

    fn case() -> Case {
        (0..7).fold(Case::of(make::<ProducerState>), |case, n: i32| {
            let batch = TestBatch::at(i64::from(n), 1, 4).by(9, 1, n);
            case.note(1, batch.led())
        })
    }

    fn remembers(sequences: impl Iterator<Item = i32>, end: i64) -> Note {
        let batches = sequences.map(|n| {
            let (_, _, sequence) = identity(9, 1, n);
            (sequence, sequence, Offset(i64::from(n)))
        });
        let (producer, epoch, _) = identity(9, 1, 0);
        Note::ProducerState {
            partition: partition(),
            end: Offset(end),
            producers: vec![ProducerEntry {
                producer,
                epoch,
                batches: batches.collect(),
                open_since: None,
            }],
        }
    }

    #[test]
    fn state_that_was_not_rebuilt_is_found() {
        let empty = Note::ProducerState {
            partition: partition(),
            end: Offset(7),
            producers: Vec::new(),
        };
        case().note(1, empty).end().fails("something else");
    }

    #[test]
    fn state_that_outlives_a_truncation_is_found() {
        case()
            .note(1, truncates(4, 7))
            .note(1, remembers(2..7, 4))
            .end()
            .fails("something else");
    }

    #[test]
    fn the_last_five_batches_of_the_log_are_right() {
        case()
            .note(1, remembers(2..7, 7))
            .note(1, truncates(6, 7))
            .note(1, remembers(1..6, 6))
            .end()
            .passes();
    }
}
