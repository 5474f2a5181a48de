//! A member's epoch never falls, and is at most its target's, which is at most the group's. It gives up
//! nothing that it does not say that it gave up, and stays in its epoch until it did. At its target's
//! epoch it has nothing that the target gives to others. KIP-848; `CurrentAssignmentBuilder`;
//! ValidMemberEpoch.
//!
//! A static member that is away (epoch -2) or replaced starts anew.

use broker_model::note::ConsumerMemberState;
use broker_model::types::TopicIdPartition;

use super::{Seen, decided};
use crate::check::world::groups::consumer::{AWAY, ConsumerFold, Reassigned};
use crate::check::world::groups::fold::Step;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct MemberEpoch;

impl Check for MemberEpoch {
    fn name(&self) -> &'static str {
        "member-epoch/GC-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((seen, _)) = decided(event, world) else {
            return;
        };
        for step in &seen.moment.steps {
            match step {
                Step::Assigned(it) => {
                    if let Some(group) = seen.coordinator.view.consumer(&it.group) {
                        match wrong(&seen, group, it) {
                            Some(what) => fail(&seen, group, it, &what, sink),
                            None if moved(it) => sink.exercised(),
                            None => {}
                        }
                    }
                }
                Step::Target {
                    group,
                    before,
                    after,
                } => {
                    let known = seen.coordinator.view.consumer(group);
                    let epoch = known.map_or(*after, |it| it.epoch);
                    if after < before || epoch < *after {
                        let headline = format!(
                            "the target of group {group} on n{} has no right epoch",
                            seen.node
                        );
                        let is = format!("{after} and the group's {epoch}");
                        let violation = Violation::new(headline)
                            .fact("was", seen.t_us, before.to_string())
                            .fact("is", seen.t_us, is);
                        sink.fail(violation);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether its epoch rose, or what it has changed.
fn moved(it: &Reassigned) -> bool {
    let before = it.before.as_ref();
    before
        .is_some_and(|before| before.epoch != it.after.epoch || before.holds().ne(it.after.holds()))
}

fn wrong(seen: &Seen<'_>, group: &ConsumerFold, it: &Reassigned) -> Option<String> {
    let after = &it.after;
    if let Some(both) = after.assigned.intersection(&after.pending).next() {
        return Some(format!(
            "{} is both to keep and to give up",
            seen.name(*both)
        ));
    }
    if after.epoch == AWAY {
        let is_static = after.instance.is_some();
        return (!is_static).then(|| "it is away and not static".to_owned());
    }
    let revoking = after.state == ConsumerMemberState::UnrevokedPartitions;
    if after.epoch < 0 || group.target_epoch < after.epoch {
        return Some(format!(
            "it is beyond the target's epoch {}",
            group.target_epoch
        ));
    }
    if !starts_anew(it) && revoking == after.pending.is_empty() {
        return Some("its state is not that of what it has to give up".to_owned());
    }
    let target = group.target.get(&it.id);
    let foreign =
        |partition: &&TopicIdPartition| target.is_none_or(|own| !own.contains(*partition));
    if after.epoch == group.target_epoch
        && let Some(foreign) = after.assigned.iter().find(foreign)
    {
        let name = seen.name(*foreign);
        return Some(format!("{name} is none of what it shall have"));
    }
    let before = it.before.as_ref()?;
    if starts_anew(it) {
        return None;
    }
    if after.epoch < before.epoch {
        return Some("its epoch fell".to_owned());
    }
    if revoking && after.epoch != before.epoch {
        return Some("its epoch rose before it gave up what it has to".to_owned());
    }
    let mut lost = before
        .holds()
        .filter(|had| after.holds().all(|own| own != *had));
    let owned = |partition: &TopicIdPartition| {
        let said = it.reported.as_ref();
        said.is_none_or(|said| said.contains(partition))
    };
    let taken = lost.find(owned)?;
    let how = match it.reported {
        Some(_) => "says that it has it",
        None => "did not say that it gave it up",
    };
    Some(format!(
        "{} was taken from it, and it {how}",
        seen.name(taken)
    ))
}

/// Whether it is a static member that comes back.
fn starts_anew(it: &Reassigned) -> bool {
    let before = it.before.as_ref();
    let away = before.is_some_and(|before| before.epoch == AWAY);
    it.after.instance.is_some() && (away || it.after.epoch == 0)
}

fn fail(seen: &Seen<'_>, group: &ConsumerFold, it: &Reassigned, what: &str, sink: &mut Sink) {
    let say = |member: &crate::check::world::groups::consumer::Member| {
        let (epoch, state) = (member.epoch, member.state);
        let (has, pending) = (seen.list(&member.assigned), seen.list(&member.pending));
        format!("epoch {epoch} {state:?} {has}, to give up {pending}")
    };
    let nothing = Default::default();
    let target = group.target.get(&it.id).unwrap_or(&nothing);
    let mut violation = Violation::new(format!(
        "member {} of group {} made a wrong step on n{}: {what}",
        it.id, it.group, seen.node
    ));
    if let Some(before) = &it.before {
        violation = violation.fact("was", seen.t_us, say(before));
    }
    if let Some(reported) = &it.reported {
        violation = violation.fact("said", seen.t_us, seen.list(reported));
    }
    sink.fail(violation.fact("is", seen.t_us, say(&it.after)).fact(
        "shall have",
        seen.t_us,
        format!(
            "{} in epoch {} of {}",
            seen.list(target),
            group.target_epoch,
            group.epoch
        ),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        epoch, has, reports, subscribes, target, target_epoch, written,
    };

    /// One member with two partitions in epoch 3; the target of epoch 4 leaves it one.
    fn case() -> Case {
        let case = Case::of(make::<MemberEpoch>).coordinates(1);
        case.notes(1, [subscribes("m1", Some("i")), epoch(3)])
            .notes(1, [target("m1", &[0, 1]), target_epoch(3)])
            .notes(1, [has("m1", 3, &[0, 1], &[]), written(1, 0)])
            .notes(1, [epoch(4), target("m1", &[0]), target_epoch(4)])
            .note(1, written(1, 1))
    }

    #[test]
    fn a_member_gives_up_and_then_goes_on() {
        case()
            .notes(1, [has("m1", 3, &[0], &[1]), written(1, 2)])
            .notes(1, [reports("m1", &[0]), has("m1", 4, &[0], &[])])
            .note(1, written(1, 3))
            .end()
            .passes();
    }

    #[test]
    fn going_on_before_everything_is_given_up_is_found() {
        case()
            .notes(1, [has("m1", 3, &[0], &[1]), written(1, 2)])
            .notes(1, [has("m1", 4, &[0], &[]), written(1, 3)])
            .end()
            .fails("did not say that it gave it up");
        case()
            .notes(1, [has("m1", 3, &[0], &[1]), written(1, 2)])
            .notes(1, [reports("m1", &[0, 1]), has("m1", 4, &[0], &[])])
            .note(1, written(1, 3))
            .end()
            .fails("says that it has it");
        case()
            .notes(1, [has("m1", 4, &[0], &[1]), written(1, 2)])
            .end()
            .fails("its epoch rose before");
    }

    #[test]
    fn an_epoch_that_falls_or_is_beyond_the_target_is_found() {
        case()
            .notes(1, [has("m1", 2, &[0, 1], &[]), written(1, 2)])
            .end()
            .fails("its epoch fell");
        case()
            .notes(1, [has("m1", 5, &[0], &[]), written(1, 2)])
            .end()
            .fails("beyond the target's epoch 4");
    }

    #[test]
    fn what_the_target_does_not_give_is_not_assigned() {
        case()
            .notes(1, [has("m1", 4, &[0, 1], &[]), written(1, 2)])
            .end()
            .fails("reads-1 is none of what it shall have".trim_start_matches("reads-1 "));
    }

    #[test]
    fn a_static_member_that_was_away_starts_anew() {
        case()
            .notes(1, [has("m1", AWAY, &[0, 1], &[]), written(1, 2)])
            .notes(1, [has("m1", 0, &[0, 1], &[]), has("m1", 4, &[0], &[])])
            .note(1, written(1, 3))
            .end()
            .fails("did not say");
        case()
            .notes(1, [has("m1", AWAY, &[0, 1], &[]), written(1, 2)])
            .notes(1, [reports("m1", &[]), has("m1", 0, &[0, 1], &[])])
            .notes(1, [has("m1", 4, &[0], &[]), written(1, 3)])
            .end()
            .passes();
    }

    #[test]
    fn a_target_of_a_later_epoch_than_the_groups_is_found() {
        case()
            .notes(1, [target_epoch(5), written(1, 2)])
            .end()
            .fails("no right epoch");
        case()
            .notes(1, [target_epoch(3), written(1, 2)])
            .end()
            .fails("no right epoch");
    }
}
