//! A small world for whole clusters: a queue of events, a network that carries frames, disks of
//! bytes. Nothing fails unless a test says so.

mod hand;

use std::collections::{BTreeMap, VecDeque};

use broker_model::client::command::{Command, Event};
use broker_model::client::{Client, ClientConfig};
use broker_model::effect::{DiskRead, Effect, Effects, File, Write};
use broker_model::input::{Input, RequestHeader};
use broker_model::node::{Node, NodeConfig, Voter};
use broker_model::note::Note;
use broker_model::timer::Timer;
use broker_model::types::{
    ConnectionId, Endpoint, Listener, NodeId, Now, StrBytes, TopicIdPartition,
};
use broker_model::wire::frame::{self, Decoded};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

/// A process: nodes count from 1, clients from 100.
pub(crate) type Actor = i32;

/// Everything there is.
pub(crate) struct World {
    pub(crate) now_ms: u64,
    seq: u64,
    queue: BTreeMap<(u64, u64), (Actor, u32, Input)>,
    processes: BTreeMap<Actor, Process>,
    links: Vec<Link>,
    draws: u64,
    /// Every note, with the time and the node.
    pub(crate) notes: Vec<(u64, Actor, Note)>,
    /// Every client event.
    pub(crate) events: Vec<(Actor, Event)>,
    effects: Effects,
}

struct Process {
    machine: Option<Machine>,
    /// Rises with each start: what was meant for an older one is dropped.
    incarnation: u32,
    disk: Disk,
    timers: BTreeMap<Timer, (u64, u64)>,
    accepted: u64,
}

enum Machine {
    Node(Box<Node>),
    Client(Box<Client>),
    Hand(hand::Hand),
}

/// A connection; both ends know it by their own id.
struct Link {
    opener: (Actor, ConnectionId),
    acceptor: (Actor, ConnectionId),
    listener: Listener,
    open: bool,
    /// Requests that wait until the one in processing is answered.
    inbox: VecDeque<Bytes>,
    in_processing: Option<(ApiKey, i16)>,
    /// What the opener sent and was not answered yet.
    sent: VecDeque<(ApiKey, i16)>,
}

/// Files in memory, durable at once.
#[derive(Default)]
struct Disk {
    files: BTreeMap<File, Vec<u8>>,
}

impl DiskRead for Disk {
    fn len(&self, file: File) -> Option<u64> {
        let len = self.files.get(&file)?.len();
        Some(u64::try_from(len).expect("a length fits"))
    }
    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let at = usize::try_from(at).expect("in memory");
        Bytes::copy_from_slice(&self.files[&file][at..at + len])
    }
    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        let logs = self.files.keys().filter_map(|file| match file {
            File::PartitionLog(partition) => Some(*partition),
            _ => None,
        });
        logs.collect()
    }
}

impl Disk {
    fn write(&mut self, file: File, write: Write) {
        match write {
            Write::Append(bytes) => self
                .files
                .entry(file)
                .or_default()
                .extend_from_slice(&bytes),
            Write::Truncate { len } => {
                let len = usize::try_from(len).expect("in memory");
                self.files.entry(file).or_default().truncate(len);
            }
            Write::Replace(bytes) => {
                self.files.insert(file, bytes.to_vec());
            }
            Write::Delete => {
                self.files.remove(&file);
            }
        }
    }
}

/// One way through the network.
const LATENCY_MS: u64 = 1;
/// One flush.
const FLUSH_MS: u64 = 1;

impl World {
    /// Nodes that just started. `seed` decides where in their windows timers fire.
    pub(crate) fn of_nodes(configs: Vec<NodeConfig>, seed: u64) -> Self {
        let mut world = World {
            now_ms: 1_000,
            seq: 0,
            queue: BTreeMap::new(),
            processes: BTreeMap::new(),
            links: Vec::new(),
            draws: seed,
            notes: Vec::new(),
            events: Vec::new(),
            effects: Effects::new(),
        };
        for config in configs {
            world.start_node(config);
        }
        world
    }

    /// Starts a node on the disk that it left, or on an empty one.
    pub(crate) fn start_node(&mut self, config: NodeConfig) {
        let id = config.id.0;
        let process = self.processes.entry(id).or_insert_with(Process::new);
        process.incarnation += 1;
        process.timers.clear();
        let node = Node::recover(config, &process.disk);
        process.machine = Some(Machine::Node(Box::new(node)));
        let entropy = u64::from(process.incarnation) << 32 | u64::from(id.unsigned_abs());
        self.send(id, 0, Input::Started { entropy });
    }

    /// Starts a client; its actor is the return value.
    pub(crate) fn start_client(&mut self, config: ClientConfig) -> Actor {
        let id = 100 + i32::try_from(self.processes.len()).expect("few");
        let mut process = Process::new();
        process.incarnation = 1;
        process.machine = Some(Machine::Client(Box::new(Client::new(config))));
        self.processes.insert(id, process);
        self.send(
            id,
            0,
            Input::Started {
                entropy: u64::from(id.unsigned_abs()),
            },
        );
        id
    }

    /// Ends a process as `kill -9` does: what it wrote is there, its connections are reset.
    pub(crate) fn kill(&mut self, actor: Actor) {
        let process = self.processes.get_mut(&actor).expect("a process");
        process.machine = None;
        process.incarnation += 1;
        process.timers.clear();
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if link.open && link.opener.0 == actor {
                self.close(at, link.acceptor);
            } else if link.open && link.acceptor.0 == actor {
                self.close(at, link.opener);
            }
        }
    }

    /// Tells a process something.
    pub(crate) fn command(&mut self, actor: Actor, command: Command) {
        self.send(actor, 0, Input::Command(command));
    }

    /// The node, if it runs.
    pub(crate) fn node(&self, id: Actor) -> Option<&Node> {
        match self.processes.get(&id)?.machine.as_ref()? {
            Machine::Node(node) => Some(node),
            Machine::Client(_) | Machine::Hand(_) => None,
        }
    }

    /// Goes on until `done`, or panics after so many milliseconds.
    pub(crate) fn run_until(&mut self, within_ms: u64, what: &str, done: impl Fn(&World) -> bool) {
        let deadline_ms = self.now_ms + within_ms;
        while !done(self) {
            assert!(
                self.now_ms < deadline_ms,
                "no {what} within {within_ms} ms\n{}",
                self.tail()
            );
            self.advance();
        }
    }

    /// Goes on for so long.
    pub(crate) fn run_for(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self
            .queue
            .first_key_value()
            .is_some_and(|(&(at_ms, _), _)| at_ms <= until_ms)
        {
            self.advance();
        }
        self.now_ms = until_ms;
    }

    /// A number below `bound`.
    pub(crate) fn draw(&mut self, bound: u64) -> u64 {
        // Knuth's multiplicative generator: any draw would do.
        self.draws = self
            .draws
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 33) % bound
    }

    fn tail(&self) -> String {
        let skip = self.notes.len().saturating_sub(40);
        let notes = self.notes[skip..].iter();
        let lines = notes.map(|(at_ms, actor, note)| format!("{at_ms} n{actor} {note:?}\n"));
        lines.collect()
    }

    /// The next event.
    fn advance(&mut self) {
        let ((at_ms, seq), (actor, incarnation, input)) =
            self.queue.pop_first().expect("a cluster always has timers");
        self.now_ms = at_ms;
        let process = self.processes.get_mut(&actor).expect("a process");
        if process.incarnation != incarnation {
            return;
        }
        if let Input::Fired(timer) = &input {
            if process.timers.get(timer) != Some(&(at_ms, seq)) {
                return;
            }
            process.timers.remove(timer);
        }
        let now = Now {
            mono_ms: at_ms,
            wall_ms: 1_700_000_000_000 + i64::try_from(at_ms).expect("small"),
        };
        let mut effects = std::mem::take(&mut self.effects);
        match &mut process.machine {
            Some(Machine::Node(node)) => node.step(now, input, &process.disk, &mut effects),
            Some(Machine::Client(client)) => client.step(now, input, &mut effects),
            Some(Machine::Hand(hand)) => hand.on(input),
            None => {}
        }
        for effect in effects.drain() {
            self.carry_out(actor, effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, actor: Actor, effect: Effect) {
        match effect {
            Effect::Open { conn, to } => self.open(actor, conn, &to),
            Effect::Send {
                conn,
                version,
                correlation_id,
                body,
            } => {
                let Some(at) = self.link(actor, conn) else {
                    return;
                };
                let mut bytes = BytesMut::new();
                frame::encode_request(correlation_id, "x", version, &body, &mut bytes)
                    .unwrap_or_else(|error| panic!("{actor} sends {body:?}: {error}"));
                let api = broker_model::wire::request_api(&body);
                self.links[at].sent.push_back((api, version));
                self.links[at].inbox.push_back(bytes.freeze().slice(4..));
                self.deliver_request(at);
            }
            Effect::Reply {
                conn,
                correlation_id,
                body,
            } => {
                let Some(at) = self.link(actor, conn) else {
                    return;
                };
                let (api, version) = self.links[at]
                    .in_processing
                    .take()
                    .expect("a request is in processing");
                let mut bytes = BytesMut::new();
                frame::encode_response(api, version, correlation_id, &body, &mut bytes)
                    .unwrap_or_else(|error| panic!("n{actor} answers {body:?}: {error}"));
                self.deliver_response(at, &bytes.freeze().slice(4..));
                self.deliver_request(at);
            }
            Effect::Done { conn } => {
                let Some(at) = self.link(actor, conn) else {
                    return;
                };
                self.links[at].in_processing = None;
                self.links[at].sent.pop_front();
                self.deliver_request(at);
            }
            Effect::Close { conn } => {
                let Some(at) = self.link(actor, conn) else {
                    return;
                };
                let link = &self.links[at];
                let other = if link.opener == (actor, conn) {
                    link.acceptor
                } else {
                    link.opener
                };
                self.close(at, other);
            }
            Effect::Arm { timer, window_ms } => self.arm(actor, timer, window_ms),
            Effect::Disarm(timer) => {
                self.process(actor).timers.remove(&timer);
            }
            Effect::Write { file, write } => self.process(actor).disk.write(file, write),
            Effect::Flush { id, .. } => self.send(actor, FLUSH_MS, Input::Flushed(id, Ok(()))),
            Effect::Note(note) => self.notes.push((self.now_ms, actor, note)),
            Effect::Probe(_) => {}
            Effect::Event(event) => self.events.push((actor, event)),
            Effect::Halt => self.kill(actor),
        }
    }

    fn open(&mut self, actor: Actor, conn: ConnectionId, to: &Endpoint) {
        let peer: Actor = to
            .host
            .trim_start_matches('n')
            .parse()
            .expect("hosts are n1, n2 …");
        let listener = if to.port == 9_092 {
            Listener::Broker
        } else {
            Listener::Controller
        };
        let up = self
            .processes
            .get(&peer)
            .is_some_and(|peer| peer.machine.is_some());
        if !up {
            return self.send(actor, LATENCY_MS, Input::Closed { conn });
        }
        let process = self.process(peer);
        process.accepted += 1;
        let inbound = ConnectionId(process.accepted);
        self.links.push(Link {
            opener: (actor, conn),
            acceptor: (peer, inbound),
            listener,
            open: true,
            inbox: VecDeque::new(),
            in_processing: None,
            sent: VecDeque::new(),
        });
        self.send(
            peer,
            LATENCY_MS,
            Input::Opened {
                conn: inbound,
                listener,
            },
        );
        self.send(actor, LATENCY_MS, Input::Opened { conn, listener });
    }

    fn link(&self, actor: Actor, conn: ConnectionId) -> Option<usize> {
        let end = (actor, conn);
        self.links
            .iter()
            .position(|link| link.open && (link.opener == end || link.acceptor == end))
    }

    fn close(&mut self, at: usize, (other, conn): (Actor, ConnectionId)) {
        self.links[at].open = false;
        self.send(other, LATENCY_MS, Input::Closed { conn });
    }

    fn deliver_request(&mut self, at: usize) {
        let link = &mut self.links[at];
        if link.in_processing.is_some() {
            return;
        }
        let Some(bytes) = link.inbox.pop_front() else {
            return;
        };
        let (acceptor, conn) = link.acceptor;
        let decoded = frame::decode_request(link.listener, &bytes)
            .unwrap_or_else(|error| panic!("n{acceptor} cannot read a request: {error}"));
        let Decoded::Request {
            header,
            api_key,
            body,
        } = decoded
        else {
            panic!("nobody asks in a version that does not exist");
        };
        link.in_processing = Some((api_key, header.request_api_version));
        let header = RequestHeader {
            version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.unwrap_or_default(),
        };
        self.send(
            acceptor,
            LATENCY_MS,
            Input::Request {
                conn,
                header,
                body: Box::new(body),
            },
        );
    }

    fn deliver_response(&mut self, at: usize, bytes: &Bytes) {
        let link = &mut self.links[at];
        let (opener, conn) = link.opener;
        let (api, version) = link.sent.pop_front().expect("it was asked");
        let (correlation_id, body) = frame::decode_response(api, version, bytes)
            .unwrap_or_else(|error| panic!("{opener} cannot read a {api:?}: {error}"));
        let body = Box::new(body);
        self.send(
            opener,
            LATENCY_MS,
            Input::Response {
                conn,
                correlation_id,
                body,
            },
        );
    }

    fn arm(&mut self, actor: Actor, timer: Timer, window_ms: std::ops::RangeInclusive<u64>) {
        let width = window_ms.end() - window_ms.start() + 1;
        let after_ms = window_ms.start() + self.draw(width);
        let at_ms = self.now_ms + after_ms;
        self.send(actor, after_ms, Input::Fired(timer));
        let seq = self.seq;
        self.process(actor).timers.insert(timer, (at_ms, seq));
    }

    fn send(&mut self, actor: Actor, after_ms: u64, input: Input) {
        let incarnation = self.process(actor).incarnation;
        self.seq += 1;
        self.queue.insert(
            (self.now_ms + after_ms, self.seq),
            (actor, incarnation, input),
        );
    }

    fn process(&mut self, actor: Actor) -> &mut Process {
        self.processes.get_mut(&actor).expect("a process")
    }
}

impl Process {
    fn new() -> Self {
        Process {
            machine: None,
            incarnation: 0,
            disk: Disk::default(),
            timers: BTreeMap::new(),
            accepted: 0,
        }
    }
}

/// A combined node, one of the voters 1 to 3.
pub(crate) fn combined(id: i32) -> NodeConfig {
    combined_of(id, 3)
}

/// A combined node, one of so many voters.
pub(crate) fn combined_of(id: i32, count: i32) -> NodeConfig {
    let voters = (1..=count).map(|id| Voter {
        id: NodeId(id),
        endpoint: endpoint(id, 10_092),
    });
    NodeConfig {
        id: NodeId(id),
        is_broker: true,
        is_controller: true,
        cluster_id: StrBytes::from_static_str("kafka-sim"),
        voters: voters.collect(),
        broker_endpoint: endpoint(id, 9_092),
        rack: None,
        properties: BTreeMap::new(),
        metadata_lag_max_ms: 0,
        bug: None,
    }
}

/// Where a node is.
pub(crate) fn endpoint(id: i32, port: u16) -> Endpoint {
    let host = StrBytes::from_string(format!("n{id}"));
    Endpoint { host, port }
}
