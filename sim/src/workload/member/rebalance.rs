//! A member's rebalance listener: it commits what was processed before it gives partitions up.

use std::collections::VecDeque;

use broker_model::client::command::{CallbackId, Command, OpId, RebalanceCallback};
use broker_model::types::{LeaderEpoch, TopicPartition};

use super::{Callback, Member, Progress};
use crate::history::Ev;
use crate::plan::Delivery;
use crate::recorder::Recorder;

impl Member {
    pub(super) fn rebalance(
        &mut self,
        now_us: u64,
        id: CallbackId,
        what: RebalanceCallback,
        partitions: Vec<TopicPartition>,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let g = self.group.clone();
        let generation = self.member.generation;
        let mid = self.member.member_id.to_string();
        match what {
            RebalanceCallback::Assigned => {
                self.assignments += 1;
                let new = partitions.iter().filter_map(|named| self.identified(named));
                for id in new.collect::<Vec<_>>() {
                    let progress = Progress {
                        assignment: self.assignments,
                        position: -1,
                        processed: -1,
                        epoch: LeaderEpoch::NONE,
                        committed: -1,
                    };
                    self.owned.insert(id, progress);
                }
                let ps = self.numbers(&partitions, recorder);
                let ps = ps.into_iter().map(|p| (p, -1)).collect();
                let assigned = Ev::Assigned {
                    g,
                    generation,
                    mid,
                    ps,
                };
                self.tell(now_us, assigned, recorder);
                calls.push_back(Command::CallbackDone { callback: id });
            }
            RebalanceCallback::Lost => {
                self.give_up(&partitions);
                let ps = self.numbers(&partitions, recorder);
                let lost = Ev::Lost {
                    g,
                    generation,
                    mid,
                    ps,
                };
                self.tell(now_us, lost, recorder);
                calls.push_back(Command::CallbackDone { callback: id });
            }
            RebalanceCallback::Revoked => {
                let mut uncommitted = self.uncommitted();
                if !self.commits_itself() || self.plan.delivery == Delivery::AtMostOnce {
                    uncommitted.clear();
                }
                let waits = !uncommitted.is_empty();
                let commit = if waits {
                    self.commit(now_us, &uncommitted, true, recorder, calls)
                } else {
                    OpId(0)
                };
                self.callback = Some(Callback {
                    id,
                    partitions,
                    commit,
                });
                if !waits {
                    self.revoked(now_us, recorder, calls);
                }
            }
        }
    }

    /// The revoked listener returns.
    pub(super) fn revoked(
        &mut self,
        now_us: u64,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        let Some(Callback { id, partitions, .. }) = self.callback.take() else {
            return;
        };
        self.give_up(&partitions);
        let revoked = Ev::Revoked {
            g: self.group.clone(),
            generation: self.member.generation,
            mid: self.member.member_id.to_string(),
            ps: self.numbers(&partitions, recorder),
        };
        self.tell(now_us, revoked, recorder);
        calls.push_back(Command::CallbackDone { callback: id });
    }

    pub(super) fn give_up(&mut self, partitions: &[TopicPartition]) {
        for named in partitions {
            if let Some(id) = self.identified(named) {
                self.owned.remove(&id);
            }
            if self.paused.as_ref().is_some_and(|(p, _)| p == named) {
                self.paused = None;
            }
        }
    }
}
