//! Where every member of a group commits before it processes, no record has two effects: whoever gets a record again
//! does so because nobody had committed beyond it, and so nobody had processed it. The dual of at-least-once.
//!
//! What a commit with an unknown outcome was to cover is not processed. Whoever seeks repeats on purpose.

use super::{LATE, LOG_LOST, OFFSETS_EXPIRED, STALE, lost_log, may_have_expired, was_late};
use crate::check::client::DESTROYED;
use crate::check::world::members::{
    CommitFacts, CommitState, Delivery, GroupFacts, GroupPart, ReadFacts,
};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, P};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AtMostOnce;

impl Check for AtMostOnce {
    fn name(&self) -> &'static str {
        "at-most-once/GRP-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let moment = &world.moment.members;
        if moment.again.is_empty() {
            return;
        }
        let Some((a, _, group)) = super::subject(world) else {
            return;
        };
        if !claims(world, group) {
            return;
        }
        for &(p, offset) in &moment.again {
            let part = &group.parts[&p];
            if part.moved {
                continue;
            }
            if let Some(excuse) = excuse(world, group, a, (p, offset)) {
                sink.excused(excuse);
                continue;
            }
            let (who, name) = (world.clients.who(a), world.clients.name(p));
            let headline = format!(
                "group {} commits first, and {name} offset {offset} was processed twice",
                group.id
            );
            let returned = format!("{} times to members", part.delivered.at(offset).times);
            let mut violation = Violation::new(headline).fact("returned", event.t_us, returned);
            let beyond = group
                .writes(p)
                .find(|(commit, range)| commit.cmp() < event.n && offset < range.0);
            if let Some((commit, (to, _))) = beyond {
                let what = format!("{to} by {}", world.clients.who(commit.a));
                violation = violation.fact("committed", commit.end_us, what);
            }
            sink.fail(violation.fact("processed", event.t_us, format!("again by {who}")));
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for group in &world.members.groups {
            if !claims(world, group) {
                continue;
            }
            for part in group.parts.values().filter(|part| !part.moved) {
                // Only where somebody went on behind it, or got it again, could it have been processed again.
                let went_on = resumed(part).map(|read| read.offset).max().unwrap_or(0);
                for (offset, _) in part.effects.iter().filter(|&(_, times)| times == 1) {
                    if offset < went_on || 1 < part.delivered.at(offset).times {
                        sink.exercised();
                    }
                }
            }
        }
    }
}

/// Whether all its members commit what they are about to process, and only that.
fn claims(world: &World, group: &GroupFacts) -> bool {
    let mut members = group.members.iter();
    members.all(|&a| {
        let member = world.members.member(a);
        member.is_some_and(|member| member.gates.delivery == Delivery::AtMostOnce)
    })
}

/// Until when its client went on with it.
fn until_us(world: &World, commit: &CommitFacts) -> u64 {
    match commit.state {
        CommitState::Open => world.t_us,
        CommitState::Ok | CommitState::Fail | CommitState::Info => commit.end_us,
    }
}

fn resumed(part: &GroupPart) -> impl DoubleEndedIterator<Item = &ReadFacts> {
    part.reads.iter().filter(|read| read.resumes)
}

/// Why that member may have got a record that somebody had processed.
fn excuse(world: &World, group: &GroupFacts, a: A, (p, offset): (P, i64)) -> Option<&'static str> {
    let part = &group.parts[&p];
    let cut = world
        .clients
        .part(p)
        .is_some_and(|part| !part.cuts.is_empty());
    let mut back = group
        .writes(p)
        .filter(|(commit, (to, _))| commit.may_count() && *to <= offset);
    let mut reads = resumed(part).rev();
    let read = reads.find(|read| read.a == a && read.offset <= offset);
    if cut {
        Some(DESTROYED)
    } else if lost_log(world) {
        Some(LOG_LOST)
    } else if back.any(|(commit, _)| was_late(world, commit, until_us(world, commit))) {
        Some(LATE)
    } else if may_have_expired(world) {
        Some(OFFSETS_EXPIRED)
    } else if read.is_some_and(|read| {
        let (asked_n, told_n) = (read.asked_n, read.told_n);
        !world.members.is_fresh(world.white_box, asked_n, told_n)
    }) {
        Some(STALE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, coordinates};

    const FIRST: &[(&str, &str)] = &[("app.sink", "plain"), ("app.delivery", "at-most-once")];

    /// One member has processed what it committed.
    fn case(second: &[(&str, &str)]) -> Case {
        Case::of(make::<AtMostOnce>)
            .part()
            .member(10, FIRST)
            .member(11, second)
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .polls(10, 0, &[(0, 100), (1, 101)])
            .commits(10, 1, 1, 2)
            .has_effects(10, &[0, 1])
    }

    /// Another one goes on there, and processes the next record.
    fn goes_on(case: Case, at: i64, why: &str) -> Case {
        let value = 100 + u64::try_from(at).expect("small");
        case.revokes(10, 1)
            .owns(11, 2)
            .resets(11, -1, at, why)
            .polls(11, at, &[(at, value)])
            .commits(11, 2, 9, at + 1)
            .has_effects(11, &[at])
    }

    #[test]
    fn a_record_that_is_processed_twice_is_found() {
        let again = |at, why| goes_on(case(FIRST), at, why).end();
        again(1, "committed").fails("orders-0 offset 1 was processed twice");
        again(0, "start").fails("orders-0 offset 0 was processed twice");
        case(FIRST)
            .has_effects(10, &[1])
            .end()
            .fails("processed twice");
    }

    #[test]
    fn a_record_that_is_processed_once_passes() {
        goes_on(case(FIRST), 2, "committed").end().passes();
        // Its commit was refused, and so the first one let it be.
        let polled = case(FIRST).polls(10, 2, &[(2, 102)]);
        let refused = polled.begins_commit(10, 1, 2, 3).refused(10, 2, 22);
        goes_on(refused, 2, "committed").end().passes();
    }

    #[test]
    fn whoever_claims_something_else_may_process_twice() {
        const AFTER: &[(&str, &str)] = &[("app.sink", "plain"), ("app.delivery", "at-least-once")];
        goes_on(case(AFTER), 1, "committed").end().is_silent();
    }

    #[test]
    fn whoever_seeks_repeats_on_purpose() {
        goes_on(case(FIRST), 1, "seek").end().is_silent();
        goes_on(case(FIRST), 1, "truncated").end().is_silent();
    }

    #[test]
    fn what_brings_an_offset_back_is_excused() {
        let destroyed = || case(FIRST).destroys(5);
        goes_on(destroyed(), 1, "committed")
            .end()
            .is_excused(DESTROYED);
        let late = || {
            let case = case(FIRST).begins_commit(10, 1, 2, 1);
            case.wait_ms(30_000).committed_as(10, 1, 2)
        };
        goes_on(late(), 1, "committed").end().is_excused(LATE);
        let two = || case(FIRST).note(1, coordinates()).note(2, coordinates());
        goes_on(two(), 1, "committed").end().is_excused(STALE);
    }
}
