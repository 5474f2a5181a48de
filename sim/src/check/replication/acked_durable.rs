//! What was acknowledged with acks=all is in the log of the leader and of every in-sync replica at the
//! end. `V853` AckedValueNotLost; oracle O1.
//!
//! Where a scenario expects `acked-is-durable` to fail, acks=1 counts too and nothing is excused.

use broker_model::types::NodeId;

use crate::check::world::partition::{Acked, Partition, Replica};
use crate::check::{Check, Kind, Sink, Violation, World};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AckedDurable;

impl Check for AckedDurable {
    fn name(&self) -> &'static str {
        "acked-is-durable/RP-15"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let lifted = world.expects(self.name());
        for partition in world.partitions.iter().filter(|known| !known.removed) {
            let Some(state) = &partition.state else {
                continue;
            };
            let leader = partition.replica(state.leader);
            let Some(leader) = leader.filter(|leader| leader.leads() == Some(state.leader_epoch))
            else {
                // Nobody leads: that is for LIV-2.
                continue;
            };
            for acked in &partition.acked {
                if acked.acks == -1 || lifted {
                    judge(world, partition, leader, acked, lifted, sink);
                }
            }
            for &member in &state.isr {
                follower(world, partition, leader, member, sink);
            }
        }
    }
}

fn judge(
    world: &World,
    partition: &Partition,
    leader: &Replica,
    acked: &Acked,
    lifted: bool,
    sink: &mut Sink,
) {
    let entry = partition.arena.entry(acked.entry);
    let there = leader.log.at(&partition.arena, entry.last);
    if there == Some(acked.entry) || entry.last < partition.log_start {
        sink.exercised();
        return;
    }
    if let Some(reason) = partition.destroyed_after(entry.last, acked.n)
        && !lifted
    {
        sink.excused(reason);
        return;
    }
    let acks = if acked.acks == -1 {
        "acks=all"
    } else {
        "acks=1"
    };
    sink.fail(
        Violation::new(format!(
            "{} offset {} was acknowledged and is gone",
            partition.name, entry.base
        ))
        .fact(
            "acknowledged",
            acked.t_us,
            format!(
                "by n{}, epoch {}, offsets {}..{}, {acks}, producer {} epoch {} sequence {}",
                acked.by,
                entry.epoch,
                entry.base,
                entry.last,
                entry.producer,
                entry.producer_epoch,
                entry.first
            ),
        )
        .fact(
            "absent",
            world.t_us,
            format!(
                "on n{}, epoch {}, log end {}, high watermark {}",
                leader.node,
                partition.acting,
                leader.log.end(),
                leader.high_watermark
            ),
        ),
    );
}

fn follower(world: &World, partition: &Partition, leader: &Replica, node: NodeId, sink: &mut Sink) {
    let committed = partition.true_high_watermark;
    let Some(replica) = partition
        .replica(node)
        .filter(|known| known.node != leader.node)
    else {
        return;
    };
    if replica.lossy || partition.unpromised.is_some() || partition.acked.is_empty() {
        return;
    }
    if partition.holds(replica, committed) {
        sink.exercised();
        return;
    }
    sink.fail(
        Violation::new(format!(
            "n{node} is in sync at the end and lacks committed records of {}",
            partition.name
        ))
        .fact("committed", world.t_us, format!("up to {committed}"))
        .fact(
            "holds",
            world.t_us,
            format!("log end {}", replica.log.end()),
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use broker_model::note::Note;
    use broker_model::types::Offset;

    use crate::check::testing::{
        Case, TestBatch, answered, committed, leader_hw, leads, partition, recovers, truncates,
    };
    use crate::check::world::partition::ALL_LOST_POWER;
    use crate::observe::Stop;

    fn planned(change: impl FnOnce(&mut crate::plan::Plan)) -> Case {
        let batch = TestBatch::at(0, 2, 4);
        Case::planned(make::<AckedDurable>, change)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, leads(4, 0, 0))
            .note(1, batch.led())
            .note(2, batch.followed())
            .note(1, leader_hw(4, 2, 2))
            .note(1, answered(4, 0, 1))
    }

    #[test]
    fn an_acknowledged_record_that_is_gone_is_found() {
        planned(|_| {})
            .note(2, truncates(0, 2))
            .note(1, committed(10, 2, (5, 5), &[2]))
            .note(2, leads(5, 0, 0))
            .end()
            .fails("orders-0 offset 0 was acknowledged and is gone".trim_start_matches("orders-0"));
    }

    #[test]
    fn one_replica_that_starts_late_by_itself_hides_nothing() {
        let late = Note::LogStart {
            partition: partition(),
            log_start: Offset(2),
        };
        let gone = |case: Case| {
            case.note(3, late.clone())
                .note(2, truncates(0, 2))
                .note(1, committed(10, 2, (5, 5), &[2]))
                .note(2, leads(5, 0, 0))
                .end()
        };
        gone(planned(|_| {}).part()).fails("was acknowledged and is gone");
        gone(planned(|_| {}).part_with(&[("retention.ms", "1000")])).passes();
    }

    #[test]
    fn a_cut_that_came_before_the_acknowledgement_excuses_nothing() {
        let found = all_lose_power(planned(|_| {}))
            .note(2, TestBatch::at(0, 1, 5).led())
            .note(2, leader_hw(5, 1, 1))
            .note(2, answered(5, 0, 0))
            // The old leader comes back and commits what nobody will keep.
            .note(1, leads(4, 2, 0))
            .note(1, leader_hw(4, 2, 2))
            .note(1, committed(11, 3, (6, 6), &[3]))
            .note(3, leads(6, 0, 0))
            .end();
        found.fails("by n2, epoch 5");
    }

    #[test]
    fn a_record_that_every_in_sync_replica_holds_is_durable() {
        planned(|_| {})
            .note(1, committed(10, 2, (5, 5), &[1, 2]))
            .note(2, leads(5, 2, 2))
            .end()
            .passes();
    }

    fn all_lose_power(case: Case) -> Case {
        case.stops(1, Stop::PowerLoss)
            .stops(2, Stop::PowerLoss)
            .note(2, recovers(0, &[]))
            .note(3, committed(10, 2, (5, 5), &[2]))
            .note(2, leads(5, 0, 0))
    }

    #[test]
    fn when_all_in_sync_replicas_lost_power_it_was_not_promised() {
        all_lose_power(planned(|_| {}))
            .end()
            .is_excused(ALL_LOST_POWER);
    }

    #[test]
    fn a_scenario_that_expects_the_loss_gets_it() {
        let expecting = planned(|plan| plan.expect.push("acked-is-durable".to_owned()));
        all_lose_power(expecting)
            .end()
            .fails("was acknowledged and is gone");
    }
}
