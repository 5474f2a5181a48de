//! Brokers that come and go: registration, and taking a broker out.
//!
//! Mirrors `ClusterControlManager.registerBroker`.

use kafka_protocol::messages::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, UnregisterBrokerResponse,
};

use super::decision::{ApiError, Decision};
use super::state::ControllerState;
use crate::metadata::image::BrokerRegistration;
use crate::metadata::record::{
    BrokerEndpoint, BrokerFeature, MetadataRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};
use crate::probe::Probe;
use crate::types::{BrokerEpoch, NodeId, ResponseError, StrBytes, Uuid};

/// `MetadataVersion.FEATURE_NAME`.
pub(super) const METADATA_VERSION: &str = "metadata.version";

impl ControllerState {
    /// A broker registers. `epoch` is the next offset of the log: what a new incarnation gets as
    /// its broker epoch (KIP-631).
    pub(super) fn register_broker(
        &self,
        request: &BrokerRegistrationRequest,
        epoch: BrokerEpoch,
        now_ms: u64,
    ) -> Result<Decision<BrokerRegistrationResponse>, ApiError> {
        let broker = NodeId(request.broker_id.0);
        let existing = self.image.broker(broker);
        self.check_registration(request, existing, now_ms)?;
        let mut record = RegisterBrokerRecord {
            broker,
            is_migrating_zk_broker: false,
            incarnation: request.incarnation_id,
            epoch,
            endpoints: endpoints(request),
            features: features(request),
            rack: request.rack.clone(),
            fenced: true,
            in_controlled_shutdown: false,
            log_dirs: request.log_dirs.clone(),
        };
        let mut records = Vec::new();
        let mut probes = Vec::new();
        match existing.filter(|it| it.incarnation == request.incarnation_id) {
            Some(same) => {
                record.fenced = same.fenced;
                record.in_controlled_shutdown = same.in_controlled_shutdown;
                record.epoch = same.epoch;
            }
            // What the old incarnation led or was in sync with, the new one has to earn again.
            None => {
                records = self.leader_and_isr_updates(Some(broker), None);
                if !records.is_empty() {
                    probes.push(Probe::BrokerReregistered);
                }
            }
        }
        let response = BrokerRegistrationResponse::default().with_broker_epoch(record.epoch.0);
        // The registration comes last: a controller that fails in between registers it again.
        records.push(MetadataRecord::RegisterBroker(record));
        let mut decision = Decision::new(records, response);
        decision.probes = probes;
        Ok(decision)
    }

    fn check_registration(
        &self,
        request: &BrokerRegistrationRequest,
        existing: Option<&BrokerRegistration>,
        now_ms: u64,
    ) -> Result<(), ApiError> {
        if request.cluster_id != self.config.cluster_id {
            return Err(ApiError::new(
                ResponseError::InconsistentClusterId,
                format_args!(
                    "expected cluster id {}, but got {}",
                    self.config.cluster_id, request.cluster_id
                ),
            ));
        }
        if let Some(existing) = existing
            && existing.incarnation != request.incarnation_id
            && self
                .heartbeats
                .has_valid_session((existing.id, existing.epoch), now_ms)
        {
            return Err(ApiError::new(
                ResponseError::DuplicateBrokerRegistration,
                "another broker is registered with that broker id",
            ));
        }
        if request.is_migrating_zk_broker {
            return Err(ApiError::new(
                ResponseError::BrokerIdNotRegistered,
                "ZooKeeper brokers cannot register",
            ));
        }
        self.check_log_dirs(request)?;
        self.check_features(request)
    }

    fn check_log_dirs(&self, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
        let invalid = |message: &str| ApiError::new(ResponseError::InvalidRegistration, message);
        let dirs = &request.log_dirs;
        if dirs.is_empty() {
            return Err(invalid("no directories specified in request"));
        }
        if dirs.iter().any(|dir| dir.as_u128() < RESERVED_DIRECTORIES) {
            return Err(invalid("reserved directory id in request"));
        }
        let duplicate = |(at, dir): (usize, &Uuid)| dirs[..at].contains(dir);
        if dirs.iter().enumerate().any(duplicate) {
            return Err(invalid("duplicate directory id in request"));
        }
        let mut others = self.image.brokers().values();
        let broker = NodeId(request.broker_id.0);
        if others.any(|it| it.id != broker && it.log_dirs.iter().any(|dir| dirs.contains(dir))) {
            return Err(invalid("another broker is registered with that directory"));
        }
        Ok(())
    }

    fn check_features(&self, request: &BrokerRegistrationRequest) -> Result<(), ApiError> {
        let supported = |name: &StrBytes| request.features.iter().find(|it| it.name == *name);
        let metadata_version = StrBytes::from_static_str(METADATA_VERSION);
        if supported(&metadata_version).is_none() {
            return Err(ApiError::new(
                ResponseError::InvalidRegistration,
                "request features do not contain 'metadata.version'",
            ));
        }
        for (name, &level) in self.image.features() {
            let in_range = supported(name).is_some_and(|it| {
                it.min_supported_version <= level && level <= it.max_supported_version
            });
            if !in_range {
                return Err(ApiError::new(
                    ResponseError::UnsupportedVersion,
                    format_args!("the broker does not support finalized version {level} of {name}"),
                ));
            }
        }
        Ok(())
    }

    /// A broker is taken out of the cluster by an operator.
    pub(super) fn unregister_broker(
        &self,
        broker: NodeId,
    ) -> Result<Decision<UnregisterBrokerResponse>, ApiError> {
        let Some(registered) = self.image.broker(broker) else {
            return Err(ApiError::new(
                ResponseError::BrokerIdNotRegistered,
                format_args!("broker id {broker} is not currently registered"),
            ));
        };
        let mut records = self.leader_and_isr_updates(Some(broker), None);
        records.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker,
            epoch: registered.epoch,
        }));
        Ok(Decision::new(records, UnregisterBrokerResponse::default()))
    }
}

fn endpoints(request: &BrokerRegistrationRequest) -> Vec<BrokerEndpoint> {
    let listeners = request.listeners.iter();
    listeners
        .map(|listener| BrokerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
        })
        .collect()
}

fn features(request: &BrokerRegistrationRequest) -> Vec<BrokerFeature> {
    let features = request.features.iter();
    features
        .map(|feature| BrokerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
        })
        .collect()
}

/// `DirectoryId.reserved`: the first hundred ids have meanings of their own.
const RESERVED_DIRECTORIES: u128 = 100;
