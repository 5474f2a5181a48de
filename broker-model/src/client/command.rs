//! What a workload asks of a client, and what the client tells it.
//!
//! A command with an `op` of the caller's choice is answered by exactly one event with that `op`;
//! the others are not answered.

mod admin;
mod group;

use bytes::Bytes;

pub use self::admin::{GroupAnswer, GroupCall};
pub use self::group::{
    CallbackId, CommitName, GroupMember, OffsetAndMetadata, RebalanceCallback, Subscription,
};

use crate::types::{
    LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, ResponseError, Sequence, StrBytes,
    TopicIdPartition, TopicPartition,
};

/// Names one call of the application.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// Something that the application or the operator wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Producer: send one record (`KafkaProducer.send`). Answered by [`Event::Sent`].
    Send {
        /// The call.
        op: OpId,
        /// The topic.
        topic: StrBytes,
        /// A partition, or the partitioner's choice.
        partition: Option<i32>,
        /// The key, hashed with murmur2 by the default partitioner.
        key: Option<Bytes>,
        /// The value.
        value: Bytes,
        /// Its headers (KIP-82).
        headers: Vec<Header>,
    },
    /// Consumer: consume exactly these partitions (`KafkaConsumer.assign`) from these places.
    Assign {
        /// The whole new assignment.
        partitions: Vec<(TopicPartition, StartFrom)>,
    },
    /// Consumer: go to an offset (`KafkaConsumer.seek`).
    Seek {
        /// An assigned partition.
        partition: TopicPartition,
        /// Where to.
        to: StartFrom,
    },
    /// Consumer: fetched records, or none after the timeout. Answered by [`Event::Polled`], or by
    /// [`Event::PollFailed`] where Kafka throws.
    Poll {
        /// The call.
        op: OpId,
        /// How long to wait for the first record, in milliseconds.
        timeout_ms: u64,
    },
    /// Consumer: `KafkaConsumer.endOffsets`. Answered by [`Event::Offsets`].
    EndOffsets {
        /// The call.
        op: OpId,
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Consumer: be a member of `group.id` that consumes these topics (`KafkaConsumer.subscribe`).
    /// Nothing is sent before the next poll.
    Subscribe {
        /// The whole new subscription.
        to: Subscription,
    },
    /// Consumer: give up the subscription or assignment and leave the group. Answered by
    /// [`Event::Done`].
    Unsubscribe {
        /// The call.
        op: OpId,
    },
    /// Consumer: `commitSync` or `commitAsync`. Answered by [`Event::Committed`].
    Commit {
        /// The call.
        op: OpId,
        /// What is committed; `None`: the positions.
        offsets: Option<Vec<(TopicPartition, OffsetAndMetadata)>>,
        /// Whether it is repeated up to `default.api.timeout.ms` (`commitSync`).
        sync: bool,
    },
    /// Consumer: what the group has committed (`KafkaConsumer.committed`). Answered by
    /// [`Event::CommittedOffsets`].
    Committed {
        /// The call.
        op: OpId,
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Consumer: where the next poll goes on (`KafkaConsumer.position`). Answered by
    /// [`Event::Position`], once that is known.
    Position {
        /// The call.
        op: OpId,
        /// An assigned partition.
        partition: TopicPartition,
    },
    /// Consumer: return no records of these assigned partitions until they are resumed.
    Pause {
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Consumer: take that back.
    Resume {
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Consumer: the application's rebalance listener returned, as [`Event::Rebalance`] asked.
    CallbackDone {
        /// Which call of it.
        callback: CallbackId,
    },
    /// Consumer: rejoin the group with the next poll (`enforceRebalance`; classic protocol only).
    EnforceRebalance,
    /// Consumer: end the call that waits, or the next one, with [`ClientError::Wakeup`].
    Wakeup,
    /// Admin: create a topic. Answered by [`Event::Done`].
    CreateTopic {
        /// The call.
        op: OpId,
        /// Its name.
        name: StrBytes,
        /// How many partitions.
        partitions: i32,
        /// How many replicas each.
        replication_factor: i16,
        /// Topic configuration.
        configs: Vec<(StrBytes, StrBytes)>,
    },
    /// Admin: a call about a group. Answered by [`Event::Group`].
    Group {
        /// The call.
        op: OpId,
        /// What.
        call: GroupCall,
    },
    /// Any client: close in order (`close()`); what is in flight gets until its timeouts.
    /// Answered by [`Event::Done`].
    Close {
        /// The call.
        op: OpId,
    },
    /// Broker: stop in order, handing leaderships over first (SIGTERM).
    Shutdown,
    /// Active controller: move leadership to that replica without a crash: reorder the replicas
    /// and elect the preferred one, as an operator does.
    MoveLeader {
        /// Which partition.
        partition: TopicIdPartition,
        /// The new leader.
        to: NodeId,
    },
}

/// Where a consumer starts to read a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StartFrom {
    /// At the log's start.
    Beginning,
    /// At its end.
    End,
    /// There.
    At(Offset),
    /// Where `auto.offset.reset` says.
    Reset,
    /// Where the group's committed offset says, and without one where `auto.offset.reset` says.
    Committed,
}

/// What a client tells its application.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A send ended.
    Sent {
        /// The call.
        op: OpId,
        /// How.
        outcome: SendOutcome,
    },
    /// A poll ended.
    Polled {
        /// The call.
        op: OpId,
        /// One entry a partition whose position moved or that returned records.
        parts: Vec<PolledPartition>,
    },
    /// A poll ended with an exception.
    PollFailed {
        /// The call.
        op: OpId,
        /// Why.
        error: ClientError,
    },
    /// The rebalance listener is called. No call of the application ends before it answered with
    /// [`Command::CallbackDone`].
    Rebalance {
        /// Names this call of the listener.
        callback: CallbackId,
        /// Which method.
        what: RebalanceCallback,
        /// Its argument, sorted.
        partitions: Vec<TopicPartition>,
        /// As whom.
        member: GroupMember,
    },
    /// A commit begins: what it will try to write. It is told again if a later attempt will try to
    /// write something else.
    Committing {
        /// Which commit.
        commit: CommitName,
        /// Sorted by partition.
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    },
    /// A commit ended.
    Committed {
        /// Which commit.
        commit: CommitName,
        /// As whom the last attempt was made.
        member: GroupMember,
        /// How it ended: well only if every partition was committed.
        result: Result<(), ClientError>,
        /// The wire attempts that were made.
        attempts: u32,
        /// Whether every attempt provably had no effect.
        definite: bool,
    },
    /// `Position` ended.
    Position {
        /// The call.
        op: OpId,
        /// The position, or why it did not become known.
        result: Result<Offset, ClientError>,
    },
    /// `Committed` ended.
    CommittedOffsets {
        /// The call.
        op: OpId,
        /// The committed offset of each partition that was asked about, or why not.
        result: Result<Vec<(TopicPartition, Option<OffsetAndMetadata>)>, ClientError>,
    },
    /// `EndOffsets` ended.
    Offsets {
        /// The call.
        op: OpId,
        /// The offsets, or why not.
        result: Result<Vec<(TopicIdPartition, Offset)>, ResponseError>,
    },
    /// An admin's call about a group ended.
    Group {
        /// The call.
        op: OpId,
        /// How.
        result: Result<GroupAnswer, ClientError>,
        /// Attempts that were sent and not answered: they may be carried out later.
        unanswered: u32,
        /// Whether it failed and no attempt had, or can have, an effect.
        definite: bool,
    },
    /// An admin call or a close ended.
    Done {
        /// The call.
        op: OpId,
        /// How.
        result: Result<(), ClientError>,
    },
    /// A consumer's position was set by a reset or by a resolved start.
    Reset {
        /// Which partition.
        partition: TopicIdPartition,
        /// The position before, -1 for none.
        from: Offset,
        /// The position now.
        to: Offset,
        /// Why.
        why: ResetReason,
    },
}

/// Why a consumer's position was set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResetReason {
    /// A start position of an assignment was resolved.
    Start,
    /// The application called seek.
    Seek,
    /// The position was out of range.
    OutOfRange,
    /// The log was cut below the position (KIP-320).
    Truncated,
    /// The group's committed offset was looked up.
    Committed,
}

/// How a send ended, with what invariants.md §0.2 needs to classify it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// Acknowledged (with acks=0: written to the socket).
    Acknowledged {
        /// Where it went.
        partition: TopicIdPartition,
        /// Its offset, -1 when unknown.
        offset: Offset,
        /// The wire attempts it took.
        attempts: u32,
        /// The idempotent identity of the record's last attempt.
        identity: Option<(ProducerId, ProducerEpoch, Sequence)>,
        /// Whether the sequence was given anew after an epoch bump.
        renumbered: bool,
    },
    /// Given up.
    Failed {
        /// Where it would have gone, if that was decided.
        partition: Option<TopicIdPartition>,
        /// Why.
        error: ClientError,
        /// The wire attempts that were made.
        attempts: u32,
        /// Whether every attempt provably had no effect: none was written to a socket without
        /// getting an answer that a broker gives only before it appends.
        definite: bool,
        /// The idempotent identity of the record's last attempt.
        identity: Option<(ProducerId, ProducerEpoch, Sequence)>,
        /// Whether the sequence was given anew after an epoch bump.
        renumbered: bool,
    },
}

/// Why a client gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// A broker said so.
    Broker(ResponseError),
    /// delivery.timeout.ms, request.timeout.ms, max.block.ms or default.api.timeout.ms ran out.
    TimedOut,
    /// The connection went away and there are no retries left.
    Disconnected,
    /// `buffer.memory` is full and stayed so for `max.block.ms`.
    BufferExhausted,
    /// The record exceeds `max.request.size`.
    RecordTooLarge,
    /// The client was closed first.
    Closed,
    /// No broker speaks a version of the request that the client does.
    UnsupportedVersion,
    /// The consumer has no `group.id` (`InvalidGroupIdException`).
    NoGroup,
    /// The consumer is not a member of its group any more (`CommitFailedException`). Never sent.
    NotMember,
    /// The consumer takes part in a rebalance (`RebalanceInProgressException`). Never sent.
    Rebalancing,
    /// Nothing is committed and `auto.offset.reset` is `none` (`NoOffsetForPartitionException`).
    NoOffset,
    /// The application asked for it (`WakeupException`).
    Wakeup,
    /// The partition is not assigned (`IllegalStateException`).
    NotAssigned,
}

/// What a poll returned for one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolledPartition {
    /// Which partition.
    pub partition: TopicIdPartition,
    /// The position before the poll.
    pub from: Offset,
    /// The position after it.
    pub to: Offset,
    /// The records, in order.
    pub records: Vec<PolledRecord>,
}

/// A header of a record (KIP-82).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its key; several may have the same.
    pub key: StrBytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// A record that a consumer got.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolledRecord {
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
    /// CreateTime or LogAppendTime in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}
