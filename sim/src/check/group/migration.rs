//! A group that goes from one protocol to the other takes along who has what. Classic to consumer: each
//! member begins with the part that its leader gave it. Consumer to classic: each member that stays gets
//! what the target gives it, in the generation that was the epoch. KIP-848; `ConsumerGroup.fromClassicGroup`,
//! `ClassicGroup.fromConsumerGroup`.

use std::collections::BTreeSet;

use broker_model::note::ClassicGroupChange;
use broker_model::types::{StrBytes, TopicIdPartition};
use bytes::{Buf, Bytes};

use super::{Seen, decided};
use crate::check::world::groups::consumer::{ConsumerFold, Partitions};
use crate::check::world::groups::fold::{Change, Decision, Step};
use crate::check::world::groups::live::Live;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct ProtocolMigration;

impl Check for ProtocolMigration {
    fn name(&self) -> &'static str {
        "protocol-migration/GC-13"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Coordinator]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((seen, decision)) = decided(event, world) else {
            return;
        };
        if let Some((group, live)) = &seen.moment.upgraded {
            let wrong = upgraded(&seen, group, live);
            say(&seen, group, "consumer", wrong, sink);
        }
        for step in &seen.moment.steps {
            if let Step::Downgraded { group, was } = step {
                let wrong = downgraded(&seen, group, was, decision);
                say(&seen, group, "classic", wrong, sink);
            }
        }
    }
}

/// What was and what is, of the first member for whom that differs.
type Wrong = (StrBytes, String, String);

fn upgraded(seen: &Seen<'_>, group: &StrBytes, live: &Live) -> Result<usize, Wrong> {
    let mut members = 0;
    for (id, member) in &live.members {
        let Some(had) = part(seen, &member.part) else {
            continue;
        };
        let first = seen.moment.steps.iter().find_map(|step| match step {
            Step::Assigned(it) if it.group == *group && it.id == *id => Some(&it.after),
            _ => None,
        });
        let has = first.map(|after| after.holds().collect::<Partitions>());
        if has.as_ref() != Some(&had) {
            let has = has.map_or("it is no member".to_owned(), |has| seen.list(&has));
            return Err((id.clone(), seen.list(&had), has));
        }
        members += usize::from(!had.is_empty());
    }
    Ok(members)
}

fn downgraded(
    seen: &Seen<'_>,
    group: &StrBytes,
    was: &ConsumerFold,
    decision: &Decision,
) -> Result<usize, Wrong> {
    let stored = decision
        .changes
        .iter()
        .find_map(|(own, change)| match change {
            Change::Classic(ClassicGroupChange::Stored {
                generation,
                members,
            }) if own == group => Some((*generation, members)),
            _ => None,
        });
    let Some((generation, stored)) = stored else {
        let nobody = (StrBytes::default(), "a group".to_owned(), "none".to_owned());
        return Err(nobody);
    };
    if generation != was.epoch {
        let (was, is) = (
            format!("epoch {}", was.epoch),
            format!("generation {generation}"),
        );
        return Err((StrBytes::default(), was, is));
    }
    let staying: BTreeSet<&StrBytes> = stored.iter().map(|(id, ..)| id).collect();
    if let Some(lost) = was.members.keys().find(|id| !staying.contains(id)) {
        return Err((lost.clone(), "a member".to_owned(), "no member".to_owned()));
    }
    let mut members = 0;
    for (id, _, bytes) in stored {
        let topics = &seen.world.groups.topics;
        let target = was.target.get(id).into_iter().flatten();
        let known = target.filter(|it| topics.name(seen.node, it.topic).is_some());
        let had: Partitions = known.copied().collect();
        let has = part(seen, bytes).unwrap_or_default();
        if had != has {
            return Err((id.clone(), seen.list(&had), seen.list(&has)));
        }
        members += usize::from(!had.is_empty());
    }
    Ok(members)
}

fn say(
    seen: &Seen<'_>,
    group: &StrBytes,
    kind: &str,
    wrong: Result<usize, Wrong>,
    sink: &mut Sink,
) {
    match wrong {
        Ok(0) => {}
        Ok(_) => sink.exercised(),
        Err((member, was, is)) => sink.fail(
            Violation::new(format!(
                "group {group} became a {kind} group on n{} and is not what it was for [{member}]",
                seen.node
            ))
            .fact("was", seen.t_us, was)
            .fact("is", seen.t_us, is),
        ),
    }
}

/// What a member's part says, of topics that the broker knows. `None` if it cannot be read.
fn part(seen: &Seen<'_>, bytes: &Bytes) -> Option<Partitions> {
    let mut partitions = Partitions::new();
    if bytes.is_empty() {
        return Some(partitions);
    }
    let mut bytes = bytes.clone();
    let _version = bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.len() < length {
            return None;
        }
        let name = StrBytes::try_from(bytes.split_to(length)).ok()?;
        let topic = seen.world.groups.topics.known(seen.node, &name);
        for _ in 0..bytes.try_get_i32().ok()? {
            let partition = bytes.try_get_i32().ok()?;
            partitions.extend(topic.map(|topic| TopicIdPartition { topic, partition }));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use ClassicGroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
    use broker_model::note::{ClassicGroupState, ConsumerGroupChange};

    use super::*;
    use crate::check::make;
    use crate::check::testing::groups::{
        consumer, epoch, hands_out, has, joins, stores, subscribes, target, target_epoch, turns,
        written,
    };
    use crate::check::testing::{Case, Found};

    /// A classic group with two members and three partitions.
    fn classic() -> Case {
        Case::of(make::<ProtocolMigration>)
            .reads(3)
            .coordinates(1)
            .notes(1, [joins("m1", None), joins("m2", None)])
            .notes(1, [turns(Empty, PreparingRebalance, 0)])
            .notes(1, [turns(PreparingRebalance, CompletingRebalance, 1)])
            .note(1, hands_out(1, &[("m1", &[0, 1]), ("m2", &[2])]))
            .note(1, turns(CompletingRebalance, Stable, 1))
    }

    fn upgrades(m1: &[i32], m2: &[i32]) -> Found {
        let upgraded = consumer(ConsumerGroupChange::Upgraded);
        classic()
            .notes(
                1,
                [subscribes("m1", None), subscribes("m2", None), epoch(1)],
            )
            .notes(1, [has("m1", 1, m1, &[]), has("m2", 1, m2, &[])])
            .notes(
                1,
                [subscribes("m3", None), epoch(2), has("m3", 2, &[], &[])],
            )
            .notes(1, [has("m1", 2, &[0], &[1]), upgraded, written(1, 0)])
            .end()
    }

    #[test]
    fn members_take_their_parts_along() {
        upgrades(&[0, 1], &[2]).passes();
        upgrades(&[0], &[2]).fails("is not what it was for [m1]");
        upgrades(&[0, 1], &[2, 1]).fails("is not what it was for [m2]");
    }

    #[test]
    fn who_is_lost_on_the_way_is_found() {
        let upgraded = consumer(ConsumerGroupChange::Upgraded);
        classic()
            .notes(
                1,
                [subscribes("m1", None), epoch(1), has("m1", 1, &[0, 1], &[])],
            )
            .notes(1, [upgraded, written(1, 0)])
            .end()
            .fails("it is no member");
    }

    fn downgrades(generation: i32, members: &[(&str, &[i32])]) -> Found {
        let downgraded = consumer(ConsumerGroupChange::Downgraded);
        Case::of(make::<ProtocolMigration>)
            .reads(3)
            .coordinates(1)
            .notes(
                1,
                [subscribes("m1", None), subscribes("m2", None), epoch(4)],
            )
            .notes(
                1,
                [target("m1", &[0]), target("m2", &[1, 2]), target_epoch(4)],
            )
            .note(1, written(1, 0))
            .notes(1, [downgraded, stores(generation, members), written(1, 1)])
            .end()
    }

    #[test]
    fn members_get_their_targets() {
        downgrades(4, &[("m1", &[0]), ("m2", &[1, 2])]).passes();
        downgrades(4, &[("m1", &[0]), ("m2", &[1])]).fails("is not what it was for [m2]");
        downgrades(4, &[("m1", &[0])]).fails("is not what it was for [m2]");
        downgrades(5, &[("m1", &[0]), ("m2", &[1, 2])]).fails("epoch 4");
    }
}
