//! A committed partition record makes sense: replicas distinct, the ISR a non-empty part of them, the
//! leader in the ISR, nobody in it who is fenced or shutting down (unless it is the last one, which
//! stays: there is no ELR), and one replica alone while it recovers.
//!
//! A broker that is fenced later leaves its ISRs in the same batch of records.

use broker_model::note::{MetadataReader, Note, PartitionState};
use broker_model::types::NodeId;

use super::list;
use crate::check::world::metadata::Told;
use crate::check::world::partition::Partition;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct WellFormed {
    /// Whether a broker's state changed since all partitions were judged: they are again once the
    /// whole batch of records was applied, because its order is the controller's business.
    broker_changed: bool,
}

impl Check for WellFormed {
    fn name(&self) -> &'static str {
        "metadata-well-formed/RP-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::PartitionCommitted,
            Kind::BrokerCommitted,
            Kind::MetadataApplied,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { note, .. } = event.fact else {
            return;
        };
        match note {
            Note::PartitionCommitted { .. } if world.moment.told == Told::First => {
                if let Some(partition) = world.partition() {
                    judge(event, partition, wrong, world, sink);
                }
            }
            Note::BrokerCommitted { .. } => {
                self.broker_changed |= world.moment.told == Told::First;
            }
            Note::MetadataApplied {
                by: MetadataReader::Controller,
                offset,
                ..
            } if self.broker_changed && *offset >= world.metadata.head => {
                self.broker_changed = false;
                for partition in world.partitions.iter().filter(|known| !known.removed) {
                    judge(event, partition, inactive, world, sink);
                }
            }
            _ => {}
        }
    }
}

fn judge(
    event: &Observed<'_>,
    partition: &Partition,
    wrong: impl FnOnce(&PartitionState, &World) -> Option<&'static str>,
    world: &World,
    sink: &mut Sink,
) {
    let Some(state) = &partition.state else {
        return;
    };
    let Some(wrong) = wrong(state, world) else {
        sink.exercised();
        return;
    };
    sink.fail(
        Violation::new(format!(
            "the committed state of {} makes no sense: {wrong}",
            partition.name
        ))
        .fact(
            "committed",
            event.t_us,
            format!(
                "at metadata offset {}: replicas {}, isr {}, leader n{}",
                partition.state_offset,
                list(&state.replicas),
                list(&state.isr),
                state.leader
            ),
        ),
    );
}

/// Whether somebody inactive is in the ISR.
fn inactive(state: &PartitionState, world: &World) -> Option<&'static str> {
    let inactive = |node: &NodeId| {
        let broker = world.metadata.brokers.get(node);
        broker.is_some_and(|broker| broker.fenced || broker.shutting_down)
    };
    let wrong = state.isr.len() > 1 && state.isr.iter().any(inactive);
    wrong.then_some("a fenced broker is in the ISR")
}

fn wrong(state: &PartitionState, world: &World) -> Option<&'static str> {
    let distinct = |nodes: &[NodeId]| {
        nodes
            .iter()
            .enumerate()
            .all(|(index, node)| !nodes[..index].contains(node))
    };
    if !distinct(&state.replicas) || !distinct(&state.isr) {
        Some("a replica is listed twice")
    } else if state.isr.is_empty() {
        Some("the ISR is empty")
    } else if !state.isr.iter().all(|node| state.replicas.contains(node)) {
        Some("the ISR has a member that is no replica")
    } else if state.leader != NodeId::NONE && !state.isr.contains(&state.leader) {
        Some("the leader is not in the ISR")
    } else if state.recovering && state.isr.len() > 1 {
        Some("it recovers with more than one replica in the ISR")
    } else {
        inactive(state, world)
    }
}

#[cfg(test)]
mod tests {
    use broker_model::note::BrokerState;
    use broker_model::types::{BrokerEpoch, Offset, Uuid};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed};

    fn fences(offset: i64, broker: i32) -> Note {
        Note::BrokerCommitted {
            offset: Offset(offset),
            broker: NodeId(broker),
            state: BrokerState {
                epoch: BrokerEpoch(1),
                incarnation: Uuid::from_u128(1),
                fenced: true,
                shutting_down: false,
            },
        }
    }

    #[test]
    fn nonsense_is_found() {
        let case = || Case::of(make::<WellFormed>);
        let commit = |leader, isr: &[i32]| committed(9, leader, (1, 1), isr);
        case().note(1, commit(1, &[])).end().fails("is empty");
        case().note(1, commit(1, &[1, 1])).end().fails("twice");
        case().note(1, commit(1, &[1, 4])).end().fails("no replica");
        case()
            .note(1, commit(3, &[1, 2]))
            .end()
            .fails("not in the ISR");
        case()
            .note(1, fences(8, 2))
            .note(1, commit(1, &[1, 2]))
            .end()
            .fails("a fenced broker");
    }

    #[test]
    fn a_broker_that_is_fenced_and_stays_in_an_isr_is_found() {
        let applies = |offset| Note::MetadataApplied {
            by: MetadataReader::Controller,
            offset: Offset(offset),
            hash: 1,
        };
        let case = || {
            Case::of(make::<WellFormed>)
                .note(1, committed(8, 1, (1, 1), &[1, 2]))
                .note(1, applies(8))
                .note(1, fences(9, 2))
        };
        case().note(1, applies(9)).end().fails("a fenced broker");
        case()
            .note(1, committed(10, 1, (1, 2), &[1]))
            .note(1, applies(10))
            .end()
            .passes();
    }

    #[test]
    fn the_last_in_sync_replica_stays_when_it_is_fenced() {
        Case::of(make::<WellFormed>)
            .note(1, fences(8, 2))
            .note(1, committed(9, -1, (2, 2), &[2]))
            .end()
            .passes();
    }
}
