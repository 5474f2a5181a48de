//! Replication quorum ⊇ election quorum: whomever the controller may elect, the leader waits for
//! before it commits. KIP-497 (the maximal ISR); `V966` ReplicationQuorumSuperset.
//!
//! Judged for a leader of the committed epoch with at least `min.insync.replicas` in its ISR; a
//! smaller ISR commits nothing. Bug: `kip-497-hw-ignores-pending-isr`.

use super::list;
use crate::check::world::partition::{Leadership, Partition};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct QuorumsOverlap;

impl Check for QuorumsOverlap {
    fn name(&self) -> &'static str {
        "replication-covers-election-quorum/RP-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::LeaderIsr, Kind::PartitionCommitted]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { .. } = event.fact else {
            return;
        };
        let Some(partition) = world.partition() else {
            return;
        };
        let Some((leadership, leader)) = current(partition) else {
            return;
        };
        let waits_for = |node| leadership.maximal.contains(node);
        let covered = partition.isr().iter().all(waits_for);
        if !leadership.isr.iter().all(waits_for) || !covered {
            sink.fail(
                Violation::new(format!(
                    "the leader of {} does not wait for a replica that may be elected",
                    partition.name
                ))
                .fact(
                    "may be elected",
                    event.t_us,
                    format!("{} as committed", list(partition.isr())),
                )
                .fact(
                    "waits for",
                    event.t_us,
                    format!(
                        "{} on n{leader} in epoch {}, with {} confirmed",
                        list(&leadership.maximal),
                        leadership.epoch,
                        list(&leadership.isr)
                    ),
                ),
            );
        } else if leadership.maximal.len() > 1 {
            sink.exercised();
        }
    }
}

/// The leader that the metadata names, if it acts and may commit.
fn current(partition: &Partition) -> Option<(&Leadership, broker_model::types::NodeId)> {
    let state = partition.state.as_ref()?;
    let leadership = partition.replica(state.leader)?.leadership.as_ref()?;
    let acts = leadership.epoch == state.leader_epoch
        && leadership.isr_known
        && leadership.isr.len() >= leadership.min_isr;
    acts.then_some((leadership, state.leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed, leader_isr, leads};

    fn case() -> Case {
        Case::of(make::<QuorumsOverlap>)
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, leads(4, 0, 0))
            .note(1, leader_isr(4, &[1, 2], &[1, 2]))
    }

    #[test]
    fn a_leader_that_does_not_wait_for_a_new_member_is_found() {
        case()
            .note(1, committed(10, 1, (4, 5), &[1, 2, 3]))
            .end()
            .fails("waits for");
    }

    #[test]
    fn a_leader_that_waits_from_its_proposal_on_passes() {
        case()
            .note(1, leader_isr(4, &[1, 2], &[1, 2, 3]))
            .note(1, committed(10, 1, (4, 5), &[1, 2, 3]))
            .end()
            .passes();
    }

    #[test]
    fn a_leader_whose_epoch_is_over_is_not_judged() {
        case()
            .note(1, committed(10, 2, (5, 5), &[1, 2]))
            .note(1, committed(11, 2, (5, 6), &[1, 2, 3]))
            .end()
            .passes();
    }
}
