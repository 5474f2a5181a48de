//! Kinds of facts, so that a fact reaches only the checks that it concerns.

use broker_model::note::Note;

use crate::history::Body;
use crate::observe::{Fact, WorldEvent};

macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        /// The kind of a fact: a note by its name, a history line or a world event by what it says.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind {
            $(
                #[doc = concat!("Facts called `", stringify!($name), "`.")]
                $name,
            )*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];
        }
    };
}

kinds! {
    RaftRecovered, RaftRole, QuorumStateWritten, QuorumStateFlushed, VoteCast, VoteAnswered, RaftAppend,
    RaftFlushed, RaftTruncate, RaftFetched, RaftHighWatermark, ControllerActive,
    ControllerInactive, PartitionCommitted, BrokerCommitted, TopicCommitted, ProducerIdsCommitted,
    MetadataApplied, PartitionApplied, AlterPartitionAccepted, LeaderElected, LogRecovered,
    BecameLeader, BecameFollower, ReplicaStopped, Append, Truncate, EpochAssigned, EpochsCut,
    HighWatermark, FollowerFetched, LeaderIsr, IsrProposed, ProduceAnswered, FetchServed,
    LatestServed, DuplicateAnswered, SequenceRefused, ProducerState, ProducersExpired, LogStart,
    BrokerRegistered, BrokerFenced, ClassicGroup, ConsumerGroup, Coordinator, Offsets,
    Declared, Invoked, Succeeded, Failed, Unknown, ClientEvent, Nemesis, Dump,
    Started, Stopped, DiskAfterPowerLoss, FaultBegan, FaultEnded, PhaseBegan, FaultEffective,
    HarnessBroken,
}

impl Kind {
    /// The fact's kind.
    #[must_use]
    pub fn of(fact: &Fact<'_>) -> Kind {
        match fact {
            Fact::Note { note, .. } => of_note(note),
            Fact::History(line) => match line.b {
                Body::Hdr(_) | Body::Actor(_) | Body::Part(_) => Kind::Declared,
                Body::I { .. } => Kind::Invoked,
                Body::Ok { .. } => Kind::Succeeded,
                Body::Fail { .. } => Kind::Failed,
                Body::Info { .. } => Kind::Unknown,
                Body::Ev { .. } => Kind::ClientEvent,
                Body::Nem(_) => Kind::Nemesis,
                Body::Log { .. } | Body::Wb { .. } => Kind::Dump,
            },
            Fact::World(event) => match event {
                WorldEvent::Started { .. } => Kind::Started,
                WorldEvent::Stopped { .. } => Kind::Stopped,
                WorldEvent::DiskAfterPowerLoss { .. } => Kind::DiskAfterPowerLoss,
                WorldEvent::FaultBegan { .. } => Kind::FaultBegan,
                WorldEvent::FaultEnded { .. } => Kind::FaultEnded,
                WorldEvent::Phase(_) => Kind::PhaseBegan,
                WorldEvent::FaultEffective { .. } => Kind::FaultEffective,
                WorldEvent::HarnessBroken { .. } => Kind::HarnessBroken,
            },
        }
    }
}

macro_rules! same_name {
    ($note:expr; $($name:ident),* $(,)?) => {
        match $note {
            $(Note::$name { .. } => Kind::$name,)*
        }
    };
}

fn of_note(note: &Note) -> Kind {
    same_name! { note;
        RaftRecovered, RaftRole, QuorumStateWritten, QuorumStateFlushed, VoteCast, VoteAnswered, RaftAppend,
        RaftFlushed, RaftTruncate, RaftFetched, RaftHighWatermark, ControllerActive,
        ControllerInactive, PartitionCommitted, BrokerCommitted, TopicCommitted,
        ProducerIdsCommitted, MetadataApplied, PartitionApplied, AlterPartitionAccepted,
        LeaderElected, LogRecovered, BecameLeader, BecameFollower, ReplicaStopped, Append,
        Truncate, EpochAssigned, EpochsCut, HighWatermark, FollowerFetched, LeaderIsr, IsrProposed,
        ProduceAnswered, FetchServed, LatestServed, DuplicateAnswered, SequenceRefused,
        ProducerState,
        ProducersExpired, LogStart, BrokerRegistered, BrokerFenced, ClassicGroup, ConsumerGroup,
        Coordinator, Offsets,
    }
}
