//! A stable group is one in which everybody has what it shall have. Consumer protocol: every member is in
//! the group's epoch, has its target and nothing to give up (KIP-848; `ConsumerGroup`). Classic protocol:
//! the assignment of this generation is there, for exactly its members.
//!
//! Of its target a member lacks what it no longer reads, and what no longer exists.

use std::collections::BTreeSet;

use broker_model::note::{ClassicGroupChange, ClassicGroupState, Note};
use broker_model::types::StrBytes;

use super::{Seen, decided, ids, seen};
use crate::check::world::groups::consumer::{ConsumerFold, Member};
use crate::check::world::groups::fold::Step;
use crate::check::world::groups::live::Live;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StableGroup;

impl Check for StableGroup {
    fn name(&self) -> &'static str {
        "stable-group/GC-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator, Kind::ClassicGroup]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if let Some((seen, _)) = decided(event, world) {
            let changed = seen.moment.steps.iter().filter(|step| {
                matches!(
                    step,
                    Step::Assigned(_) | Step::Target { .. } | Step::Members { .. }
                )
            });
            let groups: BTreeSet<&StrBytes> = changed.map(Step::group).collect();
            for id in groups {
                if let Some(group) = seen.coordinator.view.consumer(id) {
                    consumer(&seen, id, group, sink);
                }
            }
        } else if let Some(seen) = seen(event, world)
            && let Note::ClassicGroup {
                group,
                change:
                    ClassicGroupChange::State {
                        to: ClassicGroupState::Stable,
                        ..
                    },
                ..
            } = seen.note
            && let Some(live) = seen.coordinator.live.get(group)
        {
            classic(&seen, group, live, sink);
        }
    }
}

fn consumer(seen: &Seen<'_>, id: &StrBytes, group: &ConsumerFold, sink: &mut Sink) {
    if !group.is_stable() {
        return;
    }
    let nothing = BTreeSet::new();
    for (member, known) in &group.members {
        let target = group.target.get(member).unwrap_or(&nothing);
        let lacks = target
            .difference(&known.assigned)
            .find(|partition| reads(seen, group, known, partition.topic));
        let foreign = known.assigned.difference(target).next();
        let right = known.epoch == group.epoch
            && known.pending.is_empty()
            && lacks.is_none()
            && foreign.is_none();
        if !right {
            sink.fail(
                Violation::new(format!(
                    "group {id} on n{} is stable and {member} has not what it shall have",
                    seen.node
                ))
                .fact(
                    "has",
                    seen.t_us,
                    format!(
                        "{} in epoch {}, to give up {}",
                        seen.list(&known.assigned),
                        known.epoch,
                        seen.list(&known.pending)
                    ),
                )
                .fact(
                    "shall have",
                    seen.t_us,
                    format!("{} in epoch {}", seen.list(target), group.epoch),
                ),
            );
            return;
        }
    }
    if group.target.values().any(|target| !target.is_empty()) {
        sink.exercised();
    }
}

/// Whether the member reads that topic, and the broker knows it.
fn reads(
    seen: &Seen<'_>,
    group: &ConsumerFold,
    member: &Member,
    topic: broker_model::types::Uuid,
) -> bool {
    let topics = &seen.world.groups.topics;
    let name = topics.name(seen.node, topic);
    name.is_some_and(|name| group.reads(member).any(|own| own == name))
}

fn classic(seen: &Seen<'_>, id: &StrBytes, live: &Live, sink: &mut Sink) {
    let assigned = live.assigned.as_ref();
    let fits = assigned.is_some_and(|(generation, members)| {
        *generation == live.generation && members.iter().eq(live.members.keys())
    });
    if fits {
        sink.exercised();
        return;
    }
    sink.fail(
        Violation::new(format!(
            "group {id} on n{} is stable without an assignment for its members",
            seen.node
        ))
        .fact(
            "members",
            seen.t_us,
            format!(
                "{} in generation {}",
                ids(live.members.keys()),
                live.generation
            ),
        )
        .fact(
            "assigned",
            seen.t_us,
            match assigned {
                Some((generation, members)) => {
                    format!("{} in generation {generation}", ids(members))
                }
                None => "nobody".to_owned(),
            },
        ),
    );
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    use broker_model::note::ConsumerGroupChange;

    use super::*;
    use crate::check::make;
    use crate::check::testing::groups::{
        epoch, hands_out, has, joins, subscribes, target, target_epoch, text, turns, written,
    };
    use crate::check::testing::{Case, Found};

    /// One member with a target of two partitions has these.
    fn ends_with(ns: &[i32], pending: &[i32]) -> Found {
        Case::of(make::<StableGroup>)
            .reads(2)
            .coordinates(1)
            .notes(1, [subscribes("m1", None), epoch(1), target("m1", &[0, 1])])
            .notes(1, [target_epoch(1), has("m1", 1, ns, pending)])
            .note(1, written(1, 0))
            .end()
    }

    #[test]
    fn who_is_stable_has_all_that_it_shall_have() {
        ends_with(&[0, 1], &[]).passes();
        ends_with(&[0], &[]).fails("m1 has not what it shall have");
        ends_with(&[0, 1, 2], &[]).fails("m1 has not what it shall have");
        // Not stable.
        ends_with(&[0], &[1]).is_silent();
    }

    #[test]
    fn who_reads_a_topic_no_longer_lacks_nothing_of_it() {
        let left = crate::check::testing::groups::consumer(ConsumerGroupChange::Subscribed {
            member: text("m1"),
            instance: None,
            topics: BTreeSet::new(),
            regex: Some(text("r.*")),
            classic: false,
        });
        Case::of(make::<StableGroup>)
            .reads(2)
            .coordinates(1)
            .notes(1, [subscribes("m1", None), epoch(1), target("m1", &[0, 1])])
            .notes(1, [target_epoch(1), has("m1", 1, &[0, 1], &[])])
            .note(1, written(1, 0))
            .notes(1, [left, has("m1", 1, &[], &[]), written(1, 1)])
            .end()
            .passes();
    }

    #[test]
    fn a_classic_group_is_stable_with_the_assignment_of_its_generation() {
        let stable = |generation, members: &[(&str, &[i32])]| {
            Case::of(make::<StableGroup>)
                .coordinates(1)
                .notes(1, [joins("m1", None), joins("m2", None)])
                .notes(1, [turns(Empty, PreparingRebalance, 0)])
                .notes(1, [turns(PreparingRebalance, CompletingRebalance, 1)])
                .note(1, hands_out(generation, members))
                .notes(1, [turns(CompletingRebalance, Stable, 1)])
                .end()
        };
        stable(1, &[("m1", &[0]), ("m2", &[])]).passes();
        stable(1, &[("m1", &[0])]).fails("without an assignment");
        stable(0, &[("m1", &[0]), ("m2", &[])]).fails("without an assignment");
    }
}
