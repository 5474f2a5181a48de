//! The event engine: one queue of (time, order, event), no runtime, no sockets. Time jumps to the
//! next event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use broker_model::client::command::Command;
use broker_model::effect::File;
use broker_model::input::Input;
use broker_model::timer::Timer;
use broker_model::types::{ConnectionId, Endpoint, FlushId, Listener, StrBytes};

use super::link::{Link, Parcel, Way};
use super::{Disturbance, Engine, ProcessId};
use crate::disk::FlushTicket;
use crate::observe::{Stop, WorldEvent};
use crate::recorder::Recorder;
use crate::seed::Seed;
use crate::shell::{Message, Out, OutboxRule, Shell, ShellConfig, arrival};
use crate::trace::BodyHash;

/// The engine that sweeps, bug hunts and shrinking run on.
pub struct EventEngine {
    seed: Seed,
    latency_us: (u64, u64),
    now_us: u64,
    order: u64,
    queue: BinaryHeap<Reverse<Event>>,
    shells: Vec<Shell>,
    powered: Vec<bool>,
    /// Listening endpoints.
    endpoints: BTreeMap<Endpoint, (ProcessId, Listener)>,
    client_ids: Vec<StrBytes>,
    links: Vec<Link>,
    /// For each process the links of the connections that it opened, by its own counter.
    opened: Vec<Vec<u32>>,
    /// How many connections there were between two processes.
    connections: BTreeMap<(u64, u64), u64>,
    disturbances: BTreeMap<u32, (Disturbance, u64)>,
    recorder: Recorder,
    out: Vec<Out>,
}

struct Event {
    at_us: u64,
    order: u64,
    what: What,
}

enum What {
    Fire {
        process: ProcessId,
        incarnation: u32,
        timer: Timer,
        arming: u64,
    },
    Flushed {
        process: ProcessId,
        incarnation: u32,
        file: File,
        id: FlushId,
        ticket: FlushTicket,
    },
    Wake {
        process: ProcessId,
        incarnation: u32,
    },
    Deliver {
        link: u32,
        way: Way,
        parcel: Parcel,
    },
    Resend {
        link: u32,
    },
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// A lost SYN is sent again after this, then after twice as long, and so on (RFC 6298).
const SYN_RETRY_US: u64 = 1_000_000;

impl EventEngine {
    /// No processes yet, at time 0.
    #[must_use]
    pub fn new(seed: Seed, latency_us: (u64, u64), recorder: Recorder) -> Self {
        EventEngine {
            seed,
            latency_us,
            now_us: 0,
            order: 0,
            queue: BinaryHeap::with_capacity(256),
            shells: Vec::new(),
            powered: Vec::new(),
            endpoints: BTreeMap::new(),
            client_ids: Vec::new(),
            links: Vec::new(),
            opened: Vec::new(),
            connections: BTreeMap::new(),
            disturbances: BTreeMap::new(),
            recorder,
            out: Vec::with_capacity(32),
        }
    }

    /// A timer's moment comes now, whether it is withheld or not. False if it is not armed.
    pub fn fire(&mut self, process: ProcessId, timer: Timer) -> bool {
        let shell = self.shell(process);
        let Some(arming) = shell.armed(timer) else {
            return false;
        };
        let withheld = shell.withholds(timer);
        shell.grant(timer);
        self.fire_arming(process, timer, arming);
        if withheld {
            self.shell(process).withhold(timer);
        }
        true
    }

    /// A timer that was withheld fires by itself again; now, if its moment has passed.
    pub fn grant(&mut self, process: ProcessId, timer: Timer) {
        if let Some(arming) = self.shell(process).grant(timer) {
            self.fire_arming(process, timer, arming);
        }
    }

    fn fire_arming(&mut self, process: ProcessId, timer: Timer, arming: u64) {
        let incarnation = self.shell(process).incarnation();
        self.handle(What::Fire {
            process,
            incarnation,
            timer,
            arming,
        });
    }

    fn shell(&mut self, process: ProcessId) -> &mut Shell {
        &mut self.shells[usize::from(process.0)]
    }

    fn schedule(&mut self, at_us: u64, what: What) {
        assert!(
            self.now_us <= at_us,
            "an event in the past: {at_us} < {}",
            self.now_us
        );
        self.order += 1;
        self.queue.push(Reverse(Event {
            at_us,
            order: self.order,
            what,
        }));
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Fire {
                process,
                incarnation,
                timer,
                arming,
            } => {
                self.act(process, incarnation, |shell, now_us, recorder, out| {
                    shell.fire(now_us, (timer, arming), recorder, out);
                });
            }
            What::Flushed {
                process,
                incarnation,
                file,
                id,
                ticket,
            } => {
                self.act(process, incarnation, |shell, now_us, recorder, out| {
                    shell.flushed(now_us, (file, id, ticket), recorder, out);
                });
            }
            What::Wake {
                process,
                incarnation,
            } => {
                self.act(process, incarnation, |shell, now_us, recorder, out| {
                    shell.wake(now_us, recorder, out);
                });
            }
            What::Deliver { link, way, parcel } => self.deliver(link, way, parcel),
            What::Resend { link } => self.send(link, Way::Up, Parcel::Syn),
        }
    }

    /// Lets a process act, if it still is the incarnation that is meant, and carries out what it
    /// asks for.
    fn act(
        &mut self,
        process: ProcessId,
        incarnation: u32,
        act: impl FnOnce(&mut Shell, u64, &mut Recorder, &mut Vec<Out>),
    ) {
        let shell = &mut self.shells[usize::from(process.0)];
        if !shell.is_up() || shell.incarnation() != incarnation {
            return;
        }
        act(shell, self.now_us, &mut self.recorder, &mut self.out);
        self.carry_out(process, incarnation);
    }

    fn carry_out(&mut self, process: ProcessId, incarnation: u32) {
        let mut out = std::mem::take(&mut self.out);
        for item in out.drain(..) {
            match item {
                Out::Timer {
                    timer,
                    arming,
                    at_us,
                } => {
                    self.schedule(
                        at_us,
                        What::Fire {
                            process,
                            incarnation,
                            timer,
                            arming,
                        },
                    );
                }
                Out::Send { conn, message } => {
                    if let Some((link, way)) = self.link_of(process, conn) {
                        self.send(link, way, Parcel::Message(message));
                    }
                }
                Out::Flush {
                    file,
                    id,
                    ticket,
                    at_us,
                } => {
                    self.schedule(
                        at_us,
                        What::Flushed {
                            process,
                            incarnation,
                            file,
                            id,
                            ticket,
                        },
                    );
                }
                Out::Wake { at_us } => {
                    let at_us = at_us.max(self.now_us);
                    self.schedule(
                        at_us,
                        What::Wake {
                            process,
                            incarnation,
                        },
                    );
                }
                Out::Open { conn, to } => self.open(process, incarnation, conn, &to),
                Out::Close { conn } => {
                    if let Some((link, way)) = self.link_of(process, conn)
                        && !self.links[link as usize].gone[way as usize]
                    {
                        self.send(link, way, Parcel::Fin);
                        self.links[link as usize].gone[way as usize] = true;
                    }
                }
                Out::Halt => self.end(process, Stop::Halted),
            }
        }
        self.out = out;
    }

    /// The link of a connection, and the way that the process sends on it.
    fn link_of(&self, process: ProcessId, conn: ConnectionId) -> Option<(u32, Way)> {
        if conn.is_outbound() {
            let n = usize::try_from(conn.0 & (u64::MAX >> 1)).expect("a counter");
            let link = *self.opened[usize::from(process.0)].get(n - 1)?;
            Some((link, Way::Up))
        } else {
            Some((u32::try_from(conn.0).expect("an index"), Way::Down))
        }
    }

    fn open(&mut self, process: ProcessId, incarnation: u32, conn: ConnectionId, to: &Endpoint) {
        let index = u32::try_from(self.links.len()).expect("few connections");
        self.opened[usize::from(process.0)].push(index);
        let Some(&(server, listener)) = self.endpoints.get(to) else {
            panic!(
                "{} connects to {to}, where nobody ever listens",
                self.shell(process).identity.name
            )
        };
        let keys = (self.key(process), self.key(server));
        let n = self.connections.entry(keys).or_default();
        *n += 1;
        let link = Link::new(
            self.seed,
            (keys.0, keys.1, *n),
            (process, incarnation, conn),
            (server, listener, ConnectionId(u64::from(index))),
        );
        self.links.push(link);
        self.send(index, Way::Up, Parcel::Syn);
    }

    fn key(&self, process: ProcessId) -> u64 {
        self.shells[usize::from(process.0)].identity.key
    }

    /// Puts a parcel on a link, through whatever disturbs it.
    fn send(&mut self, index: u32, way: Way, parcel: Parcel) {
        let link = &mut self.links[index as usize];
        if link.is_dead(way) {
            return;
        }
        let (from, to) = link.ends(way);
        let mut extra_us = 0;
        let mut cut = false;
        let mut held = link.is_held(way);
        for (disturbance, hits) in self.disturbances.values_mut() {
            if !disturbance.concerns(from, to) {
                continue;
            }
            *hits += 1;
            match disturbance {
                Disturbance::Cut { .. } | Disturbance::Split { .. } => cut = true,
                Disturbance::Hold { .. } => held = true,
                Disturbance::Slow { extra_us: more, .. } => extra_us += *more,
            }
        }
        if cut {
            self.lose(index, way, &parcel);
            return;
        }
        if held {
            link.hold(way, parcel);
            return;
        }
        let at_us = link.arrival_us(way, self.now_us, self.latency_us, extra_us);
        self.recorder.digest.latency(at_us);
        self.schedule(
            at_us,
            What::Deliver {
                link: index,
                way,
                parcel,
            },
        );
    }

    /// A parcel is lost: the way goes silent, but an attempt to connect is repeated.
    fn lose(&mut self, index: u32, way: Way, parcel: &Parcel) {
        let link = &mut self.links[index as usize];
        if matches!(parcel, Parcel::Syn | Parcel::SynAck) {
            link.syns_lost += 1;
            let after_us = SYN_RETRY_US << (link.syns_lost - 1).min(6);
            if !link.gone[Way::Up as usize] {
                self.schedule(self.now_us + after_us, What::Resend { link: index });
            }
        } else {
            link.kill(way);
        }
    }

    fn deliver(&mut self, index: u32, way: Way, parcel: Parcel) {
        let link = &self.links[index as usize];
        let (_, to) = link.ends(way);
        let receiver = &self.shells[usize::from(to.0)];
        let incarnation = receiver.incarnation();
        let expected = match way {
            Way::Up => link.server.1,
            Way::Down => link.client.1,
        };
        match parcel {
            Parcel::Syn => self.accept(index, to, incarnation),
            Parcel::SynAck => {
                let (conn, listener) = (link.client_conn, link.listener);
                if link.gone[Way::Up as usize] {
                    return;
                }
                self.act(to, expected, |shell, now_us, recorder, out| {
                    let opened = Input::Opened { conn, listener };
                    shell.input(now_us, opened, BodyHash::default(), recorder, out);
                });
            }
            Parcel::Message(message) => {
                if incarnation != expected || !receiver.is_up() {
                    // Somebody else, or nobody, is there now: a reset, if the host is on.
                    if self.powered[usize::from(to.0)] {
                        self.reset(index, way);
                    }
                    return;
                }
                if link.gone[reverse(way) as usize] {
                    return;
                }
                self.hand_over(index, way, to, expected, *message);
            }
            Parcel::Fin => {
                let conn = match way {
                    Way::Up => link.server_conn,
                    Way::Down => link.client_conn,
                };
                if link.gone[reverse(way) as usize] {
                    return;
                }
                self.links[index as usize].gone[reverse(way) as usize] = true;
                self.act(to, expected, |shell, now_us, recorder, out| {
                    let closed = Input::Closed { conn };
                    shell.input(now_us, closed, BodyHash::default(), recorder, out);
                });
            }
        }
    }

    fn hand_over(
        &mut self,
        index: u32,
        way: Way,
        to: ProcessId,
        incarnation: u32,
        message: Message,
    ) {
        let link = &self.links[index as usize];
        let (conn, client_id) = match way {
            Way::Up => (
                link.server_conn,
                self.client_ids[usize::from(link.client.0.0)].clone(),
            ),
            Way::Down => (link.client_conn, StrBytes::default()),
        };
        self.act(to, incarnation, |shell, now_us, recorder, out| {
            let message = shell.round_trip(message);
            let (input, hash) = arrival(conn, client_id, message);
            shell.input(now_us, input, hash, recorder, out);
        });
    }

    /// A SYN arrived: a running process accepts, an ended one refuses, a dark host is silent.
    fn accept(&mut self, index: u32, server: ProcessId, incarnation: u32) {
        if !self.powered[usize::from(server.0)] {
            self.lose(index, Way::Up, &Parcel::Syn);
            return;
        }
        let link = &mut self.links[index as usize];
        if !self.shells[usize::from(server.0)].is_up() {
            link.gone[Way::Down as usize] = true;
            self.send(index, Way::Down, Parcel::Fin);
            return;
        }
        if link.server.1 == incarnation {
            // The SYN was repeated because the answer was lost.
            self.send(index, Way::Down, Parcel::SynAck);
            return;
        }
        link.server.1 = incarnation;
        let (conn, listener) = (link.server_conn, link.listener);
        self.send(index, Way::Down, Parcel::SynAck);
        self.act(server, incarnation, |shell, now_us, recorder, out| {
            let opened = Input::Opened { conn, listener };
            shell.input(now_us, opened, BodyHash::default(), recorder, out);
        });
    }

    /// A message reached a process that knows nothing of its connection.
    fn reset(&mut self, index: u32, way: Way) {
        let back = reverse(way);
        let link = &mut self.links[index as usize];
        if !link.gone[back as usize] {
            link.gone[back as usize] = true;
            self.send(index, back, Parcel::Fin);
        }
    }

    /// A process ends: its connections are closed, or left hanging when the power went.
    fn end(&mut self, process: ProcessId, how: Stop) {
        let shell = &mut self.shells[usize::from(process.0)];
        let incarnation = shell.incarnation();
        let node = shell.identity.node;
        shell.stop();
        for index in 0..self.links.len() {
            let link = &self.links[index];
            let way = if link.client == (process, incarnation) {
                Way::Up
            } else if link.server == (process, incarnation) {
                Way::Down
            } else {
                continue;
            };
            if link.gone[way as usize] {
                continue;
            }
            self.links[index].gone[way as usize] = true;
            if how != Stop::PowerLoss {
                let index = u32::try_from(index).expect("an index");
                self.send(index, way, Parcel::Fin);
            }
        }
        self.opened[usize::from(process.0)].clear();
        if let Some(node) = node {
            self.recorder.world(
                self.now_us,
                &WorldEvent::Stopped {
                    node,
                    incarnation,
                    how,
                },
            );
        }
    }
}

fn reverse(way: Way) -> Way {
    match way {
        Way::Up => Way::Down,
        Way::Down => Way::Up,
    }
}

impl Engine for EventEngine {
    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn run_until(&mut self, at_us: u64) {
        while self
            .queue
            .peek()
            .is_some_and(|Reverse(next)| next.at_us <= at_us)
        {
            let Reverse(event) = self.queue.pop().expect("just seen");
            self.now_us = event.at_us;
            self.handle(event.what);
            if self.recorder.violation().is_some() {
                return;
            }
        }
        self.now_us = self.now_us.max(at_us);
    }

    fn add(&mut self, config: ShellConfig, listeners: &[(Endpoint, Listener)]) -> ProcessId {
        let process = ProcessId(config.identity.index);
        for (at, listener) in listeners {
            self.endpoints.insert(at.clone(), (process, *listener));
        }
        assert_eq!(
            usize::from(process.0),
            self.shells.len(),
            "processes are added in order"
        );
        self.client_ids
            .push(StrBytes::from_string(config.identity.name.clone()));
        self.shells.push(Shell::new(config));
        self.powered.push(true);
        self.opened.push(Vec::new());
        process
    }

    fn start(&mut self, process: ProcessId) {
        self.powered[usize::from(process.0)] = true;
        let shell = &mut self.shells[usize::from(process.0)];
        shell.start(self.now_us, &mut self.recorder, &mut self.out);
        let incarnation = shell.incarnation();
        self.carry_out(process, incarnation);
    }

    fn kill(&mut self, process: ProcessId) {
        if self.shell(process).is_up() {
            self.end(process, Stop::Killed);
        }
    }

    fn lose_power(&mut self, process: ProcessId) -> bool {
        if !self.shell(process).is_up() {
            return false;
        }
        self.powered[usize::from(process.0)] = false;
        self.end(process, Stop::PowerLoss);
        let now_us = self.now_us;
        let shell = &mut self.shells[usize::from(process.0)];
        let node = shell.identity.node.expect("only nodes have a disk to lose");
        let disk = shell
            .disk_mut()
            .simulated()
            .expect("this engine's disks are simulated");
        let losses = disk.lose_power(now_us);
        let lost = losses.iter().any(|loss| loss.lost);
        for loss in losses {
            let event = WorldEvent::DiskAfterPowerLoss {
                node,
                file: loss.file,
                written: loss.written,
                flushed: loss.flushed,
                kept: loss.kept,
            };
            self.recorder.world(now_us, &event);
        }
        lost
    }

    fn pause(&mut self, process: ProcessId) {
        self.shell(process).pause();
    }

    fn resume(&mut self, process: ProcessId) -> bool {
        let shell = &mut self.shells[usize::from(process.0)];
        let late = shell.resume(self.now_us, &mut self.recorder, &mut self.out);
        let incarnation = shell.incarnation();
        self.carry_out(process, incarnation);
        late
    }

    fn disturb(&mut self, fault: u32, disturbance: Disturbance) {
        self.disturbances.insert(fault, (disturbance, 0));
    }

    fn calm(&mut self, fault: u32) {
        let Some((Disturbance::Hold { .. }, _)) = self.disturbances.remove(&fault) else {
            return;
        };
        for index in 0..self.links.len() {
            for way in [Way::Up, Way::Down] {
                for parcel in self.links[index].release(way) {
                    self.send(u32::try_from(index).expect("an index"), way, parcel);
                }
            }
        }
    }

    fn disturbed(&self, fault: u32) -> u64 {
        self.disturbances.get(&fault).map_or(0, |(_, hits)| *hits)
    }

    fn add_rule(&mut self, process: ProcessId, rule: OutboxRule) {
        self.shell(process).add_rule(rule);
    }

    fn end_rule(&mut self, process: ProcessId, fault: u32) {
        let shell = &mut self.shells[usize::from(process.0)];
        shell.end_rule(fault, &mut self.out);
        let incarnation = shell.incarnation();
        self.carry_out(process, incarnation);
    }

    fn command(&mut self, process: ProcessId, command: Command) {
        let incarnation = self.shell(process).incarnation();
        self.act(process, incarnation, |shell, now_us, recorder, out| {
            shell.command(now_us, command, recorder, out);
        });
    }

    fn nudge(&mut self, process: ProcessId) {
        let incarnation = self.shell(process).incarnation();
        self.act(process, incarnation, |shell, now_us, recorder, out| {
            shell.nudge(now_us, recorder, out);
        });
    }

    fn with_shell<R>(&mut self, process: ProcessId, look: impl FnOnce(&mut Shell) -> R) -> R {
        look(self.shell(process))
    }

    fn with_recorder<R>(&mut self, act: impl FnOnce(&mut Recorder) -> R) -> R {
        act(&mut self.recorder)
    }

    fn open_requests(&mut self, process: ProcessId) -> u64 {
        self.shell(process).open_requests().count() as u64
    }

    fn into_recorder(self) -> Recorder {
        self.recorder
    }
}
