//! What every part of a process is handed with each call.

use crate::bug::Bug;
use crate::client::network::Network;
use crate::effect::{DiskRead, Effects};
use crate::ids::IdSource;
use crate::types::Now;

/// The world as one step sees it: the time, the disk, the network, the ids, and the buffer that
/// takes what the part asks for.
pub struct Context<'a> {
    /// The time of this step.
    pub now: Now,
    /// The disk as it was before this step. Clients have an empty one.
    pub disk: &'a dyn DiskRead,
    /// The process's outbound connections.
    pub network: &'a mut Network,
    /// The process's ids.
    pub ids: &'a mut IdSource,
    /// What the step asks for.
    pub effects: &'a mut Effects,
    /// The historic bug that this run has switched on, if any.
    pub bug: Option<Bug>,
}

impl Context<'_> {
    /// Whether that bug is switched on.
    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
