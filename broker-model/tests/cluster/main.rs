//! Whole clusters of three combined nodes, with the real clients, until records go all the way.

mod world;

use broker_model::client::command::{Command, Event, OpId, SendOutcome, StartFrom};
use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::{ConsumerConfig, Given, ProducerConfig};
use broker_model::note::Note;
use broker_model::types::{Offset, StrBytes, TopicPartition};
use bytes::Bytes;
use world::{Actor, World, endpoint, node_config};

const TOPIC: &str = "orders";

fn client(kind: ClientKind) -> ClientConfig {
    ClientConfig {
        bootstrap: (1..=3).map(|id| endpoint(id, 9_092)).collect(),
        client_id: StrBytes::from_static_str("c"),
        kind,
        bug: None,
    }
}

fn producer() -> ClientConfig {
    let config = ProducerConfig::from_properties(&Given::new()).expect("the defaults");
    client(ClientKind::Producer(config))
}

fn consumer() -> ClientConfig {
    let config = ConsumerConfig::from_properties(&Given::new()).expect("the defaults");
    client(ClientKind::Consumer(config))
}

/// Three nodes, unfenced, with `orders`: two partitions, three replicas.
fn cluster() -> World {
    let mut world = World::of_combined_nodes(3, &[]);
    world.run_until(20_000, "three unfenced brokers", |world| {
        (1..=3).all(|id| {
            let view = world.node(id).expect("it runs").view();
            view.broker().is_some_and(|(_, fenced)| !fenced)
        })
    });
    let admin = world.start_client(client(ClientKind::Admin));
    world.command(
        admin,
        Command::CreateTopic {
            op: OpId(1),
            name: StrBytes::from_static_str(TOPIC),
            partitions: 2,
            replication_factor: 3,
            configs: vec![(
                StrBytes::from_static_str("min.insync.replicas"),
                StrBytes::from_static_str("2"),
            )],
        },
    );
    let created = Event::Done {
        op: OpId(1),
        result: Ok(()),
    };
    world.run_until(20_000, "topic", |world| {
        world.events.contains(&(admin, created.clone()))
    });
    world
}

fn send(world: &mut World, producer: Actor, op: u64, partition: i32) {
    world.command(
        producer,
        Command::Send {
            op: OpId(op),
            topic: StrBytes::from_static_str(TOPIC),
            partition: Some(partition),
            key: None,
            value: Bytes::from(format!("record {op}")),
        },
    );
}

fn acknowledged(world: &World) -> usize {
    let sent = world.events.iter().filter(|(_, event)| {
        matches!(
            event,
            Event::Sent {
                outcome: SendOutcome::Acknowledged { .. },
                ..
            }
        )
    });
    sent.count()
}

/// Reads both partitions from the start with a new consumer, and returns how many records it got.
fn read_all(world: &mut World, expected: usize) -> usize {
    let consumer = world.start_client(consumer());
    let partitions = (0..2).map(|partition| {
        let topic = StrBytes::from_static_str(TOPIC);
        (TopicPartition { topic, partition }, StartFrom::Beginning)
    });
    world.command(
        consumer,
        Command::Assign {
            partitions: partitions.collect(),
        },
    );
    let mut got = 0;
    for op in 0..20 {
        world.command(
            consumer,
            Command::Poll {
                op: OpId(op),
                timeout_ms: 1_000,
            },
        );
        let polled = |world: &World| {
            world.events.iter().any(|(actor, event)| {
                *actor == consumer
                    && matches!(event, Event::Polled { op: one, .. } if *one == OpId(op))
            })
        };
        world.run_until(5_000, "poll", polled);
        got = records(world, consumer);
        if expected <= got {
            break;
        }
    }
    got
}

fn records(world: &World, consumer: Actor) -> usize {
    let polled = world.events.iter().filter(|(actor, _)| *actor == consumer);
    let parts = polled.filter_map(|(_, event)| match event {
        Event::Polled { parts, .. } => Some(parts),
        _ => None,
    });
    parts.flatten().map(|part| part.records.len()).sum()
}

#[test]
fn a_record_goes_all_the_way() {
    let mut world = cluster();
    let producer = world.start_client(producer());
    for op in 0..10 {
        send(&mut world, producer, op, i32::from(op % 2 == 0));
    }
    world.run_until(10_000, "acknowledgements", |world| {
        acknowledged(world) == 10
    });
    assert_eq!(read_all(&mut world, 10), 10);
}

#[test]
fn the_same_run_twice_is_the_same() {
    let trace = || {
        let mut world = cluster();
        let producer = world.start_client(producer());
        send(&mut world, producer, 0, 0);
        world.run_for(5_000);
        format!("{:?}{:?}", world.notes, world.events)
    };
    assert!(trace() == trace(), "two runs differ");
}

#[test]
fn a_killed_node_comes_back_and_catches_up() {
    let mut world = cluster();
    let producer = world.start_client(producer());
    for op in 0..4 {
        send(&mut world, producer, op, 0);
    }
    world.run_until(10_000, "acknowledgements", |world| acknowledged(world) == 4);
    for victim in 1..=3 {
        world.kill(victim);
        for op in 0..4 {
            send(
                &mut world,
                producer,
                100 + u64::from(victim.unsigned_abs()) * 10 + op,
                0,
            );
        }
        let done = usize::try_from(4 + 4 * victim).expect("small");
        world.run_until(60_000, "acknowledgements without one", |world| {
            acknowledged(world) == done
        });
        world.start_node(node_config(victim, 3, &[]));
        world.run_until(60_000, "full ISRs", |world| full_isrs(world, 2));
    }
    assert_eq!(read_all(&mut world, 16), 16);
}

#[test]
fn a_node_that_is_told_to_stop_hands_over_and_halts() {
    let mut world = cluster();
    world.command(1, Command::Shutdown);
    world.run_until(20_000, "halt", |world| world.node(1).is_none());
    world.start_node(node_config(1, 3, &[]));
    world.run_until(60_000, "full ISRs", |world| full_isrs(world, 2));
    let clean = |note: &Note| matches!(note, Note::LogRecovered { clean: true, .. });
    assert!(
        world
            .notes
            .iter()
            .any(|(_, node, note)| *node == 1 && clean(note))
    );
}

/// Whether so many partitions have a leader, and all their replicas in sync and equally long.
fn full_isrs(world: &World, partitions: usize) -> bool {
    let views = || (1..=3).filter_map(|id| Some(world.node(id)?.view()));
    let led = views()
        .flat_map(|view| view.partitions())
        .filter(|part| part.is_leader);
    let full = led.filter(|part| {
        let replicas = views().flat_map(|view| view.partitions());
        let equal = replicas
            .filter(|other| other.partition == part.partition && other.log_end == part.log_end);
        part.isr.len() == 3 && part.high_watermark == part.log_end && equal.count() == 3
    });
    full.count() == partitions && views().all(|view| view.raft_log_end() > Offset::ZERO)
}
