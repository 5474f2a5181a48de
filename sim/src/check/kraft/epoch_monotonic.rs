//! A node's raft epoch never goes back, not even over a restart: what was flushed stays, and a
//! process kill loses nothing that was written. Kafka's simulation: MonotonicEpoch. Nor does a node act in
//! an epoch before it is on disk (`QuorumState.durableTransitionTo`).

use std::collections::BTreeMap;

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, NodeId};

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct EpochMonotonic {
    /// The epoch that each node's recovery found.
    recovered: BTreeMap<NodeId, LeaderEpoch>,
}

impl Check for EpochMonotonic {
    fn name(&self) -> &'static str {
        "epoch-monotonic/KR-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::RaftRole, Kind::RaftRecovered]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let before = &world.moment.raft;
        let (now, least, what) = match *note {
            Note::RaftRole { epoch, .. } => {
                self.on_disk(event, (node, epoch), world, sink);
                match before.role {
                    Some(_) => (epoch, before.epoch, "in memory"),
                    None => return,
                }
            }
            Note::RaftRecovered { epoch, .. } => {
                self.recovered.insert(node, epoch);
                match before.unknown {
                    true => (epoch, before.durable.epoch, "flushed"),
                    false => (epoch, before.written.epoch, "written"),
                }
            }
            _ => return,
        };
        if now < least {
            sink.fail(
                Violation::new(format!("the raft epoch of n{node} went back"))
                    .fact("before", event.t_us, format!("{least} {what}"))
                    .fact("now", event.t_us, now.to_string()),
            );
        } else {
            sink.exercised();
        }
    }
}

impl EpochMonotonic {
    /// Nobody acts in an epoch that a power loss could make it forget.
    fn on_disk(
        &self,
        event: &Observed<'_>,
        (node, epoch): (NodeId, LeaderEpoch),
        world: &World,
        sink: &mut Sink,
    ) {
        let durable = world.raft.node(node).map(|node| node.durable.epoch);
        let recovered = self.recovered.get(&node).copied();
        let on_disk = durable.max(recovered).unwrap_or_default();
        if epoch > on_disk {
            sink.fail(
                Violation::new(format!("n{node} acts in an epoch that is not on its disk"))
                    .fact("on disk", event.t_us, format!("epoch {on_disk}"))
                    .fact("acts", event.t_us, format!("in epoch {epoch}")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::note::RaftRole;
    use broker_model::types::Offset;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::observe::Stop;

    fn role(epoch: i32) -> Note {
        Note::RaftRole {
            epoch: LeaderEpoch(epoch),
            role: RaftRole::Unattached,
            leader: None,
            voted: None,
            log_end: Offset(0),
        }
    }

    fn writes(epoch: i32) -> Note {
        Note::QuorumStateWritten {
            epoch: LeaderEpoch(epoch),
            leader: None,
            voted: None,
        }
    }

    fn recovers(epoch: i32) -> Note {
        Note::RaftRecovered {
            epoch: LeaderEpoch(epoch),
            leader: None,
            voted: None,
            log_end: Offset(0),
        }
    }

    #[test]
    fn an_epoch_that_is_only_in_memory_is_found() {
        let case = || Case::of(make::<EpochMonotonic>).note(1, writes(4));
        case().note(1, role(4)).end().fails("is not on its disk");
        case()
            .note(1, Note::QuorumStateFlushed)
            .note(1, role(4))
            .note(1, role(4))
            .end()
            .passes();
        // What a restart finds in the page cache was replaced as a whole.
        case()
            .stops(1, Stop::Killed)
            .note(1, recovers(4))
            .note(1, role(4))
            .end()
            .passes();
    }

    #[test]
    fn an_epoch_that_goes_back_is_found() {
        Case::of(make::<EpochMonotonic>)
            .note(1, writes(4))
            .note(1, Note::QuorumStateFlushed)
            .note(1, role(4))
            .note(1, role(3))
            .end()
            .fails("the raft epoch of n1 went back");
    }

    #[test]
    fn what_was_flushed_survives_a_power_loss() {
        let case = || {
            Case::of(make::<EpochMonotonic>)
                .note(1, writes(4))
                .note(1, Note::QuorumStateFlushed)
                .note(1, writes(5))
                .stops(1, Stop::PowerLoss)
        };
        case().note(1, recovers(4)).end().passes();
        case().note(1, recovers(3)).end().fails("went back");
    }

    #[test]
    fn what_was_written_survives_a_kill() {
        let case = || {
            Case::of(make::<EpochMonotonic>)
                .note(1, writes(5))
                .stops(1, Stop::Killed)
        };
        case().note(1, recovers(5)).end().passes();
        case().note(1, recovers(4)).end().fails("went back");
    }
}
