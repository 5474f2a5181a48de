//! What a judge may know of a node between two steps.

use crate::broker::Broker;
use crate::controller::QuorumController;
use crate::metadata::MetadataImage;
use crate::note::RaftRole;
use crate::raft::RaftClient;
use crate::replica::PartitionView;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset};

/// Facts about a node, read only.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    id: NodeId,
    raft: &'a RaftClient,
    controller: Option<&'a QuorumController>,
    broker: Option<&'a Broker>,
}

impl<'a> NodeView<'a> {
    pub(super) fn new(
        id: NodeId,
        raft: &'a RaftClient,
        controller: Option<&'a QuorumController>,
        broker: Option<&'a Broker>,
    ) -> Self {
        NodeView {
            id,
            raft,
            controller,
            broker,
        }
    }

    /// `node.id`.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The role in the metadata quorum.
    #[must_use]
    pub fn raft_role(&self) -> RaftRole {
        self.raft.role()
    }

    /// The raft epoch.
    #[must_use]
    pub fn raft_epoch(&self) -> LeaderEpoch {
        self.raft.epoch()
    }

    /// The leader of the raft epoch, if it is known.
    #[must_use]
    pub fn raft_leader(&self) -> Option<NodeId> {
        self.raft.leader().map(|(leader, _)| leader)
    }

    /// The metadata log is committed up to here, as far as this node knows.
    #[must_use]
    pub fn raft_high_watermark(&self) -> Offset {
        self.raft.high_watermark()
    }

    /// The end of this node's metadata log.
    #[must_use]
    pub fn raft_log_end(&self) -> Offset {
        self.raft.log_end()
    }

    /// The epoch in which this node is the active controller.
    #[must_use]
    pub fn active_controller(&self) -> Option<LeaderEpoch> {
        self.controller?.active_epoch()
    }

    /// The metadata that the broker has applied.
    #[must_use]
    pub fn applied(&self) -> Option<&'a MetadataImage> {
        self.broker.map(Broker::image)
    }

    /// The committed metadata that the controller has replayed.
    #[must_use]
    pub fn committed(&self) -> Option<&'a MetadataImage> {
        self.controller.map(QuorumController::committed_image)
    }

    /// The broker's epoch and whether it was last told to be fenced.
    #[must_use]
    pub fn broker(&self) -> Option<(BrokerEpoch, bool)> {
        self.broker.map(|broker| (broker.epoch(), broker.fenced()))
    }

    /// The replicas that the broker hosts, sorted.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView<'a>> + use<'a> {
        let replicas = self.broker.map(Broker::replicas);
        replicas.into_iter().flat_map(|replicas| replicas.views())
    }
}
