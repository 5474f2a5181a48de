//! A broker that registers again after a power loss leads nothing and is in no ISR, until it caught up
//! and was added again; only a last in-sync replica stays. KIP-631, KIP-903;
//! `kip-631-fast-restart-keeps-isr`.

use std::collections::BTreeMap;

use broker_model::note::{MetadataReader, Note};
use broker_model::types::{NodeId, Offset};

use crate::check::world::metadata::Told;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct UncleanExcluded {
    /// Brokers that registered again after a power loss, and the record that says so: judged when
    /// the whole batch of records was applied, because its order is the controller's business.
    waiting: BTreeMap<NodeId, Offset>,
}

impl Check for UncleanExcluded {
    fn name(&self) -> &'static str {
        "unclean-excluded/RP-18"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::BrokerCommitted, Kind::MetadataApplied]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { note, .. } = event.fact else {
            return;
        };
        match note {
            Note::BrokerCommitted {
                offset,
                broker,
                state,
            } if world.moment.told == Told::First => {
                let lost = world.processes.get(*broker).epoch_at_power_loss;
                let before = world.moment.broker_before.map(|before| before.epoch);
                if lost.is_some_and(|lost| lost < state.epoch) && before != Some(state.epoch) {
                    self.waiting.insert(*broker, *offset);
                }
            }
            Note::MetadataApplied {
                by: MetadataReader::Controller,
                offset,
                ..
            } if !self.waiting.is_empty() => {
                let head = world.metadata.head;
                self.waiting.retain(|&broker, registered| {
                    let whole = *offset >= *registered && *offset >= head;
                    if whole {
                        judge(event, world, broker, sink);
                    }
                    !whole
                });
            }
            _ => {}
        }
    }
}

fn judge(event: &Observed<'_>, world: &World, broker: NodeId, sink: &mut Sink) {
    let mut was_lossy = false;
    for partition in world.partitions.iter().filter(|known| !known.removed) {
        let Some(state) = &partition.state else {
            continue;
        };
        let lossy = partition
            .replica(broker)
            .is_some_and(|replica| replica.lossy);
        was_lossy |= lossy;
        if lossy && state.isr.len() > 1 && state.isr.contains(&broker) {
            sink.fail(
                Violation::new(format!(
                    "n{broker} lost power, registered again and is still in the ISR of {}",
                    partition.name
                ))
                .fact(
                    "registered",
                    event.t_us,
                    format!("{:?}", world.metadata.brokers.get(&broker)),
                )
                .fact(
                    "in sync",
                    event.t_us,
                    format!(
                        "{} by metadata offset {}",
                        super::list(&state.isr),
                        partition.state_offset
                    ),
                ),
            );
        }
    }
    if was_lossy {
        sink.exercised();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, committed, registered};
    use crate::observe::Stop;

    fn registers(offset: i64) -> Note {
        registered(offset, 2)
    }

    fn applies(offset: i64) -> Note {
        Note::MetadataApplied {
            by: MetadataReader::Controller,
            offset: Offset(offset),
            hash: 1,
        }
    }

    fn case() -> Case {
        Case::of(make::<UncleanExcluded>)
            .note(1, registers(8))
            .note(1, committed(9, 1, (4, 4), &[1, 2]))
            .note(1, applies(9))
            .stops(2, Stop::PowerLoss)
    }

    #[test]
    fn a_broker_that_stays_in_the_isr_is_found() {
        case()
            .note(1, registers(10))
            .note(1, applies(10))
            .end()
            .fails("still in the ISR");
    }

    #[test]
    fn a_broker_that_is_removed_in_the_same_batch_passes() {
        case()
            .note(1, registers(10))
            .note(1, committed(11, 1, (4, 5), &[1]))
            .note(1, applies(11))
            .end()
            .passes();
        case()
            .note(1, committed(10, 1, (4, 5), &[1]))
            .note(1, registers(11))
            .note(1, applies(11))
            .end()
            .passes();
    }

    #[test]
    fn the_last_in_sync_replica_stays() {
        case()
            .note(1, committed(10, -1, (5, 5), &[2]))
            .note(1, registers(11))
            .note(1, applies(11))
            .end()
            .passes();
    }
}
