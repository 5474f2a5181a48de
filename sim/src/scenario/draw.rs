//! Makes every choice of a scenario: [`Plan::draw`].
//!
//! Each part of a scenario draws from a stream of its own, keyed by what the part is called, so that
//! taking a part away changes no other draw.

use std::collections::BTreeMap;

use super::Scenario;
use super::file::{Admin, Config, Consumer, Fault, Node, Producer, Run};
use super::value::{Drawer, Micros};
use crate::fault::{self, Side};
use crate::plan::{
    AdminCall, AdminPlan, ClientPlan, CommitStyle, DeadLetterPlan, Delivery, Effects, FaultPlan,
    MemberPlan, NodePlan, Plan, Processing, RunPlan, Script, SendPlan, Sink, TopicPlan,
};
use crate::seed::{Purpose, Seed};

impl Plan {
    /// Makes every choice that the scenario leaves open.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: Seed) -> Plan {
        let draw = Draw { seed };
        let file = &scenario.file;
        let run = draw.run(&file.run);
        let topics: Vec<TopicPlan> = file.topics.iter().map(|topic| draw.topic(topic)).collect();
        let partitions = |name: &str| {
            let topic = topics.iter().find(|topic| topic.name == name);
            topic
                .expect("a scenario is checked when it is read")
                .partitions
        };
        let mut clients = Vec::new();
        for producer in &file.producers {
            draw.producers(producer, &run, partitions(&producer.topic), &mut clients);
        }
        for consumer in &file.consumers {
            match &consumer.topic {
                Some(topic) => draw.consumers(consumer, topic, &run, &mut clients),
                None => draw.members(consumer, &run, &mut clients),
            }
        }
        for admin in &file.admins {
            draw.admins(admin, &run, partitions(&admin.topic), &mut clients);
        }
        Plan {
            scenario: scenario.name.clone(),
            seed,
            bug: None,
            probes: file.probes.clone(),
            expect: file.expect.violates.clone(),
            nodes: draw.nodes(&file.nodes),
            clients,
            faults: draw.faults(&file.faults),
            topics,
            run,
        }
    }
}

struct Draw {
    seed: Seed,
}

impl Draw {
    /// The stream of a part: what it is called, and which of several.
    fn of(&self, part: &str, instance: u64) -> Drawer {
        let key = xxhash_rust::xxh3::xxh3_64(part.as_bytes());
        Drawer(self.seed.stream(Purpose::Plan, [key, instance, 0]))
    }

    fn config(&self, part: &str, instance: u64, config: &Config) -> BTreeMap<String, String> {
        let draw = |(name, setting): (&String, &super::value::Setting)| {
            let mut drawer = self.of(&format!("{part} {name}"), instance);
            (name.clone(), drawer.setting(setting))
        };
        config.0.iter().map(draw).collect()
    }

    fn run(&self, run: &Run) -> RunPlan {
        let drawer = |field| self.of(&format!("run {field}"), 0);
        RunPlan {
            duration_ms: drawer("duration").time(&run.duration).ms(),
            heal_ms: drawer("heal").time(&run.heal).ms(),
            latency_us: drawer("latency").window(&run.latency),
            flush_us: drawer("flush").window(&run.flush),
            writeback_ms: {
                let (low, high) = drawer("writeback").window(&run.writeback);
                (low / 1_000, high / 1_000)
            },
            tick_ms: drawer("tick").time(&run.tick).ms().max(1),
        }
    }

    fn nodes(&self, nodes: &[Node]) -> Vec<NodePlan> {
        let mut plans: Vec<NodePlan> = Vec::new();
        for (entry, node) in (0..).zip(nodes) {
            let mut config = self.config("node", entry, &node.config);
            let roles = "broker,controller".to_owned();
            config.entry("process.roles".to_owned()).or_insert(roles);
            for _ in 0..self.of("node count", entry).count(&node.count) {
                let id = 1 + i32::try_from(plans.len()).expect("few nodes");
                let lag = node.metadata_lag.as_ref().map_or(0, |lag| {
                    let mut drawer = self.of("metadata-lag", id.unsigned_abs().into());
                    match lag {
                        super::value::Open::Range(low, high) => drawer.skewed(low.ms(), high.ms()),
                        lag => drawer.time(lag).ms(),
                    }
                });
                plans.push(NodePlan {
                    id,
                    config: config.clone(),
                    metadata_lag_max_ms: lag,
                });
            }
        }
        plans
    }

    fn topic(&self, topic: &super::file::Topic) -> TopicPlan {
        let part = format!("topic {}", topic.name);
        let mut drawer = self.of(&part, 0);
        TopicPlan {
            name: topic.name.clone(),
            partitions: i32::try_from(drawer.count(&topic.partitions)).expect("few partitions"),
            replication_factor: i16::try_from(drawer.count(&topic.replication_factor))
                .expect("few replicas"),
            config: self.config(&part, 0, &topic.config),
        }
    }

    fn producers(
        &self,
        producer: &Producer,
        run: &RunPlan,
        partitions: i32,
        clients: &mut Vec<ClientPlan>,
    ) {
        let part = format!("producer {}", producer.name);
        for instance in 0..self.of(&part, 0).count(&producer.count) {
            let mut drawer = self.of(&format!("{part} sends"), instance);
            let sends = sends(&mut drawer, producer, run, partitions);
            clients.push(ClientPlan {
                name: format!("{}/{instance}", producer.name),
                config: self.config(&part, instance, &producer.config),
                script: Script::Produce {
                    topic: producer.topic.clone(),
                    sends,
                },
            });
        }
    }

    fn admins(&self, admin: &Admin, run: &RunPlan, partitions: i32, clients: &mut Vec<ClientPlan>) {
        let part = format!("admin {}", admin.name);
        for instance in 0..self.of(&part, 0).count(&admin.count) {
            let mut drawer = self.of(&format!("{part} calls"), instance);
            let name = format!("{}/{instance}", admin.name);
            clients.push(ClientPlan {
                config: self.config(&part, instance, &admin.config),
                script: Script::Administer {
                    group: name.clone(),
                    topic: admin.topic.clone(),
                    calls: admin_calls(&mut drawer, admin, run, partitions),
                },
                name,
            });
        }
    }

    fn consumers(
        &self,
        consumer: &Consumer,
        topic: &str,
        run: &RunPlan,
        clients: &mut Vec<ClientPlan>,
    ) {
        let part = format!("consumer {}", consumer.name);
        for instance in 0..self.of(&part, 0).count(&consumer.count) {
            let mut drawer = self.of(&format!("{part} rhythm"), instance);
            let from_ms = drawer.time(&consumer.from).ms();
            let poll_ms = drawer.time(&consumer.poll).ms();
            let pause_ms = drawer.time(&consumer.pause).ms();
            let rewinds = drawer.count(&consumer.rewinds);
            let mut rewinds_ms: Vec<u64> = (0..rewinds)
                .map(|_| drawer.between(0, run.duration_ms))
                .collect();
            rewinds_ms.sort_unstable();
            clients.push(ClientPlan {
                name: format!("{}/{instance}", consumer.name),
                config: self.config(&part, instance, &consumer.config),
                script: Script::Consume {
                    topic: topic.to_owned(),
                    from_ms,
                    poll_ms,
                    pause_ms,
                    rewinds_ms,
                },
            });
        }
    }

    /// Members of one entry run the same program: what they are configured to and how they commit is
    /// drawn once.
    fn members(&self, consumer: &Consumer, run: &RunPlan, clients: &mut Vec<ClientPlan>) {
        let part = format!("consumer {}", consumer.name);
        let mut program = self.of(&format!("{part} program"), 0);
        let commit = named(CommitStyle::named, &program.name(&consumer.commit));
        let processing = named(Processing::named, &program.name(&consumer.processing));
        let delivery = named(Delivery::named, &program.name(&consumer.delivery));
        let sink = named(Sink::named, &program.name(&consumer.sink));
        let effects = named(Effects::named, &program.name(&consumer.effects));
        let instances = consumer
            .instances
            .as_ref()
            .map(|count| program.count(count));
        let dead_letters = self.dead_letters(consumer, &part);
        let mut config = self.config(&part, 0, &consumer.config);
        let by_itself = (commit == CommitStyle::Auto).to_string();
        config.insert("enable.auto.commit".to_owned(), by_itself);
        for instance in 0..self.of(&part, 0).count(&consumer.count) {
            let mut drawer = self.of(&format!("{part} rhythm"), instance);
            let mut config = config.clone();
            if let Some(instances) = instances.filter(|&instances| instances > 0) {
                let id = format!("{}-{}", consumer.name, instance % instances);
                config.insert("group.instance.id".to_owned(), id);
            }
            let moments = |drawer: &mut Drawer, count| {
                let drawn = (0..count).map(|_| drawer.between(0, run.duration_ms));
                let mut moments: Vec<u64> = drawn.collect();
                moments.sort_unstable();
                moments
            };
            let from_ms = drawer.time(&consumer.from).ms();
            let poll_ms = drawer.time(&consumer.poll).ms();
            let pause_ms = drawer.time(&consumer.pause).ms();
            let commit_every = drawer.count(&consumer.commit_every).max(1);
            let process_us = drawer.time(&consumer.process).0;
            let lasting = |drawer: &mut Drawer, count, time: &super::value::Time| {
                let moments = moments(drawer, count);
                let lasting = moments.into_iter();
                lasting.map(|at| (at, drawer.time(time).ms())).collect()
            };
            let stalls = drawer.count(&consumer.stalls);
            let stalls_ms = lasting(&mut drawer, stalls, &consumer.stall);
            let pauses = drawer.count(&consumer.pauses);
            let pauses_ms = lasting(&mut drawer, pauses, &PAUSES);
            let looks = drawer.count(&consumer.looks);
            let looks_ms = moments(&mut drawer, looks);
            let wakes = drawer.count(&consumer.wakes);
            let wakes_ms = moments(&mut drawer, wakes);
            clients.push(ClientPlan {
                name: format!("{}/{instance}", consumer.name),
                config,
                script: Script::Member(MemberPlan {
                    topics: consumer.subscribe.clone(),
                    pattern: consumer.pattern.clone(),
                    from_ms,
                    poll_ms,
                    pause_ms,
                    commit,
                    commit_every,
                    process_us,
                    processing,
                    delivery,
                    sink,
                    effects,
                    stalls_ms,
                    pauses_ms,
                    looks_ms,
                    wakes_ms,
                    dead_letters: dead_letters.clone(),
                }),
            });
        }
    }

    fn dead_letters(&self, consumer: &Consumer, part: &str) -> Option<DeadLetterPlan> {
        let letters = consumer.dead_letters.as_ref()?;
        let mut poison = self.of(&format!("{part} poison"), 0);
        Some(DeadLetterPlan {
            topic: letters.topic.clone(),
            poison: poison.count(&letters.poison),
            awaited: letters.awaited,
            config: self.config(&format!("{part} dead-letters"), 0, &letters.config),
        })
    }

    fn faults(&self, faults: &[Fault]) -> Vec<FaultPlan> {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let mut plans = Vec::new();
        for fault in faults {
            let nth = seen.entry(fault.kind()).or_default();
            let part = format!("fault {} {nth}", fault.kind());
            let family = u32::try_from(fault.kind_index()).expect("few kinds") * 10_000;
            let first = family + *nth * 100;
            *nth += 1;
            let (times, at) = fault.schedule();
            let times = self.of(&part, 0).count(times);
            for instance in 0..times {
                let mut drawer = self.of(&part, 1 + instance);
                let at_ms = drawer.time(at).ms();
                plans.push(FaultPlan {
                    id: first + u32::try_from(instance).expect("below a hundred"),
                    at_ms,
                    fault: drawn(&mut drawer, fault),
                });
            }
        }
        plans.sort_by_key(|plan| (plan.at_ms, plan.id));
        without_held_cuts(plans)
    }
}

fn admin_calls(
    drawer: &mut Drawer,
    admin: &Admin,
    run: &RunPlan,
    partitions: i32,
) -> Vec<AdminPlan> {
    let last = u64::from((partitions - 1).unsigned_abs());
    let mut calls = Vec::new();
    let mut at_us = drawer.time(&admin.every).0;
    while at_us < run.duration_ms * 1_000 {
        calls.push(AdminPlan {
            at_ms: at_us / 1_000,
            what: *drawer.pick(ADMIN_CALLS),
            partition: i32::try_from(drawer.between(0, last)).expect("few partitions"),
        });
        at_us += drawer.time(&admin.every).0.max(1);
    }
    calls
}

/// As often as they are here.
const ADMIN_CALLS: &[AdminCall] = &[
    AdminCall::AlterOffsets,
    AdminCall::AlterOffsets,
    AdminCall::AlterOffsets,
    AdminCall::AlterOffsets,
    AdminCall::ListOffsets,
    AdminCall::ListOffsets,
    AdminCall::ListOffsets,
    AdminCall::DeleteOffsets,
    AdminCall::DeleteGroup,
    AdminCall::DescribeGroup,
];

fn sends(
    drawer: &mut Drawer,
    producer: &Producer,
    run: &RunPlan,
    partitions: i32,
) -> Vec<SendPlan> {
    let choice = drawer.name(&producer.partition_by);
    let burst = drawer.count(&producer.burst).max(1);
    let records = drawer.count(&producer.rate) * run.duration_ms / 1_000;
    let last_us = (run.duration_ms * 1_000).saturating_sub(1);
    let mut moments: Vec<u64> = (0..records.div_ceil(burst))
        .map(|_| drawer.between(0, last_us))
        .collect();
    moments.sort_unstable();
    let last = u64::from((partitions - 1).unsigned_abs());
    let record = |at_us: u64| {
        let style = match choice.as_str() {
            "mixed" => *drawer.pick(&["explicit", "keyed", "partitioner"]),
            "explicit" => "explicit",
            "keyed" => "keyed",
            _ => "partitioner",
        };
        let partition = i32::try_from(drawer.between(0, last)).expect("few partitions");
        let key = drawer.between(0, KEYS - 1);
        let bytes = drawer.count(&producer.value_bytes);
        SendPlan {
            at_us,
            partition: (style == "explicit").then_some(partition),
            key: (style == "keyed").then_some(key),
            bytes: u32::try_from(bytes).expect("a value's length is checked"),
        }
    };
    moments
        .iter()
        .flat_map(|&at_us| (0..burst).map(move |_| at_us))
        .map(record)
        .collect()
}

/// What a checked scenario spells.
fn named<T>(named: impl Fn(&str) -> Option<T>, text: &str) -> T {
    named(text).expect("a scenario is checked when it is read")
}

/// How long a member pauses a partition.
const PAUSES: super::value::Time = super::value::Time::Range(Micros(100_000), Micros(5_000_000));

/// Distinct keys of a topic.
const KEYS: u64 = 16;

fn drawn(drawer: &mut Drawer, fault: &Fault) -> fault::Fault {
    match fault {
        Fault::Kill(stop) => fault::Fault::Kill {
            target: drawer.name(&stop.target),
            restart_ms: drawer.time(&stop.restart).ms(),
        },
        Fault::PowerLoss(stop) => fault::Fault::PowerLoss {
            target: drawer.name(&stop.target),
            restart_ms: drawer.time(&stop.restart).ms(),
        },
        Fault::Pause(pause) => fault::Fault::Pause {
            target: drawer.name(&pause.target),
            for_ms: drawer.time(&pause.lasts).ms(),
        },
        Fault::Partition(partition) => fault::Fault::Partition {
            between: pair(&partition.between),
            heal_ms: drawer.time(&partition.heal).ms(),
        },
        Fault::OneWay(one_way) => fault::Fault::OneWay {
            from: drawer.name(&one_way.from),
            to: drawer.name(&one_way.to),
            heal_ms: drawer.time(&one_way.heal).ms(),
        },
        Fault::Hold(hold) => fault::Fault::Hold {
            between: pair(&hold.between),
            for_ms: drawer.time(&hold.lasts).ms(),
        },
        Fault::HoldRpc(rpc) => fault::Fault::HoldRpc {
            target: drawer.name(&rpc.target),
            api: drawer.name(&rpc.api),
            side: side(&drawer.name(&rpc.side)),
            count: u32::try_from(drawer.count(&rpc.count)).unwrap_or(u32::MAX),
            for_ms: drawer.time(&rpc.lasts).ms(),
        },
        Fault::DropRpc(rpc) => fault::Fault::DropRpc {
            target: drawer.name(&rpc.target),
            api: drawer.name(&rpc.api),
            side: side(&drawer.name(&rpc.side)),
            count: u32::try_from(drawer.count(&rpc.count)).unwrap_or(u32::MAX),
            for_ms: drawer.time(&rpc.lasts).ms(),
        },
        Fault::SlowLink(slow) => fault::Fault::SlowLink {
            between: pair(&slow.between),
            extra_ms: drawer.time(&slow.extra).ms(),
            for_ms: drawer.time(&slow.lasts).ms(),
        },
        Fault::LeadershipMove(moves) => fault::Fault::LeadershipMove {
            partition: drawer.name(&moves.partition),
        },
        Fault::RollingRestart(roll) => fault::Fault::RollingRestart {
            down_ms: drawer.time(&roll.down).ms(),
            gap_ms: drawer.time(&roll.gap).ms(),
        },
        Fault::Leave(leave) => fault::Fault::Leave {
            target: drawer.name(&leave.target),
            back_ms: drawer.time(&leave.back).ms(),
        },
    }
}

fn pair(between: &[String; 2]) -> (String, String) {
    (between[0].clone(), between[1].clone())
}

fn side(text: &str) -> Side {
    if text == "request" {
        Side::Request
    } else {
        Side::Response
    }
}

/// Turmoil cannot hold a link of which one way is cut: a hold that would overlap is left out.
fn without_held_cuts(mut plans: Vec<FaultPlan>) -> Vec<FaultPlan> {
    let cuts: Vec<(u64, u64)> = plans
        .iter()
        .filter_map(|plan| match plan.fault {
            fault::Fault::OneWay { heal_ms, .. } => Some((plan.at_ms, plan.at_ms + heal_ms)),
            _ => None,
        })
        .collect();
    plans.retain(|plan| match plan.fault {
        fault::Fault::Hold { for_ms, .. } => {
            let (from, to) = (plan.at_ms, plan.at_ms + for_ms);
            cuts.iter().all(|&(cut, healed)| to < cut || healed < from)
        }
        _ => true,
    });
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
title = "t"
why = ["w"]
[[node]]
count = 3
metadata-lag = "0..800ms"
[node.config]
replica.lag.time.max.ms = "1s..3s"
[[topic]]
name = "orders"
partitions = "1..3"
replication-factor = 3
[[producer]]
name = "p"
count = 2
topic = "orders"
rate = "10..20"
[[fault]]
kind = "kill"
times = 2
at = "2s..10s"
target = "leader of orders-*"
restart = "500ms..4s"
[[fault]]
kind = "leadership-move"
times = "3..5"
at = "2s..10s"
partition = "orders-*"
"#;

    fn plan(text: &str, seed: u64) -> Plan {
        let scenario = Scenario::parse("t", "t.toml", text).expect("it is fine");
        Plan::draw(&scenario, Seed(seed))
    }

    #[test]
    fn a_plan_is_a_function_of_scenario_and_seed() {
        assert_eq!(plan(TEXT, 3), plan(TEXT, 3));
        assert_ne!(plan(TEXT, 3), plan(TEXT, 4));
    }

    #[test]
    fn taking_a_part_away_changes_no_other_draw() {
        let whole = plan(TEXT, 5);
        let kill = TEXT.find("[[fault]]\nkind = \"kill\"").expect("a kill");
        let moves = TEXT.find("[[fault]]\nkind = \"leadership").expect("a move");
        let without_kills = plan(&format!("{}{}", &TEXT[..kill], &TEXT[moves..]), 5);
        let kept: Vec<_> = whole
            .faults
            .iter()
            .filter(|fault| fault.fault.kind() != "kill")
            .cloned()
            .collect();
        assert_eq!(without_kills.faults, kept);
        assert_eq!(without_kills.clients, whole.clients);
    }

    #[test]
    fn a_plan_survives_its_file() {
        let plan = plan(TEXT, 7);
        let text = toml::to_string(&plan).expect("a plan is plain data");
        assert_eq!(toml::from_str(&text), Ok(plan));
    }

    #[test]
    fn records_are_spread_over_the_run() {
        let plan = plan(TEXT, 9);
        let Script::Produce { sends, .. } = &plan.clients[0].script else {
            panic!("p/0 produces");
        };
        assert!((200..=400).contains(&sends.len()), "{}", sends.len());
        assert!(sends.is_sorted_by_key(|send| send.at_us));
        assert!(sends.last().is_some_and(|send| send.at_us > 18_000_000));
    }
}
