//! Creates the plan's topics before the workload starts.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{ClientError, Command, Event, OpId};
use broker_model::types::{ResponseError, StrBytes};

use super::{App, Journal};
use crate::cluster::TopicFacts;
use crate::history::{Er, Op, Res};
use crate::plan::TopicPlan;
use crate::recorder::Recorder;

/// An application that creates topics, one after the other, until each exists.
pub struct CreateTopics {
    journal: Journal,
    topics: VecDeque<TopicPlan>,
    creating: Option<OpId>,
    retry_at_us: Option<u64>,
}

const RETRY_US: u64 = 200_000;

impl CreateTopics {
    /// Creates those topics.
    #[must_use]
    pub fn new(actor: u32, topics: &[TopicPlan]) -> Self {
        CreateTopics {
            journal: Journal::new(actor),
            topics: topics.iter().cloned().collect(),
            creating: None,
            retry_at_us: Some(0),
        }
    }
}

impl App for CreateTopics {
    fn begin(&mut self, _now_us: u64, _topics: &BTreeMap<String, TopicFacts>) {}

    fn wake(&mut self, now_us: u64, recorder: &mut Recorder, calls: &mut VecDeque<Command>) {
        if self.creating.is_some() || self.retry_at_us.is_none_or(|at_us| at_us > now_us) {
            return;
        }
        self.retry_at_us = None;
        let Some(topic) = self.topics.front() else {
            return;
        };
        let parts = topic.partitions.cast_unsigned();
        let call = Op::CreateTopic {
            topic: topic.name.clone(),
            parts,
        };
        let op = self.journal.invoke(now_us, recorder, call);
        self.creating = Some(op);
        let text = |text: &String| StrBytes::from_string(text.clone());
        calls.push_back(Command::CreateTopic {
            op,
            name: text(&topic.name),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: topic
                .config
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        });
    }

    fn on_event(
        &mut self,
        now_us: u64,
        event: Event,
        recorder: &mut Recorder,
        _calls: &mut VecDeque<Command>,
    ) {
        let Event::Done { op, result } = event else {
            return;
        };
        self.creating = None;
        self.retry_at_us = Some(now_us);
        match result {
            Ok(()) => {
                self.journal.ok(now_us, recorder, op, Res::Unit);
                self.topics.pop_front();
            }
            // An earlier attempt got through and its answer was lost.
            Err(ClientError::Broker(ResponseError::TopicAlreadyExists)) => {
                let error = Er {
                    c: ResponseError::TopicAlreadyExists.code(),
                    att: 1,
                };
                self.journal.fail(now_us, recorder, op, error);
                self.topics.pop_front();
            }
            Err(error) => {
                let error = Er::new(error, 1);
                self.journal.info(now_us, recorder, op, (error, Res::Unit));
                self.retry_at_us = Some(now_us + RETRY_US);
            }
        }
    }

    fn next_wake_us(&self) -> Option<u64> {
        self.retry_at_us.filter(|_| !self.topics.is_empty())
    }

    fn drain(&mut self) {}

    fn is_done(&self) -> bool {
        self.topics.is_empty()
    }

    fn waits_for(&self) -> String {
        format!("{} topics to be created", self.topics.len())
    }
}
