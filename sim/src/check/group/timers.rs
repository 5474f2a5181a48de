//! Who has to be heard of is watched, and nobody else: each member has a session timer, who has to give
//! partitions up a timer for that; a join phase and the wait for an assignment end some day. Nobody who
//! was thrown out is watched any more. `GroupMetadataManager.schedule…`, `cancel…`.
//!
//! Judged when a decision is committed: then its timers run. A decision that could not be written has set
//! its timers already; the group is excused until it is loaded anew. A member of the classic protocol has
//! no session while it waits for an answer, and the predecessor of a static member is watched in vain.

use std::collections::BTreeSet;

use broker_model::note::{
    ClassicGroupChange, ClassicGroupState, ConsumerGroupChange, ConsumerMemberState,
    CoordinatorChange, CoordinatorTimer, Note,
};
use broker_model::types::StrBytes;

use super::{Seen, seen};
use crate::check::world::groups::consumer::AWAY;
use crate::check::world::groups::fold::{Change, Decision};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// An excuse: the timers of who speaks the classic protocol start when what it was told is committed.
const ANSWERED_LATE: &str = "who joined was out before its answer left";

/// An excuse: a decision's timers are set before it is written.
const NOT_WRITTEN: &str = "a decision about the group could not be written";

/// See the module.
#[derive(Default)]
pub(in crate::check) struct MemberTimers;

impl Check for MemberTimers {
    fn name(&self) -> &'static str {
        "member-timers/GC-12"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator, Kind::ClassicGroup]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some(seen) = seen(event, world) else {
            return;
        };
        match seen.note {
            Note::Coordinator {
                change: CoordinatorChange::Serving,
                ..
            } => {
                for group in seen.coordinator.view.groups.keys() {
                    judge(&seen, group, &BTreeSet::new(), sink);
                }
            }
            Note::Coordinator {
                change: CoordinatorChange::Committed { .. },
                ..
            } => {
                for decision in &seen.moment.committed {
                    for (group, new) in changed(decision) {
                        judge(&seen, group, &new, sink);
                        gone(&seen, group, decision, sink);
                    }
                }
            }
            Note::ClassicGroup {
                group,
                change: ClassicGroupChange::State { from, .. },
                ..
            } => phase(&seen, group, *from, sink),
            _ => {}
        }
    }
}

/// The groups whose members a decision changed, and who is new in each: of a member of the classic
/// protocol in a consumer group, the session starts only now.
fn changed(decision: &Decision) -> Vec<(&StrBytes, BTreeSet<&StrBytes>)> {
    let mut groups: Vec<(&StrBytes, BTreeSet<&StrBytes>)> = Vec::new();
    for (group, change) in &decision.changes {
        if let Change::Offsets(_) = change {
            continue;
        }
        let new = match change {
            Change::Consumer(ConsumerGroupChange::Subscribed { member, .. }) => Some(member),
            _ => None,
        };
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, known)) => known.extend(new),
            None => groups.push((group, new.into_iter().collect())),
        }
    }
    groups
}

fn judge(seen: &Seen<'_>, group: &StrBytes, new: &BTreeSet<&StrBytes>, sink: &mut Sink) {
    let mut watched = false;
    let mut wrong = None;
    let committed = seen.world.groups.committed(group);
    let committed = committed.and_then(|it| it.consumer(group));
    if let Some(it) = seen.coordinator.view.consumer(group) {
        for (id, member) in &it.members {
            let known = committed.is_some_and(|it| it.members.contains_key(id));
            let fresh = member.classic && (new.contains(id) || !known);
            if !fresh {
                watched = true;
                if !runs(seen, group, CoordinatorTimer::Session, Some(id)) {
                    wrong = wrong.or(Some(format!("member {id} has no session timer")));
                }
            }
            if member.classic || member.epoch == AWAY {
                continue;
            }
            let revokes = member.state == ConsumerMemberState::UnrevokedPartitions;
            let timed = runs(seen, group, CoordinatorTimer::Rebalance, Some(id));
            if revokes && !timed {
                wrong = wrong.or(Some(format!(
                    "{id} may give partitions up whenever it likes"
                )));
            } else if timed && !revokes {
                wrong = wrong.or(Some(format!(
                    "{id} has nothing to give up and a timer for it"
                )));
            }
        }
    }
    say(seen, group, wrong, watched, sink);
}

/// Who was thrown out and did not come back is not watched.
fn gone(seen: &Seen<'_>, group: &StrBytes, decision: &Decision, sink: &mut Sink) {
    let known = seen.coordinator.view.consumer(group);
    for (own, change) in &decision.changes {
        let Change::Consumer(ConsumerGroupChange::Removed { member, .. }) = change else {
            continue;
        };
        let back = known.is_none_or(|it| it.members.contains_key(member));
        if own != group || back {
            continue;
        }
        let timers = [CoordinatorTimer::Session, CoordinatorTimer::Rebalance];
        let still = || {
            let timers = timers.into_iter();
            timers.filter(|&timer| runs(seen, group, timer, Some(member)))
        };
        let vain = |timer: &CoordinatorTimer| {
            let id = (group.clone(), *timer, Some(member.clone()));
            seen.coordinator.vain.contains(&id)
        };
        if still().any(|timer| vain(&timer)) {
            sink.excused(ANSWERED_LATE);
        }
        let wrong = still().find(|timer| !vain(timer));
        let wrong = wrong.map(|timer| format!("{member} is out and its {timer:?} timer runs"));
        say(seen, group, wrong, true, sink);
    }
}

/// A classic group leaves a state in which it was since an earlier step: its members were watched, or the
/// phase had an end.
fn phase(seen: &Seen<'_>, group: &StrBytes, from: ClassicGroupState, sink: &mut Sink) {
    let Some(was) = &seen.moment.was else {
        return;
    };
    if was.since_us == seen.t_us {
        return;
    }
    // Who has synced need not sync any more.
    let (timer, over_us) = match from {
        ClassicGroupState::PreparingRebalance => (CoordinatorTimer::Join, seen.t_us),
        ClassicGroupState::CompletingRebalance => (CoordinatorTimer::Sync, was.since_us),
        ClassicGroupState::Stable => return stable(seen, group, sink),
        ClassicGroupState::Empty | ClassicGroupState::Dead => return,
    };
    let over = seen.coordinator.over.get(&(group.clone(), timer, None));
    let timed = runs(seen, group, timer, None) || over.is_some_and(|&at_us| over_us <= at_us);
    let wrong = (!timed).then(|| format!("{} had no end", from.name()));
    say(seen, group, wrong, true, sink);
}

/// A classic group was stable until now.
fn stable(seen: &Seen<'_>, group: &StrBytes, sink: &mut Sink) {
    let live = seen.coordinator.live.get(group);
    let members = live.into_iter().flat_map(|it| &it.members);
    // A static member whose place is not committed yet waits for that; its session runs out in vain meanwhile.
    let committed = seen.world.groups.committed(group);
    let committed = committed.and_then(|fold| fold.classic(group));
    let is_in = |id| committed.is_none_or(|stored| stored.members.contains_key(id));
    let known = members.filter(|(id, member)| member.since_us < seen.t_us && is_in(*id));
    let mut watched = false;
    let mut wrong = None;
    for (id, _) in known {
        watched = true;
        if !runs(seen, group, CoordinatorTimer::Session, Some(id)) {
            wrong = wrong.or(Some(format!("member {id} has no session timer")));
        }
    }
    say(seen, group, wrong, watched, sink);
}

fn runs(
    seen: &Seen<'_>,
    group: &StrBytes,
    timer: CoordinatorTimer,
    member: Option<&StrBytes>,
) -> bool {
    let key = (group.clone(), timer, member.cloned());
    seen.coordinator.timers.contains(&key)
}

fn say(seen: &Seen<'_>, group: &StrBytes, wrong: Option<String>, watched: bool, sink: &mut Sink) {
    match wrong {
        None if watched => sink.exercised(),
        None => {}
        Some(_) if seen.coordinator.dropped.contains(group) => sink.excused(NOT_WRITTEN),
        Some(what) => sink.fail(
            Violation::new(format!(
                "group {group} on n{} is not watched as it should be",
                seen.node
            ))
            .fact("for", seen.t_us, what),
        ),
    }
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        classic, committed_to, coordinator, has, joins, loaded, removed, serves, stores,
        subscribes, subscribes_as, text, timer, turns, written,
    };

    fn session(member: &str, runs: bool) -> Note {
        timer(CoordinatorTimer::Session, Some(member), runs)
    }

    fn revocation(member: &str, runs: bool) -> Note {
        timer(CoordinatorTimer::Rebalance, Some(member), runs)
    }

    fn case() -> Case {
        Case::of(make::<MemberTimers>).coordinates(1)
    }

    /// A member joins a consumer group.
    fn joined() -> Case {
        case().notes(
            1,
            [
                subscribes("m1", None),
                has("m1", 1, &[0], &[]),
                written(1, 0),
            ],
        )
    }

    #[test]
    fn a_member_is_watched() {
        joined()
            .notes(1, [session("m1", true), committed_to(1, 1)])
            .end()
            .passes();
        joined()
            .note(1, committed_to(1, 1))
            .end()
            .fails("member m1 has no session timer");
    }

    #[test]
    fn who_has_to_give_up_has_a_time_for_it() {
        let revokes = || {
            let case = joined().notes(1, [session("m1", true), committed_to(1, 1)]);
            case.notes(1, [has("m1", 1, &[], &[0]), written(1, 1)])
        };
        revokes()
            .notes(1, [revocation("m1", true), committed_to(1, 2)])
            .notes(1, [has("m1", 2, &[], &[]), written(1, 2)])
            .notes(1, [revocation("m1", false), committed_to(1, 3)])
            .end()
            .passes();
        revokes()
            .note(1, committed_to(1, 2))
            .end()
            .fails("whenever it likes");
        revokes()
            .notes(1, [revocation("m1", true), committed_to(1, 2)])
            .notes(1, [has("m1", 2, &[], &[]), written(1, 2)])
            .note(1, committed_to(1, 3))
            .end()
            .fails("nothing to give up");
    }

    #[test]
    fn who_is_out_is_not_watched() {
        let out = || {
            let case = joined().notes(1, [session("m1", true), committed_to(1, 1)]);
            case.notes(1, [removed("m1"), written(1, 1)])
        };
        out()
            .notes(1, [session("m1", false), committed_to(1, 2)])
            .end()
            .passes();
        out()
            .note(1, committed_to(1, 2))
            .end()
            .fails("m1 is out and its Session timer runs");
    }

    #[test]
    fn who_joined_can_be_out_before_its_answer_leaves() {
        let out = |classic| {
            let joins = subscribes_as("m1", None, classic);
            let case = case().notes(1, [joins, has("m1", 1, &[0], &[]), written(1, 0)]);
            case.notes(1, [removed("m1"), written(1, 1), committed_to(1, 1)])
                .notes(1, [session("m1", true), committed_to(1, 2)])
        };
        out(true).end().is_excused(ANSWERED_LATE);
        out(false)
            .end()
            .fails("m1 is out and its Session timer runs");
        let earlier = || {
            let joins = subscribes_as("m1", None, true);
            let case = case().notes(1, [joins, has("m1", 1, &[0], &[]), written(1, 0)]);
            case.notes(1, [committed_to(1, 1), session("m1", true)])
        };
        earlier()
            .notes(1, [removed("m1"), written(1, 1), committed_to(1, 2)])
            .end()
            .fails("m1 is out and its Session timer runs");
    }

    #[test]
    fn a_new_coordinator_watches_everybody() {
        let group = || {
            super::super::super::testing::groups::consumer(ConsumerGroupChange::Loaded {
                epoch: 1,
                target_epoch: 1,
            })
        };
        let load = || {
            let case = case().notes(2, [loaded(2, 0, 0), group()]);
            case.notes(2, [subscribes("m1", None), has("m1", 1, &[0], &[])])
        };
        load().note(2, serves(2)).end().fails("no session timer");
        load()
            .notes(2, [session("m1", true), serves(2)])
            .end()
            .passes();
    }

    #[test]
    fn what_could_not_be_written_has_set_its_timers() {
        let dropped = coordinator(1, CoordinatorChange::Dropped);
        joined()
            .notes(1, [session("m1", true), committed_to(1, 1)])
            .notes(1, [removed("m1"), session("m1", false), dropped])
            .notes(
                1,
                [has("m1", 2, &[0], &[]), written(1, 1), committed_to(1, 2)],
            )
            .end()
            .is_excused(NOT_WRITTEN);
    }

    /// A classic group of one member, up to a stable generation.
    fn stable(watched: bool) -> Case {
        let case = case().notes(1, [joins("m1", None), turns(Empty, PreparingRebalance, 0)]);
        let case = match watched {
            true => case.note(1, session("m1", true)),
            false => case,
        };
        case.note(1, timer(CoordinatorTimer::Join, None, true))
            .note(1, turns(PreparingRebalance, CompletingRebalance, 1))
            .note(1, timer(CoordinatorTimer::Join, None, false))
            .note(1, timer(CoordinatorTimer::Sync, None, true))
            .notes(1, [stores(1, &[("m1", &[0])]), written(1, 0)])
            .note(1, timer(CoordinatorTimer::Sync, None, false))
            .note(1, turns(CompletingRebalance, Stable, 1))
    }

    #[test]
    fn a_classic_group_is_watched_while_it_is_stable() {
        let leaves = |watched| {
            let case = stable(watched).note(1, turns(Stable, PreparingRebalance, 1));
            case.end()
        };
        leaves(true).passes();
        leaves(false).fails("member m1 has no session timer");
    }

    #[test]
    fn a_static_member_waits_for_its_place() {
        let replaced = classic(ClassicGroupChange::Replaced {
            instance: text("i"),
            previous: text("m1"),
            member: text("m2"),
        });
        let case = || {
            let case = stable(true).note(1, committed_to(1, 1));
            case.notes(
                1,
                [replaced.clone(), stores(1, &[("m2", &[0])]), written(1, 1)],
            )
        };
        let leaves = |case: Case| case.note(1, turns(Stable, PreparingRebalance, 1)).end();
        leaves(case()).passes();
        leaves(case().note(1, committed_to(1, 2))).fails("member m2 has no session timer");
    }

    #[test]
    fn a_phase_of_a_classic_group_ends() {
        let joined = || case().notes(1, [joins("m1", None), turns(Empty, PreparingRebalance, 0)]);
        let ends = |case: Case| {
            let case = case.note(1, turns(PreparingRebalance, CompletingRebalance, 1));
            case.end()
        };
        let armed = || joined().note(1, timer(CoordinatorTimer::Join, None, true));
        ends(armed()).passes();
        ends(joined()).fails("PreparingRebalance had no end");
        // A timer that fired without an end started no other.
        let fired = armed().note(1, timer(CoordinatorTimer::Join, None, false));
        ends(fired.wait_ms(1)).fails("PreparingRebalance had no end");
    }
}
