//! Brokers that live: heartbeats, fencing, controlled shutdown.
//!
//! Mirrors `BrokerHeartbeatManager.calculateNextBrokerState` and the broker half of
//! `ReplicationControlManager`.

use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use super::decision::{ApiError, Decision};
use super::state::ControllerState;
use crate::metadata::record::{BrokerRegistrationChangeRecord, MetadataRecord};
use crate::probe::Probe;
use crate::types::{BrokerEpoch, NodeId, Offset};

/// What a heartbeat leads to (`BrokerControlState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BrokerControlState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

/// The part of a heartbeat's outcome that concerns soft state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HeartbeatOutcome {
    pub(super) fenced: bool,
    pub(super) in_controlled_shutdown: bool,
}

impl ControllerState {
    /// A broker says that it lives, and what it wants.
    pub(super) fn process_broker_heartbeat(
        &self,
        request: &BrokerHeartbeatRequest,
    ) -> Result<Decision<(BrokerHeartbeatResponse, HeartbeatOutcome)>, ApiError> {
        let broker = NodeId(request.broker_id.0);
        let epoch = BrokerEpoch(request.broker_epoch);
        self.check_broker_epoch(broker, epoch)?;
        let registered_at = self.image.broker(broker).map(|it| it.registered_at);
        let caught_up = registered_at <= Some(Offset(request.current_metadata_offset));
        let (current, next) = self.next_broker_state(broker, request, caught_up);
        let records = match next {
            _ if next == current => Vec::new(),
            BrokerControlState::Fenced | BrokerControlState::ShutdownNow => {
                self.fence_records(broker, epoch)
            }
            BrokerControlState::Unfenced => self.unfence_records(broker, epoch),
            BrokerControlState::ControlledShutdown => {
                self.controlled_shutdown_records(broker, epoch)
            }
        };
        let fenced = matches!(
            next,
            BrokerControlState::Fenced | BrokerControlState::ShutdownNow
        );
        let response = BrokerHeartbeatResponse::default()
            .with_is_caught_up(caught_up)
            .with_is_fenced(fenced)
            .with_should_shut_down(next == BrokerControlState::ShutdownNow);
        let outcome = HeartbeatOutcome {
            fenced,
            in_controlled_shutdown: next == BrokerControlState::ControlledShutdown,
        };
        let mut decision = Decision::new(records, (response, outcome));
        if current == BrokerControlState::ControlledShutdown
            && next == BrokerControlState::ShutdownNow
        {
            decision.probes.push(Probe::ControlledShutdown);
        }
        Ok(decision)
    }

    /// `BrokerHeartbeatManager.calculateNextBrokerState`: the state now, and the state after.
    fn next_broker_state(
        &self,
        broker: NodeId,
        request: &BrokerHeartbeatRequest,
        caught_up: bool,
    ) -> (BrokerControlState, BrokerControlState) {
        use BrokerControlState::{ControlledShutdown, Fenced, ShutdownNow, Unfenced};
        let heartbeat = self
            .heartbeats
            .brokers()
            .get(&broker)
            .expect("every registered broker has an entry since replay or activation");
        if let Some(moved_at) = heartbeat.controlled_shutdown {
            let done =
                !self.has_leaderships(broker) && moved_at <= self.heartbeats.lowest_active_offset();
            let next = if done {
                ShutdownNow
            } else {
                ControlledShutdown
            };
            return (ControlledShutdown, next);
        }
        if heartbeat.fenced {
            let next = match (request.want_shut_down, request.want_fence) {
                (true, _) => ShutdownNow,
                (false, false) if caught_up => Unfenced,
                (false, _) => Fenced,
            };
            return (Fenced, next);
        }
        let next = match (request.want_fence, request.want_shut_down) {
            (true, true) => ShutdownNow,
            (true, false) => Fenced,
            (false, true) if self.has_leaderships(broker) => ControlledShutdown,
            (false, true) => ShutdownNow,
            (false, false) => Unfenced,
        };
        (Unfenced, next)
    }

    /// A session is over: fences the broker, if that registration is still the current one.
    pub(super) fn fence_stale_broker(
        &self,
        (broker, epoch): (NodeId, BrokerEpoch),
    ) -> Decision<()> {
        let registered = self.image.broker(broker);
        if registered.is_none_or(|it| it.epoch != epoch) {
            return Decision::new(Vec::new(), ());
        }
        let mut decision = Decision::new(self.fence_records(broker, epoch), ());
        if registered.is_some_and(|it| !it.fenced) {
            decision.probes.push(Probe::BrokerFenced);
        }
        decision
    }

    fn fence_records(&self, broker: NodeId, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        let mut records = self.leader_and_isr_updates(Some(broker), None);
        let mut change = BrokerRegistrationChangeRecord::new(broker, epoch);
        change.fenced = Some(true);
        records.push(MetadataRecord::BrokerRegistrationChange(change));
        records
    }

    fn unfence_records(&self, broker: NodeId, epoch: BrokerEpoch) -> Vec<MetadataRecord> {
        let mut change = BrokerRegistrationChangeRecord::new(broker, epoch);
        change.fenced = Some(false);
        let mut records = vec![MetadataRecord::BrokerRegistrationChange(change)];
        records.extend(self.leader_and_isr_updates(None, Some(broker)));
        records
    }

    fn controlled_shutdown_records(
        &self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        let registered = self.image.broker(broker);
        if registered.is_some_and(|it| !it.in_controlled_shutdown) {
            let mut change = BrokerRegistrationChangeRecord::new(broker, epoch);
            change.in_controlled_shutdown = true;
            records.push(MetadataRecord::BrokerRegistrationChange(change));
        }
        records.extend(self.leader_and_isr_updates(Some(broker), None));
        records
    }

    fn has_leaderships(&self, broker: NodeId) -> bool {
        let mut partitions = self.image.partitions();
        partitions.any(|(_, it)| it.state.leader == broker)
    }
}
