//! Nobody commits what lies behind the end of a partition: a commit that may have been taken is at most the end that
//! the final scan found, and so is what is read.

use crate::check::client::DESTROYED;
use crate::check::client::acked_complete::complete_scan;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, P};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct SaneCommit;

impl Check for SaneCommit {
    fn name(&self) -> &'static str {
        "sane-commit/GRP-10"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for group in &world.members.groups {
            for (&p, part) in &group.parts {
                let Some(end) = complete_scan(&world.clients, p).map(|scan| scan.to) else {
                    continue;
                };
                let writes = group.writes(p).filter(|(commit, _)| commit.may_count());
                for (commit, (offset, _)) in writes {
                    let fact = ("committed", commit.inv_n, commit.inv_us);
                    judge(world, (p, end), (commit.a, offset), fact, sink);
                }
                for read in part.reads.iter().filter(|read| 0 <= read.offset) {
                    let fact = ("read", read.told_n, read.told_us);
                    judge(world, (p, end), (read.a, read.offset), fact, sink);
                }
            }
        }
    }
}

fn judge(
    world: &World,
    (p, end): (P, i64),
    (a, offset): (A, i64),
    (word, n, t_us): (&'static str, u64, u64),
    sink: &mut Sink,
) {
    let clients = &world.clients;
    if (0..=end).contains(&offset) {
        sink.exercised();
    } else if clients.part(p).is_some_and(|part| !part.cuts.is_empty()) {
        sink.excused(DESTROYED);
    } else {
        let (who, name) = (clients.who(a), clients.name(p));
        let headline = format!("{who} {word} offset {offset} of {name}, which has none");
        let violation = Violation::new(headline).fact(word, t_us, offset.to_string());
        let violation = violation.fact("end", world.t_us, end.to_string());
        sink.fail_at(n, t_us, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case() -> Case {
        Case::of(make::<SaneCommit>)
            .part()
            .member(10, &[])
            .owns(10, 1)
    }

    #[test]
    fn a_commit_behind_the_end_is_found() {
        let ahead = case().commits(10, 1, 1, 2);
        ahead
            .final_scan(1, &[(0, 100)])
            .end()
            .fails("committed offset 2 of orders-0");
        let read = case().looks(10, 2, 7);
        read.final_scan(1, &[(0, 100)])
            .end()
            .fails("read offset 2 of orders-0");
    }

    #[test]
    fn a_commit_of_the_end_passes() {
        let all = case().commits(10, 1, 1, 1).looks(10, 1, 1);
        all.final_scan(1, &[(0, 100)]).end().passes();
    }

    #[test]
    fn what_was_destroyed_is_excused() {
        let ahead = case().commits(10, 1, 1, 2).destroys(1);
        ahead.final_scan(1, &[(0, 100)]).end().is_excused(DESTROYED);
    }
}
