//! KRaft: the pull-based Raft of the metadata quorum, with static voters.
//!
//! One [`RaftClient`] a process. Voters (controllers) elect a leader with pre-votes (KIP-996);
//! followers and observers (brokers) fetch the metadata log from it; a fetch is the acknowledgement
//! of everything before its offset. What is committed comes out as [`RaftEvent`]s.
//!
//! Does not know what the records mean, takes no snapshots and never changes the voters: the log
//! is read from offset 0 after every start, and `kraft.version` stays 0. Mirrors Kafka 4.2's
//! `KafkaRaftClient`, `QuorumState` and the state classes, `KafkaMetadataLog`, `RequestManager`;
//! KIP-595, KIP-996, KAFKA-15489 (check quorum).
//!
//! # What waits for the disk
//!
//! * Kafka's raft thread blocks while `quorum-state` is written. So does [`RaftClient`]: from the
//!   step that changes epoch, leader or vote until its flush ends, replies are held back, inputs
//!   queue up, nothing is sent and nothing is appended.
//! * The log is flushed without blocking. A voter's next fetch waits until what it appended is on
//!   disk; a leader counts itself only up to where its log is. Followers may read what the leader
//!   has not flushed: they acknowledge their own copies, not the leader's.

mod client;
mod epochs;
mod fetch;
mod follow;
mod log;
mod messages;
mod poll;
mod quorum;
mod quorum_state;
mod requests;
mod voters;
mod votes;

mod candidate;
mod follower;
mod leader;
mod prospective;
mod resigned;
mod unattached;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::node::Voter;
use crate::types::{LeaderEpoch, NodeId, Offset, StrBytes, Uuid};

pub use client::RaftClient;

/// How a node takes part in the metadata quorum. Times in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RaftConfig {
    /// `node.id`.
    pub node: NodeId,
    /// Whether this node votes (`process.roles` has `controller`); otherwise it observes.
    pub is_voter: bool,
    /// `controller.quorum.voters`.
    pub voters: Vec<Voter>,
    /// `cluster.id`.
    pub cluster_id: StrBytes,
    /// The id of the metadata log directory (`meta.properties`).
    pub directory_id: Uuid,
    /// The timeouts.
    pub timeouts: RaftTimeouts,
}

/// `controller.quorum.*`, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RaftTimeouts {
    /// `controller.quorum.election.timeout.ms`: elections are drawn from this to twice this.
    pub election_timeout_ms: u64,
    /// `controller.quorum.fetch.timeout.ms`: without a successful fetch for this long, a voter
    /// stands for election.
    pub fetch_timeout_ms: u64,
    /// `controller.quorum.election.backoff.max.ms`: the longest a successor waits after
    /// EndQuorumEpoch, and the ceiling of the request back-off.
    pub election_backoff_max_ms: u64,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: u64,
    /// `controller.quorum.retry.backoff.ms`: doubles with each request that got no answer.
    pub retry_backoff_ms: u64,
}

impl Default for RaftTimeouts {
    fn default() -> Self {
        RaftTimeouts {
            election_timeout_ms: 1_000,
            fetch_timeout_ms: 2_000,
            election_backoff_max_ms: 1_000,
            request_timeout_ms: 2_000,
            retry_backoff_ms: 20,
        }
    }
}

/// What a node learns from its raft client, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum RaftEvent {
    /// Another leader or epoch is known.
    LeaderChange {
        /// The leader of `epoch`, this node included; `None` while it is not known.
        leader: Option<NodeId>,
        /// The epoch.
        epoch: LeaderEpoch,
    },
    /// This node leads, and its LeaderChange record and everything before it was handed out as
    /// committed: it may act as the active controller.
    Claim {
        /// The epoch it leads in.
        epoch: LeaderEpoch,
    },
    /// This node claimed that epoch and does not lead any more. Comes at once, before the disk
    /// knows.
    Resign {
        /// The epoch it had claimed.
        epoch: LeaderEpoch,
    },
    /// The next batch below the high watermark. From offset 0 on, without gaps.
    Committed(CommittedBatch),
}

/// A committed batch of the metadata log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedBatch {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset of the last record.
    pub last: Offset,
    /// The epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// When it was appended, in milliseconds since 1970 by the leader's clock.
    pub append_time_ms: i64,
    /// The values of the records; shares the log's bytes.
    pub records: Vec<Bytes>,
    /// Whether these are control records of raft itself.
    pub control: bool,
    /// The batch's CRC-32C.
    pub crc: u32,
}

/// An append was refused: this node does not lead in the epoch that the caller believes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotLeader;
