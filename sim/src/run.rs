//! One run: plan + engine → verdict.
//!
//! The phases are those of invariants.md §0.6. *Setup*: the cluster forms, topics are created. *Chaos*:
//! the workload runs and faults happen. *Heal*: every fault is reverted, clients start nothing new,
//! and convergence is demanded within a bound that follows from the configuration. *Final*: fresh
//! consumers read everything. Then each check has its last word.

use broker_model::config::PropertyError;

use crate::check::{Judge, Judgement, Violation};
use crate::cluster::{Cluster, TopicFacts};
use crate::engine::event::EventEngine;
use crate::engine::turmoil::TurmoilEngine;
use crate::engine::{Engine, EngineKind, ProcessId};
use crate::fault::strike::Faults;
use crate::observe::{Phase, Setup, WorldEvent};
use crate::plan::Plan;
use crate::recorder::{Counts, Recorder};
use crate::trace::{DigestValue, TraceSink};
use crate::workload::SentDirectory;

mod cast;
mod converge;
mod header;
#[cfg(test)]
mod tests;

pub use cast::{BROKER_PORT, CONTROLLER_PORT, WALL_START_MS};

/// What a run is asked for beside its plan. None of it changes what happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Which engine.
    pub engine: EngineKind,
    /// Whether the checks judge.
    pub judge: bool,
    /// Whether a trace is kept.
    pub trace: bool,
}

/// How a run ended.
pub struct RunEnd {
    /// What stopped it, if something did.
    pub stopped_by: Option<Violation>,
    /// What the checks said.
    pub judgement: Judgement,
    /// The digest.
    pub digest: DigestValue,
    /// (step, digest) along the way.
    pub marks: Vec<(u64, u128)>,
    /// Simulated milliseconds of the workload phase; the heal phase is not in it.
    pub simulated_ms: u64,
    /// Simulated milliseconds of all phases.
    pub total_ms: u64,
    /// What was counted.
    pub counts: Counts,
    /// The client history.
    pub lines: Vec<crate::history::Line>,
    /// The trace, if one was kept.
    pub trace: Option<TraceSink>,
}

/// How often phases look whether they are over, in microseconds.
const LOOK_EVERY_US: u64 = 100_000;
/// A cluster that has not formed by then never will.
const SETUP_BOUND_US: u64 = 120_000_000;

/// Carries out a plan.
///
/// # Errors
///
/// A property of the plan that the model's tables refuse.
///
/// # Panics
///
/// Where the model contradicts itself: that is a bug of ours.
pub fn run(plan: &Plan, options: Options) -> Result<RunEnd, PropertyError> {
    let judge = options.judge.then(|| Judge::new(&Setup { plan }));
    let trace = options.trace.then(TraceSink::new);
    let recorder = Recorder::new(judge, trace);
    match options.engine {
        EngineKind::Event => {
            let engine = EventEngine::new(plan.seed, plan.run.latency_us, recorder);
            through(plan, engine)
        }
        EngineKind::Turmoil => through(plan, TurmoilEngine::new(plan, recorder)),
    }
}

fn through<E: Engine>(plan: &Plan, engine: E) -> Result<RunEnd, PropertyError> {
    let mut run = Run::new(plan, Cluster::new(engine));
    run.populate()?;
    let stopped_by = run.phases()?;
    let now_us = run.cluster.engine.now_us();
    let chaos_us = plan.run.duration_ms * 1_000;
    let simulated_us = now_us.saturating_sub(run.start_us).min(chaos_us);
    let ends = run.cluster.ends();
    let mut recorder = run.cluster.engine.into_recorder();
    let completed = stopped_by.is_none() && recorder.violation().is_none();
    let judge = recorder.take_judge();
    // What only the judge knows of the cluster: an export says so, the digest does not know it.
    let told = judge.iter().flat_map(|judge| judge.told().to_vec());
    recorder.lines.extend(told);
    recorder.lines.sort_by_key(|line| line.n);
    let judgement = match judge {
        Some(judge) if completed => judge.finish(&ends),
        Some(judge) => judge.stop(),
        None => Judgement::default(),
    };
    Ok(RunEnd {
        stopped_by,
        judgement,
        digest: recorder.digest.value(),
        marks: recorder.digest.marks().to_vec(),
        simulated_ms: simulated_us / 1_000,
        total_ms: now_us / 1_000,
        trace: recorder.take_trace(),
        counts: recorder.counts,
        lines: recorder.lines,
    })
}

/// A run as it goes.
pub(crate) struct Run<'a, E> {
    plan: &'a Plan,
    pub(crate) cluster: Cluster<E>,
    /// When the chaos phase began; the plan's time 0.
    start_us: u64,
    /// What the plan's producers send.
    sent: SentDirectory,
    /// Actors of the history so far.
    actors: u32,
    pinned_timers: bool,
}

impl<'a, E: Engine> Run<'a, E> {
    /// Nothing is on the engine yet.
    pub(crate) fn new(plan: &'a Plan, cluster: Cluster<E>) -> Self {
        Run {
            plan,
            cluster,
            start_us: 0,
            sent: SentDirectory::default(),
            actors: 0,
            pinned_timers: false,
        }
    }

    /// Timers fire at fixed moments of their windows, for transcripts.
    pub(crate) fn with_pinned_timers(self) -> Self {
        Run {
            pinned_timers: true,
            ..self
        }
    }

    /// Everything in order. A violation or a bound that was missed ends it early.
    fn phases(&mut self) -> Result<Option<Violation>, PropertyError> {
        if let Some(stuck) = self.set_up() {
            return Ok(Some(stuck));
        }
        if self.violated() {
            return Ok(None);
        }
        self.chaos();
        if self.violated() {
            return Ok(None);
        }
        self.conclude()
    }

    /// Everything after the last fault was reverted: the cluster heals, and is read to its end.
    pub(crate) fn conclude(&mut self) -> Result<Option<Violation>, PropertyError> {
        if let Some(stuck) = self.heal() {
            return Ok(Some(stuck));
        }
        if self.violated() {
            return Ok(None);
        }
        let stuck = self.final_scan()?;
        if stuck.is_none() {
            self.phase(Phase::Done);
        }
        Ok(stuck)
    }

    pub(crate) fn set_up(&mut self) -> Option<Violation> {
        self.phase(Phase::Setup);
        let nodes: Vec<ProcessId> = self.cluster.nodes.iter().map(|m| m.process).collect();
        for process in nodes {
            self.cluster.engine.start(process);
        }
        let admin = self.cluster.clients[0].process;
        self.cluster.engine.start(admin);
        Some(
            self.look_until(SETUP_BOUND_US, |run| run.formed())?
                .into_stuck(),
        )
    }

    /// Tells the clients that the workload begins; this moment is the plan's time 0.
    pub(crate) fn start_workload(&mut self) {
        self.start_us = self.cluster.engine.now_us();
        self.declare_partitions();
        self.phase(Phase::Chaos);
        self.cluster
            .engine
            .with_recorder(|recorder| recorder.set_chaos(true));
        let clients: Vec<ProcessId> = self
            .cluster
            .clients
            .iter()
            .skip(1)
            .map(|client| client.process)
            .collect();
        for process in clients {
            self.begin(process);
        }
    }

    fn chaos(&mut self) {
        self.start_workload();
        let end_us = self.start_us + self.plan.run.duration_ms * 1_000;
        let mut faults = Faults::new(self.plan.seed, &self.plan.faults, self.start_us);
        loop {
            let next_us = faults.next_us().unwrap_or(end_us).min(end_us);
            self.cluster.engine.run_until(next_us);
            if self.violated() {
                return;
            }
            if next_us >= end_us {
                break;
            }
            faults.run(&mut self.cluster);
        }
        self.end_workload();
        faults.heal(&mut self.cluster);
    }

    /// From here on nothing goes wrong any more.
    pub(crate) fn end_workload(&mut self) {
        self.cluster
            .engine
            .with_recorder(|recorder| recorder.set_chaos(false));
        self.phase(Phase::Heal);
    }

    /// Demands convergence, within a bound, from a cluster that nothing disturbs any more.
    fn heal(&mut self) -> Option<Violation> {
        for member in self.cluster.nodes.clone() {
            if !self.cluster.is_up(member.process) {
                self.cluster.engine.start(member.process);
            }
        }
        for client in self.cluster.clients.clone() {
            self.cluster.engine.with_shell(client.process, |shell| {
                if let Some(app) = shell.app_mut() {
                    app.drain();
                }
            });
        }
        let bound_us = converge::heal_bound_ms(self.plan) * 1_000;
        Some(self.look_until(bound_us, converge::missing)?.into_stuck())
    }

    /// Fresh consumers read every topic to its end, once an isolation level.
    fn final_scan(&mut self) -> Result<Option<Violation>, PropertyError> {
        self.phase(Phase::Final);
        let scans = self.add_scans()?;
        for &process in &scans {
            self.begin(process);
        }
        let bound_us = converge::heal_bound_ms(self.plan) * 1_000;
        let waiting = self.look_until(bound_us, |run| run.unfinished(&scans));
        Ok(waiting.map(converge::Waited::into_stuck))
    }

    /// Lets time pass until `look` sees nothing missing. `None` when a violation came first.
    fn look_until(
        &mut self,
        bound_us: u64,
        mut look: impl FnMut(&mut Self) -> Option<converge::Missing>,
    ) -> Option<converge::Waited> {
        let until_us = self.cluster.engine.now_us() + bound_us;
        loop {
            let now_us = self.cluster.engine.now_us();
            let missing = look(self)?;
            if now_us >= until_us {
                return Some(converge::Waited {
                    bound_us,
                    missing,
                    now_us,
                });
            }
            self.cluster
                .engine
                .run_until((now_us + LOOK_EVERY_US).min(until_us));
            if self.violated() {
                return None;
            }
        }
    }

    /// What is missing until the cluster can take the workload.
    fn formed(&mut self) -> Option<converge::Missing> {
        let admin = self.cluster.clients[0].process;
        let waits = self.cluster.engine.with_shell(admin, |shell| {
            let app = shell.app().expect("the admin client has an application");
            (!app.is_done()).then(|| app.waits_for())
        });
        if let Some(waits) = waits {
            return Some(converge::Missing::new("leader/LIV-2", waits));
        }
        if self.cluster.topics.len() < self.plan.topics.len() {
            self.find_topics();
        }
        converge::leaders(self)
    }

    /// Learns the ids of the plan's topics from the nodes' metadata.
    fn find_topics(&mut self) {
        for member in &self.cluster.nodes {
            let found = self.cluster.engine.with_shell(member.process, |shell| {
                let node = shell.node()?;
                Some(crate::view::topics(node))
            });
            for (name, id) in found.into_iter().flatten() {
                let Some(topic) = self.plan.topics.iter().find(|topic| topic.name == name) else {
                    continue;
                };
                let facts = TopicFacts {
                    id,
                    partitions: topic.partitions,
                    replication_factor: topic.replication_factor,
                };
                self.cluster.topics.insert(name, facts);
            }
        }
    }

    fn declare_partitions(&mut self) {
        let now_us = self.cluster.engine.now_us();
        for topic in &self.plan.topics {
            let facts = self.cluster.topics[&topic.name];
            for index in 0..facts.partitions {
                self.cluster.engine.with_recorder(|recorder| {
                    let body = header::of_partition(recorder, topic, facts.id, index);
                    recorder.line(now_us, body);
                });
            }
        }
    }

    fn unfinished(&mut self, scans: &[ProcessId]) -> Option<converge::Missing> {
        for &scan in scans {
            let waits = self.cluster.engine.with_shell(scan, |shell| {
                let app = shell.app().expect("a scan is an application");
                (!app.is_done()).then(|| app.waits_for())
            });
            if let Some(waits) = waits {
                return Some(converge::Missing::new("catch-up/LIV-4", waits));
            }
        }
        None
    }

    /// Starts a client and tells its application that the workload begins.
    pub(crate) fn begin(&mut self, process: ProcessId) {
        self.cluster.engine.start(process);
        let now_us = self.cluster.engine.now_us();
        let topics = self.cluster.topics.clone();
        self.cluster.engine.with_shell(process, |shell| {
            if let Some(app) = shell.app_mut() {
                app.begin(now_us, &topics);
            }
        });
        self.cluster.engine.nudge(process);
    }

    pub(crate) fn violated(&mut self) -> bool {
        self.cluster
            .engine
            .with_recorder(|recorder| recorder.violation().is_some())
    }

    fn phase(&mut self, phase: Phase) {
        self.cluster.world(&WorldEvent::Phase(phase));
        self.line(header::of_phase(phase));
    }

    fn line(&mut self, body: crate::history::Body) {
        let now_us = self.cluster.engine.now_us();
        self.cluster
            .engine
            .with_recorder(|recorder| recorder.line(now_us, body));
    }
}
