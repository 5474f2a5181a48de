//! No value is read before it is sent. Admits no excuse but clocks that differ.

use crate::check::world::clients::SendState;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct FutureRead;

impl Check for FutureRead {
    fn name(&self) -> &'static str {
        "no-future-read/ORD-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Invoked, Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let moment = &world.moment.clients;
        for sight in &moment.sights {
            if clients.value(sight.value).state != SendState::Unsent {
                sink.exercised();
            }
        }
        let Some(value) = moment.value.map(|id| clients.value(id)) else {
            return;
        };
        let sent_now = value.state == SendState::Open && value.invoked_n == event.n;
        if sent_now
            && let Some((p, off)) = value.place
            && value.seen_us + 2 * clients.eps < event.t_us
        {
            sink.fail(
                Violation::new(format!("value {:#x} was read before it was sent", value.v))
                    .fact(
                        "read",
                        value.seen_us,
                        format!("at {} offset {off}", clients.name(p)),
                    )
                    .fact("sent", event.t_us, super::sent(world, value)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case() -> Case {
        Case::of(make::<FutureRead>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
    }

    #[test]
    fn a_value_that_is_read_before_it_is_sent_is_found() {
        case()
            .polls(10, 5, &[(5, 100)])
            .sends(1, 100)
            .end()
            .fails("read before it was sent");
    }

    #[test]
    fn a_value_may_be_read_before_it_is_acknowledged() {
        case()
            .sends(1, 100)
            .polls(10, 5, &[(5, 100)])
            .acked(1, 100, 5)
            .end()
            .passes();
    }
}
