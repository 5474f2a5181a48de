//! The plan that a script's declarations make.

use std::collections::BTreeSet;

use broker_model::bug::Bug;
use broker_model::timer::Timer;

use super::script::{Properties, ScriptError, Verb, millis, number};
use crate::plan::{
    ClientPlan, CommitStyle, Delivery, Effects, MemberPlan, NodePlan, Plan, Processing, RunPlan,
    Script, SendPlan, Sink, TopicPlan,
};
use crate::seed::Seed;

/// A send that waits for its verb.
const NEVER_US: u64 = u64::MAX / 4;

/// Everything that the script declares or will send.
pub(super) fn plan(verbs: &[(usize, Verb)]) -> Result<Plan, ScriptError> {
    let mut plan = empty();
    for (line, verb) in verbs {
        declare(&mut plan, verb).map_err(|what| ScriptError { line: *line, what })?;
    }
    let lagging: BTreeSet<&str> = verbs.iter().filter_map(|(_, verb)| lags(verb)).collect();
    for node in &mut plan.nodes {
        // Only a broker that may lag has the timer that a script can withhold.
        node.metadata_lag_max_ms = u64::from(lagging.contains(&*format!("n{}", node.id)));
    }
    Ok(plan)
}

fn empty() -> Plan {
    Plan {
        scenario: "transcript".to_owned(),
        seed: Seed(0),
        bug: None,
        probes: Vec::new(),
        expect: Vec::new(),
        nodes: Vec::new(),
        topics: Vec::new(),
        clients: Vec::new(),
        faults: Vec::new(),
        run: RunPlan {
            duration_ms: u64::MAX / 4_000_000,
            heal_ms: 0,
            latency_us: (1_000, 1_000),
            flush_us: (100, 100),
            writeback_ms: (30_000, 30_000),
            tick_ms: 1,
        },
    }
}

fn declare(plan: &mut Plan, verb: &Verb) -> Result<(), String> {
    match verb {
        Verb::Bug(id) => {
            Bug::from_id(id).ok_or_else(|| format!("unknown bug {id:?}"))?;
            plan.bug = Some(id.clone());
        }
        Verb::Expect(check) => plan.expect.push(check.clone()),
        Verb::Nodes(count, properties) => {
            let first = i32::try_from(plan.nodes.len()).expect("few nodes") + 1;
            let nodes = (first..first + count).map(|id| node(id, properties));
            plan.nodes.extend(nodes);
        }
        Verb::Topic {
            name,
            partitions,
            replication_factor,
            properties,
        } => plan.topics.push(TopicPlan {
            name: name.clone(),
            partitions: *partitions,
            replication_factor: *replication_factor,
            config: properties.clone(),
        }),
        Verb::Producer(name, properties) => {
            let script = Script::Produce {
                topic: String::new(),
                sends: Vec::new(),
            };
            plan.clients.push(client(name, properties, script));
        }
        Verb::Consumer(name, topic, properties) => {
            let script = Script::Consume {
                topic: topic.clone(),
                from_ms: NEVER_US / 1_000,
                poll_ms: 200,
                pause_ms: NEVER_US / 1_000,
                rewinds_ms: Vec::new(),
            };
            plan.clients.push(client(name, properties, script));
        }
        Verb::Member {
            name,
            group,
            reads,
            properties,
        } => plan.clients.push(member(name, group, reads, properties)?),
        Verb::Send {
            client,
            to,
            count,
            bytes,
        } => {
            let found = plan.clients.iter_mut().find(|known| known.name == *client);
            let Some(Script::Produce { topic, sends }) = found.map(|known| &mut known.script)
            else {
                return Err(format!("there is no producer {client:?}"));
            };
            topic.clone_from(&to.topic);
            let send = SendPlan {
                at_us: NEVER_US,
                partition: to.partition,
                key: None,
                bytes: *bytes,
            };
            sends.extend((0..*count).map(|_| send));
        }
        _ => {}
    }
    Ok(())
}

fn node(id: i32, properties: &Properties) -> NodePlan {
    // A no-op record every half second would drown the story.
    let quiet = ("metadata.max.idle.interval.ms".to_owned(), "0".to_owned());
    let config = [quiet].into_iter().chain(properties.clone());
    NodePlan {
        id,
        config: config.collect(),
        metadata_lag_max_ms: 0,
    }
}

fn client(name: &str, properties: &Properties, script: Script) -> ClientPlan {
    ClientPlan {
        name: name.to_owned(),
        config: properties.clone(),
        script,
    }
}

/// A member waits until it is started. What its application does is said by properties without a dot,
/// called as in scenario files.
fn member(
    name: &str,
    group: &str,
    reads: &str,
    properties: &Properties,
) -> Result<ClientPlan, String> {
    let pattern = reads
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    let topics = match pattern {
        Some(_) => Vec::new(),
        None => reads.split(',').map(str::to_owned).collect(),
    };
    let mut plan = MemberPlan {
        topics,
        pattern: pattern.map(str::to_owned),
        from_ms: NEVER_US / 1_000,
        poll_ms: 200,
        pause_ms: 0,
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
        dead_letters: None,
    };
    let mut config = Properties::new();
    for (key, value) in properties {
        let unknown = || format!("{key} cannot be {value:?}");
        match key.as_str() {
            "commit" => plan.commit = CommitStyle::named(value).ok_or_else(unknown)?,
            "commit-every" => plan.commit_every = number(value)?,
            "process" => plan.process_us = millis(value)? * 1_000,
            "processing" => plan.processing = Processing::named(value).ok_or_else(unknown)?,
            "delivery" => plan.delivery = Delivery::named(value).ok_or_else(unknown)?,
            "sink" => plan.sink = Sink::named(value).ok_or_else(unknown)?,
            "effects" => plan.effects = Effects::named(value).ok_or_else(unknown)?,
            _ => {
                config.insert(key.clone(), value.clone());
            }
        }
    }
    let by_itself = (plan.commit == CommitStyle::Auto).to_string();
    config.insert("enable.auto.commit".to_owned(), by_itself);
    config.insert("group.id".to_owned(), group.to_owned());
    Ok(client(name, &config, Script::Member(plan)))
}

fn lags(verb: &Verb) -> Option<&str> {
    match verb {
        Verb::Withhold(who, Timer::ApplyMetadata) => Some(who),
        _ => None,
    }
}
