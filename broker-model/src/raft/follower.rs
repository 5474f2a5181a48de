//! A replica that fetches from a leader. Observers too.
//!
//! A voter that fetched nothing for `controller.quorum.fetch.timeout.ms` becomes prospective. The
//! timer is set lazily: it fires at the deadline that held when it was set, and is set again for the
//! rest. Mirrors Kafka's `FollowerState`.

use super::voters::ReplicaKey;
use crate::types::NodeId;

/// The state of a follower.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// Whom it fetches from.
    pub(super) leader: NodeId,
    /// The vote in the epoch.
    pub(super) voted: Option<ReplicaKey>,
    /// Whether a fetch from this leader succeeded: then it refuses pre-votes (KIP-996).
    pub(super) has_fetched: bool,
    /// When it gives the leader up, on the monotonic clock.
    pub(super) fetch_deadline_ms: u64,
}

impl Follower {
    /// A follower that has not heard from its leader yet.
    pub(super) fn new(
        leader: NodeId,
        voted: Option<ReplicaKey>,
        fetch_deadline_ms: u64,
    ) -> Follower {
        Follower {
            leader,
            voted,
            has_fetched: false,
            fetch_deadline_ms,
        }
    }

    /// A fetch succeeded.
    pub(super) fn fetched(&mut self, fetch_deadline_ms: u64) {
        self.has_fetched = true;
        self.fetch_deadline_ms = fetch_deadline_ms;
    }

    /// Only pre-votes, and only while it has no proof that its leader works (KAFKA-17641).
    pub(super) fn grants(&self, log_is_up_to_date: bool, pre_vote: bool) -> bool {
        pre_vote && !self.has_fetched && log_is_up_to_date
    }
}
