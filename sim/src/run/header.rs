//! The history lines that say what a run is of.

use broker_model::types::{TopicIdPartition, Uuid};

use super::cast::has_role;
use crate::fault::Fault;
use crate::history::{Body, Cfg, Hdr, Nem, Part};
use crate::observe::Phase;
use crate::plan::{ClientPlan, NodePlan, Plan, Script, TopicPlan};
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

/// What the history says of a client: its properties, and what its application believes.
pub(super) fn told(client: &ClientPlan) -> Cfg {
    let mut cfg = client.config.clone();
    if let Script::Member(plan) = &client.script {
        for (name, value) in [
            ("app.delivery", plan.delivery.name()),
            ("app.effects", plan.effects.name()),
            ("app.sink", plan.sink.name()),
        ] {
            cfg.insert(name.to_owned(), value.to_owned());
        }
    }
    cfg
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
