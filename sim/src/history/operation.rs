//! What clients did: the operations of a history, their results, and what befell a client by itself.

use broker_model::client::command::ClientError;
use broker_model::types::ResponseError;
use serde::{Deserialize, Serialize};

use super::{P, V};

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
        /// The group.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        g: String,
        /// Their names.
        topics: Vec<String>,
        /// The expression that stands for them, if one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
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
    /// Return no records of assigned partitions until they are resumed.
    Pause {
        /// Which.
        ps: Vec<P>,
    },
    /// Take that back.
    Resume {
        /// Which.
        ps: Vec<P>,
    },
    /// Get records.
    Poll,
    /// Ask where the next poll goes on.
    Position {
        /// In which partition.
        p: P,
    },
    /// Commit offsets.
    CommitOffsets {
        /// The group.
        g: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// The member.
        mid: String,
        /// The writer's id, also in the metadata of each offset; 0 where the metadata is empty.
        w: u64,
        /// The offsets.
        offs: Vec<(P, i64)>,
        /// Whether the consumer commits by itself (`enable.auto.commit`).
        #[serde(default, skip_serializing_if = "is_false")]
        auto: bool,
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
    /// Commit an offset in the name of a group without members.
    AlterOffsets {
        /// The group.
        g: String,
        /// The offsets.
        offs: Vec<(P, i64)>,
    },
    /// Ask, as an operator, what a group has committed.
    GroupOffsets {
        /// The group.
        g: String,
        /// Which partitions.
        ps: Vec<P>,
    },
    /// Delete committed offsets.
    DeleteOffsets {
        /// The group.
        g: String,
        /// Which partitions.
        ps: Vec<P>,
    },
    /// Delete a group without members.
    DeleteGroup {
        /// The group.
        g: String,
    },
    /// Describe a group.
    DescribeGroup {
        /// The group.
        g: String,
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
    /// Committed offsets with their writers; offset -1 where nothing is committed.
    Committed(Vec<(P, i64, u64)>),
    /// A commit was made, or tried, as that member.
    As {
        /// The generation or member epoch of the last attempt.
        #[serde(rename = "gen")]
        generation: i32,
        /// The member id.
        mid: String,
    },
    /// A group, as described.
    Group {
        /// Its state.
        st: String,
        /// How many members it has.
        members: usize,
    },
    /// It was done, and attempts before the last were sent and not answered.
    Retried {
        /// How many.
        unanswered: u32,
    },
    /// Records of a share group with their delivery counts.
    Acquired(Vec<(P, i64, V, u16)>),
    /// Acknowledgements with their error codes.
    Acked(Vec<(P, i64, i64, i16)>),
}

impl Res {
    pub(super) fn is_unit(&self) -> bool {
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
    /// The application woke the consumer up.
    pub const WAKEUP: i16 = -103;
    /// Nothing is committed and `auto.offset.reset` is `none`.
    pub const NO_OFFSET: i16 = -104;
    /// The consumer is not a member of its group any more.
    pub const NOT_MEMBER: i16 = -105;
    /// The partition is not assigned.
    pub const NOT_ASSIGNED: i16 = -106;
    /// The consumer takes part in a rebalance (REBALANCE_IN_PROGRESS).
    pub const REBALANCING: i16 = 27;
    /// The consumer has no group (INVALID_GROUP_ID).
    pub const NO_GROUP: i16 = 24;

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
            ClientError::NoGroup => Self::NO_GROUP,
            ClientError::NotMember => Self::NOT_MEMBER,
            ClientError::Rebalancing => Self::REBALANCING,
            ClientError::NoOffset => Self::NO_OFFSET,
            ClientError::Wakeup => Self::WAKEUP,
            ClientError::NotAssigned => Self::NOT_ASSIGNED,
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
    /// Partitions were added to what the member owns, with the positions they start from; -1 where a
    /// `Reset` will say so.
    Assigned {
        /// The group.
        g: String,
        /// The member.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        mid: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// Partitions and positions.
        ps: Vec<(P, i64)>,
    },
    /// Partitions were given up in order: the rebalance listener has returned.
    Revoked {
        /// The group.
        g: String,
        /// The member.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        mid: String,
        /// The generation or member epoch.
        #[serde(rename = "gen")]
        generation: i32,
        /// Which.
        ps: Vec<P>,
    },
    /// Partitions were lost: somebody else may own them already.
    Lost {
        /// The group.
        g: String,
        /// The member.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        mid: String,
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
        /// `start`, `seek`, `out-of-range`, `truncated` or `committed`.
        why: String,
    },
    /// The application's side effect of these records is in its external sink now (kafka-bugs.md, O14).
    Effect {
        /// Partition and offset of each.
        rs: Vec<(P, i64)>,
    },
    /// A producer, or a static member, was fenced.
    Fenced {
        /// The error code.
        c: i16,
    },
    /// The client was killed; none of its operations will complete.
    Died,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it by reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}
