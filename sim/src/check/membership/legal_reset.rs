//! A position is reset only for a reason: it is out of range only if it lies behind all that anybody read or before
//! the log's start, and the reset goes where `auto.offset.reset` says.

use crate::check::client::{DESTROYED, REMOVED};
use crate::check::world::clients::PartFacts;
use crate::check::world::members::MemberFacts;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{Body, Ev, P};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LegalReset;

impl Check for LegalReset {
    fn name(&self) -> &'static str {
        "legal-reset/CON-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::History(line) = event.fact else {
            return;
        };
        let Body::Ev {
            a,
            ev: Ev::Reset { p, from, to, why },
        } = &line.b
        else {
            return;
        };
        let (Some(member), Some(part)) = (world.members.member(*a), world.clients.part(*p)) else {
            return;
        };
        let (is_start, is_range) = (why == "start", why == "out-of-range");
        if !is_start && !is_range {
            return;
        }
        let sought = is_start && was_sought(world, member, *p);
        let wrong = if sought {
            None
        } else if is_range && 0 <= *from && *from <= part.top {
            Some(format!("{from} is in range"))
        } else {
            astray(member, part, (*p, *to), world)
        };
        let Some(wrong) = wrong else {
            if is_range || member.gates.reset != "latest" {
                sink.exercised();
            }
            return;
        };
        if !part.cuts.is_empty() {
            sink.excused(DESTROYED);
        } else if part.loses_records {
            sink.excused(REMOVED);
        } else {
            let who = world.clients.who(*a);
            sink.fail(
                Violation::new(format!("{who} was reset in {}, but {wrong}", part.name))
                    .fact("read before", event.t_us, format!("up to {}", part.top))
                    .fact("reset", event.t_us, format!("{from} to {to}: {why}")),
            );
        }
    }
}

/// Whether the application said where to begin before this reset.
fn was_sought(world: &World, member: &MemberFacts, p: P) -> bool {
    // A reset that a seek brought is no read of what is committed.
    let stay = member.owned.contains_key(&p);
    stay && world.moment.members.reads.is_empty()
}

/// What is wrong with the target, if anything is.
fn astray(
    member: &MemberFacts,
    part: &PartFacts,
    (p, to): (P, i64),
    world: &World,
) -> Option<String> {
    match member.gates.reset.as_str() {
        "earliest" if to != 0 => Some("the policy is earliest".to_owned()),
        "none" => Some("the policy is none".to_owned()),
        "latest" => {
            let index = *member.owned.get(&p)?;
            let stay = &world.members.groups[member.group].parts[&p].stays[index];
            // A leader that was deposed may not know the end.
            let led_on = part.leader_changed_n < stay.from_n;
            (to < stay.top && led_on).then(|| "the policy is latest".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case(reset: &str) -> Case {
        Case::of(make::<LegalReset>)
            .part()
            .actor(20, Role::Consumer, &[])
            .polls(20, 0, &[(0, 100), (1, 101)])
            .member(10, &[("auto.offset.reset", reset)])
            .owns(10, 1)
    }

    #[test]
    fn a_reset_against_the_policy_is_found() {
        let starts = |reset, to| case(reset).resets(10, -1, to, "start").end();
        starts("earliest", 2).fails("the policy is earliest");
        starts("latest", 0).fails("the policy is latest");
        starts("none", 0).fails("the policy is none");
        starts("earliest", 0).passes();
        starts("latest", 2).is_silent();
    }

    #[test]
    fn a_reset_of_a_position_that_is_in_range_is_found() {
        let reset = |from| case("earliest").resets(10, from, 0, "out-of-range").end();
        reset(1).fails("1 is in range");
        reset(3).passes();
    }

    #[test]
    fn resets_by_the_application_are_its_own() {
        case("earliest").resets(10, 1, 2, "seek").end().is_silent();
        case("earliest")
            .resets(10, 0, 2, "committed")
            .end()
            .is_silent();
    }

    #[test]
    fn what_was_destroyed_is_excused() {
        case("earliest")
            .polls(20, 2, &[(2, 102)])
            .destroys(2)
            .resets(10, 1, 0, "out-of-range")
            .end()
            .is_excused(DESTROYED);
    }
}
