//! Nobody acts before it is born or after its death, each operation begins once and ends at most once.

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Lives;

impl Check for Lives {
    fn name(&self) -> &'static str {
        "harness/HX-3"
    }

    fn wants(&self) -> &'static [Kind] {
        Kind::ALL
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        match event.fact {
            Fact::Note {
                node, incarnation, ..
            } => {
                let process = world.processes.get(node);
                if !process.up || process.incarnation != incarnation {
                    sink.fail(
                        Violation::new(format!("n{node} acts though it does not live")).fact(
                            "acts",
                            event.t_us,
                            format!("incarnation {incarnation}; known: {process:?}"),
                        ),
                    );
                }
            }
            Fact::History(line) => {
                let moment = &world.moment.clients;
                if let Some(broken) = moment.broken {
                    let who = line.b.actor().map_or("?", |a| world.clients.who(a));
                    sink.fail(Violation::new(format!("{who} {broken}")).fact(
                        "said",
                        event.t_us,
                        format!("{:?}", line.b),
                    ));
                } else if moment.ended.is_some() {
                    sink.exercised();
                }
            }
            Fact::World(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, leads};
    use crate::history::{Body, Ev, Role};
    use crate::observe::Stop;

    fn case() -> Case {
        Case::of(make::<Lives>)
            .actor(1, Role::Producer, &[])
            .sends(1, 100)
    }

    #[test]
    fn a_dead_node_that_acts_is_found() {
        case()
            .stops(1, Stop::Killed)
            .note(1, leads(1, 0, 0))
            .end()
            .fails("n1 acts though it does not live");
    }

    #[test]
    fn an_operation_that_ends_twice_is_found() {
        case()
            .acked(1, 100, 0)
            .acked(1, 100, 0)
            .end()
            .fails("had ended");
    }

    #[test]
    fn a_value_that_is_sent_twice_is_found() {
        case()
            .acked(1, 100, 0)
            .sends(1, 100)
            .end()
            .fails("sent before");
    }

    #[test]
    fn a_dead_client_that_acts_is_found() {
        let died = Body::Ev { a: 1, ev: Ev::Died };
        case()
            .line(died)
            .sends(1, 101)
            .end()
            .fails("after its death");
    }

    #[test]
    fn lives_in_order_pass() {
        case()
            .note(1, leads(1, 0, 0))
            .acked(1, 100, 0)
            .stops(1, Stop::Killed)
            .end()
            .passes();
    }
}
