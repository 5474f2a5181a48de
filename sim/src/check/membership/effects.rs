//! Effects of records outside Kafka, in a sink that outlives who brings them (the ledger O14 of the catalogue of
//! bugs): none is missing (`effect-complete`), and none comes twice where the application claims that
//! (`effect-once`). Pitfalls P05 to P07 and P14.

use std::collections::BTreeMap;

use super::{committed_at_last, group_start, records};
use crate::check::client::DESTROYED;
use crate::check::client::acked_complete::complete_scan;
use crate::check::world::members::{Delivery, GroupFacts, MemberFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;
use crate::observe::Observed;

/// Every record that is there, from the group's start to what it has committed at last, had an effect; and to the end
/// of the log once a member that lives has come so far and is through with the last record.
#[derive(Default)]
pub(in crate::check) struct EffectComplete;

impl Check for EffectComplete {
    fn name(&self) -> &'static str {
        "effect-complete/O14a"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let lifted = world.expects(self.name());
        let letters = Letters::of(world);
        let claims = |member: &MemberFacts| {
            member.gates.sink && (lifted || member.gates.delivery == Delivery::AtLeastOnce)
        };
        for group in &world.members.groups {
            let mut members = group.members.iter();
            if !members.all(|&a| world.members.member(a).is_some_and(claims)) {
                continue;
            }
            for (&p, part) in &group.parts {
                let committed = committed_at_last(group, p, world.n);
                let Some(to) = committed.max(drained(world, group, p)) else {
                    continue;
                };
                let cut = world
                    .clients
                    .part(p)
                    .is_some_and(|part| !part.cuts.is_empty());
                let start = group_start(world, part, self.name());
                for offset in records(world, p, start).take_while(|&offset| offset < to) {
                    let letter = letters.get(&group.id, p, offset);
                    let has = match letter {
                        Some(letter) => letter.is_there,
                        None => 0 < part.effects.at(offset),
                    };
                    let cut = cut || letter.is_some_and(|letter| letter.cut);
                    if has {
                        sink.exercised();
                    } else if cut && !lifted {
                        sink.excused(DESTROYED);
                    } else {
                        sink.fail(missing(world, group, (p, offset), committed));
                    }
                }
            }
        }
    }
}

/// The dead letters of all groups, by the record that could not be processed. Such a record has its effect when a letter is
/// there at last, whoever heard that it arrived.
#[derive(Default)]
struct Letters<'a>(BTreeMap<(&'a str, P, i64), Letter>);

#[derive(Clone, Copy, Default)]
struct Letter {
    is_there: bool,
    /// Where it was to go, committed records were destroyed.
    cut: bool,
}

impl<'a> Letters<'a> {
    fn of(world: &'a World) -> Self {
        let clients = &world.clients;
        let mut letters = Self::default();
        for value in &clients.values {
            let sender = clients.actor(value.actor);
            let group = sender.and_then(|sender| sender.letters_of.as_deref());
            let (Some((p, offset)), Some(group)) = (value.src, group) else {
                continue;
            };
            let letter = letters.0.entry((group, p, offset)).or_default();
            letter.is_there |= value.in_final;
            let part = value.p.and_then(|p| clients.part(p));
            letter.cut |= part.is_some_and(|part| !part.cuts.is_empty());
        }
        letters
    }

    fn get(&self, group: &'a str, p: P, offset: i64) -> Option<Letter> {
        self.0.get(&(group, p, offset)).copied()
    }
}

/// The end of the partition, if a member that owns it has got there and is to go on.
fn drained(world: &World, group: &GroupFacts, p: P) -> Option<i64> {
    let clients = &world.clients;
    if clients.phase.as_deref() != Some("done") {
        return None;
    }
    let end = complete_scan(clients, p)?.to;
    let mut members = group.members.iter();
    let got_there = members.any(|&a| {
        let owns = |member: &MemberFacts| member.lives() && member.owned.contains_key(&p);
        let position = clients
            .actor(a)
            .and_then(|actor| actor.walks.get(&p)?.position);
        world.members.member(a).is_some_and(owns) && position == Some(end)
    });
    // Records take effect in their order. Whoever is not through with the last may be working still.
    let part = &group.parts[&p];
    let last = records(world, p, 0)
        .take_while(|&offset| offset < end)
        .last()?;
    (got_there && 0 < part.effects.at(last)).then_some(end)
}

fn missing(
    world: &World,
    group: &GroupFacts,
    (p, offset): (P, i64),
    committed: Option<i64>,
) -> Violation {
    let name = world.clients.name(p);
    let delivered = group.parts[&p].delivered.at(offset);
    let returned = format!(
        "{} times to members, first by fact {}",
        delivered.times, delivered.n
    );
    Violation::new(format!(
        "group {}: {name} offset {offset} had no effect",
        group.id
    ))
    .fact("returned", world.t_us, returned)
    .fact("committed", world.t_us, format!("{committed:?} at last"))
}

/// No record has two effects where the application claims that.
#[derive(Default)]
pub(in crate::check) struct EffectOnce;

impl Check for EffectOnce {
    fn name(&self) -> &'static str {
        "effect-once/O14b"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let moment = &world.moment.members;
        let Some((a, member, group)) = super::subject(world).filter(|_| moment.effects > 0) else {
            return;
        };
        if !member.gates.once && !world.expects(self.name()) {
            return;
        }
        for &(p, offset) in &moment.again {
            let (who, name) = (world.clients.who(a), world.clients.name(p));
            if world
                .clients
                .part(p)
                .is_some_and(|part| !part.cuts.is_empty())
            {
                sink.excused(DESTROYED);
                continue;
            }
            let delivered = group.parts[&p].delivered.at(offset);
            let returned = format!("{} times to members", delivered.times);
            sink.fail(
                Violation::new(format!(
                    "group {}: {name} offset {offset} had two effects",
                    group.id
                ))
                .fact("returned", event.t_us, returned)
                .fact("effect", event.t_us, format!("the second by {who}")),
            );
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let lifted = world.expects(self.name());
        for group in &world.members.groups {
            let once = |a| {
                world
                    .members
                    .member(a)
                    .is_some_and(|member| member.gates.once)
            };
            if !lifted && !group.members.iter().all(|&a| once(a)) {
                continue;
            }
            for part in group.parts.values() {
                // Only what was returned again could have had an effect again.
                let again = part
                    .delivered
                    .iter()
                    .filter(|(_, delivered)| 1 < delivered.times);
                for (offset, _) in again {
                    if part.effects.at(offset) == 1 {
                        sink.exercised();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{Case, Found};
    use crate::check::{Boxed, make};
    use crate::history::Role;

    fn case(check: fn() -> Boxed, cfg: &[(&str, &str)], expect: &[&str]) -> Case {
        let expect: Vec<String> = expect.iter().map(|&name| name.to_owned()).collect();
        let mut all = vec![("app.sink", "plain")];
        all.extend(cfg);
        Case::planned(check, |plan| plan.expect = expect)
            .part()
            .actor(1, Role::Producer, &[])
            .sends(1, 100)
            .sends(1, 101)
            .member(10, &all)
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .polls(10, 0, &[(0, 100), (1, 101)])
    }

    fn scanned(case: Case) -> Found {
        case.final_scan(2, &[(0, 100), (1, 101)])
            .phase("done")
            .end()
    }

    const AT_LEAST_ONCE: (&str, &str) = ("app.delivery", "at-least-once");
    const ONCE: (&str, &str) = ("app.effects", "once");

    #[test]
    fn an_effect_that_is_missing_is_found() {
        let complete = |cfg, expect| case(make::<EffectComplete>, cfg, expect);
        let early = |case: Case| case.commits(10, 1, 1, 2).has_effects(10, &[0]).dies(10);
        let found = scanned(early(complete(&[AT_LEAST_ONCE], &[])));
        found.fails("orders-0 offset 1 had no effect");
        // Who commits first claims nothing.
        scanned(early(complete(&[], &[]))).is_silent();
        scanned(early(complete(&[], &["effect-complete"]))).fails("offset 1 had no effect");
    }

    #[test]
    fn a_dead_letter_that_is_there_is_an_effect() {
        let case = || {
            let case = case(make::<EffectComplete>, &[AT_LEAST_ONCE], &[]);
            let case = case.commits(10, 1, 1, 2).has_effects(10, &[0]);
            // Nobody hears of it: its producer dies.
            case.dies(10)
        };
        let posts = |group: &str, case: Case| {
            let case = case.actor(2, Role::Producer, &[("app.group", group)]);
            case.sends_from(2, 102, 0, Some((0, 1)))
        };
        let scanned = |case: Case, records: &[(i64, u64)]| {
            let end = i64::try_from(records.len()).expect("few");
            case.final_scan(end, records).phase("done").end()
        };
        let all = [(0, 100), (1, 101), (2, 102)];
        scanned(posts("g", case()), &all).passes();
        scanned(posts("g", case()), &all[..2]).fails("orders-0 offset 1 had no effect");
        scanned(posts("other", case()), &all).fails("orders-0 offset 1 had no effect");
        // It was acknowledged, and is gone.
        let heard = || posts("g", case().has_effects(10, &[1]));
        scanned(heard(), &all[..2]).fails("orders-0 offset 1 had no effect");
    }

    #[test]
    fn whoever_is_at_the_end_has_had_every_effect() {
        let complete = || case(make::<EffectComplete>, &[AT_LEAST_ONCE], &[]);
        scanned(complete().has_effects(10, &[1])).fails("offset 0 had no effect");
        scanned(complete().has_effects(10, &[0, 1])).passes();
        scanned(complete().has_effects(10, &[1]).dies(10)).is_silent();
        // It works at the last one still.
        scanned(complete().has_effects(10, &[0])).is_silent();
    }

    #[test]
    fn two_effects_are_found_where_one_is_claimed() {
        let twice = |cfg, expect| {
            let once = case(make::<EffectOnce>, cfg, expect).has_effects(10, &[0, 1]);
            let again = once.dies(10).member(11, &[("app.sink", "plain"), ONCE]);
            let again = again.owns(11, 2).polls(11, 1, &[(1, 101)]);
            scanned(again.has_effects(11, &[1]))
        };
        twice(&[ONCE], &[]).fails("orders-0 offset 1 had two effects");
        twice(&[], &["effect-once"]).fails("had two effects");
    }

    #[test]
    fn duplicates_are_legal_where_nothing_is_claimed() {
        let twice = case(make::<EffectOnce>, &[], &[]).has_effects(10, &[0, 0]);
        scanned(twice).is_silent();
    }

    #[test]
    fn what_is_returned_twice_and_counts_once_passes() {
        let once = case(make::<EffectOnce>, &[ONCE], &[]).has_effects(10, &[0, 1]);
        scanned(once.resets(10, 2, 0, "seek").polls(10, 0, &[(0, 100)])).passes();
    }
}
