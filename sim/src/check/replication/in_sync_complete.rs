//! Every member of the committed ISR holds everything that was ever committed (`H:` StrongIsr), unless
//! it lost power since it joined: such a one is exempt until it is added again.
//!
//! The single most valuable replication check: it fires before anybody is elected.

use broker_model::note::Note;
use broker_model::types::Offset;

use super::list;
use crate::check::world::partition::Partition;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct InSyncComplete;

impl Check for InSyncComplete {
    fn name(&self) -> &'static str {
        "in-sync-replicas-complete/RP-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::HighWatermark,
            Kind::PartitionCommitted,
            Kind::Truncate,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { note, .. } = event.fact else {
            return;
        };
        let Some(partition) = world.partition() else {
            return;
        };
        let moved = partition.true_high_watermark > world.moment.true_high_watermark;
        if matches!(note, Note::HighWatermark { .. }) && !moved
            || partition.true_high_watermark == Offset::ZERO
        {
            return;
        }
        judge(event, partition, sink);
    }
}

fn judge(event: &Observed<'_>, partition: &Partition, sink: &mut Sink) {
    let committed = partition.true_high_watermark;
    let mut judged = false;
    for &member in partition.isr() {
        let Some(replica) = partition.replica(member).filter(|replica| !replica.lossy) else {
            continue;
        };
        if partition.holds(replica, committed) {
            judged = true;
        } else if let Some(reason) = partition.unpromised {
            sink.excused(reason);
        } else {
            let common = replica.log.common_end(&partition.arena, &partition.canon);
            sink.fail(
                Violation::new(format!(
                    "n{member} is in the ISR of {} without a committed record",
                    partition.name
                ))
                .fact("committed", event.t_us, format!("up to {committed}"))
                .fact(
                    "in sync",
                    event.t_us,
                    format!(
                        "{} by metadata offset {}",
                        list(partition.isr()),
                        partition.state_offset
                    ),
                )
                .fact(
                    "holds",
                    event.t_us,
                    format!(
                        "log end {}, the same as the committed log up to {common}",
                        replica.log.end()
                    ),
                ),
            );
            return;
        }
    }
    if judged {
        sink.exercised();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{
        Case, TestBatch, committed, leader_hw, leads, recovers, registered,
    };
    use crate::observe::Stop;

    fn case(isr: &[i32]) -> Case {
        let batch = TestBatch::at(0, 2, 4);
        Case::of(make::<InSyncComplete>)
            .note(1, registered(8, 2))
            .note(1, committed(9, 1, (4, 4), isr))
            .note(1, leads(4, 0, 0))
            .note(1, batch.led())
            .note(2, batch.followed())
            .note(1, leader_hw(4, 2, 2))
    }

    #[test]
    fn a_member_without_a_committed_record_is_found() {
        case(&[1, 2, 3]).end().fails("n3 is in the ISR");
    }

    #[test]
    fn a_member_that_joins_too_early_is_found() {
        case(&[1, 2])
            .note(1, committed(10, 1, (4, 5), &[1, 2, 3]))
            .end()
            .fails("n3 is in the ISR");
    }

    #[test]
    fn members_that_hold_it_all_pass() {
        case(&[1, 2]).end().passes();
    }

    #[test]
    fn a_member_that_lost_power_is_exempt_until_it_joins_again() {
        let case = || {
            case(&[1, 2])
                .stops(2, Stop::PowerLoss)
                .note(2, recovers(0, &[]))
                .note(1, committed(10, 1, (4, 5), &[1, 2]))
        };
        case().end().passes();
        // Its old registration lets it in on what it had proven before.
        case()
            .note(1, committed(11, 1, (4, 6), &[1]))
            .note(1, committed(12, 1, (4, 7), &[1, 2]))
            .end()
            .passes();
        case()
            .note(1, committed(11, 1, (4, 6), &[1]))
            .note(1, registered(12, 2))
            .note(1, committed(13, 1, (4, 7), &[1, 2]))
            .end()
            .fails("n2 is in the ISR");
    }
}
