//! Two members of a group that are both members by what is committed never both hold a partition by their
//! own account. KIP-848: NoDoubleClientAssignment.
//!
//! Who was thrown out and does not know it yet may hold anything: it is a zombie. So is a member of the
//! classic protocol that does not know the generation, and one that joined anew since it got the
//! partition. And so is one whose listener is called late (`Stay::is_late_for`).

use broker_model::types::StrBytes;

use crate::check::membership::{OUTDATED, is_outdated};
use crate::check::world::groups::consumer::AWAY;
use crate::check::world::groups::fold::GroupFold;
use crate::check::world::groups::holders::Holder;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::{A, Body, Ev, P};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct DoubleAssignment;

impl Check for DoubleAssignment {
    fn name(&self) -> &'static str {
        "double-assignment/GC-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClientEvent]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::History(line) = event.fact else {
            return;
        };
        let Body::Ev {
            a,
            ev: Ev::Assigned { .. },
        } = line.b
        else {
            return;
        };
        let holders = &world.groups.holders;
        let group = &holders.moment.group;
        for &(p, moved) in &holders.moment.gained {
            let Some(own) = current(world, group, a, p) else {
                continue;
            };
            let key = (group.clone(), p);
            let others = holders.holders.get(&key).into_iter().flatten();
            let others = others.filter(|&&other| other != a);
            let rival = others.filter_map(|&other| Some((other, current(world, group, other, p)?)));
            let facts = world.members.groups.iter().find(|it| *it.id == **group);
            let is_outdated = |other| facts.is_some_and(|facts| is_outdated(facts, p, (a, other)));
            match rival.into_iter().next() {
                Some((other, _)) if is_outdated(other) => sink.excused(OUTDATED),
                Some((other, holder)) => {
                    let part = world.clients.part(p);
                    let name = part.map_or_else(|| p.to_string(), |part| part.name.clone());
                    let put = |holder: &Holder| {
                        format!("member {} in {}", holder.member, holder.generation)
                    };
                    sink.fail(
                        Violation::new(format!(
                            "{name} is held by two members of group {group} at once"
                        ))
                        .fact("one", event.t_us, format!("actor {other}, {}", put(holder)))
                        .fact(
                            "another",
                            event.t_us,
                            format!("actor {a}, {}", put(own)),
                        ),
                    );
                }
                None if moved => sink.exercised(),
                None => {}
            }
        }
    }
}

/// The actor, if it holds the partition as a member by what is committed.
fn current<'a>(world: &'a World, group: &StrBytes, a: A, p: P) -> Option<&'a Holder> {
    let holder = world.groups.holders.actors.get(&a)?;
    let &since = holder.held.get(&p)?;
    let committed = world.groups.committed(group)?;
    let is_current = match committed.groups.get(group)? {
        GroupFold::Consumer(it) => {
            let member = it.members.get(&holder.member)?;
            member.since < since && member.epoch != AWAY
        }
        GroupFold::Classic(it) => {
            it.generation == holder.generation && it.members.contains_key(&holder.member)
        }
    };
    is_current.then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{committed_to, has, removed, stores, subscribes, written};

    /// Two members of a consumer group, of which the first holds partition 0.
    fn case() -> Case {
        Case::of(make::<DoubleAssignment>)
            .part_reads(0)
            .coordinates(1)
            .notes(1, [subscribes("m1", None), has("m1", 1, &[0], &[])])
            .notes(
                1,
                [subscribes("m2", None), written(1, 0), committed_to(1, 1)],
            )
            .gets(10, "m1", 1, &[0])
    }

    #[test]
    fn two_members_never_hold_a_partition() {
        case()
            .gets(11, "m2", 2, &[0])
            .end()
            .fails("held by two members");
        case()
            .gives(10, "m1", 1, &[0])
            .gets(11, "m2", 2, &[0])
            .end()
            .passes();
    }

    #[test]
    fn who_was_thrown_out_is_a_zombie() {
        let out = || [removed("m1"), written(1, 1)];
        case()
            .notes(1, out())
            .note(1, committed_to(1, 2))
            .gets(11, "m2", 2, &[0])
            .end()
            .passes();
        // Nobody may count on what is not committed.
        case()
            .notes(1, out())
            .gets(11, "m2", 2, &[0])
            .end()
            .fails("held by two members");
    }

    #[test]
    fn who_joined_anew_holds_nothing_from_before() {
        case()
            .notes(1, [removed("m1"), written(1, 1), committed_to(1, 2)])
            .notes(
                1,
                [subscribes("m1", None), written(1, 2), committed_to(1, 3)],
            )
            .gets(11, "m2", 2, &[0])
            .end()
            .passes();
    }

    #[test]
    fn members_of_one_generation_never_hold_a_partition() {
        let case = |generation| {
            Case::of(make::<DoubleAssignment>)
                .part_reads(0)
                .coordinates(1)
                .notes(1, [stores(2, &[("m1", &[0]), ("m2", &[])])])
                .notes(1, [written(1, 0), committed_to(1, 1)])
                .gets(10, "m1", generation, &[0])
                .gets(11, "m2", 2, &[0])
                .end()
        };
        case(2).fails("held by two members");
        case(1).passes();
    }
}
