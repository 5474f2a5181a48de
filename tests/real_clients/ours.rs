//! A consumer of ours as a member of a real group: an application that reads, commits and tells.
//!
//! It does what the programs in `clients/members` do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::Builder;

use broker_model::client::command::{
    CallbackId, Command, CommitName, Event, OpId, RebalanceCallback, Subscription,
};
use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::ConsumerConfig;
use broker_model::types::{Endpoint, StrBytes};
use sim::cluster::TopicFacts;
use sim::engine::outside::run_client;
use sim::recorder::Recorder;
use sim::workload::App;

use super::member::{Fact, Place};

const COMMIT_EVERY: usize = 100;
const POLL_MS: u64 = 100;

/// What a member of ours is held by.
pub(crate) struct Ours(Arc<Told>);

#[derive(Default)]
struct Told {
    leaves: AtomicBool,
    dies: AtomicBool,
}

impl Ours {
    /// Starts it on a thread.
    pub(crate) fn start(place: &Place, number: usize, facts: Sender<(usize, Fact)>) -> Self {
        let told = Arc::new(Told::default());
        let client = client(place);
        let app = Application {
            topic: text(&place.topic),
            told: Arc::clone(&told),
            number,
            facts: facts.clone(),
            calls: 0,
            doing: Doing::Nothing,
            not_committed: 0,
        };
        let end = End(number, facts);
        let thread = Builder::new().name(format!("ours-{number}"));
        let thread = thread.spawn(move || {
            if let Err(why) = run_client("ours", client, Box::new(app)) {
                end.say(Fact::Said(why));
            }
        });
        drop(thread.expect("a thread"));
        Ours(told)
    }

    /// Tells it to leave in order.
    pub(crate) fn leave(&self) {
        self.0.leaves.store(true, Ordering::Relaxed);
    }

    /// Ends it without a word.
    pub(crate) fn kill(&self) {
        self.0.dies.store(true, Ordering::Relaxed);
    }
}

/// Says that it has ended, even by a panic.
struct End(usize, Sender<(usize, Fact)>);

impl End {
    fn say(&self, fact: Fact) {
        // Nobody listens once the test is over.
        drop(self.1.send((self.0, fact)));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.say(Fact::Ended);
    }
}

fn client(place: &Place) -> ClientConfig {
    let mut given = BTreeMap::from([
        ("group.id", place.group.as_str()),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("fetch.max.wait.ms", "100"),
    ]);
    let config = place.config.iter();
    given.extend(config.map(|(name, value)| (name.as_str(), value.as_str())));
    let given = given
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = ConsumerConfig::from_properties(&given.collect());
    let bootstrap = place.brokers.split(',').map(|broker| {
        let (_, port) = broker.split_once(':').expect("a host and a port");
        Endpoint {
            host: StrBytes::from_static_str("127.0.0.1"),
            port: port.parse().expect("a port"),
        }
    });
    ClientConfig {
        bootstrap: bootstrap.collect(),
        client_id: StrBytes::from_static_str("ours"),
        kind: ClientKind::Consumer(config.expect("a consumer's properties")),
        bug: None,
    }
}

fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_owned())
}

struct Application {
    topic: StrBytes,
    told: Arc<Told>,
    number: usize,
    facts: Sender<(usize, Fact)>,
    calls: u64,
    doing: Doing,
    not_committed: usize,
}

/// What the application's thread waits in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Nothing,
    Polling,
    /// It commits before it closes.
    Committing(OpId),
    Closing(OpId),
    Closed,
}

impl Application {
    fn tell(&self, fact: Fact) {
        // Nobody listens once the test is over.
        drop(self.facts.send((self.number, fact)));
    }

    fn call(&mut self) -> OpId {
        self.calls += 1;
        OpId(self.calls)
    }

    fn commit(&mut self, sync: bool, calls: &mut VecDeque<Command>) -> OpId {
        let op = self.call();
        let offsets = None;
        calls.push_back(Command::Commit { op, offsets, sync });
        self.not_committed = 0;
        op
    }

    /// Goes on after a poll.
    fn go_on(&mut self, calls: &mut VecDeque<Command>) {
        if self.told.leaves.load(Ordering::Relaxed) {
            let op = self.commit(true, calls);
            self.doing = Doing::Committing(op);
            return;
        }
        let op = self.call();
        let timeout_ms = POLL_MS;
        calls.push_back(Command::Poll { op, timeout_ms });
        self.doing = Doing::Polling;
    }

    fn polled(&mut self, records: Vec<(i32, i64)>, calls: &mut VecDeque<Command>) {
        let is_idle = records.is_empty();
        self.not_committed += records.len();
        for (partition, offset) in records {
            self.tell(Fact::Read(partition, offset));
        }
        if COMMIT_EVERY <= self.not_committed || (is_idle && 0 < self.not_committed) {
            self.commit(false, calls);
        }
        self.go_on(calls);
    }

    fn rebalance(
        &mut self,
        callback: CallbackId,
        what: RebalanceCallback,
        partitions: Vec<i32>,
        calls: &mut VecDeque<Command>,
    ) {
        match what {
            RebalanceCallback::Assigned => self.tell(Fact::Assigned(partitions)),
            RebalanceCallback::Revoked => {
                // The listener goes on once the commit was carried out: calls are made in order.
                if 0 < self.not_committed {
                    self.commit(true, calls);
                }
                self.tell(Fact::Revoked(partitions));
            }
            RebalanceCallback::Lost => self.tell(Fact::Lost(partitions)),
        }
        calls.push_back(Command::CallbackDone { callback });
    }

    fn committed(&mut self, op: OpId, calls: &mut VecDeque<Command>) {
        if self.doing == Doing::Committing(op) {
            let op = self.call();
            calls.push_back(Command::Close { op });
            self.doing = Doing::Closing(op);
        }
    }
}

impl App for Application {
    fn begin(&mut self, _now_us: u64, _topics: &BTreeMap<String, TopicFacts>) {}

    fn wake(&mut self, _now_us: u64, _recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.doing == Doing::Nothing {
            let to = Subscription::Topics(vec![self.topic.clone()]);
            calls.push_back(Command::Subscribe { to });
            self.go_on(calls);
        }
    }

    fn on_event(
        &mut self,
        _now_us: u64,
        event: Event,
        _recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        match event {
            Event::Polled { parts, .. } => {
                let records = parts.iter().flat_map(|part| {
                    let at = part.partition.partition;
                    part.records.iter().map(move |it| (at, it.offset.0))
                });
                self.polled(records.collect(), calls);
            }
            Event::PollFailed { error, .. } => {
                self.tell(Fact::Said(format!("poll: {error:?}")));
                self.go_on(calls);
            }
            Event::Rebalance {
                callback,
                what,
                partitions,
                ..
            } => {
                let partitions = partitions.iter().map(|it| it.partition).collect();
                self.rebalance(callback, what, partitions, calls);
            }
            Event::Committed { commit, result, .. } => {
                if let Err(error) = result {
                    self.tell(Fact::Said(format!("commit: {error:?}")));
                }
                if let CommitName::Call(op) = commit {
                    self.committed(op, calls);
                }
            }
            Event::Done { op, .. } if self.doing == Doing::Closing(op) => {
                self.tell(Fact::Closed);
                self.doing = Doing::Closed;
            }
            _ => {}
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        None
    }

    fn drain(&mut self) {
        self.told.leaves.store(true, Ordering::Relaxed);
    }

    fn is_done(&self) -> bool {
        self.doing == Doing::Closed || self.told.dies.load(Ordering::Relaxed)
    }

    fn waits_for(&self) -> String {
        format!("{:?}", self.doing)
    }
}
