//! A consumer gets a partition's records in order, none below its position. Jepsen: nonmonotonic-poll.

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Nonmonotonic;

impl Check for Nonmonotonic {
    fn name(&self) -> &'static str {
        "contiguous-poll/CON-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        for step in &world.moment.clients.steps {
            if let Some((offset, position)) = step.went_back {
                sink.fail(
                    Violation::new(format!(
                        "a poll of {} went back",
                        world.clients.name(step.p)
                    ))
                    .fact("position", event.t_us, position.to_string())
                    .fact("returned", event.t_us, format!("offset {offset}")),
                );
            } else if step.records > 0 {
                sink.exercised();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case() -> Case {
        Case::of(make::<Nonmonotonic>)
            .part()
            .actor(10, Role::Consumer, &[])
    }

    #[test]
    fn records_out_of_order_are_found() {
        case()
            .polls(10, 5, &[(5, 100), (7, 101), (6, 102)])
            .end()
            .fails("went back");
    }

    #[test]
    fn records_below_the_position_are_found() {
        case().polls(10, 5, &[(4, 100)]).end().fails("position");
    }

    #[test]
    fn going_back_by_a_seek_is_no_concern() {
        case()
            .polls(10, 5, &[(5, 100)])
            .polls(10, 2, &[(2, 99)])
            .end()
            .passes();
    }
}
