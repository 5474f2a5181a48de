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
                other_value(world, told, (sight.p, sight.off, value.v), sink);
            }
        }
        let told = world.moment.clients.value.map(|id| clients.value(id));
        if let Some(told) = told.filter(|told| is_told(told))
            && let Some(p) = told.p
        {
            let there = clients.part(p).map(|part| part.seen.at(told.off));
            let there = there.unwrap_or_default().v;
            if there == told.v {
                sink.exercised();
            } else if there != 0 {
                other_value(world, told, (p, told.off, there), sink);
            }
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        for value in clients.values.iter().filter(|value| is_told(value)) {
            let (Some((p, off)), Some(told_p)) = (value.place, value.p) else {
                continue;
            };
            let part = clients.part(told_p);
            let there = part.map_or(0, |part| part.seen.at(value.off).v);
            if (p, off) == (told_p, value.off) || there != 0 {
                continue;
            }
            if let Some(excuse) = excuse(world, value, told_p, value.off.max(off)) {
                sink.excused(excuse);
                continue;
            }
            sink.fail(story(world, value, told_p).fact(
                "read",
                value.seen_us,
                format!("at {} offset {off}", clients.name(p)),
            ));
        }
    }
}

fn is_told(value: &ValueFacts) -> bool {
    value.state == SendState::Ok && value.off >= 0
}

fn other_value(world: &World, told: &ValueFacts, (p, off, there): (P, i64, V), sink: &mut Sink) {
    if let Some(excuse) = excuse(world, told, p, off) {
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

fn excuse(world: &World, told: &ValueFacts, p: P, off: i64) -> Option<&'static str> {
    let gates = world.clients.gates_of(told);
    if gates.is_none_or(|gates| gates.acks != -1) {
        Some(ACKS)
    } else {
        world.clients.destroyed(p, off).then_some(DESTROYED)
    }
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
    use crate::check::testing::Case;
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
    fn acks_1_promises_nothing() {
        case("1")
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 101)])
            .end()
            .is_silent();
        case("1")
            .polls(10, 5, &[(5, 101)])
            .acked(1, 100, 5)
            .end()
            .is_excused(ACKS);
    }
}
