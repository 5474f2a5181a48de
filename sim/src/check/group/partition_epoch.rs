//! A partition has one owner in a consumer group: nobody is assigned what another member still has, or
//! has to give up. KIP-848; `ConsumerGroup.addPartitionEpochs`; KAFKA-16147, KAFKA-19862.
//!
//! Judged once a whole decision is appended or loaded: in between, and while a log is read whose older
//! records are gone, two may have it.

use broker_model::note::{CoordinatorChange, Note};
use broker_model::types::{StrBytes, TopicIdPartition};

use super::{Seen, decided, ids, seen};
use crate::check::world::groups::consumer::ConsumerFold;
use crate::check::world::groups::fold::{GroupFold, Step};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct PartitionEpoch;

impl Check for PartitionEpoch {
    fn name(&self) -> &'static str {
        "partition-epoch/GC-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if let Some((seen, _)) = decided(event, world) {
            for step in &seen.moment.steps {
                assigned(&seen, step, sink);
            }
        } else if let Some(seen) = seen(event, world)
            && let Note::Coordinator {
                change: CoordinatorChange::Serving,
                ..
            } = seen.note
        {
            for (id, group) in &seen.coordinator.view.groups {
                if let GroupFold::Consumer(group) = group {
                    let mut held = group.owners.iter();
                    let shared = held.find(|(_, owners)| 1 < owners.len());
                    if let Some((&partition, _)) = shared {
                        fail(&seen, (id, group), partition, sink);
                    }
                }
            }
        }
    }
}

fn assigned(seen: &Seen<'_>, step: &Step, sink: &mut Sink) {
    let Step::Assigned(it) = step else {
        return;
    };
    let Some(group) = seen.coordinator.view.consumer(&it.group) else {
        return;
    };
    let had = |partition: &TopicIdPartition| {
        let before = it.before.as_ref();
        before.is_some_and(|it| it.holds().any(|own| own == *partition))
    };
    let mut gained = false;
    for partition in it.after.holds() {
        let owners = group.owners.get(&partition);
        if owners.is_some_and(|owners| owners.contains(&it.id) && 1 < owners.len()) {
            return fail(seen, (&it.group, group), partition, sink);
        }
        gained |= !had(&partition);
    }
    if gained && 1 < group.members.len() {
        sink.exercised();
    }
}

fn fail(
    seen: &Seen<'_>,
    (id, group): (&StrBytes, &ConsumerFold),
    partition: TopicIdPartition,
    sink: &mut Sink,
) {
    let name = seen.name(partition);
    let owners = group.owners.get(&partition);
    let mut violation = Violation::new(format!(
        "{name} has owners {} in group {id}, as n{} decided",
        owners.map(ids).unwrap_or_default(),
        seen.node
    ));
    for (id, member) in owners.into_iter().flatten().filter_map(|id| {
        let member = group.members.get(id)?;
        Some((id, member))
    }) {
        let how = match member.assigned.contains(&partition) {
            true => "has it",
            false => "has to give it up",
        };
        violation = violation.fact(id, seen.t_us, format!("in epoch {} {how}", member.epoch));
    }
    sink.fail(violation);
}

#[cfg(test)]
mod tests {
    use broker_model::note::ConsumerGroupChange;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        consumer, has, loaded, removed, replaces, reports, serves, subscribes, written,
    };

    /// Two members, of which the first has everything.
    fn case() -> Case {
        let case = Case::of(make::<PartitionEpoch>).coordinates(1);
        case.notes(1, [subscribes("m1", None), has("m1", 1, &[0, 1], &[])])
            .notes(1, [subscribes("m2", None), has("m2", 1, &[], &[])])
            .note(1, written(1, 0))
    }

    #[test]
    fn what_another_member_has_is_not_assigned() {
        case()
            .notes(1, [has("m2", 2, &[1], &[]), written(1, 1)])
            .end()
            .fails("has owners [m1, m2]");
    }

    #[test]
    fn what_another_member_has_to_give_up_is_not_assigned() {
        case()
            .notes(1, [has("m1", 1, &[0], &[1]), written(1, 1)])
            .notes(1, [has("m2", 2, &[1], &[]), written(1, 2)])
            .end()
            .fails("m1");
    }

    #[test]
    fn what_was_given_up_is_free() {
        case()
            .notes(1, [has("m1", 1, &[0], &[1]), written(1, 1)])
            .notes(1, [reports("m1", &[0]), has("m1", 2, &[0], &[])])
            .note(1, written(1, 2))
            .notes(1, [has("m2", 2, &[1], &[]), written(1, 3)])
            .end()
            .passes();
    }

    #[test]
    fn what_was_to_be_given_up_and_is_assigned_again_is_kept() {
        case()
            .notes(1, [has("m1", 1, &[0], &[1]), written(1, 1)])
            .notes(1, [has("m1", 2, &[0, 1], &[]), written(1, 2)])
            .notes(1, [has("m2", 2, &[1], &[]), written(1, 3)])
            .end()
            .fails("has owners [m1, m2]");
    }

    #[test]
    fn who_is_gone_or_replaced_owns_nothing() {
        case()
            .notes(1, [removed("m1"), written(1, 1)])
            .notes(1, [has("m2", 2, &[0, 1], &[]), written(1, 2)])
            .end()
            .passes();
        case()
            .notes(1, [replaces("m1", "m3"), subscribes("m3", Some("i"))])
            .notes(1, [has("m3", 1, &[0, 1], &[]), written(1, 1)])
            .end()
            .passes();
    }

    #[test]
    fn a_decision_that_was_dropped_counts_for_nothing() {
        use crate::check::testing::groups::coordinator;
        let dropped = coordinator(1, CoordinatorChange::Dropped);
        case()
            .notes(1, [has("m2", 2, &[1], &[]), dropped])
            .notes(1, [has("m2", 2, &[2], &[]), written(1, 1)])
            .end()
            .passes();
    }

    #[test]
    fn two_owners_that_were_loaded_are_found() {
        let group = consumer(ConsumerGroupChange::Loaded {
            epoch: 1,
            target_epoch: 1,
        });
        case()
            .notes(2, [loaded(2, 1, 0), group])
            .notes(2, [subscribes("m1", None), has("m1", 1, &[0], &[])])
            .notes(2, [subscribes("m2", None), has("m2", 1, &[0], &[])])
            .note(2, serves(2))
            .end()
            .fails("has owners [m1, m2]");
    }
}
