//! An offset goes only when its time is over and nobody reads the topic, when its topic is gone, or when
//! somebody asks and nobody reads it. The time of a classic group without members counts from when it
//! became empty. `OffsetMetadataManager.cleanupExpiredOffsets`, `OffsetExpirationConditionImpl`; KIP-211.

use broker_model::note::{ClassicGroupState, Note, OffsetsChange};
use broker_model::types::{NodeId, StrBytes, TopicPartition};

use super::{Seen, seen};
use crate::check::world::gates;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct OffsetExpiry;

impl Check for OffsetExpiry {
    fn name(&self) -> &'static str {
        "offset-expiry/GC-10"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Offsets]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some(seen) = seen(event, world) else {
            return;
        };
        let Note::Offsets { group, change, .. } = seen.note else {
            return;
        };
        let (partition, wrong) = match change {
            OffsetsChange::Expired { partition, .. } => {
                (partition, too_early(&seen, group, change))
            }
            OffsetsChange::Deleted { partition } => (partition, unwanted(&seen, group, partition)),
            _ => return,
        };
        match wrong {
            None => sink.exercised(),
            Some(what) => sink.fail(
                Violation::new(format!(
                    "n{} removes the offset of {partition} in group {group}, which is to be kept",
                    seen.node
                ))
                .fact("why", seen.t_us, what),
            ),
        }
    }
}

/// `offsets.retention.minutes` in milliseconds.
fn retention_ms(world: &World, node: NodeId) -> i64 {
    const DEFAULT_MINUTES: u64 = 7 * 24 * 60;
    let nodes = world.plan.iter().flat_map(|plan| &plan.nodes);
    let minutes = nodes
        .filter(|plan| plan.id == node.0)
        .map(|plan| gates::number(&plan.config, "offsets.retention.minutes", DEFAULT_MINUTES))
        .next();
    let ms = minutes.unwrap_or(DEFAULT_MINUTES).saturating_mul(60_000);
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Why the offset is not too old.
fn too_early(seen: &Seen<'_>, group: &StrBytes, change: &OffsetsChange) -> Option<String> {
    let OffsetsChange::Expired {
        partition,
        commit_timestamp,
        expire_timestamp,
        now_ms,
    } = change
    else {
        return None;
    };
    let Some(known) = seen.coordinator.view.offset(group, partition) else {
        return Some("there is none".to_owned());
    };
    if known.timestamp != *commit_timestamp {
        return Some(format!(
            "it was committed at {} and not at {commit_timestamp}",
            known.timestamp
        ));
    }
    let live = seen.coordinator.live.get(group);
    if let Some(busy) = live.and_then(|it| busy(it.state)) {
        return Some(busy.to_owned());
    }
    if let Some(reader) = reader(seen, group, &partition.topic) {
        return Some(reader);
    }
    if *expire_timestamp != -1 {
        let early = now_ms < expire_timestamp;
        return early.then(|| format!("it is kept until {expire_timestamp}, and it is {now_ms}"));
    }
    let retention_ms = retention_ms(seen.world, seen.node);
    // Without a generation nobody was ever in it.
    let empty = live.filter(|it| it.state == ClassicGroupState::Empty && 0 < it.generation);
    let age_ms = match empty {
        Some(it) => {
            let us = seen.t_us.saturating_sub(it.since_us);
            // Clocks tell whole milliseconds.
            i64::try_from(us / 1_000 + 1).unwrap_or(i64::MAX)
        }
        None => now_ms.saturating_sub(*commit_timestamp),
    };
    (age_ms < retention_ms).then(|| format!("it is {age_ms} ms old, of {retention_ms}"))
}

/// Why the offset is not to be deleted.
fn unwanted(seen: &Seen<'_>, group: &StrBytes, partition: &TopicPartition) -> Option<String> {
    if seen.world.groups.topics.was_removed(&partition.topic) {
        return None;
    }
    reader(seen, group, &partition.topic)
}

/// While a classic group rebalances nothing of it expires (`ClassicGroup.offsetExpirationCondition`;
/// KAFKA-13636).
fn busy(state: ClassicGroupState) -> Option<&'static str> {
    match state {
        ClassicGroupState::PreparingRebalance | ClassicGroupState::CompletingRebalance => {
            Some("the group rebalances")
        }
        ClassicGroupState::Stable | ClassicGroupState::Empty | ClassicGroupState::Dead => None,
    }
}

/// Who may read the topic, if anybody.
fn reader(seen: &Seen<'_>, group: &StrBytes, topic: &StrBytes) -> Option<String> {
    if let Some(it) = seen.coordinator.view.consumer(group) {
        let read = it.is_subscribed_to(topic);
        return read.then(|| "a member reads the topic".to_owned());
    }
    let live = seen.coordinator.live.get(group)?;
    match live.state {
        ClassicGroupState::Empty | ClassicGroupState::Dead => None,
        ClassicGroupState::Stable
        | ClassicGroupState::PreparingRebalance
        | ClassicGroupState::CompletingRebalance => {
            let topics = live.topics.as_ref();
            let read = topics.is_none_or(|topics| topics.contains(topic));
            read.then(|| "a member reads the topic".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    use broker_model::note::{ClassicGroupChange, MemberRemoved};
    use broker_model::types::Offset;

    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::check::testing::groups::{
        classic, generation, has, joins, named, offsets, removed, subscribes, text, turns, written,
    };

    const MINUTE_MS: i64 = 60_000;

    /// A retention of one minute; the offset of partition 0 is committed at time 0.
    fn committed(case: Case) -> Case {
        let accepted = offsets(OffsetsChange::Accepted {
            member: text("m1"),
            generation: 1,
            partition: named(0),
            offset: Offset(5),
            commit_timestamp: 0,
        });
        case.notes(1, [accepted, written(1, 0)])
    }

    fn case() -> Case {
        let case = Case::planned(make::<OffsetExpiry>, |plan| {
            for node in &mut plan.nodes {
                let minutes = ("offsets.retention.minutes".to_owned(), "1".to_owned());
                node.config.extend([minutes]);
            }
        });
        case.coordinates(1)
    }

    fn expires(now_ms: i64) -> Note {
        kept_until(-1, now_ms)
    }

    fn kept_until(expire_timestamp: i64, now_ms: i64) -> Note {
        offsets(OffsetsChange::Expired {
            partition: named(0),
            commit_timestamp: 0,
            expire_timestamp,
            now_ms,
        })
    }

    fn deleted() -> Note {
        offsets(OffsetsChange::Deleted {
            partition: named(0),
        })
    }

    /// A classic group with one member that reads the topic, or not.
    fn stable(case: Case, reads: bool) -> Case {
        let mut begins = generation(1, &["m1"]);
        if let Note::ClassicGroup {
            change: ClassicGroupChange::Generation { topics, .. },
            ..
        } = &mut begins
            && !reads
        {
            *topics = Some([text("others")].into());
        }
        case.notes(1, [joins("m1", None), turns(Empty, PreparingRebalance, 0)])
            .notes(
                1,
                [turns(PreparingRebalance, CompletingRebalance, 1), begins],
            )
            .note(1, turns(CompletingRebalance, Stable, 1))
    }

    #[test]
    fn who_is_in_no_group_has_its_offsets_for_their_time() {
        committed(case()).note(1, expires(MINUTE_MS)).end().passes();
        committed(case())
            .note(1, expires(MINUTE_MS - 1))
            .end()
            .fails("59999 ms old, of 60000");
        committed(case())
            .note(1, kept_until(70_000, MINUTE_MS))
            .end()
            .fails("kept until 70000");
        committed(case()).note(1, kept_until(10, 10)).end().passes();
    }

    #[test]
    fn what_is_read_does_not_expire() {
        let ends = |reads| {
            committed(stable(case(), reads))
                .note(1, expires(MINUTE_MS))
                .end()
        };
        ends(true).fails("a member reads the topic");
        ends(false).passes();
    }

    #[test]
    fn nothing_expires_while_a_group_rebalances() {
        let rebalances = || {
            let case = committed(stable(case(), false));
            case.note(1, turns(Stable, PreparingRebalance, 1))
        };
        let completes = || rebalances().note(1, turns(PreparingRebalance, CompletingRebalance, 2));
        let expired = |case: Case| case.note(1, expires(MINUTE_MS)).end();
        expired(rebalances()).fails("the group rebalances");
        expired(completes()).fails("the group rebalances");
        rebalances().note(1, deleted()).end().passes();
        completes().note(1, deleted()).end().passes();
    }

    #[test]
    fn the_time_of_an_empty_group_begins_when_it_is_empty() {
        let out = classic(ClassicGroupChange::Removed {
            member: text("m1"),
            why: MemberRemoved::Left,
        });
        let emptied = || {
            committed(stable(case(), true))
                .notes(1, [out.clone(), turns(Stable, PreparingRebalance, 1)])
        };
        emptied()
            .note(1, expires(MINUTE_MS))
            .end()
            .fails("the group rebalances");
        let empty = |wait_ms| {
            let case = emptied().note(1, turns(PreparingRebalance, Empty, 2));
            case.wait_ms(wait_ms).note(1, expires(2 * MINUTE_MS)).end()
        };
        empty(30_000).fails("of 60000");
        empty(60_000).passes();
    }

    #[test]
    fn what_a_consumer_group_reads_does_not_expire() {
        let joined = || {
            let case = case().notes(1, [subscribes("m1", None), has("m1", 1, &[0], &[])]);
            committed(case)
        };
        joined()
            .note(1, expires(MINUTE_MS))
            .end()
            .fails("a member reads the topic");
        joined()
            .notes(1, [removed("m1"), written(1, 1), expires(MINUTE_MS)])
            .end()
            .passes();
    }

    #[test]
    fn only_the_last_commit_counts() {
        let later = offsets(OffsetsChange::Accepted {
            member: text("m1"),
            generation: 1,
            partition: named(0),
            offset: Offset(6),
            commit_timestamp: 50_000,
        });
        committed(case())
            .notes(1, [later, written(1, 1), expires(MINUTE_MS)])
            .end()
            .fails("committed at 50000");
    }

    #[test]
    fn what_is_read_is_not_deleted_unless_the_topic_is() {
        let case = || committed(stable(case(), true));
        case().note(1, deleted()).end().fails("a member reads");
        let gone = Note::TopicCommitted {
            offset: Offset(12),
            topic: crate::check::testing::groups::part(0).topic,
            name: "reads".into(),
            removed: true,
        };
        case().reads(1).notes(1, [gone, deleted()]).end().passes();
        committed(stable(self::case(), false))
            .note(1, deleted())
            .end()
            .passes();
    }
}
