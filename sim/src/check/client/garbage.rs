//! What is read is what somebody sent: to that partition, with that key, whole. The recorder tells a wrong
//! checksum, key or partition; a value that nobody sent is found at the end.

use crate::check::world::clients::SendState;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{Body, Res};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Garbage;

impl Check for Garbage {
    fn name(&self) -> &'static str {
        "no-garbage/ORD-8"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::History(line) = event.fact else {
            return;
        };
        let (Body::Ok { r, .. } | Body::Info { r, .. }) = &line.b else {
            return;
        };
        let Res::Polled(parts) = r else {
            return;
        };
        let clients = &world.clients;
        for part in parts {
            for bad in &part.bad {
                let headline = format!("{} offset {} is garbage", clients.name(part.p), bad.o);
                sink.fail(Violation::new(headline).fact("read", event.t_us, &bad.why));
            }
        }
        for sight in &world.moment.clients.sights {
            let value = clients.value(sight.value);
            let elsewhere = value.p.filter(|&p| p != sight.p);
            if let Some(p) = elsewhere
                && value.state != SendState::Unsent
            {
                sink.fail(
                    Violation::new(format!(
                        "value {:#x} was sent to another partition",
                        value.v
                    ))
                    .fact(
                        "sent",
                        value.invoked_us,
                        format!("to {}: {}", clients.name(p), super::sent(world, value)),
                    )
                    .fact(
                        "read",
                        event.t_us,
                        format!("at {} offset {}", clients.name(sight.p), sight.off),
                    ),
                );
            } else if value.state != SendState::Unsent {
                sink.exercised();
            }
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        for value in &clients.values {
            if let (SendState::Unsent, Some((p, off))) = (value.state, value.place) {
                let headline = format!("{} offset {off} was never sent", clients.name(p));
                sink.fail_at(
                    value.seen_n,
                    value.seen_us,
                    Violation::new(headline).fact(
                        "read",
                        value.seen_us,
                        format!("value {:#x}", value.v),
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{BadRecord, PollPart, Role};

    fn case() -> Case {
        Case::of(make::<Garbage>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
    }

    #[test]
    fn a_broken_record_is_found() {
        let part = PollPart {
            from: 5,
            to: 6,
            rs: vec![(5, 0)],
            bad: vec![BadRecord {
                o: 5,
                why: "checksum".to_owned(),
            }],
            ..PollPart::default()
        };
        case()
            .polls_part(10, part)
            .end()
            .fails("offset 5 is garbage");
    }

    #[test]
    fn a_value_that_nobody_sent_is_found() {
        case()
            .polls(10, 5, &[(5, 100)])
            .end()
            .fails("offset 5 was never sent");
    }

    #[test]
    fn a_value_in_another_partition_is_found() {
        case()
            .sends_to(1, 100, 1)
            .polls(10, 5, &[(5, 100)])
            .end()
            .fails("sent to another partition");
    }

    #[test]
    fn what_was_sent_passes() {
        case()
            .sends(1, 100)
            .polls(10, 5, &[(5, 100)])
            .end()
            .passes();
    }
}
