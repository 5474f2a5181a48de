//! What a history knows of the cluster: what was done to it, dumps of its logs, transitions of its
//! nodes.

use serde::{Deserialize, Serialize};

use super::{P, V};

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
    /// A broker began to lead a partition, or one that led it heard that it does not any more.
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
        /// If there are any, only these values at these offsets: a leader committed them that had been
        /// overruled.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        vs: Vec<(i64, V)>,
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
