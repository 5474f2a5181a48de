//! The parts of a node, and which of them an input belongs to.
//!
//! Only matches: every request, channel, timer and flush has one owner, and the match that finds it
//! names every variant.

use kafka_protocol::messages::{RequestKind, ResponseKind};

use crate::broker::{Broker, finalized};
use crate::client::command::Command;
use crate::client::network::{Completion, NetworkEvent};
use crate::context::Context;
use crate::controller::QuorumController;
use crate::input::{DiskResult, RequestHeader};
use crate::raft::{RaftClient, RaftEvent};
use crate::timer::{Channel, Timer};
use crate::types::{ConnectionId, Endpoint, FlushId, FlushOwner, Listener};
use crate::wire::versions;

/// What the roles ask for.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) raft: RaftClient,
    pub(super) controller: Option<QuorumController>,
    pub(super) broker: Option<Broker>,
    /// A controller without a broker was told to stop.
    pub(super) stopping: bool,
}

impl Parts {
    /// A request whose API the listener serves.
    pub(super) fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        listener: Listener,
        (conn, header, body): (ConnectionId, RequestHeader, RequestKind),
    ) {
        match listener {
            Listener::Broker => self.on_broker_request(cx, conn, header, body),
            Listener::Controller => self.on_controller_request(cx, conn, &header, body),
        }
    }

    fn on_broker_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: RequestHeader,
        body: RequestKind,
    ) {
        match &mut self.broker {
            Some(broker) => broker.on_request(cx, conn, header, body),
            None => cx.effects.close(conn),
        }
    }

    /// Raft's own requests, and what brokers and other controllers ask of the active controller.
    fn on_controller_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        body: RequestKind,
    ) {
        let Some(controller) = &mut self.controller else {
            return cx.effects.close(conn);
        };
        match body {
            RequestKind::Vote(_)
            | RequestKind::BeginQuorumEpoch(_)
            | RequestKind::EndQuorumEpoch(_)
            | RequestKind::Fetch(_)
            | RequestKind::FetchSnapshot(_)
            | RequestKind::DescribeQuorum(_) => self.raft.on_request(cx, conn, header, body),
            RequestKind::ApiVersions(request) => {
                let answer = versions::api_versions_response(
                    Listener::Controller,
                    header.version,
                    &request,
                    versions::SUPPORTED_FEATURES,
                    &finalized(controller.committed_image()),
                );
                let answer = ResponseKind::ApiVersions(answer);
                cx.effects.reply(conn, header.correlation_id, answer);
            }
            other => controller.on_request(cx, &mut self.raft, conn, header, other),
        }
    }

    pub(super) fn on_network(
        &mut self,
        cx: &mut Context<'_>,
        events: impl IntoIterator<Item = NetworkEvent>,
    ) {
        for event in events {
            match event {
                NetworkEvent::Completed(completion) => self.on_completion(cx, completion),
                // Whoever sends does so without looking at the connection.
                NetworkEvent::Ready(_) | NetworkEvent::Disconnected(_) => {}
            }
        }
    }

    fn on_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        match (completion.channel, &mut self.broker) {
            (Channel::Raft(_), _) => self.raft.on_completion(cx, completion),
            (_, Some(broker)) => broker.on_completion(cx, completion),
            (channel, None) => unreachable!("no part of a controller sends on {channel:?}"),
        }
    }

    pub(super) fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::Election
            | Timer::RaftFetch
            | Timer::CheckQuorum
            | Timer::BeginQuorumEpoch
            | Timer::ElectionBackoff
            | Timer::RaftRetry(_)
            | Timer::RaftPurgatory
            | Timer::RaftLinger => self.raft.on_timer(cx, timer),
            Timer::BrokerSessions | Timer::LeaderImbalance | Timer::ControllerOperations => {
                if let Some(controller) = &mut self.controller {
                    controller.on_timer(cx, &mut self.raft, timer);
                }
            }
            Timer::ApplyMetadata
            | Timer::Heartbeat
            | Timer::IsrExpiration
            | Timer::AlterPartition
            | Timer::FetcherBackoff(_)
            | Timer::Purgatory
            | Timer::HighWatermarkCheckpoint
            | Timer::ProducerExpiration
            | Timer::ProducerIds
            | Timer::Forwarding
            | Timer::Coordinator
            | Timer::CoordinatorLoad
            | Timer::ShutdownTimeout => {
                if let Some(broker) = &mut self.broker {
                    broker.on_timer(cx, timer);
                }
            }
            Timer::Network(_)
            | Timer::ClientMetadata
            | Timer::ProducerSender
            | Timer::ConsumerFetch
            | Timer::Admin => unreachable!("{timer:?} belongs to no part of a node"),
        }
    }

    pub(super) fn on_flushed(&mut self, cx: &mut Context<'_>, id: FlushId, result: DiskResult) {
        match (id.owner(), &mut self.broker) {
            (FlushOwner::Raft, _) => self.raft.on_flushed(cx, id, result),
            (FlushOwner::Replica, Some(broker)) => broker.on_flushed(cx, id, result),
            (FlushOwner::Replica, None) | (FlushOwner::Broker, _) => {
                unreachable!("nobody asked for flush {id}")
            }
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnectionId) {
        self.raft.on_closed(conn);
        if let Some(controller) = &mut self.controller {
            controller.on_closed(conn);
        }
        if let Some(broker) = &mut self.broker {
            broker.on_closed(conn);
        }
    }

    pub(super) fn on_command(&mut self, cx: &mut Context<'_>, command: Command) {
        match (command, &mut self.broker, &mut self.controller) {
            (Command::Shutdown, Some(broker), _) => broker.begin_shutdown(cx),
            (Command::Shutdown, None, _) => self.stopping = true,
            (command @ Command::MoveLeader { .. }, _, Some(controller)) => {
                controller.on_command(cx, &mut self.raft, &command);
            }
            (Command::MoveLeader { .. }, _, None) => {}
            (command, ..) => unreachable!("no node takes {command:?}"),
        }
    }

    /// Passes on what raft has to tell until there is nothing left, then lets the broker apply it.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        loop {
            let events = self.raft.take_events();
            if events.is_empty() {
                break;
            }
            for event in events {
                if let Some(controller) = &mut self.controller {
                    controller.on_raft_event(cx, &mut self.raft, &event);
                }
                self.tell_broker(cx, event);
            }
        }
        if let Some(broker) = &mut self.broker {
            broker.finish_step(cx);
        }
    }

    fn tell_broker(&mut self, cx: &mut Context<'_>, event: RaftEvent) {
        let controller = self.controller_endpoint();
        let Some(broker) = &mut self.broker else {
            return;
        };
        match event {
            RaftEvent::LeaderChange { .. } => broker.set_controller(cx, controller),
            RaftEvent::Committed(batch) => broker.on_committed(cx, batch),
            RaftEvent::Claim { .. } | RaftEvent::Resign { .. } => {}
        }
    }

    /// Where the active controller is to be found, as raft knows it.
    pub(super) fn controller_endpoint(&self) -> Option<Endpoint> {
        let (leader, _) = self.raft.leader()?;
        self.raft.endpoint_of(leader)
    }

    /// Whether the process has nothing left to do but leave the quorum.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopping || self.broker.as_ref().is_some_and(Broker::is_stopped)
    }
}
