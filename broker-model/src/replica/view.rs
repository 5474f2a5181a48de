//! What a judge may know of the replicas between two steps.

use super::manager::ReplicaManager;
use crate::types::{LeaderEpoch, NodeId, Offset, TopicIdPartition};

/// A replica as its broker holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionView<'a> {
    /// Which partition.
    pub partition: TopicIdPartition,
    /// Whether this broker leads it.
    pub is_leader: bool,
    /// The leader that the broker knows, `NodeId::NONE` if there is none.
    pub leader: NodeId,
    /// The leader epoch that the broker acts in.
    pub leader_epoch: LeaderEpoch,
    /// As leader: the confirmed ISR. Followers know none.
    pub isr: &'a [NodeId],
    /// The log's first offset.
    pub log_start: Offset,
    /// What consumers may see ends here.
    pub high_watermark: Offset,
    /// The next offset.
    pub log_end: Offset,
}

impl ReplicaManager {
    /// The replicas that the metadata gave to this broker, sorted.
    pub fn views(&self) -> impl Iterator<Item = PartitionView<'_>> {
        self.hosted.iter().map(|(&id, partition)| {
            let is_leader = partition.is_leader();
            PartitionView {
                partition: id,
                is_leader,
                leader: partition.leader(),
                leader_epoch: partition.leader_epoch(),
                isr: if is_leader { partition.isr() } else { &[] },
                log_start: partition.log.log_start(),
                high_watermark: partition.log.high_watermark(),
                log_end: partition.log.log_end(),
            }
        })
    }
}
