//! No process ends by itself unless it was asked to: a fatal state is not passed over in silence. A rolling
//! restart asks each broker once.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::NodeId;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed, Stop, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Halts {
    /// The brokers that each rolling restart still has to stop.
    asked: BTreeMap<u32, BTreeSet<String>>,
}

impl Check for Halts {
    fn name(&self) -> &'static str {
        "harness/HX-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Stopped, Kind::FaultBegan, Kind::FaultEnded]
    }

    fn on(&mut self, event: &Observed<'_>, _world: &World, sink: &mut Sink) {
        match event.fact {
            Fact::World(WorldEvent::FaultBegan {
                id,
                kind: "rolling-restart",
                target,
            }) => {
                let brokers = target.split(',').map(str::to_owned).collect();
                self.asked.insert(*id, brokers);
            }
            Fact::World(WorldEvent::FaultEnded { id, .. }) => {
                self.asked.remove(id);
            }
            Fact::World(WorldEvent::Stopped { node, how, .. }) => {
                if *how != Stop::Halted || self.was_asked(*node) {
                    sink.exercised();
                } else {
                    sink.fail(Violation::new(format!("n{node} ended by itself")).fact(
                        "halted",
                        event.t_us,
                        "and nobody asked it to",
                    ));
                }
            }
            _ => {}
        }
    }
}

impl Halts {
    /// Whether a rolling restart has to stop the broker, for the first time.
    fn was_asked(&mut self, node: NodeId) -> bool {
        let name = format!("n{node}");
        self.asked.values_mut().any(|brokers| brokers.remove(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    #[test]
    fn a_process_that_ends_by_itself_is_found() {
        Case::of(make::<Halts>)
            .stops(1, Stop::Halted)
            .end()
            .fails("n1 ended by itself");
    }

    #[test]
    fn a_process_that_is_restarted_in_order_may_end_once() {
        const ENDED: WorldEvent = WorldEvent::FaultEnded {
            id: 1,
            kind: "rolling-restart",
        };
        let restarting = || {
            Case::of(make::<Halts>).happens(WorldEvent::FaultBegan {
                id: 1,
                kind: "rolling-restart",
                target: "n1,n2".to_owned(),
            })
        };
        restarting()
            .stops(1, Stop::Halted)
            .stops(2, Stop::Halted)
            .happens(ENDED)
            .stops(1, Stop::Killed)
            .end()
            .passes();
        let fails = |case: Case| case.end().fails("ended by itself");
        fails(restarting().stops(1, Stop::Halted).stops(1, Stop::Halted));
        fails(restarting().stops(3, Stop::Halted));
        fails(restarting().happens(ENDED).stops(1, Stop::Halted));
    }
}
