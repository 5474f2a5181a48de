//! A scenario with every choice made: what a run is a function of.
//!
//! Plans are data. They are drawn once from (scenario, seed), printed, shrunk, stored and
//! replayed. Targets stay symbolic ("leader of orders-0") until the moment of injection.

use std::collections::BTreeMap;

use broker_model::bug::Bug;
use serde::{Deserialize, Serialize};

use crate::seed::Seed;

/// Everything that was decided before a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// Keys every draw that is not in the plan: timers, latencies, disks, ids.
    pub seed: Seed,
    /// The historic bug that is switched on, by id.
    #[serde(default)]
    pub bug: Option<String>,
    /// Probes that the scenario exists for, by id.
    #[serde(default)]
    pub probes: Vec<String>,
    /// Checks (by name, without id) whose violation the scenario expects.
    #[serde(default)]
    pub expect: Vec<String>,
    /// The processes.
    pub nodes: Vec<NodePlan>,
    /// The topics, created in the set-up phase.
    pub topics: Vec<TopicPlan>,
    /// Producers and consumers, one entry each.
    pub clients: Vec<ClientPlan>,
    /// What goes wrong.
    pub faults: Vec<FaultPlan>,
    /// How long, and over what network and disks.
    pub run: RunPlan,
}

impl Plan {
    /// The bug that is switched on.
    #[must_use]
    pub fn bug(&self) -> Option<Bug> {
        self.bug.as_deref().and_then(Bug::from_id)
    }
}

/// One process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// `node.id`.
    pub id: i32,
    /// server.properties, `process.roles` included.
    pub config: BTreeMap<String, String>,
    /// The longest lag of the broker's metadata, in milliseconds.
    pub metadata_lag_max_ms: u64,
}

/// One topic.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each.
    pub replication_factor: i16,
    /// Topic-level properties.
    pub config: BTreeMap<String, String>,
}

/// One producer or consumer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// `p/0`, `c/1`: the scenario's name and a counter.
    pub name: String,
    /// producer.properties or consumer.properties.
    pub config: BTreeMap<String, String>,
    /// What it does.
    pub script: Script,
}

/// What a client does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Script {
    /// Sends records to a topic.
    Produce {
        /// The topic.
        topic: String,
        /// In order of time.
        sends: Vec<SendPlan>,
    },
    /// Assigns itself every partition of a topic and follows to the end.
    Consume {
        /// The topic.
        topic: String,
        /// Milliseconds from the run's start.
        from_ms: u64,
        /// How long one poll waits, in milliseconds.
        poll_ms: u64,
        /// Pause between polls, in milliseconds.
        pause_ms: u64,
        /// Moments, in milliseconds from the start, at which it seeks to the beginning.
        #[serde(default)]
        rewinds_ms: Vec<u64>,
    },
    /// Is a member of a group and consumes what that gives it.
    Member(MemberPlan),
    /// Deals with the committed offsets of a group of its own, which has no members.
    Administer {
        /// The group.
        group: String,
        /// The topic that the offsets are of.
        topic: String,
        /// In order of time.
        calls: Vec<AdminPlan>,
    },
}

/// One call of an admin client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminPlan {
    /// Milliseconds from the run's start.
    pub at_ms: u64,
    /// What it asks for.
    pub what: AdminCall,
    /// A partition, where the call is about one.
    pub partition: i32,
}

/// What an admin client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminCall {
    /// `alterConsumerGroupOffsets`
    AlterOffsets,
    /// `listConsumerGroupOffsets`, of all partitions
    ListOffsets,
    /// `deleteConsumerGroupOffsets`
    DeleteOffsets,
    /// `deleteConsumerGroups`
    DeleteGroup,
    /// `describeClassicGroups`
    DescribeGroup,
}

/// What a member of a consumer group does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberPlan {
    /// The topics that it names.
    #[serde(default)]
    pub topics: Vec<String>,
    /// The RE2 expression that it gives instead.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Milliseconds from the run's start.
    pub from_ms: u64,
    /// How long one poll waits, in milliseconds.
    pub poll_ms: u64,
    /// Pause between polls, in milliseconds.
    pub pause_ms: u64,
    /// How it commits.
    pub commit: CommitStyle,
    /// After how many records it commits.
    pub commit_every: u64,
    /// How long it works at one record, in microseconds.
    pub process_us: u64,
    /// Where it works.
    pub processing: Processing,
    /// What it believes of deliveries.
    pub delivery: Delivery,
    /// Where its effects go.
    pub sink: Sink,
    /// Whether it believes that each record has its effect once.
    pub effects: Effects,
    /// (moment, length): the work at the first record after the moment takes that much longer; in
    /// milliseconds from the start.
    #[serde(default)]
    pub stalls_ms: Vec<(u64, u64)>,
    /// (moment, length): it pauses one of its partitions for so long; in milliseconds.
    #[serde(default)]
    pub pauses_ms: Vec<(u64, u64)>,
    /// Moments, in milliseconds from the start, at which it asks what is committed.
    #[serde(default)]
    pub looks_ms: Vec<u64>,
    /// Moments, in milliseconds from the start, at which another thread wakes its consumer up.
    #[serde(default)]
    pub wakes_ms: Vec<u64>,
    /// What it does with records that it cannot process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetterPlan>,
}

/// Where the records go that a member cannot process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterPlan {
    /// The topic.
    pub topic: String,
    /// How many records of a hundred cannot be processed. Which ones hangs on what is in them.
    pub poison: u64,
    /// Whether it goes on only when they are acknowledged.
    pub awaited: bool,
    /// producer.properties
    pub config: BTreeMap<String, String>,
}

/// How a member commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitStyle {
    /// The consumer does by itself (`enable.auto.commit`).
    Auto,
    /// `commitSync` of what was processed, also before partitions are given up.
    Sync,
    /// `commitAsync`, and `commitSync` before partitions are given up.
    Async,
    /// Never.
    None,
}

/// Where a member works at its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processing {
    /// Between two polls.
    InPoll,
    /// Behind them: polls go on while a worker is busy.
    Behind,
}

/// What a member believes of deliveries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// It commits what was processed: no record is missed.
    AtLeastOnce,
    /// It commits before it processes: no record is processed twice.
    AtMostOnce,
    /// Nothing.
    None,
}

/// Where a member's effects go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// Nowhere.
    None,
    /// Into something that outlives it and takes whatever comes.
    Plain,
    /// Into something that outlives it and knows what it has.
    Idempotent,
}

/// How often a member believes that a record has its effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effects {
    /// However often.
    Any,
    /// Once.
    Once,
}

macro_rules! spelled {
    ($($of:ident { $($name:literal = $value:ident,)* })*) => {
        $(impl $of {
            /// Every spelling, as scenario files say it.
            pub const NAMES: &[&str] = &[$($name),*];

            /// What is spelled so.
            #[must_use]
            pub fn named(text: &str) -> Option<Self> {
                match text {
                    $($name => Some($of::$value),)*
                    _ => None,
                }
            }

            /// As scenario files say it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($of::$value => $name,)*
                }
            }
        })*
    };
}

spelled! {
    CommitStyle { "auto" = Auto, "sync" = Sync, "async" = Async, "none" = None, }
    Processing { "in-poll" = InPoll, "behind" = Behind, }
    Delivery { "at-least-once" = AtLeastOnce, "at-most-once" = AtMostOnce, "none" = None, }
    Sink { "none" = None, "plain" = Plain, "idempotent" = Idempotent, }
    Effects { "any" = Any, "once" = Once, }
}

/// One record to send.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendPlan {
    /// Microseconds from the run's start.
    pub at_us: u64,
    /// A fixed partition, or the partitioner's choice.
    #[serde(default)]
    pub partition: Option<i32>,
    /// A key, or none.
    #[serde(default)]
    pub key: Option<u64>,
    /// The value's length, at least 24 bytes.
    pub bytes: u32,
}

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Keys the fault's own draws; survives the removal of other faults.
    pub id: u32,
    /// Milliseconds from the run's start.
    pub at_ms: u64,
    /// What.
    pub fault: crate::fault::Fault,
}

/// How long a run is and what it runs over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPlan {
    /// The workload's and the faults' time, in milliseconds.
    pub duration_ms: u64,
    /// The least time that healing is given, in milliseconds.
    pub heal_ms: u64,
    /// One-way latency of a message, in microseconds: least and most.
    pub latency_us: (u64, u64),
    /// How long a flush takes, in microseconds: least and most.
    pub flush_us: (u64, u64),
    /// When the operating system writes a file back by itself, in milliseconds after a write:
    /// least and most.
    pub writeback_ms: (u64, u64),
    /// The simulated tick of the turmoil engine, in milliseconds.
    pub tick_ms: u64,
}
