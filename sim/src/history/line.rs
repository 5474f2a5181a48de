//! The lines of a history, field by field as invariants.md §4 names them.

use std::collections::BTreeMap;

use broker_model::client::command::ClientError;
use broker_model::types::{ResponseError, TopicIdPartition, Uuid};
use serde::{Deserialize, Serialize};

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

/// What a client invoked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// InitProducerId.
    Init,
    /// Begin a transaction.
    Begin {
        /// The transaction.
        x: u64,
    },
    /// Send one record.
    Send {
        /// The partition, where the application chose it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        p: Option<P>,
        /// The value.
        v: V,
        /// The key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<u64>,
        /// The transaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        x: Option<u64>,
        /// The input record that this one was made from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        src: Option<(P, i64)>,
        /// Whether it is a tombstone.
        #[serde(default, skip_serializing_if = "is_false")]
        tomb: bool,
    },
    /// Add consumer offsets to a transaction.
    TxnOffsets {
        /// The transaction.
        x: u64,
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// The writer's id.
        w: u64,
        /// The offsets.
        offs: Vec<(P, i64)>,
    },
    /// Commit a transaction.
    Commit {
        /// The transaction.
        x: u64,
    },
    /// Abort a transaction.
    Abort {
        /// The transaction.
        x: u64,
    },
    /// Subscribe to topics.
    Subscribe {
        /// Their names.
        topics: Vec<String>,
    },
    /// Consume exactly these partitions.
    Assign {
        /// The whole new assignment.
        ps: Vec<P>,
    },
    /// Go to offsets: -2 is the beginning, -1 the end.
    Seek {
        /// Where to.
        to: Vec<(P, i64)>,
    },
    /// Get records.
    Poll,
    /// Commit offsets.
    CommitOffsets {
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// The member.
        mid: String,
        /// The writer's id.
        w: u64,
        /// The offsets.
        offs: Vec<(P, i64)>,
    },
    /// Read committed offsets.
    FetchOffsets {
        /// The group.
        g: String,
        /// Which partitions.
        ps: Vec<P>,
    },
    /// Look offsets up.
    ListOffsets {
        /// Which partitions.
        ps: Vec<P>,
        /// -1 latest, -2 earliest, else a timestamp.
        spec: i64,
        /// Whether read_committed.
        #[serde(default, skip_serializing_if = "is_false")]
        rc: bool,
    },
    /// Get records of a share group.
    SharePoll,
    /// Acknowledge records of a share group.
    ShareAck {
        /// (partition, first, last, type).
        acks: Vec<(P, i64, i64, u8)>,
    },
    /// Create a topic.
    CreateTopic {
        /// Its name.
        topic: String,
        /// How many partitions.
        parts: u32,
    },
    /// Delete a topic.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Move a log's start.
    DeleteRecords {
        /// Which partition.
        p: P,
        /// The new first offset.
        before: i64,
    },
    /// Some other administrative call.
    Admin {
        /// Which.
        what: String,
    },
    /// Close the client.
    Close,
}

/// What an operation returned.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Res {
    /// Nothing.
    #[default]
    Unit,
    /// A producer id.
    Pid {
        /// The producer id.
        pid: i64,
        /// Its epoch.
        ep: i16,
    },
    /// A send was acknowledged.
    Sent(Sent),
    /// Records.
    Polled(Vec<PollPart>),
    /// Offsets.
    Offs(Vec<(P, i64)>),
    /// Committed offsets with their writers.
    Committed(Vec<(P, i64, u64)>),
    /// Records of a share group with their delivery counts.
    Acquired(Vec<(P, i64, V, u16)>),
    /// Acknowledgements with their error codes.
    Acked(Vec<(P, i64, i64, i16)>),
}

impl Res {
    fn is_unit(&self) -> bool {
        *self == Res::Unit
    }
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sent {
    /// Its offset, -1 when unknown.
    pub off: i64,
    /// The wire attempts that were made.
    pub att: u32,
    /// The partition, where the partitioner chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<P>,
    /// Producer id, epoch and sequence of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<(i64, i16, i32)>,
    /// Whether the sequence was given anew after an epoch bump.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ren: bool,
}

/// What a poll returned for one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PollPart {
    /// Which partition.
    pub p: P,
    /// The position before.
    pub from: i64,
    /// The position after.
    pub to: i64,
    /// Offset and value of each record, in order; the value of a record that is in `bad` is 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rs: Vec<(i64, V)>,
    /// Leader epochs of those records: (how many, epoch), run by run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub le: Vec<(u32, i32)>,
    /// Records that are not what anybody sent: their checksum, partition or key is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad: Vec<BadRecord>,
}

/// A record that is not what anybody sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BadRecord {
    /// Its offset.
    pub o: i64,
    /// What is wrong with it.
    pub why: String,
}

/// Why an operation did not end well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Er {
    /// Kafka's error code; one of the constants of [`Er`] where the client itself gave up.
    pub c: i16,
    /// The wire attempts that were made.
    #[serde(default)]
    pub att: u32,
}

impl Er {
    /// A timeout of the client's own.
    pub const TIMED_OUT: i16 = 7;
    /// A connection went away (NETWORK_EXCEPTION).
    pub const DISCONNECTED: i16 = 13;
    /// The record is larger than the client sends (MESSAGE_TOO_LARGE).
    pub const TOO_LARGE: i16 = 10;
    /// No common version of an API.
    pub const UNSUPPORTED: i16 = 35;
    /// `buffer.memory` was full for `max.block.ms`.
    pub const BUFFER_EXHAUSTED: i16 = -100;
    /// The client was closed first.
    pub const CLOSED: i16 = -101;
    /// The client died first.
    pub const DIED: i16 = -102;

    /// An error of a client, after that many wire attempts.
    #[must_use]
    pub fn new(error: ClientError, att: u32) -> Self {
        let c = match error {
            ClientError::Broker(error) => error.code(),
            ClientError::TimedOut => Self::TIMED_OUT,
            ClientError::Disconnected => Self::DISCONNECTED,
            ClientError::BufferExhausted => Self::BUFFER_EXHAUSTED,
            ClientError::RecordTooLarge => Self::TOO_LARGE,
            ClientError::Closed => Self::CLOSED,
            ClientError::UnsupportedVersion => Self::UNSUPPORTED,
        };
        Self { c, att }
    }

    /// An error that a broker answered.
    #[must_use]
    pub fn broker(error: ResponseError, att: u32) -> Self {
        Self {
            c: error.code(),
            att,
        }
    }
}

/// Something that happened to a client by itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ev {
    /// Partitions were assigned, with the positions they start from.
    Assigned {
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// Partitions and positions.
        ps: Vec<(P, i64)>,
    },
    /// Partitions were given up in order.
    Revoked {
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// Which.
        ps: Vec<P>,
    },
    /// Partitions were lost.
    Lost {
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// Which.
        ps: Vec<P>,
    },
    /// A position was set by a reset or by a resolved start.
    Reset {
        /// Which partition.
        p: P,
        /// The position before, -1 for none.
        from: i64,
        /// The position now.
        to: i64,
        /// `start`, `seek`, `out-of-range` or `truncated`.
        why: String,
    },
    /// A producer was fenced.
    Fenced {
        /// The error code.
        c: i16,
    },
    /// The client was killed; none of its operations will complete.
    Died,
}

/// Something that was done to the cluster.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nem {
    /// A fault began.
    Fault {
        /// Names the fault.
        id: u32,
        /// Its kind.
        what: String,
        /// Whom it hit.
        on: String,
        /// Whether it may lose what was not flushed.
        lossy: bool,
    },
    /// A fault ended.
    Heal {
        /// Names the fault.
        id: u32,
    },
    /// A phase began: `setup`, `chaos`, `heal`, `final` or `done`.
    Phase {
        /// Which.
        name: String,
    },
    /// A partition has another leader.
    LeaderChange {
        /// Which partition.
        p: P,
        /// The leader epoch.
        le: i32,
        /// The leader.
        broker: i32,
        /// Whether it came from outside the ISR.
        unclean: bool,
    },
    /// Committed offsets `[from, to)` were lost in a way that Kafka does not promise to prevent.
    Destroyed {
        /// Of which partition.
        p: P,
        /// The first lost offset.
        from: i64,
        /// The true high watermark before.
        to: i64,
    },
}

/// An entry of a dumped log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogEnt {
    /// Its offset.
    pub o: i64,
    /// The leader epoch of its batch.
    pub le: i32,
    /// The producer.
    pub pid: i64,
    /// Its epoch.
    pub ep: i16,
    /// Its sequence.
    pub sq: i32,
    /// What it is.
    pub v: Lv,
}

/// What an entry of a dumped log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lv {
    /// A value.
    D(V),
    /// A tombstone of that value id.
    T(V),
    /// A commit marker.
    Commit,
    /// An abort marker.
    Abort,
    /// Another control record.
    Ctl,
}

/// A white-box transition, as exported.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wb {
    /// Offsets of a replica moved.
    Hw {
        /// Which partition.
        p: P,
        /// The leader epoch.
        le: i32,
        /// The log's start.
        ls: i64,
        /// The last stable offset.
        lso: i64,
        /// The high watermark.
        hw: i64,
        /// The log end.
        leo: i64,
    },
    /// The metadata of a partition changed.
    Part {
        /// Which partition.
        p: P,
        /// The leader epoch.
        le: i32,
        /// The partition epoch.
        pe: i32,
        /// The leader.
        leader: i32,
        /// The in-sync replicas.
        isr: Vec<i32>,
        /// The eligible leader replicas.
        elr: Vec<i32>,
    },
    /// A batch was appended.
    Append {
        /// Which partition.
        p: P,
        /// The leader epoch.
        le: i32,
        /// Its first offset.
        o: i64,
        /// How many records.
        cnt: u32,
        /// The chain hash.
        h: u64,
    },
    /// A log was cut.
    Trunc {
        /// Which partition.
        p: P,
        /// The new end.
        to: i64,
        /// The end before.
        leo: i64,
        /// The high watermark before.
        hw: i64,
    },
    /// A node's role in the metadata quorum changed.
    Role {
        /// The epoch.
        epoch: i32,
        /// The role.
        role: String,
    },
    /// A transaction changed.
    Txn {
        /// The transactional id.
        tid: String,
        /// The producer.
        pid: i64,
        /// Its epoch.
        ep: i16,
        /// The state.
        st: String,
    },
    /// A group changed.
    Group {
        /// The group.
        g: String,
        /// Its epoch.
        epoch: i32,
        /// The state.
        st: String,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it by reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}
