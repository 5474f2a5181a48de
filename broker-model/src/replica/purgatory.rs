//! Requests that wait: produces for replication, fetches for data, deletions for the followers.
//!
//! Mirrors `DelayedOperationPurgatory`. An operation is watched at each of its partitions, so that
//! news of a partition reaches only those that wait for it. Whether one is complete is decided by
//! [`produce`](super::produce), [`fetch`](super::fetch) and [`delete_records`](super::delete_records).

use std::collections::{BTreeMap, BTreeSet};

use super::delete_records::DelayedDeleteRecords;
use super::fetch::DelayedFetch;
use super::produce::DelayedProduce;
use crate::context::Context;
use crate::timer::Timer;
use crate::types::{ConnectionId, TopicIdPartition};

/// Names a waiting request; in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct OperationId(u64);

/// A waiting request.
#[derive(Debug)]
pub(super) struct Parked {
    /// Where it came in: a connection has one request in processing.
    pub(super) conn: ConnectionId,
    /// What waits.
    pub(super) operation: Operation,
    deadline_ms: u64,
    watched: Vec<TopicIdPartition>,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Operation {
    /// The high watermark has to pass what was appended.
    Produce(DelayedProduce),
    /// There has to be enough to read.
    Fetch(DelayedFetch),
    /// The followers' logs have to start where the leader's does.
    DeleteRecords(DelayedDeleteRecords),
}

/// What happened to a partition, for those who wait for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum News {
    /// The log grew.
    LogEnd,
    /// A watermark moved, or leadership changed: all may be complete.
    Watermarks,
}

/// All waiting requests of a broker.
///
/// deadlines and by_connection hold exactly the ids of parked.
#[derive(Debug, Default)]
pub(super) struct Purgatory {
    parked: BTreeMap<OperationId, Parked>,
    by_connection: BTreeMap<ConnectionId, OperationId>,
    /// Fetches apart: they alone care for the log end.
    fetches: BTreeMap<TopicIdPartition, BTreeSet<OperationId>>,
    others: BTreeMap<TopicIdPartition, BTreeSet<OperationId>>,
    deadlines: BTreeSet<(u64, OperationId)>,
    /// When `Timer::Purgatory` fires, if it is armed.
    armed_ms: Option<u64>,
    last_id: u64,
}

impl Purgatory {
    /// Lets a request wait for news of its partitions, at most `wait_ms` from now.
    pub(super) fn park(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        wait_ms: u64,
        watched: Vec<TopicIdPartition>,
        operation: Operation,
    ) {
        self.last_id += 1;
        let id = OperationId(self.last_id);
        let watchers = match operation {
            Operation::Fetch(_) => &mut self.fetches,
            Operation::Produce(_) | Operation::DeleteRecords(_) => &mut self.others,
        };
        for partition in &watched {
            watchers.entry(*partition).or_default().insert(id);
        }
        let deadline_ms = cx.now.mono_ms + wait_ms;
        self.deadlines.insert((deadline_ms, id));
        let before = self.by_connection.insert(conn, id);
        assert_eq!(before, None, "{conn:?} has two requests in processing");
        let parked = Parked {
            conn,
            operation,
            deadline_ms,
            watched,
        };
        self.parked.insert(id, parked);
        self.arm(cx);
    }

    /// Who waits for that kind of news of the partition, in the order of arrival.
    pub(super) fn waiting(&self, partition: TopicIdPartition, news: News) -> Vec<OperationId> {
        let others = match news {
            News::LogEnd => None,
            News::Watermarks => self.others.get(&partition),
        };
        let fetches = self.fetches.get(&partition);
        others
            .into_iter()
            .chain(fetches)
            .flatten()
            .copied()
            .collect()
    }

    /// The waiting request, unless it was answered.
    pub(super) fn get_mut(&mut self, id: OperationId) -> Option<&mut Parked> {
        self.parked.get_mut(&id)
    }

    /// Ends the wait. The caller answers.
    pub(super) fn take(&mut self, id: OperationId) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        self.by_connection.remove(&parked.conn);
        self.deadlines.remove(&(parked.deadline_ms, id));
        let watchers = match parked.operation {
            Operation::Fetch(_) => &mut self.fetches,
            Operation::Produce(_) | Operation::DeleteRecords(_) => &mut self.others,
        };
        for partition in &parked.watched {
            if let Some(ids) = watchers.get_mut(partition) {
                ids.remove(&id);
                if ids.is_empty() {
                    watchers.remove(partition);
                }
            }
        }
        Some(parked)
    }

    /// Forgets what waited for a connection that is gone.
    pub(super) fn drop_connection(&mut self, conn: ConnectionId) {
        if let Some(&id) = self.by_connection.get(&conn) {
            self.take(id);
        }
    }

    /// `Timer::Purgatory`: whose time is over.
    pub(super) fn on_timer(&mut self, cx: &mut Context<'_>) -> Vec<OperationId> {
        self.armed_ms = None;
        let now_ms = cx.now.mono_ms;
        let due = self
            .deadlines
            .iter()
            .take_while(|(at_ms, _)| *at_ms <= now_ms);
        due.map(|(_, id)| *id).collect()
    }

    /// Keeps the timer at or before the first deadline. It is only moved forward: firing early, it
    /// finds nothing to do and is set again.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>) {
        let Some(&(deadline_ms, _)) = self.deadlines.first() else {
            return;
        };
        if self.armed_ms.is_some_and(|at_ms| at_ms <= deadline_ms) {
            return;
        }
        self.armed_ms = Some(deadline_ms);
        let wait_ms = deadline_ms.saturating_sub(cx.now.mono_ms);
        cx.effects.arm_at(Timer::Purgatory, wait_ms);
    }
}
