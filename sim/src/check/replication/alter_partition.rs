//! The controller takes an AlterPartition only from the current leader, for its epochs, with the leader
//! in the ISR. KIP-497.

use broker_model::note::Note;

use super::list;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AlterPartitionFencing;

impl Check for AlterPartitionFencing {
    fn name(&self) -> &'static str {
        "alter-partition-fencing/RP-12"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::AlterPartitionAccepted]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            note:
                Note::AlterPartitionAccepted {
                    partition,
                    leader,
                    leader_epoch,
                    partition_epoch,
                    before,
                    isr,
                    ..
                },
            ..
        } = event.fact
        else {
            return;
        };
        let current = *leader == before.leader
            && *leader_epoch == before.leader_epoch
            && *partition_epoch == before.partition_epoch;
        if current && isr.iter().any(|&(member, _)| member == *leader) {
            sink.exercised();
            return;
        }
        let members: Vec<_> = isr.iter().map(|&(member, _)| member).collect();
        let name = world
            .find(partition)
            .map_or("?", |partition| &partition.name);
        sink.fail(
            Violation::new(format!(
                "the controller n{node} let somebody alter {name} who may not"
            ))
            .fact(
                "asked",
                event.t_us,
                format!(
                    "n{leader}, leader epoch {leader_epoch}, partition epoch {partition_epoch}, isr {}",
                    list(&members)
                ),
            )
            .fact(
                "current",
                event.t_us,
                format!(
                    "n{}, leader epoch {}, partition epoch {}",
                    before.leader, before.leader_epoch, before.partition_epoch
                ),
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, partition, state};

    fn accepts(leader: i32, epochs: (i32, i32), isr: &[i32]) -> Note {
        Note::AlterPartitionAccepted {
            partition: partition(),
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(epochs.0),
            partition_epoch: PartitionEpoch(epochs.1),
            before: Box::new(state(1, (5, 8), &[1, 2])),
            isr: isr.iter().map(|&id| (NodeId(id), BrokerEpoch(1))).collect(),
            registered: Vec::new(),
        }
    }

    #[test]
    fn late_requests_are_found() {
        for note in [
            accepts(2, (5, 8), &[1, 2]),
            accepts(1, (4, 8), &[1, 2]),
            accepts(1, (5, 7), &[1, 2]),
            accepts(1, (5, 8), &[2]),
        ] {
            Case::of(make::<AlterPartitionFencing>)
                .note(3, note)
                .end()
                .fails("who may not");
        }
    }

    #[test]
    fn the_leader_may_shrink_its_isr() {
        Case::of(make::<AlterPartitionFencing>)
            .note(3, accepts(1, (5, 8), &[1]))
            .end()
            .passes();
    }
}
