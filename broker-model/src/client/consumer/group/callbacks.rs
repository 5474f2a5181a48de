//! Calls of the application's rebalance listener: one at a time, and nothing of the application's
//! thread goes on before it returned (`ConsumerRebalanceListenerInvoker`).

use std::collections::BTreeSet;

use super::env::Env;
use crate::client::command::{CallbackId, Event, GroupMember, RebalanceCallback};
use crate::types::TopicPartition;

/// The call that is under way, if any.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    last: u64,
    outstanding: Option<CallbackId>,
}

impl Callbacks {
    /// Calls the listener.
    pub(super) fn call(
        &mut self,
        env: &mut Env<'_>,
        what: RebalanceCallback,
        partitions: &BTreeSet<TopicPartition>,
        member: GroupMember,
    ) {
        assert!(
            self.outstanding.is_none(),
            "the listener is called while it is called"
        );
        self.last += 1;
        let callback = CallbackId(self.last);
        self.outstanding = Some(callback);
        env.effects.event(Event::Rebalance {
            callback,
            what,
            partitions: partitions.iter().cloned().collect(),
            member,
        });
    }

    /// The listener returned.
    pub(super) fn on_done(&mut self, callback: CallbackId) {
        if self.outstanding == Some(callback) {
            self.outstanding = None;
        }
    }

    /// Whether the listener has not returned yet.
    pub(super) fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }
}
