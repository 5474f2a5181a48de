//! A controller, active or not: follows the raft client, routes requests, keeps the committed copy.
//!
//! Mirrors `QuorumController` and the listener side of `ControllerApis`. While it is not active it
//! only replays what others committed.

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeQuorumResponse,
    EnvelopeRequest, RequestKind, ResponseKind,
};

use super::active::{ActiveController, Question};
use super::answer::{Asker, Enveloped};
use super::committed::CommittedMetadata;
use super::config::ControllerConfig;
use super::decision::{ApiError, Decision};
use super::metadata_log::MetadataLog;
use super::reassignment::list_partition_reassignments;
use crate::client::command::Command;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::metadata::{MetadataImage, MetadataRecord};
use crate::note::Note;
use crate::probe::Probe;
use crate::raft::RaftEvent;
use crate::timer::Timer;
use crate::types::{ConnectionId, LeaderEpoch, Listener, NodeId, ResponseError};
use crate::wire::frame::{Decoded, WireError, decode_request};

/// The controller of one node.
#[derive(Debug)]
pub struct QuorumController {
    config: ControllerConfig,
    committed: CommittedMetadata,
    leader: Option<NodeId>,
    active: Option<ActiveController>,
}

impl QuorumController {
    /// A controller that has heard of nothing yet.
    #[must_use]
    pub fn new(config: ControllerConfig) -> Self {
        QuorumController {
            config,
            committed: CommittedMetadata::empty(),
            leader: None,
            active: None,
        }
    }

    /// The epoch in which this controller is the active one.
    #[must_use]
    pub fn active_epoch(&self) -> Option<LeaderEpoch> {
        self.active.as_ref().map(ActiveController::epoch)
    }

    /// The metadata as far as it is committed.
    #[must_use]
    pub fn committed_image(&self) -> &MetadataImage {
        self.committed.image()
    }

    /// The raft client says something; events come in its order.
    pub fn on_raft_event(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        event: &RaftEvent,
    ) {
        match event {
            RaftEvent::LeaderChange { leader, .. } => self.leader = *leader,
            RaftEvent::Claim { epoch } => self.claim(cx, log, *epoch),
            RaftEvent::Resign { .. } => self.renounce(cx),
            RaftEvent::Committed(batch) => {
                self.committed.replay(batch, cx.effects);
                if let Some(active) = &mut self.active {
                    active.complete_up_to(batch.last, cx.effects);
                }
            }
        }
    }

    /// A request came in on the controller's listener.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        conn: ConnectionId,
        header: &RequestHeader,
        body: RequestKind,
    ) {
        let asker = Asker {
            conn,
            correlation_id: header.correlation_id,
            version: header.version,
            enveloped: None,
        };
        match body {
            RequestKind::Envelope(envelope) => self.on_envelope(cx, log, asker, &envelope),
            body => {
                let question = Question { asker, body };
                self.on_question(cx, log, question);
            }
        }
    }

    /// One of the controller's timers fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, log: &mut impl MetadataLog, timer: Timer) {
        if timer == Timer::BrokerSessions {
            self.fence_stale_brokers(cx, log);
        } else if timer == Timer::LeaderImbalance {
            self.run_periodic_tasks(cx, log);
        }
    }

    /// The operator wants something; only `Command::MoveLeader` concerns a controller.
    pub fn on_command(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        command: &Command,
    ) {
        let Command::MoveLeader { partition, to } = command else {
            return;
        };
        self.decide_alone(cx, log, |active, _| {
            Some(active.state.move_leader(*partition, *to))
        });
    }

    /// A connection is gone.
    pub fn on_closed(&mut self, conn: ConnectionId) {
        if let Some(active) = &mut self.active {
            active.on_closed(conn);
        }
    }

    fn claim(&mut self, cx: &mut Context<'_>, log: &mut impl MetadataLog, epoch: LeaderEpoch) {
        assert!(
            self.active.is_none(),
            "epoch {epoch} was claimed by the active controller of epoch {:?}",
            self.active_epoch()
        );
        let ground = (&self.config, self.committed.image());
        // Whoever lost the leadership again before this step never was active.
        self.active = ActiveController::claim(cx, log, ground, epoch).ok();
    }

    /// Drops what is not committed, and with it every answer that rests on it.
    fn renounce(&mut self, cx: &mut Context<'_>) {
        let Some(active) = self.active.take() else {
            return;
        };
        let epoch = active.epoch();
        let uncommitted = active.uncommitted(self.committed.image().offset());
        if uncommitted > 0 {
            cx.effects.probe(Probe::ControllerUncommittedDropped);
        }
        cx.effects
            .note(Note::ControllerInactive { epoch, uncommitted });
        active.renounce(cx.effects);
    }

    fn on_envelope(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        asker: Asker,
        envelope: &EnvelopeRequest,
    ) {
        let decoded = decode_request(Listener::Controller, &envelope.request_data);
        let Ok(Decoded::Request {
            header,
            api_key,
            body,
        }) = decoded
        else {
            let error = match decoded {
                Err(WireError::UnsupportedVersion { .. }) => ResponseError::UnsupportedVersion,
                _ => ResponseError::InvalidRequest,
            };
            return asker.refuse_envelope(cx.effects, error);
        };
        let enveloped = Enveloped {
            api_key,
            correlation_id: header.correlation_id,
        };
        let asker = Asker {
            version: header.request_api_version,
            enveloped: Some(enveloped),
            ..asker
        };
        let question = Question { asker, body };
        self.on_question(cx, log, question);
    }

    fn on_question(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        question: Question,
    ) {
        if let Some(response) = self.read(&question) {
            return question.asker.answer(cx.effects, response);
        }
        if let RequestKind::DescribeQuorum(request) = &question.body {
            let response = log.describe_quorum(cx.now, question.asker.version, request);
            if question.asker.enveloped.is_some() && says_not_leader(&response) {
                // The broker that forwarded looks for the leader itself
                // (`RequestChannel.Request.shouldReturnNotController`).
                let error = ResponseError::NotController;
                return question.asker.refuse_envelope(cx.effects, error);
            }
            return question.asker.answer(cx.effects, response.into());
        }
        let Some(active) = &mut self.active else {
            let error = ApiError::from(ResponseError::NotController);
            return question.asker.refuse(cx.effects, &question.body, &error);
        };
        let committed = self.committed.image();
        if active.on_request(cx, log, committed, question).is_err() {
            self.renounce(cx);
        }
    }

    /// Requests that any controller answers, from what is committed.
    fn read(&self, question: &Question) -> Option<ResponseKind> {
        match &question.body {
            RequestKind::ListPartitionReassignments(request) => {
                Some(list_partition_reassignments(self.committed.image(), request).into())
            }
            RequestKind::DescribeCluster(request) => Some(
                self.describe_cluster(question.asker.version, request)
                    .into(),
            ),
            _ => None,
        }
    }

    /// The controllers; brokers are what a broker describes (KIP-919).
    fn describe_cluster(
        &self,
        version: i16,
        request: &DescribeClusterRequest,
    ) -> DescribeClusterResponse {
        let response = DescribeClusterResponse::default();
        match request.endpoint_type {
            CONTROLLER_ENDPOINTS => {}
            BROKER_ENDPOINTS => {
                return response.with_error_code(ResponseError::MismatchedEndpointType.code());
            }
            _ => return response.with_error_code(ResponseError::UnsupportedEndpointType.code()),
        }
        let controllers = self.config.voters.iter().map(|voter| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(voter.id.0))
                .with_host(voter.endpoint.host.clone())
                .with_port(i32::from(voter.endpoint.port))
        });
        let response = response
            .with_error_message(None)
            .with_cluster_id(self.config.cluster_id.clone())
            .with_controller_id(BrokerId(self.leader.unwrap_or(NodeId::NONE).0))
            .with_brokers(controllers.collect());
        if version < 1 {
            return response;
        }
        response.with_endpoint_type(CONTROLLER_ENDPOINTS)
    }

    /// One broker at a time: what fencing one does is seen before the next is fenced.
    fn fence_stale_brokers(&mut self, cx: &mut Context<'_>, log: &mut impl MetadataLog) {
        let mut fences = true;
        while fences {
            fences = self.decide_alone(cx, log, |active, now_ms| {
                let stale = active.state.heartbeats.take_expired(now_ms)?;
                Some(active.state.fence_stale_broker(stale))
            });
        }
        if let Some(active) = &self.active {
            active.periodic.arm_sessions(cx.effects);
        }
    }

    fn run_periodic_tasks(&mut self, cx: &mut Context<'_>, log: &mut impl MetadataLog) {
        self.decide_alone(cx, log, |active, now_ms| {
            let is_due = active.periodic.is_balance_due(now_ms);
            is_due.then(|| active.state.balance_partition_leaders())
        });
        self.decide_alone(cx, log, |active, now_ms| {
            let is_due = active.periodic.is_unclean_due(now_ms);
            is_due.then(|| active.state.elect_unclean_leaders())
        });
        self.decide_alone(cx, log, |active, now_ms| {
            let is_due = active.periodic.is_no_op_due(now_ms);
            is_due.then(|| Decision::new(vec![MetadataRecord::NoOp], ()))
        });
        if let Some(active) = &self.active {
            active.periodic.arm_leaders(cx);
        }
    }

    /// Writes what the active controller decides without being asked; whether it decided anything.
    fn decide_alone(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut impl MetadataLog,
        decide: impl FnOnce(&mut ActiveController, u64) -> Option<Decision<()>>,
    ) -> bool {
        let Some(active) = &mut self.active else {
            return false;
        };
        let Some(decision) = decide(active, cx.now.mono_ms) else {
            return false;
        };
        let appended = active.append(cx, log, decision);
        if appended.is_err() {
            self.renounce(cx);
        }
        appended.is_ok()
    }
}

/// `EndpointType`.
const BROKER_ENDPOINTS: i8 = 1;
const CONTROLLER_ENDPOINTS: i8 = 2;

/// Whether a DescribeQuorum was asked of the wrong node.
fn says_not_leader(response: &DescribeQuorumResponse) -> bool {
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.any(|it| it.error_code == ResponseError::NotLeaderOrFollower.code())
}
