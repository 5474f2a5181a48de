//! Whole clusters with the real clients, until records go all the way.

mod expiry;
mod groups;
mod members;
mod misfits;
mod world;

use std::collections::BTreeMap;

use broker_model::bug::Bug;
use broker_model::client::command::{Command, Event, OpId, SendOutcome, StartFrom};
use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::{AdminConfig, ConsumerConfig, Given, ProducerConfig};
use broker_model::node::NodeConfig;
use broker_model::note::Note;
use broker_model::types::{NodeId, Offset, StrBytes, TopicIdPartition, TopicPartition};
use bytes::Bytes;
use world::{Actor, World, combined, endpoint};

const TOPIC: &str = "orders";

/// A cluster, its brokers and where they keep their configuration.
struct Cluster {
    world: World,
    nodes: Vec<NodeConfig>,
    /// What clients have switched on.
    bug: Option<Bug>,
}

impl Cluster {
    /// These nodes, unfenced, with `orders`: two partitions, three replicas, two of them needed.
    fn of(nodes: Vec<NodeConfig>, seed: u64) -> Self {
        let world = World::of_nodes(nodes.clone(), seed);
        let mut cluster = Cluster {
            world,
            nodes,
            bug: None,
        };
        let brokers = cluster.brokers();
        cluster
            .world
            .run_until(30_000, "unfenced brokers", |world| {
                brokers.iter().all(|&id| {
                    let view = world.node(id).expect("it runs").view();
                    view.broker().is_some_and(|(_, fenced)| !fenced)
                })
            });
        cluster.create_topic();
        cluster
    }

    /// Three nodes that are everything.
    fn of_three() -> Self {
        Cluster::of((1..=3).map(combined).collect(), 0)
    }

    fn brokers(&self) -> Vec<Actor> {
        let brokers = self.nodes.iter().filter(|node| node.is_broker);
        brokers.map(|node| node.id.0).collect()
    }

    fn client(&mut self, kind: ClientKind) -> Actor {
        let bootstrap = self.brokers().into_iter();
        self.world.start_client(ClientConfig {
            bootstrap: bootstrap.map(|id| endpoint(id, 9_092)).collect(),
            client_id: StrBytes::from_static_str("c"),
            kind,
            bug: self.bug,
        })
    }

    fn producer(&mut self) -> Actor {
        let config = ProducerConfig::from_properties(&Given::new()).expect("the defaults");
        self.client(ClientKind::Producer(config))
    }

    fn create_topic(&mut self) {
        let admin = self.client(ClientKind::Admin(AdminConfig::default()));
        let min_isr = ("min.insync.replicas", "2");
        let create = Command::CreateTopic {
            op: OpId(1),
            name: StrBytes::from_static_str(TOPIC),
            partitions: 2,
            replication_factor: 3,
            configs: vec![(
                StrBytes::from_static_str(min_isr.0),
                StrBytes::from_static_str(min_isr.1),
            )],
        };
        self.world.command(admin, create);
        let result = Ok(());
        let created = (
            admin,
            Event::Done {
                op: OpId(1),
                result,
            },
        );
        self.world
            .run_until(20_000, "topic", |world| world.events.contains(&created));
    }

    fn start(&mut self, id: Actor) {
        let config = self.nodes.iter().find(|node| node.id == NodeId(id));
        self.world.start_node(config.expect("a node").clone());
    }

    fn await_full_isrs(&mut self) {
        let brokers = self.brokers();
        self.world
            .run_until(90_000, "full ISRs", |world| full_isrs(world, &brokers));
    }

    /// Reads both partitions from their starts with a new consumer until nothing comes.
    fn read_all(&mut self, expected: usize) -> Vec<Bytes> {
        let config = ConsumerConfig::from_properties(&Given::new()).expect("the defaults");
        let consumer = self.client(ClientKind::Consumer(config));
        let partitions = (0..2).map(|partition| {
            let topic = StrBytes::from_static_str(TOPIC);
            (TopicPartition { topic, partition }, StartFrom::Beginning)
        });
        let partitions = partitions.collect();
        self.world.command(consumer, Command::Assign { partitions });
        for op in (0..20).map(OpId) {
            let timeout_ms = 1_000;
            self.world
                .command(consumer, Command::Poll { op, timeout_ms });
            self.world.run_until(5_000, "poll", |world| {
                let polled =
                    |event: &Event| matches!(event, Event::Polled { op: one, .. } if *one == op);
                let mut events = world.events.iter();
                events.any(|(actor, event)| *actor == consumer && polled(event))
            });
            if expected <= records(&self.world, consumer).len() {
                break;
            }
        }
        records(&self.world, consumer)
    }
}

fn send(world: &mut World, producer: Actor, op: u64) {
    world.command(
        producer,
        Command::Send {
            op: OpId(op),
            topic: StrBytes::from_static_str(TOPIC),
            partition: Some(i32::from(op.is_multiple_of(2))),
            key: None,
            value: value(op),
            headers: Vec::new(),
        },
    );
}

fn value(op: u64) -> Bytes {
    Bytes::from(format!("record {op}"))
}

/// The sends that were acknowledged, and how many have ended at all.
fn sent(world: &World) -> (Vec<u64>, usize) {
    let mut acknowledged = Vec::new();
    let mut ended = 0;
    for (_, event) in &world.events {
        if let Event::Sent { op, outcome } = event {
            ended += 1;
            if matches!(outcome, SendOutcome::Acknowledged { .. }) {
                acknowledged.push(op.0);
            }
        }
    }
    (acknowledged, ended)
}

fn await_acknowledged(world: &mut World, count: usize) {
    world.run_until(60_000, "acknowledgements", |world| {
        sent(world).0.len() == count
    });
}

fn records(world: &World, consumer: Actor) -> Vec<Bytes> {
    let polled = world.events.iter().filter(|(actor, _)| *actor == consumer);
    let parts = polled.filter_map(|(_, event)| match event {
        Event::Polled { parts, .. } => Some(parts),
        _ => None,
    });
    let records = parts.flatten().flat_map(|part| &part.records);
    records.filter_map(|record| record.value.clone()).collect()
}

/// Whether both partitions have a leader, and all their replicas in sync and equally long.
fn full_isrs(world: &World, brokers: &[Actor]) -> bool {
    let views = || {
        brokers
            .iter()
            .filter_map(|&id| Some(world.node(id)?.view()))
    };
    let replicas = || views().flat_map(|view| view.partitions());
    let full = replicas().filter(|leader| {
        let equal = replicas().filter(|replica| {
            replica.partition == leader.partition
                && replica.leader_epoch == leader.leader_epoch
                && replica.log_end == leader.log_end
        });
        leader.is_leader
            && leader.isr.len() == 3
            && leader.high_watermark == leader.log_end
            && equal.count() == 3
    });
    full.count() == 2
}

#[test]
fn a_record_goes_all_the_way() {
    let mut cluster = Cluster::of_three();
    let producer = cluster.producer();
    for op in 0..10 {
        send(&mut cluster.world, producer, op);
    }
    await_acknowledged(&mut cluster.world, 10);
    assert_eq!(cluster.read_all(10).len(), 10);
}

#[test]
fn the_same_run_twice_is_the_same() {
    let trace = || {
        let mut cluster = Cluster::of_three();
        let producer = cluster.producer();
        send(&mut cluster.world, producer, 0);
        cluster.world.run_for(5_000);
        format!("{:?}{:?}", cluster.world.notes, cluster.world.events)
    };
    assert!(trace() == trace(), "two runs differ");
}

#[test]
fn brokers_of_their_own_follow_controllers_of_their_own() {
    let controllers = (1..=3).map(|id| NodeConfig {
        is_broker: false,
        ..combined(id)
    });
    let brokers = (4..=6).map(|id| NodeConfig {
        is_controller: false,
        ..combined(id)
    });
    let mut cluster = Cluster::of(controllers.chain(brokers).collect(), 0);
    let producer = cluster.producer();
    for op in 0..10 {
        send(&mut cluster.world, producer, op);
    }
    await_acknowledged(&mut cluster.world, 10);
    cluster.world.command(4, Command::Shutdown);
    cluster
        .world
        .run_until(20_000, "halt", |world| world.node(4).is_none());
    cluster.start(4);
    cluster.await_full_isrs();
    assert_eq!(cluster.read_all(10).len(), 10);
}

#[test]
fn a_node_that_is_told_to_stop_hands_over_and_halts() {
    let mut cluster = Cluster::of_three();
    for id in 1..=3 {
        cluster.world.command(id, Command::Shutdown);
        cluster
            .world
            .run_until(20_000, "halt", |world| world.node(id).is_none());
        cluster.start(id);
        cluster.await_full_isrs();
        let clean = |note: &Note| matches!(note, Note::LogRecovered { clean: true, .. });
        let mut notes = cluster.world.notes.iter();
        assert!(notes.any(|(_, node, note)| *node == id && clean(note)));
    }
}

/// Kills nodes at drawn moments while an idempotent producer sends with acks=all, and looks for every
/// acknowledged record, once.
fn survive(seed: u64, metadata_lag_max_ms: u64) {
    let nodes = (1..=3).map(|id| NodeConfig {
        metadata_lag_max_ms,
        ..combined(id)
    });
    let mut cluster = Cluster::of(nodes.collect(), seed);
    let producer = cluster.producer();
    let mut op = 0;
    for _ in 0..8 {
        let victim = 1 + i32::try_from(cluster.world.draw(3)).expect("small");
        cluster.world.kill(victim);
        let down_ms = cluster.world.draw(12_000);
        for part in 0..10 {
            send(&mut cluster.world, producer, op);
            op += 1;
            cluster.world.run_for(down_ms / 10);
            if part == 9 {
                cluster.start(victim);
            }
        }
        let up_ms = cluster.world.draw(6_000);
        cluster.world.run_for(up_ms);
    }
    let all = usize::try_from(op).expect("small");
    cluster
        .world
        .run_until(180_000, "end of every send", |world| sent(world).1 == all);
    cluster.await_full_isrs();
    let (acknowledged, _) = sent(&cluster.world);
    let read = cluster.read_all(all);
    let mut counts: BTreeMap<&Bytes, usize> = BTreeMap::new();
    for record in &read {
        *counts.entry(record).or_default() += 1;
    }
    for op in acknowledged {
        let count = counts.get(&value(op)).copied().unwrap_or_default();
        assert_eq!(
            count, 1,
            "seed {seed}: record {op} of {all} was acknowledged"
        );
    }
    assert_one_leader_an_epoch(&cluster.world, seed);
}

/// No partition has two leaders in one epoch, and no high watermark lies outside its log.
fn assert_one_leader_an_epoch(world: &World, seed: u64) {
    let mut leaders: BTreeMap<(TopicIdPartition, i32), Actor> = BTreeMap::new();
    for (_, node, note) in &world.notes {
        if let Note::BecameLeader {
            partition,
            leader_epoch,
            ..
        } = note
        {
            let before = leaders.insert((*partition, leader_epoch.0), *node);
            assert!(
                before.is_none_or(|before| before == *node),
                "seed {seed}: two leaders of {partition:?} in epoch {leader_epoch}"
            );
        }
        if let Note::HighWatermark {
            high_watermark,
            log_end,
            ..
        } = note
        {
            assert!(Offset::ZERO <= *high_watermark && high_watermark <= log_end);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kills() {
    for seed in 0..SEEDS {
        survive(seed, 0);
    }
}

#[test]
fn what_was_acknowledged_survives_kills_where_metadata_lags() {
    for seed in 0..SEEDS {
        survive(1_000 + seed, 800);
    }
}

/// How many schedules each of the tests above goes through.
const SEEDS: u64 = 6;
