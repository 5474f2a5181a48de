//! A send is told the offset at which its value lies. (A response bug, not a log bug: a retry must be told
//! the original offset.) Bufstream's spurious zero offsets; Jepsen mixes it with duplicates.

use super::{ACKS, DESTROYED};
use crate::check::world::clients::{SendState, ValueFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{P, V};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AckOffset;

impl Check for AckOffset {
    fn name(&self) -> &'static str {
        "ack-offset/ORD-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, _event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        for sight in &world.moment.clients.sights {
            let value = clients.value(sight.value);
            let Some(part) = clients.part(sight.p) else {
                continue;
            };
            let acked = part.acked.at(sight.off);
            if acked == value.v {
                sink.exercised();
            } else if acked != 0
                && let Some(told) = clients.find(acked)
            {
                other_value(world, told, sight.p, value.v, sink);
            }
        }
        let told = world.moment.clients.value.map(|id| clients.value(id));
        if let Some(told) = told.filter(|told| acks(world, told) == -1)
            && let Some((p, there)) = there(world, told)
        {
            compare(world, told, (p, there), sink);
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for told in &world.clients.values {
            let Some((p, there)) = there(world, told) else {
                continue;
            };
            if there == 0 {
                elsewhere(world, told, p, sink);
            } else if acks(world, told) == 1 {
                // Whether its leader went in the meantime is known only now.
                compare(world, told, (p, there), sink);
            }
        }
    }
}

/// What lies where a send was told that its value does, 0 if nobody read it.
fn there(world: &World, told: &ValueFacts) -> Option<(P, V)> {
    let p = told.p?;
    let part = world.clients.part(p)?;
    let is_told = told.state == SendState::Ok && told.off >= 0;
    is_told.then(|| (p, part.seen.at(told.off).v))
}

fn acks(world: &World, told: &ValueFacts) -> i16 {
    world.clients.gates_of(told).map_or(0, |gates| gates.acks)
}

fn compare(world: &World, told: &ValueFacts, (p, there): (P, V), sink: &mut Sink) {
    if there == told.v {
        sink.exercised();
    } else if there != 0 {
        other_value(world, told, p, there, sink);
    }
}

fn other_value(world: &World, told: &ValueFacts, p: P, there: V, sink: &mut Sink) {
    let void = world.clients.is_void_there(there, p, told.off);
    if let Some(excuse) = excuse(world, told, p, void) {
        sink.excused(excuse);
        return;
    }
    let seen = world.clients.find(there);
    let violation = story(world, told, p).fact(
        "there",
        seen.map_or(0, |seen| seen.seen_us),
        format!("value {there:#x}"),
    );
    sink.fail(violation);
}

/// The value was read, but not where the send was told.
fn elsewhere(world: &World, told: &ValueFacts, told_p: P, sink: &mut Sink) {
    let clients = &world.clients;
    let Some((p, off)) = told.place else {
        return;
    };
    let void = clients.is_void(told, p, off);
    if let Some(excuse) = excuse(world, told, told_p, void) {
        sink.excused(excuse);
        return;
    }
    sink.fail(story(world, told, told_p).fact(
        "read",
        told.seen_us,
        format!("at {} offset {off}", clients.name(p)),
    ));
}

/// `void`: whether what was read instead may be gone.
fn excuse(world: &World, told: &ValueFacts, p: P, void: bool) -> Option<&'static str> {
    let clients = &world.clients;
    let changed = clients
        .part(p)
        .is_some_and(|part| told.invoked_n < part.leader_changed_n);
    // Recordings of real clusters do not know every change.
    match acks(world, told) {
        -1 => {}
        1 if !changed && !clients.real => {}
        _ => return Some(ACKS),
    }
    (void || clients.is_void(told, p, told.off)).then_some(DESTROYED)
}

fn story(world: &World, told: &ValueFacts, p: P) -> Violation {
    let name = world.clients.name(p);
    Violation::new(format!(
        "a send was told an offset of {name} where its value is not"
    ))
    .fact(
        "told",
        told.completed_us,
        format!("offset {}: {}", told.off, super::sent(world, told)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, follows, leads};
    use crate::history::Role;

    fn case(acks: &str) -> Case {
        Case::of(make::<AckOffset>)
            .part()
            .actor(1, Role::Producer, &[("acks", acks)])
            .actor(10, Role::Consumer, &[])
            .sends(1, 100)
            .sends(1, 101)
    }

    #[test]
    fn an_offset_with_another_value_is_found() {
        case("all")
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 101)])
            .end()
            .fails("where its value is not");
        case("all")
            .polls(10, 5, &[(5, 101)])
            .acked(1, 100, 5)
            .end()
            .fails("where its value is not");
    }

    #[test]
    fn a_value_that_lies_elsewhere_is_found() {
        case("all")
            .acked(1, 100, 0)
            .polls(10, 5, &[(5, 100)])
            .end()
            .fails("at orders-0 offset 5");
    }

    #[test]
    fn the_right_offset_passes() {
        case("all")
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 100)])
            .end()
            .passes();
    }

    #[test]
    fn acks_1_promises_the_offset_while_its_leader_stays() {
        case("1")
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 101)])
            .end()
            .fails("where its value is not");
        case("1")
            .polls(10, 5, &[(5, 101)])
            .acked(1, 100, 5)
            .end()
            .fails("where its value is not");
        case("1")
            .acked(1, 100, 0)
            .polls(10, 5, &[(5, 100)])
            .end()
            .fails("at orders-0 offset 5");
        case("1")
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 100)])
            .end()
            .passes();
    }

    #[test]
    fn acks_1_promises_nothing_when_its_leader_goes() {
        let told = || case("1").note(2, leads(4, 0, 0)).sends(1, 102);
        let read = |case: Case| case.acked(1, 102, 5).polls(10, 5, &[(5, 101)]).end();
        read(told().note(3, leads(5, 0, 0))).is_excused(ACKS);
        // It heard late, perhaps after others read what its successor wrote.
        told()
            .acked(1, 102, 5)
            .polls(10, 5, &[(5, 101)])
            .note(2, follows(5, 3, 0, 0))
            .end()
            .is_excused(ACKS);
        // A follower that hears of a leader lost nothing.
        read(told().note(1, follows(4, 2, 0, 0))).fails("where its value is not");
    }

    #[test]
    fn what_was_destroyed_before_the_send_began_is_no_excuse() {
        let case = || case("all");
        let told = |case: Case| case.sends(1, 102).acked(1, 102, 5);
        let read = |case: Case| case.sends(1, 103).polls(10, 5, &[(5, 103)]).end();
        read(told(case().destroys(3))).fails("where its value is not");
        read(told(case()).destroys(3)).is_silent();
        read(told(case().destroys(3)).commits_in_vain(5, 102)).is_excused(DESTROYED);
    }
}
