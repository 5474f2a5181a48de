//! The groups of the consumer protocol (KIP-848): ConsumerGroupHeartbeat.
//!
//! Mirrors `ConsumerGroup` and the consumer half of `GroupMetadataManager`. A member tells what it
//! reads and what it owns; the coordinator computes a [target](target) for the group's epoch and
//! brings each member [closer to it](reconcile), never giving a partition to one before the other has
//! given it up.

mod assignor;
mod classic_members;
mod describe;
mod embedded;
mod expressions;
mod group;
mod heartbeat;
mod leave;
mod member;
mod migration;
mod notes;
mod reconcile;
mod regex;
mod subscription;
mod target;
mod timers;

#[cfg(test)]
mod tests;

pub(crate) use assignor::shares_of_coordinator;
pub(crate) use group::ConsumerGroup;
pub(crate) use heartbeat::validate_heartbeat;
pub(crate) use migration::check_upgrade;
