//! Two replicas that hold the same offset in the same leader epoch hold the same up to there; and below
//! its own high watermark every replica holds what was committed. KIP-101, KIP-279; `V35`
//! LogMatching; Kafka bug `kip-279-unknown-epoch-lookup`.
//!
//! The second half does not hold in the epoch of a leader that was overruled, because everybody in sync had
//! lost power or uncleanly.

use broker_model::note::Note;

use super::about;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LogMatching;

impl Check for LogMatching {
    fn name(&self) -> &'static str {
        "log-matching/RP-9"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Append, Kind::HighWatermark]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        match about(event, world) {
            Some((_, Note::Append { .. }, ..)) => appended(event, world, sink),
            Some((_, Note::HighWatermark { .. }, ..)) => moved(event, world, sink),
            _ => {}
        }
    }
}

fn appended(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Some((node, _, partition, _)) = about(event, world) else {
        return;
    };
    let Some(entry) = world.moment.entry else {
        return;
    };
    let mine = partition.arena.entry(entry);
    let Some(clash) = world.moment.clash else {
        if mine.by != node {
            sink.exercised();
        }
        return;
    };
    let other = partition.arena.entry(clash);
    sink.fail(
        Violation::new(format!(
            "{} offset {} of epoch {} is not the same on all replicas",
            partition.name, mine.last, mine.epoch
        ))
        .fact(
            "first",
            event.t_us,
            format!(
                "on n{}: {}..{} crc {:08x}",
                other.by, other.base, other.last, other.crc
            ),
        )
        .fact(
            "now",
            event.t_us,
            format!(
                "on n{node}: {}..{} crc {:08x}, or what is before it differs",
                mine.base, mine.last, mine.crc
            ),
        ),
    );
}

fn moved(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let Some((
        node,
        Note::HighWatermark {
            leader_epoch,
            high_watermark,
            ..
        },
        partition,
        replica,
    )) = about(event, world)
    else {
        return;
    };
    let below = (*high_watermark).min(partition.true_high_watermark);
    if *high_watermark <= world.moment.high_watermark || replica.lossy {
        return;
    }
    if partition.holds(replica, below) {
        sink.exercised();
    } else if let Some(reason) = partition.void(*leader_epoch) {
        // It has not heard yet of whoever overruled its leader, so that it has not cut its log either.
        sink.excused(reason);
    } else {
        let common = replica.log.common_end(&partition.arena, &partition.canon);
        sink.fail(
            Violation::new(format!(
                "n{node} holds something else than what was committed of {}",
                partition.name
            ))
            .fact(
                "committed",
                event.t_us,
                format!("up to {}", partition.true_high_watermark),
            )
            .fact(
                "holds",
                event.t_us,
                format!(
                    "high watermark {high_watermark}, log end {}, the same as the committed log up to {common}",
                    replica.log.end()
                ),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, committed, follower_hw, leader_hw, leads};
    use crate::check::world::partition::UNCLEAN_ELECTION;

    #[test]
    fn two_batches_under_one_offset_and_epoch_are_found() {
        Case::of(make::<LogMatching>)
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(2, TestBatch::at(0, 2, 4).salted(1).followed())
            .end()
            .fails("offset 1 of epoch 4 is not the same");
    }

    #[test]
    fn a_replica_that_diverged_below_its_high_watermark_is_found() {
        Case::of(make::<LogMatching>)
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(1, leader_hw(4, 2, 2))
            .note(2, TestBatch::at(0, 2, 3).followed())
            .note(2, follower_hw(4, 2, 2))
            .end()
            .fails("n2 holds something else");
    }

    #[test]
    fn only_before_it_hears_of_the_new_leader_may_a_replica_hold_what_was_destroyed() {
        let overruled = || {
            Case::planned(make::<LogMatching>, |plan| {
                let name = "unclean.leader.election.enable".to_owned();
                plan.nodes[0].config.insert(name, "true".to_owned());
            })
            .note(1, committed(9, 1, (4, 4), &[1]))
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(3, TestBatch::at(0, 2, 4).followed())
            .note(1, leader_hw(4, 2, 2))
            .note(2, committed(10, 2, (5, 5), &[2]))
            .note(2, leads(5, 0, 0))
            .note(2, TestBatch::at(0, 2, 5).led())
            .note(2, leader_hw(5, 2, 2))
        };
        overruled()
            .note(3, follower_hw(4, 2, 2))
            .end()
            .is_excused(UNCLEAN_ELECTION);
        overruled()
            .note(3, follower_hw(5, 2, 2))
            .end()
            .fails("n3 holds something else");
    }

    #[test]
    fn a_tail_that_was_never_committed_may_differ() {
        Case::of(make::<LogMatching>)
            .note(1, leads(4, 0, 0))
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(2, TestBatch::at(0, 2, 4).followed())
            .note(1, leader_hw(4, 2, 2))
            .note(2, TestBatch::at(2, 1, 5).followed())
            .note(1, TestBatch::at(2, 1, 4).led())
            .note(2, follower_hw(4, 2, 3))
            .end()
            .passes();
    }
}
