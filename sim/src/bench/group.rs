//! How long a group takes until it is stable, against its size; and its assignors by themselves.
//!
//! Members of one group start at the same moment at a cluster of three that does nothing else, or
//! come to one member that has everything. The group is stable once every partition has one owner
//! and all shares are equal but for one. Nothing is judged.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use broker_model::assignment::{Shares, by_coordinator, by_leader};
use broker_model::client::ClientKind;
use broker_model::client::command::{Command, Event, OpId, RebalanceCallback, Subscription};
use broker_model::config::ConsumerConfig;
use broker_model::types::StrBytes;
use serde::Serialize;

use super::ratio;
use crate::cluster::{Cluster, TopicFacts};
use crate::engine::event::EventEngine;
use crate::engine::{Engine, ProcessId};
use crate::history::Role;
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::wall::Stopwatch;
use crate::workload::App;

/// A group of one size, with the fields that scripts rely on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GroupRow {
    /// `group`; `join` if all but one come later; `assignor` for an assignor by itself.
    pub row: &'static str,
    /// Whose assignor: of the classic or the consumer protocol.
    pub protocol: &'static str,
    /// Its name.
    pub assignor: &'static str,
    /// How many members.
    pub members: usize,
    /// How many partitions.
    pub partitions: i32,
    /// Simulated seconds until the group was stable.
    pub simulated_s: Option<f64>,
    /// Steps of nodes and clients until then.
    pub events: Option<u64>,
    /// Wall microseconds, of the fastest of all tries.
    pub wall_us: f64,
    /// Wall nanoseconds for each partition …
    pub ns_per_partition: f64,
    /// … and for each partition and member.
    pub ns_per_pair: f64,
}

/// Members and partitions.
pub const SIZES: [(usize, i32); 6] = [
    (4, 64),
    (4, 250),
    (16, 250),
    (16, 1_000),
    (64, 250),
    (64, 1_000),
];

const CLUSTER: &str = include_str!("../../bench/group.toml");
const TOPIC: &str = "orders";
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";
/// Protocol and assignor.
const WAYS: [(&str, &str); 3] = [
    (CLASSIC, "range"),
    (CLASSIC, "cooperative-sticky"),
    (CONSUMER, "uniform"),
];
/// Assignors by themselves.
const ASSIGNORS: [(&str, &str); 5] = [
    (CLASSIC, "range"),
    (CLASSIC, "sticky"),
    (CLASSIC, "cooperative-sticky"),
    (CONSUMER, "uniform"),
    (CONSUMER, "range"),
];
/// A group that is not stable by then never will be.
const BOUND_US: u64 = 300_000_000;
const LOOK_EVERY_US: u64 = 50_000;
const POLL_MS: u64 = 500;
const TRIES: u64 = 9;

/// Measures groups of all sizes.
///
/// # Errors
///
/// A group that does not become stable.
pub fn groups(scale: u64, each: &mut dyn FnMut(&GroupRow)) -> Result<(), String> {
    for (name, (protocol, assignor)) in ways() {
        for (members, partitions) in SIZES {
            let founders = if name == "join" { 1 } else { members };
            let tries = (1..=TRIES * scale).map(|seed| {
                let plan = plan(Seed(seed), partitions)?;
                form(&plan, (protocol, assignor), (founders, members))
            });
            let tries: Vec<Formed> = tries.collect::<Result<_, String>>()?;
            let fastest = tries.iter().map(|formed| formed.wall).min();
            let first = tries.first().expect("there are tries");
            each(&GroupRow {
                simulated_s: Some(ratio(first.simulated_us, 1_000_000)),
                events: Some(first.events),
                ..row(name, (protocol, assignor), (members, partitions), fastest)
            });
        }
    }
    Ok(())
}

/// The rows of groups.
fn ways() -> impl Iterator<Item = (&'static str, (&'static str, &'static str))> {
    let rows = ["group", "join"].into_iter();
    rows.flat_map(|row| WAYS.into_iter().map(move |way| (row, way)))
}

/// Measures assignors by themselves: one member has everything and the others come.
///
/// # Panics
///
/// If there is no such assignor.
pub fn assignors(scale: u64, each: &mut dyn FnMut(&GroupRow)) {
    for (protocol, assignor) in ASSIGNORS {
        for (members, partitions) in SIZES {
            let mut shares = Shares {
                partitions,
                owned: vec![Vec::new(); members],
            };
            shares.owned[0] = (0..partitions).collect();
            let tries = (0..20 * scale).map(|_| {
                let stopwatch = Stopwatch::start();
                let assigned = match protocol {
                    CLASSIC => by_leader(assignor, &shares),
                    _ => by_coordinator(assignor, &shares),
                };
                let wall = stopwatch.elapsed();
                assert!(assigned.is_some(), "there is no assignor {assignor}");
                wall
            });
            let way = (protocol, assignor);
            each(&row("assignor", way, (members, partitions), tries.min()));
        }
    }
}

fn row(
    row: &'static str,
    (protocol, assignor): (&'static str, &'static str),
    (members, partitions): (usize, i32),
    wall: Option<Duration>,
) -> GroupRow {
    let nanos = wall.unwrap_or_default().as_nanos();
    let nanos = u64::try_from(nanos).expect("a bench ends");
    let count = u64::from(partitions.unsigned_abs());
    let pairs = count * u64::try_from(members).expect("few members");
    GroupRow {
        row,
        protocol,
        assignor,
        members,
        partitions,
        simulated_s: None,
        events: None,
        wall_us: ratio(nanos, 1_000),
        ns_per_partition: ratio(nanos, count),
        ns_per_pair: ratio(nanos, pairs),
    }
}

fn plan(seed: Seed, partitions: i32) -> Result<Plan, String> {
    let text = CLUSTER.replace(
        "partitions = 1\nrep",
        &format!("partitions = {partitions}\nrep"),
    );
    let scenario = Scenario::parse("group", "bench/group.toml", &text)?;
    Ok(Plan::draw(&scenario, seed))
}

/// A group that came to be.
struct Formed {
    wall: Duration,
    simulated_us: u64,
    events: u64,
}

/// Founders have everything before the other members come.
fn form(
    plan: &Plan,
    way: (&str, &str),
    (founders, members): (usize, usize),
) -> Result<Formed, String> {
    let recorder = Recorder::new(None, None);
    let engine = EventEngine::new(plan.seed, plan.run.latency_us, recorder);
    let mut run = Run::new(plan, Cluster::new(engine));
    run.populate().map_err(|error| error.to_string())?;
    let count = usize::try_from(plan.topics[0].partitions).expect("few partitions");
    let ledger = Rc::new(RefCell::new(Ledger {
        owners: vec![None; count],
        shares: vec![0; founders],
    }));
    for number in 0..founders {
        add(&mut run, way, number, &ledger)?;
    }
    if run.set_up().is_some() {
        return Err("the cluster did not form".to_owned());
    }
    let events = |run: &mut Run<'_, EventEngine>| {
        let engine = &mut run.cluster.engine;
        engine.with_recorder(|recorder| recorder.counts.events_total)
    };
    let mut from_us = run.cluster.engine.now_us();
    let mut before = events(&mut run);
    let mut stopwatch = Stopwatch::start();
    run.start_workload();
    settle(&mut run, &ledger)?;
    if founders < members {
        let others = (founders..members).map(|number| add(&mut run, way, number, &ledger));
        let others = others.collect::<Result<Vec<_>, String>>()?;
        ledger.borrow_mut().shares.resize(members, 0);
        from_us = run.cluster.engine.now_us();
        before = events(&mut run);
        stopwatch = Stopwatch::start();
        for other in others {
            run.cluster.begin(other);
        }
        settle(&mut run, &ledger)?;
    }
    Ok(Formed {
        wall: stopwatch.elapsed(),
        simulated_us: run.cluster.engine.now_us() - from_us,
        events: events(&mut run) - before,
    })
}

/// Adds a member, which does not run yet.
fn add(
    run: &mut Run<'_, EventEngine>,
    way: (&str, &str),
    number: usize,
    ledger: &Rc<RefCell<Ledger>>,
) -> Result<ProcessId, String> {
    let properties = properties(way);
    let config = ConsumerConfig::from_properties(&properties).map_err(|error| error.to_string())?;
    let app = Box::new(Reader::new(number, ledger.clone()));
    let name = format!("c/{number}");
    let kind = ClientKind::Consumer(config);
    Ok(run.add_client(&name, kind, &properties, Role::Consumer, |_| app))
}

/// Lets time pass until the group is stable.
fn settle(run: &mut Run<'_, EventEngine>, ledger: &Rc<RefCell<Ledger>>) -> Result<(), String> {
    let bound_us = run.cluster.engine.now_us() + BOUND_US;
    while !ledger.borrow().is_stable() {
        let now_us = run.cluster.engine.now_us();
        if bound_us <= now_us {
            let shares = &ledger.borrow().shares;
            return Err(format!("a group does not become stable: {shares:?}"));
        }
        run.cluster.engine.run_until(now_us + LOOK_EVERY_US);
    }
    Ok(())
}

fn properties((protocol, assignor): (&str, &str)) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::from([
        ("group.id".to_owned(), "g".to_owned()),
        ("group.protocol".to_owned(), protocol.to_owned()),
    ]);
    let (name, value) = match assignor {
        "uniform" => ("group.remote.assignor", "uniform"),
        "range" => ("partition.assignment.strategy", "RangeAssignor"),
        _ => ("partition.assignment.strategy", "CooperativeStickyAssignor"),
    };
    properties.insert(name.to_owned(), value.to_owned());
    properties
}

/// Who owns what.
struct Ledger {
    owners: Vec<Option<usize>>,
    /// How much each member owns.
    shares: Vec<usize>,
}

impl Ledger {
    fn is_stable(&self) -> bool {
        let least = self.owners.len() / self.shares.len();
        let fair = |share: &usize| (least..=least + 1).contains(share);
        self.owners.iter().all(Option::is_some) && self.shares.iter().all(fair)
    }

    fn take(&mut self, partition: i32, member: usize) {
        let at = usize::try_from(partition).expect("partitions count from 0");
        if let Some(other) = self.owners[at].replace(member) {
            self.shares[other] -= 1;
        }
        self.shares[member] += 1;
    }

    fn give_up(&mut self, partition: i32, member: usize) {
        let at = usize::try_from(partition).expect("partitions count from 0");
        if self.owners[at] == Some(member) {
            self.owners[at] = None;
            self.shares[member] -= 1;
        }
    }
}

/// A member that polls and does nothing else.
struct Reader {
    number: usize,
    ledger: Rc<RefCell<Ledger>>,
    subscribed: bool,
    polls: u64,
    polling: bool,
}

impl Reader {
    fn new(number: usize, ledger: Rc<RefCell<Ledger>>) -> Self {
        Reader {
            number,
            ledger,
            subscribed: false,
            polls: 0,
            polling: false,
        }
    }

    fn poll(&mut self, calls: &mut VecDeque<Command>) {
        self.polling = true;
        self.polls += 1;
        let (op, timeout_ms) = (OpId(self.polls), POLL_MS);
        calls.push_back(Command::Poll { op, timeout_ms });
    }
}

impl App for Reader {
    fn begin(&mut self, _now_us: u64, _topics: &BTreeMap<String, TopicFacts>) {}

    fn wake(&mut self, _now_us: u64, _recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if !self.subscribed {
            self.subscribed = true;
            let topics = vec![StrBytes::from_static_str(TOPIC)];
            let to = Subscription::Topics(topics);
            calls.push_back(Command::Subscribe { to });
        }
        if !self.polling {
            self.poll(calls);
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
            Event::Rebalance {
                callback,
                what,
                partitions,
                ..
            } => {
                let mut ledger = self.ledger.borrow_mut();
                for name in partitions {
                    match what {
                        RebalanceCallback::Assigned => ledger.take(name.partition, self.number),
                        RebalanceCallback::Revoked | RebalanceCallback::Lost => {
                            ledger.give_up(name.partition, self.number);
                        }
                    }
                }
                calls.push_back(Command::CallbackDone { callback });
            }
            Event::Polled { .. } | Event::PollFailed { .. } => self.poll(calls),
            _ => {}
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        None
    }

    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        true
    }

    fn waits_for(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_group_becomes_stable_in_every_way() {
        for (row, way) in ways() {
            let plan = plan(Seed(1), 6).expect("it can be read");
            let founders = if row == "join" { 1 } else { 3 };
            let formed = form(&plan, way, (founders, 3));
            assert!(formed.is_ok(), "{}", formed.err().unwrap_or_default());
        }
    }
}
