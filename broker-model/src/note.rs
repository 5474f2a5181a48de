//! What just happened inside a node, for the judge.
//!
//! A node emits a note for every transition that an invariant is about, in the step and at the
//! point in the order of effects where it happens. Notes carry facts, never opinions: a note says
//! which replicas a leader counted, not that the count was right. Nothing in the model reads them.

mod classic;
mod consumer;
mod coordinator;

use bytes::Bytes;

pub use self::classic::{ClassicGroupChange, ClassicGroupState, MemberRemoved};
pub use self::consumer::{ConsumerGroupChange, ConsumerMemberState};
pub use self::coordinator::{CoordinatorChange, CoordinatorTimer, OffsetsChange};
use crate::types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ProducerEpoch, ProducerId,
    ResponseError, Sequence, StrBytes, TopicIdPartition, Uuid,
};

/// A transition of a node.
#[derive(Clone, PartialEq, Debug)]
pub enum Note {
    // ---- KRaft (invariants KR) ----
    /// The raft log as recovery left it, first of all notes of a voter or observer.
    RaftRecovered {
        /// The epoch in `quorum-state`, 0 when there was none.
        epoch: LeaderEpoch,
        /// The leader that `quorum-state` names.
        leader: Option<NodeId>,
        /// The candidate that this voter voted for in `epoch`.
        voted: Option<NodeId>,
        /// The end of the metadata log.
        log_end: Offset,
    },
    /// The role, epoch or vote changed, in memory and on disk: comes when `quorum-state` was flushed,
    /// where the change has to be.
    RaftRole {
        /// The epoch now.
        epoch: LeaderEpoch,
        /// The role now.
        role: RaftRole,
        /// The leader of `epoch`, if known.
        leader: Option<NodeId>,
        /// The vote in `epoch`, if any.
        voted: Option<NodeId>,
        /// The end of the log at this moment (a leader's before its LeaderChange record).
        log_end: Offset,
    },
    /// `quorum-state` was written (page cache) …
    QuorumStateWritten {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The leader.
        leader: Option<NodeId>,
        /// The vote.
        voted: Option<NodeId>,
    },
    /// … and the last written state is on disk.
    QuorumStateFlushed,
    /// A Vote request gets the vote, which is yet to be written.
    VoteCast {
        /// Who asked.
        candidate: NodeId,
        /// The candidate's epoch.
        epoch: LeaderEpoch,
        /// Whether it only asked what it would get (KIP-996).
        pre_vote: bool,
    },
    /// A Vote request is being answered.
    VoteAnswered {
        /// Who asked.
        candidate: NodeId,
        /// The candidate's epoch.
        epoch: LeaderEpoch,
        /// KIP-996.
        pre_vote: bool,
        /// The answer.
        granted: bool,
    },
    /// A batch was appended to the metadata log.
    RaftAppend {
        /// The batch's leader epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        base: Offset,
        /// Its last offset.
        last: Offset,
        /// Its CRC-32C.
        crc: u32,
    },
    /// The metadata log is durable up to here.
    RaftFlushed {
        /// Exclusive.
        to: Offset,
    },
    /// The metadata log was cut.
    RaftTruncate {
        /// The new end.
        to: Offset,
        /// The end before.
        log_end: Offset,
    },
    /// A leader recorded how far a voter's log agrees with its own, from its fetch.
    RaftFetched {
        /// The voter.
        voter: NodeId,
        /// Its log end, exclusive, epoch-checked.
        end: Offset,
    },
    /// The raft high watermark as this node knows it moved.
    RaftHighWatermark {
        /// Exclusive.
        high_watermark: Offset,
        /// Whether this node moved it as leader.
        leader: bool,
        /// This node's epoch.
        epoch: LeaderEpoch,
        /// As leader: the offset of this epoch's LeaderChange record.
        epoch_start: Offset,
        /// This node's log end.
        log_end: Offset,
    },

    // ---- Metadata and controller (RP-2, 3, 19) ----
    /// The controller became active in that epoch, having replayed up to `log_end`.
    ControllerActive {
        /// The raft epoch that is its claim.
        epoch: LeaderEpoch,
    },
    /// The controller stood down.
    ControllerInactive {
        /// The epoch it had claimed.
        epoch: LeaderEpoch,
        /// How many records it had appended that were not committed then.
        uncommitted: u64,
    },
    /// A controller replayed a committed record that defines a partition's state.
    PartitionCommitted {
        /// The record's offset in the metadata log.
        offset: Offset,
        /// Which partition.
        partition: TopicIdPartition,
        /// Its whole state after the record.
        state: Box<PartitionState>,
    },
    /// A controller replayed a committed record about a broker.
    BrokerCommitted {
        /// The record's offset in the metadata log.
        offset: Offset,
        /// The broker.
        broker: NodeId,
        /// Its whole state after the record.
        state: BrokerState,
    },
    /// A controller replayed a committed topic record.
    TopicCommitted {
        /// The record's offset in the metadata log.
        offset: Offset,
        /// The topic's id.
        topic: Uuid,
        /// Its name.
        name: Box<str>,
        /// Whether it was removed.
        removed: bool,
    },
    /// A producer-id block was committed.
    ProducerIdsCommitted {
        /// The record's offset in the metadata log.
        offset: Offset,
        /// To whom.
        broker: NodeId,
        /// The first id of the next block.
        next: ProducerId,
    },
    /// A part of this node applied committed metadata.
    MetadataApplied {
        /// Which part.
        by: MetadataReader,
        /// The last offset applied.
        offset: Offset,
        /// A rolling hash over (offset, record bytes) from the log's start.
        hash: u64,
    },
    /// A broker took over the state of a partition of its own from the metadata.
    PartitionApplied {
        /// Which partition.
        partition: TopicIdPartition,
        /// Its state.
        state: Box<PartitionState>,
    },
    /// A controller accepted an AlterPartition and wrote the record (not committed yet).
    AlterPartitionAccepted {
        /// Which partition.
        partition: TopicIdPartition,
        /// The asking leader.
        leader: NodeId,
        /// Its leader epoch.
        leader_epoch: LeaderEpoch,
        /// Its partition epoch.
        partition_epoch: PartitionEpoch,
        /// The controller's own view before: leader, leader epoch, partition epoch, ISR.
        before: Box<PartitionState>,
        /// The ISR it asked for with the broker epochs it named.
        isr: Vec<(NodeId, BrokerEpoch)>,
        /// Current epochs of those brokers and whether they may join (registered, not fenced, not
        /// shutting down).
        registered: Vec<(NodeId, BrokerEpoch, bool)>,
    },
    /// A controller chose a leader (record written, not committed yet).
    LeaderElected {
        /// Which partition.
        partition: TopicIdPartition,
        /// `NodeId::NONE` when nobody could be elected.
        leader: NodeId,
        /// The epoch that this makes.
        leader_epoch: LeaderEpoch,
        /// Whether it came from outside the ISR.
        unclean: bool,
    },

    // ---- Partition replicas (RP, ST) ----
    /// A replica's log as recovery left it, first of all notes about the replica.
    LogRecovered {
        /// Which partition.
        partition: TopicIdPartition,
        /// The log's first offset.
        log_start: Offset,
        /// The end after recovery.
        log_end: Offset,
        /// The epoch cache after recovery: (epoch, start), ascending.
        epochs: Vec<(LeaderEpoch, Offset)>,
        /// Bytes of a torn batch that recovery cut off.
        cut_bytes: u64,
        /// Whether the clean-shutdown marker was there.
        clean: bool,
    },
    /// This broker acts as leader of the partition from now on.
    BecameLeader {
        /// Which partition.
        partition: TopicIdPartition,
        /// In this epoch.
        leader_epoch: LeaderEpoch,
        /// Its log end, where the epoch starts.
        log_end: Offset,
        /// Its high watermark.
        high_watermark: Offset,
    },
    /// This broker acts as follower from now on.
    BecameFollower {
        /// Which partition.
        partition: TopicIdPartition,
        /// In this epoch.
        leader_epoch: LeaderEpoch,
        /// Of that leader, `NodeId::NONE` if there is none.
        leader: NodeId,
        /// Its log end.
        log_end: Offset,
        /// Its high watermark.
        high_watermark: Offset,
    },
    /// This broker no longer hosts the partition.
    ReplicaStopped {
        /// Which partition.
        partition: TopicIdPartition,
        /// Whether its log was deleted.
        deleted: bool,
    },
    /// A batch was appended to a replica.
    Append {
        /// Which partition.
        partition: TopicIdPartition,
        /// Whether the broker appended it as leader, in the batch's own epoch.
        as_leader: bool,
        /// The batch as it lies in the log: the judge reads header and records.
        batch: Bytes,
    },
    /// A replica's log was cut.
    Truncate {
        /// Which partition.
        partition: TopicIdPartition,
        /// The new end.
        to: Offset,
        /// The end before.
        log_end: Offset,
        /// The replica's own high watermark before.
        high_watermark: Offset,
    },
    /// An epoch was assigned a start offset in the replica's cache.
    EpochAssigned {
        /// Which partition.
        partition: TopicIdPartition,
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        start: Offset,
    },
    /// The epoch cache after it was cut at either end.
    EpochsCut {
        /// Which partition.
        partition: TopicIdPartition,
        /// What is left: (epoch, start), ascending.
        epochs: Vec<(LeaderEpoch, Offset)>,
    },
    /// Offsets of a replica moved other than by an append.
    HighWatermark {
        /// Which partition.
        partition: TopicIdPartition,
        /// Whether this broker leads it.
        as_leader: bool,
        /// The replica's leader epoch.
        leader_epoch: LeaderEpoch,
        /// log_start <= last_stable <= high_watermark <= log_end
        log_start: Offset,
        /// The last stable offset.
        last_stable: Offset,
        /// The high watermark.
        high_watermark: Offset,
        /// The log end.
        log_end: Offset,
    },
    /// A leader recorded how far a follower has proven to be, by a fetch in this leader epoch.
    FollowerFetched {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The follower.
        replica: NodeId,
        /// The follower's log end.
        log_end: Offset,
    },
    /// The ISR as the leader holds it: `isr` confirmed, `maximal` with what is proposed and may
    /// have been accepted. The high watermark is the minimum over `maximal`.
    LeaderIsr {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The partition epoch of `isr`.
        partition_epoch: PartitionEpoch,
        /// Confirmed by the controller.
        isr: Vec<NodeId>,
        /// Confirmed or in flight.
        maximal: Vec<NodeId>,
        /// Effective `min.insync.replicas`.
        min_isr: usize,
    },
    /// A leader asked the controller for another ISR.
    IsrProposed {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The partition epoch it builds on.
        partition_epoch: PartitionEpoch,
        /// Whom it adds: (replica, its log end, its broker epoch).
        added: Vec<(NodeId, Offset, BrokerEpoch)>,
        /// Whom it removes.
        removed: Vec<NodeId>,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// Where the leader's epoch starts.
        epoch_start: Offset,
    },
    /// A produce for a partition is being answered (also acks=0, where nobody hears it).
    ProduceAnswered {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader epoch in which the batch was appended.
        leader_epoch: LeaderEpoch,
        /// -1, 0 or 1.
        acks: i16,
        /// First offset of the batch, -1 if nothing was appended.
        base: Offset,
        /// Last offset of the batch, -1 if nothing was appended.
        last: Offset,
        /// The answer; `None` is NONE(0).
        error: Option<ResponseError>,
        /// Size of the ISR then.
        isr: usize,
        /// Effective `min.insync.replicas`.
        min_isr: usize,
    },
    /// Records are being served to a consumer.
    FetchServed {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// From this offset …
        from: Offset,
        /// … to this, exclusive; equal to `from` when nothing was served.
        to: Offset,
        /// Whether read_committed.
        committed: bool,
        /// The high watermark at this moment.
        high_watermark: Offset,
        /// The last stable offset at this moment.
        last_stable: Offset,
    },
    /// A ListOffsets for the latest offset was answered with an offset.
    LatestServed {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The answer.
        offset: Offset,
        /// Where the leader's epoch starts.
        epoch_start: Offset,
        /// Whether read_committed.
        committed: bool,
    },
    /// A batch that was in the window was not appended but answered with its old offset.
    DuplicateAnswered {
        /// Which partition.
        partition: TopicIdPartition,
        /// The producer.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// First sequence of the batch.
        first: Sequence,
        /// Last sequence of the batch.
        last: Sequence,
        /// The first offset that was answered.
        base: Offset,
    },
    /// A batch was refused because its sequence is not the producer's next.
    SequenceRefused {
        /// Which partition.
        partition: TopicIdPartition,
        /// The producer.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// First sequence of the batch.
        first: Sequence,
        /// Last sequence of the batch.
        last: Sequence,
    },
    /// The producer state was built anew (restart, truncation, leader change) or is being
    /// compared.
    ProducerState {
        /// Which partition.
        partition: TopicIdPartition,
        /// It covers the log up to here.
        end: Offset,
        /// Sorted by producer id.
        producers: Vec<ProducerEntry>,
    },
    /// Producer ids were forgotten because they were idle.
    ProducersExpired {
        /// Which partition.
        partition: TopicIdPartition,
        /// Whom.
        producers: Vec<ProducerId>,
    },
    /// The log's start moved (DeleteRecords, retention).
    LogStart {
        /// Which partition.
        partition: TopicIdPartition,
        /// The first offset now.
        log_start: Offset,
    },

    // ---- The broker's life ----
    /// The broker was registered and knows its epoch.
    BrokerRegistered {
        /// Its epoch.
        epoch: BrokerEpoch,
    },
    /// The controller said whether the broker is fenced.
    BrokerFenced {
        /// Its epoch.
        epoch: BrokerEpoch,
        /// What it said.
        fenced: bool,
    },

    // ---- The group coordinator (GC, GRP) ----
    /// A partition of `__consumer_offsets` was taken over, written or given up.
    Coordinator {
        /// Which partition.
        partition: TopicIdPartition,
        /// The leader epoch in which the broker coordinates.
        leader_epoch: LeaderEpoch,
        /// What happened.
        change: CoordinatorChange,
    },
    /// Offsets of a group are to change.
    Offsets {
        /// The group's partition of `__consumer_offsets`.
        partition: i32,
        /// Which group.
        group: StrBytes,
        /// How.
        change: OffsetsChange,
    },
    /// A group of the classic protocol changed.
    ClassicGroup {
        /// Its partition of `__consumer_offsets`.
        partition: i32,
        /// Which.
        group: StrBytes,
        /// How.
        change: ClassicGroupChange,
    },
    /// A group of the consumer protocol changed.
    ConsumerGroup {
        /// Its partition of `__consumer_offsets`.
        partition: i32,
        /// Which.
        group: StrBytes,
        /// How.
        change: ConsumerGroupChange,
    },
}

/// A node's role in the metadata quorum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RaftRole {
    /// Knows no leader of its epoch.
    Unattached,
    /// Follows a leader; observers too.
    Follower,
    /// Asks whether it could win, without a new epoch (KIP-996).
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Led this epoch and does not any more.
    Resigned,
}

/// Who applies committed metadata.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MetadataReader {
    /// The controller's committed copy.
    Controller,
    /// The broker, with its own lag.
    Broker,
}

/// A partition's state in the metadata (`PartitionRegistration`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Preferred leader first.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// `NodeId::NONE` when there is none.
    pub leader: NodeId,
    /// Rises with each change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with each change.
    pub partition_epoch: PartitionEpoch,
    /// Whether the leader recovers from an unclean election.
    pub recovering: bool,
}

/// A broker's state in the metadata (`BrokerRegistration`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerState {
    /// Its epoch.
    pub epoch: BrokerEpoch,
    /// Which incarnation registered.
    pub incarnation: Uuid,
    /// Fenced brokers lead nothing and are in no ISR.
    pub fenced: bool,
    /// In controlled shutdown.
    pub shutting_down: bool,
}

/// What a partition remembers of a producer (`ProducerStateEntry`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// At most five batches, oldest first: (first sequence, last sequence, last offset).
    pub batches: Vec<(Sequence, Sequence, Offset)>,
    /// First offset of its open transaction.
    pub open_since: Option<Offset>,
}
