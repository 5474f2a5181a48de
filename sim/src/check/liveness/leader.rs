//! Once nothing disturbs a cluster any more, it has one active controller, and each partition one leader that
//! knows it is one. The run itself waits for it within a bound; judged once more at the end, after the heal.

use super::{IN_TIME, is_overdue};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Phase;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Leader;

impl Check for Leader {
    fn name(&self) -> &'static str {
        "leader/LIV-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let Some(&healed_us) = world.phases.get(&Phase::Heal) else {
            return;
        };
        let controllers: Vec<String> = world
            .ends
            .iter()
            .filter(|(_, end)| end.raft_leader && end.active_controller)
            .map(|(node, _)| format!("n{node}"))
            .collect();
        if controllers.len() == 1 {
            sink.exercised();
        } else if !is_overdue(world) {
            sink.excused(IN_TIME);
        } else {
            sink.fail(
                Violation::stuck("there is not one active controller")
                    .fact("healed", healed_us, "")
                    .fact("active", world.t_us, format!("{controllers:?}")),
            );
        }
        for partition in world.partitions.iter().filter(|known| !known.removed) {
            let Some(state) = &partition.state else {
                continue;
            };
            let acts = world
                .ends
                .get(&state.leader)
                .and_then(|end| end.replicas.get(&partition.id))
                .is_some_and(|replica| replica.leader);
            if acts {
                sink.exercised();
            } else if !is_overdue(world) {
                sink.excused(IN_TIME);
            } else {
                sink.fail(
                    Violation::stuck(format!("{} has no leader", partition.name))
                        .fact("healed", healed_us, "")
                        .fact(
                            "metadata",
                            world.t_us,
                            format!("leader n{}, epoch {}", state.leader, state.leader_epoch),
                        ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed, node_end};
    use crate::observe::WorldEvent;

    fn case() -> Case {
        Case::of(make::<Leader>)
            .note(1, committed(9, 1, (4, 4), &[1, 2, 3]))
            .happens(WorldEvent::Phase(Phase::Heal))
            .wait_ms(1_000_000)
            .happens(WorldEvent::Phase(Phase::Done))
    }

    #[test]
    fn a_cluster_without_a_controller_is_stuck() {
        let mut end = node_end(true);
        end.active_controller = false;
        case().ends_as(1, end).end().is_stuck("active controller");
    }

    #[test]
    fn a_partition_without_a_leader_is_stuck() {
        let mut end = node_end(false);
        end.raft_leader = true;
        end.active_controller = true;
        case().ends_as(1, end).end().is_stuck("has no leader");
    }

    #[test]
    fn a_cluster_with_both_passes() {
        case()
            .ends_as(1, node_end(true))
            .ends_as(2, node_end(false))
            .end()
            .passes();
    }
}
