//! What the applications do with their clients: they call, record each call in the history, and
//! record what came of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use broker_model::client::command::{Command, Event, Header, OpId, PolledRecord};
use broker_model::types::TopicIdPartition;

use crate::cluster::TopicFacts;
use crate::history::{Body, Er, Op, Res, V, value};
use crate::plan::SendPlan;
use crate::recorder::Recorder;

pub mod admin;
pub mod administer;
pub mod audit;
pub mod consume;
pub mod dead_letters;
pub mod member;
pub mod produce;
pub mod scan;

/// An application that drives one client. It lives in the client's shell.
pub trait App {
    /// The workload starts now; these topics exist.
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>);

    /// A moment that the application asked for came, or the harness told it something.
    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>);

    /// The client says something.
    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    );

    /// When it wants to be woken next.
    fn next_wake_us(&self) -> Option<u64>;

    /// A script lets it make that many more calls now.
    fn release(&mut self, _calls: u32) {}

    /// A script sends it to that offset, before its next poll.
    fn seek(&mut self, _to: i64) {}

    /// From now on it starts nothing new.
    fn drain(&mut self);

    /// Whether it has nothing more to do and nothing outstanding.
    fn is_done(&self) -> bool;

    /// What it still waits for, for people.
    fn waits_for(&self) -> String;

    /// The positions that it has consumed to, of every partition that it was assigned; -1 is none.
    fn positions(&self) -> Option<&BTreeMap<TopicIdPartition, i64>> {
        None
    }

    /// How it stands in its group, if it is made to be in one.
    fn standing(&self) -> Option<Standing<'_>> {
        None
    }

    /// The application as one that can die and come back, if it can.
    fn mortal(&mut self) -> Option<&mut dyn Mortal> {
        None
    }
}

/// How an application stands in its consumer group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing<'a> {
    /// The group.
    pub group: &'a str,
    /// The topics that it names.
    pub topics: &'a [String],
    /// The expression that it gives instead.
    pub pattern: Option<&'a str>,
    /// Whether it takes part.
    pub lives: bool,
    /// Position of each partition that it owns, -1 for none; and where its commits are, which is the
    /// position if nothing is left to commit.
    pub owned: BTreeMap<TopicIdPartition, (i64, i64)>,
    /// Whether it works at records.
    pub busy: bool,
    /// The generation or member epoch that it heard of last, -1 for none.
    pub generation: i32,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

/// An application that can die and come back as another actor.
pub trait Mortal {
    /// Its actor of the history.
    fn actor(&self) -> u32;

    /// Whether it has given up, or closed.
    fn is_over(&self) -> bool;

    /// Whether its group gave it something.
    fn owns(&self) -> bool;

    /// It closes its client as soon as it can.
    fn leave(&mut self);

    /// It is another actor now and knows nothing.
    fn rise(&mut self, actor: u32);
}

/// Writes the calls of one actor into the history.
#[derive(Debug)]
pub struct Journal {
    actor: u32,
    calls: u64,
}

impl Journal {
    /// For the actor with that number.
    #[must_use]
    pub fn new(actor: u32) -> Self {
        Journal { actor, calls: 0 }
    }

    /// Whether the actor has made no call yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.calls == 0
    }

    /// The actor's number.
    #[must_use]
    pub fn actor(&self) -> u32 {
        self.actor
    }

    /// A call is made.
    pub fn invoke(&mut self, now_us: u64, recorder: &mut Recorder, op: Op) -> OpId {
        self.calls += 1;
        recorder.line(
            now_us,
            Body::I {
                a: self.actor,
                o: self.calls,
                op,
            },
        );
        OpId(self.calls)
    }

    /// A call took effect.
    pub fn ok(&self, now_us: u64, recorder: &mut Recorder, op: OpId, r: Res) {
        recorder.line(
            now_us,
            Body::Ok {
                a: self.actor,
                o: op.0,
                r,
            },
        );
    }

    /// A call provably had no effect and never will.
    pub fn fail(&self, now_us: u64, recorder: &mut Recorder, op: OpId, e: Er) {
        recorder.line(
            now_us,
            Body::Fail {
                a: self.actor,
                o: op.0,
                e,
            },
        );
    }

    /// Nobody knows whether a call had an effect.
    /// What is known of it all the same is in `r`.
    pub fn info(&self, now_us: u64, recorder: &mut Recorder, op: OpId, (e, r): (Er, Res)) {
        recorder.line(
            now_us,
            Body::Info {
                a: self.actor,
                o: op.0,
                e,
                r,
            },
        );
    }
}

/// What the plan sends, so that a reader can tell whether a record is what was sent: by actor and
/// counter the key and the partition, where they were chosen beforehand, and when it was sent.
#[derive(Clone, Default, Debug)]
pub struct SentDirectory {
    sends: Rc<RefCell<BTreeMap<u32, Vec<SendPlan>>>>,
    /// By value: its headers, if it has any.
    headers: Rc<RefCell<BTreeMap<V, Vec<Header>>>>,
    /// By value: what the producer's wall clock said, in milliseconds since 1970.
    times_ms: Rc<RefCell<BTreeMap<V, i64>>>,
    /// Whether brokers write their own times into records.
    append_time: bool,
}

impl SentDirectory {
    /// Of those producers, by actor; `append_time` if brokers write their own times into records.
    #[must_use]
    pub fn new(sends: BTreeMap<u32, Vec<SendPlan>>, append_time: bool) -> Self {
        SentDirectory {
            sends: Rc::new(RefCell::new(sends)),
            headers: Rc::default(),
            times_ms: Rc::default(),
            append_time,
        }
    }

    /// An actor will send one more record, which no plan knew of, with that value and those headers.
    pub fn adds(&self, actor: u32, send: SendPlan, v: V, headers: Vec<Header>) {
        let mut sends = self.sends.borrow_mut();
        sends.entry(actor).or_default().push(send);
        self.headers.borrow_mut().insert(v, headers);
    }

    /// A value is sent; the producer's wall clock says that.
    pub fn sent(&self, v: V, wall_ms: i64) {
        self.times_ms.borrow_mut().insert(v, wall_ms);
    }

    /// Reads a record's value; otherwise says why it is not what anybody sent.
    ///
    /// # Errors
    ///
    /// What is wrong with the record.
    pub fn read(
        &self,
        record: &PolledRecord,
        partition: i32,
        partitions: i32,
    ) -> Result<u64, String> {
        let bytes = record.value.as_deref().unwrap_or_default();
        let value = value::decode(bytes).ok_or("the value's checksum is wrong")?;
        let sends = self.sends.borrow();
        let sends = sends
            .get(&value.actor)
            .ok_or("nobody with that number sends")?;
        let index = usize::try_from(value.counter).expect("an index");
        let send = sends.get(index).ok_or("its sender never got that far")?;
        let key = send.key.map(u64::to_be_bytes);
        if record.key.as_deref() != key.as_ref().map(<[u8; 8]>::as_slice) {
            return Err("the key is not the one that was sent".to_owned());
        }
        if send
            .partition
            .is_some_and(|chosen| chosen % partitions != partition)
        {
            return Err("it was sent to another partition".to_owned());
        }
        let headers = self.headers.borrow();
        let sent = headers.get(&value.v).map_or(&[][..], Vec::as_slice);
        if record.headers != sent {
            return Err("its headers are not those that were sent".to_owned());
        }
        let times_ms = self.times_ms.borrow();
        let sent_ms = times_ms.get(&value.v).filter(|_| !self.append_time);
        if sent_ms.is_some_and(|&sent_ms| sent_ms != record.timestamp_ms) {
            return Err("its time is not when it was sent".to_owned());
        }
        Ok(value.v)
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::{LeaderEpoch, Offset, StrBytes};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_record_that_is_not_as_it_was_sent_is_garbage() {
        let send = SendPlan {
            at_us: 0,
            partition: Some(1),
            key: Some(7),
            bytes: 24,
        };
        let sent = SentDirectory::new(BTreeMap::from([(3, vec![send])]), false);
        sent.sent(77, 5_000);
        let record = PolledRecord {
            offset: Offset(0),
            leader_epoch: LeaderEpoch(1),
            timestamp_ms: 5_000,
            key: Some(Bytes::copy_from_slice(&7_u64.to_be_bytes())),
            value: Some(value::encode(77, 3, 0, 24)),
            headers: Vec::new(),
        };
        let read = |change: fn(&mut PolledRecord)| {
            let mut record = record.clone();
            change(&mut record);
            sent.read(&record, 1, 2)
        };
        let is_wrong = |change, text: &str| {
            let why = read(change).expect_err("it is garbage");
            assert!(why.contains(text), "{why}");
        };
        assert_eq!(read(|_| {}), Ok(77));
        is_wrong(|record| record.key = None, "key");
        is_wrong(|record| record.value = None, "checksum");
        let header = |record: &mut PolledRecord| {
            let (key, value) = (StrBytes::from_static_str("k"), None);
            record.headers.push(Header { key, value });
        };
        is_wrong(header, "headers");
        is_wrong(|record| record.timestamp_ms += 1, "its time");
        assert!(sent.read(&record, 0, 2).is_err(), "another partition");
    }
}
