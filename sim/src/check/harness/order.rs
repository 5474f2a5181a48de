//! Facts come in order: their numbers rise, and no process's time goes back. What is delivered was sent, no
//! more often than the model of the network allows; that the engines tell themselves.

use std::collections::BTreeMap;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::Body;
use crate::observe::{Fact, Observed, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Order {
    n: u64,
    /// The time of each process's or actor's last fact.
    times: BTreeMap<(u8, i64), u64>,
}

impl Check for Order {
    fn name(&self) -> &'static str {
        "harness/HX-2"
    }

    fn wants(&self) -> &'static [Kind] {
        Kind::ALL
    }

    fn on(&mut self, event: &Observed<'_>, _world: &World, sink: &mut Sink) {
        if let Fact::World(WorldEvent::HarnessBroken { detail }) = event.fact {
            sink.fail(Violation::new(format!("the harness is broken: {detail}")));
        }
        // What only the judge knows of the cluster has the number of the fact that told it.
        let follows = match event.fact {
            Fact::History(line) if matches!(line.b, Body::Nem(_)) => event.n >= self.n,
            _ => event.n > self.n,
        };
        if !follows {
            sink.fail(
                Violation::new("the facts are out of order")
                    .fact("before", event.t_us, format!("number {}", self.n))
                    .fact("now", event.t_us, format!("number {}", event.n)),
            );
        }
        self.n = event.n;
        let who = match event.fact {
            Fact::Note { node, .. } => (0, i64::from(node.0)),
            Fact::History(line) => match line.b.actor() {
                Some(actor) => (1, i64::from(actor)),
                None => return,
            },
            Fact::World(_) => return,
        };
        let last = self.times.entry(who).or_insert(event.t_us);
        if event.t_us < *last {
            sink.fail(
                Violation::new("time went back")
                    .fact("before", *last, format!("{who:?}"))
                    .fact("now", event.t_us, format!("{who:?}")),
            );
        } else if event.t_us > *last {
            *last = event.t_us;
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, leads};

    #[test]
    fn time_that_goes_back_is_found() {
        Case::of(make::<Order>)
            .wait_ms(10)
            .note(1, leads(1, 0, 0))
            .back_ms(5)
            .note(1, leads(2, 0, 0))
            .end()
            .fails("time went back");
    }

    #[test]
    fn what_an_engine_tells_is_heard() {
        let broken = WorldEvent::HarnessBroken {
            detail: "a message came twice".to_owned(),
        };
        Case::of(make::<Order>)
            .happens(broken)
            .end()
            .fails("a message came twice");
    }

    #[test]
    fn two_processes_have_times_of_their_own() {
        Case::of(make::<Order>)
            .note(1, leads(1, 0, 0))
            .wait_ms(10)
            .note(1, leads(2, 0, 0))
            .back_ms(5)
            .note(2, leads(3, 0, 0))
            .end()
            .passes();
    }
}
