//! What was acknowledged with acks=all is read by somebody, once anybody read past it. Jepsen's form of
//! lost-write; needs no final scan.
//!
//! "Past it": the position of some consumer went over the offset without a record. Where a scenario
//! expects `acked-is-durable` to fail, nothing is excused.

use super::may_be_gone;
use crate::check::{Check, Kind, Sink, Violation, World};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AckedPartial;

impl Check for AckedPartial {
    fn name(&self) -> &'static str {
        "acked-is-durable/DUR-1b"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let lifted = world.expects(self.name());
        let clients = &world.clients;
        for (p, part) in (0..).zip(&clients.parts) {
            for (_, v) in part.acked.iter().filter(|&(_, v)| v != 0) {
                if clients.find(v).is_some_and(|value| value.place.is_some()) {
                    sink.exercised();
                }
            }
            for gap in &part.gaps {
                for offset in gap.from..gap.to {
                    let acked = part.acked.at(offset);
                    let value = clients.find(acked).filter(|_| acked != 0);
                    let Some(value) = value.filter(|value| value.place.is_none()) else {
                        continue;
                    };
                    match may_be_gone(clients, value, p, offset) {
                        Some(excuse) if !lifted => sink.excused(excuse),
                        _ => sink.fail_at(
                            gap.n,
                            gap.t_us,
                            Violation::new(format!(
                                "{} offset {offset} was acknowledged, passed and read by nobody",
                                part.name
                            ))
                            .fact(
                                "acknowledged",
                                value.completed_us,
                                super::sent(world, value),
                            )
                            .fact(
                                "passed",
                                gap.t_us,
                                format!("by {}", clients.who(gap.actor)),
                            ),
                        ),
                    }
                }
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
        Case::of(make::<AckedPartial>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
            .actor(11, Role::Consumer, &[])
            .sends(1, 100)
            .acked(1, 100, 0)
            .sends(1, 101)
            .acked(1, 101, 1)
    }

    #[test]
    fn a_value_that_everybody_passed_is_found() {
        case()
            .polls(10, 0, &[(1, 101)])
            .end()
            .fails("offset 0 was acknowledged, passed and read by nobody");
    }

    #[test]
    fn a_value_that_somebody_read_passes() {
        case()
            .polls(10, 0, &[(1, 101)])
            .polls(11, 0, &[(0, 100)])
            .end()
            .passes();
    }

    #[test]
    fn a_reader_that_starts_later_passes_nothing() {
        case().polls(10, 1, &[(1, 101)]).end().passes();
    }
}
