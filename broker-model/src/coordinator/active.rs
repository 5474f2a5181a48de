//! A shard that is loaded, and the log behind it: decide, append, replay, wait, answer.
//!
//! Mirrors `CoordinatorRuntime.CoordinatorContext`, its `CoordinatorTimerImpl` and
//! `DeferredEventQueue`. Each decision is a batch of its own: nothing lingers. What a decision
//! answers waits until the high watermark has passed its batch, for `offsets.commit.timeout.ms` at
//! most: then the client hears that it failed, though the batch may still be committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::ResponseKind;

use super::World;
use super::record::Record;
use super::refusal;
use super::shard::{Shard, group_of_timer};
use super::turn::{Caller, Continuation, Decision, TimerChange, TimerKey, Turn};
use crate::context::Context;
use crate::note::{CoordinatorChange, CoordinatorTimer, Note};
use crate::replica::WholeLog;
use crate::types::{
    ConnectionId, LeaderEpoch, Now, Offset, ResponseError, StrBytes, TopicIdPartition,
};
use crate::wire::batch::BatchIter;
use crate::wire::build::BatchBuilder;

/// Answers that are to leave.
pub(super) type Answers = Vec<(Caller, ResponseKind)>;

/// A loaded shard.
///
/// pending ascends by end; its records are in the log and in the shard as written.
#[derive(Debug)]
pub(super) struct Active {
    partition: TopicIdPartition,
    /// In which the broker leads now.
    pub(super) leader_epoch: LeaderEpoch,
    /// The groups.
    pub(super) shard: Shard,
    pending: VecDeque<Pending>,
    timers: Timers,
    /// Where the log ends for this shard, exclusive: what it read and wrote itself.
    written: Offset,
}

/// Written, or after what is written, and not committed.
#[derive(Debug)]
struct Pending {
    /// Committed once the high watermark is there.
    end: Offset,
    records: Vec<Record>,
    answers: Answers,
    then: Option<Continuation>,
    /// When those who wait are told that it failed.
    deadline_ms: u64,
}

/// The timers of a shard. by_deadline holds exactly those of deadlines.
#[derive(Default, Debug)]
struct Timers {
    deadlines: BTreeMap<TimerKey, u64>,
    by_deadline: BTreeSet<(u64, TimerKey)>,
}

impl Active {
    /// The shard that a log describes. `Err` for a log that no coordinator wrote.
    pub(super) fn load(
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        (partition, leader_epoch): (TopicIdPartition, LeaderEpoch),
        log: &WholeLog,
        out: &mut Answers,
    ) -> Result<Self, ()> {
        let mut active = Active {
            partition,
            leader_epoch,
            shard: Shard::default(),
            pending: VecDeque::new(),
            timers: Timers::default(),
            written: log.log_end,
        };
        for batch in BatchIter::new(&log.batches) {
            let batch = batch.expect("the log holds whole batches");
            if batch.header.attributes.is_control() {
                continue;
            }
            let mut records = Vec::new();
            for record in batch.records() {
                let record = record.map_err(|_| ())?;
                let key = record.key.ok_or(())?;
                records.extend(Record::decode(key, record.value).map_err(|_| ())?);
            }
            active.replay(cx.now, &records, false);
            let end = batch.header.next_offset();
            if end <= log.high_watermark {
                active.commit(&records);
            } else {
                active.pending.push_back(Pending {
                    end,
                    records,
                    answers: Vec::new(),
                    then: None,
                    deadline_ms: u64::MAX,
                });
            }
        }
        active.shard.take_removed();
        active.note(
            cx,
            CoordinatorChange::Loaded {
                log_end: log.log_end,
                high_watermark: log.high_watermark,
            },
        );
        active.decide(cx, world, out, |shard, turn| shard.on_loaded(turn));
        active.note(cx, CoordinatorChange::Serving);
        Ok(active)
    }

    /// Decides something and does what was decided.
    pub(super) fn decide(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
        decide: impl FnOnce(&mut Shard, &mut Turn<'_>),
    ) {
        let decision = self.turn(cx, world, decide);
        self.carry_out(cx, world, out, decision);
    }

    /// The high watermark may have moved: what it passed is committed. Returns whether anything was.
    pub(super) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
    ) -> bool {
        let Some(high_watermark) = world.replicas.high_watermark(self.partition) else {
            return false;
        };
        let mut any = false;
        while self
            .pending
            .front()
            .is_some_and(|it| it.end <= high_watermark)
        {
            let pending = self.pending.pop_front().expect("just seen");
            any = true;
            self.commit(&pending.records);
            if !pending.records.is_empty() {
                self.note(cx, CoordinatorChange::Committed { up_to: pending.end });
            }
            if let Some(then) = pending.then {
                self.decide(cx, world, out, |shard, turn| {
                    shard.on_written(turn, then, Ok(()));
                });
            }
            out.extend(pending.answers);
        }
        any
    }

    /// Whether a step has to look at the high watermark.
    pub(super) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The next moment at which something is due.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let timer = self.timers.by_deadline.first().map(|(at, _)| *at);
        let writes = self.pending.iter().map(|it| it.deadline_ms);
        let write = writes.filter(|at| *at != u64::MAX).min();
        timer.into_iter().chain(write).min()
    }

    /// Does what is due.
    pub(super) fn on_timer(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
    ) {
        self.time_out(cx, world, out);
        while let Some(key) = self.timers.take_due(cx.now.mono_ms) {
            self.note_timer(cx, &key, false);
            let decision = self.turn(cx, world, |shard, turn| shard.on_timer(turn, &key));
            let written = self.carry_out(cx, world, out, decision);
            if !written && self.shard.retries(&key) {
                self.start_timer(cx, key, cx.now.mono_ms + RETRY_BACKOFF_MS);
            }
        }
    }

    /// Nobody waits on that connection any more.
    pub(super) fn on_closed(&mut self, conn: ConnectionId) {
        self.shard.on_closed(conn);
        for pending in &mut self.pending {
            pending.answers.retain(|(caller, _)| caller.conn != conn);
        }
    }

    /// The broker no longer leads: nothing that waits is known to be committed.
    pub(super) fn unload(mut self, cx: &mut Context<'_>, world: &mut World<'_>, out: &mut Answers) {
        for pending in std::mem::take(&mut self.pending) {
            if let Some(then) = pending.then {
                let result = Err(ResponseError::NotCoordinator);
                let decision = self.turn(cx, world, |shard, turn| {
                    shard.on_written(turn, then, result);
                });
                drop_decision(out, decision);
            }
            out.extend(failed(pending.answers, ResponseError::NotCoordinator));
        }
        let decision = self.turn(cx, world, |shard, turn| shard.on_unloaded(turn));
        drop_decision(out, decision);
        self.note(cx, CoordinatorChange::Unloaded);
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        world: &World<'_>,
        decide: impl FnOnce(&mut Shard, &mut Turn<'_>),
    ) -> Decision {
        let mut turn = Turn {
            partition: self.partition.partition,
            now: cx.now,
            ids: cx.ids,
            image: world.image,
            config: world.config,
            effects: cx.effects,
            decision: Decision::default(),
        };
        self.shard.begin();
        decide(&mut self.shard, &mut turn);
        turn.decision
    }

    /// Appends, replays, arms, and lets leave what need not wait. Returns whether all could be
    /// written.
    fn carry_out(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        out: &mut Answers,
        decision: Decision,
    ) -> bool {
        out.extend(decision.at_once);
        let written = match decision.records.is_empty() {
            true => Ok(()),
            false => self.write(cx, world, &decision.records),
        };
        for group in self.shard.take_removed() {
            for key in self.timers.stop_group(&group) {
                self.note_timer(cx, &key, false);
            }
        }
        for change in decision.timers {
            match change {
                TimerChange::Start(key, after_ms) => {
                    let at_ms = cx.now.mono_ms.saturating_add(after_ms);
                    self.start_timer(cx, key, at_ms);
                }
                TimerChange::Stop(key) => {
                    if self.timers.stop(&key) {
                        self.note_timer(cx, &key, false);
                    }
                }
            }
        }
        if let Err(error) = written {
            self.note(cx, CoordinatorChange::Dropped);
            let undo = self.shard.take_undo();
            // Whoever waits in a group that was made for it hears of it before the group goes.
            if let Some(then) = decision.then {
                self.decide(cx, world, out, |shard, turn| {
                    shard.on_written(turn, then, Err(error));
                });
            }
            self.shard.revert(undo);
            out.extend(failed(decision.answers, error));
            return false;
        }
        if !(decision.records.is_empty() && decision.answers.is_empty() && decision.then.is_none())
        {
            let timeout_ms = world.config.offsets_commit_timeout_ms;
            self.pending.push_back(Pending {
                end: self.written,
                records: decision.records,
                answers: decision.answers,
                then: decision.then,
                deadline_ms: cx.now.mono_ms.saturating_add(timeout_ms),
            });
        }
        true
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        world: &mut World<'_>,
        records: &[Record],
    ) -> Result<(), ResponseError> {
        let batch = batch_of(cx.now, records);
        let last = world
            .replicas
            .append_batch(cx, world.image, self.partition, &batch)?;
        self.written = last.next();
        self.note(cx, CoordinatorChange::Written { last });
        self.replay(cx.now, records, true);
        Ok(())
    }

    fn replay(&mut self, now: Now, records: &[Record], live: bool) {
        for record in records {
            self.shard.replay(now, record, live);
        }
    }

    fn commit(&mut self, records: &[Record]) {
        for record in records {
            self.shard.commit(record);
        }
    }

    /// Those who wait for a write that takes too long are told that it failed.
    fn time_out(&mut self, cx: &mut Context<'_>, world: &mut World<'_>, out: &mut Answers) {
        let mut late = Vec::new();
        for pending in &mut self.pending {
            if pending.deadline_ms <= cx.now.mono_ms {
                pending.deadline_ms = u64::MAX;
                let answers = std::mem::take(&mut pending.answers);
                late.push((pending.then.take(), answers));
            }
        }
        let error = ResponseError::RequestTimedOut;
        for (then, answers) in late {
            if let Some(then) = then {
                self.decide(cx, world, out, |shard, turn| {
                    shard.on_written(turn, then, Err(error));
                });
            }
            out.extend(failed(answers, error));
        }
    }

    fn start_timer(&mut self, cx: &mut Context<'_>, key: TimerKey, at_ms: u64) {
        let ran = self.timers.stop(&key);
        if !ran {
            self.note_timer(cx, &key, true);
        }
        self.timers.start(key, at_ms);
    }

    fn note_timer(&self, cx: &mut Context<'_>, key: &TimerKey, runs: bool) {
        let (member, timer) = match key {
            TimerKey::Session { member, .. } => (Some(member), CoordinatorTimer::Session),
            TimerKey::Rebalance { member, .. } => (Some(member), CoordinatorTimer::Rebalance),
            TimerKey::Join { .. } => (None, CoordinatorTimer::Join),
            TimerKey::Sync { .. } => (None, CoordinatorTimer::Sync),
            TimerKey::Regex { .. } => (None, CoordinatorTimer::Regex),
            TimerKey::Cleanup => return,
        };
        let change = CoordinatorChange::Timer {
            group: group_of_timer(key).cloned().unwrap_or_default(),
            member: member.cloned(),
            timer,
            runs,
        };
        self.note(cx, change);
    }

    fn note(&self, cx: &mut Context<'_>, change: CoordinatorChange) {
        cx.effects.note(Note::Coordinator {
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            change,
        });
    }
}

impl Timers {
    /// Starts one that does not run.
    fn start(&mut self, key: TimerKey, at_ms: u64) {
        self.by_deadline.insert((at_ms, key.clone()));
        self.deadlines.insert(key, at_ms);
    }

    /// Whether it ran.
    fn stop(&mut self, key: &TimerKey) -> bool {
        let at_ms = self.deadlines.remove(key);
        if let Some(at_ms) = at_ms {
            self.by_deadline.remove(&(at_ms, key.clone()));
        }
        at_ms.is_some()
    }

    /// Those that ran.
    fn stop_group(&mut self, group: &StrBytes) -> Vec<TimerKey> {
        let of_group = |key: &&TimerKey| group_of_timer(key) == Some(group);
        let ran: Vec<TimerKey> = self.deadlines.keys().filter(of_group).cloned().collect();
        for key in &ran {
            self.stop(key);
        }
        ran
    }

    fn take_due(&mut self, now_ms: u64) -> Option<TimerKey> {
        let (at_ms, _) = self.by_deadline.first()?;
        if now_ms < *at_ms {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.deadlines.remove(&key);
        Some(key)
    }
}

/// A decision of a shard that is given up: nothing of it is written.
fn drop_decision(out: &mut Answers, decision: Decision) {
    out.extend(decision.at_once);
    out.extend(failed(decision.answers, ResponseError::NotCoordinator));
}

fn failed(answers: Answers, error: ResponseError) -> impl Iterator<Item = (Caller, ResponseKind)> {
    let answers = answers.into_iter();
    answers.map(move |(caller, answer)| {
        let answer = refusal::instead(answer, error);
        (caller, answer)
    })
}

fn batch_of(now: Now, records: &[Record]) -> Bytes {
    let mut batch = BatchBuilder::new();
    for record in records {
        let (key, value) = record.encode();
        batch.push(now.wall_ms, Some(&key), value.as_deref(), &[]);
    }
    batch.build()
}

/// `CoordinatorTimerImpl`: how long after a failed write a timer fires again.
const RETRY_BACKOFF_MS: u64 = 500;
