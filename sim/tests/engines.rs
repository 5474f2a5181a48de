//! The same plans on both simulated engines: they pass, they repeat, and their faults take effect.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event};
use broker_model::client::{ClientConfig, ClientKind};
use broker_model::config::AdminConfig;
use broker_model::types::StrBytes;
use sim::cluster::TopicFacts;
use sim::disk::SimDisk;
use sim::engine::turmoil::TurmoilEngine;
use sim::engine::{Engine, EngineKind};
use sim::fault::Fault;
use sim::plan::{ClientPlan, FaultPlan, NodePlan, Plan, RunPlan, Script, SendPlan, TopicPlan};
use sim::recorder::Recorder;
use sim::run::{Options, RunEnd, run};
use sim::seed::Seed;
use sim::shell::{Blueprint, Identity, ShellConfig};
use sim::workload::App;

const ENGINES: [EngineKind; 2] = [EngineKind::Event, EngineKind::Turmoil];

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Three nodes, one topic, a producer and a consumer for twenty seconds.
fn plan(seed: u64, faults: Vec<Fault>) -> Plan {
    let node = |id| NodePlan {
        id,
        // After a cut the old connections stay silent: only this timeout gets rid of them.
        config: properties(&[("replica.socket.timeout.ms", "2000")]),
        metadata_lag_max_ms: 50,
    };
    let sends = (1..300).map(|n| SendPlan {
        at_us: n * 60_000,
        partition: Some(0),
        key: None,
        bytes: 100,
    });
    let producer = ClientPlan {
        name: "p/0".to_owned(),
        config: properties(&[("acks", "all"), ("request.timeout.ms", "2000")]),
        script: Script::Produce {
            topic: "orders".to_owned(),
            sends: sends.collect(),
        },
    };
    let consumer = ClientPlan {
        name: "c/0".to_owned(),
        config: properties(&[("auto.offset.reset", "earliest")]),
        script: Script::Consume {
            topic: "orders".to_owned(),
            from_ms: 100,
            poll_ms: 500,
            pause_ms: 10,
            rewinds_ms: Vec::new(),
        },
    };
    let fault = |(id, fault)| FaultPlan {
        id,
        at_ms: 2_000 + u64::from(id) * 500,
        fault,
    };
    Plan {
        scenario: "engines".to_owned(),
        seed: Seed(seed),
        bug: None,
        probes: Vec::new(),
        expect: Vec::new(),
        nodes: (1..=3).map(node).collect(),
        topics: vec![TopicPlan {
            name: "orders".to_owned(),
            partitions: 2,
            replication_factor: 3,
            config: properties(&[("min.insync.replicas", "2")]),
        }],
        clients: vec![producer, consumer],
        faults: (0..).zip(faults).map(fault).collect(),
        run: RunPlan {
            duration_ms: 20_000,
            heal_ms: 20_000,
            latency_us: (500, 3_000),
            flush_us: (500, 5_000),
            writeback_ms: (1_000, 30_000),
            tick_ms: 1,
        },
    }
}

fn go(plan: &Plan, engine: EngineKind) -> RunEnd {
    let options = Options {
        engine,
        judge: true,
        trace: false,
    };
    run(plan, options).expect("the properties exist")
}

/// Runs on both engines and demands that nothing is violated and every fault took effect.
fn passes(seed: u64, faults: &[Fault]) {
    for engine in ENGINES {
        let end = go(&plan(seed, faults.to_vec()), engine);
        let name = engine.name();
        assert_eq!(end.stopped_by, None, "{name}");
        assert_eq!(end.judgement.violations, [], "{name}");
        assert!(end.counts.acked > 50, "{name}: {:?}", end.counts);
        let effective: u64 = end.counts.faults.values().sum();
        assert_eq!(effective, faults.len() as u64, "{name}: {:?}", end.counts);
    }
}

fn target(name: &str) -> String {
    name.to_owned()
}

#[test]
fn a_quiet_run_passes_on_both_engines() {
    passes(1, &[]);
}

#[test]
fn a_killed_leader_comes_back() {
    passes(
        2,
        &[Fault::Kill {
            target: target("leader of orders-0"),
            restart_ms: 1_500,
        }],
    );
}

#[test]
fn a_host_without_power_is_silent_until_it_comes_back() {
    passes(
        3,
        &[Fault::PowerLoss {
            target: target("leader of orders-0"),
            restart_ms: 3_000,
        }],
    );
}

#[test]
fn a_partitioned_leader_is_replaced() {
    passes(
        4,
        &[Fault::Partition {
            between: (target("leader of orders-0"), target("everyone")),
            heal_ms: 4_000,
        }],
    );
}

#[test]
fn a_link_can_be_cut_one_way() {
    passes(
        5,
        &[Fault::OneWay {
            from: target("follower of orders-0"),
            to: target("leader of orders-0"),
            heal_ms: 4_000,
        }],
    );
}

#[test]
fn links_can_be_held_and_slowed() {
    passes(
        6,
        &[
            Fault::Hold {
                between: (target("n1"), target("rest")),
                for_ms: 1_000,
            },
            Fault::SlowLink {
                between: (target("n2"), target("everyone")),
                extra_ms: 80,
                for_ms: 2_000,
            },
        ],
    );
}

#[test]
fn one_kind_of_rpc_can_be_held_or_lost() {
    passes(
        7,
        &[
            Fault::HoldRpc {
                target: target("leader of orders-0"),
                api: "Fetch".to_owned(),
                side: sim::fault::Side::Response,
                count: 3,
                for_ms: 700,
            },
            Fault::DropRpc {
                target: target("client p/0"),
                api: "Produce".to_owned(),
                side: sim::fault::Side::Request,
                count: 1,
                for_ms: 4_000,
            },
        ],
    );
}

#[test]
fn a_paused_leader_goes_on() {
    passes(
        8,
        &[Fault::Pause {
            target: target("leader of orders-0"),
            for_ms: 2_500,
        }],
    );
}

#[test]
fn brokers_restart_one_after_the_other() {
    passes(
        9,
        &[
            Fault::RollingRestart {
                down_ms: 3_000,
                gap_ms: 500,
            },
            Fault::LeadershipMove {
                partition: target("orders-0"),
            },
        ],
    );
}

#[test]
fn the_same_seed_gives_the_same_digest() {
    let faults = vec![
        Fault::Kill {
            target: target("leader of orders-0"),
            restart_ms: 1_500,
        },
        Fault::Partition {
            between: (target("controller leader"), target("rest")),
            heal_ms: 2_000,
        },
    ];
    for engine in ENGINES {
        let plan = plan(10, faults.clone());
        let (one, other) = (go(&plan, engine), go(&plan, engine));
        assert_eq!(one.marks, other.marks, "{}", engine.name());
        assert_eq!(one.digest, other.digest, "{}", engine.name());
    }
}

/// An application that panics when it is woken, inside of a simulated host.
struct Doomed;

impl App for Doomed {
    fn begin(&mut self, _now_us: u64, _topics: &BTreeMap<String, TopicFacts>) {}

    fn wake(&mut self, now_us: u64, _recorder: &mut Recorder, _calls: &mut VecDeque<Command>) {
        assert!(now_us < DOOM_US, "doomed at {now_us} us");
    }

    fn on_event(
        &mut self,
        _now_us: u64,
        _event: Event,
        _recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
    }

    fn next_wake_us(&self) -> Option<u64> {
        Some(DOOM_US)
    }

    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        false
    }

    fn waits_for(&self) -> String {
        String::new()
    }
}

const DOOM_US: u64 = 7_000;

fn doomed(seed: Seed) -> ShellConfig {
    let client = ClientConfig {
        bootstrap: Vec::new(),
        client_id: StrBytes::default(),
        kind: ClientKind::Admin(AdminConfig::default()),
        bug: None,
    };
    ShellConfig {
        identity: Identity {
            index: 0,
            name: "doomed".to_owned(),
            key: 1,
            node: None,
        },
        blueprint: Blueprint::Client(Box::new(client)),
        disk: Box::new(SimDisk::new(seed, 1, (1, 1))),
        app: Some(Box::new(Doomed)),
        seed,
        flush_us: (0, 0),
        wall_start_ms: 0,
        round_trip: false,
        pinned_timers: false,
    }
}

#[test]
fn a_panic_on_a_simulated_host_ends_the_run_with_its_text() {
    let plan = plan(11, Vec::new());
    let ended = std::panic::catch_unwind(|| {
        let mut engine = TurmoilEngine::new(&plan, Recorder::new(None, None));
        let process = engine.add(doomed(plan.seed), &[]);
        engine.start(process);
        engine.run_until(1_000_000);
    });
    let panic = ended.expect_err("the host panics");
    let text = panic.downcast_ref::<String>().expect("a formatted text");
    assert_eq!(text, "doomed at 7000 us");
}
