//! A (partition, offset) that was once read never changes its value, and no two acks=all sends are told
//! the same offset. Jepsen: inconsistent-offsets; Raft §5.3.
//!
//! Records of one leader epoch admit no excuse at all; others may differ where committed records were
//! destroyed.

use super::{DESTROYED, read};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct CommittedImmutable;

impl Check for CommittedImmutable {
    fn name(&self) -> &'static str {
        "committed-immutable/ORD-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let clients = &world.clients;
        let moment = &world.moment.clients;
        for sight in &moment.sights {
            let before = &sight.there_before;
            let value = clients.value(sight.value);
            if before.v == 0 {
                continue;
            }
            if before.v == value.v {
                sink.exercised();
                continue;
            }
            let same_epoch = before.epoch.is_some() && before.epoch == sight.epoch;
            let void = |v| clients.is_void_there(v, sight.p, sight.off);
            if !same_epoch && (void(value.v) || void(before.v)) {
                sink.excused(DESTROYED);
                continue;
            }
            let now = super::Seen {
                v: value.v,
                epoch: sight.epoch,
                ..*before
            };
            sink.fail(
                Violation::new(format!(
                    "{} offset {} was read with two values",
                    clients.name(sight.p),
                    sight.off
                ))
                .fact("first", before.t_us, read(before))
                .fact("then", event.t_us, read(&now)),
            );
        }
        if moment.acked_before != 0
            && let Some(id) = moment.value
        {
            acked_twice(event, world, id, sink);
        }
    }
}

fn acked_twice(event: &Observed<'_>, world: &World, id: usize, sink: &mut Sink) {
    let clients = &world.clients;
    let value = clients.value(id);
    let Some(p) = value.p else {
        return;
    };
    let before = world.moment.clients.acked_before;
    if clients.is_void(value, p, value.off) || clients.is_void_there(before, p, value.off) {
        sink.excused(DESTROYED);
        return;
    }
    let other = clients.find(before);
    sink.fail(
        Violation::new(format!(
            "{} offset {} was acknowledged to two sends",
            clients.name(p),
            value.off
        ))
        .fact(
            "first",
            other.map_or(0, |other| other.completed_us),
            other.map_or_else(String::new, |other| super::sent(world, other)),
        )
        .fact("then", event.t_us, super::sent(world, value)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::{PollPart, Role};

    fn case() -> Case {
        Case::of(make::<CommittedImmutable>)
            .part()
            .actor(1, Role::Producer, &[])
            .actor(10, Role::Consumer, &[])
            .actor(11, Role::Consumer, &[])
    }

    fn in_epoch(epoch: i32, v: u64) -> PollPart {
        PollPart {
            from: 5,
            to: 6,
            rs: vec![(5, v)],
            le: vec![(1, epoch)],
            ..PollPart::default()
        }
    }

    #[test]
    fn two_values_at_one_offset_are_found() {
        case()
            .polls(10, 5, &[(5, 100)])
            .polls(11, 5, &[(5, 101)])
            .end()
            .fails("offset 5 was read with two values");
    }

    #[test]
    fn two_sends_that_are_told_one_offset_are_found() {
        case()
            .sends(1, 100)
            .sends(1, 101)
            .acked(1, 100, 5)
            .acked(1, 101, 5)
            .end()
            .fails("acknowledged to two sends");
    }

    #[test]
    fn reading_the_same_again_passes() {
        case()
            .polls(10, 5, &[(5, 100)])
            .polls(11, 5, &[(5, 100)])
            .end()
            .passes();
    }

    #[test]
    fn what_was_written_after_the_destruction_stays() {
        let written = |case: Case| case.sends(1, 102).sends(1, 103);
        let read = |case: Case| {
            case.polls(10, 5, &[(5, 102)])
                .polls(11, 5, &[(5, 103)])
                .end()
        };
        read(written(case().destroys(5))).fails("two values");
        read(written(case()).destroys(5)).is_excused(DESTROYED);
        // Offsets behind what was committed then were not destroyed.
        read(written(case()).destroys(50)).fails("two values");
        // Somebody still reads the old value of a leader that was overruled.
        let case = written(case().sends(1, 100).destroys(5));
        case.polls(10, 5, &[(5, 100)])
            .polls(11, 5, &[(5, 102)])
            .polls(10, 5, &[(5, 103)])
            .end()
            .fails("value 0x66");
    }

    #[test]
    fn what_was_committed_in_vain_is_no_concern_of_others() {
        let read = |case: Case| {
            case.sends(1, 102)
                .sends(1, 103)
                .sends(1, 104)
                .commits_in_vain(5, 102)
                .polls(10, 5, &[(5, 102)])
                .polls(11, 5, &[(5, 103)])
        };
        read(case())
            .polls(10, 5, &[(5, 103)])
            .acked(1, 102, 5)
            .acked(1, 103, 5)
            .end()
            .passes();
        read(case())
            .polls(10, 5, &[(5, 104)])
            .end()
            .fails("two values");
    }

    #[test]
    fn what_was_destroyed_may_be_written_anew_in_another_epoch() {
        let case = || {
            case()
                .polls_part(10, in_epoch(4, 100))
                .destroys(5)
                .polls_part(10, in_epoch(5, 101))
        };
        case()
            .polls_part(11, in_epoch(4, 100))
            .end()
            .is_excused(DESTROYED);
        case()
            .polls_part(11, in_epoch(5, 102))
            .end()
            .fails("two values");
    }
}
