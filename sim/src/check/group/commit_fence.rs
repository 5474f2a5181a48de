//! Offsets are accepted only from who may commit: a member of this generation, but not between the join
//! phase and the assignment; a member of a consumer group in its epoch; anybody who names no generation,
//! while the group is empty. `ClassicGroup.validateOffsetCommit`, `ConsumerGroup.validateOffsetCommit`;
//! oracle B-GRP-3.
//!
//! Who was in the last generation may commit while the next one is prepared. 4.2 has no KIP-1251.

use broker_model::note::{Note, OffsetsChange};

use super::seen;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct CommitFence;

impl Check for CommitFence {
    fn name(&self) -> &'static str {
        "commit-fence/GC-7"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Offsets]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some(seen) = seen(event, world) else {
            return;
        };
        let Note::Offsets {
            group,
            change:
                OffsetsChange::Accepted {
                    member,
                    generation,
                    partition,
                    offset,
                    ..
                },
            ..
        } = seen.note
        else {
            return;
        };
        let (fits, is) = match seen.coordinator.view.consumer(group) {
            Some(it) => {
                let known = it.members.get(member);
                let simple = *generation < 0 && it.members.is_empty();
                let fits = simple || known.is_some_and(|known| known.epoch == *generation);
                let is = match known {
                    Some(known) => format!("a member in epoch {}", known.epoch),
                    None => format!("no member; there are {}", it.members.len()),
                };
                (fits, is)
            }
            None => match seen.coordinator.live.get(group) {
                Some(it) => {
                    let known = it.members.contains_key(member);
                    let state = it.state.name();
                    let who = if known { "a member" } else { "no member" };
                    let is = format!("{who} of generation {}, {state}", it.generation);
                    (it.may_commit(member, *generation), is)
                }
                None => (*generation < 0, "no group".to_owned()),
            },
        };
        if fits {
            // Who is in no group is nobody's zombie.
            if *generation >= 0 {
                sink.exercised();
            }
            return;
        }
        sink.fail(
            Violation::new(format!(
                "n{} accepted offset {offset} of {partition} for group {group} from who may not commit",
                seen.node
            ))
            .fact("from", seen.t_us, format!("[{member}] in {generation}"))
            .fact("which is", seen.t_us, is),
        );
    }
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    use broker_model::note::{ClassicGroupChange, ClassicGroupState, MemberRemoved};

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        accepted, classic, has, joins, removed, subscribes, text, turns, written,
    };

    fn case() -> Case {
        Case::of(make::<CommitFence>).coordinates(1)
    }

    /// A member in generation 1, whose leader has not synced yet.
    fn completing() -> Case {
        case()
            .notes(1, [joins("m1", None), turns(Empty, PreparingRebalance, 0)])
            .note(1, turns(PreparingRebalance, CompletingRebalance, 1))
    }

    fn stable() -> Case {
        completing().note(1, turns(CompletingRebalance, Stable, 1))
    }

    #[test]
    fn a_member_of_the_generation_may_commit() {
        stable().note(1, accepted("m1", 1, 5)).end().passes();
        stable()
            .note(1, turns(Stable, PreparingRebalance, 1))
            .note(1, accepted("m1", 1, 5))
            .end()
            .passes();
    }

    #[test]
    fn an_older_generation_is_a_zombie() {
        stable()
            .note(1, accepted("m1", 0, 5))
            .end()
            .fails("[m1] in 0");
    }

    #[test]
    fn nobody_commits_before_the_assignment() {
        completing()
            .note(1, accepted("m1", 1, 5))
            .end()
            .fails("CompletingRebalance");
    }

    #[test]
    fn who_was_removed_commits_nothing() {
        let out = classic(ClassicGroupChange::Removed {
            member: text("m1"),
            why: MemberRemoved::SessionExpired,
        });
        stable()
            .notes(1, [out, turns(Stable, PreparingRebalance, 1)])
            .note(1, accepted("m1", 1, 5))
            .end()
            .fails("no member of generation 1");
    }

    #[test]
    fn who_names_no_generation_needs_an_empty_group() {
        case().note(1, accepted("", -1, 5)).end().is_silent();
        stable()
            .note(1, accepted("", -1, 5))
            .end()
            .fails("[] in -1");
    }

    #[test]
    fn a_member_of_a_consumer_group_names_its_epoch() {
        let case = || {
            let joined = [subscribes("m1", None), has("m1", 4, &[0], &[])];
            case().notes(1, joined).note(1, written(1, 0))
        };
        case().note(1, accepted("m1", 4, 5)).end().passes();
        let stale = case().note(1, accepted("m1", 3, 5)).end();
        stale.fails("a member in epoch 4");
        let simple = case().note(1, accepted("", -1, 5)).end();
        simple.fails("no member; there are 1");
        case()
            .notes(1, [removed("m1"), written(1, 1)])
            .note(1, accepted("m1", 4, 5))
            .end()
            .fails("no member; there are 0");
    }
}
