//! What every engine does with a process: one a process, synchronous.
//!
//! A shell owns a machine (node or client) through its incarnations. It hands inputs over, one
//! request a connection at a time; draws timers inside their windows; applies disk writes; sends
//! notes and probes to the recorder; and turns what is left into [`Out`]s for its engine. Faults
//! on one kind of RPC act here, in the outbox, so that they work on every engine.

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event};
use broker_model::client::{Client, ClientConfig};
use broker_model::effect::{Effect, Effects, File};
use broker_model::input::{DiskResult, Input, RequestHeader};
use broker_model::node::{Node, NodeConfig};
use broker_model::probe::Probe;
use broker_model::timer::Timer;
use broker_model::types::{ConnectionId, Endpoint, FlushId, Listener, NodeId, Now, StrBytes};
use broker_model::wire::request_api;
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use crate::disk::{Disk, FlushTicket};
use crate::recorder::Recorder;
use crate::seed::{Purpose, Seed};
use crate::trace::{BodyHash, Scratch, timer_code};
use crate::workload::App;

mod latecomers;
mod outbox;

use latecomers::Latecomers;
pub use outbox::{OutboxRule, RuleMode};

/// What an engine carries out for a shell, in order.
#[derive(Debug)]
pub enum Out {
    /// Connect.
    Open {
        /// Chosen by the process.
        conn: ConnectionId,
        /// Whom to.
        to: Endpoint,
    },
    /// Send a message on a connection.
    Send {
        /// The connection.
        conn: ConnectionId,
        /// The message.
        message: Box<Message>,
    },
    /// Close a connection.
    Close {
        /// The connection.
        conn: ConnectionId,
    },
    /// Tell the shell with [`Shell::flushed`] at that time.
    Flush {
        /// The file.
        file: File,
        /// The process's name for it.
        id: FlushId,
        /// What it covers.
        ticket: FlushTicket,
        /// When it is over, in microseconds.
        at_us: u64,
    },
    /// Call [`Shell::fire`] at that time.
    Timer {
        /// The timer.
        timer: Timer,
        /// Which arming.
        arming: u64,
        /// When, in microseconds.
        at_us: u64,
    },
    /// Call [`Shell::wake`] at that time.
    Wake {
        /// When, in microseconds.
        at_us: u64,
    },
    /// The process ended by itself.
    Halt,
}

/// A request or response on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its version.
    pub version: i16,
    /// Its correlation id.
    pub correlation_id: i32,
    /// The API.
    pub api_key: ApiKey,
    /// The decoded body.
    pub body: Body,
    /// The hash of the encoded body.
    pub hash: BodyHash,
    /// The encoded body's length in bytes.
    pub bytes: u32,
    /// The encoded body, in shells that keep it for the wire.
    pub encoded: Option<Bytes>,
}

impl Message {
    /// Whether it is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.body, Body::Request(_))
    }
}

/// A message's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// From client to server.
    Request(Box<RequestKind>),
    /// From server to client.
    Response(Box<ResponseKind>),
}

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
    app: Option<Box<dyn App>>,
    incarnation: u32,
    clock: Clock,
    seed: Seed,
    flush_us: (u64, u64),
    flushes: u64,
    effects: Effects,
    timers: Vec<Armed>,
    armings: u64,
    served: BTreeMap<ConnectionId, Served>,
    ready: VecDeque<(Input, BodyHash)>,
    commands: VecDeque<Command>,
    wake_at_us: Option<u64>,
    scratch: Scratch,
    /// Whether messages carry their encoding.
    keeps_encoded: bool,
    /// Whether each message is decoded again from its encoding.
    round_trip: bool,
    pinned_timers: bool,
    /// Timers that a script keeps from firing, with the arming whose moment passed meanwhile.
    withheld: BTreeMap<Timer, Option<u64>>,
    latecomers: Latecomers,
    outbox: outbox::Outbox,
    paused: Option<Paused>,
}

/// A connection that came in.
#[derive(Default)]
struct Served {
    /// The request in processing.
    busy: Option<(i16, ApiKey)>,
    waiting: VecDeque<(Input, BodyHash)>,
}

#[derive(Clone, Copy)]
struct Armed {
    timer: Timer,
    arming: u64,
}

/// What happened to a process while it did nothing.
#[derive(Default)]
struct Paused {
    inbox: Vec<Stimulus>,
    /// Whether something waited past its time: a timer that was due.
    late: bool,
}

enum Stimulus {
    Input(Input, BodyHash),
    Fire(Timer, u64),
    Flushed(File, FlushId, FlushTicket),
    Wake,
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
            app: config.app,
            incarnation: 0,
            clock: Clock {
                wall_start_ms: config.wall_start_ms,
            },
            seed: config.seed,
            flush_us: config.flush_us,
            flushes: 0,
            effects: Effects::new(),
            timers: Vec::with_capacity(16),
            armings: 0,
            served: BTreeMap::new(),
            ready: VecDeque::new(),
            commands: VecDeque::new(),
            wake_at_us: None,
            scratch: Scratch::new(),
            keeps_encoded: false,
            round_trip: config.round_trip,
            pinned_timers: config.pinned_timers,
            withheld: BTreeMap::new(),
            latecomers: Latecomers::default(),
            outbox: outbox::Outbox::default(),
            paused: None,
        }
    }

    /// From now on messages carry their encoding, for an engine that puts them on a wire.
    pub fn keep_encoded(&mut self) {
        self.keeps_encoded = true;
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

    /// The disk.
    pub fn disk_mut(&mut self) -> &mut dyn Disk {
        self.disk.as_mut()
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
        self.timers.clear();
        self.served.clear();
        self.latecomers = Latecomers::default();
        self.ready.clear();
        self.commands.clear();
        self.outbox.forget_messages();
        self.paused = None;
        self.wake_at_us = None;
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
        self.offer(input, hash);
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
            paused.late |= self.timers.iter().any(|armed| armed.arming == arming);
            paused.inbox.push(Stimulus::Fire(timer, arming));
            return;
        }
        let Some(at) = self.timers.iter().position(|armed| armed.arming == arming) else {
            return;
        };
        if let Some(missed) = self.withheld.get_mut(&timer) {
            *missed = Some(arming);
            return;
        }
        self.timers.swap_remove(at);
        self.ready
            .push_back((Input::Fired(timer), BodyHash::default()));
        self.run(now_us, recorder, out);
    }

    /// Which arming of that timer is pending.
    #[must_use]
    pub fn armed(&self, timer: Timer) -> Option<u64> {
        self.timers
            .iter()
            .find(|armed| armed.timer == timer)
            .map(|armed| armed.arming)
    }

    /// From now on that timer does not fire by itself.
    pub fn withhold(&mut self, timer: Timer) {
        self.withheld.entry(timer).or_default();
    }

    /// Whether that timer does not fire by itself.
    #[must_use]
    pub fn withholds(&self, timer: Timer) -> bool {
        self.withheld.contains_key(&timer)
    }

    /// The timer fires again. Returns the arming whose moment passed while it did not.
    pub fn grant(&mut self, timer: Timer) -> Option<u64> {
        self.withheld.remove(&timer).flatten()
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

    /// From now on the process does nothing; its clocks go on.
    pub fn pause(&mut self) {
        self.paused.get_or_insert_with(Paused::default);
    }

    /// The process goes on, with everything that waited. True if something waited past its time.
    pub fn resume(&mut self, now_us: u64, recorder: &mut Recorder, out: &mut Vec<Out>) -> bool {
        let Some(paused) = self.paused.take() else {
            return false;
        };
        for stimulus in paused.inbox {
            if self.machine.is_none() {
                break;
            }
            match stimulus {
                Stimulus::Input(input, hash) => self.input(now_us, input, hash, recorder, out),
                Stimulus::Fire(timer, arming) => self.fire(now_us, (timer, arming), recorder, out),
                Stimulus::Flushed(file, id, ticket) => {
                    self.flushed(now_us, (file, id, ticket), recorder, out);
                }
                Stimulus::Wake => self.wake(now_us, recorder, out),
            }
        }
        paused.late
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

    /// Requests that this process has in processing, and connections with one waiting.
    #[must_use]
    pub fn open_requests(&self) -> impl Iterator<Item = ApiKey> + '_ {
        self.served
            .values()
            .filter_map(|served| served.busy.map(|(_, api_key)| api_key))
    }

    /// The version and API of the request in processing on that connection.
    #[must_use]
    pub fn in_processing(&self, conn: ConnectionId) -> Option<(i16, ApiKey)> {
        self.served.get(&conn).and_then(|served| served.busy)
    }

    /// Queues an input, or parks a request behind the one in processing (SocketServer mutes the
    /// channel).
    fn offer(&mut self, input: Input, hash: BodyHash) {
        match &input {
            Input::Request { conn, .. } => {
                let served = self.served.entry(*conn).or_default();
                if served.busy.is_some() || !served.waiting.is_empty() {
                    served.waiting.push_back((input, hash));
                    return;
                }
            }
            Input::Closed { conn } => {
                // What had arrived before the end of the stream is still read and executed; the
                // connection is gone once nothing of it waits.
                if let Some(served) = self.served.get_mut(conn)
                    && served.busy.is_some()
                    && !served.waiting.is_empty()
                {
                    served.waiting.push_back((input, hash));
                    return;
                }
                self.served.remove(conn);
            }
            _ => {}
        }
        self.ready.push_back((input, hash));
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
            let served = self.served.entry(*conn).or_default();
            let api_key = request_api(body);
            served.busy = Some((header.version, api_key));
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

    fn carry_out(
        &mut self,
        now_us: u64,
        effect: Effect,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        match effect {
            Effect::Note(note) => {
                recorder.digest.note();
                let node = self.identity.node.expect("only nodes emit notes");
                recorder.note(now_us, node, self.incarnation, &note);
            }
            Effect::Send {
                conn,
                version,
                correlation_id,
                body,
            } => {
                let message = self.message(version, correlation_id, Body::Request(body));
                recorder.sent(now_us, &self.identity, conn, &message);
                self.outbox.send(conn, Box::new(message), out);
            }
            Effect::Reply {
                conn,
                correlation_id,
                body,
            } => {
                self.reply(now_us, conn, correlation_id, body, recorder, out);
            }
            Effect::Arm {
                timer,
                ref window_ms,
            } => {
                let at_us = self.arm(now_us, timer, *window_ms.start(), *window_ms.end());
                recorder.effect(now_us, &self.identity, &effect, at_us);
                out.push(Out::Timer {
                    timer,
                    arming: self.armings,
                    at_us,
                });
            }
            Effect::Disarm(timer) => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.timers.retain(|armed| armed.timer != timer);
            }
            Effect::Write { file, ref write } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.disk.write(now_us, file, write.clone());
            }
            Effect::Flush { file, id } => {
                self.flushes += 1;
                let key = [self.identity.key, u64::MAX - 1, self.flushes];
                let after_us =
                    self.seed
                        .draw_in(Purpose::Disk, key, self.flush_us.0..=self.flush_us.1);
                let at_us = now_us + after_us;
                recorder.effect(now_us, &self.identity, &effect, at_us);
                let ticket = self.disk.begin_flush(file);
                out.push(Out::Flush {
                    file,
                    id,
                    ticket,
                    at_us,
                });
            }
            Effect::Open { conn, ref to } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                out.push(Out::Open {
                    conn,
                    to: to.clone(),
                });
            }
            Effect::Done { conn } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.finish_request(conn);
            }
            Effect::Close { conn } => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                self.served.remove(&conn);
                self.outbox.close(conn, out);
            }
            Effect::Probe(probe) => recorder.probe(now_us, &self.identity, probe),
            Effect::Event(event) => self.tell_app(now_us, event, recorder),
            Effect::Halt => {
                recorder.effect(now_us, &self.identity, &effect, 0);
                out.push(Out::Halt);
            }
        }
    }

    fn reply(
        &mut self,
        now_us: u64,
        conn: ConnectionId,
        correlation_id: i32,
        body: Box<ResponseKind>,
        recorder: &mut Recorder,
        out: &mut Vec<Out>,
    ) {
        let Some((version, api_key)) = self.in_processing(conn) else {
            panic!(
                "{} answers a request that is not in processing on {conn}",
                self.identity.name
            )
        };
        let mut message = self.message(version, correlation_id, Body::Response(body));
        message.api_key = api_key;
        recorder.sent(now_us, &self.identity, conn, &message);
        self.outbox.send(conn, Box::new(message), out);
        self.finish_request(conn);
    }

    /// Unmutes the connection: the next request of it may be stepped.
    fn finish_request(&mut self, conn: ConnectionId) {
        let Some(served) = self.served.get_mut(&conn) else {
            return;
        };
        served.busy = None;
        if let Some(next) = served.waiting.pop_front() {
            if matches!(next.0, Input::Closed { .. }) {
                self.served.remove(&conn);
            }
            self.ready.push_back(next);
        }
    }

    fn arm(&mut self, now_us: u64, timer: Timer, least_ms: u64, most_ms: u64) -> u64 {
        self.timers.retain(|armed| armed.timer != timer);
        self.armings += 1;
        self.timers.push(Armed {
            timer,
            arming: self.armings,
        });
        if least_ms == most_ms {
            return now_us + least_ms * 1_000;
        }
        if self.pinned_timers {
            let step_us = (most_ms - least_ms) * 1_000 / PINNED_STEPS;
            let turn = u64::from(self.identity.index) % PINNED_STEPS;
            return now_us + least_ms * 1_000 + turn * step_us;
        }
        let incarnation = u64::from(self.incarnation) << 32;
        let key = [
            self.identity.key,
            timer_code(timer),
            incarnation | self.armings,
        ];
        let draw = self.seed.draw(Purpose::Timers, key);
        let span_us = (most_ms - least_ms) * 1_000;
        let after_us = if timer == Timer::ApplyMetadata {
            heavy_tailed(draw, span_us)
        } else {
            draw % (span_us + 1)
        };
        now_us + least_ms * 1_000 + after_us
    }

    /// Encodes a body once: for its hash, its length, and as a test that it can be encoded.
    fn message(&mut self, version: i16, correlation_id: i32, body: Body) -> Message {
        let buffer = self.scratch.take();
        let (api_key, encoded) = match &body {
            Body::Request(request) => (request_api(request), request.encode(buffer, version)),
            Body::Response(response) => (ApiKey::ApiVersions, response.encode(buffer, version)),
        };
        if let Err(error) = encoded {
            panic!(
                "{} made a message that version {version} cannot carry: {error}: {body:?}",
                self.identity.name
            );
        }
        let hash = BodyHash::of(buffer);
        let bytes = u32::try_from(buffer.len()).expect("a message is short");
        let encoded = self.keeps_encoded.then(|| Bytes::copy_from_slice(buffer));
        Message {
            version,
            correlation_id,
            api_key,
            body,
            hash,
            bytes,
            encoded,
        }
    }

    /// The body as the other side would decode it, in runs that check the encoding.
    pub fn round_trip(&mut self, message: Message) -> Message {
        if !self.round_trip {
            return message;
        }
        let buffer = self.scratch.take();
        let body = match &message.body {
            Body::Request(request) => {
                request
                    .encode(buffer, message.version)
                    .expect("it was encoded before");
                let mut bytes = Bytes::copy_from_slice(buffer);
                let body = RequestKind::decode(message.api_key, &mut bytes, message.version)
                    .expect("what we encode can be decoded");
                assert!(
                    bytes.is_empty(),
                    "{:?} leaves bytes behind",
                    message.api_key
                );
                Body::Request(Box::new(body))
            }
            Body::Response(response) => {
                response
                    .encode(buffer, message.version)
                    .expect("it was encoded before");
                let mut bytes = Bytes::copy_from_slice(buffer);
                let body = ResponseKind::decode(message.api_key, &mut bytes, message.version)
                    .expect("what we encode can be decoded");
                assert!(
                    bytes.is_empty(),
                    "{:?} leaves bytes behind",
                    message.api_key
                );
                Body::Response(Box::new(body))
            }
        };
        Message { body, ..message }
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

/// Into how many moments a pinned timer's window is divided.
const PINNED_STEPS: u64 = 8;

/// A Pareto-like lag inside `0..=span`: most are short, one in a hundred is long.
fn heavy_tailed(draw: u64, span: u64) -> u64 {
    let tail = draw >> 56;
    let within = draw & 0x00FF_FFFF_FFFF_FFFF;
    let reach = match tail {
        0..=2 => span,
        3..=15 => span / 4,
        16..=63 => span / 16,
        _ => span / 64,
    };
    within % (reach + 1)
}

/// The input that a message becomes at the other side.
#[must_use]
pub fn arrival(conn: ConnectionId, client_id: StrBytes, message: Message) -> (Input, BodyHash) {
    let Message {
        version,
        correlation_id,
        body,
        hash,
        ..
    } = message;
    let input = match body {
        Body::Request(body) => {
            let header = RequestHeader {
                version,
                correlation_id,
                client_id,
            };
            Input::Request { conn, header, body }
        }
        Body::Response(body) => Input::Response {
            conn,
            correlation_id,
            body,
        },
    };
    (input, hash)
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
