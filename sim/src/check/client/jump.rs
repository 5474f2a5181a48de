//! A poll begins where the one before ended, unless the position was set in between: by an assignment, a
//! seek or a reset, each of which is in the history. So nothing needs an excuse.

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Jump;

impl Check for Jump {
    fn name(&self) -> &'static str {
        "contiguous-poll/CON-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        for step in &world.moment.clients.steps {
            let Some(expected) = step.expected else {
                continue;
            };
            if expected == step.from {
                sink.exercised();
                continue;
            }
            sink.fail(
                Violation::new(format!(
                    "a consumer of {} jumped",
                    world.clients.name(step.p)
                ))
                .fact("position", event.t_us, expected.to_string())
                .fact("began", event.t_us, format!("at {}", step.from)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Op, Role};

    fn case() -> Case {
        Case::of(make::<Jump>)
            .part()
            .actor(10, Role::Consumer, &[])
            .polls(10, 5, &[(5, 100)])
    }

    #[test]
    fn a_jump_is_found() {
        case()
            .polls(10, 8, &[(8, 101)])
            .end()
            .fails("consumer of orders-0 jumped");
        // Neither where it stood nor where it was sent.
        case()
            .resets(10, 6, 1, "truncated")
            .polls(10, 3, &[(3, 99)])
            .end()
            .fails("consumer of orders-0 jumped");
    }

    #[test]
    fn going_on_passes_and_a_seek_or_reset_explains_a_jump() {
        let seek = Op::Seek { to: vec![(0, 2)] };
        case()
            .polls(10, 6, &[(6, 101)])
            .line(Body::I {
                a: 10,
                o: 1,
                op: seek,
            })
            .polls(10, 2, &[(2, 98)])
            .resets(10, 3, 1, "truncated")
            .polls(10, 1, &[(1, 97)])
            .end()
            .passes();
    }
}
