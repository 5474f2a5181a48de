//! A group of members that share the six partitions of a topic, and what they have read of it.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sim::wall::Stopwatch;

use super::member::{Config, Fact, Library, Member, Place};
use super::programs::{PATIENCE, python, run, stdout};
use super::served::Served;

pub(crate) const PARTITIONS: i32 = 6;
/// Of every member; the broker's least.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// What the others may take, once the session is over, to join anew.
const JOIN: Duration = Duration::from_secs(1);
/// The longest interval at which they hear that they must.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// So slow that records come in for longer than the partitions of a dead member take to move.
const TRICKLE_PER_S: usize = 250;
/// The properties that nodes need for the groups of these tests.
pub(crate) const PROPERTIES: &[(&str, &str)] = &[
    ("group.initial.rebalance.delay.ms", "500"),
    ("group.consumer.min.session.timeout.ms", "6000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "500"),
    // What librdkafka waits for an answer, too.
    ("group.consumer.heartbeat.interval.ms", "2000"),
];

/// A kind of member, and what it is told.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) library: Library,
    pub(crate) config: Config,
}

impl Way {
    /// Members of a library with those properties.
    pub(crate) fn new(library: Library, config: &[(&str, &str)]) -> Self {
        let config = config.iter();
        Way {
            library,
            config: config
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The same with one more property.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut way = self.clone();
        way.config.insert(name.to_owned(), value.to_owned());
        way
    }
}

/// A group, its topic, and its members.
pub(crate) struct Group<'a> {
    served: &'a Served,
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) members: Vec<Member>,
    /// Where each partition ends.
    ends: Vec<i64>,
    /// How often each record was read.
    reads: BTreeMap<(i32, i64), u32>,
    facts: Receiver<(usize, Fact)>,
    into_facts: Sender<(usize, Fact)>,
}

impl<'a> Group<'a> {
    /// A group without members, and its topic.
    pub(crate) fn new(served: &'a Served, name: &str) -> Self {
        let topic = format!("topic-of-{name}");
        served.create_topic(&topic, usize::try_from(PARTITIONS).expect("a few"));
        let (into_facts, facts) = channel();
        Group {
            served,
            name: name.to_owned(),
            topic,
            members: Vec::new(),
            ends: Vec::new(),
            reads: BTreeMap::new(),
            facts,
            into_facts,
        }
    }

    /// Starts a member; returns its number.
    pub(crate) fn join(&mut self, way: &Way) -> usize {
        let place = Place {
            brokers: self.served.brokers.clone(),
            group: self.name.clone(),
            topic: self.topic.clone(),
            config: way.config.clone(),
        };
        let number = self.members.len();
        let facts = self.into_facts.clone();
        self.members
            .push(Member::start(way.library, &place, number, facts));
        number
    }

    /// Writes so many records.
    pub(crate) fn produce(&mut self, records: usize) {
        let producing = self.start_to_produce(records, None);
        self.end_to_produce(producing);
    }

    /// Starts to write so many records, so many a second.
    fn start_to_produce(&self, records: usize, per_s: Option<usize>) -> Child {
        let mut command = python("produce.py");
        command.args([&self.served.brokers, &self.topic, &records.to_string()]);
        command.args(per_s.map(|per_s| per_s.to_string()));
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("a Python")
    }

    /// Kills a member as soon as it has read something of what trickles in. Then the others have its
    /// partitions in time, while more comes in; returns how long that took.
    /// That is the session timeout, so many heartbeats in turn, and a join.
    pub(crate) fn kill_while_it_reads(
        &mut self,
        victim: usize,
        records: usize,
        heartbeats: u32,
    ) -> Duration {
        let mut producing = self.start_to_produce(records, Some(TRICKLE_PER_S));
        let before = self.members[victim].reads;
        let watch = Stopwatch::start();
        while self.members[victim].reads == before {
            let late = watch.elapsed() >= PATIENCE;
            assert!(!late, "member {victim} reads nothing: {}", self.describe());
            self.hear(PATIENCE);
        }
        self.members[victim].kill();
        let moved = self.until_shared();
        let written = producing.try_wait().expect("it was started");
        let what = || format!("moved after {moved:?}\n{}", self.describe());
        assert!(
            moved < SESSION_TIMEOUT + heartbeats * HEARTBEAT + JOIN,
            "late: {}",
            what()
        );
        assert!(SESSION_TIMEOUT / 2 < moved, "early: {}", what());
        assert_eq!(written, None, "nothing came in meanwhile: {}", what());
        self.end_to_produce(producing);
        moved
    }

    /// Waits until what was started is written.
    fn end_to_produce(&mut self, producing: Child) {
        stdout(producing.wait_with_output().expect("it was started"));
        let offsets = self.offsets();
        self.ends = offsets.into_iter().map(|(end, _)| end).collect();
    }

    /// Of each partition the end, and what is committed.
    fn offsets(&self) -> Vec<(i64, i64)> {
        let mut command = python("offsets.py");
        command.args([&self.served.brokers, &self.name, &self.topic]);
        let said = stdout(run(&mut command, ""));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("offsets.py said {said}"))
    }

    /// Members that were not told to end own every partition, each once, and as many as one another
    /// but for one: a group that is still on its way there will rebalance again. Returns how long that
    /// took.
    pub(crate) fn until_shared(&mut self) -> Duration {
        self.until("the partitions are not shared", |group| {
            let alive = || group.members.iter().filter(|it| it.is_alive());
            let mut owned: Vec<_> = alive().flat_map(|it| it.owned.clone()).collect();
            owned.sort_unstable();
            let counts = || alive().map(|it| it.owned.len());
            let is_even = counts().max() <= counts().min().map(|least| least + 1);
            owned.into_iter().eq(0..PARTITIONS) && is_even
        })
    }

    /// Every record that was written was read, by somebody.
    pub(crate) fn until_all_is_read(&mut self) {
        self.until("records are missing", |group| group.missing().is_empty());
    }

    /// All that was written is committed.
    pub(crate) fn until_nothing_lags(&mut self) {
        let watch = Stopwatch::start();
        loop {
            let offsets = self.offsets();
            if offsets.iter().all(|(end, committed)| end == committed) {
                return;
            }
            let what = || format!("[end, committed]: {offsets:?}\n{}", self.describe());
            assert!(watch.elapsed() < PATIENCE, "there is lag: {}", what());
            self.listen(Duration::from_millis(200));
        }
    }

    /// What happens for some time.
    pub(crate) fn listen(&mut self, time: Duration) {
        let watch = Stopwatch::start();
        while let Some(left) = time.checked_sub(watch.elapsed()) {
            self.hear(left);
        }
    }

    /// The next that happens within that time.
    fn hear(&mut self, time: Duration) {
        let Ok((number, fact)) = self.facts.recv_timeout(time) else {
            return;
        };
        if let Fact::Read(partition, offset) = fact {
            *self.reads.entry((partition, offset)).or_default() += 1;
        }
        self.members[number].take(fact);
    }

    /// A member leaves in order, and has left.
    pub(crate) fn leave(&mut self, number: usize) {
        self.members[number].leave();
        self.until("a member does not leave", |group| {
            group.members[number].is_closed
        });
    }

    /// Everybody leaves at once.
    pub(crate) fn leave_all(&mut self) {
        self.members.iter_mut().for_each(Member::leave);
        self.until("members do not leave", |group| {
            !group.members.iter().any(Member::is_alive)
        });
    }

    /// How many records were read more than once.
    pub(crate) fn read_again(&self) -> usize {
        self.reads.values().filter(|&&times| times > 1).count()
    }

    /// Lists what nobody has read.
    fn missing(&self) -> Vec<String> {
        let missing = (0..).zip(&self.ends).filter_map(|(partition, &end)| {
            let mut holes = (0..end).filter(|&at| !self.reads.contains_key(&(partition, at)));
            let first = holes.next()?;
            let (more, last) = (holes.clone().count(), holes.next_back());
            let last = last.unwrap_or(first);
            let count = more + 1;
            Some(format!(
                "{count} of partition {partition}, offsets {first} to {last}"
            ))
        });
        missing.collect()
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let watch = Stopwatch::start();
        while !is_so(self) {
            let late = watch.elapsed() >= PATIENCE;
            assert!(!late, "{what} after {PATIENCE:?}\n{}", self.describe());
            self.listen(Duration::from_millis(50));
        }
        watch.elapsed()
    }

    /// What is known of the group.
    pub(crate) fn describe(&self) -> String {
        let members = self.members.iter().enumerate();
        let members: Vec<_> = members
            .map(|(number, it)| format!("  member {number}: {}", it.describe()))
            .collect();
        let (name, missing) = (&self.name, self.missing());
        format!("{name}\n{}\n  not read: {missing:?}", members.join("\n"))
    }
}
