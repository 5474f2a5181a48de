//! Carries a script out and writes its transcript.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use broker_model::client::command::Command;
use broker_model::probe::Probe;
use broker_model::timer::Timer;
use broker_model::types::{NodeId, TopicIdPartition};

use super::page::{self, News, Story, Watched};
use super::plan::plan;
use super::script::{ScriptError, Verb, parse};
use crate::check::{Judge, Judgement, Violation};
use crate::cluster::Cluster;
use crate::engine::event::EventEngine;
use crate::engine::{Disturbance, Engine, ProcessId};
use crate::fault::api_named;
use crate::fault::target::PartitionName;
use crate::observe::{Setup, WorldEvent};
use crate::recorder::Recorder;
use crate::run::Run;
use crate::shell::{OutboxRule, RuleMode, Shell};
use crate::trace::TraceSink;
use crate::workload::Mortal;

/// A script with what each line brought about, and what the judge says.
#[derive(Clone, PartialEq, Debug)]
pub struct Transcript {
    /// For people, and for snapshots.
    pub page: String,
    /// What is broken, if anything is.
    pub violation: Option<Violation>,
    /// The rare states that were reached while the script was played, not while it healed.
    pub reached: BTreeSet<Probe>,
    /// How often each check's premise held.
    pub exercised: BTreeMap<&'static str, u64>,
}

/// How the judge hears that a broker is told to stop: nothing may end by itself.
const ORDERLY_STOP: &str = "rolling-restart";

/// Plays a script.
///
/// # Errors
///
/// The first line that cannot be understood or carried out.
pub fn transcript(script: &str) -> Result<Transcript, ScriptError> {
    let verbs = parse(script)?;
    let plan = plan(&verbs)?;
    let judge = Judge::new(&Setup { plan: &plan });
    let recorder = Recorder::new(Some(judge), Some(TraceSink::new()));
    let engine = EventEngine::new(plan.seed, plan.run.latency_us, recorder);
    let run = Run::new(&plan, Cluster::new(engine)).with_pinned_timers();
    let mut stage = Stage::new(run, &plan.expect);
    let mut page = String::new();
    let mut verbs = verbs.into_iter();
    let shown = |text: &&str| text.starts_with('#') || text.starts_with("> ");
    for text in script.lines().filter(shown) {
        let _ = writeln!(page, "{text}");
        if text.starts_with('#') {
            continue;
        }
        let (line, verb) = verbs.next().expect("a verb a line");
        let told = stage
            .play(verb)
            .map_err(|what| ScriptError { line, what })?;
        for entry in told {
            let _ = writeln!(page, "  {entry}");
        }
        if stage.run.violated() {
            break;
        }
    }
    let last = script.lines().count();
    let conclude = |what| ScriptError { line: last, what };
    let mut end = stage.conclude().map_err(conclude)?;
    page.push_str(&end.page);
    end.page = page;
    Ok(end)
}

pub(super) struct Stage<'a> {
    pub(super) run: Run<'a, EventEngine>,
    /// Checks after whose violations the judge goes on.
    expected: &'a [String],
    /// Trace lines and history lines that were shown.
    traced: usize,
    recorded: usize,
    watched: Watched,
    disturbances: u32,
    rules: Vec<(ProcessId, u32)>,
    withheld: BTreeSet<(ProcessId, Timer)>,
    paused: BTreeSet<ProcessId>,
    /// Told to stop in order, and not started since.
    stopped: BTreeSet<ProcessId>,
    /// Members of groups that wait for their start.
    waiting: BTreeSet<ProcessId>,
    story: Story,
    formed: bool,
}

impl<'a> Stage<'a> {
    pub(super) fn new(run: Run<'a, EventEngine>, expected: &'a [String]) -> Self {
        Stage {
            run,
            expected,
            traced: 0,
            recorded: 0,
            watched: Watched::default(),
            disturbances: 0,
            rules: Vec::new(),
            withheld: BTreeSet::new(),
            paused: BTreeSet::new(),
            stopped: BTreeSet::new(),
            waiting: BTreeSet::new(),
            story: Story::default(),
            formed: false,
        }
    }

    pub(super) fn play(&mut self, verb: Verb) -> Result<Vec<String>, String> {
        if is_declaration(&verb) {
            // It is in the plan.
            return Ok(Vec::new());
        }
        self.form_once()?;
        let mut told = self.act(verb)?;
        told.extend(self.news());
        Ok(told)
    }

    pub(super) fn form_once(&mut self) -> Result<(), String> {
        if self.formed {
            return Ok(());
        }
        self.formed = true;
        self.form()
    }

    /// Lets the cluster form and forgets what it took.
    fn form(&mut self) -> Result<(), String> {
        self.run.populate().map_err(|error| error.to_string())?;
        if let Some(stuck) = self.run.set_up() {
            return Err(stuck.detail);
        }
        if self.run.violated() {
            return Ok(());
        }
        self.run.start_workload();
        self.waiting = self.members().into_iter().collect();
        self.run_for(SETTLE_MS);
        self.news();
        let forget = |recorder: &mut Recorder| recorder.counts.probes.clear();
        self.engine().with_recorder(forget);
        Ok(())
    }

    fn act(&mut self, verb: Verb) -> Result<Vec<String>, String> {
        match verb {
            Verb::Send { client, count, .. } => self.release_sends(&client, count)?,
            Verb::Poll(client) => self.release_sends(&client, 1)?,
            Verb::Seek(client, to) => {
                let process = self.process(&client)?;
                self.engine().with_shell(process, |shell| {
                    let app = shell.app_mut().expect("each client has an application");
                    app.seek(to);
                });
            }
            Verb::Run(ms) => self.run_for(ms),
            Verb::Fire(who, timer) => {
                let process = self.process(&who)?;
                if !self.engine().fire(process, timer) {
                    return Err(format!("{who} has no such timer armed: {timer:?}"));
                }
            }
            Verb::Withhold(who, timer) => {
                let process = self.process(&who)?;
                self.withheld.insert((process, timer));
                let withhold = |shell: &mut Shell| shell.withhold(timer);
                self.engine().with_shell(process, withhold);
            }
            Verb::Grant(who, timer) => {
                let process = self.process(&who)?;
                self.withheld.remove(&(process, timer));
                self.engine().grant(process, timer);
            }
            Verb::Kill(_)
            | Verb::PowerOff(_)
            | Verb::Start(_)
            | Verb::Stop(_)
            | Verb::Pause(_)
            | Verb::Resume(_) => self.act_on_process(verb)?,
            Verb::Leave(who) => self.leave(&who)?,
            Verb::Cut { .. } | Verb::Isolate(_) | Verb::Heal => self.act_on_network(verb)?,
            Verb::Rule { .. } => self.add_rule(verb)?,
            Verb::Release => self.end_rules(),
            Verb::Move(name, to) => self.move_leader(&name, NodeId(to))?,
            Verb::ShowPartition(name) => return self.show_partition(&name),
            Verb::ShowRaft => return Ok(self.show_raft()),
            Verb::ShowGroup(group) => return Ok(self.show_group(&group)),
            Verb::Watch(words) => self.watched.add(words),
            Verb::Bug(_)
            | Verb::Expect(_)
            | Verb::Nodes(..)
            | Verb::Topic { .. }
            | Verb::Producer(..)
            | Verb::Consumer(..)
            | Verb::Member { .. } => {}
        }
        Ok(Vec::new())
    }

    fn act_on_process(&mut self, verb: Verb) -> Result<(), String> {
        let (Verb::Kill(who)
        | Verb::PowerOff(who)
        | Verb::Start(who)
        | Verb::Stop(who)
        | Verb::Pause(who)
        | Verb::Resume(who)) = &verb
        else {
            unreachable!("only verbs about a process come here")
        };
        let process = self.process(who)?;
        if !self.run.cluster.is_node(process) && !matches!(verb, Verb::Pause(_) | Verb::Resume(_)) {
            return self.act_on_client(&verb, who, process);
        }
        let is_up = self.run.cluster.is_up(process);
        match verb {
            Verb::Start(_) if is_up => return Err(format!("{who} is running already")),
            Verb::Start(_) => {
                self.engine().start(process);
                if self.stopped.remove(&process) {
                    self.run.cluster.world(&WorldEvent::FaultEnded {
                        id: process.0.into(),
                        kind: ORDERLY_STOP,
                    });
                }
            }
            _ if !is_up => return Err(format!("{who} is not running")),
            Verb::Kill(_) => self.engine().kill(process),
            Verb::PowerOff(_) => {
                self.engine().lose_power(process);
            }
            Verb::Stop(_) => {
                self.stopped.insert(process);
                self.run.cluster.world(&WorldEvent::FaultBegan {
                    id: process.0.into(),
                    kind: ORDERLY_STOP,
                    target: who.clone(),
                });
                self.engine().command(process, Command::Shutdown);
            }
            Verb::Pause(_) => {
                self.paused.insert(process);
                self.engine().pause(process);
            }
            _ => {
                self.paused.remove(&process);
                self.engine().resume(process);
            }
        }
        Ok(())
    }

    /// Of clients, members of groups join when they are started, die and come back.
    fn act_on_client(&mut self, verb: &Verb, who: &str, process: ProcessId) -> Result<(), String> {
        if !self.members().contains(&process) {
            return Err(format!("{who} is neither a node nor a member of a group"));
        }
        let waits = self.waiting.remove(&process);
        let runs = !waits && self.run.cluster.is_up(process) && !self.has_left(process);
        match verb {
            Verb::Start(_) if waits => self.release_calls(process, 1),
            Verb::Start(_) if runs => return Err(format!("{who} is running already")),
            Verb::Start(_) => {
                self.run.cluster.kill_client(process);
                self.run.cluster.restart_client(process);
            }
            _ if !runs => return Err(format!("{who} is not running")),
            Verb::Kill(_) => self.run.cluster.kill_client(process),
            _ => return Err(format!("{who} is no node: kill it, or let it leave")),
        }
        Ok(())
    }

    fn leave(&mut self, who: &str) -> Result<(), String> {
        let process = self.process(who)?;
        let leaves = self.engine().with_shell(process, |shell| {
            let mortal = shell.app_mut().and_then(|app| app.mortal());
            mortal.map(Mortal::leave)
        });
        self.engine().nudge(process);
        leaves.ok_or_else(|| format!("{who} is no member of a group"))
    }

    fn has_left(&mut self, process: ProcessId) -> bool {
        self.engine().with_shell(process, |shell| {
            let mortal = shell.app_mut().and_then(|app| app.mortal());
            mortal.is_some_and(|member| member.is_over())
        })
    }

    /// The clients that take part in groups.
    fn members(&mut self) -> Vec<ProcessId> {
        let clients = self.run.cluster.clients.clone();
        let mut clients: Vec<ProcessId> = clients.iter().map(|client| client.process).collect();
        clients.retain(|&process| {
            let is_member =
                |shell: &mut Shell| shell.app().is_some_and(|app| app.standing().is_some());
            self.engine().with_shell(process, is_member)
        });
        clients
    }

    fn act_on_network(&mut self, verb: Verb) -> Result<(), String> {
        let disturbance = match verb {
            Verb::Cut { from, to, both } => {
                let (from, to) = (vec![self.process(&from)?], vec![self.process(&to)?]);
                match both {
                    true => Disturbance::Split {
                        one: from,
                        other: to,
                    },
                    false => Disturbance::Cut { from, to },
                }
            }
            Verb::Isolate(who) => {
                let one = self.process(&who)?;
                let cluster = &self.run.cluster;
                let everyone = cluster.nodes.iter().chain(&cluster.clients);
                let everyone = everyone.map(|member| member.process);
                Disturbance::Split {
                    one: vec![one],
                    other: everyone.filter(|it| *it != one).collect(),
                }
            }
            _ => {
                self.calm();
                return Ok(());
            }
        };
        self.disturbances += 1;
        let fault = self.disturbances;
        self.engine().disturb(fault, disturbance);
        Ok(())
    }

    fn calm(&mut self) {
        for fault in 1..=self.disturbances {
            self.engine().calm(fault);
        }
    }

    fn add_rule(&mut self, verb: Verb) -> Result<(), String> {
        let Verb::Rule {
            who,
            api,
            side,
            drop,
            count,
        } = verb
        else {
            unreachable!("only rules come here")
        };
        let process = self.process(&who)?;
        let api_key = api_named(&api).ok_or_else(|| format!("unknown API {api:?}"))?;
        let fault = u32::try_from(self.rules.len()).expect("few rules") + 1;
        let rule = OutboxRule {
            fault,
            api_key,
            side,
            mode: if drop { RuleMode::Drop } else { RuleMode::Hold },
            count,
        };
        self.engine().add_rule(process, rule);
        self.rules.push((process, fault));
        Ok(())
    }

    fn end_rules(&mut self) {
        for (process, fault) in std::mem::take(&mut self.rules) {
            self.engine().end_rule(process, fault);
        }
    }

    fn move_leader(&mut self, name: &PartitionName, to: NodeId) -> Result<(), String> {
        let partition = self.partition(name)?;
        let controller = self.run.cluster.controller_leader();
        let controller = controller.ok_or("there is no active controller")?;
        self.engine()
            .command(controller, Command::MoveLeader { partition, to });
        Ok(())
    }

    fn release_sends(&mut self, client: &str, count: u32) -> Result<(), String> {
        let process = self.process(client)?;
        self.release_calls(process, count);
        Ok(())
    }

    fn release_calls(&mut self, client: ProcessId, count: u32) {
        self.engine().with_shell(client, |shell| {
            let app = shell.app_mut().expect("each client has an application");
            app.release(count);
        });
        self.engine().nudge(client);
    }

    fn run_for(&mut self, ms: u64) {
        let now_us = self.engine().now_us();
        self.engine().run_until(now_us + ms * 1_000);
    }

    fn engine(&mut self) -> &mut EventEngine {
        &mut self.run.cluster.engine
    }

    fn process(&self, name: &str) -> Result<ProcessId, String> {
        let cluster = &self.run.cluster;
        let mut all = cluster.nodes.iter().chain(&cluster.clients);
        let found = all.find(|member| member.name == name);
        let process = found.map(|member| member.process);
        process.ok_or_else(|| format!("there is no {name:?}"))
    }

    fn partition(&mut self, name: &PartitionName) -> Result<TopicIdPartition, String> {
        let (topic, _) = self.run.cluster.topic(&name.topic).ok_or("no such topic")?;
        Ok(TopicIdPartition {
            topic,
            partition: name.partition.ok_or("one partition at a time")?,
        })
    }

    fn show_partition(&mut self, name: &PartitionName) -> Result<Vec<String>, String> {
        let partition = self.partition(name)?;
        let ends = self.run.cluster.ends();
        let replicas = ends.iter().filter_map(|(node, end)| {
            let replica = end.replicas.get(&partition)?;
            Some(page::replica(*node, replica))
        });
        Ok(replicas.collect())
    }

    fn show_raft(&mut self) -> Vec<String> {
        let ends = self.run.cluster.ends();
        ends.iter()
            .map(|(node, end)| page::raft(*node, end))
            .collect()
    }

    /// What each member knows.
    fn show_group(&mut self, group: &str) -> Vec<String> {
        let topics = &self.run.cluster.topics;
        let name = |partition: &TopicIdPartition| {
            let mut topics = topics.iter();
            let found = topics.find(|(_, facts)| facts.id == partition.topic);
            let topic = found.map_or("?", |(name, _)| name.as_str());
            format!("{topic}-{}", partition.partition)
        };
        let mut lines = Vec::new();
        for member in &self.run.cluster.clients {
            let line = self.run.cluster.engine.with_shell(member.process, |shell| {
                let is_up = shell.is_up();
                let standing = shell.app()?.standing()?;
                (standing.group == group)
                    .then(|| page::member(&member.name, is_up, &standing, name))
            });
            lines.extend(line);
        }
        lines
    }

    /// What happened since the last line, as far as a reader cares.
    fn news(&mut self) -> Vec<String> {
        let (traced, recorded) = (self.traced, self.recorded);
        let watched = &self.watched;
        let story = &mut self.story;
        let news = self.run.cluster.engine.with_recorder(|recorder| {
            let lines = recorder.trace().map_or(&[][..], TraceSink::lines);
            let told = lines[traced..].iter().filter_map(|line| watched.told(line));
            let history = recorder.lines[recorded..].iter();
            let outcomes = history.filter_map(|line| story.outcome(line));
            let news: Vec<News> = told.chain(outcomes).collect();
            (self.traced, self.recorded) = (lines.len(), recorder.lines.len());
            news
        });
        let mut news = news;
        news.sort_by_key(|news| news.at_us);
        page::condensed(news)
    }

    /// Reverts what is wrong, lets the cluster heal, reads it to its end, and asks the judge.
    pub(super) fn conclude(mut self) -> Result<Transcript, String> {
        let counts = |recorder: &mut Recorder| recorder.counts.probes.keys().copied().collect();
        let reached: BTreeSet<Probe> = self.engine().with_recorder(counts);
        let mut stuck = None;
        if self.formed && !self.run.violated() {
            self.run.end_workload();
            self.revert();
            stuck = self.run.conclude().map_err(|error| error.to_string())?;
        }
        let ends = self.run.cluster.ends();
        let mut recorder = self.run.cluster.engine.into_recorder();
        let stopped = stuck.or_else(|| recorder.violation().cloned());
        let judgement = match recorder.take_judge() {
            Some(judge) if stopped.is_none() => judge.finish(&ends),
            Some(judge) => judge.stop(),
            None => Judgement::default(),
        };
        let unexpected = |found: &&Violation| {
            let name = found.check.split('/').next().unwrap_or_default();
            !self.expected.iter().any(|expected| expected == name)
        };
        let violations = &judgement.violations;
        let violation = stopped.or_else(|| violations.iter().find(unexpected).cloned());
        Ok(Transcript {
            page: page::closing(violation.as_ref(), &reached),
            violation,
            reached,
            exercised: judgement.exercised,
        })
    }

    fn revert(&mut self) {
        for process in std::mem::take(&mut self.paused) {
            self.engine().resume(process);
        }
        for (process, timer) in std::mem::take(&mut self.withheld) {
            self.engine().grant(process, timer);
        }
        self.end_rules();
        self.calm();
        for member in self.members() {
            if !self.run.cluster.is_up(member) {
                self.run.cluster.restart_client(member);
            }
        }
        // A consumer that polled only when told follows the log by itself now.
        for client in self.run.cluster.clients.clone() {
            self.release_calls(client.process, u32::MAX);
        }
    }
}

/// How long a cluster that formed is left alone before the script begins, in milliseconds.
const SETTLE_MS: u64 = 3_000;

fn is_declaration(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Bug(_)
            | Verb::Expect(_)
            | Verb::Nodes(..)
            | Verb::Topic { .. }
            | Verb::Producer(..)
            | Verb::Consumer(..)
            | Verb::Member { .. }
    )
}
