//! What a leader knows of its followers: the ISR, a change of it in flight, and how far each
//! follower has proven to be.
//!
//! Mirrors `CommittedPartitionState`, `PendingExpandIsr`, `PendingShrinkIsr` (KIP-497) and
//! `Replica`, `ReplicaState`. Decides nothing: [`Partition`](super::partition) does.

use crate::types::{BrokerEpoch, NodeId, Offset};

/// The ISR as the leader holds it.
///
/// `pending` builds on `confirmed`: whatever replaces `confirmed` drops it.
#[derive(Clone, Debug, Default)]
pub(super) struct Isr {
    confirmed: Vec<NodeId>,
    pending: Option<PendingIsr>,
}

/// A change of the ISR that the controller may have accepted, or still may.
#[derive(Clone, Debug)]
pub(super) struct PendingIsr {
    /// Names this proposal: an answer to another one is not for it.
    pub(super) proposal: u64,
    /// Whom it adds; `None` for a shrink. He counts from the moment of the proposal on, and those
    /// whom a shrink removes count until the controller has confirmed it.
    pub(super) added: Option<NodeId>,
}

impl Isr {
    /// An ISR that the controller has confirmed.
    pub(super) fn confirmed(isr: Vec<NodeId>) -> Self {
        Isr {
            confirmed: isr,
            pending: None,
        }
    }

    /// The confirmed members, in the controller's order.
    pub(super) fn members(&self) -> &[NodeId] {
        &self.confirmed
    }

    /// Whether the replica is a confirmed member.
    pub(super) fn contains(&self, replica: NodeId) -> bool {
        self.confirmed.contains(&replica)
    }

    /// Whether the replica is a member or is being made one.
    pub(super) fn maximal_contains(&self, replica: NodeId) -> bool {
        self.contains(replica) || self.added() == Some(replica)
    }

    /// Members and whoever is being made one.
    pub(super) fn maximal(&self) -> Vec<NodeId> {
        let mut maximal = self.confirmed.clone();
        maximal.extend(self.added());
        maximal
    }

    /// How many replicas [`Isr::maximal`] has.
    pub(super) fn maximal_len(&self) -> usize {
        self.confirmed.len() + usize::from(self.added().is_some())
    }

    /// The change in flight.
    pub(super) fn pending(&self) -> Option<&PendingIsr> {
        self.pending.as_ref()
    }

    /// Puts a change in flight.
    pub(super) fn propose(&mut self, pending: PendingIsr) {
        assert!(
            self.pending.is_none(),
            "two changes of one ISR at a time: {self:?}"
        );
        self.pending = Some(pending);
    }

    /// The change in flight certainly did not happen.
    pub(super) fn withdraw(&mut self) {
        self.pending = None;
    }

    /// The change in flight, if it is that proposal.
    pub(super) fn pending_if(&self, proposal: u64) -> Option<&PendingIsr> {
        self.pending.as_ref().filter(|it| it.proposal == proposal)
    }

    fn added(&self) -> Option<NodeId> {
        self.pending.as_ref().and_then(|pending| pending.added)
    }
}

/// A follower as its leader sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RemoteReplica {
    /// Where its log starts; unknown until it has fetched.
    pub(super) log_start: Offset,
    /// Up to where it has proven to have the leader's log; unknown until it has fetched.
    pub(super) log_end: Offset,
    /// The registration with which it last fetched.
    pub(super) broker_epoch: Option<BrokerEpoch>,
    /// The leader's log end at its last fetch.
    leader_log_end: Offset,
    /// When it last fetched, on the monotonic clock.
    last_fetch_ms: Option<u64>,
    /// When it last had all that the leader had, on the monotonic clock.
    last_caught_up_ms: Option<u64>,
}

/// A follower's fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowerFetch {
    /// From where it fetches: its log end.
    pub(super) log_end: Offset,
    /// Where its log starts.
    pub(super) log_start: Offset,
    /// Its registration, or unknown.
    pub(super) broker_epoch: BrokerEpoch,
    /// The leader's log end.
    pub(super) leader_log_end: Offset,
    /// The monotonic clock.
    pub(super) now_ms: u64,
}

impl RemoteReplica {
    /// A follower that never fetched (`ReplicaState.EMPTY`).
    pub(super) fn new() -> Self {
        RemoteReplica {
            log_start: Offset::UNKNOWN,
            log_end: Offset::UNKNOWN,
            broker_epoch: None,
            leader_log_end: Offset::ZERO,
            last_fetch_ms: None,
            last_caught_up_ms: None,
        }
    }

    /// A follower in a leader epoch in which it has not fetched (`Replica.resetReplicaState`). A
    /// member of the ISR gets the benefit of the doubt for one `replica.lag.time.max.ms`.
    ///
    /// Kafka keeps what was proven in an older epoch if the leader stayed the same as far as it
    /// knows. But a leader may have jumped over the epoch of another one, who has had the follower
    /// cut its log since.
    pub(super) fn unproven(now_ms: u64, in_isr: bool) -> Self {
        RemoteReplica {
            leader_log_end: Offset::UNKNOWN,
            last_caught_up_ms: in_isr.then_some(now_ms),
            ..RemoteReplica::new()
        }
    }

    /// Takes a fetch in (`Replica.updateFetchStateOrThrow`). A follower that now reaches what the
    /// leader had at its fetch before was caught up at that moment.
    pub(super) fn fetched(&mut self, fetch: FollowerFetch) {
        if fetch.leader_log_end <= fetch.log_end {
            self.last_caught_up_ms = self.last_caught_up_ms.max(Some(fetch.now_ms));
        } else if self.leader_log_end <= fetch.log_end {
            self.last_caught_up_ms = self.last_caught_up_ms.max(self.last_fetch_ms);
        }
        self.log_start = fetch.log_start;
        self.log_end = fetch.log_end;
        self.leader_log_end = self.leader_log_end.max(fetch.leader_log_end);
        self.last_fetch_ms = Some(fetch.now_ms);
        self.broker_epoch = Some(fetch.broker_epoch);
    }

    /// Whether it has everything, or had it less than `lag_max_ms` ago.
    pub(super) fn is_caught_up(
        &self,
        leader_log_end: Offset,
        now_ms: u64,
        lag_max_ms: u64,
    ) -> bool {
        leader_log_end == self.log_end
            || self
                .last_caught_up_ms
                .is_some_and(|at_ms| now_ms.saturating_sub(at_ms) <= lag_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn fetch(log_end: i64, leader_log_end: i64, now_ms: u64) -> FollowerFetch {
        FollowerFetch {
            log_end: Offset(log_end),
            log_start: Offset(0),
            broker_epoch: BrokerEpoch(7),
            leader_log_end: Offset(leader_log_end),
            now_ms,
        }
    }

    #[test]
    fn a_joining_replica_counts_at_once_and_a_leaving_one_until_it_is_confirmed() {
        let mut isr = Isr::confirmed(vec![NodeId(1), B]);
        isr.propose(PendingIsr {
            proposal: 1,
            added: Some(C),
        });
        assert!(isr.maximal_contains(C) && !isr.contains(C));
        assert_eq!(isr.maximal_len(), 3);

        isr.withdraw();
        isr.propose(PendingIsr {
            proposal: 2,
            added: None,
        });
        assert!(isr.maximal_contains(B));
        assert!(isr.pending_if(1).is_none() && isr.pending_if(2).is_some());
    }

    #[test]
    fn a_follower_is_caught_up_as_of_the_fetch_whose_end_it_reaches() {
        let mut replica = RemoteReplica::unproven(1_000, false);
        replica.fetched(fetch(5, 10, 2_000));
        assert!(!replica.is_caught_up(Offset(10), 2_000, 500));

        // It reaches 10, which is all there was at 2000; meanwhile the leader has 20.
        replica.fetched(fetch(10, 20, 3_000));
        assert!(replica.is_caught_up(Offset(20), 2_500, 500));
        assert!(!replica.is_caught_up(Offset(20), 2_501, 500));
    }

    #[test]
    fn a_member_of_the_isr_has_time_to_fetch_in_the_new_epoch() {
        let replica = RemoteReplica::unproven(1_000, true);
        assert_eq!(replica.log_end, Offset::UNKNOWN);
        assert!(replica.is_caught_up(Offset(10), 1_500, 500));
        assert!(!replica.is_caught_up(Offset(10), 1_501, 500));
    }
}
