//! The processes and what was done to them.

use std::collections::BTreeMap;

use broker_model::types::{BrokerEpoch, NodeId};

use crate::observe::Stop;

/// A Kafka process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) up: bool,
    pub(crate) incarnation: u32,
    /// How its last incarnation ended.
    pub(crate) last_stop: Option<Stop>,
    /// When it last started or stopped, in microseconds.
    pub(crate) since_us: u64,
    /// Whether this incarnation's broker was unfenced once: until then it answers nobody.
    pub(crate) serving: bool,
    /// The broker epoch that was committed when it last lost power.
    pub(crate) epoch_at_power_loss: Option<BrokerEpoch>,
}

/// A fault that has begun and not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActiveFault {
    pub(crate) kind: &'static str,
}

/// All processes and faults.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pub(crate) all: BTreeMap<NodeId, Process>,
    pub(crate) faults: BTreeMap<u32, ActiveFault>,
}

impl Processes {
    /// The process.
    pub(crate) fn get(&self, node: NodeId) -> Process {
        self.all.get(&node).copied().unwrap_or_default()
    }

    /// Whether this incarnation's broker answers anybody.
    pub(crate) fn serves(&self, node: NodeId) -> bool {
        self.get(node).serving
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.get(node).up
    }
}
