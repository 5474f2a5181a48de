//! Every operation ends within its bound, faults or not: a send within max.block.ms and delivery.timeout.ms,
//! a poll within its timeout, everything else within default.api.timeout.ms. Jepsen: close deadlocks.
//!
//! A paused client does nothing; the header's `pause.ms` says for how long clients were paused at most.

use crate::check::world::clients::{ActorFacts, OpKind, OpenOp};
use crate::check::world::gates::number;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::Role;
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct EveryOp;

/// What timers and queues may add, in milliseconds.
const SLACK_MS: u64 = 5_000;

impl Check for EveryOp {
    fn name(&self) -> &'static str {
        "every-op-completes/LIV-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Failed, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::History(line) = event.fact else {
            return;
        };
        let (Some(op), Some(actor)) = (
            &world.moment.clients.ended,
            line.b.actor().and_then(|a| world.clients.actor(a)),
        ) else {
            return;
        };
        if op.what != OpKind::Silent {
            judge(world, actor, op, event.t_us, "ended", sink);
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for actor in world.clients.actors.values() {
            // The dead complete nothing, and who is closed has told how its operations ended.
            if actor.died_us.is_some() {
                continue;
            }
            for op in actor.open.values() {
                if op.what != OpKind::Silent {
                    judge(world, actor, op, world.clients.now_us, "still open", sink);
                }
            }
        }
    }
}

fn judge(world: &World, actor: &ActorFacts, op: &OpenOp, t_us: u64, how: &str, sink: &mut Sink) {
    let bound_ms = bound_ms(world, actor, op.what);
    let took_us = t_us.saturating_sub(op.t_us);
    if took_us > bound_ms * 1_000 {
        sink.fail(
            Violation::new(format!(
                "an operation of {} took longer than {bound_ms} ms",
                actor.name
            ))
            .fact("begun", op.t_us, format!("{:?}", op.what))
            .fact(how, t_us, format!("after {} ms", took_us / 1_000)),
        );
    } else if how == "ended" {
        sink.exercised();
    }
}

fn bound_ms(world: &World, actor: &ActorFacts, what: OpKind) -> u64 {
    let gates = &actor.gates;
    let own_ms = match what {
        OpKind::Send(_) => gates.max_block_ms + gates.delivery_timeout_ms,
        OpKind::Poll => gates.poll_timeout_ms,
        OpKind::Close if actor.role == Role::Producer => {
            gates.max_block_ms + gates.delivery_timeout_ms
        }
        OpKind::Close | OpKind::Ends | OpKind::Silent | OpKind::Other => gates.api_timeout_ms,
    };
    own_ms + SLACK_MS + number(&world.clients.cfg, "pause.ms", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Ev};

    fn case() -> Case {
        let cfg = [("delivery.timeout.ms", "3000"), ("max.block.ms", "1000")];
        Case::of(make::<EveryOp>)
            .part()
            .actor(1, Role::Producer, &cfg)
            .sends(1, 100)
    }

    #[test]
    fn an_operation_that_ends_late_or_never_is_found() {
        case()
            .wait_ms(10_000)
            .times_out(1, 100)
            .end()
            .fails("took longer than 9000 ms");
        case()
            .wait_ms(10_000)
            .sends(1, 101)
            .end()
            .fails("still open");
    }

    #[test]
    fn an_operation_that_ends_in_time_passes() {
        case().wait_ms(4_000).times_out(1, 100).end().passes();
    }

    #[test]
    fn the_dead_complete_nothing() {
        let died = Body::Ev { a: 1, ev: Ev::Died };
        case().line(died).wait_ms(10_000).part().end().is_silent();
    }
}
