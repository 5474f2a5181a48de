//! A member's work at what it polled: between two polls or behind them, and its effects in a sink.

use std::collections::{BTreeSet, VecDeque};

use broker_model::client::command::{Command, PolledPartition, PolledRecord};
use broker_model::types::TopicIdPartition;
use xxhash_rust::xxh3::xxh3_64;

use super::super::dead_letters::{LOOK_EVERY_US, Letter};
use super::{Batch, Member, State};
use crate::history::{Ev, value};
use crate::plan::{Delivery, Processing, Sink};
use crate::recorder::Recorder;

impl Member {
    /// When it polls again: at once, when it only has to catch up.
    pub(super) fn rested_us(&self, now_us: u64) -> u64 {
        let pause_ms = if self.draining { 0 } else { self.plan.pause_ms };
        now_us + pause_ms * 1_000
    }

    /// Takes what a poll returned.
    pub(super) fn take(
        &mut self,
        now_us: u64,
        parts: &[PolledPartition],
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        self.polled = true;
        let mut batch = Batch::default();
        for part in parts {
            let Some(progress) = self.owned.get_mut(&part.partition) else {
                continue;
            };
            progress.position = part.to.0;
            let epoch = part.records.last().map(|record| record.leader_epoch);
            let epoch = epoch.unwrap_or(progress.epoch);
            let assignment = progress.assignment;
            batch
                .upto
                .push((part.partition, assignment, part.to.0, epoch));
            let offsets = part.records.iter().map(|record| record.offset.0);
            batch
                .records
                .extend(offsets.map(|offset| (part.partition, offset)));
            let poison = part.records.iter().filter(|record| self.is_poison(record));
            let letters = poison.map(|record| self.letter(part.partition, record));
            batch.letters.extend(letters);
        }
        let rest_us = self.rested_us(now_us);
        if batch.records.is_empty() {
            self.processed(now_us, &batch, recorder);
            // Whoever has caught up commits, however few records it were.
            if !self.uncommitted().is_empty() && self.behind.is_empty() {
                self.since_commit = self.plan.commit_every;
            }
            self.state = State::Turn {
                at_us: rest_us.max(now_us + 1_000),
            };
        } else if self.plan.delivery == Delivery::AtMostOnce {
            let upto = batch.upto.iter();
            let upto: Vec<_> = upto.map(|&(id, _, to, epoch)| (id, to, epoch)).collect();
            let op = self.commit_offsets(now_us, &upto, true, recorder, calls);
            self.state = State::Committing(op, Some(batch));
        } else {
            self.work(now_us, batch);
        }
    }

    /// Begins to work at a batch.
    pub(super) fn work(&mut self, now_us: u64, batch: Batch) {
        let records = u64::try_from(batch.records.len()).expect("few records");
        let mut work_us = records * self.plan.process_us;
        let next = self.plan.stalls_ms.get(self.stalls).copied();
        if let Some((at_ms, for_ms)) = next
            && self.is_due(now_us, Some(at_ms))
        {
            self.stalls += 1;
            work_us += for_ms * 1_000;
        }
        let rest_us = self.rested_us(now_us);
        match self.plan.processing {
            Processing::InPoll => {
                let until_us = now_us + work_us.max(1);
                self.state = State::Working { until_us, batch };
            }
            Processing::Behind => {
                let free_us = self.behind.back().map_or(now_us, |(until_us, _)| *until_us);
                let until_us = free_us.max(now_us) + work_us.max(1);
                self.behind.push_back((until_us, batch));
                self.state = State::Turn {
                    at_us: rest_us.max(now_us + 1_000),
                };
            }
        }
    }

    /// It is through with a batch, but for what it could not process.
    pub(super) fn worked(&mut self, now_us: u64, batch: Batch, recorder: &mut Recorder) {
        for letter in &batch.letters {
            self.desk.post(letter.clone());
        }
        if self.awaits_letters() && !batch.letters.is_empty() {
            self.state = State::Posting {
                at_us: now_us + LOOK_EVERY_US,
                missing: batch.letters.iter().map(Letter::of).collect(),
                batch,
            };
            return;
        }
        self.processed(now_us, &batch, recorder);
        let at_us = self.rested_us(now_us);
        self.state = State::Turn { at_us };
    }

    /// Letters may have arrived: that is the effect of a record that cannot be processed.
    pub(super) fn hear_of_letters(&mut self, now_us: u64, recorder: &mut Recorder) {
        if self.plan.dead_letters.is_none() {
            return;
        }
        let arrived = self.desk.arrived();
        if let State::Posting {
            at_us,
            missing,
            batch,
        } = &mut self.state
        {
            missing.retain(|letter| !arrived.contains(letter));
            if !missing.is_empty() {
                if *at_us <= now_us {
                    *at_us = now_us + LOOK_EVERY_US;
                }
                return;
            }
            let batch = std::mem::take(batch);
            self.processed(now_us, &batch, recorder);
            let at_us = self.rested_us(now_us);
            self.state = State::Turn { at_us };
        } else if !self.awaits_letters() && self.plan.sink != Sink::None {
            self.tell_effects(now_us, arrived, recorder);
        }
    }

    fn awaits_letters(&self) -> bool {
        self.plan.dead_letters.as_ref().is_some_and(|it| it.awaited)
    }

    fn tell_effects(
        &self,
        now_us: u64,
        effects: impl IntoIterator<Item = (TopicIdPartition, i64)>,
        recorder: &mut Recorder,
    ) {
        let effects = effects.into_iter();
        let numbered = effects.filter_map(|(id, offset)| Some((recorder.partition(id)?, offset)));
        let rs: Vec<(u32, i64)> = numbered.collect();
        if !rs.is_empty() {
            self.tell(now_us, Ev::Effect { rs }, recorder);
        }
    }

    /// Whether it cannot process that record.
    fn is_poison(&self, record: &PolledRecord) -> bool {
        let Some(plan) = &self.plan.dead_letters else {
            return false;
        };
        let value = value::decode(record.value.as_deref().unwrap_or_default());
        value.is_some_and(|value| xxh3_64(&value.v.to_be_bytes()) % 100 < plan.poison)
    }

    fn letter(&self, partition: TopicIdPartition, record: &PolledRecord) -> Letter {
        Letter {
            partition,
            named: self.named(partition),
            offset: record.offset.0,
            key: record.key.clone(),
        }
    }

    /// A batch is processed: its effects are in the sink.
    pub(super) fn processed(&mut self, now_us: u64, batch: &Batch, recorder: &mut Recorder) {
        for &(id, assignment, to, epoch) in &batch.upto {
            let owned = self.owned.get_mut(&id);
            if let Some(progress) = owned.filter(|progress| progress.assignment == assignment) {
                progress.processed = to;
                progress.epoch = epoch;
            }
        }
        self.since_commit += u64::try_from(batch.records.len()).expect("few records");
        let letters: BTreeSet<_> = batch.letters.iter().map(Letter::of).collect();
        let mut taken = self.taken.borrow_mut();
        let effects = batch.records.iter().filter(|record| {
            let is_letter = letters.contains(record);
            match self.plan.sink {
                Sink::None => false,
                // The one who does not wait hears of it later.
                _ if is_letter => self.awaits_letters(),
                Sink::Plain => true,
                Sink::Idempotent => taken.insert(**record),
            }
        });
        self.tell_effects(now_us, effects.copied().collect::<Vec<_>>(), recorder);
    }
}
