//! The words of consumer groups in commands and events.

use super::OpId;
use crate::types::{LeaderEpoch, Offset, StrBytes};

/// What a member of a group wants to consume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subscription {
    /// These topics.
    Topics(Vec<StrBytes>),
    /// The topics whose whole name matches this RE2 expression, as the coordinator finds them
    /// (`SubscriptionPattern`; consumer protocol only).
    Pattern(StrBytes),
}

/// Names one call of the application's rebalance listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallbackId(pub u64);

/// A method of `ConsumerRebalanceListener`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RebalanceCallback {
    /// `onPartitionsAssigned`: what is new.
    Assigned,
    /// `onPartitionsRevoked`: what will be given up, and is still owned.
    Revoked,
    /// `onPartitionsLost`: what somebody else may own already.
    Lost,
}

/// As whom a consumer deals with its group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupMember {
    /// Empty for none.
    pub member_id: StrBytes,
    /// The generation (classic) or the member epoch (consumer protocol), -1 for none.
    pub generation: i32,
}

impl GroupMember {
    /// Nobody: a consumer that is in no group.
    pub const NONE: GroupMember = GroupMember {
        member_id: StrBytes::from_static_str(""),
        generation: -1,
    };
}

/// What is committed for a partition (`OffsetAndMetadata`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OffsetAndMetadata {
    /// The next offset to consume.
    pub offset: Offset,
    /// The leader epoch of the record before it, -1 if unknown.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the application likes.
    pub metadata: StrBytes,
}

/// Which commit an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CommitName {
    /// That of a call.
    Call(OpId),
    /// The consumer's `n`-th by itself (`enable.auto.commit`).
    Auto(u64),
}
