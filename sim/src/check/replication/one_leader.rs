//! At most one leader a partition and leader epoch: brokers that act, brokers that believe, and the
//! committed metadata agree for all time.

use std::collections::BTreeMap;

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, NodeId, TopicIdPartition};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneLeader {
    /// For each partition and epoch: its leader (or none), and who said so first, when.
    leaders: BTreeMap<(TopicIdPartition, LeaderEpoch), (NodeId, NodeId, u64)>,
}

impl Check for OneLeader {
    fn name(&self) -> &'static str {
        "one-leader-per-epoch/RP-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::BecameLeader,
            Kind::BecameFollower,
            Kind::PartitionCommitted,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let (partition, epoch, leader) = match note {
            Note::BecameLeader {
                partition,
                leader_epoch,
                ..
            } => (*partition, *leader_epoch, node),
            Note::BecameFollower {
                partition,
                leader_epoch,
                leader,
                ..
            } => (*partition, *leader_epoch, *leader),
            Note::PartitionCommitted {
                partition, state, ..
            } => (*partition, state.leader_epoch, state.leader),
            _ => return,
        };
        let &mut (first, by, t_us) = self
            .leaders
            .entry((partition, epoch))
            .or_insert((leader, node, event.t_us));
        if first != leader {
            let name = world.partition().map_or("?", |partition| &partition.name);
            sink.fail(
                Violation::new(format!("{name} has two leaders in epoch {epoch}"))
                    .fact("one", t_us, format!("n{first}, says n{by}"))
                    .fact("another", event.t_us, format!("n{leader}, says n{node}")),
            );
        } else if by != node {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed, follows, leads};

    #[test]
    fn two_brokers_that_lead_in_one_epoch_are_found() {
        Case::of(make::<OneLeader>)
            .note(1, leads(4, 0, 0))
            .note(2, leads(4, 0, 0))
            .end()
            .fails("has two leaders in epoch 4");
    }

    #[test]
    fn a_broker_that_leads_against_the_metadata_is_found() {
        Case::of(make::<OneLeader>)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(2, leads(4, 0, 0))
            .end()
            .fails("has two leaders in epoch 4");
    }

    #[test]
    fn leadership_may_move_with_the_epoch() {
        Case::of(make::<OneLeader>)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, leads(4, 0, 0))
            .note(2, follows(4, 1, 0, 0))
            .note(1, committed(10, 2, (5, 5), &[1, 2]))
            .note(2, leads(5, 0, 0))
            .end()
            .passes();
    }
}
