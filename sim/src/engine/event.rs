//! The event engine: one queue of (time, order, event), no runtime, no sockets. Time jumps to the
//! next event.

use std::collections::BTreeMap;

use broker_model::client::command::Command;
use broker_model::timer::Timer;
use broker_model::types::{Endpoint, Listener, StrBytes};

use super::link::Link;
use super::{Disturbance, Engine, ProcessId};
use crate::observe::{Stop, WorldEvent};
use crate::recorder::Recorder;
use crate::seed::Seed;
use crate::shell::{Out, OutboxRule, Shell, ShellConfig};

mod network;
mod queue;

use queue::{Queue, What};

/// The engine that sweeps, bug hunts and shrinking run on.
pub struct EventEngine {
    seed: Seed,
    latency_us: (u64, u64),
    now_us: u64,
    queue: Queue,
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

impl EventEngine {
    /// No processes yet, at time 0.
    #[must_use]
    pub fn new(seed: Seed, latency_us: (u64, u64), recorder: Recorder) -> Self {
        EventEngine {
            seed,
            latency_us,
            now_us: 0,
            queue: Queue::new(),
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
        self.queue.push(at_us, what);
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
            What::Deliver {
                link,
                way,
                number,
                parcel,
            } => match self.links[link as usize].arrives(way, number) {
                None => self.deliver(link, way, parcel),
                Some(wrong) => {
                    let detail = format!("parcel {number} of connection {link} {wrong}");
                    let broken = WorldEvent::HarnessBroken { detail };
                    self.recorder.world(self.now_us, &broken);
                }
            },
            What::Resend { link } => self.connect(link),
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
                Out::Send { conn, message } => self.send_message(process, conn, message),
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
                Out::Close { conn } => self.close(process, conn),
                Out::Halt => self.end(process, Stop::Halted),
            }
        }
        self.out = out;
    }

    /// A process ends: its connections are closed, or left hanging when the power went.
    fn end(&mut self, process: ProcessId, how: Stop) {
        let shell = &mut self.shells[usize::from(process.0)];
        let incarnation = shell.incarnation();
        let node = shell.identity.node;
        shell.stop();
        self.leave(process, incarnation, how != Stop::PowerLoss);
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

impl Engine for EventEngine {
    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn run_until(&mut self, at_us: u64) {
        while let Some((event_us, what)) = self.queue.pop_due(at_us) {
            self.now_us = event_us;
            self.handle(what);
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
        let (events, lost) = shell.lose_power(now_us);
        for event in events {
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
        if let Some((Disturbance::Hold { .. }, _)) = self.disturbances.remove(&fault) {
            self.release();
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
