//! A member's work at what it polled: between two polls or behind them, and its effects in a sink.

use std::collections::VecDeque;

use broker_model::client::command::{Command, PolledPartition};

use super::{Batch, Member, State};
use crate::history::Ev;
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
        let mut taken = self.taken.borrow_mut();
        let effects = batch.records.iter().filter(|record| match self.plan.sink {
            Sink::None => false,
            Sink::Plain => true,
            Sink::Idempotent => taken.insert(**record),
        });
        let numbered = effects.filter_map(|&(id, offset)| Some((recorder.partition(id)?, offset)));
        let rs: Vec<(u32, i64)> = numbered.collect();
        if !rs.is_empty() {
            self.tell(now_us, Ev::Effect { rs }, recorder);
        }
    }
}
