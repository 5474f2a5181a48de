//! A group goes only where Kafka lets it: a classic group along `ClassicGroupState`, with one more
//! generation a join phase and with exactly its members in it; a consumer group one epoch up at a time.
//! `ClassicGroup.transitionTo`, `completeClassicGroupJoin`; KIP-848.
//!
//! A generation may be given twice when a coordinator failed over before it was written: what counts
//! then is what was loaded.

use broker_model::note::{ClassicGroupChange, ClassicGroupState, Note};
use broker_model::types::StrBytes;

use super::{Seen, decided, ids, seen};
use crate::check::world::groups::fold::Step;
use crate::check::world::groups::live::{Live, Was};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct LegalTransitions;

impl Check for LegalTransitions {
    fn name(&self) -> &'static str {
        "legal-transitions/GC-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::ClassicGroup, Kind::Coordinator]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if let Some((seen, _)) = decided(event, world) {
            for step in &seen.moment.steps {
                epoch_rises(&seen, step, sink);
            }
            return;
        }
        let Some(seen) = seen(event, world) else {
            return;
        };
        let Note::ClassicGroup { group, change, .. } = seen.note else {
            return;
        };
        let (Some(was), Some(live)) = (&seen.moment.was, seen.coordinator.live.get(group)) else {
            return;
        };
        let wrong = match change {
            ClassicGroupChange::State {
                from,
                to,
                generation,
            } => turned(was, live, (*from, *to), *generation),
            ClassicGroupChange::Generation {
                generation,
                leader,
                members,
                ..
            } => {
                let members: Vec<&StrBytes> = members.iter().map(|(id, _)| id).collect();
                begun(live, *generation, leader.as_ref(), &members)
            }
            _ => match &was.odd {
                Some(odd) => Err(odd.clone()),
                None => return,
            },
        };
        match wrong {
            Ok(()) => sink.exercised(),
            Err(what) => sink.fail(
                Violation::new(format!(
                    "group {group} on n{} went where it cannot go",
                    seen.node
                ))
                .fact(
                    "was",
                    was.since_us,
                    format!("{} in generation {}", was.state.name(), was.generation),
                )
                .fact("then", seen.t_us, what),
            ),
        }
    }
}

fn turned(
    was: &Was,
    live: &Live,
    (from, to): (ClassicGroupState, ClassicGroupState),
    generation: i32,
) -> Result<(), String> {
    use ClassicGroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
    let what = format!("{} to {}", from.name(), to.name());
    if from != was.state {
        return Err(format!("{what}, which it was not"));
    }
    let legal = match to {
        Empty | CompletingRebalance => from == PreparingRebalance,
        PreparingRebalance => matches!(from, Stable | CompletingRebalance | Empty),
        Stable => from == CompletingRebalance,
        Dead => true,
    };
    if !legal {
        return Err(what);
    }
    let ends_phase = matches!(to, Empty | CompletingRebalance);
    if generation != was.generation + i32::from(ends_phase) {
        return Err(format!("{what} in generation {generation}"));
    }
    if ends_phase && (to == Empty) != live.members.is_empty() {
        return Err(format!("{what} with members {}", ids(live.members.keys())));
    }
    Ok(())
}

fn begun(
    live: &Live,
    generation: i32,
    leader: Option<&StrBytes>,
    members: &[&StrBytes],
) -> Result<(), String> {
    if generation != live.generation {
        return Err(format!("generation {generation}"));
    }
    if !live.members.keys().eq(members.iter().copied()) {
        let (told, has) = (ids(members.iter().copied()), ids(live.members.keys()));
        return Err(format!(
            "generation {generation} of {told} with members {has}"
        ));
    }
    if members.is_empty() != leader.is_none() || leader.is_some_and(|it| !members.contains(&it)) {
        let leader = leader.map_or("nobody", |leader| leader);
        return Err(format!("generation {generation} led by {leader}"));
    }
    Ok(())
}

fn epoch_rises(seen: &Seen<'_>, step: &Step, sink: &mut Sink) {
    let Step::Epoch {
        group,
        before,
        after,
    } = step
    else {
        return;
    };
    // What was a classic group begins with its generation.
    let upgraded = seen.moment.upgraded.as_ref();
    let begins = upgraded
        .filter(|(upgraded, _)| upgraded == group && *before == 0)
        .is_some_and(|(_, live)| live.generation == *after);
    if begins || *after == before + 1 {
        sink.exercised();
        return;
    }
    sink.fail(
        Violation::new(format!(
            "the epoch of group {group} on n{} did not rise by one",
            seen.node
        ))
        .fact("was", seen.t_us, before.to_string())
        .fact("is", seen.t_us, after.to_string()),
    );
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
    use broker_model::note::MemberRemoved;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        classic, consumer, epoch, generation, joins, loaded, serves, stores, text, turns, written,
    };

    fn case() -> Case {
        Case::of(make::<LegalTransitions>).coordinates(1)
    }

    /// One member joins an empty group, up to its generation.
    fn rebalances(case: Case) -> Case {
        case.notes(
            1,
            [
                joins("m1", None),
                turns(Empty, PreparingRebalance, 0),
                turns(PreparingRebalance, CompletingRebalance, 1),
                generation(1, &["m1"]),
            ],
        )
    }

    #[test]
    fn a_round_of_a_classic_group_is_fine() {
        let left = classic(ClassicGroupChange::Removed {
            member: text("m1"),
            why: MemberRemoved::Left,
        });
        rebalances(case())
            .notes(1, [turns(CompletingRebalance, Stable, 1)])
            .notes(1, [left, turns(Stable, PreparingRebalance, 1)])
            .notes(1, [turns(PreparingRebalance, Empty, 2)])
            .notes(1, [generation(2, &[])])
            .notes(1, [turns(Empty, Dead, 2)])
            .end()
            .passes();
    }

    #[test]
    fn a_shortcut_is_found() {
        rebalances(case())
            .note(1, turns(CompletingRebalance, Empty, 2))
            .end()
            .fails("CompletingRebalance to Empty");
        case()
            .note(1, turns(Stable, PreparingRebalance, 0))
            .end()
            .fails("which it was not");
    }

    #[test]
    fn a_generation_that_is_skipped_or_stays_is_found() {
        let ends_in = |generation| {
            let case = case().notes(1, [joins("m1", None), turns(Empty, PreparingRebalance, 0)]);
            let ends = turns(PreparingRebalance, CompletingRebalance, generation);
            case.note(1, ends).end()
        };
        ends_in(1).passes();
        ends_in(0).fails("in generation 0");
        ends_in(2).fails("in generation 2");
    }

    #[test]
    fn a_generation_without_a_member_is_found() {
        let case = || {
            case().notes(
                1,
                [
                    joins("m1", None),
                    joins("m2", None),
                    turns(Empty, PreparingRebalance, 0),
                    turns(PreparingRebalance, CompletingRebalance, 1),
                ],
            )
        };
        let missing = case().note(1, generation(1, &["m1"]));
        missing.end().fails("of [m1] with members [m1, m2]");
        let whole = case().note(1, generation(1, &["m1", "m2"]));
        whole.end().passes();
    }

    #[test]
    fn who_is_removed_was_there() {
        let removed = |id| {
            let change = ClassicGroupChange::Removed {
                member: text(id),
                why: MemberRemoved::Left,
            };
            rebalances(case()).note(1, classic(change)).end()
        };
        removed("m2").fails("m2 was removed and was no member");
        removed("m1").passes();
    }

    #[test]
    fn a_generation_that_was_never_written_may_be_given_again() {
        let again = classic(ClassicGroupChange::Loaded {
            state: Empty,
            generation: 0,
            members: Vec::new(),
            topics: None,
        });
        let case = case().notes(1, [stores(0, &[]), written(1, 0)]);
        rebalances(case)
            .notes(2, [loaded(2, 1, 0), again, serves(2)])
            .notes(2, [joins("m9", None), turns(Empty, PreparingRebalance, 0)])
            .note(2, turns(PreparingRebalance, CompletingRebalance, 1))
            .end()
            .passes();
    }

    #[test]
    fn an_epoch_that_jumps_or_stays_is_found() {
        let rises = |to| {
            let case = case().notes(1, [epoch(1), written(1, 0)]);
            case.notes(1, [epoch(to), written(1, 1)]).end()
        };
        rises(2).passes();
        rises(3).fails("did not rise by one");
        rises(1).fails("did not rise by one");
    }

    #[test]
    fn an_upgraded_group_begins_with_its_generation() {
        use broker_model::note::ConsumerGroupChange;
        let upgraded = || consumer(ConsumerGroupChange::Upgraded);
        rebalances(case())
            .notes(1, [epoch(1), epoch(2), upgraded(), written(1, 0)])
            .end()
            .passes();
        rebalances(case())
            .notes(1, [epoch(4), upgraded(), written(1, 0)])
            .end()
            .fails("did not rise by one");
    }
}
