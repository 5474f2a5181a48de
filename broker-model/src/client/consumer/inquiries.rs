//! Calls of `KafkaConsumer.position`: each waits until the partition has a valid position, for at most
//! `default.api.timeout.ms`.

use std::collections::VecDeque;

use super::positions::Positions;
use crate::client::command::{ClientError, Event, OpId};
use crate::config::ConsumerConfig;
use crate::effect::Effects;
use crate::types::{Now, Offset, TopicPartition};

/// The calls that wait.
#[derive(Debug)]
pub(super) struct Inquiries {
    timeout_ms: u64,
    waiting: VecDeque<Inquiry>,
}

#[derive(Debug)]
struct Inquiry {
    op: OpId,
    partition: TopicPartition,
    deadline_ms: u64,
}

impl Inquiries {
    /// None waits.
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        Inquiries {
            timeout_ms: config.default_api_timeout_ms,
            waiting: VecDeque::new(),
        }
    }

    /// The application asks.
    pub(super) fn ask(&mut self, now: Now, op: OpId, partition: TopicPartition) {
        self.waiting.push_back(Inquiry {
            op,
            partition,
            deadline_ms: now.mono_ms + self.timeout_ms,
        });
    }

    /// Whether nobody asks.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Answers what can be answered.
    pub(super) fn answer(&mut self, now: Now, positions: &Positions, effects: &mut Effects) {
        self.waiting.retain(|inquiry| {
            let result = match positions.position(&inquiry.partition) {
                None => Err(ClientError::NotAssigned),
                Some(Some(offset)) => Ok(offset),
                Some(None) if inquiry.deadline_ms <= now.mono_ms => Err(ClientError::TimedOut),
                Some(None) => return true,
            };
            end(inquiry.op, result, effects);
            false
        });
    }

    /// The oldest call ends with that error. False if there is none.
    pub(super) fn fail_first(&mut self, error: ClientError, effects: &mut Effects) -> bool {
        let Some(inquiry) = self.waiting.pop_front() else {
            return false;
        };
        end(inquiry.op, Err(error), effects);
        true
    }

    /// When the first of them gives up, monotonic.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|it| it.deadline_ms).min()
    }
}

/// A call ends.
pub(super) fn end(op: OpId, result: Result<Offset, ClientError>, effects: &mut Effects) {
    effects.event(Event::Position { op, result });
}
