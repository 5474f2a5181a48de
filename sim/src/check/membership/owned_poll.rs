//! A poll returns records only of partitions that the member owns by its own callbacks, and has not paused.

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OwnedPoll;

impl Check for OwnedPoll {
    fn name(&self) -> &'static str {
        "owned-poll/CON-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let moment = &world.moment.members;
        if moment.polled == 0 {
            return;
        }
        let Some((a, member, group)) = super::subject(world) else {
            return;
        };
        for &(p, why) in &moment.unowned {
            let (who, name) = (world.clients.who(a), world.clients.name(p));
            let mut violation = Violation::new(format!("{who} got records of {name}, but {why}"));
            let stays = group.parts.get(&p).map(|part| part.stays.as_slice());
            let last = stays.unwrap_or_default().iter().rfind(|stay| stay.a == a);
            if let Some(stay) = last {
                let what = format!("in generation {}, ended {:?}", stay.generation, stay.end);
                violation = violation.fact("assigned", stay.from_us, what);
            }
            let owned = format!("while it owned {} partitions", member.owned.len());
            sink.fail(violation.fact("polled", event.t_us, owned));
        }
        for _ in moment.unowned.len()..moment.polled {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Op;

    fn case() -> Case {
        Case::of(make::<OwnedPoll>).part().member(10, &[])
    }

    #[test]
    fn records_of_a_partition_that_is_not_owned_are_found() {
        case()
            .polls(10, 0, &[(0, 100)])
            .end()
            .fails("but it does not own it");
        case()
            .owns(10, 1)
            .revokes(10, 1)
            .polls(10, 0, &[(0, 100)])
            .end()
            .fails("but it does not own it");
        case()
            .owns(10, 1)
            .loses(10, 1)
            .polls(10, 0, &[(0, 100)])
            .end()
            .fails("but it does not own it");
    }

    #[test]
    fn records_of_a_paused_partition_are_found() {
        let pause = || Op::Pause { ps: vec![0] };
        let paused = case().owns(10, 1).calls(10, pause());
        paused
            .polls(10, 0, &[(0, 100)])
            .end()
            .fails("but it has paused it");
        // Who gives a partition up and gets it again finds it as if it were new.
        case()
            .owns(10, 1)
            .calls(10, pause())
            .revokes(10, 1)
            .owns(10, 2)
            .polls(10, 0, &[(0, 100)])
            .end()
            .passes();
    }

    #[test]
    fn records_of_what_is_owned_pass() {
        let resume = Op::Resume { ps: vec![0] };
        case()
            .owns(10, 1)
            .calls(10, Op::Pause { ps: vec![0] })
            .polls(10, 0, &[])
            .calls(10, resume)
            .polls(10, 0, &[(0, 100)])
            .hears_assigned(10, 2, &[])
            .polls(10, 1, &[(1, 101)])
            .end()
            .passes();
    }
}
