//! There is one live member of a `group.instance.id`: once another one has joined under it, no commit of the older
//! one is taken. KIP-345; bug G02.

use super::{LOG_LOST, lost_log};
use crate::check::world::members::{CommitState, GroupFacts, MemberFacts};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, Body, Ev};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StaticMember;

impl Check for StaticMember {
    fn name(&self) -> &'static str {
        "one-instance/GRP-11"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Succeeded, Kind::Failed, Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((a, member, group)) = super::subject(world) else {
            return;
        };
        if member.gates.instance.is_none() {
            return;
        }
        let is_fenced = |line: &Body| {
            matches!(
                line,
                Body::Ev {
                    ev: Ev::Fenced { .. },
                    ..
                }
            )
        };
        if let Fact::History(line) = event.fact
            && is_fenced(&line.b)
            && replaced_by(world, group, (a, member), event.n).is_some()
        {
            sink.exercised();
        }
        let Some(commit) = world.moment.members.committed else {
            return;
        };
        let commit = &group.commits[commit];
        let Some(other) = replaced_by(world, group, (a, member), commit.inv_n) else {
            return;
        };
        if commit.state != CommitState::Ok {
            sink.exercised();
        } else if lost_log(world) {
            sink.excused(LOG_LOST);
        } else {
            let (who, instance) = (world.clients.who(a), member.gates.instance.as_deref());
            let instance = instance.unwrap_or_default();
            let what = format!("actor {other}, incarnation of {}", world.clients.who(other));
            sink.fail(
                Violation::new(format!(
                    "{who} committed, but instance {instance} is another one"
                ))
                .fact("joined", event.t_us, what)
                .fact(
                    "committed",
                    commit.inv_us,
                    format!("actor {a} as [{}]", commit.mid),
                ),
            );
        }
    }
}

/// Another one of the same instance, an incarnation or a twin, that joined later and was in the group before that
/// fact, if this member did not join again since.
fn replaced_by(
    world: &World,
    group: &GroupFacts,
    (a, member): (A, &MemberFacts),
    before_n: u64,
) -> Option<A> {
    let joined_n = member.first_assigned_n?;
    let mut others = group.members.iter().copied().filter(|&other| other != a);
    others.find(|&other| {
        let other = world.members.member(other);
        other.is_some_and(|other| {
            let assigned_n = other.first_assigned_n.unwrap_or(u64::MAX);
            other.gates.instance == member.gates.instance
                && other.subscribed_n.is_some_and(|n| joined_n < n)
                && assigned_n < before_n
                && member.last_assigned_n < assigned_n
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;

    const ONE: &[(&str, &str)] = &[("group.instance.id", "one")];

    fn case(second: &[(&str, &str)]) -> Case {
        Case::of(make::<StaticMember>)
            .part()
            .member(10, ONE)
            .owns(10, 3)
            .member(11, second)
            .owns(11, 3)
    }

    #[test]
    fn a_commit_of_a_member_that_was_replaced_is_found() {
        case(ONE)
            .commits(10, 3, 1, 5)
            .end()
            .fails("instance one is another one");
    }

    #[test]
    fn a_member_that_was_replaced_is_refused() {
        case(ONE)
            .begins_commit(10, 3, 1, 5)
            .refused(10, 1, 82)
            .hears_fenced(10)
            .commits(11, 3, 2, 5)
            .end()
            .passes();
    }

    #[test]
    fn other_instances_and_who_came_back_may_commit() {
        case(&[("group.instance.id", "two")])
            .commits(10, 3, 1, 5)
            .end()
            .is_silent();
        case(&[]).commits(10, 3, 1, 5).end().is_silent();
        case(ONE).owns(10, 5).commits(10, 5, 1, 5).end().is_silent();
    }
}
