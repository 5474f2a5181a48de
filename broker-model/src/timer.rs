//! The closed list of named timers. A process has at most one of each at a time.

use crate::types::NodeId;

/// A timer that a node or client can arm. Arming one that is armed moves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// A voter without a leader stands for election (`controller.quorum.election.timeout.ms`).
    Election,
    /// A follower or observer gives up on a leader it cannot fetch from
    /// (`controller.quorum.fetch.timeout.ms`).
    RaftFetch,
    /// A leader that a majority stopped fetching from resigns (KafkaRaftClient, KAFKA-15489).
    CheckQuorum,
    /// A leader tells voters that have not fetched yet about its epoch.
    BeginQuorumEpoch,
    /// A candidate or prospective voter that lost waits before it stands again.
    ElectionBackoff,
    /// A raft request to that node is retried.
    RaftRetry(NodeId),
    /// The raft leader answers the fetches that have waited long enough.
    RaftPurgatory,
    /// The raft leader appends what it has collected.
    RaftLinger,
    /// The network channel's next deadline: a request timeout or a reconnect.
    Network(Channel),
    /// The broker applies the metadata that has been committed; its window is heavy-tailed.
    ApplyMetadata,
    /// The broker's next heartbeat or registration attempt.
    Heartbeat,
    /// The broker looks for replicas that fell out of sync (half of `replica.lag.time.max.ms`).
    IsrExpiration,
    /// A refused or unanswered AlterPartition is sent again.
    AlterPartition,
    /// The fetcher of that leader backs off (`replica.fetch.backoff.ms`).
    FetcherBackoff(NodeId),
    /// Delayed produces and fetches that have waited long enough are answered.
    Purgatory,
    /// High watermarks are written down (`replica.high.watermark.checkpoint.interval.ms`).
    HighWatermarkCheckpoint,
    /// Idle producer ids are forgotten (`producer.id.expiration.check.interval.ms`).
    ProducerExpiration,
    /// A producer-id block is asked for again.
    ProducerIds,
    /// The controller fences brokers whose session is over.
    BrokerSessions,
    /// The controller moves leadership back to preferred replicas
    /// (`leader.imbalance.check.interval.seconds`).
    LeaderImbalance,
    /// The controller fails operations that did not commit in time.
    ControllerOperations,
    /// A forwarded request is sent again.
    Forwarding,
    /// The group coordinator's next deadline: of a member, a rebalance, a write, a cleanup.
    Coordinator,
    /// The group coordinator reads the logs of partitions that it was given.
    CoordinatorLoad,
    /// A stopping broker that the controller never let go stops all the same.
    ShutdownTimeout,
    /// A client refreshes or asks again for metadata.
    ClientMetadata,
    /// A producer's next linger, retry or delivery deadline.
    ProducerSender,
    /// A consumer's next fetch, retry or poll deadline.
    ConsumerFetch,
    /// An admin client's next retry or deadline.
    Admin,
}

/// Which connection of a process a request travels on. Requests of one channel are answered in
/// order; a channel keeps one connection at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Channel {
    /// KRaft requests to a node of the quorum.
    Raft(NodeId),
    /// The replica fetcher for partitions that node leads.
    Fetcher(NodeId),
    /// Registration and heartbeats to the controller.
    Heartbeat,
    /// AlterPartition to the controller.
    AlterPartition,
    /// Admin requests forwarded to the controller.
    Forwarding,
    /// AllocateProducerIds to the controller.
    ProducerIds,
    /// A client's connection to a broker it learned from metadata.
    Broker(NodeId),
    /// A client's connection to the n-th bootstrap server.
    Bootstrap(u8),
    /// A consumer's connection to its group's coordinator, apart from that for fetches.
    Coordinator(NodeId),
}
