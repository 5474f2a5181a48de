//! Groups of real consumers at real coordinators, by every assignor and both protocols: members
//! come and go, applications stall, brokers and members die, and every record is read.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::bug::Bug;
use broker_model::client::ClientKind;
use broker_model::client::command::{
    ClientError, Command, Event, OffsetAndMetadata, OpId, RebalanceCallback, Subscription,
};
use broker_model::config::{AdminConfig, ConsumerConfig, Given};
use broker_model::node::NodeConfig;
use broker_model::types::{Offset, ResponseError, StrBytes, TopicPartition};
use bytes::Bytes;

use crate::Cluster;
use crate::world::{Actor, combined};

const EVENTS: &str = "events";
const PARTITIONS: i32 = 6;

/// Ways to be in a group.
const WAYS: [&[(&str, &str)]; 6] = [
    &[("partition.assignment.strategy", "RangeAssignor")],
    &[("partition.assignment.strategy", "RoundRobinAssignor")],
    &[("partition.assignment.strategy", "StickyAssignor")],
    &[("partition.assignment.strategy", "CooperativeStickyAssignor")],
    &[("group.protocol", "consumer")],
    &[
        ("group.protocol", "consumer"),
        ("group.remote.assignor", "range"),
    ],
];

/// A consuming application.
#[derive(Default)]
struct Reader {
    owned: BTreeSet<i32>,
    /// Where the next record has to be, while a partition stays owned.
    positions: BTreeMap<i32, i64>,
    polls: u64,
    closed: bool,
    dead: bool,
    /// The application does not poll.
    stalled: bool,
    /// A poll is under way.
    polling: bool,
}

impl Reader {
    fn is_live(&self) -> bool {
        !self.dead && !self.closed
    }
}

/// A cluster, a producer and readers.
struct Crowd {
    cluster: Cluster,
    producer: Actor,
    readers: BTreeMap<Actor, Reader>,
    /// Events that were looked at.
    seen: usize,
    sent: u64,
    /// How often each record was read.
    read: BTreeMap<Bytes, u32>,
    /// Nobody dies, so nobody may own what another one owns.
    calm: bool,
    /// How often somebody got what another one owned.
    overlaps: u32,
    /// Those who heard that another process is their static member.
    fenced: BTreeSet<Actor>,
}

impl Crowd {
    fn new(seed: u64, calm: bool) -> Crowd {
        Crowd::with_bug(seed, calm, None)
    }

    fn with_bug(seed: u64, calm: bool, bug: Option<Bug>) -> Crowd {
        let node = |id| {
            let mut node = NodeConfig {
                bug,
                ..combined(id)
            };
            for (name, value) in [
                ("offsets.topic.num.partitions", "3"),
                ("broker.session.timeout.ms", "6000"),
                ("group.initial.rebalance.delay.ms", "500"),
                ("group.consumer.session.timeout.ms", "6000"),
                ("group.consumer.min.session.timeout.ms", "6000"),
                ("group.consumer.heartbeat.interval.ms", "1000"),
                ("group.consumer.min.heartbeat.interval.ms", "1000"),
            ] {
                node.properties.insert(name.to_owned(), value.to_owned());
            }
            node
        };
        let mut cluster = Cluster::of((1..=3).map(node).collect(), seed);
        cluster.bug = bug;
        let admin = cluster.client(ClientKind::Admin(AdminConfig::default()));
        let op = OpId(1);
        let create = Command::CreateTopic {
            op,
            name: StrBytes::from_static_str(EVENTS),
            partitions: PARTITIONS,
            replication_factor: 3,
            configs: Vec::new(),
        };
        cluster.world.command(admin, create);
        let result = Ok(());
        let created = (admin, Event::Done { op, result });
        cluster
            .world
            .run_until(20_000, "topic", |world| world.events.contains(&created));
        let producer = cluster.producer();
        let seen = cluster.world.events.len();
        Crowd {
            cluster,
            producer,
            readers: BTreeMap::new(),
            seen,
            sent: 0,
            read: BTreeMap::new(),
            calm,
            overlaps: 0,
            fenced: BTreeSet::new(),
        }
    }

    fn join(&mut self, way: &[(&str, &str)]) -> Actor {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let mut given: Given = way.iter().map(own).collect();
        let classic = !given.contains_key("group.protocol");
        let mut more = vec![
            ("group.id", "g"),
            ("auto.offset.reset", "earliest"),
            ("auto.commit.interval.ms", "700"),
            ("max.poll.records", "7"),
            ("request.timeout.ms", "5000"),
            ("max.poll.interval.ms", "9000"),
        ];
        if classic {
            more.extend([
                ("session.timeout.ms", "6000"),
                ("heartbeat.interval.ms", "1000"),
            ]);
        }
        given.extend(more.iter().map(own));
        let config = ConsumerConfig::from_properties(&given).expect("a test's own");
        let reader = self.cluster.client(ClientKind::Consumer(config));
        let to = Subscription::Topics(vec![StrBytes::from_static_str(EVENTS)]);
        self.cluster
            .world
            .command(reader, Command::Subscribe { to });
        self.readers.insert(reader, Reader::default());
        self.poll(reader);
        reader
    }

    fn poll(&mut self, actor: Actor) {
        let reader = self.readers.get_mut(&actor).expect("a reader");
        if reader.stalled || reader.polling {
            return;
        }
        reader.polling = true;
        reader.polls += 1;
        let (op, timeout_ms) = (OpId(reader.polls), 300);
        self.cluster
            .world
            .command(actor, Command::Poll { op, timeout_ms });
    }

    fn close(&mut self, actor: Actor) {
        self.readers.get_mut(&actor).expect("a reader").closed = true;
        let op = OpId(0);
        self.cluster.world.command(actor, Command::Close { op });
    }

    fn kill(&mut self, actor: Actor) {
        self.readers.get_mut(&actor).expect("a reader").dead = true;
        self.cluster.world.kill(actor);
    }

    fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.sent += 1;
            let partition = i32::try_from(self.sent % 6).expect("small");
            self.cluster.world.command(
                self.producer,
                Command::Send {
                    op: OpId(self.sent),
                    topic: StrBytes::from_static_str(EVENTS),
                    partition: Some(partition),
                    key: None,
                    value: value(self.sent),
                    headers: Vec::new(),
                },
            );
        }
    }

    /// Lives for so long: records are sent, applications react.
    fn live(&mut self, ms: u64) {
        for at in 0..ms / 10 {
            if at.is_multiple_of(10) {
                self.send(1);
            }
            self.cluster.world.run_for(10);
            self.react();
        }
    }

    fn react(&mut self) {
        let events = self.cluster.world.events[self.seen..].to_vec();
        self.seen += events.len();
        for (actor, event) in events {
            if self.readers.get(&actor).is_some_and(|reader| !reader.dead) {
                self.on_event(actor, event);
            }
        }
    }

    fn on_event(&mut self, actor: Actor, event: Event) {
        match event {
            Event::Rebalance {
                callback,
                what,
                partitions,
                ..
            } => {
                for name in &partitions {
                    self.on_rebalance(actor, what, name.partition);
                }
                self.cluster
                    .world
                    .command(actor, Command::CallbackDone { callback });
            }
            Event::Reset { partition, to, .. } => {
                let reader = self.readers.get_mut(&actor).expect("a reader");
                reader.positions.insert(partition.partition, to.0);
            }
            Event::Polled { parts, .. } => {
                self.readers.get_mut(&actor).expect("a reader").polling = false;
                for part in parts {
                    let index = part.partition.partition;
                    let reader = self.readers.get_mut(&actor).expect("a reader");
                    assert!(reader.owned.contains(&index), "{actor} reads {index}");
                    let expected = reader.positions.insert(index, part.to.0);
                    assert_eq!(expected, Some(part.from.0), "{actor} in {index}");
                    for record in part.records {
                        let value = record.value.expect("every record has one");
                        *self.read.entry(value).or_default() += 1;
                    }
                }
                if !self.readers[&actor].closed {
                    self.poll(actor);
                }
            }
            Event::PollFailed { error, .. } => {
                assert!(!self.calm, "{actor}: {error:?}");
                if error == FENCED {
                    self.fenced.insert(actor);
                }
                self.readers.get_mut(&actor).expect("a reader").polling = false;
                self.poll(actor);
            }
            _ => {}
        }
    }

    fn on_rebalance(&mut self, actor: Actor, what: RebalanceCallback, index: i32) {
        if what == RebalanceCallback::Assigned {
            let mut others = self.readers.values().filter(|one| !one.dead);
            let is_owned = others.any(|other| other.owned.contains(&index));
            assert!(!(is_owned && self.calm), "{actor} gets {index}");
            self.overlaps += u32::from(is_owned);
        }
        let reader = self.readers.get_mut(&actor).expect("a reader");
        match what {
            RebalanceCallback::Assigned => assert!(reader.owned.insert(index)),
            RebalanceCallback::Revoked | RebalanceCallback::Lost => {
                assert!(reader.owned.remove(&index), "{actor} had no {index}");
                reader.positions.remove(&index);
            }
        }
    }

    /// The live readers own every partition once, in equal shares.
    fn is_balanced(&self) -> bool {
        let live = || self.readers.values().filter(|one| one.is_live());
        let owned: usize = live().map(|one| one.owned.len()).sum();
        let all: BTreeSet<i32> = live().flat_map(|one| one.owned.clone()).collect();
        let sizes = || live().map(|one| one.owned.len());
        let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        owned == 6 && all.len() == 6 && most - least <= 1
    }

    fn live_readers(&self) -> Vec<Actor> {
        let readers = self.readers.iter().filter(|(_, one)| one.is_live());
        readers.map(|(&id, _)| id).collect()
    }

    /// Something happens to the group.
    fn strike(&mut self, way: &[(&str, &str)]) {
        let live = self.live_readers();
        let victim = self.cluster.world.draw(live.len() as u64);
        let victim = live[usize::try_from(victim).expect("few")];
        match self.cluster.world.draw(6) {
            0 | 1 if live.len() < 5 => {
                self.join(way);
            }
            0..=2 if live.len() > 1 => self.kill(victim),
            3 if live.len() > 1 => self.close(victim),
            4 => {
                let node = 1 + i32::try_from(self.cluster.world.draw(3)).expect("small");
                self.cluster.world.kill(node);
                let ms = 100 + self.cluster.world.draw(9_000);
                self.live(ms);
                self.cluster.start(node);
            }
            _ => {
                let stalled = |one: &mut Reader, to: bool| one.stalled = to;
                stalled(self.readers.get_mut(&victim).expect("a reader"), true);
                let ms = 100 + self.cluster.world.draw(15_000);
                self.live(ms);
                stalled(self.readers.get_mut(&victim).expect("a reader"), false);
                self.poll(victim);
            }
        }
    }

    fn shares(&self) -> String {
        let readers = self.readers.iter();
        let shares = readers
            .map(|(id, one)| format!("{id}{}: {:?}", if one.dead { "†" } else { "" }, one.owned));
        shares.collect::<Vec<_>>().join(", ")
    }

    fn await_balance(&mut self, within_ms: u64) {
        for _ in 0..within_ms / 100 {
            if self.is_balanced() {
                return;
            }
            self.live(100);
        }
        panic!("no balance within {within_ms} ms: {}", self.shares());
    }

    /// Everything that was sent is read, and what is committed in the end is the end.
    fn finish(&mut self) {
        for _ in 0..300 {
            if self.read.len() as u64 == self.sent {
                break;
            }
            self.cluster.world.run_for(100);
            self.react();
        }
        // The commit of a close may come with an epoch that is over: an automatic one before it
        // covers everything.
        for _ in 0..30 {
            self.cluster.world.run_for(100);
            self.react();
        }
        let missing = (1..=self.sent).filter(|&n| !self.read.contains_key(&value(n)));
        assert_eq!(missing.collect::<Vec<_>>(), [], "{}", self.shares());
        for actor in self.live_readers() {
            self.close(actor);
        }
        for _ in 0..100 {
            self.cluster.world.run_for(100);
            self.react();
        }
        let committed = self.committed();
        let total: i64 = committed.iter().map(|one| one.offset.0).sum();
        assert_eq!(u64::try_from(total), Ok(self.sent));
    }

    fn committed(&mut self) -> Vec<OffsetAndMetadata> {
        let given = [("group.id", "g"), ("enable.auto.commit", "false")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let config = ConsumerConfig::from_properties(&given.into_iter().map(own).collect());
        let kind = ClientKind::Consumer(config.expect("a test's own"));
        let asks = self.cluster.client(kind);
        let op = OpId(1);
        let partitions = (0..PARTITIONS).map(|partition| TopicPartition {
            topic: StrBytes::from_static_str(EVENTS),
            partition,
        });
        let partitions = partitions.collect();
        self.cluster
            .world
            .command(asks, Command::Committed { op, partitions });
        self.cluster.world.run_for(5_000);
        let mut events = self.cluster.world.events.iter();
        let found = events.find_map(|(actor, event)| match event {
            Event::CommittedOffsets { result, .. } if *actor == asks => Some(result.clone()),
            _ => None,
        });
        let found = found.expect("an answer").expect("no error");
        let nothing = OffsetAndMetadata {
            offset: Offset(0),
            leader_epoch: broker_model::types::LeaderEpoch::NONE,
            metadata: StrBytes::default(),
        };
        let offsets = found.into_iter().map(|(_, offset)| offset);
        offsets
            .map(|offset| offset.unwrap_or_else(|| nothing.clone()))
            .collect()
    }
}

fn value(n: u64) -> Bytes {
    Bytes::from(format!("event {n}"))
}

#[test]
fn members_come_and_go_and_read_everything_once() {
    for (seed, way) in (0..).zip(WAYS) {
        let mut crowd = Crowd::new(seed, true);
        let first = crowd.join(way);
        crowd.live(3_000);
        crowd.join(way);
        crowd.live(200);
        crowd.join(way);
        crowd.await_balance(20_000);
        crowd.live(2_000);
        crowd.close(first);
        crowd.await_balance(20_000);
        crowd.live(2_000);
        crowd.finish();
        let twice: Vec<_> = crowd.read.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{way:?}: {twice:?}");
    }
}

#[test]
fn members_and_brokers_die_and_nothing_is_missed() {
    for (seed, way) in (0..).zip(WAYS) {
        let mut crowd = Crowd::new(seed, false);
        let first = crowd.join(way);
        crowd.join(way);
        crowd.join(way);
        crowd.await_balance(30_000);
        crowd.live(1_000);
        crowd.kill(first);
        crowd.await_balance(40_000);
        for node in 1..=3 {
            crowd.cluster.world.kill(node);
            crowd.live(9_000);
            crowd.cluster.start(node);
            crowd.live(9_000);
        }
        crowd.await_balance(60_000);
        crowd.finish();
    }
}

#[test]
fn whatever_happens_nothing_is_missed() {
    for seed in 0..24 {
        let way = WAYS[usize::try_from(seed % 6).expect("small")];
        let mut crowd = Crowd::new(seed, false);
        crowd.join(way);
        crowd.join(way);
        for _ in 0..8 {
            crowd.strike(way);
            let ms = crowd.cluster.world.draw(6_000);
            crowd.live(ms);
        }
        crowd.await_balance(90_000);
        crowd.finish();
    }
}

#[test]
fn nobody_gets_what_another_one_still_owns() {
    for seed in 0..12 {
        let way = WAYS[usize::try_from(seed % 6).expect("small")];
        let mut crowd = Crowd::new(seed, true);
        crowd.join(way);
        for _ in 0..12 {
            let live = crowd.live_readers();
            let at = crowd.cluster.world.draw(live.len() as u64);
            match crowd.cluster.world.draw(2) {
                1 if live.len() > 1 => crowd.close(live[usize::try_from(at).expect("few")]),
                _ if live.len() < 6 => {
                    crowd.join(way);
                }
                _ => {}
            }
            let ms = crowd.cluster.world.draw(4_000);
            crowd.live(ms);
        }
        crowd.await_balance(30_000);
        crowd.finish();
    }
}

const FENCED: ClientError = ClientError::Broker(ResponseError::FencedInstanceId);
const COOPERATIVE: &[(&str, &str)] = WAYS[3];
/// A static member.
const STATIC: &[(&str, &str)] = &[("group.instance.id", "i"), WAYS[0][0]];

#[test]
fn kip_429_a_partition_has_two_owners_while_it_moves() {
    let overlaps = |bug| {
        let seeds = (0..4).map(|seed| {
            let mut crowd = Crowd::with_bug(seed, false, bug);
            for _ in 0..3 {
                crowd.join(COOPERATIVE);
                crowd.live(3_000);
            }
            crowd.await_balance(20_000);
            crowd.overlaps
        });
        seeds.sum::<u32>()
    };
    assert_eq!(overlaps(None), 0);
    assert!(0 < overlaps(Some(Bug::Kip429AssignBeforeRevoke)));
}

#[test]
fn kip_345_two_processes_are_one_static_member() {
    let fenced = |bug| {
        let mut crowd = Crowd::with_bug(0, false, bug);
        let first = crowd.join(STATIC);
        crowd.await_balance(20_000);
        let second = crowd.join(STATIC);
        crowd.live(8_000);
        [first, second].map(|actor| crowd.fenced.contains(&actor))
    };
    assert_eq!(fenced(None), [true, false]);
    let bug = Bug::Kip345InstanceNotFenced;
    assert_eq!(fenced(Some(bug)), [false, false], "both go on");
}

#[test]
fn kip_345_the_next_coordinator_fences_the_wrong_process() {
    let fenced = |bug| {
        let mut crowd = Crowd::with_bug(0, false, bug);
        let first = crowd.join(STATIC);
        crowd.await_balance(20_000);
        crowd.kill(first);
        let second = crowd.join(STATIC);
        crowd.live(3_000);
        for node in 1..=3 {
            crowd.cluster.world.kill(node);
            crowd.live(2_000);
            crowd.cluster.start(node);
            crowd.live(9_000);
        }
        crowd.fenced.contains(&second)
    };
    assert!(!fenced(None));
    assert!(fenced(Some(Bug::Kip345ReplacementNotPersisted)));
}
