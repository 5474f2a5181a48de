//! One Kafka process: it owns the parts that its `process.roles` ask for, and routes.
//!
//! | roles | raft | controller | broker |
//! |---|---|---|---|
//! | `broker,controller` | votes | yes | yes |
//! | `controller` | votes | yes | no |
//! | `broker` | observes | no | yes |
//!
//! Whatever happens goes to the one part it belongs to; what raft has to tell after that goes to the
//! controller and to the broker's metadata loader, until there is nothing left. Parts never call
//! each other: whom a step needs beside its own part is handed in here. Mirrors `KafkaRaftServer`,
//! `BrokerServer`, `ControllerServer` and `SharedServer`, as far as they are wiring.

mod meta_properties;
mod parts;
mod setup;
mod view;

use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::bug::Bug;
use crate::client::network::Network;
use crate::config::BrokerConfig;
use crate::context::Context;
use crate::controller::{ControllerConfig, QuorumController};
use crate::effect::{DiskRead, Effect, Effects, File, Write};
use crate::ids::IdSource;
use crate::input::{DiskResult, Input};
use crate::raft::RaftClient;
use crate::timer::Timer;
use crate::types::{
    ConnectionId, Endpoint, FlushId, FlushOwner, Listener, NodeId, Now, StrBytes, Uuid,
};
use crate::wire::{request_api, versions};

pub use crate::replica::PartitionView;
use parts::Parts;
pub use view::NodeView;

/// How a node is set up: what Kafka reads from `server.properties` and from its storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// `node.id`.
    pub id: NodeId,
    /// Whether `process.roles` has `broker`.
    pub is_broker: bool,
    /// Whether `process.roles` has `controller`: a voter of the metadata quorum.
    pub is_controller: bool,
    /// `cluster.id`.
    pub cluster_id: StrBytes,
    /// `controller.quorum.voters`, sorted by id.
    pub voters: Vec<Voter>,
    /// `advertised.listeners` for clients and other brokers.
    pub broker_endpoint: Endpoint,
    /// `broker.rack`.
    pub rack: Option<StrBytes>,
    /// Everything else of `server.properties`, already checked against the table.
    pub properties: BTreeMap<String, String>,
    /// The longest time, in milliseconds, that the broker may lag in applying committed metadata;
    /// 0 applies it at once.
    pub metadata_lag_max_ms: u64,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
}

/// A static voter of the metadata quorum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Its `node.id`.
    pub id: NodeId,
    /// Its controller listener.
    pub endpoint: Endpoint,
}

/// One Kafka process.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    properties: BrokerConfig,
    parts: Parts,
    network: Network,
    ids: IdSource,
    /// By which listener each inbound connection came in.
    listeners: BTreeMap<ConnectionId, Listener>,
    phase: Phase,
}

/// How far the process has come.
#[derive(Debug)]
enum Phase {
    /// Recovered; `Input::Started` is next.
    Recovered,
    /// An empty disk is being given its id. What happens meanwhile waits.
    Formatting { directory: Uuid, early: Vec<Input> },
    /// Everything works.
    Running,
    /// The broker is down; raft hands its leadership over.
    Stopping,
    /// The process ended itself: nothing happens any more.
    Halted,
}

impl Node {
    /// The node as its disk left it. `Input::Started` is the first thing that may happen to it.
    ///
    /// # Panics
    ///
    /// If `config.properties` do not pass the table's checks: whoever made them checked them.
    #[must_use]
    pub fn recover(config: NodeConfig, disk: &dyn DiskRead) -> Self {
        let properties = BrokerConfig::from_properties(&config.properties)
            .expect("the properties were checked against the table");
        let directory = meta_properties::read(disk).unwrap_or_else(Uuid::nil);
        let controller = || QuorumController::new(ControllerConfig::new(&config, &properties));
        let broker = || Broker::recover(&config, properties.clone(), disk);
        let parts = Parts {
            raft: RaftClient::recover(setup::raft(&config, &properties, directory), disk),
            controller: config.is_controller.then(controller),
            broker: config.is_broker.then(broker),
            stopping: false,
        };
        let client_id = StrBytes::from_string(config.id.to_string());
        let network = Network::new(setup::network(&properties), client_id);
        Node {
            config,
            properties,
            parts,
            network,
            ids: IdSource::new(0),
            listeners: BTreeMap::new(),
            phase: Phase::Recovered,
        }
    }

    /// Takes in what happened and asks for what follows from it.
    pub fn step(&mut self, now: Now, input: Input, disk: &dyn DiskRead, effects: &mut Effects) {
        match &mut self.phase {
            Phase::Recovered => self.start(now, input, disk, effects),
            Phase::Formatting { early, .. } => match input {
                Input::Flushed(id, result) if id == FORMATTED => {
                    self.formatted(now, result, disk, effects);
                }
                later => early.push(later),
            },
            Phase::Stopping if matches!(input, Input::Fired(Timer::ShutdownTimeout)) => {
                self.halt(effects);
            }
            Phase::Running | Phase::Stopping => self.run(now, input, disk, effects),
            Phase::Halted => {}
        }
    }

    /// What a judge may know of the node.
    #[must_use]
    pub fn view(&self) -> NodeView<'_> {
        NodeView::new(
            self.config.id,
            &self.parts.raft,
            self.parts.controller.as_ref(),
            self.parts.broker.as_ref(),
        )
    }

    /// The first input. An empty disk gets its id before anything else is written to it.
    fn start(&mut self, now: Now, input: Input, disk: &dyn DiskRead, effects: &mut Effects) {
        let Input::Started { entropy } = input else {
            panic!("a node is started before anything else happens to it: {input:?}");
        };
        self.ids = IdSource::new(entropy);
        if let Some(directory) = meta_properties::read(disk) {
            return self.start_parts(now, directory, disk, effects);
        }
        let directory = self.ids.next_uuid();
        let content = meta_properties::write(&self.config.cluster_id, self.config.id, directory);
        effects.write(File::MetaProperties, Write::Replace(content));
        effects.flush(File::MetaProperties, FORMATTED);
        self.phase = Phase::Formatting {
            directory,
            early: Vec::new(),
        };
    }

    fn formatted(
        &mut self,
        now: Now,
        result: DiskResult,
        disk: &dyn DiskRead,
        effects: &mut Effects,
    ) {
        let phase = std::mem::replace(&mut self.phase, Phase::Halted);
        let Phase::Formatting { directory, early } = phase else {
            unreachable!("only a disk that is being formatted was formatted");
        };
        if result.is_err() {
            return self.halt(effects);
        }
        let raft = setup::raft(&self.config, &self.properties, directory);
        self.parts.raft = RaftClient::recover(raft, disk);
        self.start_parts(now, directory, disk, effects);
        for input in early {
            self.step(now, input, disk, effects);
        }
    }

    fn start_parts(
        &mut self,
        now: Now,
        directory: Uuid,
        disk: &dyn DiskRead,
        effects: &mut Effects,
    ) {
        self.phase = Phase::Running;
        let (parts, mut cx) = self.split(now, disk, effects);
        parts.raft.start(&mut cx);
        let controller = parts.controller_endpoint();
        if let Some(broker) = &mut parts.broker {
            broker.start(&mut cx, directory, controller);
        }
        parts.settle(&mut cx);
    }

    /// Hands an input to the part it belongs to, and what follows from it to the others.
    fn run(&mut self, now: Now, input: Input, disk: &dyn DiskRead, effects: &mut Effects) {
        match input {
            Input::Started { .. } => panic!("a node is started once"),
            Input::Opened { conn, listener } => {
                return self.on_opened(now, conn, listener, effects);
            }
            Input::Request { conn, header, body } => {
                let Some(&listener) = self.listeners.get(&conn) else {
                    return;
                };
                if versions::api(listener, request_api(&body)).is_none() {
                    self.listeners.remove(&conn);
                    return effects.close(conn);
                }
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_request(&mut cx, listener, (conn, header, *body));
            }
            Input::Response {
                conn,
                correlation_id,
                body,
            } => {
                let event = self
                    .network
                    .on_response(now, conn, correlation_id, body, effects);
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_network(&mut cx, event);
            }
            Input::Closed { conn } if conn.is_outbound() => {
                let events = self.network.on_closed(now, conn, effects);
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_network(&mut cx, events);
            }
            Input::Closed { conn } => {
                self.listeners.remove(&conn);
                self.parts.on_closed(conn);
            }
            Input::Fired(Timer::Network(channel)) => {
                let events = self.network.on_timer(now, channel, effects);
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_network(&mut cx, events);
            }
            Input::Fired(timer) => {
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_timer(&mut cx, timer);
            }
            Input::Flushed(id, result) => {
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_flushed(&mut cx, id, result);
            }
            Input::Command(command) => {
                let (parts, mut cx) = self.split(now, disk, effects);
                parts.on_command(&mut cx, command);
            }
        }
        let (parts, mut cx) = self.split(now, disk, effects);
        parts.settle(&mut cx);
        if parts.is_stopped() {
            self.stop(now, disk, effects);
        }
    }

    /// The broker is done: the quorum has to do without this node before the process may end.
    fn stop(&mut self, now: Now, disk: &dyn DiskRead, effects: &mut Effects) {
        let begins = matches!(self.phase, Phase::Running);
        let (parts, mut cx) = self.split(now, disk, effects);
        if begins {
            parts.raft.shutdown(&mut cx);
            parts.settle(&mut cx);
            cx.effects
                .arm_at(Timer::ShutdownTimeout, RAFT_SHUTDOWN_TIMEOUT_MS);
        }
        if parts.raft.is_shut_down() {
            self.halt(effects);
        } else {
            self.phase = Phase::Stopping;
        }
    }

    fn halt(&mut self, effects: &mut Effects) {
        effects.push(Effect::Halt);
        self.phase = Phase::Halted;
    }

    fn on_opened(
        &mut self,
        now: Now,
        conn: ConnectionId,
        listener: Listener,
        effects: &mut Effects,
    ) {
        if conn.is_outbound() {
            self.network.on_opened(now, conn, listener, effects);
        } else {
            self.listeners.insert(conn, listener);
        }
    }

    /// The parts, and the rest of the node as they see it.
    fn split<'a>(
        &'a mut self,
        now: Now,
        disk: &'a dyn DiskRead,
        effects: &'a mut Effects,
    ) -> (&'a mut Parts, Context<'a>) {
        let cx = Context {
            now,
            disk,
            network: &mut self.network,
            ids: &mut self.ids,
            effects,
            bug: self.config.bug,
        };
        (&mut self.parts, cx)
    }
}

/// The flush of `meta.properties`.
const FORMATTED: FlushId = FlushId::new(FlushOwner::Broker, 0);
/// How long a raft leader that stops waits for its successor (`KafkaRaftManager.shutdown`).
const RAFT_SHUTDOWN_TIMEOUT_MS: u64 = 5_000;
