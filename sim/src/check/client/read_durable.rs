//! What was read stays readable: a later reader whose position passes the offset gets the value, and the final
//! scan reaches it. Holds for acks=1 producers too: what is read is below the high watermark.

use super::acked_complete::complete_scan;
use super::may_be_gone;
use crate::check::world::clients::{PartFacts, Seen};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{P, Role};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ReadDurable;

impl Check for ReadDurable {
    fn name(&self) -> &'static str {
        "read-is-durable/DUR-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, _event: &Observed<'_>, world: &World, sink: &mut Sink) {
        for sight in &world.moment.clients.sights {
            if sight.there_before.v == world.clients.value(sight.value).v {
                sink.exercised();
            }
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for (p, part) in (0..).zip(&world.clients.parts) {
            passed(world, p, part, sink);
            behind_the_end(world, p, part, sink);
        }
    }
}

/// Offsets that were read, and passed without a record by somebody who is not to blame for it.
fn passed(world: &World, p: P, part: &PartFacts, sink: &mut Sink) {
    let clients = &world.clients;
    for gap in &part.gaps {
        let is_final = clients
            .actor(gap.actor)
            .is_some_and(|actor| actor.role == Role::Final);
        for offset in gap.from..gap.to {
            let seen = part.seen.at(offset);
            // Where the final scan has it, the other reader skipped it: that is CON-2.
            let skipped = clients.find(seen.v).is_some_and(|value| value.in_final);
            if seen.v == 0 || skipped && !is_final {
                continue;
            }
            let who = clients.who(gap.actor);
            gone(world, (p, offset), &seen, sink, |violation| {
                violation.fact("passed", gap.t_us, format!("by {who}, without a record"))
            });
        }
    }
}

/// Offsets that were read and that the complete final scan ends before.
fn behind_the_end(world: &World, p: P, part: &PartFacts, sink: &mut Sink) {
    let Some(end) = complete_scan(&world.clients, p).map(|scan| scan.to) else {
        return;
    };
    for (offset, seen) in part.seen.iter().filter(|&(offset, _)| offset >= end) {
        if seen.v != 0 {
            gone(world, (p, offset), &seen, sink, |violation| {
                violation.fact("absent", world.t_us, format!("the log ends at {end}"))
            });
        }
    }
}

fn gone(
    world: &World,
    (p, offset): (P, i64),
    seen: &Seen,
    sink: &mut Sink,
    tell: impl FnOnce(Violation) -> Violation,
) {
    let clients = &world.clients;
    let value = clients.find(seen.v);
    if let Some(excuse) = value.and_then(|value| may_be_gone(clients, value, p, offset)) {
        sink.excused(excuse);
        return;
    }
    let headline = format!("{} offset {offset} was read and is gone", clients.name(p));
    let violation = Violation::new(headline).fact("read", seen.t_us, super::read(seen));
    sink.fail(tell(violation));
}

#[cfg(test)]
mod tests {
    use super::super::DESTROYED;
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case() -> Case {
        Case::of(make::<ReadDurable>)
            .part()
            .actor(1, Role::Producer, &[("acks", "1")])
            .actor(10, Role::Consumer, &[])
            .actor(11, Role::Consumer, &[])
            .sends(1, 100)
            .sends(1, 101)
            .polls(10, 0, &[(0, 100), (1, 101)])
    }

    #[test]
    fn a_value_that_a_later_reader_does_not_get_is_found() {
        case()
            .polls(11, 0, &[(1, 101)])
            .end()
            .fails("offset 0 was read and is gone");
        case()
            .final_scan(2, &[(1, 101)])
            .end()
            .fails("offset 0 was read and is gone");
    }

    #[test]
    fn a_log_that_ends_before_what_was_read_is_found() {
        case()
            .final_scan(1, &[(0, 100)])
            .end()
            .fails("the log ends at 1");
    }

    #[test]
    fn what_is_read_again_passes() {
        case().final_scan(2, &[(0, 100), (1, 101)]).end().passes();
    }

    #[test]
    fn a_reader_that_skips_what_is_there_is_not_for_this_check() {
        case()
            .polls(11, 0, &[(1, 101)])
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .passes();
    }

    #[test]
    fn a_destroyed_tail_is_excused() {
        // Offsets from the cut on start a new life, so that the old sight is forgotten.
        let found = case()
            .destroys(1)
            .polls_to(11, 0, 2, &[(0, 100)])
            .final_scan(1, &[(0, 100)])
            .end();
        found.passes();
        case()
            .destroys(1)
            .polls(11, 1, &[(1, 101)])
            .final_scan(1, &[(0, 100)])
            .end()
            .is_excused(DESTROYED);
    }
}
