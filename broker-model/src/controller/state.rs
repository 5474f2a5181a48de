//! The active controller's state: the image with what is not committed yet, and its soft state.

use super::config::ControllerConfig;
use super::decision::ApiError;
use super::heartbeats::BrokerHeartbeats;
use crate::metadata::image::ConfigResource;
use crate::metadata::{MetadataDelta, MetadataImage, MetadataRecord};
use crate::types::{BrokerEpoch, NodeId, Offset, ResponseError, StrBytes, Uuid};

/// What handlers decide on. Their code is in the modules of their subject, as further `impl`
/// blocks that take `&self`; only [`ControllerState::replay`] and the heartbeats change anything.
#[derive(Debug)]
pub(super) struct ControllerState {
    /// Settings.
    pub(super) config: ControllerConfig,
    /// The metadata with every record that was appended, committed or not.
    pub(super) image: MetadataImage,
    /// Whom the controller has heard from.
    pub(super) heartbeats: BrokerHeartbeats,
}

impl ControllerState {
    /// The state of a controller that becomes active.
    pub(super) fn activate(
        config: ControllerConfig,
        committed: &MetadataImage,
        now_ms: u64,
    ) -> Self {
        let session_timeout_ms = config.session_timeout_ms;
        ControllerState {
            config,
            image: committed.clone(),
            heartbeats: BrokerHeartbeats::activate(committed, session_timeout_ms, now_ms),
        }
    }

    /// Applies a record that was appended.
    pub(super) fn replay(&mut self, offset: Offset, record: &MetadataRecord) {
        self.image
            .replay(offset, record, &mut MetadataDelta::default());
        match record {
            MetadataRecord::RegisterBroker(record) => {
                self.heartbeats.remove(record.broker);
                self.heartbeats.register(record.broker, record.fenced);
            }
            MetadataRecord::UnregisterBroker(record) => self.heartbeats.remove(record.broker),
            MetadataRecord::BrokerRegistrationChange(record) => self.reregister(record.broker),
            MetadataRecord::FenceBroker(record) | MetadataRecord::UnfenceBroker(record) => {
                self.reregister(record.broker);
            }
            MetadataRecord::Topic(_)
            | MetadataRecord::Partition(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::PartitionChange(_)
            | MetadataRecord::RemoveTopic(_)
            | MetadataRecord::FeatureLevel(_)
            | MetadataRecord::ProducerIds(_)
            | MetadataRecord::NoOp => {}
        }
    }

    /// Whether that broker is registered with that epoch (`ClusterControlManager.checkBrokerEpoch`).
    pub(super) fn check_broker_epoch(
        &self,
        broker: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<(), ApiError> {
        let registered = self.image.broker(broker).map(|it| it.epoch);
        if registered == Some(epoch) {
            return Ok(());
        }
        Err(ApiError::new(
            ResponseError::StaleBrokerEpoch,
            format_args!("expected broker epoch {registered:?}, but got broker epoch {epoch}"),
        ))
    }

    /// The log directory for a new replica on that broker (`ClusterControlManager.defaultDir`).
    pub(super) fn default_dir(&self, broker: NodeId) -> Uuid {
        match self.image.broker(broker).map(|it| it.log_dirs.as_slice()) {
            Some([]) => MIGRATING,
            Some(&[only]) => only,
            Some(_) | None => UNASSIGNED,
        }
    }

    /// `unclean.leader.election.enable` as it holds for a topic: its own, that of this controller's
    /// node, the cluster's, that of the file (`ConfigurationControlManager.getTopicConfig`).
    pub(super) fn is_unclean_election_enabled(&self, topic: &StrBytes) -> bool {
        let of_topic = self.image.topic_config(topic, UNCLEAN_LEADER_ELECTION);
        let of = |resource: &ConfigResource| {
            let config = self.image.config(resource)?;
            config.get(UNCLEAN_LEADER_ELECTION.as_bytes())
        };
        let configured = of_topic
            .or_else(|| of(&ConfigResource::broker(self.config.node)))
            .or_else(|| of(&ConfigResource::every_broker()));
        configured.map_or(self.config.unclean_leader_election_enable, |value| {
            value.eq_ignore_ascii_case("true")
        })
    }

    fn reregister(&mut self, broker: NodeId) {
        if let Some(registered) = self.image.broker(broker) {
            self.heartbeats.register(broker, registered.fenced);
        }
    }
}

const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";
/// `DirectoryId.MIGRATING`: no directory was ever named.
const MIGRATING: Uuid = Uuid::from_u128(0);
/// `DirectoryId.UNASSIGNED`: the broker will choose.
const UNASSIGNED: Uuid = Uuid::from_u128(1);
