//! One change of one partition: who leads, who is in sync, who holds a replica.
//!
//! Mirrors `PartitionChangeBuilder`, `PartitionReassignmentReplicas` and
//! `PartitionReassignmentRevert`, without eligible leader replicas (KIP-966): the last member of an
//! ISR stays in it. Whether a replica's log directory is online is not asked (KIP-858).

use crate::metadata::image::PartitionRegistration;
use crate::metadata::record::PartitionChangeRecord;
use crate::types::{NodeId, TopicIdPartition, Uuid};

/// Whom an election may choose (`PartitionChangeBuilder.Election`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Election {
    /// The preferred replica if it is in the ISR, else whoever keeps the partition online.
    Preferred,
    /// A member of the ISR, if the leader cannot stay.
    Online,
    /// A member of the ISR, or any live replica if there is none: what it lacks is lost.
    Unclean,
}

/// What a partition is to become.
pub(super) struct PartitionChange<'a> {
    partition: TopicIdPartition,
    before: &'a PartitionRegistration,
    election: Election,
    target: PartitionRegistration,
}

impl<'a> PartitionChange<'a> {
    /// A change that only elects, and only if the leader cannot stay.
    pub(super) fn of(partition: TopicIdPartition, before: &'a PartitionRegistration) -> Self {
        PartitionChange {
            partition,
            before,
            election: Election::Online,
            target: before.clone(),
        }
    }

    pub(super) fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    pub(super) fn isr(mut self, isr: Vec<NodeId>) -> Self {
        self.target.state.isr = isr;
        self
    }

    pub(super) fn recovering(mut self, recovering: bool) -> Self {
        self.target.state.recovering = recovering;
        self
    }

    pub(super) fn replicas(mut self, replicas: Vec<NodeId>) -> Self {
        self.target.state.replicas = replicas;
        self
    }

    pub(super) fn reassigning(mut self, removing: Vec<NodeId>, adding: Vec<NodeId>) -> Self {
        self.target.removing = removing;
        self.target.adding = adding;
        self
    }

    /// The record, or `None` when nothing changes. `is_acceptable` says whether a broker may lead,
    /// `default_dir` where a new replica of it goes.
    pub(super) fn build(
        mut self,
        is_acceptable: impl Fn(NodeId) -> bool,
        default_dir: impl Fn(NodeId) -> Uuid,
    ) -> Option<PartitionChangeRecord> {
        let mut record = PartitionChangeRecord::new(self.partition);
        self.complete_reassignment();
        self.elect(&mut record, &is_acceptable);
        self.bump_leader_epoch_for_reassignment(&mut record);
        let isr = &self.target.state.isr;
        if record.isr.is_none() && !isr.is_empty() && *isr != self.before.state.isr {
            record.isr = Some(isr.clone());
        }
        self.set_assignment(&mut record, &default_dir);
        if self.target.state.recovering != self.before.state.recovering {
            record.recovering = Some(self.target.state.recovering);
        }
        (!record.is_no_op()).then_some(record)
    }

    /// Once every replica that stays is in sync, those that go are dropped.
    fn complete_reassignment(&mut self) {
        if !self.target.is_reassigning() {
            return;
        }
        let stays = |replica: &NodeId| !self.target.removing.contains(replica);
        let state = &self.target.state;
        let isr: Vec<NodeId> = state.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<NodeId> = state.replicas.iter().copied().filter(stays).collect();
        let complete = replicas.iter().all(|replica| isr.contains(replica));
        if isr.is_empty() || replicas.is_empty() || !complete {
            return;
        }
        self.target.state.isr = isr;
        self.target.state.replicas = replicas;
        self.target.removing.clear();
        self.target.adding.clear();
    }

    fn elect(
        &mut self,
        record: &mut PartitionChangeRecord,
        is_acceptable: &impl Fn(NodeId) -> bool,
    ) {
        let (leader, unclean) = self.elected(is_acceptable);
        if leader == self.before.state.leader {
            return;
        }
        record.leader = Some(leader);
        if unclean {
            // What the new leader lacks is lost, so nobody else can be in sync with it.
            record.isr = Some(vec![leader]);
            if !self.before.state.recovering {
                record.recovering = Some(true);
            }
        }
    }

    /// Who leads from now on, and whether that replica may lack committed records.
    fn elected(&self, is_acceptable: &impl Fn(NodeId) -> bool) -> (NodeId, bool) {
        let state = &self.target.state;
        let is_valid = |replica: NodeId| state.isr.contains(&replica) && is_acceptable(replica);
        let preferred = self.target.preferred();
        if self.election == Election::Preferred && is_valid(preferred) {
            return (preferred, false);
        }
        let current = self.before.state.leader;
        if is_valid(current) {
            return (current, false);
        }
        let mut replicas = state.replicas.iter().copied();
        if let Some(online) = replicas.clone().find(|&replica| is_valid(replica)) {
            return (online, false);
        }
        if self.election == Election::Unclean
            && let Some(unclean) = replicas.find(|&replica| is_acceptable(replica))
        {
            return (unclean, true);
        }
        (NodeId::NONE, false)
    }

    /// A replica that leaves must not go on as if it were one: a new leader epoch fences it.
    fn bump_leader_epoch_for_reassignment(&self, record: &mut PartitionChangeRecord) {
        let replicas = &self.target.state.replicas;
        let mut before = self.before.state.replicas.iter();
        if record.leader.is_none() && !before.all(|replica| replicas.contains(replica)) {
            record.leader = Some(self.before.state.leader);
        }
    }

    fn set_assignment(
        &self,
        record: &mut PartitionChangeRecord,
        default_dir: &impl Fn(NodeId) -> Uuid,
    ) {
        let replicas = &self.target.state.replicas;
        let directories: Vec<Uuid> = replicas
            .iter()
            .map(|&replica| {
                self.directory(replica)
                    .unwrap_or_else(|| default_dir(replica))
            })
            .collect();
        if directories != self.before.directories {
            record.directories = Some(directories);
        }
        if *replicas != self.before.state.replicas {
            record.replicas = Some(replicas.clone());
        }
        if self.target.removing != self.before.removing {
            record.removing = Some(self.target.removing.clone());
        }
        if self.target.adding != self.before.adding {
            record.adding = Some(self.target.adding.clone());
        }
    }

    fn directory(&self, replica: NodeId) -> Option<Uuid> {
        let mut replicas = self.before.state.replicas.iter();
        let at = replicas.position(|&it| it == replica)?;
        self.before.directories.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::PartitionState;
    use crate::types::{LeaderEpoch, PartitionEpoch};

    const P0: TopicIdPartition = TopicIdPartition {
        topic: Uuid::from_u128(0x7077),
        partition: 0,
    };

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn partition(replicas: &[i32], isr: &[i32], leader: i32) -> PartitionRegistration {
        PartitionRegistration {
            state: PartitionState {
                replicas: nodes(replicas),
                isr: nodes(isr),
                leader: NodeId(leader),
                leader_epoch: LeaderEpoch(5),
                partition_epoch: PartitionEpoch(9),
                recovering: false,
            },
            removing: vec![],
            adding: vec![],
            directories: replicas.iter().map(|_| Uuid::from_u128(1)).collect(),
        }
    }

    fn build(change: PartitionChange<'_>, live: &[i32]) -> Option<PartitionChangeRecord> {
        change.build(|broker| live.contains(&broker.0), |_| Uuid::from_u128(1))
    }

    #[test]
    fn an_isr_that_shrinks_does_not_raise_the_leader_epoch() {
        let before = partition(&[1, 2, 3], &[1, 2, 3], 1);
        let change = PartitionChange::of(P0, &before).isr(nodes(&[1, 2]));
        let record = build(change, &[1, 2, 3]).expect("the ISR changes");
        assert_eq!(record.isr, Some(nodes(&[1, 2])));
        assert_eq!(record.leader, None, "KAFKA-15021 was fixed in 3.6");
    }

    #[test]
    fn the_last_member_of_an_isr_stays_in_it() {
        let before = partition(&[1, 2], &[1], 1);
        let change = PartitionChange::of(P0, &before).isr(vec![]);
        let record = build(change, &[2]).expect("the leader goes");
        assert_eq!(record.leader, Some(NodeId::NONE));
        assert_eq!(record.isr, None);
    }

    #[test]
    fn an_unclean_leader_is_alone_in_its_isr_and_recovers() {
        let before = partition(&[1, 2], &[1], 1);
        let change = PartitionChange::of(P0, &before)
            .election(Election::Unclean)
            .isr(vec![]);
        let record = build(change, &[2]).expect("the leader changes");
        assert_eq!(record.leader, Some(NodeId(2)));
        assert_eq!(record.isr, Some(nodes(&[2])));
        assert_eq!(record.recovering, Some(true));
    }

    #[test]
    fn an_unclean_election_prefers_the_isr() {
        let before = partition(&[1, 2, 3], &[1, 3], 1);
        let change = PartitionChange::of(P0, &before)
            .election(Election::Unclean)
            .isr(nodes(&[3]));
        let record = build(change, &[2, 3]).expect("the leader changes");
        assert_eq!((record.leader, record.recovering), (Some(NodeId(3)), None));
    }

    #[test]
    fn the_preferred_replica_leads_again_only_from_within_the_isr() {
        let outside = partition(&[1, 2], &[2], 2);
        let change = PartitionChange::of(P0, &outside).election(Election::Preferred);
        assert_eq!(build(change, &[1, 2]), None);

        let inside = partition(&[1, 2], &[1, 2], 2);
        let change = PartitionChange::of(P0, &inside).election(Election::Preferred);
        let record = build(change, &[1, 2]).expect("the leader changes");
        assert_eq!(record.leader, Some(NodeId(1)));
    }

    #[test]
    fn a_reassignment_completes_when_every_target_is_in_sync() {
        let mut before = partition(&[3, 2, 1], &[1, 2], 1);
        before.adding = nodes(&[3]);
        before.removing = nodes(&[1]);
        let change = PartitionChange::of(P0, &before).isr(nodes(&[1, 2, 3]));
        let record = build(change, &[1, 2, 3]).expect("the reassignment completes");
        assert_eq!(record.replicas, Some(nodes(&[3, 2])));
        assert_eq!(record.isr, Some(nodes(&[2, 3])));
        assert_eq!(record.leader, Some(NodeId(3)));
        assert_eq!(
            (record.removing, record.adding),
            (Some(vec![]), Some(vec![]))
        );
    }

    #[test]
    fn dropping_a_replica_raises_the_leader_epoch_even_if_the_leader_stays() {
        let mut before = partition(&[1, 2, 3], &[1, 2], 1);
        before.removing = nodes(&[3]);
        let record = build(PartitionChange::of(P0, &before), &[1, 2, 3]).expect("it completes");
        assert_eq!(record.leader, Some(NodeId(1)));
        assert_eq!(record.replicas, Some(nodes(&[1, 2])));
    }
}
