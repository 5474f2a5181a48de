//! One broker's coordinator of one offsets partition, and what of its decisions is committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_model::note::{
    ClassicGroupChange, ConsumerGroupChange, CoordinatorTimer, OffsetsChange,
};
use broker_model::types::{LeaderEpoch, NodeId, Offset, StrBytes};

use super::fold::{Change, Decision, Fold, GroupFold, Step};
use super::live::{Live, Was};
use crate::check::world::partition::Partition;

/// A batch: its last offset and its leader epoch.
pub(crate) type BatchId = (Offset, LeaderEpoch);

/// A partition of `__consumer_offsets`, as far as its groups go.
#[derive(Debug, Default)]
pub(crate) struct OffsetsPartition {
    pub(crate) coordinators: BTreeMap<NodeId, Coordinator>,
    /// Who coordinated in each leader epoch, and since when.
    pub(crate) epochs: BTreeMap<LeaderEpoch, (NodeId, u64)>,
    /// What is committed, up to where (exclusive), and the fact that made it so.
    pub(crate) committed: Fold,
    pub(crate) committed_to: Offset,
    committed_n: u64,
    /// Batches that are not.
    decisions: BTreeMap<BatchId, Decision>,
}

/// A broker that has read an offsets partition.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) epoch: LeaderEpoch,
    /// Whether all groups were told.
    pub(crate) serving: bool,
    /// The groups, as written.
    pub(crate) view: Fold,
    /// Classic groups, as they are.
    pub(crate) live: BTreeMap<StrBytes, Live>,
    /// The timers that run, and when others stopped or fired last.
    pub(crate) timers: BTreeSet<TimerId>,
    pub(crate) over: BTreeMap<TimerId, u64>,
    /// Those of them that an answer to somebody of the classic protocol started, who was out by then.
    pub(crate) vain: BTreeSet<TimerId>,
    /// Groups of which a decision could not be written: their timers went on without it.
    pub(crate) dropped: BTreeSet<StrBytes>,
    /// What it says that it loaded.
    told: Fold,
    /// Why the log may lack what was committed.
    excuse: Option<&'static str>,
    /// Told and not written yet.
    undecided: Vec<(StrBytes, Change)>,
    /// Classic groups that the decision at hand made.
    fresh: BTreeSet<StrBytes>,
    /// Written and not committed.
    pending: VecDeque<BatchId>,
}

/// An excuse: a broker that was overruled reads what it has, and nothing of what it decides will count.
pub(crate) const DEPOSED: &str = "somebody coordinates in a later epoch already";

/// A coordinator's timer: group, what for, member.
pub(crate) type TimerId = (StrBytes, CoordinatorTimer, Option<StrBytes>);

/// How a load compares with what is known.
#[derive(Debug)]
pub(crate) struct Load {
    /// What the log says.
    pub(crate) expected: Fold,
    /// Why it may say less.
    pub(crate) excuse: Option<&'static str>,
}

impl OffsetsPartition {
    /// A broker read the log. Returns why that may end before what was committed.
    pub(super) fn load(
        &mut self,
        (node, epoch): (NodeId, LeaderEpoch),
        (log_end, high_watermark): (Offset, Offset),
        partition: Option<&Partition>,
        holders: &mut super::holders::Holders,
    ) -> Option<&'static str> {
        let deposed = self.is_deposed(epoch);
        let excuse = partition.and_then(|it| self.excuse(it, epoch));
        let excuse = excuse.or(deposed.then_some(DEPOSED));
        if log_end < self.committed_to && excuse.is_some() && !deposed {
            // What was lost will not be asked for again.
            self.committed_to = high_watermark;
        }
        let mut pending = VecDeque::new();
        for id in self.batches(node, log_end, partition) {
            if high_watermark <= id.0 {
                pending.push_back(id);
            } else if let Some(decision) = self.decisions.remove(&id) {
                confirm(&decision, holders);
                self.committed.apply(&decision, &mut Vec::new());
                self.committed_to = self.committed_to.max(id.0.next());
            }
        }
        let mut view = self.committed.clone();
        for id in &pending {
            if let Some(decision) = self.decisions.get(id) {
                view.apply(decision, &mut Vec::new());
            }
        }
        let coordinator = Coordinator {
            epoch,
            serving: false,
            view,
            live: BTreeMap::new(),
            timers: BTreeSet::new(),
            over: BTreeMap::new(),
            vain: BTreeSet::new(),
            dropped: BTreeSet::new(),
            told: Fold::default(),
            excuse,
            undecided: Vec::new(),
            fresh: BTreeSet::new(),
            pending,
        };
        self.coordinators.insert(node, coordinator);
        excuse
    }

    /// The load is over: what it told of is what there is from now on.
    pub(super) fn serve(&mut self, node: NodeId) -> Option<Load> {
        let coordinator = self.coordinators.get_mut(&node)?;
        coordinator.serving = true;
        let mut told = std::mem::take(&mut coordinator.told);
        let expected = std::mem::take(&mut coordinator.view);
        told.complete(&expected);
        if told != expected {
            // What follows is judged by what the coordinator goes by.
            coordinator.pending.clear();
            if coordinator.excuse != Some(DEPOSED) {
                self.committed = told.clone();
            }
        }
        coordinator.view = told;
        let excuse = coordinator.excuse;
        Some(Load { expected, excuse })
    }

    /// A broker's timer runs or does not.
    pub(super) fn timer(&mut self, node: NodeId, id: TimerId, runs: bool, t_us: u64) {
        let Some(coordinator) = self.coordinators.get_mut(&node) else {
            return;
        };
        if let (true, (group, _, Some(member))) = (runs, &id) {
            let stored = self.committed.consumer(group);
            let stored = stored.and_then(|it| it.members.get(member));
            if stored.is_some_and(|it| it.classic) && coordinator.threw_out(group, member) {
                coordinator.vain.insert(id.clone());
            }
        }
        coordinator.timer(id, runs, t_us);
    }

    /// What was told last is appended.
    pub(super) fn write(
        &mut self,
        (node, id): (NodeId, BatchId),
        (n, t_us): (u64, u64),
        steps: &mut Vec<Step>,
    ) -> Option<(StrBytes, Live)> {
        let coordinator = self.coordinators.get_mut(&node)?;
        coordinator.epoch = id.1;
        coordinator.fresh.clear();
        let decision = Decision {
            n,
            t_us,
            changes: std::mem::take(&mut coordinator.undecided),
        };
        coordinator.view.apply(&decision, steps);
        coordinator.pending.push_back(id);
        let upgraded = coordinator.settle(&decision, steps);
        self.decisions.insert(id, decision);
        upgraded
    }

    /// A batch that is not committed.
    pub(crate) fn decision(&self, id: BatchId) -> Option<&Decision> {
        self.decisions.get(&id)
    }

    /// A coordinator's decisions are committed up to there. Returns those that were not yet.
    pub(super) fn commit(
        &mut self,
        node: NodeId,
        (up_to, n): (Offset, u64),
        void: bool,
        holders: &mut super::holders::Holders,
    ) -> Vec<Decision> {
        let mut committed = Vec::new();
        let Some(coordinator) = self.coordinators.get_mut(&node) else {
            return committed;
        };
        while coordinator.pending.front().is_some_and(|id| id.0 < up_to) {
            let Some(id) = coordinator.pending.pop_front() else {
                break;
            };
            let Some(decision) = self.decisions.remove(&id) else {
                continue;
            };
            confirm(&decision, holders);
            if !void && self.committed_to <= id.0 {
                self.committed.apply(&decision, &mut Vec::new());
            }
            committed.push(decision);
        }
        if !void && self.committed_to < up_to {
            self.committed_to = up_to;
            self.committed_n = n;
            let waits: BTreeSet<BatchId> = self
                .coordinators
                .values()
                .flat_map(|it| it.pending.iter().copied())
                .collect();
            // Whatever lies below and is in nobody's way is overwritten.
            self.decisions
                .retain(|id, _| up_to <= id.0 || waits.contains(id));
        }
        committed
    }

    /// Whether somebody coordinates in a later epoch.
    fn is_deposed(&self, epoch: LeaderEpoch) -> bool {
        let newest = self.epochs.keys().next_back();
        newest.is_some_and(|&newest| epoch < newest)
    }

    /// Why the log of a leader of that epoch may lack what was committed.
    fn excuse(&self, partition: &Partition, epoch: LeaderEpoch) -> Option<&'static str> {
        let cut = partition.cuts.iter().find(|cut| cut.n > self.committed_n);
        partition
            .unpromised
            .or(cut.map(|cut| cut.why))
            .or_else(|| partition.void(epoch))
    }

    /// The batches of a broker's log that are not known to be committed.
    fn batches(
        &self,
        node: NodeId,
        log_end: Offset,
        partition: Option<&Partition>,
    ) -> Vec<BatchId> {
        let replica = partition.and_then(|it| Some((it, it.replica(node)?)));
        match replica.filter(|(_, replica)| replica.log.end() == log_end) {
            Some((partition, replica)) => {
                let arena = &partition.arena;
                let from = replica.log.index_of(arena, self.committed_to);
                let entries = replica.log.ids()[from..].iter();
                let ids = entries.map(|&id| arena.entry(id));
                ids.map(|entry| (entry.last, entry.epoch)).collect()
            }
            None => {
                let known = self.decisions.keys().copied();
                known
                    .filter(|id| self.committed_to <= id.0 && id.0 < log_end)
                    .collect()
            }
        }
    }
}

impl Coordinator {
    /// A change that a record keeps, to be written or loaded.
    pub(super) fn tell(&mut self, group: &StrBytes, change: Change, (n, t_us): (u64, u64)) {
        if self.serving {
            self.undecided.push((group.clone(), change));
            return;
        }
        let told = Decision {
            n,
            t_us,
            changes: vec![(group.clone(), change)],
        };
        self.told.load(&told);
    }

    /// A classic group changed.
    pub(super) fn classic(
        &mut self,
        group: &StrBytes,
        change: &ClassicGroupChange,
        t_us: u64,
    ) -> Was {
        let stored = if self.serving {
            None
        } else {
            self.view.classic(group)
        };
        let live = self.live.entry(group.clone()).or_insert_with(|| {
            if self.serving {
                self.fresh.insert(group.clone());
            }
            Live::new(t_us)
        });
        live.apply(change, stored, t_us)
    }

    /// What a decision makes of classic groups, once it is written. Returns the one that is none any
    /// more.
    fn settle(&mut self, decision: &Decision, steps: &[Step]) -> Option<(StrBytes, Live)> {
        for (group, change) in &decision.changes {
            if let Change::Classic(ClassicGroupChange::Deleted) = change {
                self.live.remove(group);
            }
        }
        let mut left = None;
        for step in steps {
            match step {
                Step::Upgraded { group } => {
                    left = self.live.remove(group).map(|live| (group.clone(), live));
                }
                // An empty classic group makes room for a consumer group.
                Step::Epoch { group, .. } if self.view.consumer(group).is_some() => {
                    self.live.remove(group);
                }
                _ => {}
            }
        }
        left
    }

    /// What was told last could not be written.
    pub(super) fn drop_decision(&mut self) {
        for (group, _) in self.undecided.drain(..) {
            self.dropped.insert(group);
        }
        for group in std::mem::take(&mut self.fresh) {
            self.live.remove(&group);
            self.dropped.insert(group);
        }
    }

    /// A commit came for a group that is not there.
    pub(super) fn make_simple(&mut self, group: &StrBytes, t_us: u64) {
        if self.view.groups.contains_key(group) || self.live.contains_key(group) {
            return;
        }
        self.fresh.insert(group.clone());
        self.live.insert(group.clone(), Live::new(t_us));
    }

    /// A timer runs or does not.
    fn timer(&mut self, id: TimerId, runs: bool, t_us: u64) {
        if runs {
            self.over.remove(&id);
            self.timers.insert(id);
        } else {
            self.timers.remove(&id);
            self.vain.remove(&id);
            self.over.insert(id, t_us);
        }
    }

    /// Whether the member was thrown out by a decision that is written.
    fn threw_out(&self, group: &StrBytes, member: &StrBytes) -> bool {
        let fold = self.view.consumer(group);
        fold.is_none_or(|it| !it.members.contains_key(member))
    }
}

impl Fold {
    /// Takes in what a coordinator says that it loaded.
    fn load(&mut self, told: &Decision) {
        for (group, change) in &told.changes {
            match change {
                Change::Classic(ClassicGroupChange::Loaded {
                    generation,
                    members,
                    ..
                }) => {
                    let members = members.iter().cloned();
                    let members = members.map(|(id, own)| (id, own, bytes::Bytes::new()));
                    let stored = Change::Classic(ClassicGroupChange::Stored {
                        generation: *generation,
                        members: members.collect(),
                    });
                    let stored = Decision {
                        changes: vec![(group.clone(), stored)],
                        n: told.n,
                        t_us: told.t_us,
                    };
                    self.apply(&stored, &mut Vec::new());
                }
                Change::Offsets(OffsetsChange::Loaded { offsets }) => {
                    let own = self.offsets.entry(group.clone()).or_default();
                    for (partition, offset, timestamp) in offsets {
                        let value = super::fold::CommittedOffset {
                            offset: *offset,
                            timestamp: *timestamp,
                        };
                        own.insert(partition.clone(), value);
                    }
                }
                Change::Consumer(
                    ConsumerGroupChange::Downgraded
                    | ConsumerGroupChange::Upgraded
                    | ConsumerGroupChange::Deleted,
                )
                | Change::Classic(_)
                | Change::Offsets(_) => {}
                Change::Consumer(_) => self.apply(told, &mut Vec::new()),
            }
        }
    }

    /// Takes over what a load does not tell.
    fn complete(&mut self, expected: &Fold) {
        for (id, group) in &mut self.groups {
            match (group, expected.groups.get(id)) {
                (GroupFold::Classic(told), Some(GroupFold::Classic(known))) => {
                    told.t_us = known.t_us;
                    for (member, (_, part)) in &mut told.members {
                        if let Some((_, known)) = known.members.get(member) {
                            part.clone_from(known);
                        }
                    }
                }
                (GroupFold::Consumer(told), Some(GroupFold::Consumer(known))) => {
                    told.fenced.clone_from(&known.fenced);
                    for (member, told) in &mut told.members {
                        if let Some(known) = known.members.get(member) {
                            told.since = known.since;
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a decision accepted may be confirmed to clients from now on.
fn confirm(decision: &Decision, holders: &mut super::holders::Holders) {
    for (group, change) in &decision.changes {
        if let Change::Offsets(OffsetsChange::Accepted {
            partition, offset, ..
        }) = change
        {
            holders.accepted(group, (partition, *offset), decision.n);
        }
    }
}

/// Where a coordinator is, as far as the judge was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// It is not loaded, or was given up.
    #[default]
    Absent,
    /// It tells what it has read.
    Loading,
    /// It serves.
    Serving,
}

impl OffsetsPartition {
    /// Where a broker's coordinator is.
    pub(crate) fn phase(&self, node: NodeId) -> Phase {
        match self.coordinators.get(&node) {
            None => Phase::Absent,
            Some(it) if it.serving => Phase::Serving,
            Some(_) => Phase::Loading,
        }
    }
}
