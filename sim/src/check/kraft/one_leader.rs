//! At most one leader an epoch, in the eyes and on the disks of all nodes, for all time.
//! Raft §5.2 (Election Safety); Kafka's simulation: SingleLeader.

use std::collections::BTreeMap;

use broker_model::note::{Note, RaftRole};
use broker_model::types::{LeaderEpoch, NodeId};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneLeader {
    /// For each epoch: its leader, and who said so first, when.
    leaders: BTreeMap<LeaderEpoch, (NodeId, NodeId, u64)>,
}

impl Check for OneLeader {
    fn name(&self) -> &'static str {
        "one-leader-per-epoch/KR-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::RaftRole,
            Kind::RaftRecovered,
            Kind::QuorumStateWritten,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, _world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let (epoch, leader) = match *note {
            Note::RaftRole {
                epoch,
                role: RaftRole::Leader,
                ..
            } => (epoch, Some(node)),
            Note::RaftRole { epoch, leader, .. }
            | Note::RaftRecovered { epoch, leader, .. }
            | Note::QuorumStateWritten { epoch, leader, .. } => (epoch, leader),
            _ => return,
        };
        let Some(leader) = leader else {
            return;
        };
        let &mut (first, by, t_us) = self
            .leaders
            .entry(epoch)
            .or_insert((leader, node, event.t_us));
        if first != leader {
            sink.fail(
                Violation::new(format!("epoch {epoch} of the quorum has two leaders"))
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
    use broker_model::types::Offset;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn role(role: RaftRole, epoch: i32, leader: i32) -> Note {
        Note::RaftRole {
            epoch: LeaderEpoch(epoch),
            role,
            leader: Some(NodeId(leader)),
            voted: None,
            log_end: Offset(0),
        }
    }

    #[test]
    fn two_leaders_in_one_epoch_are_found() {
        Case::of(make::<OneLeader>)
            .note(1, role(RaftRole::Leader, 4, 1))
            .note(2, role(RaftRole::Leader, 4, 2))
            .end()
            .fails("epoch 4 of the quorum has two leaders");
    }

    #[test]
    fn a_new_leader_has_a_new_epoch() {
        Case::of(make::<OneLeader>)
            .note(1, role(RaftRole::Leader, 4, 1))
            .note(2, role(RaftRole::Follower, 4, 1))
            .note(2, role(RaftRole::Leader, 5, 2))
            .note(1, role(RaftRole::Resigned, 4, 1))
            .end()
            .passes();
    }
}
