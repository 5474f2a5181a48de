//! A send that was reported as failed, for a reason that a broker gives only before it appends, is read by
//! nobody, ever (invariants.md §0.2).

use crate::check::world::clients::{SendState, ValueFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct FailedAbsent;

impl Check for FailedAbsent {
    fn name(&self) -> &'static str {
        "failed-is-absent/DUR-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown, Kind::Failed]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let moment = &world.moment.clients;
        for sight in &moment.sights {
            let value = clients.value(sight.value);
            if value.state == SendState::Fail {
                sink.fail(story(world, value, (sight.p, sight.off, event.t_us)));
            }
        }
        let failed = moment.value.map(|id| clients.value(id));
        let failed = failed.filter(|value| value.state == SendState::Fail);
        if let Some(value) = failed
            && let Some((p, off)) = value.place
        {
            sink.fail(story(world, value, (p, off, value.seen_us)));
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let failed = clients
            .values
            .iter()
            .filter(|value| value.state == SendState::Fail);
        // Somebody looked: every partition that the value could be in was scanned.
        let scanned = (0..)
            .zip(&clients.parts)
            .all(|(p, _)| super::acked_complete::complete_scan(clients, p).is_some());
        for value in failed {
            if scanned && value.place.is_none() {
                sink.exercised();
            }
        }
    }
}

fn story(world: &World, value: &ValueFacts, (p, off, t_us): (u32, i64, u64)) -> Violation {
    Violation::new(format!(
        "a send that failed for certain was read at {} offset {off}",
        world.clients.name(p)
    ))
    .fact(
        "failed",
        value.completed_us,
        format!("error {}: {}", value.error, super::sent(world, value)),
    )
    .fact("read", t_us, format!("at offset {off}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case() -> Case {
        Case::of(make::<FailedAbsent>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
            .sends(1, 100)
            .sends(1, 101)
    }

    #[test]
    fn a_failed_send_that_is_read_is_found() {
        case()
            .fails(1, 100)
            .polls(10, 0, &[(0, 100)])
            .end()
            .fails("failed for certain");
        case()
            .polls(10, 0, &[(0, 100)])
            .fails(1, 100)
            .end()
            .fails("failed for certain");
    }

    #[test]
    fn a_send_that_timed_out_may_be_read() {
        case()
            .fails(1, 100)
            .times_out(1, 101)
            .final_scan(1, &[(0, 101)])
            .end()
            .passes();
    }
}
