//! Once nothing disturbs a cluster any more, fresh consumers read every partition to its end, and consumers
//! that live get there too, each or, in a group, whoever owns the partition. The run itself waits for it within a bound; judged once more at the end.

use super::IN_TIME;
use crate::check::client::acked_complete::complete_scan;
use crate::check::world::clients::{ActorFacts, PartFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{P, Role};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct CatchUp;

impl Check for CatchUp {
    fn name(&self) -> &'static str {
        "catch-up/LIV-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        if clients.phase.as_deref() != Some("done") {
            // The run, or the recording, was not meant to reach the end.
            return;
        }
        for (p, part) in (0..).zip(&clients.parts) {
            scanned(world, p, part, sink);
            let Some(end) = complete_scan(clients, p).map(|scan| scan.to) else {
                continue;
            };
            for (&a, actor) in &clients.actors {
                let member = world.members.member(a);
                // What a member gave up another one reads on.
                if member.is_none_or(|member| member.lives() && member.owned.contains_key(&p)) {
                    followed(world, actor, (p, end), part, sink);
                }
            }
        }
    }
}

fn scanned(world: &World, p: P, part: &PartFacts, sink: &mut Sink) {
    if complete_scan(&world.clients, p).is_some() {
        sink.exercised();
        return;
    }
    let headline = format!("no final consumer reached the end of {}", part.name);
    let mut violation = Violation::stuck(headline);
    for (&a, scan) in &part.scans {
        violation = violation.fact(
            "position",
            world.t_us,
            format!(
                "{} of {:?} by {}",
                scan.to,
                scan.must_reach,
                world.clients.who(a)
            ),
        );
    }
    sink.fail(violation);
}

fn followed(
    world: &World,
    actor: &ActorFacts,
    (p, end): (P, i64),
    part: &PartFacts,
    sink: &mut Sink,
) {
    let lives = actor.role == Role::Consumer && actor.died_us.is_none() && !actor.closed;
    let (true, Some(walk)) = (lives, actor.walks.get(&p)) else {
        return;
    };
    // Who has no position has read nothing; one that a recording does not tell is none.
    let position = match walk.position {
        None if world.clients.real => return,
        position => position.unwrap_or(-1),
    };
    let bound_us = 2_000 * actor.gates.api_timeout_ms;
    let healed_us = world.clients.healed_us.unwrap_or(u64::MAX / 2);
    if position >= end {
        sink.exercised();
    } else if end == 0 {
        // by_duration finds no position in an empty partition.
    } else if world.clients.now_us < healed_us + bound_us {
        sink.excused(IN_TIME);
    } else {
        sink.fail(
            Violation::stuck(format!(
                "{} did not reach the end of {}",
                actor.name, part.name
            ))
            .fact(
                "last poll",
                actor.last_poll_us,
                format!("position {position}"),
            )
            .fact("end", world.t_us, end.to_string()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{Body, Nem, Op, Res};

    fn case() -> Case {
        let heal = Nem::Phase {
            name: "heal".to_owned(),
        };
        Case::of(make::<CatchUp>)
            .part()
            .line(Body::Nem(heal))
            .wait_ms(200_000)
            .actor(10, Role::Consumer, &[])
            .polls(10, 0, &[(0, 100)])
    }

    fn done(case: Case) -> Case {
        case.line(Body::Nem(Nem::Phase {
            name: "done".to_owned(),
        }))
    }

    #[test]
    fn a_final_consumer_that_does_not_get_there_is_stuck() {
        done(case()).end().is_stuck("no final consumer reached");
    }

    #[test]
    fn a_consumer_that_does_not_get_there_is_stuck() {
        done(case().final_scan(2, &[(0, 100), (1, 101)]))
            .end()
            .is_stuck("did not reach the end");
    }

    #[test]
    fn a_consumer_without_a_position_is_stuck() {
        let calls = |case: Case, o, op| {
            case.line(Body::I { a: 10, o, op }).line(Body::Ok {
                a: 10,
                o,
                r: Res::Unit,
            })
        };
        let assigned = |op| {
            let case = Case::of(make::<CatchUp>)
                .part()
                .line(Body::Nem(Nem::Phase {
                    name: "heal".to_owned(),
                }))
                .wait_ms(200_000)
                .actor(10, Role::Consumer, &[]);
            done(calls(case, 1, op).final_scan(1, &[(0, 100)])).end()
        };
        assigned(Op::Assign { ps: vec![0] }).is_stuck("did not reach the end");
        assigned(Op::Assign { ps: vec![] }).passes();
        // It was there, went back to the beginning, and found no way on.
        let rewound = calls(case(), 1, Op::Seek { to: vec![(0, -2)] });
        done(rewound.final_scan(1, &[(0, 100)]))
            .end()
            .is_stuck("position -1");
    }

    #[test]
    fn who_owns_a_partition_has_to_get_there() {
        let member = || {
            let member = case().polls(10, 1, &[(1, 101)]).member(11, &[]);
            member.owns(11, 1).resets(11, -1, 0, "start")
        };
        let scanned = |case: Case| done(case.final_scan(2, &[(0, 100), (1, 101)])).end();
        scanned(member()).is_stuck("consumer 11 did not reach the end");
        scanned(member().polls(11, 0, &[(0, 100), (1, 101)])).passes();
        scanned(member().revokes(11, 1)).passes();
    }

    #[test]
    fn consumers_at_the_end_pass() {
        done(case().final_scan(1, &[(0, 100)])).end().passes();
    }
}
