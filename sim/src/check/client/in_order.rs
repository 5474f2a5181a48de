//! One producer's values lie in a partition in the order in which it sent them. Jepsen:
//! nonmonotonic-send; KIP-98; bug `kafka-5494-renumber-order`.
//!
//! Without idempotence only a send that was acknowledged after one attempt is known to be in front of
//! later ones: a request that the client gave up on may still be carried out late. With it, a record that was
//! numbered anew after an unanswered attempt may lie twice, and behind later ones of the epoch before.

use std::collections::BTreeMap;

use super::DESTROYED;
use super::no_duplicates::RENUMBERED;
use crate::check::world::clients::{ActorFacts, SendState, ValueFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct InOrder;

/// An excuse: the application let an earlier send be overtaken.
const NOT_IDEMPOTENT: &str = "not idempotent and the earlier send was perhaps sent again";

impl Check for InOrder {
    fn name(&self) -> &'static str {
        "in-order/ORD-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for actor in world.clients.actors.values() {
            session(world, actor, sink);
        }
    }
}

fn session<'a>(world: &'a World, actor: &ActorFacts, sink: &mut Sink) {
    // For each partition: the value that lies furthest, of those that hold later ones back.
    let mut furthest: BTreeMap<P, (i64, &'a ValueFacts)> = BTreeMap::new();
    for &id in &actor.sent {
        let value = world.clients.value(id);
        let Some((p, off)) = place(actor, value) else {
            continue;
        };
        let before = furthest.get(&p).copied();
        match before {
            Some((before_off, before)) if off <= before_off => {
                judge(world, actor, (before_off, before), (p, off, value), sink);
            }
            Some(_) => sink.exercised(),
            None => {}
        }
        // What was destroyed holds nobody back.
        let void = world.clients.is_void(value, p, off);
        if !void && before.is_none_or(|(before_off, _)| before_off < off) {
            furthest.insert(p, (off, value));
        }
    }
}

/// Where a value lies: as acknowledged to an idempotent producer, else as read.
fn place(actor: &ActorFacts, value: &ValueFacts) -> Option<(P, i64)> {
    match (value.state, value.p) {
        (SendState::Ok, Some(p)) if actor.gates.idempotent && value.off >= 0 => {
            Some((p, value.off))
        }
        _ => value.place,
    }
}

fn judge(
    world: &World,
    actor: &ActorFacts,
    (before_off, before): (i64, &ValueFacts),
    (p, off, value): (P, i64, &ValueFacts),
    sink: &mut Sink,
) {
    let clients = &world.clients;
    let held_back = actor.gates.idempotent || before.state == SendState::Ok && before.att == 1;
    if clients.is_void(value, p, off) {
        sink.excused(DESTROYED);
    } else if !held_back {
        sink.excused(NOT_IDEMPOTENT);
    } else if before.renumbered && before.att > 1 && epochs_may_differ(before, value) {
        sink.excused(RENUMBERED);
    } else {
        sink.fail(
            Violation::new(format!(
                "the values of {} lie in {} out of order",
                actor.name,
                clients.name(p)
            ))
            .fact(
                "sent",
                before.invoked_us,
                format!("offset {before_off}: {}", super::sent(world, before)),
            )
            .fact(
                "sent later",
                value.invoked_us,
                format!("offset {off}: {}", super::sent(world, value)),
            ),
        );
    }
}

/// Whether the later value's place may be of an epoch before the earlier one's. That of a send which was
/// never acknowledged is where it was first read: perhaps of an attempt under its former number.
fn epochs_may_differ(before: &ValueFacts, value: &ValueFacts) -> bool {
    let of_some_attempt = value.state != SendState::Ok && value.renumbered && value.att > 1;
    before.epoch != value.epoch || of_some_attempt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, Ending};
    use crate::history::Role;

    fn case(cfg: &[(&str, &str)]) -> Case {
        Case::of(make::<InOrder>)
            .part()
            .actor(1, Role::Producer, cfg)
            .actor(10, Role::Consumer, &[])
            .sends(1, 100)
            .sends(1, 101)
    }

    const PLAIN: (&str, &str) = ("enable.idempotence", "false");

    #[test]
    fn an_idempotent_producer_that_is_reordered_is_found() {
        case(&[])
            .acked_after(1, 100, 6, 3)
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .fails("out of order");
    }

    #[test]
    fn a_plain_send_that_was_acknowledged_at_once_holds_later_ones_back() {
        case(&[PLAIN])
            .acked(1, 100, 6)
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .fails("out of order");
    }

    #[test]
    fn a_plain_send_that_was_sent_again_may_be_overtaken() {
        case(&[PLAIN])
            .acked_after(1, 100, 6, 2)
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .is_excused(NOT_IDEMPOTENT);
    }

    #[test]
    fn a_record_numbered_anew_may_lie_behind_those_of_the_epoch_before() {
        let anew = Ending::at(6).after(2).numbered(1, true);
        case(&[])
            .acked_with(1, 101, Ending::at(5))
            .acked_with(1, 100, anew)
            .end()
            .is_excused(RENUMBERED);
        // The first attempt was refused before anything was written: nothing can lie twice.
        case(&[])
            .acked_with(1, 101, Ending::at(5))
            .acked_with(1, 100, anew.after(1))
            .end()
            .fails("out of order");
        // Both in the new epoch: its sequences keep them in order.
        case(&[])
            .acked_with(1, 101, Ending::at(5).after(2).numbered(1, true))
            .acked_with(1, 100, anew)
            .end()
            .fails("out of order");
    }

    #[test]
    fn a_send_without_an_answer_may_be_known_by_its_former_number() {
        let anew = Ending::at(6).after(3).numbered(1, true);
        case(&[])
            .acked_with(1, 100, anew)
            .times_out_with(1, 101, Ending::at(-1).after(2).numbered(1, true))
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .is_excused(RENUMBERED);
        case(&[])
            .acked_with(1, 100, anew)
            .times_out_with(1, 101, Ending::at(-1).after(2).numbered(1, false))
            .polls(10, 5, &[(5, 101), (6, 100)])
            .end()
            .fails("out of order");
    }

    #[test]
    fn only_a_destruction_after_the_send_excuses_it() {
        let sent = |case: Case| case.sends(1, 102).sends(1, 103);
        let acked = |case: Case| case.acked(1, 102, 6).acked(1, 103, 5).end();
        let case = || case(&[]);
        acked(sent(case()).destroys(5)).is_silent();
        acked(sent(case()).commits_in_vain(5, 103)).is_excused(DESTROYED);
        acked(sent(case().destroys(5))).fails("out of order");
    }

    #[test]
    fn values_in_order_pass() {
        case(&[])
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 100), (6, 101)])
            .end()
            .passes();
    }
}
