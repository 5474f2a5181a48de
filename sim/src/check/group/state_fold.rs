//! A coordinator's groups and offsets are what its log says: what it loads is the fold of the decisions
//! in it, committed or not. And what it answers is committed: no further than its high watermark, and no
//! commit ends well for a client that no committed decision accepted. `CoordinatorRuntime`,
//! `SnapshotRegistry`; KAFKA-20634.

use broker_model::note::{ClassicGroupState, CoordinatorChange, Note, OffsetsChange};
use broker_model::types::StrBytes;

use super::{Seen, seen};
use crate::check::world::groups::fold::{Fold, GroupFold};
use crate::check::world::members::CommitState;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct StateFold;

impl Check for StateFold {
    fn name(&self) -> &'static str {
        "state-fold/GC-8"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator, Kind::Offsets, Kind::Succeeded]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if matches!(event.fact, Fact::History(_)) {
            if world.white_box {
                answered(event, world, sink);
            }
            return;
        }
        let Some(seen) = seen(event, world) else {
            return;
        };
        let Note::Coordinator {
            partition, change, ..
        } = seen.note
        else {
            return accepted(&seen, sink);
        };
        match change {
            CoordinatorChange::Serving => serving(&seen, sink),
            CoordinatorChange::Committed { up_to } => {
                let replica = world.find(partition).and_then(|it| it.replica(seen.node));
                let known = replica.map(|replica| replica.high_watermark);
                if known.is_some_and(|known| known < *up_to) {
                    let at = seen.moment.at;
                    sink.fail(
                        Violation::new(format!(
                            "n{} answers for offsets partition {at} what is not committed",
                            seen.node
                        ))
                        .fact("answers", seen.t_us, format!("up to {up_to}"))
                        .fact(
                            "high watermark",
                            seen.t_us,
                            known.map_or_else(String::new, |known| known.to_string()),
                        ),
                    );
                } else if known.is_some() {
                    sink.exercised();
                }
            }
            _ => {}
        }
    }
}

fn serving(seen: &Seen<'_>, sink: &mut Sink) {
    let Some(load) = &seen.moment.load else {
        return;
    };
    let told = &seen.coordinator.view;
    let Some((group, says, has)) = difference(&load.expected, told) else {
        if !told.groups.is_empty() {
            sink.exercised();
        }
        return;
    };
    if let Some(excuse) = load.excuse {
        sink.excused(excuse);
        return;
    }
    let at = seen.moment.at;
    sink.fail(
        Violation::new(format!(
            "n{} loaded of group {group} something else than the log of offsets partition {at} says",
            seen.node
        ))
        .fact("log", seen.t_us, says)
        .fact("loaded", seen.t_us, has),
    );
}

/// Who commits in a stable classic group is a member by its last record.
fn accepted(seen: &Seen<'_>, sink: &mut Sink) {
    let Note::Offsets {
        group,
        change: OffsetsChange::Accepted {
            member, generation, ..
        },
        ..
    } = seen.note
    else {
        return;
    };
    let live = seen.coordinator.live.get(group);
    let settled = live.is_some_and(|it| {
        it.state == ClassicGroupState::Stable && it.since_us < seen.t_us && !it.took_back
    });
    let Some(stored) = seen.coordinator.view.classic(group).filter(|_| settled) else {
        return;
    };
    if stored.generation == *generation && stored.members.contains_key(member) {
        return;
    }
    let members = super::ids(stored.members.keys());
    sink.fail(
        Violation::new(format!(
            "{member} is a member of group {group} on n{} and not in its log",
            seen.node
        ))
        .fact("commits", seen.t_us, format!("in generation {generation}"))
        .fact(
            "log",
            stored.t_us,
            format!("{members} in generation {}", stored.generation),
        ),
    );
}

/// The first group in which they differ, and how both put it.
fn difference<'a>(log: &'a Fold, told: &'a Fold) -> Option<(&'a StrBytes, String, String)> {
    if log == told {
        return None;
    }
    let groups = log.groups.keys().chain(told.groups.keys());
    for id in groups {
        let (says, has) = (log.groups.get(id), told.groups.get(id));
        if says != has {
            return Some((id, say(says), say(has)));
        }
    }
    let groups = log.offsets.keys().chain(told.offsets.keys());
    for id in groups {
        let (says, has) = (log.offsets.get(id), told.offsets.get(id));
        if says != has {
            let put = |offsets| format!("offsets {offsets:?}");
            return Some((id, put(says), put(has)));
        }
    }
    None
}

fn say(group: Option<&GroupFold>) -> String {
    match group {
        None => "no group".to_owned(),
        Some(GroupFold::Classic(it)) => {
            let members = super::ids(it.members.keys());
            format!("classic generation {} {members}", it.generation)
        }
        Some(GroupFold::Consumer(it)) => format!(
            "epoch {} target {} {:?} {:?} {:?}",
            it.epoch, it.target_epoch, it.target, it.members, it.regexes
        ),
    }
}

/// A client was told that offsets are committed. What a consumer commits by itself before a rebalance is
/// asked for again with the positions of the moment.
fn answered(event: &Observed<'_>, world: &World, sink: &mut Sink) {
    let moment = &world.moment.members;
    let (Some((_, group)), Some(commit)) = (moment.member, moment.committed) else {
        return;
    };
    let group = &world.members.groups[group];
    let commit = &group.commits[commit];
    if commit.state != CommitState::Ok {
        return;
    }
    for &offset in &commit.offs {
        let holders = &world.groups.holders;
        let Some((partition, since)) = holders.accepted_since(&group.id, offset) else {
            continue;
        };
        if since.is_some_and(|since| commit.inv_n < since) {
            sink.exercised();
            continue;
        }
        let (_, offset, _) = offset;
        sink.fail(
            Violation::new(format!(
                "group {} was told that offset {offset} of {partition} is committed, and it is not",
                group.id
            ))
            .fact("asked", commit.inv_us, "to commit it")
            .fact("told", event.t_us, "that it is")
            .fact(
                "committed",
                event.t_us,
                match since {
                    Some(_) => "by an earlier commit alone",
                    None => "never",
                },
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use broker_model::note::ClassicGroupChange;
    use broker_model::types::Offset;

    use super::*;
    use crate::check::make;
    use crate::check::testing::groups::{
        accepted, classic, committed_to, consumer, coordinator, epoch, has, joins, loaded, named,
        offsets, serves, stores, subscribes, target, target_epoch, text, turns, written,
    };
    use crate::check::testing::{Case, TestBatch, leader_hw, leads, truncates};

    fn case() -> Case {
        Case::of(make::<StateFold>).coordinates(1)
    }

    fn stable(generation: i32, members: &[&str]) -> Note {
        classic(ClassicGroupChange::Loaded {
            state: match members {
                [] => ClassicGroupState::Empty,
                _ => ClassicGroupState::Stable,
            },
            generation,
            members: members.iter().map(|id| (text(id), None)).collect(),
            topics: None,
        })
    }

    fn committed_offset(offset: i64) -> Note {
        offsets(OffsetsChange::Loaded {
            offsets: vec![(named(0), Offset(offset), 1_000)],
        })
    }

    fn has_loaded(epoch: i32, target_epoch: i32) -> Note {
        consumer(broker_model::note::ConsumerGroupChange::Loaded {
            epoch,
            target_epoch,
        })
    }

    #[test]
    fn a_group_that_was_written_is_loaded() {
        let case = || case().notes(1, [stores(1, &[("m1", &[0])]), written(1, 0)]);
        let loads = |told| {
            let case = case().note(2, loaded(2, 1, 0));
            case.notes(2, told).note(2, serves(2)).end()
        };
        loads(vec![stable(1, &["m1"])]).passes();
        loads(vec![stable(0, &["m1"])]).fails("classic generation 1 [m1]");
        loads(vec![stable(1, &["m2"])]).fails("classic generation 1 [m2]");
        loads(vec![]).fails("no group");
    }

    #[test]
    fn a_member_that_was_never_stored_is_found() {
        use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
        let replaced = |previous: &str, member: &str| {
            classic(ClassicGroupChange::Replaced {
                instance: text("i"),
                previous: text(previous),
                member: text(member),
            })
        };
        let group = || {
            case()
                .notes(
                    1,
                    [joins("m1", Some("i")), turns(Empty, PreparingRebalance, 0)],
                )
                .note(1, turns(PreparingRebalance, CompletingRebalance, 1))
                .notes(1, [stores(1, &[("m1", &[0])]), written(1, 0)])
                .notes(
                    1,
                    [turns(CompletingRebalance, Stable, 1), replaced("m1", "m2")],
                )
        };
        let stored = || group().notes(1, [stores(1, &[("m2", &[0])]), written(1, 1)]);
        let commits = |case: Case, member| {
            let case = case.notes(1, [accepted(member, 1, 5), written(1, 2)]);
            case.notes(
                2,
                [loaded(2, 3, 3), stable(1, &["m2"]), committed_offset(5)],
            )
            .note(2, serves(2))
            .end()
        };
        commits(stored(), "m2").passes();
        let forgotten = group().note(1, accepted("m2", 1, 5)).end();
        forgotten.fails("m2 is a member of group g on n1 and not in its log");
        // It took too long, and was written nevertheless.
        commits(stored().note(1, replaced("m2", "m1")), "m1").passes();
    }

    #[test]
    fn a_consumer_group_is_loaded_whole() {
        let case = || {
            case()
                .notes(1, [subscribes("m1", None), epoch(1), target("m1", &[0])])
                .notes(1, [target_epoch(1), has("m1", 1, &[0], &[])])
                .note(1, written(1, 0))
        };
        let loads = |ns: &[i32]| {
            let case = case().notes(2, [loaded(2, 1, 1), has_loaded(1, 1)]);
            case.notes(2, [subscribes("m1", None), has("m1", 1, ns, &[])])
                .notes(2, [target("m1", &[0]), serves(2)])
                .end()
        };
        loads(&[0]).passes();
        loads(&[1]).fails("loaded of group g something else");
    }

    #[test]
    fn an_offset_that_was_forgotten_is_found() {
        let case = || case().notes(1, [accepted("", -1, 5), written(1, 0)]);
        let loads = |told: Vec<Note>| {
            let case = case().notes(2, [loaded(2, 1, 0), stable(0, &[])]);
            case.notes(2, told).note(2, serves(2)).end()
        };
        loads(vec![committed_offset(5)]).passes();
        loads(vec![committed_offset(4)]).fails("loaded of group g");
        loads(vec![]).fails("loaded of group g");
    }

    #[test]
    fn what_was_dropped_or_cut_off_does_not_come_back() {
        let dropped = coordinator(1, CoordinatorChange::Dropped);
        let case = || {
            case()
                .notes(1, [accepted("", -1, 5), TestBatch::at(0, 1, 1).led()])
                .note(1, written(1, 0))
                .notes(1, [accepted("", -1, 6), dropped.clone()])
                .notes(2, [TestBatch::at(0, 1, 1).followed(), leads(2, 1, 0)])
        };
        let loads = |offset| {
            let case = case().notes(2, [loaded(2, 1, 0), stable(0, &[])]);
            case.notes(2, [committed_offset(offset), serves(2)]).end()
        };
        loads(5).passes();
        loads(6).fails("loaded of group g");
        case()
            .note(2, truncates(0, 1))
            .notes(2, [loaded(2, 0, 0), serves(2)])
            .note(1, truncates(0, 1))
            .notes(1, [loaded(3, 0, 0), stable(0, &[]), serves(3)])
            .end()
            .fails("no group");
    }

    #[test]
    fn answers_beyond_the_high_watermark_are_found() {
        let case = || {
            let case = case().notes(1, [leads(1, 0, 0), TestBatch::at(0, 1, 1).led()]);
            case.notes(1, [accepted("", -1, 5), written(1, 0)])
        };
        case()
            .notes(1, [leader_hw(1, 1, 1), committed_to(1, 1)])
            .end()
            .passes();
        case()
            .note(1, committed_to(1, 1))
            .end()
            .fails("what is not committed");
    }

    #[test]
    fn a_commit_that_ends_well_is_committed() {
        let case = || {
            let case = case().part_reads(0).member(10, &[]);
            case.begins_commit(10, 1, 7, 5)
        };
        let accepts = |offset| [accepted("", -1, offset), written(1, 0), committed_to(1, 1)];
        case()
            .notes(1, accepts(5))
            .committed_as(10, 1, 7)
            .end()
            .passes();
        case()
            .notes(1, [accepted("", -1, 5), written(1, 0)])
            .committed_as(10, 1, 7)
            .end()
            .fails("and it is not");
        case()
            .notes(1, accepts(4))
            .committed_as(10, 1, 7)
            .end()
            .fails("never");
        case()
            .notes(1, accepts(5))
            .refused(10, 7, 25)
            .commits(10, 1, 8, 5)
            .end()
            .fails("by an earlier commit alone");
    }
}
