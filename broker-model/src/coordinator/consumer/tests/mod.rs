//! Stories of groups of the consumer protocol.

mod fencing;
mod membership;
mod metadata;
mod reconciliation;
mod rig;
