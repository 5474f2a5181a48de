//! The world of the stories: brokers without a raft or an engine.
//!
//! Connections stand at once and lose nothing. A request waits until it is delivered; those of one
//! connection are handed over one at a time. Time moves only when told to.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};

use super::disk::Disk;
use super::metadata;
use crate::bug::Bug;
use crate::client::network::{Network, NetworkConfig, NetworkEvent};
use crate::config::{BrokerConfig, Given};
use crate::context::Context;
use crate::effect::{DiskRead, Effect, Effects};
use crate::ids::IdSource;
use crate::input::RequestHeader;
use crate::metadata::{MetadataImage, MetadataRecord};
use crate::note::Note;
use crate::probe::Probe;
use crate::replica::partition::Partition;
use crate::replica::{ReplicaConfig, ReplicaManager};
use crate::timer::Timer;
use crate::types::{
    BrokerEpoch, ConnectionId, Endpoint, FlushId, Listener, NodeId, Now, StrBytes,
    TopicIdPartition, Uuid,
};
use crate::wire::versions;

/// The one partition of the topic "t".
pub(super) const T_0: TopicIdPartition = TopicIdPartition {
    topic: Uuid::from_u128(0x7),
    partition: 0,
};

/// Where proposals go. Nobody answers there but the story.
pub(super) const CONTROLLER: NodeId = NodeId(100);

/// The brokers of a story.
pub(super) struct World {
    pub(super) now: Now,
    nodes: BTreeMap<NodeId, Node>,
    /// The metadata log.
    pub(super) records: Vec<MetadataRecord>,
    /// Requests that were not delivered.
    pub(super) requests: Vec<Request>,
    /// Answers that were not delivered.
    answers: Vec<Answer>,
    /// How the requests of clients ended.
    pub(super) replies: BTreeMap<ConnectionId, Reply>,
    /// Answers to these brokers are not delivered.
    pub(super) deaf: Vec<NodeId>,
    last_conn: u64,
    bug: Option<Bug>,
}

/// How the request of a client ended.
#[derive(Debug)]
pub(super) enum Reply {
    Answered(Box<ResponseKind>),
    Done,
    Closed,
}

pub(super) struct Request {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) conn: ConnectionId,
    pub(super) header: RequestHeader,
    pub(super) body: Box<RequestKind>,
}

pub(super) struct Answer {
    pub(super) to: NodeId,
    pub(super) conn: ConnectionId,
    pub(super) correlation_id: i32,
    pub(super) body: Box<ResponseKind>,
}

pub(super) struct Node {
    replicas: ReplicaManager,
    pub(super) image: MetadataImage,
    network: Network,
    ids: IdSource,
    disk: Disk,
    timers: BTreeMap<Timer, u64>,
    /// What is in processing for other brokers: on which connection, for whom, on which of his.
    serving: BTreeMap<ConnectionId, (NodeId, ConnectionId)>,
    notes: Vec<Note>,
    probes: Vec<Probe>,
    up: bool,
}

pub(super) fn n(id: i32) -> NodeId {
    NodeId(id)
}

impl World {
    /// Brokers 1, 2 and 3; "t" is on all three with min.insync.replicas=2, led by 1 in epoch 0.
    pub(super) fn new() -> World {
        World::with(None, &[("min.insync.replicas", "2")])
    }

    /// The same with a bug.
    pub(super) fn with_bug(bug: Bug) -> World {
        World::with(Some(bug), &[("min.insync.replicas", "2")])
    }

    /// The same with other properties of "t".
    pub(super) fn with(bug: Option<Bug>, topic: &[(&str, &str)]) -> World {
        let mut world = World {
            now: Now {
                mono_ms: 100_000,
                wall_ms: 1_000_000,
            },
            nodes: BTreeMap::new(),
            records: metadata::first_records(topic),
            requests: Vec::new(),
            answers: Vec::new(),
            replies: BTreeMap::new(),
            deaf: Vec::new(),
            last_conn: 0,
            bug,
        };
        for id in 1..=3 {
            world.boot(n(id), Disk::default());
            world.apply(n(id));
        }
        world.settle();
        world
    }

    /// The process of a broker starts on its disk and has heard of no metadata.
    pub(super) fn restart(&mut self, id: NodeId) {
        let disk = std::mem::take(&mut self.node(id).disk);
        self.boot(id, disk);
    }

    fn boot(&mut self, id: NodeId, disk: Disk) {
        let config = BrokerConfig::from_properties(&Given::from([
            ("node.id".to_owned(), id.to_string()),
            ("process.roles".to_owned(), "broker".to_owned()),
        ]))
        .expect("defaults");
        let config = ReplicaConfig::from_broker_config(id, &config, Given::new());
        let node = Node {
            replicas: ReplicaManager::recover(config, &disk),
            image: MetadataImage::empty(),
            network: Network::new(NetworkConfig::default(), StrBytes::default()),
            ids: IdSource::new(id.0.unsigned_abs().into()),
            disk,
            timers: BTreeMap::new(),
            serving: BTreeMap::new(),
            notes: Vec::new(),
            probes: Vec::new(),
            up: true,
        };
        self.nodes.insert(id, node);
        self.on(id, |replicas, cx, _| {
            replicas.set_broker_epoch(BrokerEpoch(i64::from(id.0) - 1));
            replicas.start(cx);
            replicas.set_controller(cx, Some(endpoint(CONTROLLER)));
        });
    }

    /// The process of a broker is gone, with its connections.
    pub(super) fn kill(&mut self, id: NodeId) {
        self.node(id).up = false;
        let mut cut: Vec<(NodeId, ConnectionId)> = Vec::new();
        for request in self.requests.iter().filter(|it| it.to == id) {
            cut.push((request.from, request.conn));
        }
        cut.extend(self.nodes[&id].serving.values());
        cut.sort_unstable();
        cut.dedup();
        self.requests.retain(|it| it.from != id && it.to != id);
        self.answers.retain(|it| it.to != id);
        for (peer, conn) in cut {
            self.closed(peer, conn);
        }
        for peer in [n(1), n(2), n(3)] {
            let serving = self.nodes[&peer].serving.iter();
            let gone: Vec<_> = serving.filter(|it| it.1.0 == id).map(|it| *it.0).collect();
            for conn in gone {
                self.node(peer).serving.remove(&conn);
                self.on(peer, |replicas, _, _| replicas.on_closed(conn));
            }
        }
    }

    /// Runs one step of a broker.
    pub(super) fn on(
        &mut self,
        id: NodeId,
        step: impl FnOnce(&mut ReplicaManager, &mut Context<'_>, &MetadataImage),
    ) {
        let mut effects = Effects::new();
        let (now, bug) = (self.now, self.bug);
        let node = self.node(id);
        let mut cx = Context {
            now,
            disk: &node.disk,
            network: &mut node.network,
            ids: &mut node.ids,
            effects: &mut effects,
            bug,
        };
        step(&mut node.replicas, &mut cx, &node.image);
        self.carry_out(id, effects);
    }

    fn carry_out(&mut self, id: NodeId, mut effects: Effects) {
        for effect in effects.drain() {
            match effect {
                Effect::Open { conn, .. } => self.opened(id, conn),
                Effect::Send {
                    conn,
                    version,
                    correlation_id,
                    body,
                } => self.sent(id, (conn, version, correlation_id), body),
                Effect::Reply {
                    conn,
                    correlation_id,
                    body,
                } => self.replied(id, (conn, correlation_id), body),
                Effect::Done { conn } => {
                    self.replies.insert(conn, Reply::Done);
                }
                Effect::Close { conn } if conn.is_outbound() => {
                    self.requests.retain(|it| (it.from, it.conn) != (id, conn));
                    self.answers.retain(|it| (it.to, it.conn) != (id, conn));
                }
                Effect::Close { conn } => {
                    self.replies.insert(conn, Reply::Closed);
                }
                Effect::Arm { timer, window_ms } => {
                    let at_ms = self.now.mono_ms + window_ms.start();
                    self.node(id).timers.insert(timer, at_ms);
                }
                Effect::Disarm(timer) => {
                    self.node(id).timers.remove(&timer);
                }
                Effect::Write { file, write } => self.node(id).disk.write(file, write),
                Effect::Flush { id: flush, .. } => self.flushed(id, flush),
                Effect::Note(note) => self.node(id).notes.push(note),
                Effect::Probe(probe) => self.node(id).probes.push(probe),
                Effect::Event(_) | Effect::Halt => unreachable!("{effect:?}"),
            }
        }
    }

    fn flushed(&mut self, id: NodeId, flush: FlushId) {
        self.on(id, |replicas, cx, _| replicas.on_flushed(cx, flush, Ok(())));
    }

    fn opened(&mut self, id: NodeId, conn: ConnectionId) {
        let mut effects = Effects::new();
        let now = self.now;
        let network = &mut self.node(id).network;
        network.on_opened(now, conn, Listener::Broker, &mut effects);
        self.carry_out(id, effects);
    }

    fn sent(
        &mut self,
        from: NodeId,
        (conn, version, correlation_id): (ConnectionId, i16, i32),
        body: Box<RequestKind>,
    ) {
        if let RequestKind::ApiVersions(request) = &*body {
            return self.versions(from, conn, correlation_id, request);
        }
        let to = match &*body {
            RequestKind::AlterPartition(_) => CONTROLLER,
            _ => self.hosted(from).leader(),
        };
        if to != CONTROLLER && !self.nodes[&to].up {
            return self.closed(from, conn);
        }
        let header = RequestHeader {
            version,
            correlation_id,
            client_id: StrBytes::default(),
        };
        self.requests.push(Request {
            from,
            to,
            conn,
            header,
            body,
        });
    }

    fn versions(
        &mut self,
        id: NodeId,
        conn: ConnectionId,
        correlation_id: i32,
        request: &ApiVersionsRequest,
    ) {
        let listener = Listener::Broker;
        let finalized = versions::FinalizedFeatures {
            levels: BTreeMap::new(),
            epoch: -1,
        };
        let answer = versions::api_versions_response(listener, 3, request, &[], &finalized);
        let body = Box::new(ResponseKind::ApiVersions(answer));
        self.answered(Answer {
            to: id,
            conn,
            correlation_id,
            body,
        });
    }

    fn replied(
        &mut self,
        id: NodeId,
        (conn, correlation_id): (ConnectionId, i32),
        body: Box<ResponseKind>,
    ) {
        let Some((to, conn)) = self.node(id).serving.remove(&conn) else {
            self.replies.insert(conn, Reply::Answered(body));
            return;
        };
        self.answers.push(Answer {
            to,
            conn,
            correlation_id,
            body,
        });
    }

    /// An answer reaches a broker.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer {
            to,
            conn,
            correlation_id,
            body,
        } = answer;
        let mut effects = Effects::new();
        let now = self.now;
        let network = &mut self.node(to).network;
        let event = network.on_response(now, conn, correlation_id, body, &mut effects);
        self.carry_out(to, effects);
        self.completed(to, event.into_iter().collect());
    }

    fn closed(&mut self, id: NodeId, conn: ConnectionId) {
        let mut effects = Effects::new();
        let now = self.now;
        let events = self.node(id).network.on_closed(now, conn, &mut effects);
        self.carry_out(id, effects);
        self.completed(id, events);
    }

    fn completed(&mut self, id: NodeId, events: Vec<NetworkEvent>) {
        for event in events {
            if let NetworkEvent::Completed(completion) = event {
                self.on(id, |replicas, cx, image| {
                    replicas.on_completion(cx, image, completion);
                });
            }
        }
    }

    /// Delivers everything that can be delivered, until nothing is left but what waits.
    pub(super) fn settle(&mut self) {
        while self.deliver_request() || self.deliver_answer() {}
    }

    /// Delivers the first request to a broker whose turn it is on its connection.
    pub(super) fn deliver_request(&mut self) -> bool {
        let busy: Vec<(NodeId, ConnectionId)> = self
            .nodes
            .values()
            .flat_map(|it| it.serving.values().copied())
            .chain(self.answers.iter().map(|it| (it.to, it.conn)))
            .collect();
        let at = self
            .requests
            .iter()
            .position(|it| it.to != CONTROLLER && !busy.contains(&(it.from, it.conn)));
        let Some(at) = at else {
            return false;
        };
        let request = self.requests.remove(at);
        let conn = self.next_conn();
        let from = (request.from, request.conn);
        self.node(request.to).serving.insert(conn, from);
        self.on(request.to, |replicas, cx, image| {
            replicas.on_request(cx, image, conn, &request.header, &request.body);
        });
        true
    }

    /// Delivers requests until there are none left.
    pub(super) fn deliver_everything_but_answers(&mut self) {
        while self.deliver_request() {}
    }

    /// Delivers the first answer to a broker that hears.
    pub(super) fn deliver_answer(&mut self) -> bool {
        let deaf = &self.deaf;
        let at = self.answers.iter().position(|it| !deaf.contains(&it.to));
        let Some(at) = at else {
            return false;
        };
        let answer = self.answers.remove(at);
        self.answered(answer);
        true
    }

    /// Lets time pass, fires what is due, and delivers everything.
    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now.mono_ms + ms;
        loop {
            let due = self.nodes.iter().filter(|(_, node)| node.up);
            let due = due.flat_map(|(id, node)| node.timers.iter().map(|(it, at)| (*at, *id, *it)));
            let Some((at_ms, id, timer)) = due.min().filter(|it| it.0 <= until_ms) else {
                break;
            };
            self.now.wall_ms += i64::try_from(at_ms - self.now.mono_ms).expect("small");
            self.now.mono_ms = at_ms;
            self.node(id).timers.remove(&timer);
            self.fired(id, timer);
            self.settle();
        }
        self.now.mono_ms = until_ms;
    }

    fn fired(&mut self, id: NodeId, timer: Timer) {
        let Timer::Network(channel) = timer else {
            return self.on(id, |replicas, cx, image| {
                replicas.on_timer(cx, image, timer)
            });
        };
        let mut effects = Effects::new();
        let now = self.now;
        let events = self.node(id).network.on_timer(now, channel, &mut effects);
        self.carry_out(id, effects);
        self.completed(id, events);
    }

    /// Hands a client's request to a broker.
    pub(super) fn ask(&mut self, id: NodeId, version: i16, body: &RequestKind) -> ConnectionId {
        let conn = self.next_conn();
        let header = RequestHeader {
            version,
            correlation_id: 1,
            client_id: StrBytes::default(),
        };
        self.on(id, |replicas, cx, image| {
            replicas.on_request(cx, image, conn, &header, body);
        });
        conn
    }

    /// A broker's replica.
    pub(super) fn hosted(&self, id: NodeId) -> &Partition {
        &self.nodes[&id].replicas.hosted[&T_0]
    }

    /// A broker's replicas.
    pub(super) fn replicas(&self, id: NodeId) -> &ReplicaManager {
        &self.nodes[&id].replicas
    }

    /// A broker's log: the value and leader epoch of each record.
    pub(super) fn log(&self, id: NodeId) -> String {
        super::producing::values(&self.log_bytes(id)).join(" ")
    }

    fn log_bytes(&self, id: NodeId) -> Bytes {
        let log = &self.hosted(id).log;
        let read = log.read(
            &self.nodes[&id].disk,
            log.log_start(),
            usize::MAX / 2,
            log.log_end(),
            true,
        );
        read.expect("from start to end").records
    }

    /// The partitions whose logs are on a broker's disk.
    pub(super) fn files(&self, id: NodeId) -> Vec<TopicIdPartition> {
        self.nodes[&id].disk.partition_logs()
    }

    /// A broker's high watermark.
    pub(super) fn high_watermark(&self, id: NodeId) -> i64 {
        self.hosted(id).log.high_watermark().0
    }

    /// Whether a broker has reached a rare state.
    pub(super) fn has_reached(&self, id: NodeId, probe: Probe) -> bool {
        self.nodes[&id].probes.contains(&probe)
    }

    /// What a broker has told the judge.
    pub(super) fn notes(&self, id: NodeId) -> &[Note] {
        &self.nodes[&id].notes
    }

    pub(super) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a broker of the story")
    }

    fn next_conn(&mut self) -> ConnectionId {
        self.last_conn += 1;
        ConnectionId(self.last_conn)
    }
}

/// Where a node is.
pub(super) fn endpoint(node: NodeId) -> Endpoint {
    Endpoint {
        host: StrBytes::from_string(format!("n{node}")),
        port: 9092,
    }
}
