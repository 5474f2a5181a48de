//! What phases, faults and the judge ask a node between two steps.

use broker_model::node::Node;
use broker_model::note::RaftRole;
use broker_model::types::Uuid;

use crate::observe::{NodeEnd, ReplicaEnd};

/// The node as it is now.
#[must_use]
pub fn node_end(node: &Node) -> NodeEnd {
    let view = node.view();
    let replicas = view.partitions().map(|replica| {
        let end = ReplicaEnd {
            leader: replica.is_leader,
            leader_epoch: replica.leader_epoch,
            isr: replica.isr.to_vec(),
            log_start: replica.log_start,
            high_watermark: replica.high_watermark,
            log_end: replica.log_end,
        };
        (replica.partition, end)
    });
    NodeEnd {
        metadata_applied: view.applied().map(|image| image.offset()),
        raft_high_watermark: view.raft_high_watermark(),
        raft_log_end: view.raft_log_end(),
        raft_epoch: view.raft_epoch(),
        raft_leader: view.raft_role() == RaftRole::Leader,
        active_controller: view.active_controller().is_some(),
        unfenced: view.broker().is_some_and(|(_, fenced)| !fenced),
        replicas: replicas.collect(),
    }
}

/// A topic that the node's broker knows: its id and how many partitions it has.
#[must_use]
pub fn topic(node: &Node, name: &str) -> Option<(Uuid, i32)> {
    let image = node.view().applied()?;
    let (_, &id) = image
        .topic_names()
        .iter()
        .find(|(known, _)| ***known == *name)?;
    let partitions = image.topic(id)?.partitions.len();
    Some((id, i32::try_from(partitions).expect("few partitions")))
}

/// The topics that the node's broker knows: name and id.
#[must_use]
pub fn topics(node: &Node) -> Vec<(String, Uuid)> {
    let image = node.view().applied();
    let names = image.into_iter().flat_map(|image| image.topic_names());
    names.map(|(name, id)| (name.to_string(), *id)).collect()
}
