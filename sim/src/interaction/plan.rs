//! The plan that a script's declarations make.

use std::collections::BTreeSet;

use broker_model::bug::Bug;
use broker_model::timer::Timer;

use super::script::{Properties, ScriptError, Verb};
use crate::plan::{ClientPlan, NodePlan, Plan, RunPlan, Script, SendPlan, TopicPlan};
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
            for _ in 0..*count {
                let id = i32::try_from(plan.nodes.len()).expect("few nodes") + 1;
                // A no-op record every half second would drown the story.
                let quiet = ("metadata.max.idle.interval.ms".to_owned(), "0".to_owned());
                let config = [quiet].into_iter().chain(properties.clone());
                plan.nodes.push(NodePlan {
                    id,
                    config: config.collect(),
                    metadata_lag_max_ms: 0,
                });
            }
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

fn client(name: &str, properties: &Properties, script: Script) -> ClientPlan {
    ClientPlan {
        name: name.to_owned(),
        config: properties.clone(),
        script,
    }
}

fn lags(verb: &Verb) -> Option<&str> {
    match verb {
        Verb::Withhold(who, Timer::ApplyMetadata) => Some(who),
        _ => None,
    }
}
