//! One replica of a partition: leader or follower, its epochs, its followers, its high watermark.
//!
//! Mirrors `kafka.cluster.Partition`. Replicas do not talk here: the caller hands over what a
//! follower fetched and what the controller answered, and sends what is proposed.

use std::collections::BTreeMap;

use super::alter_partition::{AlterPartitions, AlteredPartition, Proposal, ProposalAnswer};
use super::cluster::Cluster;
use super::isr::{FollowerFetch, Isr, PendingIsr, RemoteReplica};
use crate::bug::Bug;
use crate::config::TopicConfig;
use crate::context::Context;
use crate::log::UnifiedLog;
use crate::note::{Note, PartitionState};
use crate::probe::Probe;
use crate::types::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch, ResponseError, StrBytes,
    TopicIdPartition,
};

/// A replica that this broker hosts.
#[derive(Debug)]
pub(super) struct Partition {
    /// Which partition.
    pub(super) id: TopicIdPartition,
    /// The topic's name, for requests that have no ids.
    pub(super) topic: StrBytes,
    /// Its records.
    pub(super) log: UnifiedLog,
    /// The topic's properties.
    pub(super) config: TopicConfig,
    /// `NodeId::NONE` when there is none.
    leader: NodeId,
    /// -1 until the first metadata arrives.
    leader_epoch: LeaderEpoch,
    /// -1 until the first metadata arrives.
    partition_epoch: PartitionEpoch,
    /// There if this broker leads.
    leadership: Option<Leadership>,
}

/// What a leader keeps.
#[derive(Debug)]
struct Leadership {
    /// The log end when the leader epoch began.
    epoch_start: Offset,
    isr: Isr,
    /// Every other replica.
    followers: BTreeMap<NodeId, RemoteReplica>,
}

/// What of the broker a partition needs for its decisions.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// `node.id`
    pub(super) node: NodeId,
    /// This broker's registration.
    pub(super) broker_epoch: BrokerEpoch,
    /// `replica.lag.time.max.ms`
    pub(super) lag_max_ms: u64,
    /// Who is registered.
    pub(super) cluster: Cluster,
}

/// What a produce waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Replicated {
    /// Not enough replicas have it.
    Waiting,
    /// It is answered so.
    Done(Result<(), ResponseError>),
}

impl Partition {
    /// A replica that has not heard of any leader.
    pub(super) fn new(
        id: TopicIdPartition,
        topic: StrBytes,
        log: UnifiedLog,
        config: TopicConfig,
    ) -> Self {
        Partition {
            id,
            topic,
            log,
            config,
            leader: NodeId::NONE,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch(-1),
            leadership: None,
        }
    }

    /// Who leads, `NodeId::NONE` if nobody does.
    pub(super) fn leader(&self) -> NodeId {
        self.leader
    }

    /// In which epoch.
    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Whether this broker leads.
    pub(super) fn is_leader(&self) -> bool {
        self.leadership.is_some()
    }

    /// Where the epoch of this leader starts.
    pub(super) fn epoch_start(&self) -> Option<Offset> {
        self.leadership.as_ref().map(|it| it.epoch_start)
    }

    /// The confirmed ISR; empty on a follower.
    pub(super) fn isr(&self) -> &[NodeId] {
        self.leadership.as_ref().map_or(&[], |it| it.isr.members())
    }

    /// `min.insync.replicas`, or the number of replicas where that is less.
    pub(super) fn min_isr(&self) -> usize {
        let replicas = self
            .leadership
            .as_ref()
            .map_or(1, |it| it.followers.len() + 1);
        usize::try_from(self.config.min_insync_replicas)
            .expect("min.insync.replicas is at least 1")
            .min(replicas)
    }

    /// The epoch check of everybody who names the leader epoch he knows (KIP-320).
    pub(super) fn check_epoch(&self, known: Option<LeaderEpoch>) -> Result<(), ResponseError> {
        match known {
            Some(known) if known < self.leader_epoch => Err(ResponseError::FencedLeaderEpoch),
            Some(known) if self.leader_epoch < known => Err(ResponseError::UnknownLeaderEpoch),
            Some(_) | None => Ok(()),
        }
    }

    /// The same, and that this broker leads.
    pub(super) fn check_leader(&self, known: Option<LeaderEpoch>) -> Result<(), ResponseError> {
        self.check_epoch(known)?;
        if self.is_leader() {
            Ok(())
        } else {
            Err(ResponseError::NotLeaderOrFollower)
        }
    }

    /// The metadata says that this broker leads. Returns whether the high watermark moved.
    pub(super) fn become_leader(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        state: &PartitionState,
    ) -> bool {
        if state.partition_epoch < self.partition_epoch {
            return false;
        }
        let is_new_epoch = self.leader_epoch < state.leader_epoch;
        let is_same_version = self.partition_epoch == state.partition_epoch;
        if is_same_version && !is_new_epoch && self.is_leader() {
            // Learned before from the controller's answer. A newer proposal may be in flight: Kafka
            // would forget it here, and with it that its replica has to be waited for.
            return false;
        }
        self.note_skipped_epochs(cx, state);
        let log_end = self.log.log_end();
        let before = self.leadership.take().filter(|_| !is_new_epoch);
        let (epoch_start, mut known) = match before {
            Some(it) => {
                probe_isr_change(cx, it.isr.members(), &state.isr);
                (it.epoch_start, it.followers)
            }
            None => (log_end, BTreeMap::new()),
        };
        let others = state.replicas.iter().filter(|it| **it != around.node);
        let followers = others.map(|&replica| {
            let in_isr = state.isr.contains(&replica);
            let follower = match known.remove(&replica) {
                Some(follower) => follower,
                None if is_new_epoch => RemoteReplica::unproven(cx.now.mono_ms, in_isr),
                None => RemoteReplica::new(),
            };
            (replica, follower)
        });
        let followers = followers.collect();
        self.leader = around.node;
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        self.leadership = Some(Leadership {
            epoch_start,
            isr: Isr::confirmed(state.isr.clone()),
            followers,
        });
        if is_new_epoch {
            cx.effects.note(Note::BecameLeader {
                partition: self.id,
                leader_epoch: self.leader_epoch,
                log_end,
                high_watermark: self.log.high_watermark(),
            });
            // Also an epoch without records gets its start: a follower with records of an epoch in
            // between has to find where the logs part (KIP-279).
            self.log.on_become_leader(cx, self.leader_epoch);
        }
        self.note_isr(cx);
        self.maybe_increment_high_watermark(cx, around)
    }

    /// The metadata says that another broker leads, or none. Returns whether the leader epoch is
    /// new, so that fetching has to start anew.
    pub(super) fn become_follower(&mut self, cx: &mut Context<'_>, state: &PartitionState) -> bool {
        if state.partition_epoch < self.partition_epoch {
            return false;
        }
        let is_new_epoch = self.leader_epoch < state.leader_epoch;
        self.note_skipped_epochs(cx, state);
        self.leadership = None;
        self.leader = state.leader;
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        if is_new_epoch {
            cx.effects.note(Note::BecameFollower {
                partition: self.id,
                leader_epoch: self.leader_epoch,
                leader: self.leader,
                log_end: self.log.log_end(),
                high_watermark: self.log.high_watermark(),
            });
            self.log.on_become_follower(self.leader_epoch);
            if cx.has(Bug::Kip101HwTruncation) {
                self.log.truncate_to(cx, self.log.high_watermark());
            }
        }
        is_new_epoch
    }

    /// The topic's properties changed. What a lower `min.insync.replicas` lets through is seen at the
    /// next append, fetch or change of the ISR (`TopicConfigHandler`).
    pub(super) fn configure(&mut self, cx: &mut Context<'_>, config: TopicConfig) {
        let min_isr = self.min_isr();
        self.config = config;
        if min_isr != self.min_isr() {
            self.note_isr(cx);
        }
    }

    /// A follower, checked to be one of this leader epoch, fetched. Returns whether a watermark
    /// moved.
    pub(super) fn follower_fetched(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        alter: &mut AlterPartitions,
        (replica, fetch): (NodeId, FollowerFetch),
    ) -> Result<bool, ResponseError> {
        let leader_epoch = self.leader_epoch;
        let leadership = self.leadership.as_mut();
        let follower = leadership.and_then(|it| it.followers.get_mut(&replica));
        let follower = follower.expect("the caller found it among the followers");
        let registered = around.cluster.alive_epoch(replica);
        if fetch.broker_epoch != BrokerEpoch::UNKNOWN
            && registered.is_some_and(|epoch| fetch.broker_epoch < epoch)
        {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        let before = *follower;
        follower.fetched(fetch);
        if before.log_end != fetch.log_end {
            cx.effects.note(Note::FollowerFetched {
                partition: self.id,
                leader_epoch,
                replica,
                log_end: fetch.log_end,
            });
        }
        self.maybe_expand_isr(cx, around, alter, replica);
        let high_watermark_moved =
            before.log_end != fetch.log_end && self.maybe_increment_high_watermark(cx, around);
        Ok(high_watermark_moved || before.log_start != fetch.log_start)
    }

    /// Whether that broker is one of the followers.
    pub(super) fn has_follower(&self, replica: NodeId) -> bool {
        let leadership = self.leadership.as_ref();
        leadership.is_some_and(|it| it.followers.contains_key(&replica))
    }

    /// Whether a produce up to `required`, exclusive, can be answered.
    pub(super) fn check_replicated(&self, required: Offset) -> Replicated {
        let Some(leadership) = &self.leadership else {
            return Replicated::Done(Err(ResponseError::NotLeaderOrFollower));
        };
        if self.log.high_watermark() < required {
            return Replicated::Waiting;
        }
        if leadership.isr.maximal_len() < self.min_isr() {
            return Replicated::Done(Err(ResponseError::NotEnoughReplicasAfterAppend));
        }
        Replicated::Done(Ok(()))
    }

    /// Where the logs of all live replicas have started (`lowWatermarkIfLeader`).
    pub(super) fn low_watermark(&self, cluster: &Cluster) -> Offset {
        let own = self.log.log_start();
        let Some(leadership) = &self.leadership else {
            return own;
        };
        let live = leadership.followers.iter();
        let live = live.filter(|(replica, _)| cluster.alive_epoch(**replica).is_some());
        live.map(|(_, it)| it.log_start).fold(own, Offset::min)
    }

    /// The end of an epoch, for somebody who wants to know where his log and this one part.
    pub(super) fn end_offset_for(
        &self,
        cx: &Context<'_>,
        epoch: LeaderEpoch,
    ) -> Option<(LeaderEpoch, Offset)> {
        let (floor, end) = self.log.end_offset_for_epoch(epoch)?;
        if cx.has(Bug::Kip279UnknownEpochLookup) {
            return Some((epoch, end));
        }
        Some((floor, end))
    }

    /// `Timer::IsrExpiration`: proposes to remove whoever has fallen behind.
    pub(super) fn maybe_shrink_isr(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        alter: &mut AlterPartitions,
    ) {
        let log_end = self.log.log_end();
        let Some(leadership) = &self.leadership else {
            return;
        };
        if leadership.isr.pending().is_some() {
            return;
        }
        let others = leadership
            .isr
            .members()
            .iter()
            .filter(|it| **it != around.node);
        let behind = others.filter(|replica| {
            let follower = leadership.followers.get(replica);
            !follower.is_some_and(|it| it.is_caught_up(log_end, cx.now.mono_ms, around.lag_max_ms))
        });
        let removed: Vec<NodeId> = behind.copied().collect();
        if !removed.is_empty() {
            self.propose(cx, around, alter, None, removed);
        }
    }

    /// The controller answered a proposal. Returns whether the high watermark moved.
    pub(super) fn on_proposal_answer(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        alter: &mut AlterPartitions,
        (answer, proposal): (ProposalAnswer, Proposal),
    ) -> bool {
        let Some(leadership) = &mut self.leadership else {
            return false;
        };
        if leadership.isr.pending_if(answer.proposal).is_none() {
            return false;
        }
        match answer.result {
            Ok(altered) => self.adopt(cx, around, altered),
            Err(ResponseError::OperationNotAttempted | ResponseError::IneligibleReplica) => {
                leadership.isr.withdraw();
                self.note_isr(cx);
                false
            }
            // The metadata will tell; until then the proposal may have been accepted.
            Err(
                ResponseError::UnknownTopicOrPartition
                | ResponseError::UnknownTopicId
                | ResponseError::FencedLeaderEpoch
                | ResponseError::InvalidUpdateVersion
                | ResponseError::InvalidRequest
                | ResponseError::NewLeaderElected,
            ) => false,
            Err(_) => {
                alter.submit_again(self.id, proposal);
                false
            }
        }
    }

    /// Takes over the ISR that the controller has confirmed (`handleAlterPartitionUpdate`).
    fn adopt(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        altered: AlteredPartition,
    ) -> bool {
        let is_stale = altered.leader_epoch != self.leader_epoch
            || altered.partition_epoch < self.partition_epoch;
        let Some(leadership) = self.leadership.as_mut().filter(|_| !is_stale) else {
            return false;
        };
        probe_isr_change(cx, leadership.isr.members(), &altered.isr);
        leadership.isr = Isr::confirmed(altered.isr);
        self.partition_epoch = altered.partition_epoch;
        self.note_isr(cx);
        self.maybe_increment_high_watermark(cx, around)
    }

    /// Proposes a follower for the ISR that has all up to the high watermark, and all that this
    /// epoch began with: less may be committed that this leader does not know of (KAFKA-7128).
    fn maybe_expand_isr(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        alter: &mut AlterPartitions,
        replica: NodeId,
    ) {
        let high_watermark = self.log.high_watermark();
        let Some(leadership) = &self.leadership else {
            return;
        };
        if leadership.isr.contains(replica) || leadership.isr.pending().is_some() {
            return;
        }
        let Some(follower) = leadership.followers.get(&replica) else {
            return;
        };
        let in_sync =
            high_watermark <= follower.log_end && leadership.epoch_start <= follower.log_end;
        if in_sync && around.cluster.may_join_isr(replica, follower.broker_epoch) {
            self.propose(cx, around, alter, Some(replica), Vec::new());
        }
    }

    /// Puts another ISR in flight, unless an older proposal has not ended.
    fn propose(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
        alter: &mut AlterPartitions,
        added: Option<NodeId>,
        removed: Vec<NodeId>,
    ) {
        let leadership = self.leadership.as_mut().expect("only leaders propose");
        if !alter.accepts(self.id) {
            return;
        }
        let members = leadership.isr.members().iter().copied().chain(added);
        let members = members.filter(|it| !removed.contains(it));
        let epoch_of = |replica: NodeId| {
            if replica == around.node {
                return around.broker_epoch;
            }
            let follower = leadership.followers.get(&replica);
            let epoch = follower.and_then(|it| it.broker_epoch);
            epoch.unwrap_or(BrokerEpoch::UNKNOWN)
        };
        let isr = members
            .map(|replica| (replica, epoch_of(replica)))
            .collect();
        let joining = added.map(|replica| {
            let follower = leadership.followers.get(&replica);
            let log_end = follower.map_or(Offset::UNKNOWN, |it| it.log_end);
            (replica, log_end, epoch_of(replica))
        });
        cx.effects.note(Note::IsrProposed {
            partition: self.id,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            added: joining.into_iter().collect(),
            removed,
            high_watermark: self.log.high_watermark(),
            epoch_start: leadership.epoch_start,
        });
        let proposal = alter.submit(self.id, self.leader_epoch, self.partition_epoch, isr);
        leadership.isr.propose(PendingIsr { proposal, added });
        self.note_isr(cx);
    }

    /// Moves the high watermark to what every replica has that is in the ISR, may be, or is about
    /// to come in. Returns whether it moved.
    ///
    /// While the ISR is smaller than the minimum, nothing new commits (KIP-966).
    pub(super) fn maybe_increment_high_watermark(
        &mut self,
        cx: &mut Context<'_>,
        around: &Surroundings,
    ) -> bool {
        let min_isr = self.min_isr();
        let log_end = self.log.log_end();
        let Some(leadership) = &self.leadership else {
            return false;
        };
        if leadership.isr.members().len() < min_isr {
            return false;
        }
        let mut next = log_end;
        let mut next_without_joining = log_end;
        for (&replica, follower) in &leadership.followers {
            if next_without_joining <= follower.log_end {
                continue;
            }
            let in_isr = leadership.isr.contains(replica);
            let counts = if cx.has(Bug::Kip497HwIgnoresPendingIsr) {
                in_isr
            } else {
                leadership.isr.maximal_contains(replica)
                    || (follower.is_caught_up(log_end, cx.now.mono_ms, around.lag_max_ms)
                        && around.cluster.may_join_isr(replica, follower.broker_epoch))
            };
            if counts {
                next = next.min(follower.log_end);
            }
            if in_isr {
                next_without_joining = next_without_joining.min(follower.log_end);
            }
        }
        let joining = leadership.isr.pending().and_then(|it| it.added);
        let joining = joining.and_then(|it| leadership.followers.get(&it));
        if next < next_without_joining && joining.is_some_and(|it| it.log_end == next) {
            cx.effects.probe(Probe::HighWatermarkHeldByPendingIsr);
        }
        self.log.maybe_increment_high_watermark(cx, next)
    }

    fn note_skipped_epochs(&self, cx: &mut Context<'_>, state: &PartitionState) {
        let known = self.leader_epoch != LeaderEpoch::NONE;
        if known && self.leader_epoch.next() < state.leader_epoch {
            cx.effects.probe(Probe::EpochsSkipped);
        }
    }

    fn note_isr(&self, cx: &mut Context<'_>) {
        let Some(leadership) = &self.leadership else {
            return;
        };
        cx.effects.note(Note::LeaderIsr {
            partition: self.id,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: leadership.isr.members().to_vec(),
            maximal: leadership.isr.maximal(),
            min_isr: self.min_isr(),
        });
    }
}

/// The controller's answer and the metadata race to a leader: either may bring the new ISR.
fn probe_isr_change(cx: &mut Context<'_>, before: &[NodeId], after: &[NodeId]) {
    if after.iter().any(|it| !before.contains(it)) {
        cx.effects.probe(Probe::IsrExpanded);
    }
    if before.iter().any(|it| !after.contains(it)) {
        cx.effects.probe(Probe::IsrShrunk);
    }
}
