//! Every operation ends within its bound, faults or not: a send within max.block.ms and delivery.timeout.ms,
//! a poll within its timeout, everything else within default.api.timeout.ms. Jepsen: close deadlocks.
//!
//! What a member's poll or close waits for includes its rebalance listeners, which commit; a commit that is not
//! repeated ends with its request.
//!
//! A paused client does nothing; the header's `pause.ms` says for how long clients were paused at most.

use crate::check::world::clients::{ActorFacts, OpKind, OpenOp};
use crate::check::world::gates::number;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, Role};
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
        let (Some(op), Some(a)) = (&world.moment.clients.ended, line.b.actor()) else {
            return;
        };
        let Some(actor) = world.clients.actor(a) else {
            return;
        };
        if op.what != OpKind::Silent {
            judge(world, (a, actor), op, event.t_us, "ended", sink);
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for (&a, actor) in &world.clients.actors {
            // The dead complete nothing, and who is closed has told how its operations ended.
            if actor.died_us.is_some() {
                continue;
            }
            for op in actor.open.values() {
                if op.what != OpKind::Silent {
                    judge(
                        world,
                        (a, actor),
                        op,
                        world.clients.now_us,
                        "still open",
                        sink,
                    );
                }
            }
        }
    }
}

fn judge(
    world: &World,
    (a, actor): (A, &ActorFacts),
    op: &OpenOp,
    t_us: u64,
    how: &str,
    sink: &mut Sink,
) {
    let bound_ms = bound_ms(world, (a, actor), op.what);
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

fn bound_ms(world: &World, (a, actor): (A, &ActorFacts), what: OpKind) -> u64 {
    let gates = &actor.gates;
    let is_member = world.members.is_member(a);
    let own_ms = match what {
        OpKind::Poll if is_member => gates.poll_timeout_ms + 2 * gates.api_timeout_ms,
        OpKind::Close | OpKind::Other if is_member => {
            gates.api_timeout_ms + gates.request_timeout_ms
        }
        OpKind::Send(_) => gates.max_block_ms + gates.delivery_timeout_ms,
        OpKind::Poll => gates.poll_timeout_ms,
        OpKind::Close if actor.role == Role::Producer => {
            gates.max_block_ms + gates.delivery_timeout_ms
        }
        OpKind::Close | OpKind::Ends | OpKind::Position | OpKind::Silent | OpKind::Other => {
            gates.api_timeout_ms
        }
    };
    own_ms + SLACK_MS + number(&world.clients.cfg, "pause.ms", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Ev, Op, Res};

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
    fn a_members_poll_waits_for_its_listeners() {
        let cfg = [
            ("poll.timeout.ms", "100"),
            ("default.api.timeout.ms", "2000"),
        ];
        let polls = |ms| {
            let poll = Body::I {
                a: 10,
                o: 1,
                op: Op::Poll,
            };
            let member = Case::of(make::<EveryOp>).part().member(10, &cfg);
            let case = member.line(poll).wait_ms(ms);
            let r = Res::Polled(Vec::new());
            case.line(Body::Ok { a: 10, o: 1, r }).end()
        };
        polls(9_000).passes();
        polls(9_100).fails("took longer than 9100 ms");
    }

    #[test]
    fn the_dead_complete_nothing() {
        let died = Body::Ev { a: 1, ev: Ev::Died };
        case().line(died).wait_ms(10_000).part().end().is_silent();
    }
}
