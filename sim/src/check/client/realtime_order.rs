//! A send that began after another was acknowledged lies behind it. With `committed-immutable` this makes
//! the log linearizable. O(N log N).
//!
//! The earlier send needs acks=all; positions are those that were acknowledged with acks=all, or read.

use super::DESTROYED;
use crate::check::world::clients::{Clients, SendState, ValueFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct RealtimeOrder;

impl Check for RealtimeOrder {
    fn name(&self) -> &'static str {
        "realtime-order/ORD-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let mut placed: Vec<(P, i64, &ValueFacts)> = clients
            .values
            .iter()
            .filter(|value| value.state != SendState::Unsent)
            .filter_map(|value| {
                let (p, off) = place(clients, value)?;
                Some((p, off, value))
            })
            .collect();
        placed.sort_by_key(|&(p, off, value)| (p, off, value.v));
        for of_partition in placed.chunk_by(|one, other| one.0 == other.0) {
            sweep(world, of_partition, sink);
        }
    }
}

/// Where a value lies: as acknowledged with acks=all, else as read first.
fn place(clients: &Clients, value: &ValueFacts) -> Option<(P, i64)> {
    let acks_all = clients
        .gates_of(value)
        .is_some_and(|gates| gates.acks == -1);
    match (value.state, value.p) {
        (SendState::Ok, Some(p)) if acks_all && value.off >= 0 => Some((p, value.off)),
        _ => value.place,
    }
}

/// In order of offsets, nobody may begin after somebody behind it was acknowledged.
fn sweep(world: &World, placed: &[(P, i64, &ValueFacts)], sink: &mut Sink) {
    let clients = &world.clients;
    let mut latest: Option<(i64, &ValueFacts)> = None;
    for &(p, off, value) in placed {
        let acks_all = clients
            .gates_of(value)
            .is_some_and(|gates| gates.acks == -1);
        let void = clients.is_void(value, p, off);
        if let Some((before_off, before)) = latest
            && value.state == SendState::Ok
            && acks_all
            && before_off < off
        {
            if !ended_before(clients, value, before) {
                sink.exercised();
            } else if void {
                sink.excused(DESTROYED);
            } else {
                let headline = format!("{} is not in the order of time", clients.name(p));
                sink.fail(
                    Violation::new(headline)
                        .fact(
                            "acknowledged",
                            value.completed_us,
                            format!("offset {off}: {}", super::sent(world, value)),
                        )
                        .fact(
                            "begun later",
                            before.invoked_us,
                            format!("offset {before_off}: {}", super::sent(world, before)),
                        ),
                );
            }
        }
        // What was destroyed holds nobody back.
        if !void && latest.is_none_or(|(_, latest)| latest.invoked_n < value.invoked_n) {
            latest = Some((off, value));
        }
    }
}

/// Whether the first send had ended before the other began. Where recorders' clocks differ, by time;
/// else by the order of lines.
fn ended_before(clients: &Clients, first: &ValueFacts, then: &ValueFacts) -> bool {
    if clients.eps > 0 {
        first.completed_us + 2 * clients.eps < then.invoked_us
    } else {
        first.completed_n < then.invoked_n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case() -> Case {
        Case::of(make::<RealtimeOrder>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(2, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
    }

    #[test]
    fn a_later_send_in_front_of_an_acknowledged_one_is_found() {
        case()
            .sends(1, 100)
            .acked(1, 100, 6)
            .sends(2, 101)
            .acked(2, 101, 5)
            .end()
            .fails("not in the order of time");
    }

    #[test]
    fn a_send_without_an_answer_counts_where_it_was_read() {
        case()
            .sends(1, 100)
            .acked(1, 100, 6)
            .sends(2, 101)
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .fails("not in the order of time");
    }

    #[test]
    fn only_a_destruction_after_the_send_excuses_it() {
        let sent = |case: Case| case.sends(1, 100).acked(1, 100, 6);
        let later = |case: Case| case.sends(2, 101).acked(2, 101, 5).end();
        later(sent(case()).destroys(5)).is_excused(DESTROYED);
        later(sent(case().destroys(5))).fails("not in the order of time");
        later(sent(case()).commits_in_vain(6, 100)).is_excused(DESTROYED);
    }

    #[test]
    fn sends_that_overlap_may_lie_either_way() {
        case()
            .sends(1, 100)
            .sends(2, 101)
            .acked(1, 100, 6)
            .acked(2, 101, 5)
            .end()
            .passes();
    }
}
