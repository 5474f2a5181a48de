//! Somebody holds every committed record, unless the loss budget was exhausted.
//! `V966` NoCommittedRecordLostGlobally.
//!
//! A replica that lost power counts until its recovery says what is left.

use broker_model::note::Note;
use broker_model::types::Offset;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct CommittedExists;

impl Check for CommittedExists {
    fn name(&self) -> &'static str {
        "committed-exists/RP-16"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::LogRecovered, Kind::Truncate, Kind::ReplicaStopped]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((node, note, partition, _)) = about(event, world) else {
            return;
        };
        let lost_some = match note {
            Note::ReplicaStopped { deleted, .. } => *deleted,
            _ => !world.moment.removed.is_empty(),
        };
        let committed = partition.true_high_watermark;
        if !lost_some || committed == Offset::ZERO || partition.removed {
            return;
        }
        let mut holders = partition.replicas.iter();
        if holders.any(|replica| replica.unknown || partition.holds(replica, committed)) {
            sink.exercised();
        } else if let Some(reason) = partition.unpromised {
            sink.excused(reason);
        } else {
            sink.fail(
                Violation::new(format!(
                    "nobody holds everything that was committed of {}",
                    partition.name
                ))
                .fact("committed", event.t_us, format!("up to {committed}"))
                .fact("lost", event.t_us, format!("the last copy, on n{node}")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{
        Case, TestBatch, committed, leader_hw, leads, recovers, truncates,
    };
    use crate::check::world::partition::ALL_LOST_POWER;
    use crate::observe::Stop;

    fn case() -> Case {
        let batch = TestBatch::at(0, 2, 4);
        Case::of(make::<CommittedExists>)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, leads(4, 0, 0))
            .note(1, batch.led())
            .note(2, batch.followed())
            .note(1, leader_hw(4, 2, 2))
            .stops(1, Stop::PowerLoss)
    }

    #[test]
    fn a_loss_within_the_budget_is_found() {
        case()
            .note(1, recovers(0, &[]))
            .note(2, truncates(0, 2))
            .end()
            .fails("nobody holds everything");
    }

    #[test]
    fn one_copy_is_enough() {
        case().note(1, recovers(0, &[])).end().passes();
    }

    #[test]
    fn when_all_in_sync_replicas_lost_power_it_was_not_promised() {
        case()
            .stops(2, Stop::PowerLoss)
            .note(2, recovers(2, &[]))
            .note(1, recovers(0, &[]))
            .note(2, truncates(0, 2))
            .end()
            .is_excused(ALL_LOST_POWER);
    }
}
