//! A position is reset only for a reason: it is out of range only if it lies behind all that anybody read or before
//! the log's start, and the reset goes where `auto.offset.reset` says.
//!
//! `by_duration` says: to the first record that is no older than that when the member asks, between its assignment and
//! the answer. A record is from between the call that sent it and the first sign of it.

use crate::check::client::{DESTROYED, REMOVED};
use crate::check::world::clients::{PartFacts, SendState};
use crate::check::world::members::MemberFacts;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, Body, Ev, P};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LegalReset {
    /// Resets by duration: the records around them are all known at the end.
    aged: Vec<Aged>,
}

/// A reset by duration.
#[derive(Clone, Copy, Debug)]
struct Aged {
    a: A,
    p: P,
    to: i64,
    age_us: u64,
    /// It was asked for between these moments.
    from_us: u64,
    t_us: u64,
}

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
        let aged = (!sought).then(|| aged(world, member, (*a, *p, *to), event.t_us));
        self.aged.extend(aged.flatten());
        let wrong = if sought {
            None
        } else if is_range && 0 <= *from && *from <= part.top {
            Some(format!("{from} is in range"))
        } else {
            astray(member, part, (*p, *to), world)
        };
        let Some(wrong) = wrong else {
            let is_judged = matches!(member.gates.reset.as_str(), "earliest" | "none");
            if is_range || is_judged {
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

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for reset in &self.aged {
            let Some(part) = world.clients.part(reset.p) else {
                continue;
            };
            let Some(wrong) = reset.is_wrong(world, part) else {
                sink.exercised();
                continue;
            };
            if !part.cuts.is_empty() {
                sink.excused(DESTROYED);
            } else if part.loses_records {
                sink.excused(REMOVED);
            } else {
                let who = world.clients.who(reset.a);
                sink.fail(
                    Violation::new(format!("{who} was reset in {}, but {wrong}", part.name))
                        .fact("assigned", reset.from_us, policy_of(world, reset.a))
                        .fact("reset", reset.t_us, format!("to {}", reset.to)),
                );
            }
        }
    }
}

impl Aged {
    /// What is wrong with the target, if anything is.
    fn is_wrong(&self, world: &World, part: &PartFacts) -> Option<String> {
        let sent = part.seen.iter().filter_map(|(offset, seen)| {
            let value = world.clients.find(seen.v)?;
            (value.state != SendState::Unsent).then_some((offset, value))
        });
        for (offset, value) in sent.take_while(|&(offset, _)| offset <= self.to) {
            let is_young = self.t_us + CLOCKS_US < value.invoked_us + self.age_us;
            if offset < self.to && is_young {
                return Some(format!("offset {offset} is young enough"));
            }
            let known_us = match value.state {
                SendState::Ok => value.seen_us.min(value.completed_us),
                _ => value.seen_us,
            };
            let is_old = known_us + self.age_us + CLOCKS_US < self.from_us;
            if offset == self.to && is_old {
                return Some(format!("offset {offset} is too old"));
            }
        }
        None
    }
}

fn policy_of(world: &World, a: A) -> String {
    let member = world.members.member(a);
    member.map_or_else(String::new, |member| member.gates.reset.clone())
}

/// What there is to judge of a reset by duration.
fn aged(world: &World, member: &MemberFacts, (a, p, to): (A, P, i64), t_us: u64) -> Option<Aged> {
    let age_us = duration_us(member.gates.reset.strip_prefix("by_duration:")?)?;
    let stay = *member.owned.get(&p)?;
    let stay = &world.members.groups[member.group].parts[&p].stays[stay];
    Some(Aged {
        a,
        p,
        to,
        age_us,
        from_us: stay.from_us,
        t_us,
    })
}

/// `pt1h30m` in microseconds, if it is as plain as that.
fn duration_us(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0, None);
    for unit in text.strip_prefix('p')?.chars() {
        let seconds = match unit {
            't' if number.is_none() => continue,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            digit => {
                let digit = u64::from(digit.to_digit(10)?);
                number = Some(number.unwrap_or(0) * 10 + digit);
                continue;
            }
        };
        total += number.take()? * seconds * 1_000_000;
    }
    number.is_none().then_some(total)
}

/// How far clocks and ticks of applications, clients and brokers may be apart.
const CLOCKS_US: u64 = 20_000;

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
    fn a_reset_by_duration_goes_to_the_first_record_that_is_young_enough() {
        let starts = |to, away_ms| {
            let case = Case::of(make::<LegalReset>)
                .part()
                .actor(1, Role::Producer, &[])
                .actor(20, Role::Consumer, &[])
                .sends(1, 100)
                .polls(20, 0, &[(0, 100)])
                .wait_ms(4_000)
                .sends(1, 101)
                .polls(20, 1, &[(1, 101)])
                .wait_ms(away_ms);
            let case = case.member(10, &[("auto.offset.reset", "by_duration:PT5S")]);
            case.owns(10, 1).resets(10, -1, to, "start").end()
        };
        starts(0, 0).passes();
        starts(1, 0).fails("offset 0 is young enough");
        starts(1, 3_000).passes();
        starts(0, 3_000).fails("offset 0 is too old");
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration_us("pt1h"), Some(3_600_000_000));
        assert_eq!(duration_us("p1dt1m2s"), Some(86_462_000_000));
        assert_eq!(duration_us("pt0.5s"), None);
        assert_eq!(duration_us("pt5"), None);
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
