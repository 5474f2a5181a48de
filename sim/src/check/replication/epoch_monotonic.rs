//! Leader epoch and partition epoch never go back, in the committed metadata and at every broker; a
//! new leader epoch brings a new partition epoch; a broker epoch is given once. KIP-497, KIP-631.

use broker_model::note::{Note, PartitionState};
use broker_model::types::{LeaderEpoch, PartitionEpoch};

use crate::check::world::metadata::Told;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct EpochMonotonic {
    /// What brokers applied last: (node, incarnation, partition index).
    applied: std::collections::BTreeMap<(i32, u32, usize), (LeaderEpoch, PartitionEpoch)>,
}

impl Check for EpochMonotonic {
    fn name(&self) -> &'static str {
        "epoch-monotonic/RP-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::PartitionCommitted,
            Kind::PartitionApplied,
            Kind::BrokerCommitted,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note {
            node,
            incarnation,
            note,
        } = event.fact
        else {
            return;
        };
        match note {
            Note::PartitionCommitted { state, .. } if world.moment.told == Told::First => {
                if let Some(before) = &world.moment.state_before {
                    committed(event, world, before, state, sink);
                }
            }
            Note::PartitionApplied { state, .. } => {
                let Some(index) = world.moment.partition else {
                    return;
                };
                let now = (state.leader_epoch, state.partition_epoch);
                let key = (node.0, incarnation, index);
                if let Some((leader_epoch, partition_epoch)) = self.applied.insert(key, now) {
                    if now.0 < leader_epoch || now.1 < partition_epoch {
                        let name = &world.partitions[index].name;
                        sink.fail(
                            Violation::new(format!(
                                "n{node} went back to older metadata of {name}"
                            ))
                            .fact(
                                "before",
                                event.t_us,
                                format!(
                                    "leader epoch {leader_epoch}, partition epoch {partition_epoch}"
                                ),
                            )
                            .fact(
                                "now",
                                event.t_us,
                                format!("leader epoch {}, partition epoch {}", now.0, now.1),
                            ),
                        );
                    } else {
                        sink.exercised();
                    }
                }
            }
            Note::BrokerCommitted { broker, state, .. } if world.moment.told == Told::First => {
                let owner = world.metadata.broker_epochs.get(&state.epoch);
                let before = world.moment.broker_before.map(|before| before.epoch);
                if owner.is_some_and(|owner| owner != broker)
                    || before.is_some_and(|before| before > state.epoch)
                {
                    sink.fail(
                        Violation::new(format!("n{broker} got a broker epoch that is not new"))
                            .fact("now", event.t_us, format!("epoch {}", state.epoch))
                            .fact(
                                "before",
                                event.t_us,
                                format!("epoch {before:?}, given to n{owner:?}"),
                            ),
                    );
                } else if before.is_some() {
                    sink.exercised();
                }
            }
            _ => {}
        }
    }
}

fn committed(
    event: &Observed<'_>,
    world: &World,
    before: &PartitionState,
    now: &PartitionState,
    sink: &mut Sink,
) {
    let led_on = now.leader_epoch == before.leader_epoch;
    let wrong = now.leader_epoch < before.leader_epoch
        || now.partition_epoch < before.partition_epoch
        || !led_on && now.partition_epoch == before.partition_epoch
        || led_on && now.leader != before.leader;
    if !wrong {
        sink.exercised();
        return;
    }
    let name = world.partition().map_or("?", |partition| &partition.name);
    let say = |state: &PartitionState| {
        format!(
            "leader n{}, leader epoch {}, partition epoch {}",
            state.leader, state.leader_epoch, state.partition_epoch
        )
    };
    sink.fail(
        Violation::new(format!("the committed epochs of {name} did not go on"))
            .fact("before", event.t_us, say(before))
            .fact("now", event.t_us, say(now)),
    );
}

#[cfg(test)]
mod tests {
    use broker_model::note::BrokerState;
    use broker_model::types::{BrokerEpoch, NodeId, Offset, Uuid};

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, partition, state};

    fn case() -> Case {
        Case::of(make::<EpochMonotonic>)
            .note(1, crate::check::testing::committed(9, 1, (4, 6), &[1, 2]))
    }

    fn next(leader: i32, epochs: (i32, i32)) -> Note {
        crate::check::testing::committed(10, leader, epochs, &[1, 2])
    }

    fn applies(epochs: (i32, i32)) -> Note {
        Note::PartitionApplied {
            partition: partition(),
            state: Box::new(state(1, epochs, &[1, 2])),
        }
    }

    fn registers(offset: i64, broker: i32, epoch: i64) -> Note {
        Note::BrokerCommitted {
            offset: Offset(offset),
            broker: NodeId(broker),
            state: BrokerState {
                epoch: BrokerEpoch(epoch),
                incarnation: Uuid::from_u128(1),
                fenced: true,
                shutting_down: false,
            },
        }
    }

    #[test]
    fn epochs_that_do_not_go_on_are_found() {
        case().note(1, next(2, (3, 7))).end().fails("did not go on");
        case().note(1, next(2, (5, 6))).end().fails("did not go on");
        case().note(1, next(2, (4, 7))).end().fails("did not go on");
    }

    #[test]
    fn a_smaller_isr_keeps_the_leader_epoch() {
        case().note(1, next(1, (4, 7))).end().passes();
    }

    #[test]
    fn a_broker_may_skip_but_not_go_back() {
        let case = || {
            Case::of(make::<EpochMonotonic>)
                .note(2, applies((1, 1)))
                .note(2, applies((3, 5)))
        };
        case().end().passes();
        case().note(2, applies((3, 4))).end().fails("went back");
    }

    #[test]
    fn a_broker_epoch_is_given_once() {
        let case = || {
            Case::of(make::<EpochMonotonic>)
                .note(1, registers(5, 1, 5))
                .note(1, registers(8, 1, 8))
        };
        case().end().passes();
        case().note(1, registers(9, 2, 8)).end().fails("not new");
    }
}
