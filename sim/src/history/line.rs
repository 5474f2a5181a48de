//! The lines of a history, field by field as invariants.md §4 names them.

use std::collections::BTreeMap;

use broker_model::types::{TopicIdPartition, Uuid};
use serde::{Deserialize, Serialize};

use super::{Er, Ev, LogEnt, Nem, Op, Res, Wb};

/// A partition instance, as a small number that a `Part` line declares.
pub type P = u32;
/// An actor, as a small number that an `Actor` line declares.
pub type A = u32;
/// A value id; 0 is no value.
pub type V = u64;
/// A configuration: Kafka's property names and their values as text.
pub type Cfg = BTreeMap<String, String>;

/// One event of a history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The recorder's number: the order of observation.
    pub n: u64,
    /// Microseconds since the start.
    pub t: u64,
    /// What happened.
    pub b: Body,
}

/// What a line says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// The first line.
    Hdr(Hdr),
    /// Declares an actor.
    Actor(Actor),
    /// Declares a partition.
    Part(Part),
    /// An operation was invoked.
    I {
        /// By whom.
        a: A,
        /// The operation, unique for the actor.
        o: u64,
        /// What was invoked.
        op: Op,
    },
    /// An operation took effect.
    Ok {
        /// Whose.
        a: A,
        /// The operation.
        o: u64,
        /// Its result.
        #[serde(default, skip_serializing_if = "Res::is_unit")]
        r: Res,
    },
    /// An operation never took effect and never will.
    Fail {
        /// Whose.
        a: A,
        /// The operation.
        o: u64,
        /// Why.
        e: Er,
    },
    /// It is unknown whether an operation took effect, or ever will.
    Info {
        /// Whose.
        a: A,
        /// The operation.
        o: u64,
        /// Why.
        e: Er,
        /// The part of the result that is known.
        #[serde(default, skip_serializing_if = "Res::is_unit")]
        r: Res,
    },
    /// Something happened to a client by itself.
    Ev {
        /// To whom.
        a: A,
        /// What.
        ev: Ev,
    },
    /// Something was done to the cluster.
    Nem(Nem),
    /// A dump of a partition's log.
    Log {
        /// Which partition.
        p: P,
        /// Where the dump comes from.
        src: String,
        /// Its entries.
        es: Vec<LogEnt>,
    },
    /// A white-box transition of a node.
    Wb {
        /// The node.
        node: u32,
        /// The transition.
        wb: Wb,
    },
}

impl Body {
    /// The actor that it is about.
    #[must_use]
    pub fn actor(&self) -> Option<A> {
        match self {
            Body::I { a, .. }
            | Body::Ok { a, .. }
            | Body::Fail { a, .. }
            | Body::Info { a, .. }
            | Body::Ev { a, .. } => Some(*a),
            Body::Hdr(_)
            | Body::Actor(_)
            | Body::Part(_)
            | Body::Nem(_)
            | Body::Log { .. }
            | Body::Wb { .. } => None,
        }
    }
}

/// What a history is of.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Hdr {
    /// The version of this format: 1.
    pub ver: u32,
    /// `event` or `turmoil` for a simulation, `real` for a recording of a real cluster.
    pub mode: String,
    /// The seed of a simulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How far two clocks of the recorder may disagree, in microseconds; 0 in simulation.
    #[serde(default)]
    pub eps: u64,
    /// The brokers' properties, and `expect`: checks whose gates are lifted, separated by commas.
    #[serde(default)]
    pub cfg: Cfg,
}

/// One incarnation of a client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Actor {
    /// Its number.
    pub a: A,
    /// What it does.
    pub role: Role,
    /// Its properties, as its `.properties` file would say them, and `name`: the client's name.
    #[serde(default)]
    pub cfg: Cfg,
}

/// What an actor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends.
    Producer,
    /// Polls.
    Consumer,
    /// Polls in a share group.
    Share,
    /// Creates topics and the like.
    Admin,
    /// Polls and sends.
    App,
    /// Reads everything at the end of a run.
    Final,
}

/// A partition instance: a topic that is deleted and created again has new ones.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its number.
    pub p: P,
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub uid: String,
    /// The partition's index.
    pub idx: u32,
    /// The topic's properties.
    #[serde(default)]
    pub cfg: Cfg,
}

impl Part {
    /// The line that declares a partition.
    #[must_use]
    pub fn new(p: P, topic: &str, partition: TopicIdPartition, cfg: Cfg) -> Self {
        Self {
            p,
            topic: topic.to_owned(),
            uid: partition.topic.to_string(),
            idx: u32::try_from(partition.partition).expect("partition indexes start at 0"),
            cfg,
        }
    }

    /// The partition as nodes name it, if `uid` is a Kafka topic id.
    #[must_use]
    pub fn partition(&self) -> Option<TopicIdPartition> {
        Some(TopicIdPartition {
            topic: Uuid::parse_str(&self.uid).ok()?,
            partition: i32::try_from(self.idx).ok()?,
        })
    }
}
