//! Who is no member any more, or of an older generation, commits nothing. Classic: somebody was assigned partitions
//! in a later generation before the commit began; commits of the current generation are taken while the next
//! one is prepared. Both protocols: the member had been told that it is gone. Without a generation a commit is
//! taken from anybody while nobody is in the group; whether that was so, GC-7 knows. A coordinator that was replaced
//! and does not know it expires members that its successor keeps: what it said counts for nothing.

use super::{LOG_LOST, OFFSETS_EXPIRED, lost_log, may_have_expired};
use crate::check::world::members::{CommitFacts, CommitState, GroupFacts, MemberFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ZombieCommit;

impl Check for ZombieCommit {
    fn name(&self) -> &'static str {
        "no-zombie-commit/GRP-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Failed]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let (Some((a, member, group)), Some(commit)) =
            (super::subject(world), world.moment.members.committed)
        else {
            return;
        };
        let commit = &group.commits[commit];
        let Some(why) = why_not(world, member, group, commit) else {
            return;
        };
        if commit.state != CommitState::Ok {
            sink.exercised();
        } else if lost_log(world) {
            sink.excused(LOG_LOST);
        } else if may_have_expired(world) {
            // A group that was forgotten counts from 1 again.
            sink.excused(OFFSETS_EXPIRED);
        } else {
            let who = world.clients.who(a);
            let what = format!("as [{}] in generation {}", commit.mid, commit.generation);
            sink.fail(
                Violation::new(format!("{who} committed, but {why}"))
                    .fact("begun", commit.inv_us, what)
                    .fact("taken", event.t_us, format!("by group {}", group.id)),
            );
        }
    }
}

/// Why the commit must not be taken, if it must not.
fn why_not(
    world: &World,
    member: &MemberFacts,
    group: &GroupFacts,
    commit: &CommitFacts,
) -> Option<String> {
    if let Some(told) = &member.told_gone
        && told.n < commit.inv_n
        && told.mid == commit.mid
        && (0..=told.generation).contains(&commit.generation)
        && !world.members.is_doubtful(world.white_box, told)
    {
        return Some(format!("it had been told that [{}] is gone", told.mid));
    }
    let classic = |a| world.members.member(a).is_some_and(MemberFacts::is_classic);
    let newest = group.generation_before(commit.inv_n);
    let is_old = 0 < commit.generation && commit.generation < newest;
    (is_old && group.members.iter().all(|&a| classic(a)))
        .then(|| format!("the group is in generation {newest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    fn case(protocol: &str) -> Case {
        let cfg = [("group.protocol", protocol)];
        Case::of(make::<ZombieCommit>)
            .part()
            .member(10, &cfg)
            .member(11, &cfg)
            .owns(10, 3)
    }

    #[test]
    fn a_commit_of_an_older_generation_is_found() {
        case("classic")
            .owns(11, 4)
            .commits(10, 3, 1, 5)
            .end()
            .fails("the group is in generation 4");
    }

    #[test]
    fn a_group_that_was_forgotten_counts_from_the_beginning() {
        let mut header = crate::history::Hdr::default();
        let minute = ("offsets.retention.minutes".to_owned(), "1".to_owned());
        header.cfg.extend([minute]);
        case("classic")
            .owns(11, 4)
            .line(crate::history::Body::Hdr(header))
            .wait_ms(60_000)
            .commits(10, 3, 1, 5)
            .end()
            .is_excused(OFFSETS_EXPIRED);
    }

    #[test]
    fn a_commit_of_an_older_generation_that_is_refused_passes() {
        case("classic")
            .owns(11, 4)
            .begins_commit(10, 3, 1, 5)
            .refused(10, 1, 22)
            .end()
            .passes();
    }

    #[test]
    fn a_commit_while_the_next_generation_is_prepared_is_no_concern() {
        case("classic")
            .begins_commit(10, 3, 1, 5)
            .owns(11, 4)
            .committed_as(10, 3, 1)
            .end()
            .is_silent();
        // What matters is as whom it was sent.
        case("classic")
            .owns(11, 4)
            .begins_commit(10, 3, 1, 5)
            .committed_as(10, 4, 1)
            .end()
            .is_silent();
    }

    #[test]
    fn epochs_of_members_differ() {
        case("consumer")
            .hears_assigned(11, 4, &[])
            .commits(10, 3, 1, 5)
            .end()
            .is_silent();
    }

    #[test]
    fn a_commit_by_who_knows_that_it_is_gone_is_found() {
        let gone = |protocol| case(protocol).begins_commit(10, 3, 1, 5).refused(10, 1, 25);
        gone("classic")
            .commits(10, 3, 2, 5)
            .end()
            .fails("had been told that [m10] is gone");
        case("consumer")
            .loses(10, 3)
            .commits(10, 3, 2, 5)
            .end()
            .fails("had been told that [m10] is gone");
        // Whoever refused the commit need not be its coordinator any more.
        gone("consumer").commits(10, 3, 2, 5).end().is_silent();
        // It joined anew.
        gone("consumer")
            .loses(10, 3)
            .owns(10, 3)
            .commits(10, 3, 2, 5)
            .end()
            .is_silent();
    }
}
