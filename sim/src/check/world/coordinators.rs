//! Whether somebody who coordinates groups may be behind: then what is read of committed offsets may be
//! stale, because Kafka's coordinators have no leases (invariants.md §8, trap 4).

use std::collections::BTreeMap;

use broker_model::note::CoordinatorChange;
use broker_model::types::{NodeId, Offset};

/// Who coordinates which partition of `__consumer_offsets`, as far as the brokers themselves believe.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    /// For each partition its coordinators, and the log end that each has to see committed.
    active: BTreeMap<i32, BTreeMap<NodeId, Option<Offset>>>,
    /// How many partitions have a coordinator that may be behind.
    behind: usize,
    /// When there was any: `[from, to)`; the last one may go on.
    spans: Vec<(u64, u64)>,
}

impl Coordinators {
    /// Whether what was asked at one fact and told at the other may be stale.
    pub(crate) fn were_behind(&self, asked_n: u64, told_n: u64) -> bool {
        let first = self.spans.partition_point(|&(_, to)| to <= asked_n);
        self.spans
            .get(first)
            .is_some_and(|&(from, _)| from <= told_n)
    }

    pub(super) fn changed(
        &mut self,
        n: u64,
        node: NodeId,
        partition: i32,
        change: &CoordinatorChange,
    ) {
        if matches!(
            change,
            CoordinatorChange::Serving
                | CoordinatorChange::Written { .. }
                | CoordinatorChange::Dropped
                | CoordinatorChange::Timer { .. }
        ) {
            return;
        }
        self.update(n, partition, |active| match change {
            CoordinatorChange::Loaded {
                log_end,
                high_watermark,
            } => {
                // A new leader's high watermark may be less than what was committed.
                let behind = high_watermark < log_end;
                active.insert(node, behind.then_some(*log_end));
            }
            CoordinatorChange::Committed { up_to } => {
                if let Some(wanted) = active.get_mut(&node)
                    && wanted.is_some_and(|wanted| wanted <= *up_to)
                {
                    *wanted = None;
                }
            }
            _ => {
                active.remove(&node);
            }
        });
    }

    /// A process ended.
    pub(super) fn stopped(&mut self, n: u64, node: NodeId) {
        let led: Vec<i32> = self.active.keys().copied().collect();
        for partition in led {
            self.update(n, partition, |active| {
                active.remove(&node);
            });
        }
    }

    fn update(
        &mut self,
        n: u64,
        partition: i32,
        change: impl FnOnce(&mut BTreeMap<NodeId, Option<Offset>>),
    ) {
        let active = self.active.entry(partition).or_default();
        let before = may_be_behind(active);
        change(active);
        let after = may_be_behind(active);
        match (before, after) {
            (false, true) => {
                if self.behind == 0 {
                    self.spans.push((n, u64::MAX));
                }
                self.behind += 1;
            }
            (true, false) => {
                self.behind -= 1;
                if self.behind == 0
                    && let Some((_, to)) = self.spans.last_mut()
                {
                    *to = n;
                }
            }
            _ => {}
        }
    }
}

fn may_be_behind(active: &BTreeMap<NodeId, Option<Offset>>) -> bool {
    1 < active.len() || active.values().any(Option::is_some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(log_end: i64, high_watermark: i64) -> CoordinatorChange {
        CoordinatorChange::Loaded {
            log_end: Offset(log_end),
            high_watermark: Offset(high_watermark),
        }
    }

    #[test]
    fn two_coordinators_at_once_may_disagree() {
        let mut coordinators = Coordinators::default();
        coordinators.changed(10, NodeId(1), 0, &loaded(5, 5));
        coordinators.changed(20, NodeId(2), 0, &loaded(7, 7));
        coordinators.changed(30, NodeId(1), 0, &CoordinatorChange::Unloaded);
        assert!(!coordinators.were_behind(11, 19));
        assert!(coordinators.were_behind(11, 20));
        assert!(coordinators.were_behind(29, 40));
        assert!(!coordinators.were_behind(30, 40));
    }

    #[test]
    fn a_new_coordinator_may_not_know_yet_what_is_committed() {
        let mut coordinators = Coordinators::default();
        coordinators.changed(10, NodeId(1), 0, &loaded(7, 5));
        let up_to = Offset(7);
        coordinators.changed(15, NodeId(1), 0, &CoordinatorChange::Committed { up_to });
        assert!(coordinators.were_behind(11, 12));
        assert!(!coordinators.were_behind(16, 17));
        coordinators.changed(20, NodeId(1), 0, &loaded(9, 5));
        coordinators.stopped(25, NodeId(1));
        assert!(coordinators.were_behind(20, 21));
        assert!(!coordinators.were_behind(25, 26));
    }
}
