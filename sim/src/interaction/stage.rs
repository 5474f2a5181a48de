//! Carries a script out and writes its transcript.

use std::fmt::Write as _;

use broker_model::client::command::Command;
use broker_model::types::TopicIdPartition;

use super::script::{Properties, ScriptError, Verb, parse};
use crate::check::{Judge, Violation};
use crate::cluster::Cluster;
use crate::engine::event::EventEngine;
use crate::engine::{Disturbance, Engine, ProcessId};
use crate::fault::api_named;
use crate::history::{Body, Line, Res};
use crate::observe::Setup;
use crate::plan::{ClientPlan, NodePlan, Plan, RunPlan, Script, SendPlan, TopicPlan};
use crate::recorder::Recorder;
use crate::run::Run;
use crate::seed::Seed;
use crate::shell::{OutboxRule, RuleMode};
use crate::trace::{TraceLine, TraceSink};

/// Plays a script and returns it with what each line brought about, and with what the judge says.
///
/// # Errors
///
/// The first line that cannot be understood or carried out.
pub fn transcript(script: &str) -> Result<String, ScriptError> {
    let verbs = parse(script)?;
    let plan = plan(&verbs)?;
    let recorder = Recorder::new(
        Some(Judge::new(&Setup { plan: &plan })),
        Some(TraceSink::new()),
    );
    let engine = EventEngine::new(plan.seed, plan.run.latency_us, recorder);
    let mut stage = Stage {
        run: Run::new(&plan, Cluster::new(engine)).with_pinned_timers(),
        traced: 0,
        recorded: 0,
        faults: 0,
        rules: Vec::new(),
        formed: false,
    };
    let mut page = String::new();
    let mut verbs = verbs.into_iter();
    let comments = script.lines().enumerate();
    for (at, text) in comments.filter(|(_, text)| text.starts_with('#') || text.starts_with("> ")) {
        let _ = writeln!(page, "{text}");
        if text.starts_with('#') {
            continue;
        }
        let (line, verb) = verbs.next().expect("a verb a line");
        assert_eq!(line, at + 1, "verbs and lines go together");
        let shown = stage
            .play(verb)
            .map_err(|what| ScriptError { line, what })?;
        for entry in shown {
            let _ = writeln!(page, "  {entry}");
        }
    }
    let _ = writeln!(page, "{}", stage.verdict());
    Ok(page)
}

struct Stage<'a> {
    run: Run<'a, EventEngine>,
    /// Trace lines and history lines that were shown.
    traced: usize,
    recorded: usize,
    faults: u32,
    rules: Vec<(ProcessId, u32)>,
    formed: bool,
}

impl Stage<'_> {
    fn play(&mut self, verb: Verb) -> Result<Vec<String>, String> {
        if matches!(
            verb,
            Verb::Bug(_)
                | Verb::Nodes(..)
                | Verb::Topic { .. }
                | Verb::Producer(..)
                | Verb::Consumer(..)
        ) {
            // They are in the plan.
            return Ok(Vec::new());
        }
        if !self.formed {
            self.formed = true;
            self.form()?;
        }
        let mut shown = self.act(verb)?;
        shown.extend(self.news());
        Ok(shown)
    }

    /// Lets the cluster form and forgets what it took.
    fn form(&mut self) -> Result<(), String> {
        self.run.populate().map_err(|error| error.to_string())?;
        if let Some(stuck) = self.run.set_up() {
            return Err(stuck.detail);
        }
        self.run.start_workload();
        let now_us = self.run.cluster.engine.now_us();
        self.run.cluster.engine.run_until(now_us + SETTLE_US);
        self.news();
        Ok(())
    }

    fn act(&mut self, verb: Verb) -> Result<Vec<String>, String> {
        let now_us = self.run.cluster.engine.now_us();
        match verb {
            Verb::Send { client, count, .. } => self.release(&client, count)?,
            Verb::Poll(client) => self.release(&client, 1)?,
            Verb::Run(ms) => self.run.cluster.engine.run_until(now_us + ms * 1_000),
            Verb::Fire(who, timer) => {
                let process = self.process(&who)?;
                if !self.run.cluster.engine.fire(process, timer) {
                    return Err(format!("{who} has no such timer armed: {timer:?}"));
                }
            }
            Verb::Kill(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.kill(process);
            }
            Verb::PowerOff(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.lose_power(process);
            }
            Verb::Start(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.start(process);
            }
            Verb::Stop(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.command(process, Command::Shutdown);
            }
            Verb::Pause(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.pause(process);
            }
            Verb::Resume(who) => {
                let process = self.process(&who)?;
                self.run.cluster.engine.resume(process);
            }
            Verb::Cut { from, to, both } => {
                let (from, to) = (vec![self.process(&from)?], vec![self.process(&to)?]);
                let cut = if both {
                    Disturbance::Split {
                        one: from,
                        other: to,
                    }
                } else {
                    Disturbance::Cut { from, to }
                };
                self.disturb(cut);
            }
            Verb::Isolate(who) => {
                let one = vec![self.process(&who)?];
                let everyone = self
                    .run
                    .cluster
                    .nodes
                    .iter()
                    .chain(&self.run.cluster.clients);
                let other = everyone
                    .map(|m| m.process)
                    .filter(|p| !one.contains(p))
                    .collect();
                self.disturb(Disturbance::Split { one, other });
            }
            Verb::Heal => {
                for fault in 1..=self.faults {
                    self.run.cluster.engine.calm(fault);
                }
            }
            Verb::Rule {
                who,
                api,
                side,
                drop,
            } => {
                let process = self.process(&who)?;
                let api_key = api_named(&api).ok_or_else(|| format!("unknown API {api:?}"))?;
                self.faults += 1;
                let mode = if drop { RuleMode::Drop } else { RuleMode::Hold };
                let rule = OutboxRule {
                    fault: self.faults,
                    api_key,
                    side,
                    mode,
                    count: u32::MAX,
                };
                self.run.cluster.engine.add_rule(process, rule);
                self.rules.push((process, self.faults));
            }
            Verb::Release => {
                for (process, fault) in std::mem::take(&mut self.rules) {
                    self.run.cluster.engine.end_rule(process, fault);
                }
            }
            Verb::Move(name, to) => {
                let (partition, ..) = self
                    .run
                    .cluster
                    .leader_of(&name, 0)
                    .ok_or("the partition has no leader")?;
                let controller = self
                    .run
                    .cluster
                    .controller_leader()
                    .ok_or("there is no active controller")?;
                let to = broker_model::types::NodeId(to);
                self.run
                    .cluster
                    .engine
                    .command(controller, Command::MoveLeader { partition, to });
            }
            Verb::ShowPartition(name) => {
                let topic = self
                    .run
                    .cluster
                    .topics
                    .get(&name.topic)
                    .ok_or("no such topic")?;
                let index = name.partition.ok_or("one partition at a time")?;
                let partition = TopicIdPartition {
                    topic: topic.id,
                    partition: index,
                };
                return Ok(self.show_partition(partition));
            }
            Verb::ShowRaft => return Ok(self.show_raft()),
            Verb::Bug(_)
            | Verb::Nodes(..)
            | Verb::Topic { .. }
            | Verb::Producer(..)
            | Verb::Consumer(..) => {}
        }
        Ok(Vec::new())
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        self.faults += 1;
        self.run.cluster.engine.disturb(self.faults, disturbance);
    }

    fn release(&mut self, client: &str, count: u32) -> Result<(), String> {
        let process = self.process(client)?;
        self.run.cluster.engine.with_shell(process, |shell| {
            let app = shell.app_mut().expect("each client has an application");
            app.release(count);
        });
        self.run.cluster.engine.nudge(process);
        Ok(())
    }

    fn process(&self, name: &str) -> Result<ProcessId, String> {
        let mut all = self
            .run
            .cluster
            .nodes
            .iter()
            .chain(&self.run.cluster.clients);
        let found = all.find(|member| member.name == name);
        found
            .map(|member| member.process)
            .ok_or_else(|| format!("there is no {name:?}"))
    }

    fn show_partition(&mut self, partition: TopicIdPartition) -> Vec<String> {
        let ends = self.run.cluster.ends();
        let replicas = ends.iter().filter_map(|(node, end)| {
            let replica = end.replicas.get(&partition)?;
            let role = if replica.leader {
                "leader  "
            } else {
                "follower"
            };
            let (epoch, end) = (replica.leader_epoch, replica.log_end);
            let isr = if replica.leader {
                format!("  isr {:?}", replica.isr)
            } else {
                String::new()
            };
            Some(format!(
                "n{node}  {role}  epoch {epoch}  log end {end}  hw {}{isr}",
                replica.high_watermark
            ))
        });
        replicas.collect()
    }

    fn show_raft(&mut self) -> Vec<String> {
        let ends = self.run.cluster.ends();
        let nodes = ends.iter().map(|(node, end)| {
            let role = if end.raft_leader { "leader" } else { "" };
            format!("n{node}  epoch {}  {role}", end.raft_epoch)
                .trim_end()
                .to_owned()
        });
        nodes.collect()
    }

    /// What happened since the last line, as far as a reader cares.
    fn news(&mut self) -> Vec<String> {
        let (traced, recorded) = (self.traced, self.recorded);
        let (news, traced, recorded) = self.run.cluster.engine.with_recorder(|recorder| {
            let lines = recorder.trace().map_or(&[][..], TraceSink::lines);
            let mut news: Vec<(u64, String)> = lines[traced..].iter().filter_map(told).collect();
            let history = recorder.lines[recorded..].iter().filter_map(outcome);
            news.extend(history);
            (news, lines.len(), recorder.lines.len())
        });
        (self.traced, self.recorded) = (traced, recorded);
        let mut news = news;
        news.sort_by_key(|(at_us, _)| *at_us);
        news.into_iter().map(|(_, text)| text).collect()
    }

    fn verdict(&mut self) -> String {
        self.run
            .cluster
            .engine
            .with_recorder(|recorder| match recorder.violation() {
                None => "judge: nothing is broken".to_owned(),
                Some(Violation { check, detail, .. }) => format!("judge: {check}: {detail}"),
            })
    }
}

/// How long a cluster that formed is left alone before the script begins, in microseconds.
const SETTLE_US: u64 = 3_000_000;
/// A send that waits for its verb.
const NEVER_US: u64 = u64::MAX / 4;

/// A trace line that belongs into a transcript.
fn told(line: &TraceLine) -> Option<(u64, String)> {
    let shown = match line.verb {
        "become" | "truncate" | "isr" | "propose" | "elect" | "duplicate" | "up" | "down"
        | "lost" | "vote" => true,
        "append" | "ack" => !line.what.starts_with("raft"),
        _ => false,
    };
    shown.then(|| {
        (
            line.at_us,
            format!("{:<4} {:<9} {}", line.who, line.verb, line.what),
        )
    })
}

/// A history line that belongs into a transcript.
fn outcome(line: &Line) -> Option<(u64, String)> {
    let text = match &line.b {
        Body::Ok {
            a,
            r: Res::Sent(sent),
            ..
        } => {
            format!(
                "a{a}   sent      offset {} after {} attempts",
                sent.off, sent.att
            )
        }
        Body::Ok {
            a,
            r: Res::Polled(parts),
            ..
        } => {
            let parts = parts
                .iter()
                .map(|part| format!("{}..{} {} records", part.from, part.to, part.rs.len()));
            format!("a{a}   polled    {}", parts.collect::<Vec<_>>().join(", "))
        }
        Body::Fail { a, e, .. } => format!("a{a}   failed    error {}", e.c),
        Body::Info { a, e, .. } => format!("a{a}   unknown   error {}", e.c),
        Body::Ev { a, ev } => format!("a{a}   event     {ev:?}"),
        _ => return None,
    };
    Some((line.t, text))
}

/// The plan that a script's declarations make.
fn plan(verbs: &[(usize, Verb)]) -> Result<Plan, ScriptError> {
    let mut plan = Plan {
        scenario: "transcript".to_owned(),
        seed: Seed(0),
        bug: None,
        probes: Vec::new(),
        expect: Vec::new(),
        nodes: Vec::new(),
        topics: Vec::new(),
        clients: Vec::new(),
        faults: Vec::new(),
        run: RunPlan {
            duration_ms: u64::MAX / 4_000_000,
            heal_ms: 0,
            latency_us: (1_000, 1_000),
            flush_us: (100, 100),
            writeback_ms: (30_000, 30_000),
            tick_ms: 1,
        },
    };
    for (line, verb) in verbs {
        let line = *line;
        match verb {
            Verb::Bug(id) => plan.bug = Some(id.clone()),
            Verb::Nodes(count, properties) => plan.nodes = nodes(*count, properties),
            Verb::Topic {
                name,
                partitions,
                replication_factor,
                properties,
            } => {
                plan.topics.push(TopicPlan {
                    name: name.clone(),
                    partitions: *partitions,
                    replication_factor: *replication_factor,
                    config: properties.clone(),
                });
            }
            Verb::Producer(name, properties) => {
                let script = Script::Produce {
                    topic: String::new(),
                    sends: Vec::new(),
                };
                plan.clients.push(client(name, properties, script));
            }
            Verb::Consumer(name, topic, properties) => {
                let script = Script::Consume {
                    topic: topic.clone(),
                    from_ms: NEVER_US / 1_000,
                    poll_ms: 200,
                    pause_ms: NEVER_US / 1_000,
                    rewinds_ms: Vec::new(),
                };
                plan.clients.push(client(name, properties, script));
            }
            Verb::Send { client, to, count } => {
                let unknown = || ScriptError {
                    line,
                    what: format!("there is no {client:?}"),
                };
                let found = plan.clients.iter_mut().find(|known| known.name == *client);
                let Some(Script::Produce { topic, sends }) = found.map(|known| &mut known.script)
                else {
                    return Err(unknown());
                };
                topic.clone_from(&to.topic);
                let send = SendPlan {
                    at_us: NEVER_US,
                    partition: to.partition,
                    key: None,
                    bytes: 24,
                };
                sends.extend((0..*count).map(|_| send));
            }
            _ => {}
        }
    }
    Ok(plan)
}

fn nodes(count: i32, properties: &Properties) -> Vec<NodePlan> {
    let node = |id| NodePlan {
        id,
        config: properties.clone(),
        metadata_lag_max_ms: 0,
    };
    (1..=count).map(node).collect()
}

fn client(name: &str, properties: &Properties, script: Script) -> ClientPlan {
    ClientPlan {
        name: name.to_owned(),
        config: properties.clone(),
        script,
    }
}
