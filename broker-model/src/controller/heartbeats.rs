//! Which brokers the active controller has heard from lately. Soft state: it is not in the log, and
//! a controller that becomes active starts anew.
//!
//! Mirrors `BrokerHeartbeatManager` and `BrokerHeartbeatTracker`.

use std::collections::BTreeMap;

use crate::metadata::MetadataImage;
use crate::types::{BrokerEpoch, NodeId, Offset};

/// Contact times and what each broker said last.
#[derive(Clone, Debug)]
pub(super) struct BrokerHeartbeats {
    session_timeout_ms: u64,
    /// When each (broker, epoch) was heard from, in milliseconds of the monotonic clock.
    contacts: BTreeMap<(NodeId, BrokerEpoch), u64>,
    brokers: BTreeMap<NodeId, BrokerHeartbeat>,
}

/// What the controller knows of a registered broker by its heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BrokerHeartbeat {
    /// Fenced brokers cannot shut down in a controlled way.
    pub(super) fenced: bool,
    /// How far the broker has read the metadata log; -1 unknown.
    pub(super) metadata_offset: Offset,
    /// The offset of the last leadership that was moved away from it, once it shuts down.
    pub(super) controlled_shutdown: Option<Offset>,
}

impl BrokerHeartbeats {
    /// A controller that becomes active gives every unfenced broker a fresh session.
    pub(super) fn activate(image: &MetadataImage, session_timeout_ms: u64, now_ms: u64) -> Self {
        let mut heartbeats = BrokerHeartbeats {
            session_timeout_ms,
            contacts: BTreeMap::new(),
            brokers: BTreeMap::new(),
        };
        for broker in image.brokers().values() {
            heartbeats.register(broker.id, broker.fenced);
            if !broker.fenced {
                heartbeats.track((broker.id, broker.epoch), now_ms);
            }
        }
        heartbeats
    }

    /// Every broker that is registered.
    pub(super) fn brokers(&self) -> &BTreeMap<NodeId, BrokerHeartbeat> {
        &self.brokers
    }

    /// A heartbeat came in, whatever it says.
    pub(super) fn track(&mut self, broker: (NodeId, BrokerEpoch), now_ms: u64) {
        self.contacts.insert(broker, now_ms);
    }

    /// Whether that registration was heard from within `broker.session.timeout.ms`.
    pub(super) fn has_valid_session(&self, broker: (NodeId, BrokerEpoch), now_ms: u64) -> bool {
        let contact = self.contacts.get(&broker);
        contact.is_some_and(|&at_ms| !self.is_expired(at_ms, now_ms))
    }

    /// Takes out one session that is over.
    pub(super) fn take_expired(&mut self, now_ms: u64) -> Option<(NodeId, BrokerEpoch)> {
        let mut contacts = self.contacts.iter();
        let expired = contacts.find(|&(_, &at_ms)| self.is_expired(at_ms, now_ms));
        let broker = expired.map(|(&broker, _)| broker)?;
        self.contacts.remove(&broker);
        Some(broker)
    }

    /// A registration record, or a change of one, was replayed.
    pub(super) fn register(&mut self, broker: NodeId, fenced: bool) {
        // What the broker said of its offset stays only across a change of the fence.
        let known = self.brokers.get(&broker).filter(|it| it.fenced != fenced);
        let metadata_offset = known.map_or(Offset::UNKNOWN, |it| it.metadata_offset);
        self.touch(broker, fenced, metadata_offset);
    }

    /// The broker is not registered any more, or not in this incarnation.
    pub(super) fn remove(&mut self, broker: NodeId) {
        self.brokers.remove(&broker);
    }

    /// What a heartbeat said, or a record.
    pub(super) fn touch(&mut self, broker: NodeId, fenced: bool, metadata_offset: Offset) {
        let before = self.brokers.get(&broker);
        let controlled_shutdown = before.and_then(|it| it.controlled_shutdown);
        let heartbeat = BrokerHeartbeat {
            fenced,
            metadata_offset,
            controlled_shutdown: controlled_shutdown.filter(|_| !fenced),
        };
        self.brokers.insert(broker, heartbeat);
    }

    /// The broker is in controlled shutdown, and `last` is the end of the log: once every other
    /// broker has read that far, it may go.
    pub(super) fn start_controlled_shutdown(&mut self, broker: NodeId, last: Offset) {
        if let Some(heartbeat) = self.brokers.get_mut(&broker) {
            heartbeat.controlled_shutdown.get_or_insert(last);
        }
    }

    /// How far the slowest broker has read that is neither fenced nor shutting down.
    pub(super) fn lowest_active_offset(&self) -> Offset {
        let active = self.brokers.values().filter(|it| it.is_active());
        active
            .map(|it| it.metadata_offset)
            .min()
            .unwrap_or(Offset(i64::MAX))
    }

    fn is_expired(&self, at_ms: u64, now_ms: u64) -> bool {
        at_ms + self.session_timeout_ms < now_ms
    }
}

impl BrokerHeartbeat {
    /// Whether it was let into controlled shutdown by this controller.
    pub(super) fn is_shutting_down(&self) -> bool {
        self.controlled_shutdown.is_some()
    }

    fn is_active(&self) -> bool {
        !self.fenced && !self.is_shutting_down()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeats() -> BrokerHeartbeats {
        BrokerHeartbeats::activate(&MetadataImage::empty(), 9_000, 0)
    }

    #[test]
    fn a_session_ends_after_its_timeout_and_is_taken_out_once() {
        let mut heartbeats = heartbeats();
        let n1 = (NodeId(1), BrokerEpoch(5));
        heartbeats.track(n1, 1_000);
        assert!(heartbeats.has_valid_session(n1, 10_000));
        assert!(!heartbeats.has_valid_session((NodeId(1), BrokerEpoch(6)), 1_000));
        assert_eq!(heartbeats.take_expired(10_000), None);
        assert_eq!(heartbeats.take_expired(10_001), Some(n1));
        assert_eq!(heartbeats.take_expired(10_001), None);
    }

    #[test]
    fn a_broker_that_shuts_down_does_not_hold_others_back() {
        let mut heartbeats = heartbeats();
        for (broker, offset) in [(1, 10), (2, 20)] {
            heartbeats.touch(NodeId(broker), false, Offset(offset));
        }
        assert_eq!(heartbeats.lowest_active_offset(), Offset(10));
        heartbeats.start_controlled_shutdown(NodeId(1), Offset(15));
        heartbeats.start_controlled_shutdown(NodeId(1), Offset(18));
        assert_eq!(heartbeats.lowest_active_offset(), Offset(20));
        let n1 = heartbeats.brokers()[&NodeId(1)];
        assert_eq!(n1.controlled_shutdown, Some(Offset(15)));
    }
}
