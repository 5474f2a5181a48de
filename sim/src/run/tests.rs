//! A whole run, small.

use std::collections::{BTreeMap, BTreeSet};

use super::{Options, run};
use crate::engine::EngineKind;
use crate::history::{Body, Ev, Op, Res};
use crate::plan::{
    ClientPlan, CommitStyle, DeadLetterPlan, Delivery, Effects, MemberPlan, NodePlan, Plan,
    Processing, RunPlan, Script, SendPlan, Sink, TopicPlan,
};
use crate::seed::Seed;

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn quiet_plan(seed: u64) -> Plan {
    let sends = (0..100).map(|n| SendPlan {
        at_us: n * 50_000,
        partition: Some(i32::try_from(n % 2).expect("a small number")),
        key: None,
        bytes: 64,
    });
    Plan {
        scenario: "quiet".to_owned(),
        seed: Seed(seed),
        bug: None,
        probes: Vec::new(),
        expect: Vec::new(),
        nodes: (1..=3)
            .map(|id| NodePlan {
                id,
                config: BTreeMap::new(),
                metadata_lag_max_ms: 0,
            })
            .collect(),
        topics: vec![TopicPlan {
            name: "orders".to_owned(),
            partitions: 2,
            replication_factor: 3,
            config: properties(&[("min.insync.replicas", "2")]),
        }],
        clients: vec![
            ClientPlan {
                name: "p/0".to_owned(),
                config: properties(&[("acks", "all")]),
                script: Script::Produce {
                    topic: "orders".to_owned(),
                    sends: sends.collect(),
                },
            },
            ClientPlan {
                name: "c/0".to_owned(),
                config: properties(&[("auto.offset.reset", "earliest")]),
                script: Script::Consume {
                    topic: "orders".to_owned(),
                    from_ms: 100,
                    poll_ms: 300,
                    pause_ms: 10,
                    rewinds_ms: vec![2_000],
                },
            },
        ],
        faults: Vec::new(),
        run: RunPlan {
            duration_ms: 6_000,
            heal_ms: 5_000,
            latency_us: (200, 2_000),
            flush_us: (100, 3_000),
            writeback_ms: (1_000, 30_000),
            tick_ms: 1,
        },
    }
}

fn member(dead_letters: DeadLetterPlan) -> ClientPlan {
    ClientPlan {
        name: "c/0".to_owned(),
        config: properties(&[
            ("group.id", "g"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ]),
        script: Script::Member(MemberPlan {
            topics: vec!["orders".to_owned()],
            pattern: None,
            from_ms: 100,
            poll_ms: 300,
            pause_ms: 10,
            commit: CommitStyle::Sync,
            commit_every: 1,
            process_us: 0,
            processing: Processing::InPoll,
            delivery: Delivery::AtLeastOnce,
            sink: Sink::Plain,
            effects: Effects::Any,
            stalls_ms: Vec::new(),
            pauses_ms: Vec::new(),
            looks_ms: Vec::new(),
            wakes_ms: Vec::new(),
            dead_letters: Some(dead_letters),
        }),
    }
}

#[test]
fn what_a_member_cannot_process_goes_to_its_topic_with_its_origin() {
    let mut plan = quiet_plan(1);
    plan.topics.push(TopicPlan {
        name: "orders.dlq".to_owned(),
        partitions: 1,
        ..plan.topics[0].clone()
    });
    let letters = DeadLetterPlan {
        topic: "orders.dlq".to_owned(),
        poison: 30,
        awaited: true,
        config: properties(&[("acks", "all")]),
    };
    plan.clients[1] = member(letters);
    let options = Options {
        engine: EngineKind::Event,
        judge: true,
        trace: false,
    };
    let end = run(&plan, options).expect("the plan is legal");
    assert_eq!(end.stopped_by, None);
    // Headers that are not those that were sent would be garbage (ORD-8).
    assert_eq!(end.judgement.violations, []);
    let mut origins = BTreeSet::new();
    let mut effects: BTreeSet<(u32, i64)> = BTreeSet::new();
    let mut read: BTreeSet<u64> = BTreeSet::new();
    for line in &end.lines {
        match &line.b {
            Body::I {
                op: Op::Send {
                    v, src: Some(src), ..
                },
                ..
            } => {
                origins.insert((*v, *src));
            }
            Body::Ev {
                ev: Ev::Effect { rs },
                ..
            } => effects.extend(rs),
            Body::Ok {
                r: Res::Polled(parts),
                ..
            } => read.extend(
                parts
                    .iter()
                    .flat_map(|part| part.rs.iter().map(|(_, v)| *v)),
            ),
            _ => {}
        }
    }
    assert!((10..60).contains(&origins.len()), "{}", origins.len());
    assert_eq!(effects.len(), 100, "letters are effects");
    for (v, src) in origins {
        assert!(effects.contains(&src) && read.contains(&v), "{src:?}");
    }
}

#[test]
fn a_quiet_cluster_takes_every_record() {
    let options = Options {
        engine: EngineKind::Event,
        judge: true,
        trace: true,
    };
    let end = run(&quiet_plan(1), options).expect("the plan is legal");
    if let Some(stuck) = &end.stopped_by {
        let lines = end.trace.as_ref().expect("a trace was asked for").lines();
        let last: Vec<String> = lines
            .iter()
            .rev()
            .take(150)
            .rev()
            .map(ToString::to_string)
            .collect();
        panic!("{stuck:?}\n{}", last.join("\n"));
    }
    assert_eq!(end.judgement.violations, []);
    assert_eq!(end.counts.acked, 100);
}
