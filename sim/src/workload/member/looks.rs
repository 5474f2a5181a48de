//! What a member asks its consumer: what its group has committed, and where it is.

use std::collections::VecDeque;

use broker_model::client::command::{ClientError, Command, OffsetAndMetadata, OpId};
use broker_model::types::{Offset, TopicPartition};

use super::commits::committed_offsets;
use super::{Member, State};
use crate::history::{Er, Op, Res};
use crate::recorder::Recorder;

impl Member {
    pub(super) fn wants_look(&self, now_us: u64) -> bool {
        let next = self.plan.looks_ms.get(self.looks);
        self.is_due(now_us, next.copied()) && !self.owned.is_empty()
    }

    pub(super) fn look(
        &mut self,
        now_us: u64,
        recorder: &mut Recorder,
        calls: &mut VecDeque<Command>,
    ) {
        self.looks += 1;
        if self.looks.is_multiple_of(2) {
            return self.ask(now_us, recorder, calls);
        }
        let owned = self.owned.keys().map(|&id| self.named(id));
        let partitions: Vec<TopicPartition> = owned.collect();
        let op = Op::FetchOffsets {
            g: self.group.clone(),
            ps: self.numbers(&partitions, recorder),
        };
        let op = self.journal.invoke(now_us, recorder, op);
        self.state = State::Looking(op);
        calls.push_back(Command::Committed { op, partitions });
    }

    /// Asks where it is in its first partition.
    fn ask(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        let mut owned = self.owned.keys();
        let first = owned.find_map(|&id| Some((id, recorder.partition(id)?)));
        let (id, p) = first.expect("it looks only at what it owns");
        let op = self.journal.invoke(now_us, recorder, Op::Position { p });
        self.state = State::Asking(op, p);
        let partition = self.named(id);
        calls.push_back(Command::Position { op, partition });
    }

    pub(super) fn answered(
        &mut self,
        now_us: u64,
        op: OpId,
        result: Result<Offset, ClientError>,
        recorder: &mut Recorder,
    ) {
        let State::Asking(_, p) = self.state else {
            unreachable!("each call ends once");
        };
        match result {
            Ok(offset) => {
                let at = Res::Offs(vec![(p, offset.0)]);
                self.journal.ok(now_us, recorder, op, at);
            }
            Err(error) => self.journal.fail(now_us, recorder, op, Er::new(error, 0)),
        }
        self.state = State::Turn { at_us: now_us };
    }

    pub(super) fn looked(
        &mut self,
        now_us: u64,
        op: OpId,
        result: Result<Vec<(TopicPartition, Option<OffsetAndMetadata>)>, ClientError>,
        recorder: &mut Recorder,
    ) {
        match result {
            Ok(offsets) => {
                let found =
                    committed_offsets(offsets, |named| recorder.partition(self.identified(named)?));
                self.journal.ok(now_us, recorder, op, found);
            }
            Err(error) => self.journal.fail(now_us, recorder, op, Er::new(error, 0)),
        }
        self.state = State::Turn { at_us: now_us };
    }
}
