//! A leader whose epoch is over does no harm: once a leader of a later epoch acts, it commits nothing
//! past that epoch's start.
//!
//! It may still move its high watermark over what the new leader holds: everybody it waits for had
//! proven that before, the new leader included. (So "never past the high watermark at the time of
//! the change" would be wrong where metadata lags.)

use broker_model::note::Note;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StaleLeader;

impl Check for StaleLeader {
    fn name(&self) -> &'static str {
        "stale-leader-harmless/RP-21"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::HighWatermark]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::HighWatermark {
                as_leader: true,
                leader_epoch,
                high_watermark,
                ..
            },
            partition,
            _,
        )) = about(event, world)
        else {
            return;
        };
        if *leader_epoch >= partition.acting || *high_watermark <= world.moment.high_watermark {
            return;
        }
        let later = partition.epochs.range(leader_epoch.next()..);
        let mut starts = later.filter_map(|(epoch, facts)| Some((epoch, facts.start?, facts)));
        let Some((epoch, start, facts)) = starts.next() else {
            return;
        };
        if *high_watermark <= start {
            sink.exercised();
        } else if let Some(reason) = partition.void(*leader_epoch) {
            sink.excused(reason);
        } else {
            sink.fail(
                Violation::new(format!(
                    "n{node} commits records of {} though its epoch is over",
                    partition.name
                ))
                .fact(
                    "over since",
                    facts.t_us,
                    format!("n{} leads in epoch {epoch} from {start} on", facts.leader),
                )
                .fact(
                    "commits",
                    event.t_us,
                    format!("up to {high_watermark} in epoch {leader_epoch}"),
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, committed, leader_hw, leads};
    use crate::check::world::partition::UNCLEAN_ELECTION;

    fn case() -> Case {
        Case::of(make::<StaleLeader>)
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(2, TestBatch::at(0, 2, 4).followed())
            .note(1, TestBatch::at(2, 1, 4).led())
            .note(2, leads(5, 2, 0))
    }

    #[test]
    fn a_stale_leader_that_commits_is_found() {
        case()
            .note(1, leader_hw(4, 3, 3))
            .end()
            .fails("though its epoch is over");
    }

    #[test]
    fn a_leader_that_was_overruled_commits_in_vain() {
        let uncleanly = || {
            Case::planned(make::<StaleLeader>, |plan| {
                let name = "unclean.leader.election.enable".to_owned();
                plan.nodes[0].config.insert(name, "true".to_owned());
            })
            .note(1, committed(9, 1, (4, 4), &[1]))
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(3, committed(10, 2, (5, 5), &[2]))
            .note(2, leads(5, 0, 0))
        };
        uncleanly()
            .note(1, leader_hw(4, 2, 2))
            .end()
            .is_excused(UNCLEAN_ELECTION);
        // Who overruled it is not overruled by a proper successor.
        uncleanly()
            .note(2, TestBatch::at(0, 1, 5).led())
            .note(3, leads(6, 0, 0))
            .note(2, leader_hw(5, 1, 1))
            .end()
            .fails("though its epoch is over");
    }

    #[test]
    fn a_stale_leader_may_learn_what_the_new_one_holds() {
        case().note(1, leader_hw(4, 2, 3)).end().passes();
    }
}
