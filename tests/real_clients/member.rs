//! One member of a group: a program of some library's, or a client of ours on a thread.
//!
//! Whatever it is, it says what happens to it in the same facts, and leaves in order when it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::Builder;

use serde_json::Value;

use super::ours::Ours;
use super::programs::{node, python};

/// Something that happened to a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fact {
    /// The rebalance listener was called with what is new.
    Assigned(Vec<i32>),
    /// It was called with what is given up.
    Revoked(Vec<i32>),
    /// It was called with what somebody else may own already.
    Lost(Vec<i32>),
    /// A record was handed to the application: its partition and offset.
    Read(i32, i64),
    /// Something went wrong.
    Said(String),
    /// It has left in order.
    Closed,
    /// It is no more.
    Ended,
}

/// Whose client a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Library {
    /// confluent-kafka.
    Librdkafka,
    /// kafka-python.
    KafkaPython,
    /// kafkajs.
    Kafkajs,
    /// The model's.
    Ours,
}

/// Where a member belongs, and what it is told beyond that.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) brokers: String,
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) config: Config,
}

/// How much of what a member said is shown.
const SAID: usize = 12;

/// Properties, in the library's own names.
pub(crate) type Config = BTreeMap<String, String>;

/// A member as the test sees it.
pub(crate) struct Member {
    library: Library,
    hand: Hand,
    /// What it owns, going by its rebalance listener.
    pub(crate) owned: Vec<i32>,
    /// The calls of its rebalance listener.
    pub(crate) callbacks: Vec<Fact>,
    /// What it has read of each partition since it was assigned it.
    read_to: BTreeMap<i32, i64>,
    /// How many records it has read.
    pub(crate) reads: usize,
    said: Vec<String>,
    pub(crate) is_closed: bool,
    has_ended: bool,
    was_killed: bool,
}

/// What a member is held by.
enum Hand {
    Program(Child, Option<ChildStdin>),
    Thread(Ours),
}

impl Member {
    /// Starts a member; its facts go to `facts` under that number.
    pub(crate) fn start(
        library: Library,
        place: &Place,
        number: usize,
        facts: Sender<(usize, Fact)>,
    ) -> Self {
        let hand = match library {
            Library::Librdkafka => program(python("members/librdkafka.py"), place, number, facts),
            Library::KafkaPython => {
                program(python("members/kafka_python.py"), place, number, facts)
            }
            Library::Kafkajs => program(node("members/kafkajs.js"), place, number, facts),
            Library::Ours => Hand::Thread(Ours::start(place, number, facts)),
        };
        Member {
            library,
            hand,
            owned: Vec::new(),
            callbacks: Vec::new(),
            read_to: BTreeMap::new(),
            reads: 0,
            said: Vec::new(),
            is_closed: false,
            has_ended: false,
            was_killed: false,
        }
    }

    /// Takes in what the member said.
    pub(crate) fn take(&mut self, fact: Fact) {
        match &fact {
            Fact::Assigned(new) => {
                self.owned.extend(new);
                self.owned.sort_unstable();
                self.read_to.retain(|at, _| !new.contains(at));
                self.callbacks.push(fact);
            }
            Fact::Revoked(old) | Fact::Lost(old) => {
                self.owned.retain(|at| !old.contains(at));
                self.read_to.retain(|at, _| !old.contains(at));
                self.callbacks.push(fact);
            }
            Fact::Read(partition, offset) => {
                self.reads += 1;
                let before = self.read_to.insert(*partition, *offset);
                if let Some(before) = before {
                    let what = format!("offset {offset} of partition {partition} after {before}");
                    assert_eq!(before + 1, *offset, "{} read {what}", self.describe());
                }
            }
            Fact::Said(what) => self.said.push(what.clone()),
            Fact::Closed => {
                self.owned.clear();
                self.is_closed = true;
            }
            Fact::Ended => {
                self.has_ended = true;
                let expected = self.is_closed || self.was_killed;
                assert!(expected, "a member ended by itself: {}", self.describe());
            }
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.was_killed = true;
        self.owned.clear();
        match &mut self.hand {
            Hand::Program(child, _) => child.kill().expect("it runs"),
            Hand::Thread(ours) => ours.kill(),
        }
    }

    /// Tells it to leave in order.
    pub(crate) fn leave(&mut self) {
        match &mut self.hand {
            Hand::Program(_, stdin) => drop(stdin.take()),
            Hand::Thread(ours) => ours.leave(),
        }
    }

    /// Whether it runs, and was not told to end.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_closed && !self.has_ended && !self.was_killed
    }

    /// What is known of it.
    pub(crate) fn describe(&self) -> String {
        let state = match self {
            Member {
                was_killed: true, ..
            } => "killed",
            Member {
                is_closed: true, ..
            } => "closed",
            Member {
                has_ended: true, ..
            } => "ended",
            _ => "running",
        };
        let Member {
            library,
            owned,
            callbacks,
            said,
            ..
        } = self;
        let last = &said[said.len().saturating_sub(SAID)..];
        format!(
            "{library:?}, {state}, owns {owned:?}; its listener: {callbacks:?}; it said last {last:#?}"
        )
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        match &mut self.hand {
            Hand::Program(child, _) => {
                drop(child.kill());
                drop(child.wait());
            }
            Hand::Thread(ours) => ours.kill(),
        }
    }
}

fn program(
    mut command: Command,
    place: &Place,
    number: usize,
    facts: Sender<(usize, Fact)>,
) -> Hand {
    let config: serde_json::Map<_, _> = place
        .config
        .iter()
        .map(|(name, value)| (name.clone(), json(value)))
        .collect();
    let config = Value::Object(config).to_string();
    let spawned = command
        .args([&place.brokers, &place.group, &place.topic, &config])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("the program is there");
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let errors = facts.clone();
    // While it runs: why a member that hangs does so is said nowhere else.
    let saying = Builder::new().spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            drop(errors.send((number, Fact::Said(line))));
        }
    });
    let saying = saying.expect("a thread");
    let telling = Builder::new().spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens once the test is over.
            drop(facts.send((number, fact(&line))));
        }
        drop(saying.join());
        drop(facts.send((number, Fact::Ended)));
    });
    drop(telling.expect("a thread"));
    Hand::Program(child, stdin)
}

/// Numbers as numbers: not every library takes them as text.
fn json(value: &str) -> Value {
    value
        .parse::<u64>()
        .map_or_else(|_| value.into(), Value::from)
}

fn fact(line: &str) -> Fact {
    let said = || Fact::Said(line.to_owned());
    let Ok(Value::Object(object)) = serde_json::from_str(line) else {
        return said();
    };
    let Some((what, value)) = object.iter().next() else {
        return said();
    };
    let numbers: Vec<i64> = value
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_i64).collect())
        .unwrap_or_default();
    let partition = |&number: &i64| i32::try_from(number).expect("a partition");
    let partitions = || numbers.iter().map(partition).collect();
    match (what.as_str(), &numbers[..]) {
        ("assigned", _) => Fact::Assigned(partitions()),
        ("revoked", _) => Fact::Revoked(partitions()),
        ("lost", _) => Fact::Lost(partitions()),
        ("read", [at, offset]) => Fact::Read(partition(at), *offset),
        ("closed", _) => Fact::Closed,
        _ => said(),
    }
}
