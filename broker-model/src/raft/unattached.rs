//! A replica that knows no leader of its epoch to fetch from.
//!
//! Where every voter starts, and where a higher epoch puts it; it may hold a vote. A voter waits for
//! its election timeout, an observer for ever; both ask the voters in turn for the leader. Mirrors
//! Kafka's `UnattachedState`.

use super::voters::ReplicaKey;
use crate::types::NodeId;

/// The state of an unattached replica.
#[derive(Clone, Debug)]
pub(super) struct Unattached {
    /// The leader of the epoch, where it is known but was lost from sight.
    pub(super) leader: Option<NodeId>,
    /// The vote in the epoch.
    pub(super) voted: Option<ReplicaKey>,
}

/// Whether an unattached or prospective voter grants a vote (`QuorumState`).
///
/// A pre-vote asks only whether the log is good enough. A vote is given once, never beside a leader.
pub(super) fn grants(
    leader: Option<NodeId>,
    voted: Option<ReplicaKey>,
    candidate: ReplicaKey,
    log_is_up_to_date: bool,
    pre_vote: bool,
) -> bool {
    if pre_vote {
        return log_is_up_to_date;
    }
    match voted {
        Some(voted) => voted.matches(candidate),
        None => leader.is_none() && log_is_up_to_date,
    }
}
