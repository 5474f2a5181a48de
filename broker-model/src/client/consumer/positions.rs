//! Where a consumer is in each partition, and whether it may be believed.
//!
//! Mirrors Kafka's `SubscriptionState`: a position is resolved at first, and after every change of
//! leader it is validated before anything is fetched there (KIP-320), unless nothing was read yet.
//! Sends nothing: `lookups` asks the brokers, `fetcher` fetches, `group` asks for committed offsets.

mod state;
mod subscribed;

use std::collections::{BTreeMap, BTreeSet};

use self::state::{Assigned, FetchState, Held, Unresolved};
pub(super) use self::state::{FetchPosition, Reset, ResetTo};
use crate::client::command::{Event, ResetReason, StartFrom};
use crate::client::metadata::Metadata;
use crate::config::AutoOffsetReset;
use crate::effect::Effects;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, Now, Offset, StrBytes, TopicIdPartition, TopicPartition};

/// The consumer's assignment.
#[derive(Debug)]
pub(super) struct Positions {
    policy: Option<ResetTo>,
    retry_backoff_ms: u64,
    /// Whether there is a group that may have committed something.
    grouped: bool,
    assigned: BTreeMap<TopicIdPartition, Assigned>,
    /// Partitions whose topic is not known yet.
    unresolved: Vec<Unresolved>,
    /// The topics subscribed to by name: nothing else is fetched.
    subscribed: Option<BTreeSet<StrBytes>>,
    next_target: u64,
}

impl Positions {
    /// Nothing is assigned.
    pub(super) fn new(policy: AutoOffsetReset, retry_backoff_ms: u64, grouped: bool) -> Self {
        let policy = match policy {
            AutoOffsetReset::Earliest => Some(ResetTo::Earliest),
            AutoOffsetReset::Latest => Some(ResetTo::Latest),
            AutoOffsetReset::ByDuration(age_ms) => Some(ResetTo::Age(age_ms)),
            AutoOffsetReset::None => None,
        };
        Positions {
            policy,
            retry_backoff_ms,
            grouped,
            assigned: BTreeMap::new(),
            unresolved: Vec::new(),
            subscribed: None,
            next_target: 0,
        }
    }

    /// Replaces the assignment. Every partition starts anew.
    pub(super) fn assign(
        &mut self,
        partitions: Vec<(TopicPartition, StartFrom)>,
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let old = std::mem::take(&mut self.assigned);
        let unresolved = partitions.into_iter().map(|(name, start)| Unresolved {
            name,
            start,
            held: Held::default(),
        });
        self.unresolved = unresolved.collect();
        self.resolve(metadata, &old, effects);
    }

    /// Takes in partitions whose topic became known.
    pub(super) fn resolve_topics(&mut self, metadata: &Metadata, effects: &mut Effects) {
        self.resolve(metadata, &BTreeMap::new(), effects);
    }

    fn resolve(
        &mut self,
        metadata: &Metadata,
        old: &BTreeMap<TopicIdPartition, Assigned>,
        effects: &mut Effects,
    ) {
        for waiting in std::mem::take(&mut self.unresolved) {
            let Some(topic) = metadata.topic_id(&waiting.name.topic) else {
                self.unresolved.push(waiting);
                continue;
            };
            let Unresolved { name, start, held } = waiting;
            let partition = TopicIdPartition {
                topic,
                partition: name.partition,
            };
            let from = old.get(&partition).and_then(|old| old.state.position());
            let from = from.map_or(Offset::UNKNOWN, |position| position.offset);
            let assigned = Assigned {
                name,
                held,
                state: FetchState::Initializing,
                not_before_ms: 0,
            };
            self.assigned.insert(partition, assigned);
            self.start(
                partition,
                start,
                (from, ResetReason::Start),
                metadata,
                effects,
            );
        }
    }

    /// The application goes elsewhere in an assigned partition.
    pub(super) fn seek(
        &mut self,
        name: &TopicPartition,
        to: StartFrom,
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let mut unresolved = self.unresolved.iter_mut();
        if let Some(waiting) = unresolved.find(|waiting| waiting.name == *name) {
            waiting.start = to;
            return;
        }
        let Some(topic) = metadata.topic_id(&name.topic) else {
            return;
        };
        let partition = TopicIdPartition {
            topic,
            partition: name.partition,
        };
        let Some(assigned) = self.assigned.get(&partition) else {
            return;
        };
        let from = match assigned.state {
            FetchState::AwaitReset { from, .. } => from,
            state => state.position().map_or(Offset::UNKNOWN, |at| at.offset),
        };
        self.start(partition, to, (from, ResetReason::Seek), metadata, effects);
    }

    fn start(
        &mut self,
        partition: TopicIdPartition,
        start: StartFrom,
        (from, why): (Offset, ResetReason),
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let to = match start {
            StartFrom::At(to) => {
                let state = FetchState::Fetching(FetchPosition {
                    offset: to,
                    offset_epoch: LeaderEpoch::NONE,
                    leader: metadata.current_leader(partition),
                });
                self.set(partition, state);
                return moved(partition, from, to, why, effects);
            }
            StartFrom::Committed if self.grouped => {
                return self.set(partition, FetchState::AwaitCommitted { from });
            }
            StartFrom::Beginning => Some(ResetTo::Earliest),
            StartFrom::End => Some(ResetTo::Latest),
            StartFrom::Reset | StartFrom::Committed => self.policy,
        };
        let state = match to {
            Some(to) => self.await_reset(to, why, from),
            None => FetchState::Initializing,
        };
        self.set(partition, state);
    }

    fn await_reset(&mut self, to: ResetTo, why: ResetReason, from: Offset) -> FetchState {
        self.next_target += 1;
        let target = self.next_target;
        let reset = Reset { to, target };
        FetchState::AwaitReset { reset, why, from }
    }

    fn set(&mut self, partition: TopicIdPartition, state: FetchState) {
        let assigned = self.assigned.get_mut(&partition);
        let assigned = assigned.expect("only assigned partitions have a state");
        assigned.state = state;
        assigned.not_before_ms = 0;
    }

    /// After the leader cache changed: a position that holds for an older leader must be
    /// validated, or is taken along if nothing was read yet (`maybeValidatePosition`).
    pub(super) fn on_leaders_changed(&mut self, metadata: &Metadata) {
        for (&partition, assigned) in &mut self.assigned {
            let leader = metadata.current_leader(partition);
            let Some(position) = assigned.state.position() else {
                continue;
            };
            if leader.leader.is_none() || position.leader == leader {
                continue;
            }
            let position = FetchPosition { leader, ..position };
            let unknown =
                position.offset_epoch == LeaderEpoch::NONE || leader.epoch == LeaderEpoch::NONE;
            assigned.not_before_ms = 0;
            assigned.state = if unknown {
                FetchState::Fetching(position)
            } else {
                FetchState::AwaitValidation(position)
            };
        }
    }

    /// Partitions whose position has to be looked up now.
    pub(super) fn needing_reset(&self, now: Now) -> Vec<(TopicIdPartition, Reset)> {
        let due = self.due(now);
        due.filter_map(|(partition, state)| match state {
            FetchState::AwaitReset { reset, .. } => Some((partition, *reset)),
            FetchState::Initializing
            | FetchState::AwaitCommitted { .. }
            | FetchState::AwaitValidation(_)
            | FetchState::Fetching(_) => None,
        })
        .collect()
    }

    /// Partitions whose position has to be validated now.
    pub(super) fn needing_validation(&self, now: Now) -> Vec<(TopicIdPartition, FetchPosition)> {
        let due = self.due(now);
        due.filter_map(|(partition, state)| match state {
            FetchState::AwaitValidation(position) => Some((partition, *position)),
            FetchState::Initializing
            | FetchState::AwaitCommitted { .. }
            | FetchState::AwaitReset { .. }
            | FetchState::Fetching(_) => None,
        })
        .collect()
    }

    /// Partitions that may be fetched now, and from where.
    pub(super) fn fetchable(
        &self,
        now: Now,
    ) -> impl Iterator<Item = (TopicIdPartition, FetchPosition)> + '_ {
        self.due(now).filter_map(|(partition, state)| match state {
            FetchState::Fetching(position) if !self.is_held(partition) => {
                Some((partition, *position))
            }
            FetchState::Initializing
            | FetchState::AwaitCommitted { .. }
            | FetchState::AwaitReset { .. }
            | FetchState::AwaitValidation(_)
            | FetchState::Fetching(_) => None,
        })
    }

    fn due(&self, now: Now) -> impl Iterator<Item = (TopicIdPartition, &FetchState)> + '_ {
        let assigned = self.assigned.iter();
        assigned
            .filter(move |(_, assigned)| assigned.not_before_ms <= now.mono_ms)
            .map(|(&partition, assigned)| (partition, &assigned.state))
    }

    /// The position, if it may be used.
    pub(super) fn valid(&self, partition: TopicIdPartition) -> Option<FetchPosition> {
        match self.assigned.get(&partition)?.state {
            FetchState::Fetching(position) => Some(position),
            FetchState::Initializing
            | FetchState::AwaitCommitted { .. }
            | FetchState::AwaitReset { .. }
            | FetchState::AwaitValidation(_) => None,
        }
    }

    /// The valid position of an assigned partition, if it has one; `None` if it is not assigned
    /// (`SubscriptionState.validPosition`).
    pub(super) fn position(&self, name: &TopicPartition) -> Option<Option<Offset>> {
        if self.unresolved.iter().any(|waiting| waiting.name == *name) {
            return Some(None);
        }
        let mut assigned = self.assigned.iter();
        let (&partition, _) = assigned.find(|(_, assigned)| assigned.name == *name)?;
        Some(self.valid(partition).map(|position| position.offset))
    }

    /// The application got everything before `to`, the last of it from a batch of that epoch.
    pub(super) fn advance(&mut self, partition: TopicIdPartition, to: Offset, epoch: LeaderEpoch) {
        let Some(assigned) = self.assigned.get_mut(&partition) else {
            return;
        };
        if let FetchState::Fetching(position) = &mut assigned.state {
            assert!(
                position.offset <= to,
                "a poll moved {} back to {to}",
                position.offset
            );
            position.offset = to;
            position.offset_epoch = epoch;
        }
    }

    /// Nothing more is asked about the partition for that long.
    pub(super) fn hold(&mut self, partition: TopicIdPartition, until_ms: u64) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.not_before_ms = until_ms;
        }
    }

    /// An answer about the partition was no help: ask again after `retry.backoff.ms`.
    pub(super) fn retry_later(&mut self, now: Now, partition: TopicIdPartition) {
        self.hold(partition, now.mono_ms + self.retry_backoff_ms);
    }

    /// A fetch of the partition was no help: fetch again after `retry.backoff.ms`.
    pub(super) fn rest(&mut self, now: Now, partition: TopicIdPartition) {
        if self.valid(partition).is_some() {
            self.retry_later(now, partition);
        }
    }

    /// Whether that reset is still wanted.
    pub(super) fn awaits(&self, partition: TopicIdPartition, target: u64) -> bool {
        self.assigned.get(&partition).is_some_and(|assigned| {
            matches!(assigned.state, FetchState::AwaitReset { reset, .. } if reset.target == target)
        })
    }

    /// The position could not be validated: ask again later, unless it changed meanwhile.
    pub(super) fn retry_validation(
        &mut self,
        now: Now,
        partition: TopicIdPartition,
        asked: FetchPosition,
    ) {
        let state = self.assigned.get(&partition).map(|assigned| assigned.state);
        if matches!(state, Some(FetchState::AwaitValidation(position)) if position == asked) {
            self.retry_later(now, partition);
        }
    }

    /// The offset that a reset waits for.
    pub(super) fn on_reset(
        &mut self,
        partition: TopicIdPartition,
        target: u64,
        offset: Offset,
        metadata: &Metadata,
        effects: &mut Effects,
    ) {
        let Some(assigned) = self.assigned.get(&partition) else {
            return;
        };
        let FetchState::AwaitReset { reset, why, from } = assigned.state else {
            return;
        };
        if reset.target != target {
            return;
        }
        let position = FetchPosition {
            offset,
            offset_epoch: LeaderEpoch::NONE,
            leader: metadata.current_leader(partition),
        };
        self.set(partition, FetchState::Fetching(position));
        moved(partition, from, offset, why, effects);
    }

    /// The broker has no such offset. `asked` is what was fetched.
    pub(super) fn on_out_of_range(
        &mut self,
        now: Now,
        partition: TopicIdPartition,
        asked: Offset,
        effects: &mut Effects,
    ) {
        let current = self.valid(partition).map(|position| position.offset);
        if current != Some(asked) {
            return;
        }
        match self.policy {
            Some(to) => {
                let state = self.await_reset(to, ResetReason::OutOfRange, asked);
                self.set(partition, state);
                effects.probe(Probe::ConsumerReset);
            }
            None => self.retry_later(now, partition),
        }
    }

    /// Where the epoch of the position ends on the leader; `None` if it has no such epoch
    /// (`maybeCompleteValidation`).
    pub(super) fn on_epoch_end(
        &mut self,
        now: Now,
        (partition, asked): (TopicIdPartition, FetchPosition),
        end: Option<(LeaderEpoch, Offset)>,
        effects: &mut Effects,
    ) {
        let assigned = self.assigned.get(&partition);
        let Some(FetchState::AwaitValidation(position)) = assigned.map(|known| known.state) else {
            return;
        };
        if position != asked {
            return;
        }
        let state = match (end, self.policy) {
            (Some((_, end)), _) if position.offset <= end => FetchState::Fetching(position),
            (_, None) => {
                effects.probe(Probe::ConsumerTruncationDetected);
                return self.retry_later(now, partition);
            }
            (Some((epoch, end)), Some(_)) => {
                effects.probe(Probe::ConsumerTruncationDetected);
                let why = ResetReason::Truncated;
                moved(partition, position.offset, end, why, effects);
                FetchState::Fetching(FetchPosition {
                    offset: end,
                    offset_epoch: epoch,
                    leader: position.leader,
                })
            }
            (None, Some(to)) => {
                effects.probe(Probe::ConsumerTruncationDetected);
                self.await_reset(to, ResetReason::Truncated, position.offset)
            }
        };
        self.set(partition, state);
    }

    /// When a partition that was held may be asked about again, monotonic.
    pub(super) fn next_deadline_ms(&self, now: Now) -> Option<u64> {
        let held = self
            .assigned
            .values()
            .map(|assigned| assigned.not_before_ms);
        held.filter(|held_ms| now.mono_ms < *held_ms).min()
    }
}

/// Tells the application that its position was set.
fn moved(
    partition: TopicIdPartition,
    from: Offset,
    to: Offset,
    why: ResetReason,
    effects: &mut Effects,
) {
    effects.event(Event::Reset {
        partition,
        from,
        to,
        why,
    });
}
