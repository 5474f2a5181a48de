//! A new target gives each partition that somebody reads to exactly one member, and to one that reads
//! it. KIP-848; `TargetAssignmentBuilder`, `UniformAssignor`, `RangeAssignor`.
//!
//! A group that was a classic one a moment ago has what its leader assigned: the first target of its own
//! is judged.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::{StrBytes, TopicIdPartition};

use super::{Seen, decided};
use crate::check::world::groups::consumer::ConsumerFold;
use crate::check::world::groups::fold::Step;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct TargetAssignment;

impl Check for TargetAssignment {
    fn name(&self) -> &'static str {
        "target-assignment/GC-2"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((seen, _)) = decided(event, world) else {
            return;
        };
        for step in &seen.moment.steps {
            let Step::Target { group, after, .. } = step else {
                continue;
            };
            let Some(known) = seen.coordinator.view.consumer(group) else {
                continue;
            };
            let upgraded = seen.moment.upgraded.as_ref();
            let inherited = upgraded
                .filter(|(upgraded, _)| upgraded == group)
                .is_some_and(|(_, live)| live.generation == *after);
            if inherited || *after != known.target_epoch {
                continue;
            }
            match wrong(&seen, known) {
                Ok(0) => {}
                Ok(_) => sink.exercised(),
                Err(what) => sink.fail(
                    Violation::new(format!(
                        "the target of group {group} on n{} is not one",
                        seen.node
                    ))
                    .fact("epoch", seen.t_us, after.to_string())
                    .fact("target", seen.t_us, say(&seen, known))
                    .fact("but", seen.t_us, what),
                ),
            }
        }
    }
}

/// What is wrong with a target, or how many partitions it gives away.
fn wrong(seen: &Seen<'_>, group: &ConsumerFold) -> Result<usize, String> {
    let topics = &seen.world.groups.topics;
    let reads: BTreeMap<&StrBytes, BTreeSet<_>> = group
        .members
        .iter()
        .map(|(id, member)| {
            let names = group.reads(member);
            let ids = names.filter_map(|name| topics.known(seen.node, name));
            (id, ids.collect())
        })
        .collect();
    let mut given: BTreeMap<TopicIdPartition, &StrBytes> = BTreeMap::new();
    for (id, partitions) in &group.target {
        let Some(reads) = reads.get(id) else {
            return Err(format!("{id} is no member"));
        };
        for &partition in partitions {
            if let Some(other) = given.insert(partition, id) {
                let name = seen.name(partition);
                return Err(format!("{name} is given to {other} and {id}"));
            }
            if !reads.contains(&partition.topic) && !topics.is_unheard_of(partition.topic) {
                return Err(format!("{id} does not read {}", seen.name(partition)));
            }
        }
    }
    let wanted: BTreeSet<_> = reads.values().flatten().copied().collect();
    for topic in wanted {
        for partition in topics.partitions(seen.node, topic) {
            if !given.contains_key(&partition) {
                return Err(format!("nobody gets {}", seen.name(partition)));
            }
        }
    }
    Ok(given.len())
}

fn say(seen: &Seen<'_>, group: &ConsumerFold) -> String {
    let of = |(id, partitions): (&StrBytes, &BTreeSet<TopicIdPartition>)| {
        format!("{id} {}", seen.list(partitions))
    };
    let members: Vec<String> = group.target.iter().map(of).collect();
    members.join(", ")
}

#[cfg(test)]
mod tests {
    use broker_model::note::ConsumerGroupChange;

    use super::*;
    use crate::check::make;
    use crate::check::testing::groups::{
        consumer, epoch, removed, subscribes, target, target_epoch, text, written,
    };
    use crate::check::testing::{Case, Found};

    /// Two members of a topic with three partitions.
    fn case() -> Case {
        Case::of(make::<TargetAssignment>)
            .reads(3)
            .coordinates(1)
            .notes(1, [subscribes("m1", None), subscribes("m2", None)])
            .note(1, written(1, 0))
    }

    fn aims(case: Case, m1: &[i32], m2: &[i32]) -> Found {
        case.notes(1, [epoch(1), target("m1", m1), target("m2", m2)])
            .notes(1, [target_epoch(1), written(1, 1)])
            .end()
    }

    #[test]
    fn each_partition_goes_to_one_member() {
        aims(case(), &[0, 2], &[1]).passes();
        aims(case(), &[0, 1, 2], &[]).passes();
        aims(case(), &[0, 1], &[1, 2]).fails("is given to m1 and m2");
        aims(case(), &[0], &[1]).fails("nobody gets reads-2");
    }

    #[test]
    fn who_does_not_read_a_topic_gets_nothing_of_it() {
        let reads_nothing = || {
            consumer(ConsumerGroupChange::Subscribed {
                member: text("m2"),
                instance: None,
                topics: [text("others")].into(),
                regex: None,
                classic: false,
            })
        };
        let case = || case().notes(1, [reads_nothing(), written(1, 1)]);
        aims(case(), &[0, 1], &[2]).fails("m2 does not read reads-2");
        aims(case(), &[0, 1, 2], &[]).passes();
    }

    #[test]
    fn an_expression_counts_once_it_is_resolved() {
        let by_regex = || {
            consumer(ConsumerGroupChange::Subscribed {
                member: text("m2"),
                instance: None,
                topics: BTreeSet::new(),
                regex: Some(text("r.*")),
                classic: false,
            })
        };
        let resolved = consumer(ConsumerGroupChange::Resolved {
            regex: text("r.*"),
            topics: [text("reads")].into(),
        });
        let unresolved = case().notes(1, [by_regex(), written(1, 1)]);
        aims(unresolved, &[0, 1], &[2]).fails("m2 does not read reads-2");
        let case = case().notes(1, [by_regex(), resolved, written(1, 1)]);
        aims(case, &[0, 1], &[2]).passes();
    }

    #[test]
    fn who_is_gone_is_given_nothing() {
        let case = case().notes(1, [removed("m2"), written(1, 1)]);
        aims(case, &[0, 1], &[2]).fails("m2 is no member");
    }

    #[test]
    fn what_a_broker_does_not_know_yet_is_not_asked_for() {
        let case = Case::of(make::<TargetAssignment>)
            .coordinates(1)
            .notes(1, [subscribes("m1", None), subscribes("m2", None)]);
        aims(case.note(1, written(1, 0)), &[0], &[1]).passes();
    }
}
