//! A quorum in one queue of events: messages, flushes and timers take time, processes and disks die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};

use super::disk::MemoryDisk;
use super::judge::Judge;
use super::{Rng, config};
use crate::bug::Bug;
use crate::client::network::{Network, NetworkConfig, NetworkEvent};
use crate::context::Context;
use crate::effect::{Effect, Effects, File};
use crate::ids::IdSource;
use crate::input::RequestHeader;
use crate::note::RaftRole;
use crate::probe::Probe;
use crate::raft::{RaftClient, RaftEvent};
use crate::timer::Timer;
use crate::types::{ConnectionId, FlushId, LeaderEpoch, Listener, NodeId, Now, Offset, StrBytes};
use crate::wire::versions::{self, FinalizedFeatures};

/// Voters n1, n2, … and observers, on one clock.
pub(super) struct Cluster {
    pub(super) judge: Judge,
    pub(super) probes: BTreeMap<Probe, u32>,
    pub(super) now_ms: u64,
    /// Requests and replies so far.
    pub(super) messages: u64,
    rng: Rng,
    bug: Option<Bug>,
    voters: i32,
    hosts: BTreeMap<NodeId, Host>,
    queue: BTreeMap<(u64, u64), Event>,
    ordered: u64,
    /// Connections by (who opened it, its id there).
    links: BTreeMap<(NodeId, u32, ConnectionId), Link>,
    /// One way each.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Most of a message's and a flush's time, in milliseconds.
    pub(super) latency_max_ms: u64,
    pub(super) flush_max_ms: u64,
}

struct Host {
    disk: MemoryDisk,
    incarnation: u32,
    process: Option<Process>,
}

struct Process {
    raft: RaftClient,
    network: Network,
    ids: IdSource,
    timers: BTreeMap<Timer, u64>,
    inbound: BTreeMap<ConnectionId, Inbound>,
    claimed: Option<LeaderEpoch>,
}

/// A connection on the side that accepted it: one request at a time.
struct Inbound {
    link: (NodeId, u32, ConnectionId),
    busy: bool,
    waiting: VecDeque<(RequestHeader, RequestKind)>,
}

struct Link {
    to: NodeId,
    accepted: ConnectionId,
    /// A message was lost: nothing comes through any more.
    dead: bool,
    /// Nothing overtakes: the earliest time of the next delivery, each way.
    next_ms: [u64; 2],
}

enum Event {
    Timer(NodeId, u32, Timer, u64),
    Flushed(NodeId, u32, File, usize, FlushId),
    Opened((NodeId, u32, ConnectionId), NodeId),
    Request((NodeId, u32, ConnectionId), RequestHeader, Box<RequestKind>),
    Response((NodeId, u32, ConnectionId), i32, Box<ResponseKind>),
    /// The other side closed, or died.
    Closed((NodeId, u32, ConnectionId), Side),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Opener,
    Acceptor,
}

impl Cluster {
    /// A quorum that has not been started.
    pub(super) fn new(seed: u64, voters: i32, observers: i32, bug: Option<Bug>) -> Self {
        let host = |id| {
            let host = Host {
                disk: MemoryDisk::default(),
                incarnation: 0,
                process: None,
            };
            (NodeId(id), host)
        };
        Cluster {
            judge: Judge::new(voters),
            probes: BTreeMap::new(),
            now_ms: 1_000,
            messages: 0,
            rng: Rng::new(seed),
            bug,
            voters,
            hosts: (1..=voters + observers).map(host).collect(),
            queue: BTreeMap::new(),
            ordered: 0,
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            latency_max_ms: 5,
            flush_max_ms: 5,
        }
    }

    /// A started quorum with the first leader elected and committed.
    pub(super) fn elected(seed: u64, voters: i32, observers: i32) -> Self {
        let mut cluster = Cluster::new(seed, voters, observers, None);
        cluster.start_all();
        cluster.run(10_000);
        assert!(cluster.active().is_some(), "no leader after ten seconds");
        cluster
    }

    pub(super) fn start_all(&mut self) {
        for id in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
    }

    pub(super) fn start(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        if host.process.is_some() {
            return;
        }
        host.incarnation += 1;
        let network = NetworkConfig {
            setup_timeout_ms: 1_000,
            ..NetworkConfig::default()
        };
        host.process = Some(Process {
            raft: RaftClient::recover(config(id.0, self.voters), &host.disk),
            network: Network::new(network, StrBytes::from_static_str("raft")),
            ids: IdSource::new(u64::from(host.incarnation)),
            timers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            claimed: None,
        });
        self.step(id, |raft, cx| raft.start(cx));
    }

    /// The process dies; the page cache survives unless the power goes too.
    pub(super) fn crash(&mut self, id: NodeId, power: bool) {
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        let Some(process) = host.process.take() else {
            return;
        };
        if power {
            let rng = &mut self.rng;
            host.disk.lose_power(|n| {
                let most = u64::try_from(n).expect("small");
                usize::try_from(rng.range(0, most)).expect("small")
            });
        }
        for inbound in process.inbound.values() {
            self.tell_closed(inbound.link, Side::Opener);
        }
        let incarnation = self.hosts[&id].incarnation;
        let opened = (id, incarnation, ConnectionId(0))..=(id, incarnation, ConnectionId(u64::MAX));
        let links: Vec<_> = self.links.range(opened).map(|(key, _)| *key).collect();
        for link in links {
            self.tell_closed(link, Side::Acceptor);
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// Cuts a node off, both ways.
    pub(super) fn isolate(&mut self, id: NodeId) {
        for other in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn raft(&self, id: NodeId) -> Option<&RaftClient> {
        Some(&self.hosts[&id].process.as_ref()?.raft)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (NodeId, &RaftClient)> {
        self.hosts
            .iter()
            .filter_map(|(&id, host)| Some((id, &host.process.as_ref()?.raft)))
    }

    /// The node with the latest claim that it has not given up.
    pub(super) fn active(&self) -> Option<NodeId> {
        let claims = self.hosts.iter().filter_map(|(&id, host)| {
            let epoch = host.process.as_ref()?.claimed?;
            Some((epoch, id))
        });
        claims.max().map(|(_, id)| id)
    }

    /// A voter that does not lead.
    pub(super) fn follower(&self) -> NodeId {
        let mut voters = self
            .running()
            .filter(|(id, raft)| id.0 <= self.voters && raft.role() != RaftRole::Leader);
        voters.next().expect("a follower runs").0
    }

    /// Appends on a node that believes to be active.
    pub(super) fn append(&mut self, id: NodeId, value: u64) -> Option<Offset> {
        let process = self.hosts.get(&id)?.process.as_ref()?;
        let epoch = process.claimed?;
        let mut appended = None;
        self.step(id, |raft, cx| {
            let value = Bytes::copy_from_slice(&value.to_be_bytes());
            appended = raft.append(cx, epoch, vec![value]).ok();
        });
        appended
    }

    pub(super) fn shutdown(&mut self, id: NodeId) {
        if self.hosts[&id].process.is_some() {
            self.step(id, |raft, cx| raft.shutdown(cx));
        }
    }

    /// Runs for that long.
    pub(super) fn run(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.advance(until_ms) {}
        self.now_ms = until_ms;
    }

    /// Runs until that holds; panics if it does not within `ms`.
    pub(super) fn run_until(&mut self, ms: u64, mut holds: impl FnMut(&Cluster) -> bool) {
        let until_ms = self.now_ms + ms;
        while !holds(self) {
            assert!(self.advance(until_ms), "not within {ms} ms");
        }
    }

    /// The next event up to then; false if there is none.
    fn advance(&mut self, until_ms: u64) -> bool {
        let Some(entry) = self.queue.first_entry() else {
            return false;
        };
        let (at_ms, _) = *entry.key();
        if until_ms < at_ms {
            return false;
        }
        let event = entry.remove();
        self.now_ms = self.now_ms.max(at_ms);
        self.deliver(event);
        true
    }

    fn schedule(&mut self, in_ms: u64, event: Event) {
        self.ordered += 1;
        self.queue
            .insert((self.now_ms + in_ms, self.ordered), event);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Timer(id, incarnation, timer, n) => {
                let Some(process) = self.process(id, incarnation) else {
                    return;
                };
                if process.timers.get(&timer) != Some(&n) {
                    return;
                }
                process.timers.remove(&timer);
                if let Timer::Network(channel) = timer {
                    self.network(id, |network, now, effects| {
                        network.on_timer(now, channel, effects)
                    });
                } else {
                    self.step(id, |raft, cx| raft.on_timer(cx, timer));
                }
            }
            Event::Flushed(id, incarnation, file, writes, flush) => {
                if self.process(id, incarnation).is_some() {
                    let host = self.hosts.get_mut(&id).expect("a node of the cluster");
                    host.disk.flush_to(file, writes);
                    self.step(id, |raft, cx| raft.on_flushed(cx, flush, Ok(())));
                }
            }
            Event::Opened(link, to) => self.deliver_open(link, to),
            Event::Request(link, header, body) => self.deliver_request(link, header, *body),
            Event::Response(link, correlation_id, body) => {
                let (id, incarnation, conn) = link;
                if self.passes(link, Side::Opener) && self.process(id, incarnation).is_some() {
                    self.network(id, |network, now, effects| {
                        let event = network.on_response(now, conn, correlation_id, body, effects);
                        event.into_iter().collect()
                    });
                }
            }
            Event::Closed(link, side) => self.deliver_close(link, side),
        }
    }

    fn deliver_open(&mut self, link: (NodeId, u32, ConnectionId), to: NodeId) {
        let (id, incarnation, conn) = link;
        if self.cuts.contains(&(id, to)) || self.cuts.contains(&(to, id)) {
            return;
        }
        if self.process(id, incarnation).is_none() {
            return;
        }
        self.ordered += 1;
        let accepted = ConnectionId(self.ordered);
        let Some(process) = self
            .hosts
            .get_mut(&to)
            .and_then(|host| host.process.as_mut())
        else {
            return self.network(id, |network, now, effects| {
                network.on_closed(now, conn, effects)
            });
        };
        let inbound = Inbound {
            link,
            busy: false,
            waiting: VecDeque::new(),
        };
        process.inbound.insert(accepted, inbound);
        let state = Link {
            to,
            accepted,
            dead: false,
            next_ms: [0; 2],
        };
        self.links.insert(link, state);
        self.network(id, |network, now, effects| {
            network.on_opened(now, conn, Listener::Controller, effects);
            Vec::new()
        });
    }

    fn deliver_request(
        &mut self,
        link: (NodeId, u32, ConnectionId),
        header: RequestHeader,
        body: RequestKind,
    ) {
        if !self.passes(link, Side::Acceptor) {
            return;
        }
        let (to, accepted) = (self.links[&link].to, self.links[&link].accepted);
        let process = self
            .hosts
            .get_mut(&to)
            .and_then(|host| host.process.as_mut());
        let Some(inbound) = process.and_then(|process| process.inbound.get_mut(&accepted)) else {
            return;
        };
        inbound.waiting.push_back((header, body));
        self.next_request(to, accepted);
    }

    /// Hands over the next request of a connection that is not busy.
    fn next_request(&mut self, id: NodeId, conn: ConnectionId) {
        let process = self
            .hosts
            .get_mut(&id)
            .and_then(|host| host.process.as_mut());
        let Some(inbound) = process.and_then(|process| process.inbound.get_mut(&conn)) else {
            return;
        };
        if inbound.busy {
            return;
        }
        let Some((header, body)) = inbound.waiting.pop_front() else {
            return;
        };
        inbound.busy = true;
        if matches!(body, RequestKind::ApiVersions(_)) {
            let features = FinalizedFeatures {
                levels: BTreeMap::new(),
                epoch: -1,
            };
            let request = ApiVersionsRequest::default();
            let listener = Listener::Controller;
            let answer = versions::api_versions_response(listener, 2, &request, &[], &features);
            let body = Box::new(ResponseKind::ApiVersions(answer));
            let effect = Effect::Reply {
                conn,
                correlation_id: header.correlation_id,
                body,
            };
            self.carry_out(id, effect);
        } else {
            self.step(id, |raft, cx| raft.on_request(cx, conn, &header, body));
        }
    }

    fn deliver_close(&mut self, link: (NodeId, u32, ConnectionId), side: Side) {
        let (id, incarnation, conn) = link;
        let Some(state) = self.links.remove(&link) else {
            return;
        };
        match side {
            Side::Opener if self.process(id, incarnation).is_some() => {
                self.network(id, |network, now, effects| {
                    network.on_closed(now, conn, effects)
                });
            }
            Side::Opener => {}
            Side::Acceptor => {
                let process = self
                    .hosts
                    .get_mut(&state.to)
                    .and_then(|host| host.process.as_mut());
                let Some(process) = process else { return };
                if process.inbound.remove(&state.accepted).is_some() {
                    process.raft.on_closed(state.accepted);
                }
            }
        }
    }

    /// Whether a message on that connection arrives; if not, none will any more.
    fn passes(&mut self, link: (NodeId, u32, ConnectionId), side: Side) -> bool {
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        let way = match side {
            Side::Acceptor => (link.0, state.to),
            Side::Opener => (state.to, link.0),
        };
        state.dead |= self.cuts.contains(&way);
        !state.dead
    }

    fn tell_closed(&mut self, link: (NodeId, u32, ConnectionId), side: Side) {
        if self.passes(link, side) {
            let ms = self.rng.range(0, self.latency_max_ms);
            self.schedule(ms, Event::Closed(link, side));
        }
    }

    fn process(&mut self, id: NodeId, incarnation: u32) -> Option<&mut Process> {
        let host = self.hosts.get_mut(&id)?;
        (host.incarnation == incarnation)
            .then_some(host.process.as_mut())
            .flatten()
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + i64::try_from(self.now_ms).expect("a short run"),
        }
    }

    /// One input of a node's network, and of its raft client what follows from it.
    fn network(
        &mut self,
        id: NodeId,
        input: impl FnOnce(&mut Network, Now, &mut Effects) -> Vec<NetworkEvent>,
    ) {
        let now = self.now();
        self.step(id, |raft, cx| {
            for event in input(cx.network, now, cx.effects) {
                if let NetworkEvent::Completed(completion) = event {
                    raft.on_completion(cx, completion);
                }
            }
        });
    }

    fn step(&mut self, id: NodeId, input: impl FnOnce(&mut RaftClient, &mut Context<'_>)) {
        let now = self.now();
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        let process = host.process.as_mut().expect("only running nodes step");
        let mut effects = Effects::new();
        let mut cx = Context {
            now,
            disk: &host.disk,
            network: &mut process.network,
            ids: &mut process.ids,
            effects: &mut effects,
            bug: self.bug,
        };
        input(&mut process.raft, &mut cx);
        let events = process.raft.take_events();
        for event in &events {
            match *event {
                RaftEvent::Claim { epoch } => process.claimed = Some(epoch),
                RaftEvent::Resign { .. } => process.claimed = None,
                RaftEvent::LeaderChange { .. } | RaftEvent::Committed(_) => {}
            }
        }
        for effect in effects.drain() {
            self.carry_out(id, effect);
        }
        for event in &events {
            let verdict = self.judge.on_event(id, event);
            verdict.unwrap_or_else(|violation| panic!("{violation}"));
        }
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        let incarnation = host.incarnation;
        let verdict = self.judge.on_effect(id, &effect, &host.disk);
        verdict.unwrap_or_else(|violation| panic!("{violation}"));
        match effect {
            Effect::Open { conn, to } => {
                let to = NodeId(i32::from(to.port));
                let ms = self.rng.range(0, self.latency_max_ms);
                self.schedule(ms, Event::Opened((id, incarnation, conn), to));
            }
            Effect::Send {
                conn,
                version,
                correlation_id,
                body,
            } => {
                let link = (id, incarnation, conn);
                let header = RequestHeader {
                    version,
                    correlation_id,
                    client_id: StrBytes::default(),
                };
                let ms = self.in_order(link, 0);
                self.schedule(ms, Event::Request(link, header, body));
            }
            Effect::Reply {
                conn,
                correlation_id,
                body,
            } => {
                let process = host.process.as_mut();
                let inbound = process.and_then(|process| process.inbound.get_mut(&conn));
                let inbound = inbound.expect("replies go to open connections");
                assert!(inbound.busy, "a reply to no request");
                inbound.busy = false;
                let link = inbound.link;
                let ms = self.in_order(link, 1);
                self.schedule(ms, Event::Response(link, correlation_id, body));
                self.next_request(id, conn);
            }
            Effect::Close { conn } => self.close(id, conn),
            Effect::Arm { timer, window_ms } => {
                self.ordered += 1;
                let n = self.ordered;
                let process = host.process.as_mut().expect("it just stepped");
                process.timers.insert(timer, n);
                let ms = self.rng.range(*window_ms.start(), *window_ms.end());
                self.schedule(ms, Event::Timer(id, incarnation, timer, n));
            }
            Effect::Disarm(timer) => {
                let process = host.process.as_mut().expect("it just stepped");
                process.timers.remove(&timer);
            }
            Effect::Write { file, write } => host.disk.write(file, write),
            Effect::Flush { file, id: flush } => {
                let writes = host.disk.written(file);
                let ms = self.rng.range(0, self.flush_max_ms);
                self.schedule(ms, Event::Flushed(id, incarnation, file, writes, flush));
            }
            Effect::Probe(probe) => *self.probes.entry(probe).or_default() += 1,
            Effect::Halt => panic!("{id} halts"),
            Effect::Done { .. } | Effect::Note(_) | Effect::Event(_) => {}
        }
    }

    /// A node closes a connection of either direction.
    fn close(&mut self, id: NodeId, conn: ConnectionId) {
        let host = self.hosts.get_mut(&id).expect("a node of the cluster");
        if conn.is_outbound() {
            let link = (id, host.incarnation, conn);
            self.tell_closed(link, Side::Acceptor);
        } else {
            let process = host.process.as_mut().expect("it just stepped");
            if let Some(inbound) = process.inbound.remove(&conn) {
                self.tell_closed(inbound.link, Side::Opener);
            }
        }
    }

    /// How long the next message of a connection takes, so that it overtakes none.
    fn in_order(&mut self, link: (NodeId, u32, ConnectionId), way: usize) -> u64 {
        self.messages += 1;
        let ms = self.rng.range(0, self.latency_max_ms);
        let Some(state) = self.links.get_mut(&link) else {
            return ms;
        };
        let at_ms = (self.now_ms + ms).max(state.next_ms[way]);
        state.next_ms[way] = at_ms;
        at_ms - self.now_ms
    }
}
