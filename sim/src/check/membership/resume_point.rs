//! A member that gets a partition goes on where its group had committed: at an offset that may have been current
//! between the assignment and the answer, or by the reset policy if nothing was committed.
//!
//! Further on would skip records; further back would repeat them. A coordinator that was deposed and does not know
//! may answer with what was current before (Kafka has no read leases).

use super::{LOG_LOST, OFFSETS_EXPIRED, STALE, lost_log, may_have_expired};
use crate::check::world::members::{GroupFacts, ReadFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ResumePoint;

impl Check for ResumePoint {
    fn name(&self) -> &'static str {
        "committed-offset-safe/GRP-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, _event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let moment = &world.moment.members;
        if moment.reads.is_empty() {
            return;
        }
        let Some((_, _, group)) = super::subject(world) else {
            return;
        };
        for &(p, index) in &moment.reads {
            let read = &group.parts[&p].reads[index];
            if read.resumes {
                judge(world, group, (p, read), sink);
            }
        }
    }
}

fn judge(world: &World, group: &GroupFacts, (p, read): (P, &ReadFacts), sink: &mut Sink) {
    let overwritten = group.overwritten_before(p, read.asked_n);
    let mut was_written = false;
    let mut may_be_current = read.offset < 0 && overwritten == 0;
    let mut current: Vec<i64> = Vec::new();
    for (commit, range) in group.writes(p) {
        if !commit.may_count() || read.told_n <= commit.inv_n {
            continue;
        }
        let is_of = read.may_be_of(commit, range);
        was_written |= is_of;
        if overwritten <= commit.cmp() {
            may_be_current |= is_of;
            current.push(range.0);
        }
    }
    was_written |= read.offset < 0;
    if may_be_current {
        // Where nobody had committed anything there was nothing to get wrong.
        if 0 < overwritten || 0 <= read.offset {
            sink.exercised();
        }
        return;
    }
    let excuse = if lost_log(world) {
        Some(LOG_LOST)
    } else if read.offset < 0 && may_have_expired(world) {
        Some(OFFSETS_EXPIRED)
    } else if was_written
        && !world
            .members
            .is_fresh(world.white_box, read.asked_n, read.told_n)
    {
        Some(STALE)
    } else {
        None
    };
    match excuse {
        Some(excuse) => sink.excused(excuse),
        None => sink.fail(story(world, group, (p, read), &current)),
    }
}

fn story(
    world: &World,
    group: &GroupFacts,
    (p, read): (P, &ReadFacts),
    current: &[i64],
) -> Violation {
    let (who, name) = (world.clients.who(read.a), world.clients.name(p));
    let from = match read.offset {
        offset if offset < 0 => "as if nothing were committed".to_owned(),
        offset => format!("at {offset}"),
    };
    let headline = format!(
        "{who} went on {from} in {name}, where group {} was not",
        group.id
    );
    let mut violation = Violation::new(headline);
    let (least, most) = (current.iter().min(), current.iter().max());
    let writes = group
        .writes(p)
        .filter(|(commit, _)| commit.inv_n < read.told_n);
    if let Some((commit, (offset, _))) = writes.last() {
        violation = violation.fact(
            "committed",
            commit.inv_us,
            format!(
                "offset {offset} by {}: {:?}",
                world.clients.who(commit.a),
                commit.state
            ),
        );
    }
    let could = format!("from {from}; what may have been current: {least:?} to {most:?}");
    violation.fact("went on", read.told_us, could)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case() -> Case {
        Case::of(make::<ResumePoint>)
            .part()
            .member(10, &[])
            .member(11, &[])
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .commits(10, 1, 1, 5)
            .commits(10, 1, 2, 8)
    }

    fn resumes(case: Case, to: i64, why: &str) -> Case {
        case.revokes(10, 1).owns(11, 2).resets(11, -1, to, why)
    }

    #[test]
    fn a_start_elsewhere_than_committed_is_found() {
        let group = |to| resumes(case(), to, "committed").end();
        group(5).fails("went on at 5 in orders-0");
        group(9).fails("went on at 9 in orders-0");
        resumes(case(), 0, "start")
            .end()
            .fails("as if nothing were committed");
        group(8).passes();
    }

    #[test]
    fn what_failed_is_no_place_to_go_on() {
        let refused = case().begins_commit(10, 1, 3, 9).refused(10, 3, 22);
        resumes(refused, 9, "committed").end().fails("went on at 9");
        let open = || case().begins_commit(10, 1, 3, 9);
        resumes(open(), 9, "committed").end().passes();
        resumes(open(), 8, "committed").end().passes();
    }

    #[test]
    fn a_commit_during_the_read_may_count_or_not() {
        let during = |to| {
            case()
                .owns(11, 2)
                .commits(10, 1, 3, 9)
                .resets(11, -1, to, "committed")
                .end()
        };
        during(8).passes();
        during(9).passes();
        during(5).fails("went on at 5");
    }

    #[test]
    fn the_first_start_and_a_seek_are_no_reads() {
        Case::of(make::<ResumePoint>)
            .part()
            .member(10, &[])
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .end()
            .is_silent();
        case().resets(10, 8, 2, "seek").end().is_silent();
    }

    #[test]
    fn two_coordinators_may_disagree() {
        use crate::check::testing::coordinates;
        let two = |case: Case| case.note(1, coordinates()).note(2, coordinates());
        let stale = |to| resumes(two(case()), to, "committed").end();
        stale(5).is_excused(STALE);
        stale(7).fails("went on at 7");
        // At the end there is only one.
        let last = two(case()).phase("final");
        resumes(last, 5, "committed").end().fails("went on at 5");
    }
}
