//! As whom a consumer asks its coordinator.

use crate::client::command::GroupMember;
use crate::types::StrBytes;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    /// The member and its generation.
    pub(super) member: GroupMember,
    /// `group.instance.id`.
    pub(super) instance: Option<StrBytes>,
}

/// Whether the consumer may commit, and as whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Yes.
    As(Identity),
    /// Not while it takes part in a rebalance.
    Rebalancing,
    /// Not any more.
    NotMember,
}
