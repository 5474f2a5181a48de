//! A consumer skips no record that is there: what the final scan shows at an offset that its position passed,
//! it got. Jepsen: poll-skip; `kip-320-consumer-blind-truncation`.

use super::may_be_gone;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::Role;
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Skip;

impl Check for Skip {
    fn name(&self) -> &'static str {
        "contiguous-poll/CON-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, _event: &Observed<'_>, world: &World, sink: &mut Sink) {
        for step in &world.moment.clients.steps {
            if step.records > 0 && step.expected.is_some() && !step.was_reset {
                sink.exercised();
            }
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        for (p, part) in (0..).zip(&clients.parts) {
            for gap in &part.gaps {
                let actor = clients.actor(gap.actor);
                if actor.is_none_or(|actor| actor.role == Role::Final) {
                    continue;
                }
                for offset in gap.from..gap.to {
                    let seen = part.seen.at(offset);
                    let value = clients.find(seen.v).filter(|_| seen.v != 0);
                    let Some(value) = value.filter(|value| value.in_final) else {
                        continue;
                    };
                    if let Some(excuse) = may_be_gone(clients, value, p, offset) {
                        sink.excused(excuse);
                        continue;
                    }
                    let who = clients.who(gap.actor);
                    sink.fail_at(
                        gap.n,
                        gap.t_us,
                        Violation::new(format!("{who} skipped {} offset {offset}", part.name))
                            .fact("sent", value.invoked_us, super::sent(world, value))
                            .fact(
                                "skipped",
                                gap.t_us,
                                format!("between {} and {}", gap.from, gap.to),
                            ),
                    );
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

    fn case() -> Case {
        Case::of(make::<Skip>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
            .sends(1, 100)
            .sends(1, 101)
    }

    #[test]
    fn a_record_that_is_there_and_was_skipped_is_found() {
        case()
            .polls(10, 0, &[(1, 101)])
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .fails("skipped orders-0 offset 0");
    }

    #[test]
    fn a_record_behind_the_last_that_was_delivered_counts_too() {
        case()
            .polls_to(10, 0, 2, &[(0, 100)])
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .fails("skipped orders-0 offset 1");
    }

    #[test]
    fn the_first_poll_after_a_reset_is_judged_like_all_polls() {
        case()
            .resets(10, -1, 0, "start")
            .polls(10, 0, &[(1, 101)])
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .fails("skipped orders-0 offset 0");
        // This one had begun before, and need not say what it passed on its way.
        case()
            .polls(10, 0, &[(0, 100)])
            .resets(10, 1, 0, "truncated")
            .polls(10, 1, &[(1, 101)])
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .passes();
    }

    #[test]
    fn an_offset_without_a_record_may_be_passed() {
        case()
            .polls(10, 0, &[(0, 100), (2, 101)])
            .polls(10, 3, &[])
            .polls(10, 3, &[(3, 102)])
            .final_scan(3, &[(0, 100), (2, 101)])
            .end()
            .passes();
    }
}
