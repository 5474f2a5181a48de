//! Rare states that a run can reach. A scenario names those it exists for, and a sweep that never
//! reaches one proved nothing.

macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        /// A rare state.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Probe { $($(#[$doc])* $name,)* }

        impl Probe {
            /// Every probe.
            pub const ALL: &[Probe] = &[$(Probe::$name,)*];

            /// The name in scenario files and reports.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Probe::$name => $id,)* }
            }

            /// The probe with that name.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Probe> {
                Probe::ALL.iter().copied().find(|probe| probe.id() == id)
            }
        }
    };
}

probes! {
    /// A voter won an election.
    RaftElected = "raft-elected",
    /// A pre-vote was refused, so no epoch was burnt (KIP-996).
    PreVoteRefused = "pre-vote-refused",
    /// A KRaft leader resigned because a majority stopped fetching.
    CheckQuorumResigned = "check-quorum-resigned",
    /// A KRaft follower cut its log to where it agreed with the leader.
    RaftTruncated = "raft-truncated",
    /// An active controller lost leadership with uncommitted records.
    ControllerUncommittedDropped = "controller-uncommitted-dropped",
    /// A broker was fenced because its session ended.
    BrokerFenced = "broker-fenced",
    /// A broker registered again as a new incarnation while in an ISR.
    BrokerReregistered = "broker-reregistered",
    /// A controlled shutdown moved every leadership away.
    ControlledShutdown = "controlled-shutdown",
    /// A follower truncated to the end of an epoch that the leader named (KIP-101, KIP-279).
    TruncatedToEpochEnd = "truncated-to-epoch-end",
    /// A follower that fell behind rejoined the ISR.
    IsrExpanded = "isr-expanded",
    /// A follower was taken out of the ISR.
    IsrShrunk = "isr-shrunk",
    /// A broker jumped several leader epochs of a partition in one step.
    EpochsSkipped = "epochs-skipped",
    /// acks=all was refused before the append: too few in-sync replicas.
    NotEnoughReplicas = "not-enough-replicas",
    /// acks=all was answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    NotEnoughReplicasAfterAppend = "not-enough-replicas-after-append",
    /// A delayed produce was failed because leadership went away.
    DelayedProduceDemoted = "delayed-produce-demoted",
    /// The high watermark waited for a replica that is only proposed for the ISR.
    HighWatermarkHeldByPendingIsr = "high-watermark-held-by-pending-isr",
    /// A batch that was there already was answered with its old offset.
    DuplicateBatch = "duplicate-batch",
    /// A batch was refused because its sequence was not the next one.
    OutOfOrderSequence = "out-of-order-sequence",
    /// An idempotent producer bumped its epoch and numbered its batches anew.
    ProducerEpochBumped = "producer-epoch-bumped",
    /// A request outlived its client's patience and was executed after a newer one.
    LateRequest = "late-request",
    /// Recovery cut a torn batch off a log.
    TornTailCut = "torn-tail-cut",
    /// A consumer found that the log it had read was cut (KIP-320).
    ConsumerTruncationDetected = "consumer-truncation-detected",
    /// A consumer's position was out of range and was reset.
    ConsumerReset = "consumer-reset",
}
