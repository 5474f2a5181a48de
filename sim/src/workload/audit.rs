//! At the end of a run: what each group has committed, asked by somebody who is no member of it.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event, OpId};
use broker_model::types::{StrBytes, TopicPartition};

use super::member::committed_offsets;
use super::{App, Journal};
use crate::cluster::TopicFacts;
use crate::history::{Er, Op, Res};
use crate::recorder::Recorder;

/// An application that asks for a group's committed offsets until it hears them.
pub struct Audit {
    journal: Journal,
    group: String,
    topics: BTreeMap<String, TopicFacts>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Wanted { at_us: u64 },
    Asking(OpId),
    Done,
}

const RETRY_US: u64 = 100_000;

impl Audit {
    /// Of that group.
    #[must_use]
    pub fn new(actor: u32, group: &str) -> Self {
        Audit {
            journal: Journal::new(actor),
            group: group.to_owned(),
            topics: BTreeMap::new(),
            state: State::Idle,
        }
    }
}

impl App for Audit {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.topics.clone_from(topics);
        self.state = State::Wanted { at_us: now_us };
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if !matches!(self.state, State::Wanted { at_us } if at_us <= now_us) {
            return;
        }
        let mut partitions = Vec::new();
        let mut ps = Vec::new();
        for (name, facts) in &self.topics {
            for partition in 0..facts.partitions {
                let topic = StrBytes::from_string(name.clone());
                partitions.push(TopicPartition { topic, partition });
                ps.extend(recorder.partition_of(facts.id, partition));
            }
        }
        let g = self.group.clone();
        let op = Op::FetchOffsets { g, ps };
        let op = self.journal.invoke(now_us, recorder, op);
        self.state = State::Asking(op);
        calls.push_back(Command::Committed { op, partitions });
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
        let Event::CommittedOffsets { op, result } = event else {
            return;
        };
        match result {
            Ok(offsets) => {
                let found = committed_offsets(offsets, |named| {
                    let facts = self.topics.get(&*named.topic)?;
                    recorder.partition_of(facts.id, named.partition)
                });
                self.journal.ok(now_us, recorder, op, found);
                self.state = State::Done;
            }
            Err(error) => {
                let error = Er::new(error, 0);
                self.journal.info(now_us, recorder, op, (error, Res::Unit));
                self.state = State::Wanted {
                    at_us: now_us + RETRY_US,
                };
            }
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
        format!("the committed offsets of group {}", self.group)
    }
}
