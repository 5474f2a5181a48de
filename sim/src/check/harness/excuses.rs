//! An excuse needs a cause: nothing is forgiven for a power loss or an unclean election that did not happen.
//! Comes last, after all that may be excused.

use std::collections::BTreeMap;

use broker_model::note::Note;
use broker_model::types::NodeId;

use crate::check::client::DESTROYED;
use crate::check::world::metadata::Told;
use crate::check::world::partition::{ALL_LOST_POWER, Partition, UNCLEAN_ELECTION};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed, Stop, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Excuses {
    /// For each partition the first fact of each cause, by the excuse that it allows.
    causes: BTreeMap<(usize, &'static str), u64>,
}

impl Check for Excuses {
    fn name(&self) -> &'static str {
        "harness/HX-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Stopped, Kind::PartitionCommitted]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, _sink: &mut Sink) {
        match event.fact {
            Fact::World(WorldEvent::Stopped {
                node,
                how: Stop::PowerLoss,
                ..
            }) => {
                for (index, partition) in world.partitions.iter().enumerate() {
                    if partition.isr().contains(node) {
                        self.cause(index, ALL_LOST_POWER, event.n);
                    }
                }
            }
            Fact::Note {
                note: Note::PartitionCommitted { state, .. },
                ..
            } if world.moment.told == Told::First => {
                let before = world.moment.state_before.as_ref();
                let outside = before.is_some_and(|before| !before.isr.contains(&state.leader));
                if let Some(index) = world.moment.partition
                    && state.leader != NodeId::NONE
                    && outside
                {
                    self.cause(index, UNCLEAN_ELECTION, event.n);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        if !world.white_box {
            return;
        }
        for (index, partition) in world.partitions.iter().enumerate() {
            self.losses(index, partition, world, sink);
        }
        let destroyed = world.clients.parts.iter();
        let destroyed = destroyed.filter(|part| !part.cuts.is_empty() || !part.in_vain.is_empty());
        let destroyed = destroyed.count();
        let used: Vec<_> = sink.excuses().keys().copied().collect();
        for (check, reason) in used {
            let caused = match reason {
                ALL_LOST_POWER | UNCLEAN_ELECTION => {
                    self.causes.keys().any(|&(_, allows)| allows == reason)
                }
                DESTROYED => destroyed > 0,
                _ => continue,
            };
            if caused {
                sink.exercised();
            } else {
                sink.fail(
                    Violation::new(format!("{check} forgave something without a cause"))
                        .fact("reason", world.t_us, reason),
                );
            }
        }
    }
}

impl Excuses {
    fn cause(&mut self, index: usize, allows: &'static str, n: u64) {
        self.causes.entry((index, allows)).or_insert(n);
    }

    /// What a partition lost, it lost after something that happened to it.
    fn losses(&self, index: usize, partition: &Partition, world: &World, sink: &mut Sink) {
        for cut in &partition.cuts {
            let cause = self.causes.get(&(index, cut.why));
            if cause.is_some_and(|&n| n < cut.n) {
                sink.exercised();
                continue;
            }
            sink.fail(
                Violation::new(format!(
                    "a loss of {} was forgiven without a cause",
                    partition.name
                ))
                .fact(
                    "lost",
                    world.t_us,
                    format!("{}..{}: {}", cut.from, cut.to, cut.why),
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{Case, committed, leads};
    use crate::check::{Boxed, make};

    /// Forgives everything, then asks.
    #[derive(Default)]
    struct Lenient(Excuses);

    impl Check for Lenient {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn wants(&self) -> &'static [Kind] {
            &[Kind::BecameLeader, Kind::Stopped]
        }

        fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
            self.0.on(event, world, sink);
            sink.excused(ALL_LOST_POWER);
        }

        fn finish(&mut self, world: &World, sink: &mut Sink) {
            self.0.finish(world, sink);
        }
    }

    const LENIENT: fn() -> Boxed = make::<Lenient>;

    fn case(isr: &[i32]) -> Case {
        Case::of(LENIENT)
            .note(1, committed(9, 1, (1, 1), isr))
            .note(1, leads(1, 0, 0))
    }

    #[test]
    fn an_excuse_without_a_cause_is_found() {
        case(&[1]).end().fails("without a cause");
        // The power of somebody else went.
        case(&[1])
            .stops(2, Stop::PowerLoss)
            .end()
            .fails("without a cause");
    }

    #[test]
    fn an_excuse_with_a_cause_passes() {
        case(&[1, 2])
            .stops(1, Stop::PowerLoss)
            .end()
            .is_excused(ALL_LOST_POWER);
    }
}
