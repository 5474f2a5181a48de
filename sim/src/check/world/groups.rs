//! Ghost state of groups: what the coordinators decided, what of it is committed, and what members
//! say.
//!
//! Notes about a group tell a decision before it is appended. `Written` makes a batch of all that was
//! told since, `Dropped` makes it void, `Committed` says that it counts. What a coordinator loads is
//! told between `Loaded` and `Serving`. Classic groups change at once; only what they leave in the log
//! is part of a decision.

pub(crate) mod consumer;
pub(crate) mod coordinator;
pub(crate) mod fold;
pub(crate) mod holders;
pub(crate) mod live;
pub(crate) mod topics;

use std::collections::BTreeMap;

use broker_model::note::{ClassicGroupChange, CoordinatorChange, Note, OffsetsChange};
use broker_model::types::{LeaderEpoch, NodeId, Offset, StrBytes};

use self::coordinator::{BatchId, Coordinator, Load, OffsetsPartition, Phase};
use self::fold::{Change, Decision, Fold, Step};
use self::holders::Holders;
use self::live::{Live, Was};
use self::topics::Topics;
use super::partition::Partition;

/// The groups of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By partition of `__consumer_offsets`.
    pub(crate) partitions: BTreeMap<i32, OffsetsPartition>,
    /// The partition of each group that was heard of.
    pub(crate) homes: BTreeMap<StrBytes, i32>,
    pub(crate) topics: Topics,
    pub(crate) holders: Holders,
}

/// What a note about groups brought, and what it replaced.
#[derive(Debug, Default)]
pub(crate) struct GroupMoment {
    /// The offsets partition.
    pub(crate) at: i32,
    /// Where the broker's coordinator was before.
    pub(crate) phase: Phase,
    /// The batch that was appended.
    pub(crate) written: Option<BatchId>,
    /// What it did to groups, step by step.
    pub(crate) steps: Vec<Step>,
    /// The classic group that it made a consumer group.
    pub(crate) upgraded: Option<(StrBytes, Live)>,
    /// Batches that are committed now.
    pub(crate) committed: Vec<Decision>,
    /// Up to where decisions were committed before.
    pub(crate) committed_to: Offset,
    /// Why the log may lack what was committed.
    pub(crate) excuse: Option<&'static str>,
    /// The load that is over.
    pub(crate) load: Option<Load>,
    /// The classic group before.
    pub(crate) was: Option<Was>,
    /// Who coordinated first in this epoch, and since when, if it was somebody else.
    pub(crate) rival: Option<(NodeId, u64)>,
}

impl Groups {
    /// The coordinator that the note is from.
    pub(crate) fn coordinator(&self, at: i32, node: NodeId) -> Option<&Coordinator> {
        self.partitions.get(&at)?.coordinators.get(&node)
    }

    /// What is committed of a group.
    pub(crate) fn committed(&self, group: &StrBytes) -> Option<&Fold> {
        let home = self.homes.get(group)?;
        Some(&self.partitions.get(home)?.committed)
    }

    /// A process ended: it coordinates nothing.
    pub(super) fn stopped(&mut self, node: NodeId) {
        for partition in self.partitions.values_mut() {
            partition.coordinators.remove(&node);
        }
    }

    /// Takes in a note about a coordinator; `partition` is what is known of its log.
    pub(super) fn coordinator_note(
        &mut self,
        (node, note): (NodeId, &Note),
        (n, t_us): (u64, u64),
        partition: Option<&Partition>,
        moment: &mut GroupMoment,
    ) {
        let Note::Coordinator {
            partition: id,
            leader_epoch,
            change,
        } = note
        else {
            return;
        };
        let at = id.partition;
        let offsets = self.partitions.entry(at).or_default();
        moment.begin(at, offsets, node);
        let acts = !matches!(
            change,
            CoordinatorChange::Unloaded | CoordinatorChange::Failed
        );
        if acts {
            let first = offsets.epochs.entry(*leader_epoch).or_insert((node, t_us));
            moment.rival = Some(*first).filter(|(first, _)| *first != node);
        }
        match change {
            CoordinatorChange::Loaded {
                log_end,
                high_watermark,
            } => {
                let place = (node, *leader_epoch);
                let ends = (*log_end, *high_watermark);
                moment.excuse = offsets.load(place, ends, partition, &mut self.holders);
            }
            CoordinatorChange::Serving => moment.load = offsets.serve(node),
            CoordinatorChange::Failed | CoordinatorChange::Unloaded => {
                offsets.coordinators.remove(&node);
            }
            CoordinatorChange::Written { last } => {
                let id: BatchId = (*last, *leader_epoch);
                moment.upgraded = offsets.write((node, id), (n, t_us), &mut moment.steps);
                moment.written = Some(id);
            }
            CoordinatorChange::Dropped => {
                if let Some(coordinator) = offsets.coordinators.get_mut(&node) {
                    coordinator.drop_decision();
                }
            }
            CoordinatorChange::Timer {
                group,
                member,
                timer,
                runs,
            } => {
                let id = (group.clone(), *timer, member.clone());
                offsets.timer(node, id, *runs, t_us);
            }
            CoordinatorChange::Committed { up_to } => {
                let void = is_void(partition, *leader_epoch);
                let holders = &mut self.holders;
                moment.committed = offsets.commit(node, (*up_to, n), void, holders);
            }
        }
    }

    /// Takes in a note about a group or its offsets.
    pub(super) fn group_note(
        &mut self,
        (node, note): (NodeId, &Note),
        now: (u64, u64),
        moment: &mut GroupMoment,
    ) {
        let (&at, group) = match note {
            Note::ClassicGroup {
                partition, group, ..
            }
            | Note::ConsumerGroup {
                partition, group, ..
            }
            | Note::Offsets {
                partition, group, ..
            } => (partition, group),
            _ => return,
        };
        if !self.homes.contains_key(group) {
            self.homes.insert(group.clone(), at);
        }
        let offsets = self.partitions.entry(at).or_default();
        moment.begin(at, offsets, node);
        let Some(coordinator) = offsets.coordinators.get_mut(&node) else {
            return;
        };
        match note {
            Note::ClassicGroup { change, .. } => {
                moment.was = Some(coordinator.classic(group, change, now.1));
                let kept = matches!(
                    change,
                    ClassicGroupChange::Stored { .. } | ClassicGroupChange::Deleted
                );
                if kept || !coordinator.serving {
                    coordinator.tell(group, Change::Classic(change.clone()), now);
                }
            }
            Note::ConsumerGroup { change, .. } => {
                coordinator.tell(group, Change::Consumer(change.clone()), now);
            }
            Note::Offsets { change, .. } => {
                if matches!(change, OffsetsChange::Accepted { .. }) {
                    coordinator.make_simple(group, now.1);
                }
                if !matches!(change, OffsetsChange::Refused { .. }) {
                    coordinator.tell(group, Change::Offsets(change.clone()), now);
                }
            }
            _ => {}
        }
    }
}

impl GroupMoment {
    fn begin(&mut self, at: i32, offsets: &OffsetsPartition, node: NodeId) {
        self.at = at;
        self.phase = offsets.phase(node);
        self.written = None;
        self.steps.clear();
        self.upgraded = None;
        self.committed.clear();
        self.committed_to = offsets.committed_to;
        self.excuse = None;
        self.load = None;
        self.was = None;
        self.rival = None;
    }
}

/// Whether what leaders of that epoch commit was promised by nobody.
fn is_void(partition: Option<&Partition>, epoch: LeaderEpoch) -> bool {
    partition.is_some_and(|it| it.void(epoch).is_some())
}
