//! A broker that begins to act as leader holds everything that was ever committed. `V35`
//! LeaderCompleteness.
//!
//! A broker that starts answers nobody until it is unfenced. If it restarts before its old session ends
//! the metadata may make it a leader meanwhile; its registration undoes that before it acts.
//!
//! Not judged for an epoch that is over before its leader begins: with lagging metadata a later
//! leader may have committed more. Excused after every in-sync replica lost power, and after an
//! unclean election that the configuration allows: then the new leader's log is what counts.

use broker_model::types::Offset;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LeaderCompleteness;

impl Check for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader-completeness/RP-8"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::BecameLeader,
            Kind::FollowerFetched,
            Kind::FetchServed,
            Kind::LatestServed,
            Kind::Append,
            Kind::HighWatermark,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if !world.moment.began {
            return;
        }
        let Some((node, _, partition, replica)) = about(event, world) else {
            return;
        };
        let Some(leader_epoch) = replica.leads() else {
            return;
        };
        let committed = world.moment.true_high_watermark;
        if leader_epoch <= world.moment.acting || committed == Offset::ZERO {
            return;
        }
        let lost = world.moment.cut;
        if lost.is_none() && partition.holds(replica, committed) {
            sink.exercised();
            return;
        }
        if let Some(cut) = lost
            && !world.expects(self.name())
        {
            sink.excused(cut.why);
            return;
        }
        let common = replica.log.common_end(&partition.arena, &partition.canon);
        sink.fail(
            Violation::new(format!(
                "n{node} leads {} without a committed record",
                partition.name
            ))
            .fact("committed", event.t_us, format!("up to {committed}"))
            .fact(
                "elected",
                event.t_us,
                format!(
                    "n{node} in epoch {leader_epoch}, log end {}, the same as the committed log up to {common}",
                    replica.log.end()
                ),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::NodeId;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{
        Case, TestBatch, committed, fetched, leader_hw, leads, recovers, truncates,
    };
    use crate::check::world::partition::{ALL_LOST_POWER, UNCLEAN_ELECTION};
    use crate::observe::{Stop, WorldEvent};

    fn planned(change: impl FnOnce(&mut crate::plan::Plan)) -> Case {
        let batch = TestBatch::at(0, 2, 4);
        Case::planned(make::<LeaderCompleteness>, change)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, leads(4, 0, 0))
            .note(1, batch.led())
            .note(2, batch.followed())
            .note(1, leader_hw(4, 2, 2))
    }

    fn case() -> Case {
        planned(|_| {})
    }

    #[test]
    fn a_leader_without_a_committed_record_is_found() {
        case()
            .note(2, truncates(0, 2))
            .note(2, leads(5, 0, 0))
            .end()
            .fails("n2 leads");
        case()
            .note(3, TestBatch::at(0, 2, 3).followed())
            .note(3, leads(5, 2, 0))
            .end()
            .fails("the same as the committed log up to 0");
    }

    #[test]
    fn a_leader_that_holds_it_all_passes_even_if_its_own_high_watermark_is_low() {
        case().note(2, leads(5, 2, 0)).end().passes();
    }

    #[test]
    fn a_broker_that_starts_is_judged_when_it_acts() {
        let restarted = || {
            let started = WorldEvent::Started {
                node: NodeId(2),
                incarnation: 1,
            };
            case()
                .stops(2, Stop::PowerLoss)
                .happens(started)
                .note(2, recovers(0, &[]))
                .note(2, leads(5, 0, 0))
        };
        restarted().end().is_silent();
        restarted()
            .note(2, fetched(5, 1, 0))
            .end()
            .fails("n2 leads");
    }

    #[test]
    fn a_leader_of_an_epoch_that_is_over_is_not_judged() {
        case().note(3, leads(3, 0, 0)).end().is_silent();
    }

    #[test]
    fn when_all_in_sync_replicas_lost_power_nothing_was_promised() {
        let restarted = || {
            case()
                .stops(2, Stop::PowerLoss)
                .stops(1, Stop::PowerLoss)
                .note(1, recovers(0, &[]))
                .note(1, leads(5, 0, 0))
        };
        restarted().end().is_excused(ALL_LOST_POWER);
        // What is committed afterwards is promised again.
        restarted()
            .note(1, TestBatch::at(0, 1, 5).led())
            .note(1, leader_hw(5, 1, 1))
            .note(2, leads(6, 0, 0))
            .end()
            .fails("n2 leads");
    }

    #[test]
    fn one_power_loss_of_two_excuses_nothing() {
        case()
            .stops(1, Stop::PowerLoss)
            .note(1, recovers(0, &[]))
            .note(1, leads(5, 0, 0))
            .end()
            .fails("n1 leads");
    }

    #[test]
    fn an_unclean_election_excuses_only_where_it_is_allowed() {
        let elect = |case: Case| {
            case.note(1, committed(10, 3, (5, 5), &[3]))
                .note(3, leads(5, 0, 0))
                .end()
        };
        elect(case()).fails("n3 leads");
        let allowed = planned(|plan| {
            let name = "unclean.leader.election.enable".to_owned();
            plan.nodes[0].config.insert(name, "true".to_owned());
        });
        elect(allowed).is_excused(UNCLEAN_ELECTION);
    }
}
