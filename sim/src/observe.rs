//! What the judge sees of a run: facts in one total order, and what was promised.

use std::collections::BTreeMap;

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, NodeId, Offset, TopicIdPartition};

use crate::history::Line;
use crate::plan::Plan;

/// One fact, with its place in the total order of the run.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The recorder's number: the order of observation.
    pub n: u64,
    /// Simulated microseconds since the start of the run.
    pub t_us: u64,
    /// What was observed.
    pub fact: Fact<'a>,
}

/// What was observed.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A node's transition.
    Note {
        /// The node.
        node: NodeId,
        /// Counts its starts, from 0.
        incarnation: u32,
        /// What happened.
        note: &'a Note,
    },
    /// A line of the client history (invariants.md §4): invocations, completions, client events.
    History(&'a Line),
    /// Something that was done to the cluster.
    World(&'a WorldEvent),
}

/// What the harness did, or saw happen to a process.
#[derive(Clone, PartialEq, Debug)]
pub enum WorldEvent {
    /// A process started; `incarnation` counts from 0.
    Started {
        /// The node.
        node: NodeId,
        /// Which start.
        incarnation: u32,
    },
    /// A process ended: killed, lost power, or halted by itself.
    Stopped {
        /// The node.
        node: NodeId,
        /// Which start.
        incarnation: u32,
        /// How.
        how: Stop,
    },
    /// A disk after a power loss, a file each, in bytes from the file's start. For logs,
    /// promised <= flushed <= kept <= written. What was written and promised is the process's account of
    /// it, the rest the disk's.
    DiskAfterPowerLoss {
        /// The node.
        node: NodeId,
        /// The file.
        file: broker_model::effect::File,
        /// Its length in the page cache when the power went.
        written: u64,
        /// How much of it the process had been told is durable.
        promised: u64,
        /// What had been made durable of it: also by the operating system, of itself.
        flushed: u64,
        /// Its length now.
        kept: u64,
    },
    /// A fault began.
    FaultBegan {
        /// The index of the fault in the plan.
        id: u32,
        /// Its kind (`kill`, `partition` …).
        kind: &'static str,
        /// Whom it hit, for people.
        target: String,
    },
    /// A fault ended (healed, restarted, resumed).
    FaultEnded {
        /// The index of the fault in the plan.
        id: u32,
        /// Its kind.
        kind: &'static str,
    },
    /// A run's phase began.
    Phase(Phase),
    /// A fault was effective, as design.md 2.17 defines it. At most once a fault.
    FaultEffective {
        /// The index of the fault in the plan.
        id: u32,
        /// Its kind.
        kind: &'static str,
    },
    /// A harness self-check failed (a message delivered twice, time gone back …).
    HarnessBroken {
        /// What happened.
        detail: String,
    },
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stop {
    /// `kill -9`: the page cache survives.
    Killed,
    /// Power loss: what was not flushed may be gone.
    PowerLoss,
    /// By itself, after a controlled shutdown or a fatal error of its disk.
    Halted,
}

/// A run's phases (invariants.md §0.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// The cluster forms and topics are created; no faults.
    Setup,
    /// The workload runs, faults happen.
    Chaos,
    /// All faults are reverted, all nodes run, clients start nothing new.
    Heal,
    /// Fresh consumers read everything to the end.
    Final,
    /// Nothing more happens.
    Done,
}

/// A node as it is at the end of a run, for whole-state checks.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeEnd {
    /// The last metadata offset that the broker applied.
    pub metadata_applied: Option<Offset>,
    /// The raft high watermark it knows.
    pub raft_high_watermark: Offset,
    /// Its raft log end.
    pub raft_log_end: Offset,
    /// Its raft epoch.
    pub raft_epoch: LeaderEpoch,
    /// Whether the node leads the metadata quorum.
    pub raft_leader: bool,
    /// Whether it is an active controller.
    pub active_controller: bool,
    /// Whether its broker is unfenced, as it knows.
    pub unfenced: bool,
    /// Its replicas.
    pub replicas: BTreeMap<TopicIdPartition, ReplicaEnd>,
}

/// A replica as it is at the end of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaEnd {
    /// Whether this broker leads the partition.
    pub leader: bool,
    /// In which epoch it leads or follows.
    pub leader_epoch: LeaderEpoch,
    /// As leader: the ISR.
    pub isr: Vec<NodeId>,
    /// Its first offset.
    pub log_start: Offset,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Its log end.
    pub log_end: Offset,
}

/// What a judge starts from.
pub struct Setup<'a> {
    /// Every choice that was made: nodes, topics, clients with their configurations.
    pub plan: &'a Plan,
}
