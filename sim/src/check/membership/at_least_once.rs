//! At the end every record that is there, from the group's start to what the group has committed at last, was returned
//! to a member.

use super::{committed_at_last, group_start, records};
use crate::check::client::DESTROYED;
use crate::check::{Check, Kind, Sink, Violation, World};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AtLeastOnce;

impl Check for AtLeastOnce {
    fn name(&self) -> &'static str {
        "at-least-once/GRP-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for group in &world.members.groups {
            for (&p, part) in &group.parts {
                let Some(committed) = committed_at_last(group, p, world.n) else {
                    continue;
                };
                let cut = world
                    .clients
                    .part(p)
                    .is_some_and(|part| !part.cuts.is_empty());
                let start = group_start(world, part, self.name());
                for offset in records(world, p, start).take_while(|&offset| offset < committed) {
                    if part.delivered.at(offset).n != 0 {
                        sink.exercised();
                    } else if cut {
                        sink.excused(DESTROYED);
                    } else {
                        let name = world.clients.name(p);
                        let headline =
                            format!("group {} never read {name} offset {offset}", group.id);
                        let what = format!("{committed} at last");
                        let violation = Violation::new(headline);
                        sink.fail(violation.fact("committed", world.t_us, what));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, Found};
    use crate::history::Role;

    fn case() -> Case {
        Case::of(make::<AtLeastOnce>)
            .part()
            .actor(1, Role::Producer, &[])
            .sends(1, 100)
            .sends(1, 101)
            .member(10, &[])
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .polls(10, 1, &[(1, 101)])
    }

    fn scanned(case: Case) -> Found {
        case.final_scan(2, &[(0, 100), (1, 101)]).end()
    }

    #[test]
    fn a_record_that_nobody_got_is_found() {
        scanned(case().commits(10, 1, 1, 2)).fails("group g never read orders-0 offset 0");
    }

    #[test]
    fn what_is_not_committed_may_come_yet() {
        scanned(case().begins_commit(10, 1, 1, 2)).is_silent();
        scanned(case()).is_silent();
    }

    #[test]
    fn records_that_somebody_got_pass() {
        let all = case().polls(10, 0, &[(0, 100)]);
        scanned(all.commits(10, 1, 1, 2)).passes();
        let sought = case().resets(10, -1, 1, "start");
        scanned(sought.commits(10, 1, 1, 2)).passes();
    }
}
