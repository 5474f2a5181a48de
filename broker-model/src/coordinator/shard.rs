//! One partition of `__consumer_offsets`: the groups that live there and their offsets.
//!
//! Everything is there twice: as written, for decisions, and as committed, for those who read. A
//! record goes into the first when it is appended and into the second when the high watermark has
//! passed it. Groups of the classic protocol are the exception, as in Kafka: they change at once,
//! only whether there is such a group is known twice.
//!
//! Mirrors `GroupCoordinatorShard` and what is common in `GroupMetadataManager`; the two copies stand
//! for `SnapshotRegistry` and its timelines.

mod migration;
mod reads;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::offsets::Offsets;
use super::record::Record;
use super::turn::{Continuation, TimerChange, TimerKey, Turn};
use crate::note::{ClassicGroupChange, ConsumerGroupChange, Note, OffsetsChange};
use crate::types::{ConnectionId, Now, ResponseError, StrBytes, TopicPartition};

/// A group of either protocol. `C` is what is kept of a classic one.
#[derive(Debug)]
pub(crate) enum GroupOf<C> {
    /// JoinGroup and its like, or nothing but offsets.
    Classic(C),
    /// ConsumerGroupHeartbeat.
    Consumer(Box<ConsumerGroup>),
}

/// A group as written.
pub(crate) type Group = GroupOf<ClassicGroup>;
/// A group as committed: of a classic one, that it exists.
type Committed = GroupOf<()>;

/// The groups of one partition.
///
/// leaving holds only groups that committed has as classic.
#[derive(Default, Debug)]
pub(crate) struct Shard {
    groups: BTreeMap<StrBytes, Group>,
    offsets: Offsets,
    committed: BTreeMap<StrBytes, Committed>,
    committed_offsets: Offsets,
    /// Classic groups whose deletion is written and not committed.
    leaving: BTreeMap<StrBytes, ClassicGroup>,
    /// What decisions did to groups before any record said so, for the case that none does.
    undo: Vec<(StrBytes, Option<Group>)>,
    /// Groups that replay removed since the runtime last asked.
    removed: BTreeSet<StrBytes>,
}

impl Shard {
    /// Takes a record in as written. `live`: whether it was just decided here, and not read from
    /// the log.
    pub(crate) fn replay(&mut self, now: Now, record: &Record, live: bool) {
        match record {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value,
            } => {
                if value.is_some() && !self.groups.contains_key(group) {
                    let simple = ClassicGroup::new(group.clone(), now);
                    self.groups.insert(group.clone(), Group::Classic(simple));
                }
                self.offsets
                    .replay(group, topic, *partition, value.as_ref());
            }
            Record::GroupMetadata { group, value } => match value {
                Some(value) => {
                    let is_known = matches!(self.groups.get(group), Some(Group::Classic(_)));
                    if !(live && is_known) {
                        let classic = ClassicGroup::replay(group.clone(), value);
                        self.groups.insert(group.clone(), Group::Classic(classic));
                    }
                }
                None => self.remove_classic(group),
            },
            record => {
                if replay_consumer(&mut self.groups, record) {
                    self.removed.insert(group_of(record).clone());
                }
            }
        }
    }

    /// A classic group was deleted. Whoever reads sees it until that is committed.
    fn remove_classic(&mut self, id: &StrBytes) {
        if !matches!(self.groups.get(id), Some(Group::Classic(_))) {
            return;
        }
        self.removed.insert(id.clone());
        let group = self.groups.remove(id);
        if let Some(Group::Classic(group)) = group
            && matches!(self.committed.get(id), Some(Committed::Classic(())))
        {
            self.leaving.insert(id.clone(), group);
        }
    }

    /// Takes a record in as committed.
    pub(crate) fn commit(&mut self, record: &Record) {
        match record {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value,
            } => {
                if value.is_some() {
                    let entry = self.committed.entry(group.clone());
                    entry.or_insert(Committed::Classic(()));
                }
                self.committed_offsets
                    .replay(group, topic, *partition, value.as_ref());
            }
            Record::GroupMetadata { group, value } => {
                let is_classic = matches!(self.committed.get(group), Some(Committed::Classic(())));
                if value.is_some() {
                    self.committed.insert(group.clone(), Committed::Classic(()));
                } else if is_classic {
                    self.committed.remove(group);
                    self.leaving.remove(group);
                }
            }
            record => {
                replay_consumer(&mut self.committed, record);
            }
        }
    }

    /// A group as written.
    #[cfg(test)]
    pub(crate) fn group(&self, id: &StrBytes) -> Option<&Group> {
        self.groups.get(id)
    }

    /// A decision begins: what it does to groups can be undone until the next one.
    pub(crate) fn begin(&mut self) {
        self.undo.clear();
    }

    /// What the last decision did to groups.
    pub(crate) fn take_undo(&mut self) -> Vec<(StrBytes, Option<Group>)> {
        std::mem::take(&mut self.undo)
    }

    /// The records of a decision could not be written: groups that it made or replaced are as before
    /// (`SnapshotRegistry.revertToSnapshot`).
    pub(crate) fn revert(&mut self, undo: Vec<(StrBytes, Option<Group>)>) {
        for (id, before) in undo.into_iter().rev() {
            self.removed.insert(id.clone());
            match before {
                Some(group) => self.groups.insert(id, group),
                None => self.groups.remove(&id),
            };
        }
    }

    /// Groups that were removed since the last call: their timers are void.
    pub(crate) fn take_removed(&mut self) -> BTreeSet<StrBytes> {
        std::mem::take(&mut self.removed)
    }

    /// The log has been read (`GroupCoordinatorShard.onLoaded`).
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(it) => it.on_loaded(turn),
                Group::Consumer(it) => it.on_loaded(turn),
            }
        }
        for (group, offsets) in self.offsets.all() {
            turn.effects.note(Note::Offsets {
                partition: turn.partition,
                group: group.clone(),
                change: OffsetsChange::Loaded { offsets },
            });
        }
        schedule_cleanup(turn);
    }

    /// The broker no longer leads: whoever waits in a group hears NOT_COORDINATOR.
    pub(crate) fn on_unloaded(&mut self, turn: &mut Turn<'_>) {
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(it) => it.on_unloaded(turn),
                Group::Consumer(it) => it.on_unloaded(turn),
            }
        }
    }

    /// Nobody waits on that connection any more.
    pub(crate) fn on_closed(&mut self, conn: ConnectionId) {
        for group in self.groups.values_mut() {
            if let Group::Classic(it) = group {
                it.on_closed(conn);
            }
        }
    }

    /// Consumer groups take in topics that changed. They only make a note of it: each group is
    /// assigned anew by a heartbeat.
    pub(crate) fn on_metadata(&mut self, turn: &mut Turn<'_>) {
        for group in self.groups.values_mut() {
            if let Group::Consumer(it) = group {
                it.on_metadata(turn);
            }
        }
    }

    /// Topics were deleted, and with them what groups had read of them.
    pub(crate) fn on_partitions_deleted(
        &mut self,
        turn: &mut Turn<'_>,
        gone: &BTreeSet<TopicPartition>,
    ) {
        turn.decision.records = self.offsets.delete_partitions(gone);
        note_deleted(turn);
    }

    /// A timer fired.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, key: &TimerKey) {
        let Some(id) = group_of_timer(key) else {
            return self.clean_up(turn);
        };
        match self.groups.get_mut(id) {
            Some(Group::Classic(it)) => it.on_timer(turn, key),
            Some(Group::Consumer(it)) => {
                it.on_timer(turn, key);
                let id = id.clone();
                self.downgrade(turn, &id);
            }
            None => {}
        }
    }

    /// What a classic group wrote is committed, or could not be.
    pub(crate) fn on_written(
        &mut self,
        turn: &mut Turn<'_>,
        then: Continuation,
        result: Result<(), ResponseError>,
    ) {
        let (Continuation::ClassicAssigned { group, .. }
        | Continuation::ClassicEmptied { group }
        | Continuation::ClassicStaticReplaced { group, .. }
        | Continuation::ConsumerJoined { group, .. }
        | Continuation::ConsumerSynced { group, .. }) = &then;
        match self.groups.get_mut(group) {
            Some(Group::Classic(it)) => it.on_written(turn, then, result),
            Some(Group::Consumer(it)) => it.on_written(turn, &then, result),
            None => {}
        }
    }

    /// Whether a timer's decision is tried again when it could not be written: consumer groups have
    /// nobody else who would (`CoordinatorTimer.schedule` with `retry`).
    pub(crate) fn retries(&self, key: &TimerKey) -> bool {
        let id = group_of_timer(key);
        id.is_some_and(|id| matches!(self.groups.get(id), Some(Group::Consumer(_))))
    }

    /// Removes offsets that are too old, and groups without members that have none left
    /// (`cleanupGroupMetadata`).
    fn clean_up(&mut self, turn: &mut Turn<'_>) {
        let retention_ms = turn.config.offsets_retention_minutes.saturating_mul(60_000);
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        for (id, group) in &self.groups {
            let expiry = match group {
                Group::Classic(it) => it.expiry(),
                Group::Consumer(it) => it.expiry(),
            };
            let reads = |topic: &str| group.is_subscribed_to(topic);
            let when = (turn.now, retention_ms);
            let (expired, all) = self.offsets.delete_expired(id, expiry, reads, when);
            for record in &expired {
                self.note_expired(turn, record);
            }
            turn.decision.records.extend(expired);
            if all && group.is_empty() {
                group.note_deleted(turn, id);
                turn.decision.records.extend(group.delete_records());
            }
        }
        schedule_cleanup(turn);
    }
}

impl Shard {
    fn note_expired(&self, turn: &mut Turn<'_>, record: &Record) {
        let Record::OffsetCommit {
            group,
            topic,
            partition,
            ..
        } = record
        else {
            return;
        };
        let Some(value) = self.offsets.get(group, topic, *partition) else {
            return;
        };
        turn.effects.note(Note::Offsets {
            partition: turn.partition,
            group: group.clone(),
            change: OffsetsChange::Expired {
                partition: TopicPartition {
                    topic: topic.clone(),
                    partition: *partition,
                },
                commit_timestamp: value.commit_timestamp,
                expire_timestamp: value.expire_timestamp,
                now_ms: turn.now.wall_ms,
            },
        });
    }
}

/// Tells of the offsets that the decision's records delete.
fn note_deleted(turn: &mut Turn<'_>) {
    for record in &turn.decision.records {
        if let Record::OffsetCommit {
            group,
            topic,
            partition,
            ..
        } = record
        {
            turn.effects.note(Note::Offsets {
                partition: turn.partition,
                group: group.clone(),
                change: OffsetsChange::Deleted {
                    partition: TopicPartition {
                        topic: topic.clone(),
                        partition: *partition,
                    },
                },
            });
        }
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        match self {
            Group::Classic(it) => it.is_empty(),
            Group::Consumer(it) => it.is_empty(),
        }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(it) => it.is_subscribed_to(topic),
            Group::Consumer(it) => it.is_subscribed_to(topic),
        }
    }

    /// Tells that it is to be deleted.
    fn note_deleted(&self, turn: &mut Turn<'_>, id: &StrBytes) {
        let (partition, group) = (turn.partition, id.clone());
        turn.effects.note(match self {
            Group::Classic(_) => Note::ClassicGroup {
                partition,
                group,
                change: ClassicGroupChange::Deleted,
            },
            Group::Consumer(_) => Note::ConsumerGroup {
                partition,
                group,
                change: ConsumerGroupChange::Deleted,
            },
        });
    }

    fn delete_records(&self) -> Vec<Record> {
        match self {
            Group::Classic(it) => it.delete_records(),
            Group::Consumer(it) => it.delete_records(),
        }
    }
}

/// Takes in a record of a consumer group. Tombstones about a group that is not there, or not of
/// that kind, say nothing. Returns whether the group is gone.
fn replay_consumer<C>(groups: &mut BTreeMap<StrBytes, GroupOf<C>>, record: &Record) -> bool {
    let id = group_of(record);
    if !is_tombstone(record) && !matches!(groups.get(id), Some(GroupOf::Consumer(_))) {
        let group = ConsumerGroup::new(id.clone());
        groups.insert(id.clone(), GroupOf::Consumer(Box::new(group)));
    }
    let Some(GroupOf::Consumer(group)) = groups.get_mut(id) else {
        return false;
    };
    if matches!(record, Record::ConsumerGroupMetadata { value: None, .. }) {
        groups.remove(id);
        return true;
    }
    group.replay(record);
    false
}

/// The group that a record is about.
pub(crate) fn group_of(record: &Record) -> &StrBytes {
    match record {
        Record::OffsetCommit { group, .. }
        | Record::GroupMetadata { group, .. }
        | Record::ConsumerGroupMetadata { group, .. }
        | Record::ConsumerGroupPartitionMetadata { group }
        | Record::ConsumerGroupMember { group, .. }
        | Record::ConsumerGroupTargetEpoch { group, .. }
        | Record::ConsumerGroupTarget { group, .. }
        | Record::ConsumerGroupCurrent { group, .. }
        | Record::ConsumerGroupRegex { group, .. } => group,
    }
}

/// The group that a timer is about.
pub(crate) fn group_of_timer(key: &TimerKey) -> Option<&StrBytes> {
    match key {
        TimerKey::Session { group, .. }
        | TimerKey::Rebalance { group, .. }
        | TimerKey::Join { group }
        | TimerKey::Sync { group }
        | TimerKey::Regex { group } => Some(group),
        TimerKey::Cleanup => None,
    }
}

fn is_tombstone(record: &Record) -> bool {
    match record {
        Record::OffsetCommit { value, .. } => value.is_none(),
        Record::GroupMetadata { value, .. } => value.is_none(),
        Record::ConsumerGroupMetadata { value, .. } => value.is_none(),
        Record::ConsumerGroupPartitionMetadata { .. } => true,
        Record::ConsumerGroupMember { value, .. } => value.is_none(),
        Record::ConsumerGroupTargetEpoch { value, .. } => value.is_none(),
        Record::ConsumerGroupTarget { value, .. } => value.is_none(),
        Record::ConsumerGroupCurrent { value, .. } => value.is_none(),
        Record::ConsumerGroupRegex { value, .. } => value.is_none(),
    }
}

fn schedule_cleanup(turn: &mut Turn<'_>) {
    let interval_ms = turn.config.offsets_retention_check_interval_ms;
    let change = TimerChange::Start(TimerKey::Cleanup, interval_ms);
    turn.decision.timers.push(change);
}
