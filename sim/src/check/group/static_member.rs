//! A `group.instance.id` has one member. A newer one takes its place, and the id that it had counts for
//! nothing from then on. KIP-345; `ClassicGroup.replaceStaticMember`, `ConsumerGroup.staticMember`.
//!
//! If the replacement could not be written, the old id takes its place back. Once a member was told its
//! part under its new id, the next coordinator knows that id too (KAFKA-10284).

use std::collections::BTreeMap;

use broker_model::note::{ClassicGroupChange, CoordinatorChange, Note, OffsetsChange};
use broker_model::types::StrBytes;

use super::{Seen, decided, seen};
use crate::check::world::groups::consumer::ConsumerFold;
use crate::check::world::groups::coordinator::DEPOSED;
use crate::check::world::groups::fold::Step;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{Body, Ev};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StaticMember {
    /// The ids of an instance of a classic group, by offsets partition, group and instance, in the order in which
    /// they first had it.
    ids: BTreeMap<(i32, StrBytes, StrBytes), Vec<StrBytes>>,
    /// By group and id, in which generation a member was last told its part.
    told: BTreeMap<(String, String), i32>,
}

impl Check for StaticMember {
    fn name(&self) -> &'static str {
        "static-member/GC-11"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::Coordinator,
            Kind::ClassicGroup,
            Kind::Offsets,
            Kind::ClientEvent,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if let Fact::History(line) = event.fact {
            self.hear(&line.b);
        } else if let Some((seen, _)) = decided(event, world) {
            let mut judged: Option<&StrBytes> = None;
            for step in &seen.moment.steps {
                if !matches!(step, Step::Members { .. } | Step::Assigned(_))
                    || judged == Some(step.group())
                {
                    continue;
                }
                judged = Some(step.group());
                if let Some(group) = seen.coordinator.view.consumer(step.group()) {
                    consumer(&seen, step.group(), group, sink);
                }
            }
        } else if let Some(seen) = seen(event, world) {
            match seen.note {
                Note::ClassicGroup { group, change, .. } => {
                    self.learn(seen.moment.at, group, change);
                    classic(&seen, group, change, sink);
                }
                Note::Coordinator {
                    change: CoordinatorChange::Serving,
                    ..
                } => self.serving(&seen, sink),
                Note::Offsets {
                    group,
                    change: OffsetsChange::Accepted { member, .. },
                    ..
                } => accepted(&seen, group, member, sink),
                _ => {}
            }
        }
    }
}

impl StaticMember {
    fn hear(&mut self, line: &Body) {
        if let Body::Ev {
            ev: Ev::Assigned {
                g, mid, generation, ..
            },
            ..
        } = line
        {
            self.told.insert((g.clone(), mid.clone()), *generation);
        }
    }

    fn learn(&mut self, at: i32, group: &StrBytes, change: &ClassicGroupChange) {
        let mut learn = |instance: &StrBytes, ids: &[&StrBytes]| {
            let key = (at, group.clone(), instance.clone());
            let known = self.ids.entry(key).or_default();
            for &id in ids {
                if !known.contains(id) {
                    known.push(id.clone());
                }
            }
        };
        match change {
            ClassicGroupChange::Joined {
                member,
                instance: Some(instance),
            } => learn(instance, &[member]),
            ClassicGroupChange::Replaced {
                instance,
                previous,
                member,
            } => learn(instance, &[previous, member]),
            ClassicGroupChange::Loaded { members, .. } => {
                for (member, instance) in members {
                    if let Some(instance) = instance {
                        learn(instance, &[member]);
                    }
                }
            }
            _ => {}
        }
    }

    /// A coordinator has loaded its groups. In the generation in which an id was told its part, no older id has the
    /// instance any more.
    fn serving(&mut self, seen: &Seen<'_>, sink: &mut Sink) {
        let Some(load) = &seen.moment.load else {
            return;
        };
        let at = seen.moment.at;
        for ((_, group, instance), ids) in self.ids.iter().filter(|((of, ..), _)| *of == at) {
            let Some(stored) = seen.coordinator.view.classic(group) else {
                continue;
            };
            let mut members = stored.members.iter();
            let loaded = members.find(|(_, (own, _))| own.as_ref() == Some(instance));
            let Some((loaded, _)) = loaded else {
                continue;
            };
            let told = |id: &StrBytes| {
                let told = self.told.get(&(group.to_string(), id.to_string()));
                told == Some(&stored.generation)
            };
            let rank = ids.iter().position(|id| id == loaded);
            let newest = ids.iter().rposition(told);
            let (Some(rank), Some(newest)) = (rank, newest) else {
                continue;
            };
            if newest <= rank {
                if rank > 0 {
                    sink.exercised();
                }
            } else if let Some(excuse) = load.excuse {
                sink.excused(excuse);
            } else {
                sink.fail(
                    Violation::new(format!(
                        "n{} loaded a member of group {group} that was replaced",
                        seen.node
                    ))
                    .fact("instance", seen.t_us, &**instance)
                    .fact("loaded", seen.t_us, &**loaded)
                    .fact(
                        "is",
                        seen.t_us,
                        format!(
                            "{}, which was told its part in generation {}",
                            &*ids[newest], stored.generation
                        ),
                    ),
                );
            }
        }
        // What was told before may be in no log any more.
        if load.excuse.is_some_and(|excuse| excuse != DEPOSED) {
            self.ids.retain(|(of, ..), _| *of != at);
        }
    }
}

fn consumer(seen: &Seen<'_>, id: &StrBytes, group: &ConsumerFold, sink: &mut Sink) {
    let mut holders: BTreeMap<&StrBytes, &StrBytes> = BTreeMap::new();
    for (member, known) in &group.members {
        let Some(instance) = &known.instance else {
            continue;
        };
        if let Some(other) = holders.insert(instance, member) {
            return two(seen, id, instance, (other, member), sink);
        }
        if group.fenced.contains_key(member) {
            return fenced(seen, id, member, "is a member again", sink);
        }
    }
    let replaced = group.fenced.values().any(|it| holders.contains_key(it));
    if replaced {
        sink.exercised();
    }
}

fn classic(seen: &Seen<'_>, id: &StrBytes, change: &ClassicGroupChange, sink: &mut Sink) {
    let holder = seen.moment.was.as_ref().and_then(|was| was.holder.as_ref());
    match change {
        ClassicGroupChange::Joined {
            member,
            instance: Some(instance),
        } => {
            if let Some(holder) = holder {
                two(seen, id, instance, (holder, member), sink);
            }
        }
        ClassicGroupChange::Replaced {
            instance,
            previous,
            member,
        } => {
            if holder == Some(previous) {
                sink.exercised();
                return;
            }
            let holder = holder.map_or("nobody", |holder| holder);
            sink.fail(
                Violation::new(format!(
                    "{member} took the place of {previous} in group {id} on n{}, which it did not have",
                    seen.node
                ))
                .fact("instance", seen.t_us, &**instance)
                .fact("is", seen.t_us, holder),
            );
        }
        _ => {}
    }
}

/// Offsets were accepted from that member.
fn accepted(seen: &Seen<'_>, group: &StrBytes, member: &StrBytes, sink: &mut Sink) {
    let live = seen.coordinator.live.get(group);
    let known = seen.coordinator.view.consumer(group);
    let is_fenced = live.is_some_and(|it| it.fenced.contains_key(member))
        || known.is_some_and(|it| it.fenced.contains_key(member));
    if is_fenced {
        fenced(seen, group, member, "committed offsets", sink);
    }
}

fn two(
    seen: &Seen<'_>,
    group: &StrBytes,
    instance: &StrBytes,
    (one, another): (&StrBytes, &StrBytes),
    sink: &mut Sink,
) {
    sink.fail(
        Violation::new(format!(
            "two members of group {group} on n{} are {instance}",
            seen.node
        ))
        .fact("one", seen.t_us, &**one)
        .fact("another", seen.t_us, &**another),
    );
}

fn fenced(seen: &Seen<'_>, group: &StrBytes, member: &StrBytes, what: &str, sink: &mut Sink) {
    sink.fail(
        Violation::new(format!(
            "{member} was replaced in group {group} on n{}, and goes on",
            seen.node
        ))
        .fact("it", seen.t_us, what),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        accepted, classic, embedded, has, joins, loaded, removed, replaces, serves, subscribes,
        text, written,
    };

    fn case() -> Case {
        Case::of(make::<StaticMember>).coordinates(1)
    }

    fn replaced(previous: &str, member: &str) -> Note {
        classic(ClassicGroupChange::Replaced {
            instance: text("i"),
            previous: text(previous),
            member: text(member),
        })
    }

    #[test]
    fn an_instance_joins_a_classic_group_once() {
        case()
            .notes(1, [joins("m1", Some("i")), joins("m2", Some("i"))])
            .end()
            .fails("two members of group g on n1 are i");
        case()
            .notes(1, [joins("m1", Some("i")), replaced("m1", "m2")])
            .end()
            .passes();
        case()
            .notes(1, [joins("m1", Some("i")), replaced("m3", "m2")])
            .end()
            .fails("which it did not have");
    }

    #[test]
    fn who_was_replaced_commits_nothing() {
        case()
            .notes(1, [joins("m1", Some("i")), replaced("m1", "m2")])
            .note(1, accepted("m1", 1, 5))
            .end()
            .fails("m1 was replaced");
        case()
            .notes(1, [joins("m1", Some("i")), replaced("m1", "m2")])
            .note(1, accepted("m2", 1, 5))
            .end()
            .passes();
        // The replacement could not be written.
        case()
            .notes(1, [joins("m1", Some("i")), replaced("m1", "m2")])
            .notes(1, [replaced("m2", "m1"), accepted("m1", 1, 5)])
            .end()
            .passes();
    }

    #[test]
    fn the_next_coordinator_knows_who_replaced_whom() {
        let stored = |id: &str| {
            classic(ClassicGroupChange::Stored {
                generation: 1,
                members: vec![(text(id), Some(text("i")), embedded(&[0]))],
            })
        };
        let loads = |id: &str| {
            classic(ClassicGroupChange::Loaded {
                state: broker_model::note::ClassicGroupState::Stable,
                generation: 1,
                members: vec![(text(id), Some(text("i")))],
                topics: None,
            })
        };
        let case = || {
            case()
                .part_reads(0)
                .notes(1, [joins("m1", Some("i")), stored("m1"), written(1, 0)])
                .gets(10, "m1", 1, &[0])
                .note(1, replaced("m1", "m2"))
        };
        let next = |case: Case, id: &str, log_end| {
            let case = case.notes(2, [loaded(2, log_end, log_end), loads(id), serves(2)]);
            case.end()
        };
        // Nobody was told of the replacement.
        next(case(), "m1", 1).passes();
        let told = || case().gets(10, "m2", 1, &[0]);
        next(told(), "m1", 1).fails("that was replaced");
        let written = || case().notes(1, [stored("m2"), written(1, 1)]);
        next(written().gets(10, "m2", 1, &[0]), "m2", 2).passes();
        // Another generation says nothing of this one.
        next(case().gets(10, "m2", 2, &[0]), "m1", 1).passes();
    }

    #[test]
    fn an_instance_is_in_a_consumer_group_once() {
        let joined = |id: &str| [subscribes(id, Some("i")), has(id, 1, &[], &[])];
        case()
            .notes(1, joined("m1"))
            .notes(1, joined("m2"))
            .note(1, written(1, 0))
            .end()
            .fails("two members of group g on n1 are i");
        case()
            .notes(1, joined("m1"))
            .note(1, written(1, 0))
            .note(1, replaces("m1", "m2"))
            .notes(1, joined("m2"))
            .note(1, written(1, 1))
            .end()
            .passes();
    }

    #[test]
    fn who_was_replaced_comes_back_only_when_its_successor_is_gone() {
        let joined = |id: &str| [subscribes(id, Some("i")), has(id, 1, &[], &[])];
        let case = || {
            case()
                .notes(1, joined("m1"))
                .note(1, written(1, 0))
                .note(1, replaces("m1", "m2"))
                .notes(1, joined("m2"))
                .note(1, written(1, 1))
        };
        case()
            .notes(1, [subscribes("m1", Some("j")), has("m1", 1, &[], &[])])
            .note(1, written(1, 2))
            .end()
            .fails("m1 was replaced");
        case()
            .notes(1, [removed("m2"), written(1, 2)])
            .notes(1, joined("m1"))
            .note(1, written(1, 3))
            .end()
            .passes();
        case()
            .note(1, accepted("m1", 1, 5))
            .end()
            .fails("committed offsets");
    }
}
