//! Sends records to a topic at the moments that the plan chose.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event, OpId, SendOutcome};
use broker_model::client::partition_for_key;
use broker_model::types::StrBytes;
use bytes::Bytes;

use super::{App, Journal, SentDirectory};
use crate::cluster::TopicFacts;
use crate::history::{Er, Op, Res, Sent, value};
use crate::plan::SendPlan;
use crate::recorder::Recorder;
use crate::run::WALL_START_MS;

/// Where a record goes, if that is known beforehand: to a partition of the application's choice, or of its key's.
pub(super) fn chosen_partition(
    partition: Option<i32>,
    key: Option<&Bytes>,
    partitions: i32,
) -> Option<i32> {
    let by_key = |key: &Bytes| {
        let count = usize::try_from(partitions).expect("at least one");
        partition_for_key(key, count)
    };
    partition.or_else(|| key.map(by_key))
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It is in the log, as far as `acks` promises.
    Acknowledged,
    /// It is not, or nobody knows.
    Otherwise,
}

/// Records how a send ended.
pub(super) fn ended(
    journal: &Journal,
    now_us: u64,
    op: OpId,
    outcome: SendOutcome,
    recorder: &mut Recorder,
) -> Ended {
    match outcome {
        SendOutcome::Acknowledged {
            partition,
            offset,
            attempts,
            identity,
            renumbered,
        } => {
            recorder.acked();
            let p = recorder.partition(partition);
            let id = identity.map(|(pid, epoch, sequence)| (pid.0, epoch.0, sequence.0));
            let sent = Sent {
                off: offset.0,
                att: attempts,
                p,
                id,
                ren: renumbered,
            };
            journal.ok(now_us, recorder, op, Res::Sent(sent));
            Ended::Acknowledged
        }
        SendOutcome::Failed {
            partition,
            error,
            attempts,
            definite,
            identity,
            renumbered,
        } => {
            let error = Er::new(error, attempts);
            if definite {
                journal.fail(now_us, recorder, op, error);
                return Ended::Otherwise;
            }
            let sent = Sent {
                off: -1,
                att: attempts,
                p: partition.and_then(|partition| recorder.partition(partition)),
                id: identity.map(|(pid, epoch, sequence)| (pid.0, epoch.0, sequence.0)),
                ren: renumbered,
            };
            let known = (error, Res::Sent(sent));
            journal.info(now_us, recorder, op, known);
            Ended::Otherwise
        }
    }
}

/// A producing application.
pub struct Produce {
    journal: Journal,
    topic: StrBytes,
    sends: Vec<SendPlan>,
    sent: SentDirectory,
    start_us: Option<u64>,
    facts: Option<TopicFacts>,
    next: usize,
    outstanding: BTreeMap<OpId, u64>,
    draining: bool,
    /// Sends that a script lets go whatever the plan's time is.
    released: u32,
}

impl Produce {
    /// An application that will send those records, in order of time.
    #[must_use]
    pub fn new(actor: u32, topic: &str, sends: Vec<SendPlan>, sent: SentDirectory) -> Self {
        Produce {
            journal: Journal::new(actor),
            topic: StrBytes::from_string(topic.to_owned()),
            sends,
            sent,
            start_us: None,
            facts: None,
            next: 0,
            outstanding: BTreeMap::new(),
            draining: false,
            released: 0,
        }
    }

    fn send(
        &mut self,
        now_us: u64,
        send: SendPlan,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let facts = self.facts.expect("sends start once the topics exist");
        let counter = u32::try_from(self.next).expect("few sends");
        let v = u64::from(self.journal.actor()) << 32 | u64::from(counter);
        let key = send
            .key
            .map(|key| Bytes::copy_from_slice(&key.to_be_bytes()));
        let partition = send.partition.map(|partition| partition % facts.partitions);
        let chosen = chosen_partition(partition, key.as_ref(), facts.partitions);
        let p = chosen.and_then(|index| recorder.partition_of(facts.id, index));
        let op = Op::Send {
            p,
            v,
            key: send.key,
            x: None,
            src: None,
            tomb: false,
        };
        let op = self.journal.invoke(now_us, recorder, op);
        self.outstanding.insert(op, v);
        let sent_ms = i64::try_from(now_us / 1_000).expect("a run is short");
        self.sent.sent(v, WALL_START_MS + sent_ms);
        let bytes = usize::try_from(send.bytes).expect("a value is short");
        let value = value::encode(v, self.journal.actor(), counter, bytes);
        calls.push_back(Command::Send {
            op,
            topic: self.topic.clone(),
            partition,
            key,
            value,
            headers: Vec::new(),
        });
    }
}

impl App for Produce {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.start_us = Some(now_us);
        self.facts = topics.get(&*self.topic).copied();
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        while self.next_wake_us().is_some_and(|at_us| at_us <= now_us) {
            let send = self.sends[self.next];
            self.send(now_us, send, recorder, calls);
            self.next += 1;
            self.released = self.released.saturating_sub(1);
        }
    }

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
        self.outstanding.remove(&op).expect("each send ends once");
        ended(&self.journal, now_us, op, outcome, recorder);
    }

    fn next_wake_us(&self) -> Option<u64> {
        if self.draining {
            return None;
        }
        let send = self.sends.get(self.next)?;
        if self.released > 0 {
            return self.start_us;
        }
        Some(self.start_us? + send.at_us)
    }

    fn release(&mut self, calls: u32) {
        self.released = self.released.saturating_add(calls);
    }

    fn drain(&mut self) {
        self.draining = true;
    }

    fn is_done(&self) -> bool {
        self.outstanding.is_empty() && (self.draining || self.next == self.sends.len())
    }

    fn waits_for(&self) -> String {
        format!("{} sends", self.outstanding.len())
    }
}
