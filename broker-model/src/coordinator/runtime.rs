//! The partitions of `__consumer_offsets` that this broker coordinates.
//!
//! Mirrors `CoordinatorRuntime` and its loader. A partition that the broker comes to lead is loaded
//! a little later, from its log's start to its end; until then its clients hear
//! COORDINATOR_LOAD_IN_PROGRESS. One that the broker no longer leads is dropped at once. A broker
//! that leads on in a later epoch keeps its shard: its log was never cut.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{Active, Answers};
use super::shard::Shard;
use super::turn::Turn;
use super::{OFFSETS_TOPIC, World};
use crate::context::Context;
use crate::metadata::{MetadataDelta, MetadataImage};
use crate::note::{CoordinatorChange, Note};
use crate::timer::Timer;
use crate::types::{
    ConnectionId, LeaderEpoch, ResponseError, StrBytes, TopicIdPartition, TopicPartition,
};

/// The shards by partition.
#[derive(Default, Debug)]
pub(super) struct Runtime {
    slots: BTreeMap<i32, Slot>,
    /// When `Timer::Coordinator` fires.
    armed_ms: Option<u64>,
    /// Whether `Timer::CoordinatorLoad` runs.
    loading: bool,
}

/// A partition that this broker leads.
#[derive(Debug)]
struct Slot {
    id: TopicIdPartition,
    leader_epoch: LeaderEpoch,
    state: State,
}

/// `CoordinatorState`.
#[derive(Debug)]
enum State {
    Loading,
    Active(Box<Active>),
    /// Its log makes no sense.
    Failed,
}

impl Runtime {
    /// The metadata changed: partitions come and go, groups look at their topics again.
    pub(super) fn on_metadata(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        delta: &MetadataDelta,
        out: &mut Answers,
    ) {
        self.resign(cx, world, out);
        self.elect(cx, world);
        let gone = deleted_partitions(delta);
        if gone.is_empty() && delta.changed_partitions.is_empty() {
            return;
        }
        for active in self.active_mut() {
            if !gone.is_empty() {
                active.decide(cx, world, out, |shard, turn| {
                    shard.on_partitions_deleted(turn, &gone);
                });
            }
            active.decide(cx, world, out, |shard, turn| shard.on_metadata(turn));
        }
    }

    /// `Timer::CoordinatorLoad`: reads the logs of what is new.
    pub(super) fn load(&mut self, cx: &mut Context<'_>, world: &mut World<'_>, out: &mut Answers) {
        self.loading = false;
        for slot in self.slots.values_mut() {
            if !matches!(slot.state, State::Loading) {
                continue;
            }
            let Some(log) = world.replicas.read_whole(cx, slot.id) else {
                continue;
            };
            let place = (slot.id, slot.leader_epoch);
            slot.state = match Active::load(cx, world, place, &log, out) {
                Ok(active) => State::Active(Box::new(active)),
                Err(()) => {
                    cx.effects.note(Note::Coordinator {
                        partition: slot.id,
                        leader_epoch: slot.leader_epoch,
                        change: CoordinatorChange::Failed,
                    });
                    State::Failed
                }
            };
        }
    }

    /// `Timer::Coordinator`: does what is due.
    pub(super) fn on_timer(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
    ) {
        self.armed_ms = None;
        for active in self.active_mut() {
            active.on_timer(cx, world, out);
        }
    }

    /// Lets the shard of a group decide.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        (group, out): (&StrBytes, &mut Answers),
        decide: impl FnOnce(&mut Shard, &mut Turn<'_>),
    ) -> Result<(), ResponseError> {
        let at = partition_for(
            world.image,
            world.config.offsets_topic_num_partitions,
            group,
        );
        let slot = self.slots.get_mut(&at);
        match slot.map(|it| &mut it.state) {
            Some(State::Active(active)) => {
                active.decide(cx, world, out, decide);
                Ok(())
            }
            Some(State::Loading) => Err(ResponseError::CoordinatorLoadInProgress),
            Some(State::Failed) | None => Err(ResponseError::NotCoordinator),
        }
    }

    /// The shard of a group, to read from.
    pub(super) fn read(
        &self,
        world: &World<'_>,
        group: &StrBytes,
    ) -> Result<&Shard, ResponseError> {
        let at = partition_for(
            world.image,
            world.config.offsets_topic_num_partitions,
            group,
        );
        match self.slots.get(&at).map(|it| &it.state) {
            Some(State::Active(active)) => Ok(&active.shard),
            Some(State::Loading) => Err(ResponseError::CoordinatorLoadInProgress),
            Some(State::Failed) | None => Err(ResponseError::NotCoordinator),
        }
    }

    /// All shards, to read from: those that failed are left out.
    pub(super) fn read_each(&self) -> Result<Vec<&Shard>, ResponseError> {
        let mut shards = Vec::new();
        for slot in self.slots.values() {
            match &slot.state {
                State::Active(active) => shards.push(&active.shard),
                State::Loading => return Err(ResponseError::CoordinatorLoadInProgress),
                State::Failed => {}
            }
        }
        Ok(shards)
    }

    /// Nobody waits on that connection any more.
    pub(super) fn on_closed(&mut self, conn: ConnectionId) {
        for active in self.active_mut() {
            active.on_closed(conn);
        }
    }

    /// The end of a step: what is committed is answered, and the next moment is set.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
    ) {
        for active in self.active_mut() {
            while active.waits() && active.advance(cx, world, out) {}
        }
        let deadlines = self.active_mut().filter_map(|it| it.deadline_ms());
        let next_ms = deadlines.min();
        if next_ms == self.armed_ms {
            return;
        }
        self.armed_ms = next_ms;
        match next_ms {
            Some(at_ms) => {
                let after_ms = at_ms.saturating_sub(cx.now.mono_ms);
                cx.effects.arm_at(Timer::Coordinator, after_ms);
            }
            None => cx.effects.disarm(Timer::Coordinator),
        }
    }

    /// The broker stops: every shard is given up.
    pub(super) fn shutdown(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
    ) {
        for slot in std::mem::take(&mut self.slots).into_values() {
            slot.unload(cx, world, out);
        }
    }

    fn active_mut(&mut self) -> impl Iterator<Item = &mut Active> {
        let states = self.slots.values_mut().map(|it| &mut it.state);
        states.filter_map(|state| match state {
            State::Active(active) => Some(&mut **active),
            State::Loading | State::Failed => None,
        })
    }

    /// Gives up what this broker no longer leads (`onResignation`).
    fn resign(&mut self, cx: &mut Context<'_>, world: &mut World<'_>, out: &mut Answers) {
        let topic = world.image.topic_by_name(OFFSETS_TOPIC).map(|it| it.id);
        let mut lost = Vec::new();
        for (&at, slot) in &self.slots {
            if topic != Some(slot.id.topic) || world.replicas.leads(slot.id).is_none() {
                lost.push(at);
            }
        }
        for at in lost {
            if let Some(slot) = self.slots.remove(&at) {
                slot.unload(cx, world, out);
            }
        }
    }

    /// Takes on what it leads now (`onElection`).
    fn elect(&mut self, cx: &mut Context<'_>, world: &World<'_>) {
        let Some(topic) = world.image.topic_by_name(OFFSETS_TOPIC) else {
            return;
        };
        for &partition in topic.partitions.keys() {
            let id = TopicIdPartition {
                topic: topic.id,
                partition,
            };
            let Some(leader_epoch) = world.replicas.leads(id) else {
                continue;
            };
            let slot = self.slots.entry(partition).or_insert(Slot {
                id,
                leader_epoch,
                state: State::Loading,
            });
            slot.leader_epoch = leader_epoch;
            if let State::Active(active) = &mut slot.state {
                active.leader_epoch = leader_epoch;
            }
            if matches!(slot.state, State::Loading) && !self.loading {
                self.loading = true;
                cx.effects.arm(Timer::CoordinatorLoad, LOAD_WINDOW_MS);
            }
        }
    }
}

impl Slot {
    fn unload(self, cx: &mut Context<'_>, world: &mut World<'_>, out: &mut Answers) {
        if let State::Active(active) = self.state {
            active.unload(cx, world, out);
        }
    }
}

/// The partition of `__consumer_offsets` that has the group. Without the topic, as many partitions
/// count as it is going to get (`GroupCoordinatorService.partitionFor`).
pub(crate) fn partition_for(image: &MetadataImage, configured: i32, group: &StrBytes) -> i32 {
    let topic = image.topic_by_name(OFFSETS_TOPIC);
    let known = topic.and_then(|it| i32::try_from(it.partitions.len()).ok());
    let count = known.filter(|it| 0 < *it).unwrap_or(configured);
    java_hash(group).checked_abs().unwrap_or(0) % count
}

/// `String.hashCode`.
fn java_hash(text: &str) -> i32 {
    let units = text.encode_utf16();
    units.fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

fn deleted_partitions(delta: &MetadataDelta) -> BTreeSet<TopicPartition> {
    let topics = delta.deleted_topics.values();
    topics
        .flat_map(|topic| {
            let partitions = topic.partitions.keys();
            partitions.map(|&partition| TopicPartition {
                topic: topic.name.clone(),
                partition,
            })
        })
        .collect()
}

/// How long a log waits to be read. Kafka's loader has a queue and a disk.
const LOAD_WINDOW_MS: std::ops::RangeInclusive<u64> = 0..=200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_hashes_as_in_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("hello"), 99_162_322);
        // The one string whose hash has no absolute value.
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        let image = MetadataImage::empty();
        let at = |group| partition_for(&image, 50, &StrBytes::from_static_str(group));
        assert_eq!(at("polygenelubricants"), 0);
        assert_eq!(at("hello"), 99_162_322 % 50);
    }
}
