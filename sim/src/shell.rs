//! What every engine does with a process: one a process, synchronous.
//!
//! A shell owns a machine (node or client) through its incarnations. It hands inputs over, one
//! request a connection at a time; draws timers inside their windows; applies disk writes; sends
//! notes and probes to the recorder; and turns what is left into [`Out`]s for its engine. Faults
//! on one kind of RPC act here, in the outbox, so that they work on every engine.

use std::collections::VecDeque;

use broker_model::client::command::{Command, Event};
use broker_model::client::{Client, ClientConfig};
use broker_model::effect::{Effects, File};
use broker_model::input::{DiskResult, Input};
use broker_model::node::{Node, NodeConfig};
use broker_model::probe::Probe;
use broker_model::timer::Timer;
use broker_model::types::{ConnectionId, Endpoint, FlushId, Listener, NodeId, Now};
use broker_model::wire::request_api;
use kafka_protocol::messages::ApiKey;

use crate::disk::{Disk, FlushTicket};
use crate::observe::WorldEvent;
use crate::recorder::Recorder;
use crate::seed::{Purpose, Seed};
use crate::trace::BodyHash;
use crate::workload::App;

mod effects;
mod latecomers;
mod ledger;
mod message;
mod outbox;
mod pause;
mod served;
mod timers;

pub use effects::Out;
use latecomers::Latecomers;
use ledger::Ledger;
use message::Encoder;
pub use message::{Body, Message, arrival};
pub use outbox::{OutboxRule, RuleMode};
use pause::{Paused, Stimulus};
use served::Served;
use timers::Timers;

/// Node or client.
enum Machine {
    Node(Box<Node>),
    Client(Box<Client>),
}

/// What a process is made from at each start.
#[derive(Clone, Debug)]
pub enum Blueprint {
    /// A Kafka process.
    Node(Box<NodeConfig>),
    /// A producer, consumer or admin client.
    Client(Box<ClientConfig>),
}

/// The clocks of a process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the wall clock says at time 0, in milliseconds since 1970.
    pub wall_start_ms: i64,
}

impl Clock {
    fn now(self, now_us: u64) -> Now {
        let mono_ms = now_us / 1_000;
        let wall_ms = self.wall_start_ms + i64::try_from(mono_ms).expect("a run is short");
        Now { mono_ms, wall_ms }
    }
}

/// What a shell is, whoever runs it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its index among the run's processes; enters the digest.
    pub index: u16,
    /// Its name: `n1`, `p/0`.
    pub name: String,
    /// Keys its draws; does not depend on which other processes there are.
    pub key: u64,
    /// The node's id, if it is a node.
    pub node: Option<NodeId>,
}

/// A process through its incarnations.
pub struct Shell {
    /// Who it is.
    pub identity: Identity,
    blueprint: Blueprint,
    machine: Option<Machine>,
    disk: Box<dyn Disk>,
    ledger: Ledger,
    app: Option<Box<dyn App>>,
    incarnation: u32,
    clock: Clock,
    seed: Seed,
    flush_us: (u64, u64),
    flushes: u64,
    effects: Effects,
    timers: Timers,
    pinned_timers: bool,
    served: Served,
    ready: VecDeque<(Input, BodyHash)>,
    commands: VecDeque<Command>,
    wake_at_us: Option<u64>,
    encoder: Encoder,
    latecomers: Latecomers,
    outbox: outbox::Outbox,
    paused: Option<Paused>,
}

/// What a shell is made with.
pub struct ShellConfig {
    /// Who it is.
    pub identity: Identity,
    /// What it is at each start.
    pub blueprint: Blueprint,
    /// Its disk.
    pub disk: Box<dyn Disk>,
    /// A client's application.
    pub app: Option<Box<dyn App>>,
    /// The run's seed.
    pub seed: Seed,
    /// How long a flush takes, in microseconds: least and most.
    pub flush_us: (u64, u64),
    /// The wall clock at time 0, in milliseconds since 1970.
    pub wall_start_ms: i64,
    /// Whether each message is decoded again from its encoding.
    pub round_trip: bool,
    /// Whether timers fire early in their windows, each process a little later than the one
    /// before it, instead of at a drawn moment.
    pub pinned_timers: bool,
}

impl Shell {
    /// A process that was never started.
    #[must_use]
    pub fn new(config: ShellConfig) -> Self {
        Shell {
            identity: config.identity,
            blueprint: config.blueprint,
            machine: None,
            disk: config.disk,
            ledger: Ledger::default(),
            app: config.app,
            incarnation: 0,
            clock: Clock {
                wall_start_ms: config.wall_start_ms,
            },
            seed: config.seed,
            flush_us: config.flush_us,
            flushes: 0,
            effects: Effects::new(),
            timers: Timers::default(),
            pinned_timers: config.pinned_timers,
            served: Served::default(),
            ready: VecDeque::new(),
            commands: VecDeque::new(),
            wake_at_us: None,
            encoder: Encoder::new(config.round_trip),
            latecomers: Latecomers::default(),
            outbox: outbox::Outbox::default(),
            paused: None,
        }
    }

    /// From now on messages carry their encoding, for an engine that puts them on a wire.
    pub fn keep_encoded(&mut self) {
        self.encoder.keeps_encoded = true;
    }

    /// Whether the process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// Counts the starts, from 1; 0 before the first.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The running node, if it is one and runs.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        match &self.machine {
            Some(Machine::Node(node)) => Some(node),
            _ => None,
        }
    }

    /// The client's application.
    #[must_use]
    pub fn app(&self) -> Option<&dyn App> {
        self.app.as_deref()
    }

    /// The client's application, to tell it about a phase.
    pub fn app_mut(&mut self) -> Option<&mut (dyn App + 'static)> {
        self.app.as_deref_mut()
    }

    /// Starts the process: recover, then `Input::Started`.
    pub fn start(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) {
        assert!(
            self.machine.is_none(),
            "{} is running already",
            self.identity.name
        );
        self.incarnation += 1;
        let key = [self.identity.key, u64::from(self.incarnation), 0];
        let entropy = self.seed.draw(Purpose::Ids, key);
        self.machine = Some(match &self.blueprint {
            Blueprint::Node(config) => Machine::Node(Box::new(Node::recover(
                (**config).clone(),
                self.disk.as_read(),
            ))),
            Blueprint::Client(config) => Machine::Client(Box::new(Client::new((**config).clone()))),
        });
        if let Some(node) = self.identity.node {
            recorder.started(now_us, node, self.incarnation);
        }
        self.ready
            .push_back((Input::Started { entropy }, BodyHash::default()));
        self.run(now_us, recorder, out);
        self.wake_app(now_us, recorder);
        self.run(now_us, recorder, out);
    }

    /// Ends the process. Its disk keeps the page cache; a power loss is the engine's to add.
    pub fn stop(&mut self) {
        self.machine = None;
        self.timers.disarm_all();
        self.ledger.forget_flushes();
        self.served.clear();
        self.latecomers = Latecomers::default();
        self.ready.clear();
        self.commands.clear();
        self.outbox.forget_messages();
        self.paused = None;
        self.wake_at_us = None;
    }

    /// After the process ended the power goes. Returns what became of each file, and whether anything is
    /// lost.
    pub fn lose_power(&mut self, now_us: u64) -> (Vec<WorldEvent>, bool) {
        let node = self.identity.node.expect("only nodes have a disk to lose");
        let disk = self.disk.simulated();
        let losses = disk.expect("only simulated power goes").lose_power(now_us);
        let lost = losses.iter().any(|loss| loss.lost);
        (self.ledger.lost_power(node, &losses), lost)
    }

    /// Something happened to the process. `hash` is the body's, for messages.
    pub fn input(
        &mut self,
        now_us: u64,
        input: Input,
        hash: BodyHash,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        if let Some(paused) = &mut self.paused {
            paused.inbox.push(Stimulus::Input(input, hash));
            return;
        }
        self.ready.extend(self.served.admit(input, hash));
        self.run(now_us, recorder, out);
    }

    /// A timer's moment came. Nothing happens if it was armed again or disarmed since.
    pub fn fire(
        &mut self,
        now_us: u64,
        (timer, arming): (Timer, u64),
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        if let Some(paused) = &mut self.paused {
            paused.late |= self.timers.is_pending(arming);
            paused.inbox.push(Stimulus::Fire(timer, arming));
            return;
        }
        if self.timers.take(timer, arming) {
            self.ready
                .push_back((Input::Fired(timer), BodyHash::default()));
            self.run(now_us, recorder, out);
        }
    }

    /// A flush ended.
    pub fn flushed(
        &mut self,
        now_us: u64,
        (file, id, ticket): (File, FlushId, FlushTicket),
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        if let Some(paused) = &mut self.paused {
            paused.inbox.push(Stimulus::Flushed(file, id, ticket));
            return;
        }
        let result: DiskResult = self.disk.end_flush(file, ticket);
        self.ledger.flushed(file, id, result);
        self.ready
            .push_back((Input::Flushed(id, result), BodyHash::default()));
        self.run(now_us, recorder, out);
    }

    /// The application asked to be woken now.
    pub fn wake(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) {
        if let Some(paused) = &mut self.paused {
            paused.inbox.push(Stimulus::Wake);
            return;
        }
        if self.machine.is_none() || self.wake_at_us.is_none_or(|at_us| at_us > now_us) {
            return;
        }
        self.wake_at_us = None;
        self.wake_app(now_us, recorder);
        self.run(now_us, recorder, out);
    }

    /// The operator or the harness wants something of the process.
    pub fn command(
        &mut self,
        now_us: u64,
        command: Command,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        self.input(
            now_us,
            Input::Command(command),
            BodyHash::default(),
            recorder,
            out,
        );
    }

    /// Holds or drops one kind of RPC in this process's outbox.
    pub fn add_rule(&mut self, rule: OutboxRule) {
        self.outbox.add(rule);
    }

    /// Ends a rule; held messages leave now. Returns how many messages it had hit.
    pub fn end_rule(&mut self, fault: u32, out: &mut Vec<Out>) -> u64 {
        self.outbox.end(fault, out)
    }

    /// How many messages a rule has hit.
    #[must_use]
    pub fn rule_hits(&self, fault: u32) -> u64 {
        self.outbox.hits(fault)
    }

    /// The APIs of the requests that this process has in processing.
    pub fn open_requests(&self) -> impl Iterator<Item = ApiKey> + '_ {
        self.served.open_requests()
    }

    /// The version and API of the request in processing on that connection.
    #[must_use]
    pub fn in_processing(&self, conn: ConnectionId) -> Option<(i16, ApiKey)> {
        self.served.in_processing(conn)
    }

    /// Steps until nothing is ready.
    fn run(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) {
        loop {
            if let Some(command) = self.commands.pop_front() {
                self.ready
                    .push_back((Input::Command(command), BodyHash::default()));
            }
            let Some((input, hash)) = self.ready.pop_front() else {
                break;
            };
            if self.machine.is_none() {
                break;
            }
            self.step(now_us, input, hash, recorder, out);
        }
        self.schedule_wake(out);
    }

    fn step(
        &mut self,
        now_us: u64,
        input: Input,
        hash: BodyHash,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        recorder.step(&self.identity, self.incarnation, now_us, &input, hash);
        if let Input::Request { conn, header, body } = &input {
            let api_key = request_api(body);
            self.served.begin(*conn, header.version, api_key);
            if self.latecomers.is_late(&header.client_id, *conn, api_key) {
                recorder.probe(now_us, &self.identity, Probe::LateRequest);
            }
        }
        let now = self.clock.now(now_us);
        let mut effects = std::mem::take(&mut self.effects);
        match self.machine.as_mut().expect("only running processes step") {
            Machine::Node(node) => node.step(now, input, self.disk.as_read(), &mut effects),
            Machine::Client(client) => client.step(now, input, &mut effects),
        }
        for effect in effects.drain() {
            self.carry_out(now_us, effect, recorder, out);
        }
        self.effects = effects;
    }

    /// The body as the other side would decode it, in runs that check the encoding.
    pub fn round_trip(&mut self, message: Message) -> Message {
        self.encoder.round_trip(message)
    }

    fn tell_app(&mut self, now_us: u64, event: Event, recorder: &mut Recorder) {
        recorder.digest.event();
        if let Some(app) = &mut self.app {
            app.on_event(now_us, event, recorder, &mut self.commands);
        }
    }

    fn wake_app(&mut self, now_us: u64, recorder: &mut Recorder) {
        if let Some(app) = &mut self.app {
            app.wake(now_us, recorder, &mut self.commands);
        }
    }

    /// Asks the engine to wake the application, if that is not arranged yet.
    fn schedule_wake(&mut self, out: &mut Vec<Out>) {
        let Some(at_us) = self.app.as_ref().and_then(|app| app.next_wake_us()) else {
            return;
        };
        if self.machine.is_some() && self.wake_at_us.is_none_or(|scheduled| scheduled > at_us) {
            self.wake_at_us = Some(at_us);
            out.push(Out::Wake { at_us });
        }
    }

    /// Looks at the application again, after the harness told it something.
    pub fn nudge(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) {
        if self.paused.is_none() && self.machine.is_some() {
            self.wake_app(now_us, recorder);
            self.run(now_us, recorder, out);
        }
    }
}

/// Which listener a port is.
#[must_use]
pub fn listener_of(to: &Endpoint, broker: &Endpoint) -> Listener {
    if to == broker {
        Listener::Broker
    } else {
        Listener::Controller
    }
}
