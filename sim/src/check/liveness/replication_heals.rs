//! Once nothing disturbs a cluster any more, every replica is in the ISR, for the metadata and for the leader,
//! and every broker is unfenced. The run itself waits for it within a bound; judged once more at the end.

use broker_model::types::NodeId;

use super::{IN_TIME, is_overdue};
use crate::check::world::partition::Partition;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Phase;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ReplicationHeals;

impl Check for ReplicationHeals {
    fn name(&self) -> &'static str {
        "replication-heals/LIV-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let Some(&healed_us) = world.phases.get(&Phase::Heal) else {
            return;
        };
        for partition in world.partitions.iter().filter(|known| !known.removed) {
            match missing(world, partition) {
                None => sink.exercised(),
                Some(_) if !is_overdue(world) => sink.excused(IN_TIME),
                Some(missing) => sink.fail(
                    Violation::stuck(format!("{} is not fully replicated", partition.name))
                        .fact("healed", healed_us, "")
                        .fact("missing", world.t_us, missing),
                ),
            }
        }
        for (node, broker) in &world.metadata.brokers {
            if broker.fenced && !is_overdue(world) {
                sink.excused(IN_TIME);
            } else if broker.fenced {
                sink.fail(
                    Violation::stuck(format!("n{node} is fenced"))
                        .fact("healed", healed_us, "")
                        .fact("registered", world.t_us, format!("{broker:?}")),
                );
            } else {
                sink.exercised();
            }
        }
    }
}

/// What keeps the partition from being whole.
fn missing(world: &World, partition: &Partition) -> Option<String> {
    let state = partition.state.as_ref()?;
    let lacks = |isr: &[NodeId]| {
        state
            .replicas
            .iter()
            .find(|node| !isr.contains(node))
            .copied()
    };
    if let Some(node) = lacks(&state.isr) {
        return Some(format!("n{node} in the committed ISR {:?}", state.isr));
    }
    let replica = |node: NodeId| world.ends.get(&node)?.replicas.get(&partition.id);
    let Some(leader) = replica(state.leader) else {
        return Some(format!("the leader n{}", state.leader));
    };
    if let Some(node) = lacks(&leader.isr) {
        return Some(format!("n{node} in the leader's ISR {:?}", leader.isr));
    }
    let mut replicas = state.replicas.iter();
    let behind = replicas
        .find(|&&node| replica(node).is_none_or(|replica| replica.log_end < leader.high_watermark));
    behind.map(|node| format!("n{node} at {}", leader.high_watermark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed, node_end};
    use crate::observe::WorldEvent;

    fn case(isr: &[i32]) -> Case {
        Case::of(make::<ReplicationHeals>)
            .note(1, committed(9, 1, (4, 4), isr))
            .happens(WorldEvent::Phase(Phase::Heal))
            .wait_ms(1_000_000)
            .happens(WorldEvent::Phase(Phase::Done))
            .ends_as(1, node_end(true))
            .ends_as(2, node_end(false))
    }

    #[test]
    fn a_replica_that_stays_out_of_sync_is_stuck() {
        case(&[1, 2])
            .ends_as(3, node_end(false))
            .end()
            .is_stuck("n3 in the committed ISR");
    }

    #[test]
    fn a_replica_that_is_not_there_is_stuck() {
        case(&[1, 2, 3]).end().is_stuck("n3 at 2");
    }

    #[test]
    fn full_replication_passes() {
        case(&[1, 2, 3]).ends_as(3, node_end(false)).end().passes();
    }
}
