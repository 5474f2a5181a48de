//! Once nothing disturbs a cluster any more, every partition that a group's live members subscribed to has one owner
//! among them, and all members of the classic protocol are in one generation. The run itself waits for it within a bound;
//! judged once more at the end.

use std::collections::BTreeSet;

use super::IN_TIME;
use crate::check::world::members::{GroupFacts, MemberFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, P};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct GroupsSettle;

impl Check for GroupsSettle {
    fn name(&self) -> &'static str {
        "groups-settle/LIV-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        if world.clients.phase.as_deref() != Some("done") {
            return;
        }
        for group in &world.members.groups {
            let live = group.members.iter().filter_map(|&a| {
                let member = world.members.member(a)?;
                (member.lives() && 0 < member.subscriptions).then_some((a, member))
            });
            let live: Vec<(A, &MemberFacts)> = live.collect();
            for (p, part) in (0..).zip(&world.clients.parts) {
                if live
                    .iter()
                    .any(|(_, member)| wants(member, group, (p, &part.name)))
                {
                    owned(world, group, &live, p, sink);
                }
            }
            generations(world, group, &live, sink);
        }
    }
}

/// Whether the member subscribed to the partition. What an expression matches that cannot be evaluated is known by what
/// it was given.
fn wants(member: &MemberFacts, group: &GroupFacts, (p, name): (P, &str)) -> bool {
    let topic = name.rsplit_once('-').map_or(name, |(topic, _)| topic);
    let given = || {
        let part = group.parts.get(&p);
        part.is_some_and(|part| !part.stays.is_empty())
    };
    member.wants(topic).unwrap_or_else(given)
}

fn owned(world: &World, group: &GroupFacts, live: &[(A, &MemberFacts)], p: P, sink: &mut Sink) {
    let owners = live
        .iter()
        .filter(|(_, member)| member.owned.contains_key(&p));
    let owners: Vec<&str> = owners.map(|&(a, _)| world.clients.who(a)).collect();
    if owners.len() == 1 {
        sink.exercised();
        return;
    }
    let name = world.clients.name(p);
    let headline = format!("{name} has {} owners in group {}", owners.len(), group.id);
    let members = live.iter().map(|&(a, _)| world.clients.who(a));
    let members = members.collect::<Vec<_>>().join(", ");
    let violation = Violation::stuck(headline)
        .fact("owners", world.t_us, owners.join(", "))
        .fact("members", world.t_us, members);
    unless_in_time(world, live, violation, sink);
}

fn generations(world: &World, group: &GroupFacts, live: &[(A, &MemberFacts)], sink: &mut Sink) {
    // An epoch of the consumer protocol that changes nothing for a member is not told to it.
    if live.len() < 2 || !live.iter().all(|(_, member)| member.is_classic()) {
        return;
    }
    let found: BTreeSet<i32> = live.iter().map(|(_, member)| member.assigned_in).collect();
    if found.len() == 1 && !found.contains(&0) {
        sink.exercised();
        return;
    }
    let mut violation = Violation::stuck(format!("group {} has no common generation", group.id));
    for &(a, member) in live {
        let (who, generation) = (world.clients.who(a), member.assigned_in);
        let what = format!("{who} in generation {generation}");
        violation = violation.fact("member", member.assigned_us, what);
    }
    unless_in_time(world, live, violation, sink);
}

fn unless_in_time(
    world: &World,
    live: &[(A, &MemberFacts)],
    violation: Violation,
    sink: &mut Sink,
) {
    let gates = live.iter().map(|(_, member)| &member.gates);
    let bound_ms = gates
        .map(|gates| gates.session_ms + gates.rebalance_ms)
        .max();
    let bound_ms = bound_ms.unwrap_or(0) + world.recovery_bound_ms;
    let healed_us = world.clients.healed_us.unwrap_or(u64::MAX / 2);
    if world.clients.now_us < healed_us + bound_ms * 1_000 {
        sink.excused(IN_TIME);
    } else {
        sink.fail(violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Op, Role};

    const QUICK: (&str, &str) = ("max.poll.interval.ms", "10000");

    fn case(healed_ms: u64) -> Case {
        Case::of(make::<GroupsSettle>)
            .part()
            .member(10, &[QUICK])
            .owns(10, 3)
            .phase("heal")
            .wait_ms(healed_ms)
    }

    #[test]
    fn a_partition_without_an_owner_is_stuck() {
        let revoked = |ms| case(ms).revokes(10, 3).phase("done").end();
        revoked(400_000).is_stuck("orders-0 has 0 owners in group g");
        revoked(1_000).is_excused(IN_TIME);
    }

    #[test]
    fn a_partition_with_two_owners_is_stuck() {
        let two = case(400_000).member(11, &[QUICK]).owns(11, 3);
        two.phase("done").end().is_stuck("orders-0 has 2 owners");
        let two = case(400_000)
            .member(11, &[QUICK])
            .hears_assigned(11, 4, &[]);
        two.phase("done").end().is_stuck("no common generation");
    }

    #[test]
    fn a_partition_that_an_expression_matches_needs_an_owner() {
        let nobody_has_it = |pattern: &str, protocol| {
            let cfg = [("group.id", "g"), ("group.protocol", protocol), QUICK];
            let op = Op::Subscribe {
                g: "g".to_owned(),
                topics: Vec::new(),
                pattern: Some(pattern.to_owned()),
            };
            let case = Case::of(make::<GroupsSettle>).part();
            let case = case.actor(12, Role::Consumer, &cfg).calls(12, op);
            case.phase("heal").wait_ms(400_000).phase("done").end()
        };
        nobody_has_it("ord.*", "consumer").is_stuck("orders-0 has 0 owners in group g");
        nobody_has_it("ord", "consumer").is_silent();
        nobody_has_it("ord.*", "classic").is_silent();
    }

    #[test]
    fn one_owner_that_lives_is_enough() {
        let dead = case(0).dies(10).member(11, &[QUICK]).owns(11, 4);
        dead.phase("done").end().passes();
        case(0).dies(10).phase("done").end().is_silent();
        case(400_000).revokes(10, 3).end().is_silent();
    }
}
