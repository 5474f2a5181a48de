//! The one-line trace of a run: who did what when. Kept only when asked for.

use std::cell::RefCell;

use broker_model::effect::Effect;
use broker_model::input::Input;
use broker_model::note::Note;
use broker_model::probe::Probe;
use broker_model::types::{ConnectionId, NodeId};

use super::render::Names;
use crate::observe::WorldEvent;
use crate::shell::{Body, Message};
use broker_model::wire::brief::{brief_request, brief_response};

/// The lines of a run, in order.
#[derive(Default, Debug)]
pub struct TraceSink {
    names: Names,
    lines: Vec<TraceLine>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceLine {
    /// Simulated microseconds.
    pub at_us: u64,
    /// `n1`, `p/0`, `world`.
    pub who: String,
    /// What it did, in one word.
    pub verb: &'static str,
    /// The rest.
    pub what: String,
}

impl std::fmt::Display for TraceLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TraceLine {
            at_us,
            who,
            verb,
            what,
        } = self;
        let (seconds, millis) = (at_us / 1_000_000, at_us / 1_000 % 1_000);
        write!(f, "{seconds:>3}.{millis:03} {who:<6} {verb:<9} {what}")
    }
}

thread_local! {
    static LEFT_BEHIND: RefCell<Vec<TraceLine>> = const { RefCell::new(Vec::new()) };
}

/// The lines of the last run on this thread that panicked.
#[must_use]
pub fn left_behind() -> Vec<TraceLine> {
    LEFT_BEHIND.take()
}

/// A panic takes the run down; its trace is what explains it.
impl Drop for TraceSink {
    fn drop(&mut self) {
        if std::thread::panicking() {
            LEFT_BEHIND.set(std::mem::take(&mut self.lines));
        }
    }
}

impl TraceSink {
    /// No lines yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[TraceLine] {
        &self.lines
    }

    /// A process takes an input. Messages are shown where they leave, and where they arrive.
    pub fn input(&mut self, at_us: u64, who: &str, input: &Input) {
        let (verb, what) = match input {
            Input::Started { .. } => ("start", String::new()),
            Input::Opened { conn, listener } => ("opened", format!("{conn} {listener:?}")),
            Input::Request { conn, body, .. } => (
                "handle",
                format!(
                    "{conn} {}",
                    self.names.say(|name| brief_request(body, Some(name)))
                ),
            ),
            Input::Response { conn, body, .. } => (
                "answer",
                format!(
                    "{conn} {}",
                    self.names.say(|name| brief_response(body, Some(name)))
                ),
            ),
            Input::Closed { conn } => ("closed", conn.to_string()),
            Input::Fired(timer) => ("fire", format!("{timer:?}")),
            Input::Flushed(id, result) => (
                "flushed",
                format!("#{id}{}", if result.is_ok() { "" } else { " failed" }),
            ),
            Input::Command(command) => ("command", self.names.command(command)),
        };
        self.push(at_us, who, verb, what);
    }

    /// A process asked for something that is no message and no note.
    pub fn effect(&mut self, at_us: u64, who: &str, effect: &Effect) {
        let (verb, what) = match effect {
            Effect::Open { conn, to } => ("open", format!("{conn} {to}")),
            Effect::Close { conn } => ("close", conn.to_string()),
            Effect::Done { conn } => ("done", conn.to_string()),
            Effect::Write { file, write } => ("write", self.names.write(*file, write)),
            Effect::Flush { file, id } => ("flush", format!("{} #{id}", self.names.file(*file))),
            Effect::Halt => ("halt", String::new()),
            // Timers are seen when they fire.
            Effect::Arm { .. }
            | Effect::Disarm(_)
            | Effect::Send { .. }
            | Effect::Reply { .. }
            | Effect::Note(_)
            | Effect::Probe(_)
            | Effect::Event(_) => return,
        };
        self.push(at_us, who, verb, what);
    }

    /// A message leaves a process.
    pub fn message(&mut self, at_us: u64, who: &str, conn: ConnectionId, message: &Message) {
        let (verb, text) = match &message.body {
            Body::Request(body) => (
                "send",
                self.names.say(|name| brief_request(body, Some(name))),
            ),
            Body::Response(body) => (
                "reply",
                self.names.say(|name| brief_response(body, Some(name))),
            ),
        };
        self.push(at_us, who, verb, format!("{conn} {text}"));
    }

    /// A node's transition.
    pub fn note(&mut self, at_us: u64, node: NodeId, note: &Note) {
        self.names.learn(note);
        let (verb, what) = self.names.note(note);
        self.push(at_us, &format!("n{node}"), verb, what);
    }

    /// A rare state was reached.
    pub fn probe(&mut self, at_us: u64, who: &str, probe: Probe) {
        self.push(at_us, who, "reach", probe.id().to_owned());
    }

    /// A history line.
    pub fn line(&mut self, at_us: u64, json: &[u8]) {
        self.push(
            at_us,
            "history",
            "line",
            String::from_utf8_lossy(json).into_owned(),
        );
    }

    /// Something was done to the cluster.
    pub fn world(&mut self, at_us: u64, event: &WorldEvent) {
        let (verb, what) = match event {
            WorldEvent::Started { node, incarnation } => ("up", format!("n{node} #{incarnation}")),
            WorldEvent::Stopped {
                node,
                incarnation,
                how,
            } => ("down", format!("n{node} #{incarnation} {how:?}")),
            WorldEvent::DiskAfterPowerLoss {
                node,
                file,
                written,
                flushed,
                kept,
                ..
            } => {
                let file = self.names.file(*file);
                (
                    "lost",
                    format!("n{node} {file} kept {kept} of {written}, {flushed} flushed"),
                )
            }
            WorldEvent::FaultBegan { id, kind, target } => {
                ("fault", format!("#{id} {kind} {target}"))
            }
            WorldEvent::FaultEnded { id, kind } => ("heal", format!("#{id} {kind}")),
            WorldEvent::FaultEffective { id, kind } => ("effective", format!("#{id} {kind}")),
            WorldEvent::Phase(phase) => ("phase", format!("{phase:?}")),
            WorldEvent::HarnessBroken { detail } => ("broken", detail.clone()),
        };
        self.push(at_us, "world", verb, what);
    }

    fn push(&mut self, at_us: u64, who: &str, verb: &'static str, what: String) {
        super::log::at(at_us);
        self.lines.push(TraceLine {
            at_us,
            who: who.to_owned(),
            verb,
            what,
        });
    }
}
