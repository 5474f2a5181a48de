//! The final scan: a fresh consumer reads a topic from its beginning to the end that it was told.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event, OpId, StartFrom};
use broker_model::types::{Offset, StrBytes, TopicIdPartition, TopicPartition};

use super::consume::{polled, record_reset};
use super::{App, Journal, SentDirectory};
use crate::cluster::TopicFacts;
use crate::history::{Er, Op, Res};
use crate::recorder::Recorder;

/// A scanning application.
pub struct Scan {
    journal: Journal,
    topic: StrBytes,
    facts: Option<TopicFacts>,
    committed: bool,
    sent: SentDirectory,
    state: State,
    positions: BTreeMap<TopicIdPartition, i64>,
    ends: BTreeMap<TopicIdPartition, i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Wanted { at_us: u64 },
    AskingEnds(OpId),
    Polling(OpId),
    Done,
}

const POLL_MS: u64 = 500;
const RETRY_US: u64 = 100_000;

impl Scan {
    /// A scan of that topic; `committed` for read_committed.
    #[must_use]
    pub fn new(actor: u32, topic: &str, committed: bool, sent: SentDirectory) -> Self {
        Scan {
            journal: Journal::new(actor),
            topic: StrBytes::from_string(topic.to_owned()),
            facts: None,
            committed,
            sent,
            state: State::Idle,
            positions: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        let count = self.facts.map_or(0, |facts| facts.partitions);
        (0..count).map(|partition| TopicPartition {
            topic: self.topic.clone(),
            partition,
        })
    }

    fn numbers(&self, recorder: &Recorder) -> Vec<u32> {
        let facts = self.facts.expect("a scan starts once the topics exist");
        (0..facts.partitions)
            .filter_map(|p| recorder.partition_of(facts.id, p))
            .collect()
    }

    /// Starts to read every partition from its beginning, up to the end that it has now.
    fn ends_known(
        &mut self,
        now_us: u64,
        op: OpId,
        ends: Vec<(TopicIdPartition, Offset)>,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let numbered = ends
            .iter()
            .filter_map(|(partition, offset)| Some((recorder.partition(*partition)?, offset.0)));
        let answer = Res::Offs(numbered.collect());
        self.journal.ok(now_us, recorder, op, answer);
        self.ends = ends.into_iter().map(|(p, offset)| (p, offset.0)).collect();
        let op = Op::Assign {
            ps: self.numbers(recorder),
        };
        let op = self.journal.invoke(now_us, recorder, op);
        self.journal.ok(now_us, recorder, op, Res::Unit);
        let from = self
            .partitions()
            .map(|partition| (partition, StartFrom::Beginning));
        calls.push_back(Command::Assign {
            partitions: from.collect(),
        });
        self.poll(now_us, recorder, calls);
    }

    fn poll(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let reached = self.ends.iter().all(|(partition, end)| {
            self.positions
                .get(partition)
                .is_some_and(|position| position >= end)
        });
        if reached {
            self.state = State::Done;
            return;
        }
        let op = self.journal.invoke(now_us, recorder, Op::Poll);
        self.state = State::Polling(op);
        calls.push_back(Command::Poll {
            op,
            timeout_ms: POLL_MS,
        });
    }
}

impl App for Scan {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.facts = topics.get(&*self.topic).copied();
        self.state = State::Wanted { at_us: now_us };
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let State::Wanted { at_us } = self.state else {
            return;
        };
        if at_us > now_us {
            return;
        }
        let op = Op::ListOffsets {
            ps: self.numbers(recorder),
            spec: -1,
            rc: self.committed,
        };
        let op = self.journal.invoke(now_us, recorder, op);
        self.state = State::AskingEnds(op);
        calls.push_back(Command::EndOffsets {
            op,
            partitions: self.partitions().collect(),
        });
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        match event {
            Event::Offsets {
                op,
                result: Ok(offsets),
            } => {
                self.ends_known(now_us, op, offsets, recorder, calls);
            }
            Event::Offsets {
                op,
                result: Err(error),
            } => {
                self.journal.fail(
                    now_us,
                    recorder,
                    op,
                    Er {
                        c: error.code(),
                        att: 1,
                    },
                );
                self.state = State::Wanted {
                    at_us: now_us + RETRY_US,
                };
            }
            Event::Polled { op, parts } => {
                for part in &parts {
                    self.positions.insert(part.partition, part.to.0);
                }
                let polled = polled(&parts, |_| self.facts, &self.sent, recorder);
                self.journal.ok(now_us, recorder, op, polled);
                self.poll(now_us, recorder, calls);
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
            Event::Done {
                op,
                result: Err(error),
            } => {
                self.journal.fail(now_us, recorder, op, Er::new(error, 1));
            }
            // This application is in no group.
            Event::PollFailed { .. }
            | Event::Rebalance { .. }
            | Event::Committing { .. }
            | Event::Committed { .. }
            | Event::CommittedOffsets { .. }
            | Event::Position { .. }
            | Event::Done { .. }
            | Event::Sent { .. }
            | Event::Group { .. } => {}
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        match self.state {
            State::Wanted { at_us } => Some(at_us),
            _ => None,
        }
    }

    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn waits_for(&self) -> String {
        let behind = self.ends.iter().filter(|(partition, end)| {
            self.positions
                .get(partition)
                .is_none_or(|position| position < end)
        });
        let behind: Vec<String> = behind
            .map(|(partition, end)| {
                let at = self.positions.get(partition).copied().unwrap_or(-1);
                format!("{}-{} at {at} of {end}", self.topic, partition.partition)
            })
            .collect();
        format!("the end of {}: {}", self.topic, behind.join(", "))
    }
}
