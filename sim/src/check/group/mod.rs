//! The group coordinator (GC): what it decides about groups, and when that counts.

use broker_model::note::{CoordinatorChange, Note};
use broker_model::types::{NodeId, StrBytes, TopicIdPartition};

use super::World;
use super::world::groups::GroupMoment;
use super::world::groups::coordinator::Coordinator;
use super::world::groups::fold::Decision;
use crate::observe::{Fact, Observed};

pub(super) mod commit_fence;
pub(super) mod double_assignment;
pub(super) mod expiry;
pub(super) mod member_epoch;
pub(super) mod migration;
pub(super) mod one_coordinator;

pub(super) mod partition_epoch;
pub(super) mod stable;
pub(super) mod state_fold;
pub(super) mod static_member;
pub(super) mod target;
pub(super) mod timers;
pub(super) mod transitions;

/// A coordinator that a note is from, and what the note brought.
struct Seen<'a> {
    node: NodeId,
    note: &'a Note,
    t_us: u64,
    moment: &'a GroupMoment,
    coordinator: &'a Coordinator,
    world: &'a World,
}

/// What a note about groups says, if it is from a coordinator that is there.
fn seen<'a>(event: &Observed<'a>, world: &'a World) -> Option<Seen<'a>> {
    let Fact::Note { node, note, .. } = event.fact else {
        return None;
    };
    let moment = &world.moment.groups;
    Some(Seen {
        node,
        note,
        t_us: event.t_us,
        moment,
        coordinator: world.groups.coordinator(moment.at, node)?,
        world,
    })
}

/// The same for a note that says that a decision was appended.
fn decided<'a>(event: &Observed<'a>, world: &'a World) -> Option<(Seen<'a>, &'a Decision)> {
    let written = match event.fact {
        Fact::Note {
            note:
                Note::Coordinator {
                    change: CoordinatorChange::Written { .. },
                    ..
                },
            ..
        } => world.moment.groups.written?,
        _ => return None,
    };
    let seen = seen(event, world)?;
    let partition = world.groups.partitions.get(&seen.moment.at)?;
    Some((seen, partition.decision(written)?))
}

impl Seen<'_> {
    /// `reads-0`, or the id of a topic without a name.
    fn name(&self, partition: TopicIdPartition) -> String {
        let name = self.world.groups.topics.any_name(partition.topic);
        match name {
            Some(name) => format!("{name}-{}", partition.partition),
            None => format!("{}-{}", partition.topic, partition.partition),
        }
    }

    /// `[reads-0, reads-1]`.
    fn list<'a>(&self, partitions: impl IntoIterator<Item = &'a TopicIdPartition>) -> String {
        let names = partitions.into_iter().map(|&it| self.name(it));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }
}

/// `m1, m2`.
fn ids<'a>(members: impl IntoIterator<Item = &'a StrBytes>) -> String {
    let names: Vec<&str> = members.into_iter().map(|id| &**id).collect();
    format!("[{}]", names.join(", "))
}
