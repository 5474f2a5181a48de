//! What every part of a group's client is handed with each call.

use crate::client::cluster::Cluster;
use crate::client::consumer::positions::Positions;
use crate::effect::Effects;
use crate::types::Now;

/// The time, the cluster, the positions, and the buffer that takes what the part asks for.
pub(in crate::client::consumer) struct Env<'a> {
    /// The time of this step.
    pub(in crate::client::consumer) now: Now,
    /// Connections and metadata.
    pub(in crate::client::consumer) cluster: &'a mut Cluster,
    /// The assignment.
    pub(in crate::client::consumer) positions: &'a mut Positions,
    /// What the step asks for.
    pub(in crate::client::consumer) effects: &'a mut Effects,
}
