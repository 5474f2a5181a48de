//! What a member commits, and what comes of it.

use std::collections::VecDeque;

use broker_model::client::command::{
    ClientError, Command, CommitName, GroupMember, OffsetAndMetadata, OpId,
};
use broker_model::types::{LeaderEpoch, Offset, StrBytes, TopicIdPartition, TopicPartition};

use super::{Commit, Member, State};
use crate::history::{Er, Op, Res};
use crate::plan::{CommitStyle, Delivery};
use crate::recorder::Recorder;

impl Member {
    pub(super) fn commits_itself(&self) -> bool {
        matches!(self.plan.commit, CommitStyle::Sync | CommitStyle::Async)
    }

    /// Whether it waits for its commits.
    pub(super) fn is_patient(&self) -> bool {
        self.plan.commit == CommitStyle::Sync
    }

    /// What was processed and is not committed, nor about to be.
    pub(super) fn uncommitted(&self) -> Vec<TopicIdPartition> {
        let owned = self.owned.iter().filter(|(id, progress)| {
            let on_its_way = self.committing.values().any(|commit| {
                let offsets = &commit.offsets;
                offsets.contains(&(**id, progress.processed))
            });
            progress.committed < progress.processed && !on_its_way
        });
        owned.map(|(&id, _)| id).collect()
    }

    pub(super) fn wants_commit(&self) -> bool {
        let at_once = self.draining && self.behind.is_empty();
        self.polled
            && self.commits_itself()
            && self.plan.delivery != Delivery::AtMostOnce
            && (at_once || self.plan.commit_every <= self.since_commit)
            && !self.uncommitted().is_empty()
    }

    /// Commits how far these are processed.
    pub(super) fn commit(
        &mut self,
        now_us: u64,
        partitions: &[TopicIdPartition],
        sync: bool,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) -> OpId {
        self.since_commit = 0;
        self.polled = false;
        let upto = partitions.iter().map(|id| {
            let progress = self.owned[id];
            (*id, progress.processed, progress.epoch)
        });
        let upto: Vec<_> = upto.collect();
        self.commit_offsets(now_us, &upto, sync, recorder, calls)
    }

    pub(super) fn commit_offsets(
        &mut self,
        now_us: u64,
        upto: &[(TopicIdPartition, i64, LeaderEpoch)],
        sync: bool,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) -> OpId {
        self.commits += 1;
        let w = (u64::from(self.journal.actor()) << 32) | self.commits;
        let metadata = StrBytes::from_string(w.to_string());
        let offsets = upto.iter().map(|&(id, offset, leader_epoch)| {
            let offset = OffsetAndMetadata {
                offset: Offset(offset),
                leader_epoch,
                metadata: metadata.clone(),
            };
            (self.named(id), offset)
        });
        let offsets = Some(offsets.collect());
        let upto: Vec<_> = upto.iter().map(|&(id, offset, _)| (id, offset)).collect();
        let op = self.record_commit(now_us, w, &upto, false, recorder);
        let commit = Commit { op, offsets: upto };
        self.committing.insert(CommitName::Call(op), commit);
        calls.push_back(Command::Commit { op, offsets, sync });
        op
    }

    /// The consumer commits without being told to; once more under the same name if what it tries to
    /// commit has changed.
    pub(super) fn commits_by_itself(
        &mut self,
        now_us: u64,
        name: CommitName,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
        recorder: &mut Recorder,
    ) {
        let offsets = offsets.iter().filter_map(|(named, offset)| {
            let id = self.identified(named)?;
            Some((id, offset.offset.0))
        });
        let offsets: Vec<_> = offsets.collect();
        if let Some(before) = self.committing.remove(&name) {
            let outcome = (Er::new(ClientError::TimedOut, 0), Res::Unit);
            self.journal.info(now_us, recorder, before.op, outcome);
        }
        let op = self.record_commit(now_us, 0, &offsets, true, recorder);
        self.committing.insert(name, Commit { op, offsets });
    }

    pub(super) fn record_commit(
        &mut self,
        now_us: u64,
        w: u64,
        offsets: &[(TopicIdPartition, i64)],
        auto: bool,
        recorder: &mut Recorder,
    ) -> OpId {
        let numbered = offsets
            .iter()
            .filter_map(|&(id, offset)| Some((recorder.partition(id)?, offset)));
        let op = Op::CommitOffsets {
            g: self.group.clone(),
            generation: self.member.generation,
            mid: self.member.member_id.to_string(),
            w,
            offs: numbered.collect(),
            auto,
        };
        self.journal.invoke(now_us, recorder, op)
    }

    /// A commit ended.
    pub(super) fn committed(
        &mut self,
        now_us: u64,
        (name, member): (CommitName, &GroupMember),
        result: Result<(), ClientError>,
        (attempts, definite): (u32, bool),
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let Some(commit) = self.committing.remove(&name) else {
            return;
        };
        let of = Res::As {
            generation: member.generation,
            mid: member.member_id.to_string(),
        };
        match result {
            Ok(()) => {
                self.journal.ok(now_us, recorder, commit.op, of);
                for (id, offset) in commit.offsets {
                    if let Some(progress) = self.owned.get_mut(&id) {
                        progress.committed = progress.committed.max(offset);
                    }
                }
            }
            Err(error) => {
                let er = Er::new(error, attempts);
                if definite {
                    self.journal.fail(now_us, recorder, commit.op, er);
                } else {
                    self.journal.info(now_us, recorder, commit.op, (er, of));
                }
            }
        }
        let waiting = self.callback.as_ref().map(|callback| callback.commit);
        if waiting == Some(commit.op) {
            self.revoked(now_us, recorder, calls);
        }
        if let State::Committing(op, batch) = &self.state
            && *op == commit.op
        {
            let batch = batch.clone().filter(|_| result.is_ok());
            self.state = State::Turn { at_us: now_us };
            if let Some(batch) = batch {
                self.work(now_us, batch);
            }
        }
    }
}

/// What a group has committed, as the history says it.
pub(in crate::workload) fn committed_offsets(
    offsets: Vec<(TopicPartition, Option<OffsetAndMetadata>)>,
    number: impl Fn(&TopicPartition) -> Option<u32>,
) -> Res {
    let found = offsets.into_iter().filter_map(|(named, offset)| {
        let p = number(&named)?;
        let Some(offset) = offset else {
            return Some((p, -1, 0));
        };
        let w = offset.metadata.parse().unwrap_or(0);
        Some((p, offset.offset.0, w))
    });
    Res::Committed(found.collect())
}
