//! The turmoil engine: the async driver on turmoil's simulated hosts and network.
//!
//! One host a process and one a client, registered at the first start. A host outlives its process:
//! `kill -9` ends the tasks, whose connections are closed as an operating system closes them, and
//! the idle host refuses new ones. At a power loss the host is cut off first and then crashes, so
//! that peers hear nothing; it stays dark until the restart. Time moves in ticks; hosts run one
//! after another within a tick.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use broker_model::client::command::Command;
use broker_model::types::{Endpoint, Listener};
use turmoil::Sim;

use self::seat::Seat;
use super::catching::Panic;
use super::process::{Process, SharedProcess, SharedRecorder};
use super::transport::Turmoil;
use super::weather::{Sky, Weather};
use super::{Disturbance, Engine, ProcessId};
use crate::observe::{Stop, WorldEvent};
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::seed::Purpose;
use crate::shell::{Out, OutboxRule, Shell, ShellConfig};

mod links;
mod seat;

/// The engine that tests the whole stack: framing, connection life, back-pressure, cancellation.
pub struct TurmoilEngine {
    sim: Sim<'static>,
    /// One-way latency of a message, in microseconds: least and most.
    latency_us: (u64, u64),
    processes: Vec<Member>,
    controllers: BTreeSet<Endpoint>,
    weather: Rc<RefCell<Weather>>,
    /// What turmoil's links are like now, where they are not as at the start.
    skies: BTreeMap<(ProcessId, ProcessId), Sky>,
    recorder: SharedRecorder,
    panicked: Rc<RefCell<Option<Panic>>>,
}

/// A process and its host.
struct Member {
    process: SharedProcess,
    host: String,
    listeners: Vec<(u16, Listener)>,
    /// Known to turmoil once it was started.
    address: Option<IpAddr>,
}

/// Segments that a simulated socket takes before its writer waits.
const TCP_CAPACITY: usize = 65_536;
/// Ports of outgoing connections. Turmoil gives none back after a refusal, so there are many.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 16_384..=65_535;

impl TurmoilEngine {
    /// No processes yet, at time 0.
    #[must_use]
    pub fn new(plan: &Plan, recorder: Recorder) -> Self {
        let latency_us = plan.run.latency_us;
        let sim = turmoil::Builder::new()
            .rng_seed(plan.seed.draw(Purpose::Turmoil, [0; 3]))
            .epoch(std::time::UNIX_EPOCH)
            .tick_duration(Duration::from_millis(plan.run.tick_ms))
            .simulation_duration(Duration::from_secs(u64::from(u32::MAX)))
            .min_message_latency(Duration::from_micros(latency_us.0))
            .max_message_latency(Duration::from_micros(latency_us.1))
            .tcp_capacity(TCP_CAPACITY)
            .ephemeral_ports(EPHEMERAL_PORTS)
            .build();
        TurmoilEngine {
            sim,
            latency_us,
            processes: Vec::new(),
            controllers: BTreeSet::new(),
            weather: Rc::default(),
            skies: BTreeMap::new(),
            recorder: Rc::new(RefCell::new(recorder)),
            panicked: Rc::default(),
        }
    }

    fn member(&self, process: ProcessId) -> &Member {
        &self.processes[usize::from(process.0)]
    }

    /// Lets a running process act now.
    fn act<R>(
        &mut self,
        process: ProcessId,
        act: impl FnOnce(&mut Shell, u64, &mut Recorder, &mut Vec<Out>) -> R,
    ) -> Option<R> {
        let now_us = self.now_us();
        let mut process = self.member(process).process.borrow_mut();
        process.shell.is_up().then(|| {
            process.act(&self.recorder, |shell, recorder, out| {
                act(shell, now_us, recorder, out)
            })
        })
    }

    /// Makes the process's host known to turmoil; its software starts with the next step.
    fn register(&mut self, process: ProcessId) {
        let seat = Seat {
            transport: Turmoil::new(process, Rc::clone(&self.weather)),
            process: Rc::clone(&self.member(process).process),
            recorder: Rc::clone(&self.recorder),
            listeners: self.member(process).listeners.clone(),
            controllers: Rc::new(self.controllers.clone()),
            panicked: Rc::clone(&self.panicked),
        };
        let host = self.member(process).host.clone();
        let address = self.sim.lookup(host.as_str());
        self.weather.borrow_mut().register(process, &host, address);
        self.sim.host(address, move || {
            let seat = seat.clone();
            async move {
                seat.run().await;
                Ok(())
            }
        });
        self.processes[usize::from(process.0)].address = Some(address);
        self.update_links();
    }

    /// The process is over; the disk and the host stay.
    fn end(&mut self, process: ProcessId, how: Stop) {
        let (node, incarnation) = {
            let mut process = self.member(process).process.borrow_mut();
            process.end();
            (process.shell.identity.node, process.shell.incarnation())
        };
        if let Some(node) = node {
            let stopped = WorldEvent::Stopped {
                node,
                incarnation,
                how,
            };
            let now_us = self.now_us();
            self.recorder.borrow_mut().world(now_us, &stopped);
        }
    }
}

impl Engine for TurmoilEngine {
    fn now_us(&self) -> u64 {
        u64::try_from(self.sim.elapsed().as_micros()).expect("a run is short")
    }

    fn run_until(&mut self, at_us: u64) {
        while self.now_us() < at_us {
            let stepped = self.sim.step();
            if let Some(panic) = self.panicked.borrow_mut().take() {
                resume_unwind(panic);
            }
            if let Err(error) = stepped {
                panic!("a simulated host failed: {error}");
            }
            if self.recorder.borrow().violation().is_some() {
                return;
            }
        }
    }

    fn add(&mut self, config: ShellConfig, listeners: &[(Endpoint, Listener)]) -> ProcessId {
        let process = ProcessId(config.identity.index);
        assert_eq!(
            usize::from(process.0),
            self.processes.len(),
            "processes are added in order"
        );
        let controllers = listeners
            .iter()
            .filter(|(_, kind)| *kind == Listener::Controller);
        self.controllers
            .extend(controllers.map(|(endpoint, _)| endpoint.clone()));
        let host = match listeners.first() {
            Some((endpoint, _)) => endpoint.host.to_string(),
            None => format!("client-{}", process.0),
        };
        self.processes.push(Member {
            process: Process::new(Shell::new(config)),
            host,
            listeners: listeners
                .iter()
                .map(|(endpoint, kind)| (endpoint.port, *kind))
                .collect(),
            address: None,
        });
        process
    }

    fn start(&mut self, process: ProcessId) {
        let now_us = self.now_us();
        self.member(process)
            .process
            .borrow_mut()
            .act(&self.recorder, |shell, recorder, out| {
                shell.start(now_us, recorder, out);
            });
        if self.weather.borrow_mut().light(process) {
            self.update_links();
        }
        match self.member(process).address {
            None => self.register(process),
            Some(address) => self.sim.bounce(address),
        }
    }

    fn kill(&mut self, process: ProcessId) {
        if !self.member(process).process.borrow().shell.is_up() {
            return;
        }
        self.end(process, Stop::Killed);
        if let Some(address) = self.member(process).address {
            // The host comes back without the process: what it had open is closed, and it refuses.
            self.sim.bounce(address);
        }
    }

    fn lose_power(&mut self, process: ProcessId) -> bool {
        if !self.member(process).process.borrow().shell.is_up() {
            return false;
        }
        self.weather.borrow_mut().darken(process);
        self.update_links();
        self.end(process, Stop::PowerLoss);
        if let Some(address) = self.member(process).address {
            self.sim.crash(address);
        }
        let now_us = self.now_us();
        let mut state = self.member(process).process.borrow_mut();
        let (events, lost) = state.shell.lose_power(now_us);
        for event in &events {
            self.recorder.borrow_mut().world(now_us, event);
        }
        lost
    }

    fn pause(&mut self, process: ProcessId) {
        self.member(process).process.borrow_mut().shell.pause();
    }

    fn resume(&mut self, process: ProcessId) -> bool {
        self.act(process, |shell, now_us, recorder, out| {
            shell.resume(now_us, recorder, out)
        })
        .unwrap_or(false)
    }

    fn disturb(&mut self, fault: u32, disturbance: Disturbance) {
        let in_flight = self.in_flight(&disturbance);
        self.weather
            .borrow_mut()
            .disturb(fault, disturbance, in_flight);
        self.update_links();
    }

    fn calm(&mut self, fault: u32) {
        self.weather.borrow_mut().calm(fault);
        self.update_links();
    }

    fn disturbed(&self, fault: u32) -> u64 {
        self.weather.borrow().met(fault)
    }

    fn add_rule(&mut self, process: ProcessId, rule: OutboxRule) {
        self.member(process)
            .process
            .borrow_mut()
            .shell
            .add_rule(rule);
    }

    fn end_rule(&mut self, process: ProcessId, fault: u32) {
        let mut process = self.member(process).process.borrow_mut();
        process.act(&self.recorder, |shell, _, out| {
            shell.end_rule(fault, out);
        });
    }

    fn command(&mut self, process: ProcessId, command: Command) {
        self.act(process, |shell, now_us, recorder, out| {
            shell.command(now_us, command, recorder, out);
        });
    }

    fn nudge(&mut self, process: ProcessId) {
        self.act(process, |shell, now_us, recorder, out| {
            shell.nudge(now_us, recorder, out);
        });
    }

    fn with_shell<R>(&mut self, process: ProcessId, look: impl FnOnce(&mut Shell) -> R) -> R {
        look(&mut self.member(process).process.borrow_mut().shell)
    }

    fn with_recorder<R>(&mut self, act: impl FnOnce(&mut Recorder) -> R) -> R {
        act(&mut self.recorder.borrow_mut())
    }

    fn open_requests(&mut self, process: ProcessId) -> u64 {
        let process = self.member(process).process.borrow();
        process.shell.open_requests().count() as u64
    }

    fn into_recorder(self) -> Recorder {
        let TurmoilEngine { sim, recorder, .. } = self;
        drop(sim);
        let recorder = Rc::into_inner(recorder).expect("the hosts held the other handles");
        recorder.into_inner()
    }
}
