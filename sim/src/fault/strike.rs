//! How a fault strikes and ends, on any engine, and whether it was effective.

use broker_model::client::command::Command;
use broker_model::types::{NodeId, TopicIdPartition};

use super::target::{PartitionName, Target};
use super::{Fault, Side, api_named};
use crate::cluster::Cluster;
use crate::engine::{Disturbance, Engine, ProcessId};
use crate::observe::WorldEvent;
use crate::plan::FaultPlan;
use crate::seed::{Purpose, Seed};
use crate::shell::{OutboxRule, RuleMode};

/// Something that a fault still has to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Due {
    /// When, in microseconds.
    pub at_us: u64,
    /// The fault's id.
    pub fault: u32,
    /// What.
    pub act: Act,
}

/// A fault's later act.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// Start a process again.
    Restart(ProcessId),
    /// Let a paused process go on.
    Resume(ProcessId),
    /// Take the disturbance off the network.
    Calm,
    /// End an outbox rule.
    EndRule(ProcessId),
    /// See whether leadership of the partition moved above that epoch.
    CheckMove(TopicIdPartition, i32),
    /// Stop that broker in order, as the next of a rolling restart.
    ShutDown(ProcessId),
    /// Start a client again, as another actor.
    Return(ProcessId),
}

/// The faults of a run as they go.
pub struct Faults {
    seed: Seed,
    /// Not struck yet, in order of time.
    planned: Vec<(u64, FaultPlan)>,
    due: Vec<Due>,
    kinds: std::collections::BTreeMap<u32, &'static str>,
    effective: std::collections::BTreeSet<u32>,
}

impl Faults {
    /// The faults of a plan whose time 0 is `start_us`.
    #[must_use]
    pub fn new(seed: Seed, plan: &[FaultPlan], start_us: u64) -> Self {
        let mut planned: Vec<(u64, FaultPlan)> = plan
            .iter()
            .map(|fault| (start_us + fault.at_ms * 1_000, fault.clone()))
            .collect();
        planned.sort_by_key(|(at_us, fault)| (*at_us, fault.id));
        planned.reverse();
        Faults {
            seed,
            planned,
            due: Vec::new(),
            kinds: plan
                .iter()
                .map(|fault| (fault.id, fault.fault.kind()))
                .collect(),
            effective: std::collections::BTreeSet::new(),
        }
    }

    /// When the next fault strikes or acts.
    #[must_use]
    pub fn next_us(&self) -> Option<u64> {
        let planned = self.planned.last().map(|(at_us, _)| *at_us);
        let due = self.due.iter().map(|due| due.at_us).min();
        [planned, due].into_iter().flatten().min()
    }

    /// Does what is due now.
    pub fn run(&mut self, cluster: &mut Cluster<impl Engine>) {
        let now_us = cluster.engine.now_us();
        while let Some(at) = self.due.iter().position(|due| due.at_us <= now_us) {
            let due = self.due.remove(at);
            self.act(cluster, due.fault, due.act);
        }
        while self
            .planned
            .last()
            .is_some_and(|(at_us, _)| *at_us <= now_us)
        {
            let (_, fault) = self.planned.pop().expect("just seen");
            self.strike(cluster, &fault);
        }
    }

    /// Ends everything: faults that have not struck never will.
    pub fn heal(&mut self, cluster: &mut Cluster<impl Engine>) {
        self.planned.clear();
        while !self.due.is_empty() {
            let Due { fault, act, .. } = self.due.remove(0);
            match act {
                Act::ShutDown(_) => {}
                act => self.act(cluster, fault, act),
            }
        }
    }

    fn strike(&mut self, cluster: &mut Cluster<impl Engine>, plan: &FaultPlan) {
        let id = plan.id;
        match &plan.fault {
            Fault::Kill { target, restart_ms } => {
                self.kill(cluster, id, target, *restart_ms, false)
            }
            Fault::PowerLoss { target, restart_ms } => {
                self.kill(cluster, id, target, *restart_ms, true);
            }
            Fault::Pause { target, for_ms } => self.pause(cluster, id, target, *for_ms),
            Fault::Partition { between, heal_ms } => {
                let split = |one, other| Disturbance::Split { one, other };
                self.disturb(cluster, id, (&between.0, &between.1), split, *heal_ms);
            }
            Fault::OneWay { from, to, heal_ms } => {
                let cut = |from, to| Disturbance::Cut { from, to };
                self.disturb(cluster, id, (from, to), cut, *heal_ms);
            }
            Fault::Hold { between, for_ms } => {
                let hold = |one, other| Disturbance::Hold { one, other };
                self.disturb(cluster, id, (&between.0, &between.1), hold, *for_ms);
            }
            Fault::SlowLink {
                between,
                extra_ms,
                for_ms,
            } => {
                let extra_us = extra_ms * 1_000;
                let slow = |one, other| Disturbance::Slow {
                    one,
                    other,
                    extra_us,
                };
                self.disturb(cluster, id, (&between.0, &between.1), slow, *for_ms);
            }
            Fault::HoldRpc {
                target,
                api,
                side,
                count,
                for_ms,
            } => {
                let rule = (api.as_str(), *side, RuleMode::Hold, *count);
                self.rule(cluster, id, target, rule, *for_ms);
            }
            Fault::DropRpc {
                target,
                api,
                side,
                count,
                for_ms,
            } => {
                let rule = (api.as_str(), *side, RuleMode::Drop, *count);
                self.rule(cluster, id, target, rule, *for_ms);
            }
            Fault::LeadershipMove { partition } => self.move_leader(cluster, id, partition),
            Fault::RollingRestart { down_ms, gap_ms } => {
                self.roll(cluster, id, *down_ms, *gap_ms);
            }
            Fault::Leave { target, back_ms } => self.leave(cluster, id, target, *back_ms),
        }
    }

    fn leave(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, target: &str, back_ms: u64) {
        let Some(process) = self.one(cluster, id, target) else {
            return;
        };
        if !cluster.is_up(process) || self.is_away(process) {
            return;
        }
        let leaves = cluster.engine.with_shell(process, |shell| {
            let app = shell.app_mut()?.mortal()?;
            if app.is_over() {
                return None;
            }
            let owns = app.owns();
            app.leave();
            Some(owns)
        });
        let Some(owns) = leaves else {
            return;
        };
        self.begin(cluster, id, &[process]);
        if owns {
            self.mark_effective(cluster, id);
        }
        cluster.engine.nudge(process);
        self.later(cluster, id, back_ms, Act::Return(process));
    }

    /// Whether somebody will start that client again.
    fn is_away(&self, process: ProcessId) -> bool {
        let mut due = self.due.iter();
        due.any(|due| due.act == Act::Return(process))
    }

    fn kill(
        &mut self,
        cluster: &mut Cluster<impl Engine>,
        id: u32,
        target: &str,
        restart_ms: u64,
        power: bool,
    ) {
        let Some(process) = self.one(cluster, id, target) else {
            return;
        };
        if !cluster.is_up(process) {
            return;
        }
        if !cluster.is_node(process) {
            self.kill_client(cluster, id, process, restart_ms, power);
            return;
        }
        self.begin(cluster, id, &[process]);
        let interrupted = cluster.engine.open_requests(process) > 0;
        if power {
            let lost = cluster.lose_power(process);
            if lost {
                self.mark_effective(cluster, id);
            }
        } else {
            cluster.engine.kill(process);
            if interrupted {
                self.mark_effective(cluster, id);
            }
        }
        self.later(cluster, id, restart_ms, Act::Restart(process));
    }

    /// Of clients, members of groups are killed and come back; the others live on.
    fn kill_client(
        &mut self,
        cluster: &mut Cluster<impl Engine>,
        id: u32,
        process: ProcessId,
        restart_ms: u64,
        power: bool,
    ) {
        let owns = cluster.engine.with_shell(process, |shell| {
            let app = shell.app_mut()?.mortal()?;
            (!app.is_over()).then(|| app.owns())
        });
        let Some(owns) = owns.filter(|_| !power && !self.is_away(process)) else {
            return;
        };
        self.begin(cluster, id, &[process]);
        cluster.kill_client(process);
        if owns {
            self.mark_effective(cluster, id);
        }
        self.later(cluster, id, restart_ms, Act::Return(process));
    }

    fn pause(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, target: &str, for_ms: u64) {
        let Some(process) = self.one(cluster, id, target) else {
            return;
        };
        if !cluster.is_up(process) {
            return;
        }
        self.begin(cluster, id, &[process]);
        if let Some(companion) = cluster.companion(process) {
            cluster.engine.pause(companion);
        }
        cluster.engine.pause(process);
        self.later(cluster, id, for_ms, Act::Resume(process));
    }

    /// Disturbs the links between two groups of processes.
    fn disturb(
        &mut self,
        cluster: &mut Cluster<impl Engine>,
        id: u32,
        (one, other): (&str, &str),
        disturbance: impl FnOnce(Vec<ProcessId>, Vec<ProcessId>) -> Disturbance,
        for_ms: u64,
    ) {
        let (mut one, mut other) = self.two(cluster, id, one, other);
        // Whoever runs beside a client is on its side.
        let mut taken = Vec::new();
        for side in [&mut one, &mut other] {
            side.retain(|process| !taken.contains(process));
            let beside = side.iter();
            let beside = beside.filter_map(|&process| cluster.companion(process));
            let beside: Vec<_> = beside.filter(|it| !side.contains(it)).collect();
            side.extend(&beside);
            taken = beside;
        }
        self.begin(cluster, id, &[one.as_slice(), &other].concat());
        cluster.engine.disturb(id, disturbance(one, other));
        self.later(cluster, id, for_ms, Act::Calm);
    }

    fn rule(
        &mut self,
        cluster: &mut Cluster<impl Engine>,
        id: u32,
        target: &str,
        (api, side, mode, count): (&str, Side, RuleMode, u32),
        for_ms: u64,
    ) {
        let Some(process) = self.one(cluster, id, target) else {
            return;
        };
        self.begin(cluster, id, &[process]);
        let rule = OutboxRule {
            fault: id,
            api_key: api_named(api).expect("a plan is checked when it is read"),
            side,
            mode,
            count,
        };
        if let Some(companion) = cluster.companion(process) {
            cluster.engine.add_rule(companion, rule.clone());
        }
        cluster.engine.add_rule(process, rule);
        self.later(cluster, id, for_ms, Act::EndRule(process));
    }

    fn move_leader(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, partition: &str) {
        let name: PartitionName = parsed(partition);
        let draw = self.draw(id, 0);
        let Some((partition, leader, epoch)) = cluster.leader_of(&name, draw) else {
            return;
        };
        let Some(controller) = cluster.controller_leader() else {
            return;
        };
        let candidates: Vec<NodeId> = cluster
            .isr_of(partition, leader)
            .into_iter()
            .filter(|node| *node != leader)
            .collect();
        let Some(&to) = pick(&candidates, self.draw(id, 1)) else {
            return;
        };
        self.begin(cluster, id, &[controller]);
        cluster
            .engine
            .command(controller, Command::MoveLeader { partition, to });
        self.later(cluster, id, MOVE_SHOWS_MS, Act::CheckMove(partition, epoch));
    }

    fn roll(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, down_ms: u64, gap_ms: u64) {
        let brokers = cluster.brokers();
        self.begin(cluster, id, &brokers);
        for (turn, broker) in (0..).zip(brokers) {
            let after_ms = turn * (down_ms + gap_ms);
            self.later(cluster, id, after_ms, Act::ShutDown(broker));
            self.later(cluster, id, after_ms + down_ms, Act::Restart(broker));
        }
    }

    fn act(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, act: Act) {
        match act {
            Act::Restart(process) => {
                // A broker that did not stop in time by itself is killed, as a supervisor would.
                if self.kinds[&id] == "rolling-restart" {
                    if cluster.halted(process) {
                        self.mark_effective(cluster, id);
                    } else {
                        cluster.engine.kill(process);
                    }
                }
                if !cluster.is_up(process) {
                    cluster.engine.start(process);
                }
                if self.due.iter().any(|due| due.fault == id) {
                    return;
                }
            }
            Act::Resume(process) => {
                if let Some(companion) = cluster.companion(process) {
                    cluster.engine.resume(companion);
                }
                if cluster.engine.resume(process) {
                    self.mark_effective(cluster, id);
                }
            }
            Act::Calm => {
                if cluster.engine.disturbed(id) > 0 {
                    self.mark_effective(cluster, id);
                }
                cluster.engine.calm(id);
            }
            Act::EndRule(process) => {
                let companion = cluster.companion(process);
                for process in [Some(process), companion].into_iter().flatten() {
                    let engine = &mut cluster.engine;
                    let hits = engine.with_shell(process, |shell| shell.rule_hits(id));
                    if hits > 0 {
                        self.mark_effective(cluster, id);
                    }
                    cluster.engine.end_rule(process, id);
                }
            }
            Act::CheckMove(partition, epoch) => {
                if cluster.newest_epoch(partition) > epoch {
                    self.mark_effective(cluster, id);
                }
            }
            Act::ShutDown(process) => {
                if cluster.is_up(process) {
                    cluster.engine.command(process, Command::Shutdown);
                }
                return;
            }
            Act::Return(process) => {
                // One that has not closed by now is killed, as a supervisor would.
                cluster.kill_client(process);
                cluster.restart_client(process);
            }
        }
        let event = WorldEvent::FaultEnded {
            id,
            kind: self.kinds[&id],
        };
        cluster.world(&event);
    }

    fn begin(&mut self, cluster: &mut Cluster<impl Engine>, id: u32, hit: &[ProcessId]) {
        let target = cluster.names(hit);
        let event = WorldEvent::FaultBegan {
            id,
            kind: self.kinds[&id],
            target,
        };
        cluster.world(&event);
    }

    fn mark_effective(&mut self, cluster: &mut Cluster<impl Engine>, id: u32) {
        if self.effective.insert(id) {
            cluster.world(&WorldEvent::FaultEffective {
                id,
                kind: self.kinds[&id],
            });
        }
    }

    fn later(&mut self, cluster: &Cluster<impl Engine>, fault: u32, after_ms: u64, act: Act) {
        let at_us = cluster.engine.now_us() + after_ms * 1_000;
        self.due.push(Due { at_us, fault, act });
        self.due.sort_by_key(|due| (due.at_us, due.fault));
    }

    fn draw(&self, id: u32, n: u64) -> u64 {
        self.seed.draw(Purpose::Targets, [u64::from(id), n, 0])
    }

    fn one(&self, cluster: &mut Cluster<impl Engine>, id: u32, target: &str) -> Option<ProcessId> {
        let found = cluster.resolve(&parsed::<Target>(target), self.draw(id, 0), &[]);
        pick(&found, self.draw(id, 1)).copied()
    }

    fn two(
        &self,
        cluster: &mut Cluster<impl Engine>,
        id: u32,
        one: &str,
        other: &str,
    ) -> (Vec<ProcessId>, Vec<ProcessId>) {
        let (one, other): (Target, Target) = (parsed(one), parsed(other));
        if matches!(one, Target::Rest | Target::Everyone) {
            let other = cluster.resolve(&other, self.draw(id, 1), &[]);
            return (cluster.resolve(&one, self.draw(id, 0), &other), other);
        }
        let one = cluster.resolve(&one, self.draw(id, 0), &[]);
        let other = cluster.resolve(&other, self.draw(id, 1), &one);
        (one, other)
    }
}

/// A leadership move that has not shown by then was refused.
const MOVE_SHOWS_MS: u64 = 2_000;

fn pick<T>(from: &[T], draw: u64) -> Option<&T> {
    let len = u64::try_from(from.len()).expect("a short list");
    (len > 0).then(|| &from[usize::try_from(draw % len).expect("an index")])
}

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("a plan is checked when it is read: {error}"))
}
