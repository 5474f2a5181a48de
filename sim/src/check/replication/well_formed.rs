//! A committed partition record makes sense: replicas distinct, the ISR a non-empty part of them, the
//! leader in the ISR, nobody in it who is fenced or shutting down (unless it is the last one, which
//! stays: there is no ELR), and one replica alone while it recovers.

use broker_model::note::{Note, PartitionState};
use broker_model::types::NodeId;

use super::list;
use crate::check::world::metadata::Told;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct WellFormed;

impl Check for WellFormed {
    fn name(&self) -> &'static str {
        "metadata-well-formed/RP-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::PartitionCommitted]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            note: Note::PartitionCommitted { state, offset, .. },
            ..
        } = event.fact
        else {
            return;
        };
        if world.moment.told != Told::First {
            return;
        }
        let Some(wrong) = wrong(state, world) else {
            sink.exercised();
            return;
        };
        let name = world.partition().map_or("?", |partition| &partition.name);
        sink.fail(
            Violation::new(format!(
                "the committed state of {name} makes no sense: {wrong}"
            ))
            .fact(
                "committed",
                event.t_us,
                format!(
                    "at metadata offset {offset}: replicas {}, isr {}, leader n{}",
                    list(&state.replicas),
                    list(&state.isr),
                    state.leader
                ),
            ),
        );
    }
}

fn wrong(state: &PartitionState, world: &World) -> Option<&'static str> {
    let distinct = |nodes: &[NodeId]| {
        nodes
            .iter()
            .enumerate()
            .all(|(index, node)| !nodes[..index].contains(node))
    };
    let inactive = |node: &NodeId| {
        let broker = world.metadata.brokers.get(node);
        broker.is_some_and(|broker| broker.fenced || broker.shutting_down)
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
    } else if state.isr.len() > 1 && state.isr.iter().any(inactive) {
        Some("a fenced broker is in the ISR")
    } else {
        None
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
    fn the_last_in_sync_replica_stays_when_it_is_fenced() {
        Case::of(make::<WellFormed>)
            .note(1, fences(8, 2))
            .note(1, committed(9, -1, (2, 2), &[2]))
            .end()
            .passes();
    }
}
