//! A produce with acks=all is answered without an error only when its own records are committed, and the
//! ISR is large enough at that moment. `DelayedProduce`, `Partition.checkEnoughReplicasReachOffset`.
//!
//! "Its own": what was appended in that epoch at that offset is what is committed there, so that a
//! produce that waits is not answered by another leader's record. Of a leader that was overruled, because
//! everybody in sync had lost power or uncleanly, nobody expects anything.

use broker_model::note::Note;
use broker_model::types::Offset;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AckRule;

impl Check for AckRule {
    fn name(&self) -> &'static str {
        "ack-rule/RP-14"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ProduceAnswered]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::ProduceAnswered {
                leader_epoch,
                acks: -1,
                base,
                last,
                error: None,
                isr,
                min_isr,
                ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        if *base < Offset::ZERO {
            return;
        }
        let arena = &partition.arena;
        let committed = partition.canon.at(arena, *last);
        // A duplicate's records were appended in an earlier epoch, so that there is no such entry.
        let appended = arena.in_epoch(*leader_epoch, *last);
        let own = committed.is_some_and(|committed| {
            let entry = arena.entry(committed);
            entry.base <= *base && appended.is_none_or(|appended| appended == committed)
        });
        // The leader counts who may have joined already, as Kafka does.
        let maximal = replica
            .leadership
            .as_ref()
            .map_or(0, |leadership| leadership.maximal.len());
        let large = (*isr).max(maximal) >= *min_isr;
        if partition.true_high_watermark > *last && own && large {
            sink.exercised();
            return;
        }
        if let Some(reason) = partition.void(*leader_epoch) {
            sink.excused(reason);
            return;
        }
        sink.fail(
            Violation::new(format!(
                "n{node} acknowledged records of {} that are not committed",
                partition.name
            ))
            .fact(
                "answered",
                event.t_us,
                format!(
                    "{base}..{last} of epoch {leader_epoch}, acks=all, {isr} in sync of at least {min_isr}"
                ),
            )
            .fact(
                "committed",
                event.t_us,
                match committed.map(|id| arena.entry(id)) {
                    Some(entry) => format!(
                        "up to {}; there: {}..{} of epoch {}",
                        partition.true_high_watermark, entry.base, entry.last, entry.epoch
                    ),
                    None => format!("up to {}", partition.true_high_watermark),
                },
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{
        Case, TestBatch, answered, committed, follows, leader_hw, leads, truncates,
    };
    use crate::check::world::partition::UNCLEAN_ELECTION;

    fn case() -> Case {
        Case::of(make::<AckRule>)
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
    }

    #[test]
    fn an_answer_before_the_high_watermark_is_found() {
        case()
            .note(1, answered(4, 0, 1))
            .end()
            .fails("acknowledged records");
    }

    #[test]
    fn an_answer_for_another_leaders_record_is_found() {
        case()
            .note(2, leads(5, 0, 0))
            .note(2, TestBatch::at(0, 2, 5).led())
            .note(2, leader_hw(5, 2, 2))
            .note(1, follows(5, 2, 2, 0))
            .note(1, truncates(0, 2))
            .note(1, answered(4, 0, 1))
            .end()
            .fails("there: 0..1 of epoch 5");
    }

    #[test]
    fn an_answer_with_too_small_an_isr_is_found() {
        let mut small = answered(4, 0, 1);
        if let Note::ProduceAnswered { isr, .. } = &mut small {
            *isr = 1;
        }
        case()
            .note(1, leader_hw(4, 2, 2))
            .note(1, small)
            .end()
            .fails("1 in sync of at least 2");
    }

    /// n1 led in epoch 4, and n2 was elected in epoch 5 without regard to it.
    fn overruled() -> Case {
        Case::planned(make::<AckRule>, |plan| {
            let name = "unclean.leader.election.enable".to_owned();
            plan.nodes[0].config.insert(name, "true".to_owned());
        })
        .note(1, committed(9, 1, (4, 4), &[1]))
        .note(1, leads(4, 0, 0))
        .note(1, TestBatch::at(0, 2, 4).led())
        .note(1, leader_hw(4, 2, 2))
        .note(3, committed(10, 2, (5, 5), &[2]))
        .note(2, leads(5, 0, 0))
    }

    #[test]
    fn what_an_overruled_leader_answers_is_excused_and_nothing_else() {
        overruled()
            .note(1, TestBatch::at(2, 1, 4).led())
            .note(1, leader_hw(4, 3, 3))
            .note(1, answered(4, 2, 2))
            .end()
            .is_excused(UNCLEAN_ELECTION);
        overruled()
            .note(2, TestBatch::at(0, 1, 5).led())
            .note(2, answered(5, 0, 0))
            .end()
            .fails("that are not committed");
    }

    #[test]
    fn a_duplicate_is_answered_by_another_leader() {
        case()
            .note(2, TestBatch::at(0, 2, 4).followed())
            .note(1, leader_hw(4, 2, 2))
            .note(1, answered(4, 0, 1))
            .note(2, leads(5, 2, 2))
            .note(2, answered(5, 0, 1))
            .end()
            .passes();
    }
}
