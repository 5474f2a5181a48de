//! The generation or member epoch that a member is told never goes back, unless it joins anew.

use super::{LOG_LOST, lost_log};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Generations;

impl Check for Generations {
    fn name(&self) -> &'static str {
        "epoch-monotonic/GRP-8"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((before, now)) = world.moment.members.generations else {
            return;
        };
        // 0 is said by who joins, -1 and -2 by who leaves.
        if before <= 0 || now <= 0 {
            return;
        }
        if before < now {
            sink.exercised();
        } else if now < before && lost_log(world) {
            sink.excused(LOG_LOST);
        } else if now < before {
            let who = world.moment.members.member.map_or(0, |(a, _)| a);
            let who = world.clients.who(who);
            sink.fail(
                Violation::new(format!("the generation of {who} went back"))
                    .fact("known", event.t_us, format!("generation {before}"))
                    .fact("told", event.t_us, format!("generation {now}")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case() -> Case {
        Case::of(make::<Generations>)
            .part()
            .member(10, &[])
            .owns(10, 5)
    }

    #[test]
    fn a_generation_that_goes_back_is_found() {
        case()
            .revokes(10, 5)
            .owns(10, 4)
            .end()
            .fails("the generation of");
        // A commit may be the first to know of an epoch.
        case()
            .commits(10, 7, 1, 3)
            .hears_assigned(10, 6, &[])
            .end()
            .fails("generation 7");
        case().revokes(10, 4).end().fails("generation 4");
    }

    #[test]
    fn a_generation_that_rises_passes_and_a_new_member_starts_anew() {
        case()
            .hears_assigned(10, 6, &[])
            .revokes(10, 6)
            .end()
            .passes();
        case().loses(10, 5).owns(10, 2).end().is_silent();
        case().revokes(10, 5).end().is_silent();
    }

    #[test]
    fn the_listener_may_be_called_in_an_epoch_that_is_over_when_it_returns() {
        case()
            .commits(10, 6, 1, 3)
            .revokes(10, 5)
            .hears_assigned(10, 6, &[])
            .end()
            .is_silent();
    }
}
