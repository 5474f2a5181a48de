//! One decision of a shard: what a request, a timer or a committed write comes to.

use kafka_protocol::messages::ResponseKind;

use super::record::Record;
use crate::effect::Effects;
use crate::ids::IdSource;
use crate::metadata::MetadataImage;
use crate::types::{ConnectionId, Now, StrBytes};

/// The world as a decision sees it, and the buffer that takes it.
pub(crate) struct Turn<'a> {
    /// The shard's partition of `__consumer_offsets`.
    pub(crate) partition: i32,
    /// The time of this step.
    pub(crate) now: Now,
    /// Source of member ids.
    pub(crate) ids: &'a mut IdSource,
    /// The metadata as this broker knows it.
    pub(crate) image: &'a MetadataImage,
    /// The broker's properties.
    pub(crate) config: &'a crate::config::BrokerConfig,
    /// For notes and probes only.
    pub(crate) effects: &'a mut Effects,
    /// What is decided.
    pub(crate) decision: Decision,
}

/// Records to append as one batch, and what leaves when they are committed.
#[derive(Default, Debug)]
pub(crate) struct Decision {
    /// Appended atomically, then replayed in order.
    pub(crate) records: Vec<Record>,
    /// Answers that leave once the records are committed; without records, once everything that was
    /// written before is.
    pub(crate) answers: Vec<(Caller, ResponseKind)>,
    /// Answers that wait for nothing.
    pub(crate) at_once: Vec<(Caller, ResponseKind)>,
    /// Timers that start anew or stop.
    pub(crate) timers: Vec<TimerChange>,
    /// What the shard does once the records are committed, or could not be.
    pub(crate) then: Option<Continuation>,
}

/// Who waits for an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    /// On which connection.
    pub(crate) conn: ConnectionId,
    /// To which request.
    pub(crate) correlation_id: i32,
    /// In which version.
    pub(crate) version: i16,
    /// `client.id` of the request's header.
    pub(crate) client_id: StrBytes,
}

/// A shard's timers by what they are about (`CoordinatorTimer`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum TimerKey {
    /// A member's session, classic (heartbeat) or consumer.
    Session {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
    },
    /// A member of a consumer group has to have given up what it was asked to, or a member of a
    /// classic group in a consumer group has to join or sync.
    Rebalance {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
    },
    /// A classic group's join phase.
    Join {
        /// The group.
        group: StrBytes,
    },
    /// A classic group's members have to sync.
    Sync {
        /// The group.
        group: StrBytes,
    },
    /// A group's regular expressions are resolved anew.
    Regex {
        /// The group.
        group: StrBytes,
    },
    /// Expired offsets and empty groups are removed (`offsets.retention.check.interval.ms`).
    Cleanup,
}

/// What a decision does to a timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TimerChange {
    /// Starts it anew: it fires after so many ms.
    Start(TimerKey, u64),
    /// Stops it, if it runs.
    Stop(TimerKey),
}

/// What follows a write (`CoordinatorResult.appendFuture`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Continuation {
    /// The leader's assignment of that generation is stored: the classic group is stable and its
    /// members hear of their parts.
    ClassicAssigned {
        /// The group.
        group: StrBytes,
        /// Its generation.
        generation: i32,
    },
    /// An empty generation of a classic group is stored.
    ClassicEmptied {
        /// The group.
        group: StrBytes,
    },
    /// A static member of a stable classic group was replaced without a rebalance.
    ClassicStaticReplaced {
        /// The group.
        group: StrBytes,
        /// Its new id.
        member: StrBytes,
        /// Its old one.
        previous: StrBytes,
        /// Who joined.
        caller: Caller,
    },
    /// A member of the classic protocol joined a consumer group: it has to sync now.
    ConsumerJoined {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
        /// How long it may be silent, in ms.
        session_timeout_ms: i32,
        /// How long it may take to sync, in ms.
        sync_timeout_ms: i32,
    },
    /// A member of the classic protocol synced in a consumer group.
    ConsumerSynced {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
        /// How long it may be silent, in ms.
        session_timeout_ms: i32,
    },
}
