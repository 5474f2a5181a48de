//! Who is told to try again later is not told so for ever: once nothing disturbs a cluster any more, a member's commits and
//! polls stop to fail with REBALANCE_IN_PROGRESS and its like.

use std::collections::BTreeMap;

use crate::check::world::clients::OpKind;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, Body};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StuckFencing {
    /// For each member, for its polls and for its other calls: since when it is told to try again, and how often.
    since: BTreeMap<(A, bool), (u64, u32)>,
}

/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, REBALANCE_IN_PROGRESS,
/// CONCURRENT_TRANSACTIONS and UNSTABLE_OFFSET_COMMIT.
const TRY_AGAIN: [i16; 6] = [14, 15, 16, 27, 51, 88];

impl Check for StuckFencing {
    fn name(&self) -> &'static str {
        "no-stuck-fencing/LIV-9"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Failed, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let (Fact::History(line), Some(op)) = (event.fact, &world.moment.clients.ended) else {
            return;
        };
        let (is_poll, error) = match (op.what, &line.b) {
            (OpKind::Poll | OpKind::Other, Body::Ok { .. }) => (op.what == OpKind::Poll, 0),
            (OpKind::Poll | OpKind::Other, Body::Fail { e, .. } | Body::Info { e, .. }) => {
                (op.what == OpKind::Poll, e.c)
            }
            _ => return,
        };
        let Some((a, member)) = line
            .b
            .actor()
            .and_then(|a| Some((a, world.members.member(a)?)))
        else {
            return;
        };
        if !TRY_AGAIN.contains(&error) {
            if self.since.remove(&(a, is_poll)).is_some() && error == 0 {
                sink.exercised();
            }
            return;
        }
        let (since_us, times) = self.since.entry((a, is_poll)).or_insert((op.t_us, 0));
        *times += 1;
        let Some(healed_us) = world.clients.healed_us else {
            return;
        };
        let gates = &member.gates;
        let bound_ms = gates.session_ms + 2 * gates.request_ms + world.recovery_bound_ms;
        if healed_us.max(*since_us) + bound_ms * 1_000 <= event.t_us {
            let (who, healed) = (world.clients.who(a), format!("bound {bound_ms} ms"));
            sink.fail(
                Violation::stuck(format!("{who} is told to try again, again and again"))
                    .fact("first told", *since_us, format!("{times} times since"))
                    .fact("healed", healed_us, healed)
                    .fact("told", event.t_us, format!("error {error}")),
            );
            *since_us = event.t_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case(wait_ms: u64) -> Case {
        Case::of(make::<StuckFencing>)
            .part()
            .member(10, &[])
            .owns(10, 3)
            .phase("heal")
            .begins_commit(10, 3, 1, 5)
            .refused(10, 1, 27)
            .wait_ms(wait_ms)
            .begins_commit(10, 3, 2, 5)
    }

    #[test]
    fn a_member_that_is_told_to_wait_for_ever_is_stuck() {
        case(400_000)
            .refused(10, 2, 27)
            .end()
            .is_stuck("told to try again");
    }

    #[test]
    fn a_member_that_gets_through_passes() {
        case(400_000).committed_as(10, 3, 2).end().passes();
        case(1_000).refused(10, 2, 27).end().is_silent();
    }
}
