//! A consumer gets a partition's records in order, none below its position, and what it says of its position is so.
//! Jepsen: nonmonotonic-poll.

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
        for &(p, told, known) in &world.moment.clients.positions {
            match known {
                Some(known) if known != told => sink.fail(
                    Violation::new(format!(
                        "a consumer of {} is not where it says it is",
                        world.clients.name(p)
                    ))
                    .fact("says", event.t_us, told.to_string())
                    .fact("is", event.t_us, known.to_string()),
                ),
                Some(_) => sink.exercised(),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Op, Res, Role};

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
    fn a_position_that_is_another_one_is_found() {
        let says = |offset| {
            let polled = case().polls(10, 5, &[(5, 100)]);
            let r = Res::Offs(vec![(0, offset)]);
            let op = Op::Position { p: 0 };
            let asked = polled.line(Body::I { a: 10, o: 77, op });
            asked.line(Body::Ok { a: 10, o: 77, r }).end()
        };
        says(6).passes();
        says(5).fails("is not where it says it is");
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
