//! Stories of groups of the consumer protocol.

mod fencing;
mod fuzz;
mod membership;
mod metadata;
mod migration;
mod mixed;
mod reconciliation;
mod rig;
