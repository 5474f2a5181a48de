//! The small words of the model: newtypes for every number with a meaning.

use std::fmt;
use std::ops::{Add, Sub};

pub use kafka_protocol::ResponseError;
pub use kafka_protocol::protocol::StrBytes;
pub use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A Kafka process (`node.id`): broker, controller or both.
    NodeId(i32)
}
number! {
    /// A position in a log, in records. The log end is the offset of the next record.
    Offset(i64)
}
number! {
    /// The term of a partition leader, or of a KRaft leader; -1 where none is known.
    LeaderEpoch(i32)
}
number! {
    /// The version of a partition's ISR in the metadata (`PartitionRecord.PartitionEpoch`).
    PartitionEpoch(i32)
}
number! {
    /// One registration of a broker: the offset of its registration record (KIP-631); -1 unknown.
    BrokerEpoch(i64)
}
number! {
    /// An idempotent or transactional producer, allotted in blocks by the controller; -1 for none.
    ProducerId(i64)
}
number! {
    /// The incarnation of a [`ProducerId`]; -1 for none.
    ProducerEpoch(i16)
}
number! {
    /// The position of a record among those of one (producer id, epoch, partition); wraps to 0.
    Sequence(i32)
}
number! {
    /// A connection, unique within one incarnation of one process.
    ///
    /// Ids that the process chose ([`ConnectionId::outbound`]) and ids that the engine gave to
    /// accepted connections never meet.
    ConnectionId(u64)
}
number! {
    /// A flush that was asked for, unique within one incarnation of a node.
    FlushId(u64)
}

impl NodeId {
    /// Kafka's "no node" (`MetadataResponse.NO_LEADER_ID`, `LeaderConstants.NO_LEADER`).
    pub const NONE: NodeId = NodeId(-1);
}

impl Offset {
    /// The first offset of a log that was never cut.
    pub const ZERO: Offset = Offset(0);
    /// "Unknown" on the wire.
    pub const UNKNOWN: Offset = Offset(-1);

    /// The offset that follows this one.
    #[must_use]
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

impl Sub<i64> for Offset {
    type Output = Offset;
    fn sub(self, records: i64) -> Offset {
        Offset(self.0 - records)
    }
}

impl Sub for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl LeaderEpoch {
    /// No epoch (`RecordBatch.NO_PARTITION_LEADER_EPOCH`).
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);

    /// The epoch that follows this one.
    #[must_use]
    pub fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The partition epoch that follows this one.
    #[must_use]
    pub fn next(self) -> PartitionEpoch {
        PartitionEpoch(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// Not registered, or not given in the request.
    pub const UNKNOWN: BrokerEpoch = BrokerEpoch(-1);
}

impl ProducerId {
    /// Not an idempotent producer (`RecordBatch.NO_PRODUCER_ID`).
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// No producer epoch (`RecordBatch.NO_PRODUCER_EPOCH`).
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl Sequence {
    /// No sequence (`RecordBatch.NO_SEQUENCE`).
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence `records` further on; after `i32::MAX` comes 0
    /// (`DefaultRecordBatch.incrementSequence`).
    #[must_use]
    pub fn plus(self, records: i32) -> Sequence {
        if self.0 > i32::MAX - records {
            Sequence(records - (i32::MAX - self.0) - 1)
        } else {
            Sequence(self.0 + records)
        }
    }
}

impl ConnectionId {
    const OUTBOUND: u64 = 1 << 63;

    /// The `n`-th connection that a process opens by itself.
    #[must_use]
    pub fn outbound(n: u64) -> ConnectionId {
        ConnectionId(n | Self::OUTBOUND)
    }

    /// Whether the process itself opened this connection.
    #[must_use]
    pub fn is_outbound(self) -> bool {
        self.0 & Self::OUTBOUND != 0
    }
}

/// A partition of one instance of a topic: a topic that is deleted and created again has a new id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    /// The topic's id, drawn by the controller that created it (KIP-516).
    pub topic: Uuid,
    /// The partition's index.
    pub partition: i32,
}

/// The metadata log's topic id (`Uuid.METADATA_TOPIC_ID`).
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// The metadata log's topic name (`Topic.CLUSTER_METADATA_TOPIC_NAME`).
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// A partition by name, as clients say it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: StrBytes,
    /// The partition's index.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a listener is to be reached.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// A host name that the engine can resolve.
    pub host: StrBytes,
    /// A TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Which of a process's two listeners a connection came in by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Listener {
    /// Clients and other brokers: port P.
    Broker,
    /// The KRaft quorum and brokers that talk to it: port P + 1000.
    Controller,
}

/// Two clocks. Timers use `mono_ms`; everything written to a log uses `wall_ms`.
///
/// Skew moves the wall clock alone, drift moves both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Milliseconds since some moment before the process started; never goes back.
    pub mono_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// The part of a node that asked for a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushOwner {
    /// The KRaft client: quorum state and metadata log.
    Raft,
    /// Partition logs and their checkpoints.
    Replica,
    /// Everything else of the broker.
    Broker,
}

impl FlushId {
    /// The `n`-th flush of that part.
    #[must_use]
    pub const fn new(owner: FlushOwner, n: u64) -> FlushId {
        FlushId(n * 4 + owner as u64)
    }

    /// Who asked for it.
    #[must_use]
    pub fn owner(self) -> FlushOwner {
        match self.0 % 4 {
            0 => FlushOwner::Raft,
            1 => FlushOwner::Replica,
            _ => FlushOwner::Broker,
        }
    }
}
