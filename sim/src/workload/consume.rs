//! Assigns itself every partition of a topic and follows to the end, polling.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{
    Command, Event, OpId, PolledPartition, ResetReason, StartFrom,
};
use broker_model::types::{Offset, StrBytes, TopicIdPartition, TopicPartition, Uuid};

use super::{App, Journal, SentDirectory};
use crate::cluster::TopicFacts;
use crate::history::{BadRecord, Body, Ev, Op, PollPart, Res};
use crate::recorder::Recorder;

/// When a consumer does what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// Milliseconds from the start.
    pub from_ms: u64,
    /// How long a poll waits.
    pub poll_ms: u64,
    /// Between two polls.
    pub pause_ms: u64,
    /// Moments of seeks to the beginning, milliseconds from the start, ascending.
    pub rewinds_ms: Vec<u64>,
}

/// A consuming application.
pub struct Consume {
    journal: Journal,
    topic: StrBytes,
    rhythm: Rhythm,
    sent: SentDirectory,
    facts: Option<TopicFacts>,
    start_us: u64,
    assigned: bool,
    rewound: usize,
    polling: Option<OpId>,
    next_poll_us: Option<u64>,
    /// Polls that a script lets go whatever the rhythm is.
    released: u32,
    /// Where a script wants it to go on.
    sought: Option<i64>,
    draining: bool,
    /// Of every assigned partition.
    positions: BTreeMap<TopicIdPartition, i64>,
}

impl Consume {
    /// An application that consumes that topic.
    #[must_use]
    pub fn new(actor: u32, topic: &str, rhythm: Rhythm, sent: SentDirectory) -> Self {
        Consume {
            journal: Journal::new(actor),
            topic: StrBytes::from_string(topic.to_owned()),
            rhythm,
            sent,
            facts: None,
            start_us: 0,
            assigned: false,
            rewound: 0,
            polling: None,
            next_poll_us: None,
            released: 0,
            sought: None,
            draining: false,
            positions: BTreeMap::new(),
        }
    }

    fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let count = self.facts.map_or(0, |facts| facts.partitions);
        (0..count).map(|partition| TopicPartition {
            topic: self.topic.clone(),
            partition,
        })
    }

    fn assign(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let facts = self
            .facts
            .expect("consumption starts once the topics exist");
        let ps = (0..facts.partitions)
            .filter_map(|p| recorder.partition_of(facts.id, p))
            .collect();
        let op = self.journal.invoke(now_us, recorder, Op::Assign { ps });
        self.journal.ok(now_us, recorder, op, Res::Unit);
        let partitions = self
            .partitions()
            .map(|partition| (partition, StartFrom::Reset))
            .collect();
        calls.push_back(Command::Assign { partitions });
        self.assigned = true;
        self.stand_at(NOWHERE);
    }

    /// Goes to an offset of every partition, or to its beginning.
    fn seek_to(
        &mut self,
        now_us: u64,
        to: StartFrom,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let facts = self
            .facts
            .expect("consumption starts once the topics exist");
        let numbers = (0..facts.partitions).filter_map(|p| recorder.partition_of(facts.id, p));
        let offset = match to {
            StartFrom::At(offset) => offset.0,
            _ => BEGINNING,
        };
        let sought = numbers.map(|p| (p, offset)).collect();
        let op = self
            .journal
            .invoke(now_us, recorder, Op::Seek { to: sought });
        self.journal.ok(now_us, recorder, op, Res::Unit);
        let seeks = self
            .partitions()
            .map(|partition| Command::Seek { partition, to });
        calls.extend(seeks);
        self.stand_at(match to {
            StartFrom::At(offset) => offset.0,
            _ => NOWHERE,
        });
    }

    /// Every assigned partition has this position now.
    fn stand_at(&mut self, position: i64) {
        let facts = self
            .facts
            .expect("consumption starts once the topics exist");
        for partition in 0..facts.partitions {
            let topic = facts.id;
            let partition = TopicIdPartition { topic, partition };
            self.positions.insert(partition, position);
        }
    }

    fn poll(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let op = self.journal.invoke(now_us, recorder, Op::Poll);
        self.polling = Some(op);
        self.next_poll_us = None;
        calls.push_back(Command::Poll {
            op,
            timeout_ms: self.rhythm.poll_ms,
        });
    }
}

/// Between two polls that a script lets go.
const RELEASED_PAUSE_MS: u64 = 10;

/// A position that is not known yet: before all others.
const NOWHERE: i64 = -1;

/// `ListOffsets.EARLIEST_TIMESTAMP`, as the history names the beginning of a log.
const BEGINNING: i64 = -2;

impl App for Consume {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.start_us = now_us;
        self.facts = topics.get(&*self.topic).copied();
        self.next_poll_us = Some(now_us + self.rhythm.from_ms * 1_000);
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.polling.is_some() || self.next_poll_us.is_none_or(|at_us| at_us > now_us) {
            return;
        }
        if !self.assigned {
            self.assign(now_us, recorder, calls);
        }
        let due = self.rhythm.rewinds_ms.get(self.rewound);
        if due.is_some_and(|at_ms| self.start_us + at_ms * 1_000 <= now_us) && !self.draining {
            self.rewound += 1;
            self.seek_to(now_us, StartFrom::Beginning, recorder, calls);
        }
        if let Some(offset) = self.sought.take() {
            self.seek_to(now_us, StartFrom::At(Offset(offset)), recorder, calls);
        }
        self.poll(now_us, recorder, calls);
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
        match event {
            Event::Polled { op, parts } => {
                assert_eq!(self.polling.take(), Some(op), "each poll ends once");
                for part in &parts {
                    self.positions.insert(part.partition, part.to.0);
                }
                let polled = polled(&parts, |_| self.facts, &self.sent, recorder);
                self.journal.ok(now_us, recorder, op, polled);
                self.released = self.released.saturating_sub(1);
                let pause_ms = match self.released {
                    0 => self.rhythm.pause_ms,
                    _ => RELEASED_PAUSE_MS,
                };
                self.next_poll_us = Some(now_us + pause_ms * 1_000);
            }
            Event::Reset {
                partition,
                from,
                to,
                why,
            } => {
                self.positions.insert(partition, to.0);
                record_reset(
                    &self.journal,
                    now_us,
                    (partition, from.0, to.0, why),
                    recorder,
                );
            }
            // This application is in no group.
            Event::PollFailed { .. }
            | Event::Rebalance { .. }
            | Event::Committing { .. }
            | Event::Committed { .. }
            | Event::CommittedOffsets { .. }
            | Event::Position { .. }
            | Event::Sent { .. }
            | Event::Offsets { .. }
            | Event::Done { .. }
            | Event::Group { .. } => {}
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        self.next_poll_us.filter(|_| self.polling.is_none())
    }

    fn release(&mut self, calls: u32) {
        self.released = self.released.saturating_add(calls);
        if self.polling.is_none() {
            self.next_poll_us = Some(self.start_us);
        }
    }

    fn seek(&mut self, to: i64) {
        self.sought = Some(to);
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    /// A consumer follows the log for as long as there is one; it never holds a run up.
    fn is_done(&self) -> bool {
        true
    }

    fn waits_for(&self) -> String {
        "nothing".to_owned()
    }

    fn positions(&self) -> Option<&BTreeMap<TopicIdPartition, i64>> {
        self.assigned.then_some(&self.positions)
    }
}

/// What a poll returned, as the history says it.
pub(super) fn polled(
    parts: &[PolledPartition],
    facts: impl Fn(Uuid) -> Option<TopicFacts>,
    sent: &SentDirectory,
    recorder: &Recorder,
) -> Res {
    let parts = parts.iter().map(|part| {
        let partitions = facts(part.partition.topic).map_or(1, |facts| facts.partitions);
        let mut rs = Vec::with_capacity(part.records.len());
        let mut le: Vec<(u32, i32)> = Vec::new();
        let mut bad = Vec::new();
        for record in &part.records {
            let value = sent.read(record, part.partition.partition, partitions);
            rs.push((record.offset.0, *value.as_ref().unwrap_or(&0)));
            if let Err(why) = value {
                bad.push(BadRecord {
                    o: record.offset.0,
                    why,
                });
            }
            match le.last_mut() {
                Some((count, epoch)) if *epoch == record.leader_epoch.0 => *count += 1,
                _ => le.push((1, record.leader_epoch.0)),
            }
        }
        let p = recorder
            .partition(part.partition)
            .expect("only known partitions are consumed");
        PollPart {
            p,
            from: part.from.0,
            to: part.to.0,
            rs,
            le,
            bad,
        }
    });
    Res::Polled(parts.collect())
}

/// A position was set.
pub(super) fn record_reset(
    journal: &Journal,
    now_us: u64,
    (partition, from, to, why): (TopicIdPartition, i64, i64, ResetReason),
    recorder: &mut Recorder,
) {
    let p = recorder
        .partition(partition)
        .expect("only known partitions are consumed");
    let why = match why {
        ResetReason::Start => "start",
        ResetReason::Seek => "seek",
        ResetReason::OutOfRange => "out-of-range",
        ResetReason::Truncated => "truncated",
        ResetReason::Committed => "committed",
    };
    let ev = Ev::Reset {
        p,
        from,
        to,
        why: why.to_owned(),
    };
    recorder.line(
        now_us,
        Body::Ev {
            a: journal.actor(),
            ev,
        },
    );
}
