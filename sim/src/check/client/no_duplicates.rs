//! A value is read at one offset of one partition. Jepsen: duplicate; KIP-98; bugs
//! `kafka-5494-window-one`, `kafka-5494-no-rebuild`.
//!
//! Without idempotence a send that took more than one attempt may appear again in its partition; in
//! two partitions never. With it too, if the producer numbered the record anew under a bumped epoch after an
//! attempt that was never answered (KIP-360): whether it was is known once the send has ended.

use super::DESTROYED;
use crate::check::world::clients::ValueId;
use crate::check::world::gates::number;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct NoDuplicates {
    /// Values that were read twice before their sends ended.
    open: Vec<Twice>,
}

/// A value that was read in two places.
#[derive(Clone, Copy)]
struct Twice {
    value: ValueId,
    first: (P, i64),
    second: (P, i64),
    n: u64,
    t_us: u64,
}

/// An excuse: nobody numbers the attempts of a producer that is not idempotent.
const NOT_IDEMPOTENT: &str = "not idempotent and perhaps sent again";
/// An excuse: what brokers forget they cannot recognize.
const EXPIRED: &str = "the brokers may have forgotten the idle producer";
/// An excuse: an unanswered attempt in one epoch and the next attempt in another look like two records.
pub(super) const RENUMBERED: &str = "numbered anew after an unanswered attempt";

impl Check for NoDuplicates {
    fn name(&self) -> &'static str {
        "no-duplicates/ORD-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        for sight in &world.moment.clients.sights {
            match sight.place_before {
                Some(place) if place == (sight.p, sight.off) => {}
                Some(first) => {
                    let twice = Twice {
                        value: sight.value,
                        first,
                        second: (sight.p, sight.off),
                        n: event.n,
                        t_us: event.t_us,
                    };
                    if world.clients.value(sight.value).completed_n == 0 {
                        self.open.push(twice);
                    } else {
                        twice.judge(world, sink);
                    }
                }
                None => {}
            }
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for twice in self.open.drain(..) {
            twice.judge(world, sink);
        }
        for value in &world.clients.values {
            // Only what was sent again could be there again.
            if value.att > 1 && value.place.is_some() {
                sink.exercised();
            }
        }
    }
}

impl Twice {
    fn judge(self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let value = clients.value(self.value);
        let ((p, off), (again, again_off)) = (self.first, self.second);
        if p == again
            && let Some(excuse) = self.excuse(world)
        {
            sink.excused(excuse);
            return;
        }
        let violation = Violation::new(format!("one value was read in two places: {:#x}", value.v))
            .fact("sent", value.invoked_us, super::sent(world, value))
            .fact(
                "read",
                value.seen_us,
                format!("at {} offset {off}", clients.name(p)),
            )
            .fact(
                "read again",
                self.t_us,
                format!("at {} offset {again_off}", clients.name(again)),
            );
        sink.fail_at(self.n, self.t_us, violation);
    }

    /// Why one partition may hold the value twice.
    fn excuse(self, world: &World) -> Option<&'static str> {
        let clients = &world.clients;
        let value = clients.value(self.value);
        let idempotent = clients
            .gates_of(value)
            .is_some_and(|gates| gates.idempotent);
        let expiration_ms = number(&clients.cfg, "producer.id.expiration.ms", 86_400_000);
        let (p, off) = self.first;
        if clients.is_void(value, p, off) || clients.is_void(value, p, self.second.1) {
            Some(DESTROYED)
        } else if !idempotent && value.att != 1 {
            Some(NOT_IDEMPOTENT)
        } else if value.renumbered && value.att > 1 {
            Some(RENUMBERED)
        } else if expiration_ms * 1_000 < clients.now_us {
            Some(EXPIRED)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, Ending};
    use crate::history::{PollPart, Role};

    fn case(cfg: &[(&str, &str)]) -> Case {
        Case::of(make::<NoDuplicates>)
            .part()
            .actor(1, Role::Producer, cfg)
            .actor(10, Role::Consumer, &[])
            .sends(1, 100)
    }

    const PLAIN: (&str, &str) = ("enable.idempotence", "false");

    #[test]
    fn a_value_at_two_offsets_is_found() {
        case(&[])
            .acked_after(1, 100, 5, 2)
            .polls(10, 5, &[(5, 100), (6, 100)])
            .end()
            .fails("read in two places");
        case(&[PLAIN])
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 100), (6, 100)])
            .end()
            .fails("1 attempts");
    }

    #[test]
    fn a_value_in_two_partitions_is_found() {
        let elsewhere = PollPart {
            p: 1,
            from: 3,
            to: 4,
            rs: vec![(3, 100)],
            ..PollPart::default()
        };
        case(&[PLAIN])
            .acked_after(1, 100, 5, 2)
            .polls(10, 5, &[(5, 100)])
            .polls_part(10, elsewhere)
            .end()
            .fails("read in two places");
    }

    #[test]
    fn a_retry_that_appears_once_passes() {
        case(&[])
            .acked_after(1, 100, 5, 2)
            .polls(10, 5, &[(5, 100)])
            .end()
            .passes();
        // Who was sent once could not be there twice, however many read it.
        case(&[])
            .acked(1, 100, 5)
            .polls(10, 5, &[(5, 100)])
            .final_scan(6, &[(5, 100)])
            .end()
            .is_silent();
    }

    #[test]
    fn what_was_numbered_anew_after_an_attempt_may_appear_twice() {
        let twice = |ending: Ending| {
            case(&[])
                .polls(10, 5, &[(5, 100), (6, 100)])
                .acked_with(1, 100, ending)
                .end()
        };
        let anew = Ending::at(6).after(2).numbered(1, true);
        twice(anew).is_excused(RENUMBERED);
        twice(anew.after(1)).fails("read in two places");
        twice(anew.numbered(1, false)).fails("read in two places");
    }

    #[test]
    fn only_a_destruction_after_the_send_excuses_a_second_copy() {
        let twice = |case: Case| {
            case.acked_after(1, 101, 6, 2)
                .polls(10, 5, &[(5, 101), (6, 101)])
                .end()
        };
        twice(case(&[]).sends(1, 101).destroys(5)).is_excused(DESTROYED);
        twice(case(&[]).destroys(5).sends(1, 101)).fails("read in two places");
    }

    #[test]
    fn a_plain_producers_retry_may_appear_twice() {
        case(&[PLAIN])
            .acked_after(1, 100, 5, 2)
            .polls(10, 5, &[(5, 100), (6, 100)])
            .end()
            .is_excused(NOT_IDEMPOTENT);
    }
}
