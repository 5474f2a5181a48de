//! The history lines that say what a run is of.

use std::collections::BTreeMap;

use broker_model::types::{TopicIdPartition, Uuid};

use super::cast::has_role;
use crate::fault::Fault;
use crate::history::{Actor, Body, Hdr, Nem, Part, Role};
use crate::observe::Phase;
use crate::plan::{NodePlan, Plan, TopicPlan};
use crate::recorder::Recorder;

/// The first line.
pub(super) fn of_run(plan: &Plan) -> Body {
    // A broker's, where there is one: topics and producers are judged by what brokers are told.
    let is_broker = |node: &&NodePlan| has_role(node, "broker");
    let node = plan.nodes.iter().find(is_broker).or(plan.nodes.first());
    let mut cfg = node.map(|node| node.config.clone()).unwrap_or_default();
    if !plan.expect.is_empty() {
        cfg.insert("expect".to_owned(), plan.expect.join(","));
    }
    let paused_ms: u64 = plan.faults.iter().map(|plan| pause_ms(&plan.fault)).sum();
    if paused_ms > 0 {
        cfg.insert("pause.ms".to_owned(), paused_ms.to_string());
    }
    Body::Hdr(Hdr {
        ver: 1,
        mode: "sim".to_owned(),
        seed: Some(plan.seed.0),
        eps: 0,
        cfg,
    })
}

/// How long a fault may keep a client from acting.
fn pause_ms(fault: &Fault) -> u64 {
    match fault {
        Fault::Pause { for_ms, .. } => *for_ms,
        _ => 0,
    }
}

/// Declares a client.
pub(super) fn of_actor(
    a: u32,
    role: Role,
    name: &str,
    properties: &BTreeMap<String, String>,
) -> Body {
    let mut cfg = properties.clone();
    cfg.insert("name".to_owned(), name.to_owned());
    Body::Actor(Actor { a, role, cfg })
}

/// Declares a partition, and gives it its number.
pub(super) fn of_partition(
    recorder: &mut Recorder,
    topic: &TopicPlan,
    id: Uuid,
    index: i32,
) -> Body {
    let partition = TopicIdPartition {
        topic: id,
        partition: index,
    };
    let p = recorder.declare_partition(partition);
    let mut cfg = topic.config.clone();
    cfg.insert(
        "replication.factor".to_owned(),
        topic.replication_factor.to_string(),
    );
    Body::Part(Part::new(p, &topic.name, partition, cfg))
}

/// A phase began.
pub(super) fn of_phase(phase: Phase) -> Body {
    let name = match phase {
        Phase::Setup => "setup",
        Phase::Chaos => "chaos",
        Phase::Heal => "heal",
        Phase::Final => "final",
        Phase::Done => "done",
    };
    Body::Nem(Nem::Phase {
        name: name.to_owned(),
    })
}
