//! A generation has one assignment: what its members own in it is disjoint, and of topics that they subscribed to.
//!
//! Every call of the assigned listener tells what the member owns in that generation or member epoch. A number that
//! a failover brings back (nobody had heard of the assignment) is never told to anybody. A group that was forgotten,
//! or changed its protocol while it was empty, counts from 1 again: who has given up is no owner any more.

use std::collections::BTreeMap;

use super::{LOG_LOST, OUTDATED, UNHEARD, is_outdated, last_stay, lost_log};
use crate::check::world::members::{GroupFacts, MemberFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, P};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OneAssignment {
    /// Who owns what: by group, generation and partition; and when it was told.
    owners: BTreeMap<(usize, i32, P), (A, u64)>,
}

impl Check for OneAssignment {
    fn name(&self) -> &'static str {
        "one-owner/GRP-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if !world.moment.members.assigned {
            return;
        }
        let Some((a, member, group)) = super::subject(world) else {
            return;
        };
        let generation = member.assigned_in;
        if generation <= 0 {
            return;
        }
        for &p in member.owned.keys() {
            let name = world.clients.name(p);
            if let Some(topic) = foreign(member, name) {
                let who = world.clients.who(a);
                let headline =
                    format!("{who} was assigned {name}, but did not subscribe to {topic}");
                let what = format!("in generation {generation}");
                sink.fail(Violation::new(headline).fact("assigned", event.t_us, what));
            }
            let key = (member.group, generation, p);
            let told = self.owners.entry(key).or_insert((a, event.t_us));
            let &mut (owner, t_us) = told;
            if owner == a || are_one(world, owner, member) {
                continue;
            }
            if !still_owns(group, p, owner) {
                // The group may have been forgotten meanwhile, and count from 1 again.
                *told = (a, event.t_us);
                continue;
            }
            let newest = group.generation_before(event.n);
            if generation < newest && world.members.silenced_n.is_some() {
                sink.excused(UNHEARD);
                continue;
            }
            if lost_log(world) {
                sink.excused(LOG_LOST);
                continue;
            }
            if is_outdated(group, p, (a, owner)) {
                sink.excused(OUTDATED);
                continue;
            }
            let headline = format!(
                "{name} has two owners in generation {generation} of {}",
                group.id
            );
            let violation = Violation::new(headline)
                .fact("assigned", t_us, format!("to {}", world.clients.who(owner)))
                .fact(
                    "assigned",
                    event.t_us,
                    format!("to {}", world.clients.who(a)),
                );
            sink.fail(violation);
        }
        // Alone nobody has to share.
        let first = (member.group, generation, 0);
        let mut all = self
            .owners
            .range(first..=(member.group, generation, P::MAX));
        if all.any(|(_, &(owner, _))| owner != a && !are_one(world, owner, member)) {
            sink.exercised();
        }
    }
}

/// Whether that owner has the partition as far as it knows.
fn still_owns(group: &GroupFacts, p: P, owner: A) -> bool {
    last_stay(group, p, owner).is_some_and(|stay| stay.end.is_none())
}

/// The partition's topic, if the member did not ask for it.
fn foreign<'a>(member: &MemberFacts, name: &'a str) -> Option<&'a str> {
    let (topic, _) = name.rsplit_once('-')?;
    let is_foreign = member.subscriptions == 1 && member.wants(topic) == Some(false);
    is_foreign.then_some(topic)
}

/// Whether both are the same static member.
fn are_one(world: &World, owner: A, member: &MemberFacts) -> bool {
    let instance = world
        .members
        .member(owner)
        .map(|owner| &owner.gates.instance);
    member.gates.instance.is_some() && instance == Some(&member.gates.instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Op, Part, Res};

    fn case(cfg: &[(&str, &str)]) -> Case {
        Case::of(make::<OneAssignment>)
            .part()
            .member(10, cfg)
            .member(11, cfg)
            .owns(10, 3)
    }

    /// A poll that found nothing, and one that is begun.
    fn polls_and_is_away(case: Case, away_ms: u64, a: A) -> Case {
        let polled = |case: Case, o| {
            let r = Res::Polled(Vec::new());
            let op = Op::Poll;
            let case = case.line(Body::I { a, o, op });
            case.line(Body::Ok { a, o, r })
        };
        let case = polled(case, 500).wait_ms(away_ms);
        let op = Op::Poll;
        case.line(Body::I { a, o: 501, op })
    }

    #[test]
    fn a_listener_that_was_called_late_is_excused() {
        const CONSUMER: &[(&str, &str)] = &[("group.protocol", "consumer")];
        let late = |cfg, away_ms| {
            let other = Case::of(make::<OneAssignment>).part().member(10, cfg);
            let other = other.member(11, cfg);
            polls_and_is_away(other, away_ms, 11).owns(10, 3)
        };
        // The other one got it while this one was away: before its poll, or while its listener ran.
        let away = |cfg| {
            let case = Case::of(make::<OneAssignment>).part().member(10, cfg);
            let case = case.member(11, cfg).line(Body::I {
                a: 11,
                o: 499,
                op: Op::Poll,
            });
            let r = Res::Polled(Vec::new());
            let case = case.line(Body::Ok { a: 11, o: 499, r }).wait_ms(50);
            let case = case.owns(10, 3).wait_ms(950);
            let op = Op::Poll;
            case.line(Body::I { a: 11, o: 500, op }).owns(11, 3).end()
        };
        away(CONSUMER).is_excused(OUTDATED);
        away(&[]).fails("two owners in generation 3");
        // It had polled since.
        late(CONSUMER, 10).owns(11, 3).end().fails("two owners");
    }

    #[test]
    fn two_owners_in_one_generation_are_found() {
        case(&[])
            .owns(11, 3)
            .end()
            .fails("orders-0 has two owners in generation 3 of g");
        // Who keeps what it has owns it in the next generation, too.
        case(&[])
            .hears_assigned(10, 4, &[])
            .owns(11, 4)
            .end()
            .fails("two owners in generation 4");
    }

    #[test]
    fn a_topic_that_nobody_asked_for_is_found() {
        let other = Op::Subscribe {
            g: "g".to_owned(),
            topics: vec!["other".to_owned()],
            pattern: None,
        };
        let member = || {
            let cfg = [("group.id", "g")];
            let case = Case::of(make::<OneAssignment>).part();
            case.actor(12, crate::history::Role::Consumer, &cfg)
        };
        let found = member().calls(12, other.clone()).owns(12, 3).end();
        found.fails("did not subscribe to orders");
        // It may have subscribed to something else when the assignment was made.
        let twice = member().calls(12, other.clone()).calls(12, other);
        twice.owns(12, 3).end().is_silent();
    }

    #[test]
    fn a_topic_that_an_expression_does_not_match_is_found() {
        let given = |pattern: &str, protocol| {
            let cfg = [("group.id", "g"), ("group.protocol", protocol)];
            let op = Op::Subscribe {
                g: "g".to_owned(),
                topics: Vec::new(),
                pattern: Some(pattern.to_owned()),
            };
            let case = Case::of(make::<OneAssignment>).part();
            let case = case.actor(12, crate::history::Role::Consumer, &cfg);
            case.calls(12, op).owns(12, 3).end()
        };
        given("ord", "consumer").fails("did not subscribe to orders");
        given("ord.*", "consumer").is_silent();
        // Its client matches in a syntax of its own.
        given("ord", "classic").is_silent();
    }

    #[test]
    fn shares_of_one_generation_pass() {
        let second = Part::new(
            1,
            "orders",
            crate::check::testing::partition(),
            Default::default(),
        );
        case(&[])
            .line(Body::Part(second))
            .hears_assigned(11, 3, &[1])
            .end()
            .passes();
        case(&[]).revokes(10, 3).owns(11, 4).end().is_silent();
    }

    #[test]
    fn a_static_member_replaces_itself_in_its_generation() {
        case(&[("group.instance.id", "one")])
            .owns(11, 3)
            .end()
            .is_silent();
    }
}
