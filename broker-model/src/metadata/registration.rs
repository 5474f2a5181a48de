//! What an image holds of one partition, one broker, one configured thing.
//!
//! Mirrors `PartitionRegistration`, `BrokerRegistration` and `ConfigResource`.

use super::record::{BrokerEndpoint, BrokerFeature, PartitionChangeRecord, PartitionRecord};
use crate::note::{BrokerState, PartitionState};
use crate::types::{BrokerEpoch, Endpoint, NodeId, Offset, StrBytes, Uuid};

/// A partition's place and leadership.
///
/// replicas and directories have the same length; adding and removing lie within replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRegistration {
    /// Replicas, ISR, leader and epochs.
    pub state: PartitionState,
    /// Replicas that a reassignment removes once it is complete.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// The log directory of each replica.
    pub directories: Vec<Uuid>,
}

/// A broker that registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: NodeId,
    /// Which registration it is.
    pub epoch: BrokerEpoch,
    /// Which process of the broker it is.
    pub incarnation: Uuid,
    /// Its listeners.
    pub endpoints: Vec<BrokerEndpoint>,
    /// The feature levels that it supports.
    pub features: Vec<BrokerFeature>,
    /// `broker.rack`.
    pub rack: Option<StrBytes>,
    /// Fenced brokers lead nothing and are in no ISR.
    pub fenced: bool,
    /// A broker in controlled shutdown leads nothing new and joins no ISR.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Where in the log its last registration record is.
    pub registered_at: Offset,
}

/// What a configuration belongs to (`ConfigResource`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConfigResource {
    /// `ConfigResource.Type.id`.
    pub kind: i8,
    /// The topic's name, or the broker's id; empty means every broker.
    pub name: StrBytes,
}

impl PartitionRegistration {
    /// Applies a change (`PartitionRegistration.merge`).
    pub fn merge(&mut self, change: &PartitionChangeRecord) {
        let state = &mut self.state;
        if let Some(replicas) = &change.replicas {
            state.replicas.clone_from(replicas);
        }
        if let Some(isr) = &change.isr {
            state.isr.clone_from(isr);
        }
        if let Some(leader) = change.leader {
            state.leader = leader;
            state.leader_epoch = state.leader_epoch.next();
        }
        state.recovering = change.recovering.unwrap_or(state.recovering);
        state.partition_epoch = state.partition_epoch.next();
        if let Some(removing) = &change.removing {
            self.removing.clone_from(removing);
        }
        if let Some(adding) = &change.adding {
            self.adding.clone_from(adding);
        }
        if let Some(directories) = &change.directories {
            self.directories.clone_from(directories);
        }
    }

    /// Whether replicas are being moved (`PartitionReassignmentReplicas.isReassignmentInProgress`).
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }

    /// The replica that leads when all is well.
    #[must_use]
    pub fn preferred(&self) -> NodeId {
        self.state.replicas.first().copied().unwrap_or(NodeId::NONE)
    }
}

impl From<&PartitionRecord> for PartitionRegistration {
    fn from(record: &PartitionRecord) -> Self {
        PartitionRegistration {
            state: PartitionState {
                replicas: record.replicas.clone(),
                isr: record.isr.clone(),
                leader: record.leader,
                leader_epoch: record.leader_epoch,
                partition_epoch: record.partition_epoch,
                recovering: record.recovering,
            },
            removing: record.removing.clone(),
            adding: record.adding.clone(),
            directories: record.directories.clone(),
        }
    }
}

impl BrokerRegistration {
    /// Where clients and other brokers reach it: its first listener.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        let first = self.endpoints.first()?;
        Some(Endpoint {
            host: first.host.clone(),
            port: first.port,
        })
    }

    /// What the judge is told of it.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        BrokerState {
            epoch: self.epoch,
            incarnation: self.incarnation,
            fenced: self.fenced,
            shutting_down: self.in_controlled_shutdown,
        }
    }
}

impl ConfigResource {
    /// `ConfigResource.Type.TOPIC`.
    pub const TOPIC: i8 = 2;
    /// `ConfigResource.Type.BROKER`.
    pub const BROKER: i8 = 4;

    /// A topic, by name.
    #[must_use]
    pub fn topic(name: StrBytes) -> Self {
        ConfigResource {
            kind: Self::TOPIC,
            name,
        }
    }

    /// One broker, or a controller of that id.
    #[must_use]
    pub fn broker(node: NodeId) -> Self {
        ConfigResource {
            kind: Self::BROKER,
            name: StrBytes::from_string(node.to_string()),
        }
    }

    /// Every broker of the cluster.
    #[must_use]
    pub fn every_broker() -> Self {
        ConfigResource {
            kind: Self::BROKER,
            name: StrBytes::default(),
        }
    }
}
