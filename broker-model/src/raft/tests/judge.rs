//! What must hold in every schedule: the invariants of Raft, checked after every effect.
//!
//! Raft figure 3 and invariants KR-1 to KR-9, KR-15 of the catalogue, over all nodes and all time.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::disk::MemoryDisk;
use crate::effect::{DiskRead, Effect, File};
use crate::note::{Note, RaftRole};
use crate::raft::quorum_state::ElectionState;
use crate::raft::{CommittedBatch, RaftEvent};
use crate::types::{LeaderEpoch, NodeId, Offset};
use crate::wire::batch::BatchIter;

/// The history of a run, as far as the invariants need it.
#[derive(Debug, Default)]
pub(super) struct Judge {
    voters: i32,
    leaders: BTreeMap<LeaderEpoch, NodeId>,
    votes: BTreeMap<(NodeId, LeaderEpoch), NodeId>,
    replicas: BTreeMap<NodeId, Replica>,
    /// (epoch, end offset) of every batch ever appended, and the hash of the log up to it.
    logs: BTreeMap<(LeaderEpoch, Offset), u64>,
    /// Every offset that was a leader's high watermark, and the hash of the log up to it.
    committed: BTreeMap<Offset, u64>,
    /// What was handed out, by base offset.
    handed_out: BTreeMap<Offset, CommittedBatch>,
}

#[derive(Debug, Default)]
struct Replica {
    epoch: LeaderEpoch,
    role: Option<RaftRole>,
    /// The end of each batch, and the hash of the log up to it.
    log: Vec<(Offset, u64)>,
    flushed: Offset,
    high_watermark: Offset,
    /// The base offset of the next batch to be handed out.
    next: Offset,
}

impl Replica {
    fn end(&self) -> Offset {
        self.log.last().map_or(Offset::ZERO, |&(end, _)| end)
    }

    fn hash_at(&self, offset: Offset) -> Option<u64> {
        if offset == Offset::ZERO {
            return Some(0);
        }
        let at = self.log.binary_search_by_key(&offset, |&(end, _)| end);
        at.ok().map(|at| self.log[at].1)
    }
}

impl Judge {
    pub(super) fn new(voters: i32) -> Self {
        Judge {
            voters,
            ..Judge::default()
        }
    }

    /// The largest offset that any leader committed.
    pub(super) fn high_watermark(&self) -> Offset {
        let last = self.committed.last_key_value();
        last.map_or(Offset::ZERO, |(&offset, _)| offset)
    }

    /// The leader of the largest epoch that had one.
    pub(super) fn last_leader(&self) -> Option<NodeId> {
        self.leaders.last_key_value().map(|(_, &leader)| leader)
    }

    /// The values that were handed out, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        let data = self.handed_out.values().filter(|batch| !batch.control);
        data.flat_map(|batch| batch.records.iter().map(|value| &value[..]))
    }

    /// An effect is about to be carried out.
    pub(super) fn on_effect(
        &mut self,
        node: NodeId,
        effect: &Effect,
        disk: &MemoryDisk,
    ) -> Result<(), String> {
        match effect {
            Effect::Note(note) => self.on_note(node, note, disk),
            Effect::Send { body, .. } => {
                let asks_for_vote = matches!(&**body, RequestKind::Vote(request)
                    if !request.topics[0].partitions[0].pre_vote);
                self.on_message(node, request_epoch(body), asks_for_vote, disk)
            }
            Effect::Reply { body, .. } => self.on_message(node, response_epoch(body), false, disk),
            _ => Ok(()),
        }
    }

    /// Nothing leaves a node before the disk has the epoch that it speaks of.
    fn on_message(
        &self,
        node: NodeId,
        epoch: Option<LeaderEpoch>,
        asks_for_vote: bool,
        disk: &MemoryDisk,
    ) -> Result<(), String> {
        let Some(epoch) = epoch else { return Ok(()) };
        let durable = durable_election(disk);
        check(epoch <= durable.epoch, || {
            format!("{node} speaks in epoch {epoch}, its disk has {durable:?}")
        })?;
        let voted = durable.voted.map(|voted| voted.id);
        let moved_on = epoch < durable.epoch || durable.leader.is_some();
        check(!asks_for_vote || moved_on || voted == Some(node), || {
            format!("{node} asks for votes in epoch {epoch}, its disk has {durable:?}")
        })
    }

    fn on_note(&mut self, node: NodeId, note: &Note, disk: &MemoryDisk) -> Result<(), String> {
        match *note {
            Note::RaftRecovered { log_end, .. } => self.on_recovered(node, log_end, disk),
            Note::RaftRole {
                epoch,
                role,
                leader,
                log_end,
                ..
            } => self.on_role(node, (epoch, role, leader), log_end),
            Note::QuorumStateWritten { epoch, leader, .. } => self.one_leader(epoch, leader),
            Note::VoteAnswered {
                candidate,
                epoch,
                pre_vote: false,
                granted: true,
            } => {
                let durable = durable_election(disk);
                let voted = durable.voted.map(|voted| voted.id);
                check((durable.epoch, voted) == (epoch, Some(candidate)), || {
                    format!("{node} votes for {candidate} in {epoch}, its disk has {durable:?}")
                })?;
                self.one_vote(node, epoch, candidate)
            }
            Note::RaftAppend {
                epoch,
                base,
                last,
                crc,
            } => self.on_append(node, epoch, base, last.next(), crc),
            Note::RaftFlushed { to } => {
                let replica = self.replica(node);
                replica.flushed = to;
                let durable = hashes(disk.durable(File::MetadataLog));
                check(
                    durable.contains(&(to, replica.hash_at(to).unwrap_or(0))),
                    || format!("{node} says that {to} is on disk"),
                )
            }
            Note::RaftTruncate { to, .. } => self.on_truncate(node, to),
            Note::RaftHighWatermark {
                high_watermark,
                leader,
                epoch_start,
                ..
            } => self.on_high_watermark(node, high_watermark, leader.then_some(epoch_start)),
            _ => Ok(()),
        }
    }

    /// The log is what a crash left of it.
    fn on_recovered(
        &mut self,
        node: NodeId,
        log_end: Offset,
        disk: &MemoryDisk,
    ) -> Result<(), String> {
        let mut log = hashes(disk.read_all(File::MetadataLog).as_ref());
        log.retain(|&(end, _)| end <= log_end);
        let durable = hashes(disk.durable(File::MetadataLog));
        let replica = self.replica(node);
        let on_disk = log.iter().filter(|batch| durable.contains(batch));
        *replica = Replica {
            epoch: replica.epoch,
            flushed: on_disk.max().map_or(Offset::ZERO, |&(end, _)| end),
            log,
            ..Replica::default()
        };
        check(replica.end() == log_end, || {
            format!("{node} recovered to {log_end}, it has {}", replica.end())
        })
    }

    fn on_role(
        &mut self,
        node: NodeId,
        (epoch, role, leader): (LeaderEpoch, RaftRole, Option<NodeId>),
        log_end: Offset,
    ) -> Result<(), String> {
        let replica = self.replica(node);
        check(replica.epoch <= epoch, || {
            format!("{node} went back from epoch {} to {epoch}", replica.epoch)
        })?;
        check(role != RaftRole::Leader || replica.end() == log_end, || {
            format!("{node} says {log_end}, has {}", replica.end())
        })?;
        replica.epoch = epoch;
        replica.role = Some(role);
        self.one_leader(epoch, leader)?;
        if role == RaftRole::Candidate {
            self.one_vote(node, epoch, node)?;
        }
        if role == RaftRole::Leader {
            self.leader_is_complete(node)?;
        }
        Ok(())
    }

    /// Election safety (KR-1).
    fn one_leader(&mut self, epoch: LeaderEpoch, leader: Option<NodeId>) -> Result<(), String> {
        let Some(leader) = leader else { return Ok(()) };
        let known = *self.leaders.entry(epoch).or_insert(leader);
        check(known == leader, || {
            format!("two leaders in epoch {epoch}: {known} and {leader}")
        })
    }

    /// KR-2.
    fn one_vote(&mut self, node: NodeId, epoch: LeaderEpoch, to: NodeId) -> Result<(), String> {
        let known = *self.votes.entry((node, epoch)).or_insert(to);
        check(known == to, || {
            format!("{node} voted for {known} and {to} in epoch {epoch}")
        })
    }

    /// Leader completeness (KR-6).
    fn leader_is_complete(&self, node: NodeId) -> Result<(), String> {
        let Some((&offset, &hash)) = self.committed.last_key_value() else {
            return Ok(());
        };
        check(self.replicas[&node].hash_at(offset) == Some(hash), || {
            format!("leader {node} lacks what was committed up to {offset}")
        })
    }

    /// Log matching (KR-5).
    fn on_append(
        &mut self,
        node: NodeId,
        epoch: LeaderEpoch,
        base: Offset,
        end: Offset,
        crc: u32,
    ) -> Result<(), String> {
        let replica = self.replica(node);
        check(replica.end() == base, || {
            format!("{node} leaves a gap at {base}")
        })?;
        check(epoch <= replica.epoch, || {
            format!("{node} appends epoch {epoch} in epoch {}", replica.epoch)
        })?;
        let before = replica.log.last().map_or(0, |&(_, hash)| hash);
        let hash = chain(before, epoch, (base, end), crc);
        replica.log.push((end, hash));
        let known = *self.logs.entry((epoch, end)).or_insert(hash);
        check(known == hash, || {
            format!("two logs up to offset {end} of epoch {epoch}, one on {node}")
        })
    }

    /// KR-4 and KR-9.
    fn on_truncate(&mut self, node: NodeId, to: Offset) -> Result<(), String> {
        let committed = self.high_watermark();
        let canon = self.committed.get(&committed).copied();
        let replica = self.replica(node);
        check(replica.role != Some(RaftRole::Leader), || {
            format!("leader {node} cuts its log")
        })?;
        let held = replica.hash_at(committed) == canon;
        check(!held || committed <= to, || {
            format!("{node} cuts what was committed: {to} below {committed}")
        })?;
        check(replica.high_watermark <= to, || {
            format!("{node} cuts below its high watermark")
        })?;
        replica.log.retain(|&(end, _)| end <= to);
        replica.flushed = replica.flushed.min(to);
        Ok(())
    }

    /// KR-7 and KR-8.
    fn on_high_watermark(
        &mut self,
        node: NodeId,
        to: Offset,
        epoch_start: Option<Offset>,
    ) -> Result<(), String> {
        let replica = self.replica(node);
        check(replica.high_watermark < to && to <= replica.end(), || {
            format!(
                "{node} moves its high watermark from {} to {to}",
                replica.high_watermark
            )
        })?;
        replica.high_watermark = to;
        let hash = replica.hash_at(to);
        let Some(epoch_start) = epoch_start else {
            let known = self.committed.get(&to).copied();
            return check(known.is_none() || known == hash, || {
                format!("{node} has another log up to the high watermark {to}")
            });
        };
        check(epoch_start < to, || {
            format!("{node} commits {to} by counting, its epoch starts at {epoch_start}")
        })?;
        let voters = (1..=self.voters).filter_map(|id| self.replicas.get(&NodeId(id)));
        let copies = voters
            .filter(|voter| to <= voter.flushed && voter.hash_at(to) == hash)
            .count();
        let majority = usize::try_from(self.voters / 2 + 1).expect("a few voters");
        check(majority <= copies, || {
            format!("{node} commits {to} with {copies} copies on disk")
        })?;
        let hash = hash.ok_or_else(|| format!("{node} commits inside a batch: {to}"))?;
        let known = *self.committed.entry(to).or_insert(hash);
        check(known == hash, || format!("two committed logs up to {to}"))
    }

    /// State machine safety (KR-10), and no gaps.
    pub(super) fn on_event(&mut self, node: NodeId, event: &RaftEvent) -> Result<(), String> {
        let RaftEvent::Committed(batch) = event else {
            return Ok(());
        };
        let replica = self.replica(node);
        check(
            replica.next == batch.base && batch.last < replica.high_watermark,
            || format!("{node} hands out {} after {}", batch.base, replica.next),
        )?;
        replica.next = batch.last.next();
        let known = self
            .handed_out
            .entry(batch.base)
            .or_insert_with(|| batch.clone());
        check(known == batch, || {
            format!("two batches committed at {}", batch.base)
        })
    }

    fn replica(&mut self, node: NodeId) -> &mut Replica {
        self.replicas.entry(node).or_default()
    }
}

fn check(holds: bool, violation: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(violation()) }
}

/// The end of each whole batch of a file, and the hash of the log up to it.
fn hashes(file: Option<&Bytes>) -> Vec<(Offset, u64)> {
    let mut log = Vec::new();
    let mut hash = 0;
    let batches = file.map(|file| BatchIter::new(file)).into_iter().flatten();
    for batch in batches
        .map_while(Result::ok)
        .filter(|batch| batch.is_crc_valid())
    {
        let header = batch.header;
        let (base, end) = (header.base_offset, header.next_offset());
        hash = chain(hash, header.partition_leader_epoch, (base, end), header.crc);
        log.push((end, hash));
    }
    log
}

fn chain(before: u64, epoch: LeaderEpoch, (base, end): (Offset, Offset), crc: u32) -> u64 {
    let parts = [i64::from(epoch.0), base.0, end.0, i64::from(crc)];
    parts.into_iter().fold(before, |hash, part| {
        let mixed = (hash ^ part.unsigned_abs()).wrapping_mul(0x0100_0000_01B3);
        mixed.rotate_left(29)
    })
}

fn durable_election(disk: &MemoryDisk) -> ElectionState {
    disk.durable(File::QuorumState)
        .map_or(ElectionState::INITIAL, |content| {
            ElectionState::decode(content).expect("written by the model")
        })
}

fn request_epoch(body: &RequestKind) -> Option<LeaderEpoch> {
    let epoch = match body {
        RequestKind::Vote(request) => request.topics[0].partitions[0].replica_epoch,
        RequestKind::BeginQuorumEpoch(request) => request.topics[0].partitions[0].leader_epoch,
        RequestKind::EndQuorumEpoch(request) => request.topics[0].partitions[0].leader_epoch,
        RequestKind::Fetch(request) => request.topics[0].partitions[0].current_leader_epoch,
        _ => return None,
    };
    Some(LeaderEpoch(epoch))
}

fn response_epoch(body: &ResponseKind) -> Option<LeaderEpoch> {
    let epoch = match body {
        ResponseKind::Vote(response) => response.topics.first()?.partitions[0].leader_epoch,
        ResponseKind::BeginQuorumEpoch(response) => {
            response.topics.first()?.partitions[0].leader_epoch
        }
        ResponseKind::EndQuorumEpoch(response) => {
            response.topics.first()?.partitions[0].leader_epoch
        }
        ResponseKind::Fetch(response) => {
            let topic = response.responses.first()?;
            topic.partitions[0].current_leader.leader_epoch
        }
        _ => return None,
    };
    Some(LeaderEpoch(epoch))
}
