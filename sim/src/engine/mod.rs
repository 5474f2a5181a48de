//! What moves time and messages. A run drives an engine and cannot tell which one it is.

use broker_model::client::command::Command;
use broker_model::types::{Endpoint, Listener};
use serde::{Deserialize, Serialize};

use crate::recorder::Recorder;
use crate::shell::{OutboxRule, Shell, ShellConfig};

pub mod bare;
mod catching;
mod driver;
pub mod event;
mod link;
pub mod outside;
mod process;
pub mod serve;
pub mod transport;
pub mod turmoil;
mod weather;

/// The simulated engines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// One queue of events.
    Event,
    /// The async driver on turmoil's hosts and network.
    Turmoil,
}

impl EngineKind {
    /// As the command line says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Event => "event",
            EngineKind::Turmoil => "turmoil",
        }
    }
}

/// A process of the run, by its index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcessId(pub u16);

/// A simulated engine.
pub trait Engine {
    /// Microseconds since the start of the run.
    fn now_us(&self) -> u64;

    /// Lets time pass to that moment, or until a violation is recorded.
    fn run_until(&mut self, at_us: u64);

    /// Adds a process that will listen there; it is not started yet.
    fn add(&mut self, config: ShellConfig, listeners: &[(Endpoint, Listener)]) -> ProcessId;

    /// Starts a process that does not run.
    fn start(&mut self, process: ProcessId);

    /// `kill -9`: connections are reset, the page cache survives.
    fn kill(&mut self, process: ProcessId);

    /// Power loss: peers hear nothing, what was not flushed may be gone. True if something was.
    fn lose_power(&mut self, process: ProcessId) -> bool;

    /// The process does nothing until [`Engine::resume`].
    fn pause(&mut self, process: ProcessId);

    /// The process goes on. True if something waited past its time.
    fn resume(&mut self, process: ProcessId) -> bool;

    /// Adds a fault to the network.
    fn disturb(&mut self, fault: u32, disturbance: Disturbance);

    /// Takes a fault off the network.
    fn calm(&mut self, fault: u32);

    /// How many messages that fault has dropped, held or slowed.
    fn disturbed(&self, fault: u32) -> u64;

    /// Adds a rule to a process's outbox.
    fn add_rule(&mut self, process: ProcessId, rule: OutboxRule);

    /// Ends the rules of that fault.
    fn end_rule(&mut self, process: ProcessId, fault: u32);

    /// Gives a process a command.
    fn command(&mut self, process: ProcessId, command: Command);

    /// Lets a client's application look again after the harness told it something.
    fn nudge(&mut self, process: ProcessId);

    /// Lends a process's shell.
    fn with_shell<R>(&mut self, process: ProcessId, look: impl FnOnce(&mut Shell) -> R) -> R
    where
        Self: Sized;

    /// Lends the recorder.
    fn with_recorder<R>(&mut self, act: impl FnOnce(&mut Recorder) -> R) -> R
    where
        Self: Sized;

    /// Requests of clients or replicas that the process has in processing.
    fn open_requests(&mut self, process: ProcessId) -> u64;

    /// Takes the recorder back at the end of a run.
    fn into_recorder(self) -> Recorder
    where
        Self: Sized;
}

/// What a fault does to the network between processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disturbance {
    /// Messages from any of the first to any of the second are lost.
    Cut {
        /// From whom.
        from: Vec<ProcessId>,
        /// To whom.
        to: Vec<ProcessId>,
    },
    /// Messages between the two, both ways, are lost.
    Split {
        /// One side.
        one: Vec<ProcessId>,
        /// The other.
        other: Vec<ProcessId>,
    },
    /// Messages between the two, both ways, wait until the end.
    Hold {
        /// One side.
        one: Vec<ProcessId>,
        /// The other.
        other: Vec<ProcessId>,
    },
    /// Messages between the two, both ways, take longer.
    Slow {
        /// One side.
        one: Vec<ProcessId>,
        /// The other.
        other: Vec<ProcessId>,
        /// By this many microseconds.
        extra_us: u64,
    },
}

impl Disturbance {
    /// Whether a message from the one to the other is concerned.
    #[must_use]
    pub fn concerns(&self, from: ProcessId, to: ProcessId) -> bool {
        match self {
            Disturbance::Cut {
                from: sources,
                to: targets,
            } => sources.contains(&from) && targets.contains(&to),
            Disturbance::Split { one, other }
            | Disturbance::Hold { one, other }
            | Disturbance::Slow { one, other, .. } => {
                (one.contains(&from) && other.contains(&to))
                    || (one.contains(&to) && other.contains(&from))
            }
        }
    }
}
