//! What is committed was read: every record that is there, from the group's start to the committed offset, had been
//! returned to a member before the commit began. Jepsen (Redpanda): auto-commit runs ahead of polls.

use super::group_start;
use crate::check::client::DESTROYED;
use crate::check::world::members::{CommitState, Delivery, GroupFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Coverage;

impl Check for Coverage {
    fn name(&self) -> &'static str {
        "commit-coverage/GRP-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for group in &world.members.groups {
            for &p in group.parts.keys() {
                judge(world, group, p, sink);
            }
        }
    }
}

/// Sweeps over the offsets with the commits in their order.
fn judge(world: &World, group: &GroupFacts, p: P, sink: &mut Sink) {
    let claims = |a| {
        let member = world.members.member(a);
        member.is_some_and(|member| member.gates.delivery == Delivery::AtLeastOnce)
    };
    let commits = group.writes(p);
    let mut commits: Vec<_> = commits
        .filter(|(commit, _)| commit.state != CommitState::Fail && claims(commit.a))
        .map(|(commit, (offset, _))| (offset, commit))
        .collect();
    commits.sort_by_key(|&(offset, commit)| (offset, commit.inv_n));
    let part = &group.parts[&p];
    let mut records = super::records(world, p, group_start(world, part, "commit-coverage/GRP-6"));
    let mut next = records.next();
    // The record that was returned last of those before the commit's offset, if all were.
    let mut last = (0, -1);
    let mut covered = 0_u64;
    for (offset, commit) in commits {
        while let Some(record) = next.filter(|record| *record < offset) {
            let n = part.delivered.at(record).n;
            last = last.max((if n == 0 { u64::MAX } else { n }, record));
            covered += 1;
            next = records.next();
        }
        let (returned_n, record) = last;
        if returned_n < commit.inv_n {
            if covered > 0 {
                sink.exercised();
            }
            continue;
        }
        if world
            .clients
            .part(p)
            .is_some_and(|part| !part.cuts.is_empty())
        {
            sink.excused(DESTROYED);
            continue;
        }
        let (who, name) = (world.clients.who(commit.a), world.clients.name(p));
        let returned = match returned_n {
            u64::MAX => "to nobody of the group, ever".to_owned(),
            n => format!("only by fact {n}"),
        };
        let headline = format!("{who} committed {offset} of {name} before {record} was read");
        let violation = Violation::new(headline)
            .fact(
                "committed",
                commit.inv_us,
                format!("by fact {}: {:?}", commit.inv_n, commit.state),
            )
            .fact(
                "returned",
                world.t_us,
                format!("offset {record} {returned}"),
            );
        sink.fail_at(commit.inv_n, commit.inv_us, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn case(delivery: &str) -> Case {
        Case::of(make::<Coverage>)
            .part()
            .actor(1, Role::Producer, &[])
            .sends(1, 100)
            .sends(1, 101)
            .member(10, &[("app.delivery", delivery)])
            .owns(10, 1)
            .resets(10, -1, 0, "start")
            .polls(10, 0, &[(0, 100)])
    }

    fn scanned(case: Case) -> crate::check::testing::Found {
        case.final_scan(2, &[(0, 100), (1, 101)]).end()
    }

    #[test]
    fn a_commit_ahead_of_the_polls_is_found() {
        let ahead = || case("at-least-once").commits(10, 1, 1, 2);
        scanned(ahead()).fails("committed 2 of orders-0 before 1 was read");
        scanned(ahead().polls(10, 1, &[(1, 101)])).fails("before 1 was read");
        let auto = case("at-least-once").auto_commits(10, 1, 2);
        scanned(auto).fails("committed 2 of orders-0 before 1 was read");
    }

    #[test]
    fn a_commit_of_what_was_read_passes() {
        let read = case("at-least-once").commits(10, 1, 1, 1);
        scanned(read.polls(10, 1, &[(1, 101)]).commits(10, 1, 2, 2)).passes();
        // It does not matter by whom, nor whether there is a record at all.
        let other = case("at-least-once").member(11, &[]).owns(11, 2);
        let other = other.polls(11, 1, &[(1, 101)]).commits(10, 1, 1, 7);
        scanned(other).passes();
    }

    #[test]
    fn who_claims_nothing_may_commit_anything() {
        scanned(case("none").commits(10, 1, 1, 2)).is_silent();
        let refused = case("at-least-once").begins_commit(10, 1, 1, 2);
        scanned(refused.refused(10, 1, 22)).is_silent();
    }

    #[test]
    fn what_lies_before_the_groups_start_is_no_concern() {
        let sought = case("at-least-once").resets(10, 1, 2, "seek");
        scanned(sought.commits(10, 1, 1, 2)).is_silent();
    }
}
