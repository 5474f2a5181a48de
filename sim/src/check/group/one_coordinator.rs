//! An offsets partition has one coordinator a leader epoch, which reads the whole log before it decides
//! anything, and decides nothing after it gave up. `CoordinatorRuntime`.
//!
//! What it reads reaches at least as far as anybody before it was told that decisions are committed.

use broker_model::note::{CoordinatorChange, Note};

use crate::check::world::groups::coordinator::Phase;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneCoordinator;

impl Check for OneCoordinator {
    fn name(&self) -> &'static str {
        "one-coordinator/GC-9"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::Coordinator,
            Kind::ClassicGroup,
            Kind::ConsumerGroup,
            Kind::Offsets,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let moment = &world.moment.groups;
        let at = moment.at;
        if let Some((first, since_us)) = moment.rival {
            sink.fail(
                Violation::new(format!("offsets partition {at} has two coordinators"))
                    .fact("one", since_us, format!("n{first}"))
                    .fact("another", event.t_us, format!("n{node} in the same epoch")),
            );
            return;
        }
        if let Note::Coordinator {
            change: CoordinatorChange::Loaded { log_end, .. },
            ..
        } = note
        {
            if *log_end >= moment.committed_to {
                if moment.committed_to.0 > 0 {
                    sink.exercised();
                }
            } else if let Some(excuse) = moment.excuse {
                sink.excused(excuse);
            } else {
                let what = "coordinates offsets partition";
                sink.fail(
                    Violation::new(format!("n{node} {what} {at} without all that is committed"))
                        .fact(
                            "committed",
                            event.t_us,
                            format!("up to {}", moment.committed_to),
                        )
                        .fact("read", event.t_us, format!("up to {log_end}")),
                );
            }
            return;
        }
        if allows(note, moment.phase) {
            return;
        }
        let is = match moment.phase {
            Phase::Absent => "has not read its log, or gave it up",
            Phase::Loading => "has not told yet what it read",
            Phase::Serving => "has told already what it read",
        };
        sink.fail(
            Violation::new(format!(
                "n{node} acts for offsets partition {at}, which it does not serve"
            ))
            .fact("it", event.t_us, is),
        );
    }
}

/// Whether a coordinator may say that there.
fn allows(note: &Note, phase: Phase) -> bool {
    let loads = match note {
        Note::Coordinator { change, .. } => match change {
            CoordinatorChange::Loaded { .. } | CoordinatorChange::Failed => return true,
            CoordinatorChange::Serving => true,
            CoordinatorChange::Timer { .. } => phase != Phase::Absent,
            _ => false,
        },
        // What is read is told, and an overfull group rebalances at once.
        Note::ClassicGroup { .. } | Note::ConsumerGroup { .. } => phase == Phase::Loading,
        Note::Offsets { change, .. } => {
            matches!(change, broker_model::note::OffsetsChange::Loaded { .. })
        }
        _ => false,
    };
    if loads {
        phase != Phase::Absent
    } else {
        phase == Phase::Serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::groups::{
        accepted, committed_to, epoch, loaded, serves, unloaded, written,
    };
    use crate::check::testing::{Case, committed};
    use crate::observe::Stop;

    fn case() -> Case {
        Case::of(make::<OneCoordinator>)
            .coordinates(1)
            .notes(1, [epoch(1), written(1, 4), committed_to(1, 5)])
    }

    #[test]
    fn a_successor_reads_all_that_is_committed() {
        case()
            .note(1, unloaded(1))
            .notes(2, [loaded(2, 5, 0), serves(2), epoch(2), written(2, 5)])
            .end()
            .passes();
        case()
            .notes(2, [loaded(2, 4, 0)])
            .end()
            .fails("without all that is committed");
    }

    #[test]
    fn what_no_power_kept_need_not_be_read() {
        case()
            .note(1, committed(9, 1, (1, 1), &[1]))
            .stops(1, Stop::PowerLoss)
            .note(2, loaded(2, 3, 0))
            .end()
            .is_excused("every in-sync replica lost power");
    }

    #[test]
    fn two_coordinators_in_one_epoch_are_found() {
        case()
            .note(2, loaded(1, 5, 5))
            .end()
            .fails("has two coordinators");
    }

    #[test]
    fn a_later_epoch_needs_no_second_load() {
        case()
            .notes(1, [epoch(2), written(3, 5), committed_to(3, 6)])
            .notes(2, [loaded(4, 6, 6)])
            .end()
            .passes();
    }

    #[test]
    fn deciding_before_the_load_is_over_is_found() {
        case()
            .notes(2, [loaded(2, 5, 0), accepted("", -1, 5)])
            .end()
            .fails("has not told yet");
        case().note(2, epoch(2)).end().fails("has not read its log");
    }

    #[test]
    fn deciding_after_giving_up_is_found() {
        case()
            .notes(1, [unloaded(1), committed_to(1, 6)])
            .end()
            .fails("or gave it up");
        case()
            .stops(1, Stop::Killed)
            .note(1, written(1, 5))
            .end()
            .fails("or gave it up");
    }
}
