//! What just happened to a group of the classic protocol.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::types::StrBytes;

/// The state of a classic group (`ClassicGroupState`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClassicGroupState {
    /// No members; there may be offsets.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// The generation is there; the leader has to say who gets what.
    CompletingRebalance,
    /// Everybody can know its part.
    Stable,
    /// Deleted or unloaded.
    Dead,
}

impl ClassicGroupState {
    /// As DescribeGroups and ListGroups say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ClassicGroupState::Empty => "Empty",
            ClassicGroupState::PreparingRebalance => "PreparingRebalance",
            ClassicGroupState::CompletingRebalance => "CompletingRebalance",
            ClassicGroupState::Stable => "Stable",
            ClassicGroupState::Dead => "Dead",
        }
    }
}

/// A change of a classic group.
#[derive(Clone, PartialEq, Debug)]
pub enum ClassicGroupChange {
    /// The group's last record was read by a new coordinator.
    Loaded {
        /// Its state.
        state: ClassicGroupState,
        /// Its generation.
        generation: i32,
        /// Its members and their `group.instance.id`.
        members: Vec<(StrBytes, Option<StrBytes>)>,
        /// What they read, if they are consumers and could be understood.
        topics: Option<BTreeSet<StrBytes>>,
    },
    /// It went from state to state.
    State {
        /// The old one.
        from: ClassicGroupState,
        /// The new one.
        to: ClassicGroupState,
        /// The generation, the new one if there is a new one.
        generation: i32,
    },
    /// A join phase ended.
    Generation {
        /// The new generation.
        generation: i32,
        /// The assignor that all can do.
        protocol: Option<StrBytes>,
        /// Who assigns.
        leader: Option<StrBytes>,
        /// Its members and their `group.instance.id`.
        members: Vec<(StrBytes, Option<StrBytes>)>,
        /// What they read, if they are consumers and could be understood.
        topics: Option<BTreeSet<StrBytes>>,
    },
    /// What the next coordinator shall know of it is to be written.
    Stored {
        /// The generation.
        generation: i32,
        /// Its members, their `group.instance.id` and their parts.
        members: Vec<(StrBytes, Option<StrBytes>, Bytes)>,
    },
    /// The leader's assignment is committed, and whoever synced hears of it.
    Assigned {
        /// Of this generation.
        generation: i32,
        /// By member.
        assignment: Vec<(StrBytes, Bytes)>,
    },
    /// A member was told its id and has to join with it (KIP-394).
    Pending {
        /// Which.
        member: StrBytes,
    },
    /// A member is in.
    Joined {
        /// Which.
        member: StrBytes,
        /// Its `group.instance.id`.
        instance: Option<StrBytes>,
    },
    /// A member, pending or not, is out.
    Removed {
        /// Which.
        member: StrBytes,
        /// Why.
        why: MemberRemoved,
    },
    /// A static member has another id now (KIP-345).
    Replaced {
        /// Its `group.instance.id`.
        instance: StrBytes,
        /// The id that is fenced.
        previous: StrBytes,
        /// The id that counts.
        member: StrBytes,
    },
    /// The group is to be deleted: it is empty, and is too old or unwanted.
    Deleted,
}

/// Why a member is no longer in its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberRemoved {
    /// It left, or an operator removed it.
    Left,
    /// It was silent for its session timeout.
    SessionExpired,
    /// It did not join again in time.
    JoinExpired,
    /// It joined and did not sync in time.
    SyncExpired,
    /// It did not give up in time what it had to (KIP-848).
    RevocationExpired,
    /// The group is full.
    GroupFull,
}
