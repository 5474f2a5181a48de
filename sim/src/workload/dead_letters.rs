//! Puts records that a member of a group cannot process into a topic of their own, with where they came
//! from in their headers: a dead letter queue, as Kafka Connect keeps one (KIP-298).
//!
//! The producer is a client of its own beside the member's consumer, in the same process: both die together.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use broker_model::client::command::{Command, Event, Header, OpId};
use broker_model::types::{StrBytes, TopicIdPartition, TopicPartition};
use bytes::Bytes;

use super::produce::{Ended, chosen_partition, ended};
use super::{App, Journal, Mortal, SentDirectory};
use crate::cluster::TopicFacts;
use crate::history::{Op, value};
use crate::plan::SendPlan;
use crate::recorder::Recorder;
use crate::run::WALL_START_MS;

/// A record that could not be processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Where it was read.
    pub partition: TopicIdPartition,
    /// The same, by name.
    pub named: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
}

impl Letter {
    /// The record.
    #[must_use]
    pub fn of(&self) -> (TopicIdPartition, i64) {
        (self.partition, self.offset)
    }
}

/// Where a member leaves letters, and hears that they arrived.
#[derive(Clone, Default, Debug)]
pub struct Desk(Rc<RefCell<Letters>>);

#[derive(Default, Debug)]
struct Letters {
    waiting: VecDeque<Letter>,
    arrived: BTreeSet<(TopicIdPartition, i64)>,
}

impl Desk {
    /// Leaves a letter.
    pub fn post(&self, letter: Letter) {
        self.0.borrow_mut().waiting.push_back(letter);
    }

    /// The letters that arrived since somebody asked: the topic's leader acknowledged them.
    #[must_use]
    pub fn arrived(&self) -> BTreeSet<(TopicIdPartition, i64)> {
        std::mem::take(&mut self.0.borrow_mut().arrived)
    }

    /// The process died, and everything on the desk with it.
    pub fn clear(&self) {
        *self.0.borrow_mut() = Letters::default();
    }

    fn next(&self) -> Option<Letter> {
        self.0.borrow_mut().waiting.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().waiting.is_empty()
    }
}

/// The producer of a member's dead letters.
pub struct DeadLetters {
    journal: Journal,
    topic: StrBytes,
    desk: Desk,
    sent: SentDirectory,
    facts: Option<TopicFacts>,
    /// When it looks at the desk again.
    looks_us: Option<u64>,
    counter: u32,
    outstanding: BTreeMap<OpId, Letter>,
}

impl DeadLetters {
    /// One that sends to that topic what lies on that desk.
    #[must_use]
    pub fn new(actor: u32, topic: &str, desk: Desk, sent: SentDirectory) -> Self {
        DeadLetters {
            journal: Journal::new(actor),
            topic: StrBytes::from_string(topic.to_owned()),
            desk,
            sent,
            facts: None,
            looks_us: None,
            counter: 0,
            outstanding: BTreeMap::new(),
        }
    }

    fn send(
        &mut self,
        now_us: u64,
        letter: Letter,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let facts = self.facts.expect("it begins once the topics exist");
        let actor = self.journal.actor();
        let v = u64::from(actor) << 32 | u64::from(self.counter);
        let key = letter.key.as_deref().and_then(|key| key.try_into().ok());
        let key = key.map(u64::from_be_bytes);
        let chosen = chosen_partition(None, letter.key.as_ref(), facts.partitions);
        let src = recorder.partition(letter.partition);
        let op = Op::Send {
            p: chosen.and_then(|index| recorder.partition_of(facts.id, index)),
            v,
            key,
            x: None,
            src: src.map(|p| (p, letter.offset)),
            tomb: false,
        };
        let op = self.journal.invoke(now_us, recorder, op);
        let headers = origin(&letter);
        let send = SendPlan {
            at_us: now_us,
            partition: None,
            key,
            bytes: VALUE_BYTES,
        };
        self.sent.adds(actor, send, v, headers.clone());
        let sent_ms = i64::try_from(now_us / 1_000).expect("a run is short");
        self.sent.sent(v, WALL_START_MS + sent_ms);
        let bytes = usize::try_from(VALUE_BYTES).expect("a value is short");
        calls.push_back(Command::Send {
            op,
            topic: self.topic.clone(),
            partition: None,
            key: letter.key.clone(),
            value: value::encode(v, actor, self.counter, bytes),
            headers,
        });
        self.counter += 1;
        self.outstanding.insert(op, letter);
    }
}

/// Where a letter comes from, as `DeadLetterQueueReporter` of Kafka Connect says it.
fn origin(letter: &Letter) -> Vec<Header> {
    let header = |key: &'static str, value: String| Header {
        key: StrBytes::from_static_str(key),
        value: Some(Bytes::from(value)),
    };
    let TopicPartition { topic, partition } = &letter.named;
    vec![
        header("__connect.errors.topic", topic.to_string()),
        header("__connect.errors.partition", partition.to_string()),
        header("__connect.errors.offset", letter.offset.to_string()),
    ]
}

/// A letter's value: what the judge needs, and nothing else.
const VALUE_BYTES: u32 = 24;

/// How often each side looks at the desk, in microseconds.
pub(super) const LOOK_EVERY_US: u64 = 50_000;

impl App for DeadLetters {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.facts = topics.get(&*self.topic).copied();
        self.looks_us = Some(now_us);
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.looks_us.is_none_or(|at_us| now_us < at_us) {
            return;
        }
        while let Some(letter) = self.desk.next() {
            self.send(now_us, letter, recorder, calls);
        }
        self.looks_us = Some(now_us + LOOK_EVERY_US);
    }

    /// A letter that did not arrive for certain is sent again: it may be there twice.
    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
        let Event::Sent { op, outcome } = event else {
            return;
        };
        let letter = self.outstanding.remove(&op).expect("each send ends once");
        match ended(&self.journal, now_us, op, outcome, recorder) {
            Ended::Acknowledged => {
                self.desk.0.borrow_mut().arrived.insert(letter.of());
            }
            Ended::Otherwise => self.desk.post(letter),
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        self.looks_us
    }

    /// What a member leaves it still brings.
    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        self.outstanding.is_empty() && self.desk.is_empty()
    }

    fn waits_for(&self) -> String {
        format!("{} dead letters", self.outstanding.len())
    }

    fn mortal(&mut self) -> Option<&mut dyn Mortal> {
        Some(self)
    }
}

impl Mortal for DeadLetters {
    fn actor(&self) -> u32 {
        self.journal.actor()
    }

    fn is_over(&self) -> bool {
        false
    }

    fn owns(&self) -> bool {
        !self.is_done()
    }

    fn leave(&mut self) {}

    fn rise(&mut self, actor: u32) {
        self.journal = Journal::new(actor);
        self.desk.clear();
        self.looks_us = None;
        self.counter = 0;
        self.outstanding.clear();
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::Uuid;

    use super::*;

    #[test]
    fn a_letter_says_where_it_comes_from() {
        let topic = Uuid::from_u128(7);
        let letter = Letter {
            partition: TopicIdPartition {
                topic,
                partition: 3,
            },
            named: TopicPartition {
                topic: StrBytes::from_static_str("orders"),
                partition: 3,
            },
            offset: 41,
            key: None,
        };
        let told = origin(&letter).into_iter().map(|header| {
            let value = header.value.expect("each has one");
            (header.key.to_string(), String::from_utf8(value.to_vec()))
        });
        let told: Vec<_> = told.collect();
        let expected = [
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "41"),
        ];
        let own = |(key, value): (&str, &str)| (key.to_owned(), Ok(value.to_owned()));
        assert_eq!(told, expected.map(own));
    }

    #[test]
    fn what_arrived_is_told_once_and_dies_with_its_process() {
        let desk = Desk::default();
        let partition = TopicIdPartition {
            topic: Uuid::from_u128(7),
            partition: 0,
        };
        desk.0.borrow_mut().arrived.insert((partition, 5));
        assert_eq!(desk.arrived(), [(partition, 5)].into());
        assert!(desk.arrived().is_empty());
        desk.0.borrow_mut().arrived.insert((partition, 6));
        desk.clear();
        assert!(desk.arrived().is_empty());
    }
}
