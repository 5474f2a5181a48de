//! A batch that is answered as a duplicate lies in the log, among the producer's last five, and the answer
//! is its first offset; one of those five is never refused. KIP-98, KAFKA-5494.

use broker_model::note::Note;

use crate::check::replication::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct DuplicateAnswer;

impl Check for DuplicateAnswer {
    fn name(&self) -> &'static str {
        "duplicate-answer/PS-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::DuplicateAnswered, Kind::SequenceRefused]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        refused(event, world, sink);
        let Some((
            node,
            Note::DuplicateAnswered {
                producer,
                epoch,
                first,
                last,
                base,
                ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        let fold = replica.producers.get(*producer);
        let there = fold
            .filter(|fold| fold.epoch == *epoch)
            .and_then(|fold| fold.batches.iter().find(|batch| batch.0 == *first));
        let original = there.and_then(|&(_, known, offset)| {
            let id = replica.log.at(&partition.arena, offset)?;
            Some((known, partition.arena.entry(id).base))
        });
        if original == Some((*last, *base)) {
            sink.exercised();
            return;
        }
        sink.fail(
            Violation::new(format!(
                "n{node} took a batch of producer {producer} for a duplicate that it does not have in {}",
                partition.name
            ))
            .fact(
                "answered",
                event.t_us,
                format!("offset {base} for epoch {epoch}, sequences {first}..{last}"),
            )
            .fact("log", event.t_us, format!("{fold:?}")),
        );
    }
}

/// A batch that the broker took for out of order.
fn refused(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Some((
        node,
        Note::SequenceRefused {
            producer,
            epoch,
            first,
            last,
            ..
        },
        partition,
        replica,
    )) = about(event, world)
    else {
        return;
    };
    let fold = replica.producers.get(*producer);
    let known = fold.filter(|fold| fold.epoch == *epoch).and_then(|fold| {
        let batches = fold.batches.iter();
        batches
            .copied()
            .find(|batch| (batch.0, batch.1) == (*first, *last))
    });
    let Some((_, _, offset)) = known else {
        sink.exercised();
        return;
    };
    sink.fail(
        Violation::new(format!(
            "n{node} refused a batch of producer {producer} that it has in {}",
            partition.name
        ))
        .fact(
            "refused",
            event.t_us,
            format!("epoch {epoch}, sequences {first}..{last}"),
        )
        .fact("log", event.t_us, format!("it ends at offset {offset}")),
    );
}

#[cfg(test)]
mod tests {
    use broker_model::types::{Offset, Sequence};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, identity, partition};

    fn case() -> Case {
        Case::of(make::<DuplicateAnswer>)
            .note(1, TestBatch::at(0, 2, 4).by(9, 1, 0).led())
            .note(1, TestBatch::at(2, 2, 4).by(9, 1, 2).led())
    }

    fn answers(first: i32, last: i32, base: i64) -> Note {
        let (producer, epoch, first) = identity(9, 1, first);
        Note::DuplicateAnswered {
            partition: partition(),
            producer,
            epoch,
            first,
            last: Sequence(last),
            base: Offset(base),
        }
    }

    #[test]
    fn another_offset_is_found() {
        case()
            .note(1, answers(0, 1, 2))
            .end()
            .fails("does not have");
    }

    #[test]
    fn a_batch_that_never_came_is_found() {
        case()
            .note(1, answers(1, 1, 1))
            .end()
            .fails("does not have");
        case()
            .note(1, answers(0, 3, 0))
            .end()
            .fails("does not have");
    }

    fn refuses(epoch: i16, first: i32, last: i32) -> Note {
        let (producer, epoch, first) = identity(9, epoch, first);
        Note::SequenceRefused {
            partition: partition(),
            producer,
            epoch,
            first,
            last: Sequence(last),
        }
    }

    #[test]
    fn a_refusal_of_a_batch_in_the_window_is_found() {
        case().note(1, refuses(1, 0, 1)).end().fails("that it has");
    }

    #[test]
    fn a_gap_another_epoch_and_what_left_the_window_may_be_refused() {
        case().note(1, refuses(1, 6, 7)).end().passes();
        case().note(1, refuses(2, 0, 1)).end().passes();
        let four_more = |case: Case, n: i64| {
            let first = i32::try_from(4 + 2 * n).expect("few");
            case.note(1, TestBatch::at(4 + 2 * n, 2, 4).by(9, 1, first).led())
        };
        (0..4)
            .fold(case(), four_more)
            .note(1, refuses(1, 0, 1))
            .end()
            .passes();
    }

    #[test]
    fn the_original_offset_is_right() {
        case().note(1, answers(0, 1, 0)).end().passes();
    }
}
