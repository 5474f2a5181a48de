//! Partition replication (RP): what leaders, followers and the controller owe each other.

use broker_model::note::Note;
use broker_model::types::NodeId;

use super::World;
use super::world::partition::{Partition, Replica};
use crate::observe::{Fact, Observed};

pub(super) mod ack_rule;
pub(super) mod acked_durable;
pub(super) mod alter_partition;
pub(super) mod committed_exists;
pub(super) mod epoch_monotonic;
pub(super) mod fetch_bound;
pub(super) mod high_watermark;
pub(super) mod high_watermark_rule;
pub(super) mod in_sync_complete;
pub(super) mod isr_expansion;
pub(super) mod leader_completeness;
pub(super) mod log_matching;
pub(super) mod metadata_prefix;
pub(super) mod one_leader;
pub(super) mod quorums;
pub(super) mod stale_leader;
pub(super) mod truncation;
pub(super) mod unclean_excluded;
pub(super) mod well_formed;

/// The note, its node, and the partition and replica that it is about.
pub(super) fn about<'a>(
    event: &Observed<'a>,
    world: &'a World,
) -> Option<(NodeId, &'a Note, &'a Partition, &'a Replica)> {
    let Fact::Note { node, note, .. } = event.fact else {
        return None;
    };
    let partition = world.partition()?;
    let replica = &partition.replicas[world.moment.replica?];
    Some((node, note, partition, replica))
}

/// `n1, n2`.
fn list(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
    format!("{{{}}}", names.join(", "))
}
