//! A quorum in one queue of events: messages, flushes and timers take time, processes and disks die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, ResponseKind};

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
use crate::types::{ConnectionId, FlushId, LeaderEpoch, NodeId, Now, Offset, StrBytes};

/// Voters n1, n2, … and observers, on one clock.
pub(super) struct Cluster {
    pub(super) judge: Judge,
    pub(super) probes: BTreeMap<Probe, u32>,
    pub(super) now_ms: u64,
    /// Requests and replies so far.
    pub(super) messages: u64,
    pub(super) rng: Rng,
    bug: Option<Bug>,
    voters: i32,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    queue: BTreeMap<(u64, u64), Event>,
    pub(super) ordered: u64,
    /// Connections by (who opened it, its id there).
    pub(super) links: BTreeMap<LinkId, Link>,
    /// One way each.
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    /// Most of a message's and a flush's time, in milliseconds.
    pub(super) latency_max_ms: u64,
    pub(super) flush_max_ms: u64,
}

/// A connection by who opened it, in which incarnation, and its id there.
pub(super) type LinkId = (NodeId, u32, ConnectionId);

pub(super) struct Host {
    pub(super) disk: MemoryDisk,
    pub(super) incarnation: u32,
    pub(super) process: Option<Process>,
}

pub(super) struct Process {
    pub(super) raft: RaftClient,
    network: Network,
    ids: IdSource,
    pub(super) timers: BTreeMap<Timer, u64>,
    pub(super) inbound: BTreeMap<ConnectionId, Inbound>,
    claimed: Option<LeaderEpoch>,
}

/// A connection on the side that accepted it: one request at a time.
pub(super) struct Inbound {
    pub(super) link: LinkId,
    pub(super) busy: bool,
    pub(super) waiting: VecDeque<(RequestHeader, RequestKind)>,
}

pub(super) struct Link {
    pub(super) to: NodeId,
    pub(super) accepted: ConnectionId,
    /// A message was lost: nothing comes through any more.
    pub(super) dead: bool,
    /// Nothing overtakes: the earliest time of the next delivery, each way.
    pub(super) next_ms: [u64; 2],
}

pub(super) enum Event {
    Timer(NodeId, u32, Timer, u64),
    Flushed(NodeId, u32, File, usize, FlushId),
    Opened(LinkId, NodeId),
    Request(LinkId, RequestHeader, Box<RequestKind>),
    Response(LinkId, i32, Box<ResponseKind>),
    /// The other side closed, or died.
    Closed(LinkId, Side),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
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

    pub(super) fn schedule(&mut self, in_ms: u64, event: Event) {
        self.ordered += 1;
        self.queue
            .insert((self.now_ms + in_ms, self.ordered), event);
    }

    pub(super) fn process(&mut self, id: NodeId, incarnation: u32) -> Option<&mut Process> {
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
    pub(super) fn network(
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

    pub(super) fn step(
        &mut self,
        id: NodeId,
        input: impl FnOnce(&mut RaftClient, &mut Context<'_>),
    ) {
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

    pub(super) fn carry_out(&mut self, id: NodeId, effect: Effect) {
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
}
