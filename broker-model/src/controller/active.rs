//! The active controller: decides, appends, replays, and answers when it is committed.
//!
//! Mirrors `QuorumController.ControllerWriteEvent` and `DeferredEventQueue`. As in Kafka, what was
//! appended waits for its commit as long as the claim lasts: `timeout_ms` bounds only the wait in
//! the controller's queue, and here there is no queue.

use std::collections::VecDeque;

use kafka_protocol::messages::{BrokerHeartbeatRequest, RequestKind, ResponseKind};

use super::answer::Asker;
use super::config::ControllerConfig;
use super::decision::{ApiError, Decision};
use super::metadata_log::MetadataLog;
use super::periodic::PeriodicTasks;
use super::registration::METADATA_VERSION;
use super::state::ControllerState;
use crate::context::Context;
use crate::effect::Effects;
use crate::metadata::record::FeatureLevelRecord;
use crate::metadata::{MetadataImage, MetadataRecord};
use crate::note::Note;
use crate::raft::NotLeader;
use crate::types::{
    BrokerEpoch, ConnectionId, LeaderEpoch, NodeId, Offset, ResponseError, StrBytes,
};
use crate::wire::versions::SUPPORTED_FEATURES;

/// A request as the controller works on it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) asker: Asker,
    pub(super) body: RequestKind,
}

/// The state of a claim.
///
/// committed offset < next_offset; the waiting are in the order of what they wait for
#[derive(Debug)]
pub(super) struct ActiveController {
    epoch: LeaderEpoch,
    pub(super) state: ControllerState,
    pub(super) periodic: PeriodicTasks,
    /// The offset of the next record that is appended.
    next_offset: Offset,
    waiting: VecDeque<Waiting>,
}

/// An answer that leaves once the log is committed up to an offset, included.
#[derive(Debug)]
struct Waiting {
    until: Offset,
    question: Question,
    response: ResponseKind,
}

impl ActiveController {
    /// Claims the epoch; an empty cluster gets its features first (`ActivationRecordsGenerator`).
    pub(super) fn claim(
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        (config, committed): (&ControllerConfig, &MetadataImage),
        epoch: LeaderEpoch,
    ) -> Result<Self, NotLeader> {
        let now_ms = cx.now.mono_ms;
        let mut active = ActiveController {
            epoch,
            state: ControllerState::activate(config.clone(), committed, now_ms),
            periodic: PeriodicTasks::start(config, now_ms),
            next_offset: log.next_offset(),
            waiting: VecDeque::new(),
        };
        cx.effects.note(Note::ControllerActive { epoch });
        let features = committed.features();
        if !features.contains_key(METADATA_VERSION.as_bytes()) {
            active.append(cx, log, Decision::new(bootstrap_records(), ()))?;
        }
        active.periodic.arm(cx);
        Ok(active)
    }

    /// The epoch claimed.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// How many appended records lie behind `committed`, the last committed offset.
    pub(super) fn uncommitted(&self, committed: Offset) -> u64 {
        u64::try_from(self.last_offset() - committed).unwrap_or(0)
    }

    /// Answers a request, now or when what it rests on is committed.
    pub(super) fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        committed: &MetadataImage,
        question: Question,
    ) -> Result<(), NotLeader> {
        let mut shutting_down = None;
        let decision = match &question.body {
            RequestKind::BrokerHeartbeat(request) => {
                self.decide_heartbeat(cx, request)
                    .map(|(decision, in_controlled_shutdown)| {
                        shutting_down =
                            in_controlled_shutdown.then_some(NodeId(request.broker_id.0));
                        decision
                    })
            }
            _ => self.decide(cx, committed, &question),
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                question.asker.refuse(cx.effects, &question.body, &error);
                return Ok(());
            }
        };
        let response = match self.append(cx, log, decision) {
            Ok(response) => response,
            Err(not_leader) => {
                let error = ResponseError::NotController.into();
                question.asker.refuse(cx.effects, &question.body, &error);
                return Err(not_leader);
            }
        };
        if let Some(broker) = shutting_down {
            let last = self.last_offset();
            self.state
                .heartbeats
                .start_controlled_shutdown(broker, last);
        }
        self.answer_when_committed(cx.effects, committed.offset(), question, response);
        Ok(())
    }

    /// A heartbeat's decision, and whether the broker is in controlled shutdown after it. The
    /// contact counts whatever becomes of the rest.
    fn decide_heartbeat(
        &mut self,
        cx: &Context<'_>,
        request: &BrokerHeartbeatRequest,
    ) -> Result<(Decision<ResponseKind>, bool), ApiError> {
        let broker = NodeId(request.broker_id.0);
        let contact = (broker, BrokerEpoch(request.broker_epoch));
        self.state.heartbeats.track(contact, cx.now.mono_ms);
        let decision = self.state.process_broker_heartbeat(request)?;
        let (_, outcome) = decision.response;
        let metadata_offset = Offset(request.current_metadata_offset);
        let heartbeats = &mut self.state.heartbeats;
        heartbeats.touch(broker, outcome.fenced, metadata_offset);
        let decision = decision.map(|(response, _)| response.into());
        Ok((decision, outcome.in_controlled_shutdown))
    }

    fn decide(
        &self,
        cx: &mut Context<'_>,
        committed: &MetadataImage,
        question: &Question,
    ) -> Result<Decision<ResponseKind>, ApiError> {
        let state = &self.state;
        let version = question.asker.version;
        Ok(match &question.body {
            RequestKind::BrokerRegistration(request) => {
                let epoch = BrokerEpoch(self.next_offset.0);
                let decision = state.register_broker(request, epoch, cx.now.mono_ms)?;
                decision.map(Into::into)
            }
            RequestKind::UnregisterBroker(request) => {
                let broker = NodeId(request.broker_id.0);
                state.unregister_broker(broker)?.map(Into::into)
            }
            RequestKind::AlterPartition(request) => state.alter_partition(request)?.map(Into::into),
            RequestKind::AllocateProducerIds(request) => {
                state.allocate_producer_ids(request)?.map(Into::into)
            }
            RequestKind::CreateTopics(request) => {
                state.create_topics(cx.ids, request)?.map(Into::into)
            }
            RequestKind::DeleteTopics(request) => {
                let decision = state.delete_topics(committed, version, request)?;
                decision.map(Into::into)
            }
            RequestKind::CreatePartitions(request) => {
                state.create_partitions(cx.ids, request).map(Into::into)
            }
            RequestKind::ElectLeaders(request) => state.elect_leaders(request)?.map(Into::into),
            RequestKind::AlterPartitionReassignments(request) => {
                let decision = state.alter_partition_reassignments(version, request);
                decision.map(Into::into)
            }
            RequestKind::IncrementalAlterConfigs(request) => {
                state.incremental_alter_configs(request).map(Into::into)
            }
            // What no listener of the controller serves does not get here.
            _ => return Err(ResponseError::UnsupportedVersion.into()),
        })
    }

    /// Appends and replays what was decided; hands the answer back.
    pub(super) fn append<R>(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        decision: Decision<R>,
    ) -> Result<R, NotLeader> {
        let Decision {
            records,
            response,
            notes,
            probes,
        } = decision;
        if !records.is_empty() {
            let values = records.iter().map(MetadataRecord::encode).collect();
            let last = log.append(cx, self.epoch, values)?;
            let appended = i64::try_from(records.len()).expect("one decision fits one batch");
            assert_eq!(
                last,
                self.next_offset + (appended - 1),
                "somebody else appended in the controller's epoch"
            );
        }
        probes.into_iter().for_each(|probe| cx.effects.probe(probe));
        notes.into_iter().for_each(|note| cx.effects.note(note));
        for record in &records {
            self.note_election(cx.effects, record);
            self.state.replay(self.next_offset, record);
            self.next_offset = self.next_offset.next();
        }
        Ok(response)
    }

    /// An answer may not tell what could still be lost: also one without records of its own waits
    /// for whatever is not committed yet.
    fn answer_when_committed(
        &mut self,
        effects: &mut Effects,
        committed: Offset,
        question: Question,
        response: ResponseKind,
    ) {
        let until = self.last_offset();
        if until <= committed {
            return question.asker.answer(effects, response);
        }
        self.waiting.push_back(Waiting {
            until,
            question,
            response,
        });
    }

    /// The log is committed up to that offset, included.
    pub(super) fn complete_up_to(&mut self, committed: Offset, effects: &mut Effects) {
        let complete = self.waiting.partition_point(|it| it.until <= committed);
        for waiting in self.waiting.drain(..complete) {
            waiting.question.asker.answer(effects, waiting.response);
        }
    }

    /// The claim is over: whoever waits has to ask the next controller.
    pub(super) fn renounce(mut self, effects: &mut Effects) {
        self.periodic.disarm(effects);
        let error = ResponseError::NotController.into();
        for Waiting { question, .. } in self.waiting.drain(..) {
            question.asker.refuse(effects, &question.body, &error);
        }
    }

    /// Nobody is there any more to be answered.
    pub(super) fn on_closed(&mut self, conn: ConnectionId) {
        self.waiting.retain(|it| it.question.asker.conn != conn);
    }

    fn last_offset(&self) -> Offset {
        self.next_offset - 1
    }

    fn note_election(&self, effects: &mut Effects, record: &MetadataRecord) {
        let note = match record {
            MetadataRecord::Partition(record) => Note::LeaderElected {
                partition: record.partition,
                leader: record.leader,
                leader_epoch: record.leader_epoch,
                unclean: false,
            },
            MetadataRecord::PartitionChange(record) => {
                let before = self.state.image.partition(record.partition);
                let (Some(before), Some(leader)) = (before, record.leader) else {
                    return;
                };
                let state = &before.state;
                // A leader from outside the ISR is marked as recovering, except where a
                // reassignment is cancelled of which only the new replicas were in sync.
                let recovering = record.recovering.unwrap_or(state.recovering);
                let only_added = state.isr.iter().all(|it| before.adding.contains(it));
                Note::LeaderElected {
                    partition: record.partition,
                    leader,
                    leader_epoch: state.leader_epoch.next(),
                    unclean: leader != NodeId::NONE
                        && !state.isr.contains(&leader)
                        && (recovering || only_added),
                }
            }
            _ => return,
        };
        effects.note(note);
    }
}

/// The features of a new cluster, `metadata.version` first (`BootstrapMetadata`).
fn bootstrap_records() -> Vec<MetadataRecord> {
    let named = |name| SUPPORTED_FEATURES.iter().filter(move |it| it.name == name);
    // The raft layer keeps kraft.version to itself.
    let others = SUPPORTED_FEATURES
        .iter()
        .filter(|it| it.name != METADATA_VERSION && it.name != KRAFT_VERSION);
    let features = named(METADATA_VERSION).chain(others);
    features
        .map(|feature| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: StrBytes::from_static_str(feature.name),
                level: feature.max,
            })
        })
        .collect()
}

/// `KRaftVersion.FEATURE_NAME`.
const KRAFT_VERSION: &str = "kraft.version";
