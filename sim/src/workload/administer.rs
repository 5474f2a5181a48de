//! Deals with the committed offsets of a group of its own, as an operator does: commits them in its name,
//! reads them, deletes them and the group. Each offset that it commits is one that it never committed before.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{
    ClientError, Command, Event, GroupAnswer, GroupCall, OffsetAndMetadata, OpId,
};
use broker_model::types::{LeaderEpoch, Offset, StrBytes, TopicPartition};

use super::{App, Journal};
use crate::cluster::TopicFacts;
use crate::history::{Er, Op, P, Res};
use crate::plan::{AdminCall, AdminPlan};
use crate::recorder::Recorder;

/// An application that administers a group.
pub struct Administer {
    journal: Journal,
    group: String,
    topic: String,
    calls: VecDeque<AdminPlan>,
    begun_us: Option<u64>,
    facts: Option<TopicFacts>,
    outstanding: Option<OpId>,
    /// The last offset that it committed.
    offset: i64,
}

impl Administer {
    /// Administers that group's offsets of that topic.
    #[must_use]
    pub fn new(actor: u32, group: &str, topic: &str, calls: Vec<AdminPlan>) -> Self {
        Administer {
            journal: Journal::new(actor),
            group: group.to_owned(),
            topic: topic.to_owned(),
            calls: calls.into(),
            begun_us: None,
            facts: None,
            outstanding: None,
            offset: 0,
        }
    }

    fn name(&self, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: StrBytes::from_string(self.topic.clone()),
            partition,
        }
    }

    /// What the history says of the call, and what the client is told.
    fn call(&mut self, plan: AdminPlan, facts: TopicFacts, recorder: &Recorder) -> (Op, GroupCall) {
        let number = |partition| -> Vec<P> {
            let number = recorder.partition_of(facts.id, partition);
            number.into_iter().collect()
        };
        let partition = plan.partition % facts.partitions;
        let group = StrBytes::from_string(self.group.clone());
        let g = self.group.clone();
        match plan.what {
            AdminCall::AlterOffsets => {
                self.offset += 1;
                let to = OffsetAndMetadata {
                    offset: Offset(self.offset),
                    leader_epoch: LeaderEpoch(-1),
                    metadata: StrBytes::from_static_str(""),
                };
                let ps = number(partition).into_iter();
                let offs = ps.map(|p| (p, self.offset)).collect();
                let offsets = vec![(self.name(partition), to)];
                (
                    Op::AlterOffsets { g, offs },
                    GroupCall::AlterOffsets { group, offsets },
                )
            }
            AdminCall::ListOffsets => {
                let ps = (0..facts.partitions).flat_map(number).collect();
                let partitions = (0..facts.partitions).map(|each| self.name(each)).collect();
                (
                    Op::GroupOffsets { g, ps },
                    GroupCall::ListOffsets { group, partitions },
                )
            }
            AdminCall::DeleteOffsets => {
                let ps = number(partition);
                let partitions = vec![self.name(partition)];
                (
                    Op::DeleteOffsets { g, ps },
                    GroupCall::DeleteOffsets { group, partitions },
                )
            }
            AdminCall::DeleteGroup => (Op::DeleteGroup { g }, GroupCall::Delete { group }),
            AdminCall::DescribeGroup => (Op::DescribeGroup { g }, GroupCall::Describe { group }),
        }
    }

    fn found(&self, answer: GroupAnswer, unanswered: u32, recorder: &Recorder) -> Res {
        match answer {
            GroupAnswer::Done if unanswered == 0 => Res::Unit,
            GroupAnswer::Done => Res::Retried { unanswered },
            GroupAnswer::Offsets(offsets) => {
                let facts = self.facts.expect("it has begun");
                let of = |(name, offset): (TopicPartition, Option<OffsetAndMetadata>)| {
                    let p = recorder.partition_of(facts.id, name.partition)?;
                    Some((p, offset.map_or(-1, |it| it.offset.0)))
                };
                Res::Offs(offsets.into_iter().filter_map(of).collect())
            }
            GroupAnswer::Group { state, members } => Res::Group {
                st: state.to_string(),
                members,
            },
        }
    }
}

impl App for Administer {
    fn begin(&mut self, now_us: u64, topics: &BTreeMap<String, TopicFacts>) {
        self.begun_us = Some(now_us);
        self.facts = topics.get(&self.topic).copied();
    }

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.next_wake_us().is_none_or(|at_us| at_us > now_us) {
            return;
        }
        let (Some(plan), Some(facts)) = (self.calls.pop_front(), self.facts) else {
            return;
        };
        let (op, call) = self.call(plan, facts, recorder);
        let op = self.journal.invoke(now_us, recorder, op);
        self.outstanding = Some(op);
        calls.push_back(Command::Group { op, call });
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
        let Event::Group {
            op,
            result,
            unanswered,
            definite,
        } = event
        else {
            return;
        };
        self.outstanding = None;
        match result {
            Ok(answer) => {
                let found = self.found(answer, unanswered, recorder);
                self.journal.ok(now_us, recorder, op, found);
            }
            Err(error) => {
                let answered = u32::from(matches!(error, ClientError::Broker(_)));
                let er = Er::new(error, unanswered + answered);
                if definite {
                    self.journal.fail(now_us, recorder, op, er);
                } else {
                    self.journal.info(now_us, recorder, op, (er, Res::Unit));
                }
            }
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        let begun_us = self.begun_us?;
        let next = self.calls.front().filter(|_| self.outstanding.is_none())?;
        Some(begun_us + next.at_ms * 1_000)
    }

    fn drain(&mut self) {
        self.calls.clear();
    }

    fn is_done(&self) -> bool {
        self.outstanding.is_none() && self.calls.is_empty()
    }

    fn waits_for(&self) -> String {
        match self.outstanding {
            Some(op) => format!("the end of its call {}", op.0),
            None => format!("{} calls to be made", self.calls.len()),
        }
    }
}
