//! Members of real libraries share six partitions; one is killed, or is a static member and comes back.

use std::time::Duration;

use super::group::{Group, PROPERTIES, Way};
use super::member::{Fact, Library, Member};
use super::port;
use super::served::{Scratch, Served};

const RECORDS: usize = 3_000;
/// Of static members: who comes back later is rightly replaced, and a program may start slowly.
const LONG_SESSION_MS: &str = "45000";
/// What a static member that is restarted in time must not outlive.
const WATCH: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs confluent-kafka, and opens ports"]
fn members_of_librdkafka_lose_nothing_when_one_dies() {
    let ways = [
        ("classic-range", classic("range")),
        ("classic-roundrobin", classic("roundrobin")),
        ("classic-cooperative", classic("cooperative-sticky")),
        ("consumer-uniform", consumer("uniform")),
        ("consumer-range", consumer("range")),
    ];
    one_dies(port::LIBRDKAFKA, &ways);
}

#[test]
#[ignore = "needs kafka-python, and opens ports"]
fn members_of_kafka_python_lose_nothing_when_one_dies() {
    one_dies(
        port::KAFKA_PYTHON,
        &[
            ("kafka-python-range", kafka_python("range")),
            (
                "kafka-python-cooperative",
                kafka_python("cooperative-sticky"),
            ),
        ],
    );
}

#[test]
#[ignore = "needs kafkajs, and opens ports"]
fn members_of_kafkajs_lose_nothing_when_one_dies() {
    let config = [("sessionTimeout", "6000"), ("heartbeatInterval", "1000")];
    let way = Way::new(Library::Kafkajs, &config);
    one_dies(port::KAFKAJS, &[("kafkajs-roundrobin", way)]);
}

#[test]
#[ignore = "needs confluent-kafka and kafka-python, and opens ports"]
fn a_static_member_comes_back_without_a_rebalance() {
    let data = Scratch::new("static");
    let mut properties = PROPERTIES.to_vec();
    properties.extend([
        ("group.consumer.max.session.timeout.ms", LONG_SESSION_MS),
        ("group.consumer.session.timeout.ms", LONG_SESSION_MS),
    ]);
    let served = Served::start(&data.0, port::STATIC, &properties);
    let ways = [
        ("static-range", classic("range"), How::Killed),
        (
            "static-cooperative",
            classic("cooperative-sticky"),
            How::Killed,
        ),
        // Who joins with the instance id of a member that has not left is refused (KIP-848).
        ("static-consumer", consumer("uniform"), How::Closed),
        ("static-kafka-python", kafka_python("range"), How::Killed),
        ("static-closed", classic("range"), How::Closed),
    ];
    for (name, way, how) in ways {
        comes_back(&served, name, &way, how);
    }
    served.stop_in_order();
}

/// How a static member goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Killed,
    Closed,
}

fn one_dies(port: u16, ways: &[(&str, Way)]) {
    let data = Scratch::new(ways[0].0);
    let served = Served::start(&data.0, port, PROPERTIES);
    for (name, way) in ways {
        let mut group = Group::new(&served, name);
        group.produce(RECORDS);
        for _ in 0..3 {
            group.join(way);
        }
        group.until_shared();
        group.until_all_is_read();
        let before: Vec<_> = group.members[..2].iter().map(owned).collect();
        let calls: Vec<_> = group.members[..2].iter().map(calls).collect();
        let moved = group.kill_while_it_reads(2, RECORDS, heartbeats(way));
        if is_incremental(way) {
            for ((member, before), calls) in group.members.iter().zip(before).zip(calls) {
                let news = &member.callbacks[calls..];
                let kept = before.iter().all(|at| member.owned.contains(at));
                let is_right = kept && news.iter().all(|it| matches!(it, Fact::Assigned(_)));
                assert!(is_right, "had {before:?}: {}", group.describe());
            }
        }
        group.until_all_is_read();
        group.until_nothing_lags();
        group.leave_all();
        let again = group.read_again();
        // kafkajs commits by itself, so often that nothing may be open.
        let had_some_in_hand = 0 < again || way.library == Library::Kafkajs;
        assert!(had_some_in_hand, "it had committed: {}", group.describe());
        println!("{name}: moved after {moved:?}, {again} records read again");
    }
    served.stop_in_order();
}

fn comes_back(served: &Served, name: &str, way: &Way, how: How) {
    let mut group = Group::new(served, name);
    group.produce(RECORDS);
    let (instance_id, session_timeout) = match way.library {
        Library::KafkaPython => ("group_instance_id", "session_timeout_ms"),
        _ => ("group.instance.id", "session.timeout.ms"),
    };
    let way = match way.config.contains_key(session_timeout) {
        true => way.with(session_timeout, LONG_SESSION_MS),
        // It is the nodes' with the consumer protocol.
        false => way.clone(),
    };
    for instance in ["a", "b", "c"] {
        group.join(&way.with(instance_id, instance));
    }
    group.until_shared();
    group.until_all_is_read();
    group.until_nothing_lags();
    let before: Vec<_> = group.members[..2].iter().map(calls).collect();
    let had = owned(&group.members[2]);
    match how {
        How::Killed => group.members[2].kill(),
        How::Closed => group.leave(2),
    }
    let back = group.join(&way.with(instance_id, "c"));
    group.until_shared();
    group.listen(WATCH);
    let now: Vec<_> = group.members[..2].iter().map(calls).collect();
    assert_eq!(now, before, "others rebalanced: {}", group.describe());
    let has = owned(&group.members[back]);
    assert_eq!(has, had, "it has others: {}", group.describe());
    group.produce(RECORDS);
    group.until_all_is_read();
    group.until_nothing_lags();
    group.leave_all();
    assert_eq!(group.read_again(), 0, "{}", group.describe());
    println!("{name}: has {has:?} again");
}

fn owned(member: &Member) -> Vec<i32> {
    member.owned.clone()
}

/// How often the member's rebalance listener was called.
fn calls(member: &Member) -> usize {
    member.callbacks.len()
}

/// How many must follow one another: the range assignor of the consumer protocol also moves what the
/// living have, so that one hears first to give it up, and then another that it may have it.
fn heartbeats(way: &Way) -> u32 {
    let assignor = way.config.get("group.remote.assignor");
    1 + u32::from(assignor.is_some_and(|it| it == "range"))
}

/// Whether members keep what they have in a rebalance.
fn is_incremental(way: &Way) -> bool {
    let is = |what: &str| way.config.values().any(|value| value == what);
    is("cooperative-sticky") || is("uniform")
}

fn classic(assignor: &str) -> Way {
    Way::new(
        Library::Librdkafka,
        &[
            ("partition.assignment.strategy", assignor),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "1000"),
        ],
    )
}

fn consumer(assignor: &str) -> Way {
    let config = [
        ("group.protocol", "consumer"),
        ("group.remote.assignor", assignor),
    ];
    Way::new(Library::Librdkafka, &config)
}

fn kafka_python(assignor: &str) -> Way {
    Way::new(
        Library::KafkaPython,
        &[
            ("partition_assignment_strategy", assignor),
            ("session_timeout_ms", "6000"),
            ("heartbeat_interval_ms", "1000"),
        ],
    )
}
