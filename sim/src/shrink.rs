//! A smaller plan that violates the same check (delta debugging).
//!
//! Items are taken away as long as the same check fails with the same bug on the same engine. Draws
//! are keyed, so that taking an item away changes no timer and no latency of what is left.

use std::collections::BTreeSet;

use crate::case::{Runner, carry_out, judged};
use crate::engine::EngineKind;
use crate::history::{A, Body, Op, Role};
use crate::plan::{Plan, Script};
use crate::run::RunEnd;
use crate::verdict::{Kind, Verdict};

mod last;

/// A plan that was shrunk.
#[derive(Debug)]
pub struct Shrunk {
    /// The smaller plan.
    pub plan: Plan,
    /// What it still is.
    pub verdict: Verdict,
    /// Its size: faults, sends, polls and commits.
    pub items: usize,
    /// The size that it had.
    pub items_before: usize,
    /// Runs that it took.
    pub runs: u64,
}

/// Takes away what the violation does not need.
///
/// # Errors
///
/// When the plan passes, or its properties do not go together.
pub fn shrink(
    plan: &Plan,
    engine: EngineKind,
    runner: &Runner,
    told: &mut dyn FnMut(&str),
) -> Result<Shrunk, String> {
    let carried = carry_out(plan, judged(engine), runner)?;
    if carried.verdict.passed() {
        return Err(format!(
            "{} seed {} passes on {}: there is nothing to shrink",
            plan.scenario,
            plan.seed,
            engine.name()
        ));
    }
    let items_before = items(plan, carried.end.as_ref());
    let mut search = Search {
        engine,
        runner,
        items: items_before,
        wanted: (carried.verdict.kind, carried.verdict.invariant.clone()),
        best: plan.clone(),
        verdict: carried.verdict,
        runs: 1,
    };
    search.cut_after_the_end();
    loop {
        let before = search.best.clone();
        for (what, pass) in PASSES {
            pass(&mut search);
            told(&format!(
                "{what:<10} {} items, {} runs",
                search.items, search.runs
            ));
        }
        if search.best == before || search.is_spent() {
            break;
        }
    }
    Ok(Shrunk {
        plan: search.best,
        verdict: search.verdict,
        items: search.items,
        items_before,
        runs: search.runs,
    })
}

type Pass = fn(&mut Search<'_>);

const PASSES: [(&str, Pass); 10] = [
    ("faults", |search| search.drop_faults()),
    ("clients", |search| search.drop_clients()),
    ("sends", |search| search.drop_sends()),
    ("polls", |search| search.poll_less()),
    ("topics", |search| search.drop_topics()),
    ("time", |search| search.shorten()),
    ("settings", |search| search.drop_settings()),
    ("nodes", |search| search.drop_nodes()),
    ("pairs", |search| search.drop_pairs()),
    ("changes", |search| search.drop_and_change()),
];

/// A search ends after so many runs; on turmoil, where they take long, sooner.
const RUNS_MAX: u64 = 12_000;
const TURMOIL_RUNS_MAX: u64 = 300;

struct Search<'a> {
    engine: EngineKind,
    runner: &'a Runner,
    wanted: (Kind, Option<String>),
    best: Plan,
    verdict: Verdict,
    items: usize,
    runs: u64,
}

impl Search<'_> {
    /// Whether the plan still fails in the same way; if so it is the best so far.
    fn still(&mut self, plan: Plan) -> bool {
        if plan == self.best || self.is_spent() {
            return false;
        }
        self.runs += 1;
        let Ok(carried) = carry_out(&plan, judged(self.engine), self.runner) else {
            return false;
        };
        let is = (carried.verdict.kind, carried.verdict.invariant.clone());
        if is != self.wanted {
            return false;
        }
        self.items = items(&plan, carried.end.as_ref());
        self.best = plan;
        self.verdict = carried.verdict;
        true
    }

    fn is_spent(&self) -> bool {
        let most = match self.engine {
            EngineKind::Event => RUNS_MAX,
            EngineKind::Turmoil => TURMOIL_RUNS_MAX,
        };
        most <= self.runs
    }

    /// Nothing after the moment of the violation can matter.
    fn cut_after_the_end(&mut self) {
        let Some(at_ms) = self.verdict.at_ms else {
            return;
        };
        let mut plan = self.best.clone();
        plan.faults.retain(|fault| fault.at_ms <= at_ms);
        for client in &mut plan.clients {
            match &mut client.script {
                Script::Produce { sends, .. } => {
                    sends.retain(|send| send.at_us / 1_000 <= at_ms);
                }
                Script::Administer { calls, .. } => calls.retain(|call| call.at_ms <= at_ms),
                Script::Consume { .. } | Script::Member(_) => {}
            }
        }
        self.still(plan);
    }

    fn drop_faults(&mut self) {
        self.drop_parts(
            |plan| plan.faults.len(),
            |plan, keep| retain(&mut plan.faults, keep),
        );
    }

    fn drop_clients(&mut self) {
        self.drop_parts(
            |plan| plan.clients.len(),
            |plan, keep| retain(&mut plan.clients, keep),
        );
    }

    fn drop_sends(&mut self) {
        let of = |plan: &mut Plan, keep: &dyn Fn(usize) -> bool| {
            let mut index = 0;
            for client in &mut plan.clients {
                let mut next = || {
                    index += 1;
                    keep(index - 1)
                };
                match &mut client.script {
                    Script::Produce { sends, .. } => sends.retain(|_| next()),
                    Script::Administer { calls, .. } => calls.retain(|_| next()),
                    Script::Consume { .. } | Script::Member(_) => {}
                }
            }
        };
        self.drop_parts(sends_of, of);
    }

    /// Delta debugging: halves, quarters and so on are left out while the rest still fails.
    fn drop_parts(
        &mut self,
        count: impl Fn(&Plan) -> usize,
        retain: impl Fn(&mut Plan, &dyn Fn(usize) -> bool),
    ) {
        let mut chunk = count(&self.best);
        while chunk > 0 {
            let mut from = 0;
            while from < count(&self.best) {
                let mut plan = self.best.clone();
                let upto = from + chunk;
                retain(&mut plan, &|index| index < from || upto <= index);
                if !self.still(plan) {
                    from = upto;
                }
            }
            chunk /= 2;
        }
    }

    /// Each consumer begins later, waits longer and rewinds less.
    fn poll_less(&mut self) {
        for index in 0..self.best.clients.len() {
            for change in POLL_CHANGES {
                let mut plan = self.best.clone();
                if !poll_otherwise(&mut plan.clients[index].script, change) {
                    break;
                }
                while self.still(plan.clone()) && change == PollChange::Late {
                    poll_otherwise(&mut plan.clients[index].script, change);
                }
            }
        }
    }

    fn drop_topics(&mut self) {
        let mut plan = self.best.clone();
        let mut topics = std::mem::take(&mut plan.topics);
        let is_used = |name: &str| {
            let mut clients = plan.clients.iter();
            clients.any(|client| concerns(&client.script, name))
        };
        topics.retain(|topic| is_used(&topic.name));
        plan.topics = topics;
        self.still(plan);
        for index in 0..self.best.topics.len() {
            while self.best.topics[index].partitions > 1 {
                let mut plan = self.best.clone();
                plan.topics[index].partitions -= 1;
                if !self.still(plan) {
                    break;
                }
            }
        }
    }

    fn shorten(&mut self) {
        let last_fault = self.best.faults.iter().map(|fault| fault.at_ms).max();
        let floor = last_fault.unwrap_or(0) + 1;
        for (numerator, denominator) in [(1, 4), (1, 2), (3, 4)] {
            let mut plan = self.best.clone();
            let shorter = plan.run.duration_ms * numerator / denominator;
            plan.run.duration_ms = shorter.max(floor).min(plan.run.duration_ms);
            if self.still(plan) {
                break;
            }
        }
    }

    fn drop_settings(&mut self) {
        for index in 0..self.best.nodes.len() {
            let mut plan = self.best.clone();
            plan.nodes[index].metadata_lag_max_ms = 0;
            self.still(plan);
        }
        let names = self
            .best
            .nodes
            .iter()
            .flat_map(|node| node.config.keys().cloned());
        let names: std::collections::BTreeSet<String> = names.collect();
        for name in names.iter().filter(|name| *name != "process.roles") {
            let mut plan = self.best.clone();
            for node in &mut plan.nodes {
                node.config.remove(name);
            }
            self.still(plan);
        }
        for index in 0..self.best.clients.len() {
            for name in self.best.clients[index].config.clone().into_keys() {
                let mut plan = self.best.clone();
                plan.clients[index].config.remove(&name);
                self.still(plan);
            }
        }
    }

    /// The last node goes where replicas still fit.
    fn drop_nodes(&mut self) {
        let replicas = self
            .best
            .topics
            .iter()
            .map(|topic| topic.replication_factor);
        let least = usize::try_from(replicas.max().unwrap_or(1)).unwrap_or(1);
        while self.best.nodes.len() > least {
            let mut plan = self.best.clone();
            plan.nodes.pop();
            if !self.still(plan) {
                break;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PollChange {
    NoRewind,
    NoStall,
    NoLetters,
    LongPoll,
    LongPause,
    Late,
}

const POLL_CHANGES: [PollChange; 6] = [
    PollChange::NoRewind,
    PollChange::NoStall,
    PollChange::NoLetters,
    PollChange::LongPoll,
    PollChange::LongPause,
    PollChange::Late,
];

fn retain<T>(items: &mut Vec<T>, keep: &dyn Fn(usize) -> bool) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        keep(index - 1)
    });
}

/// Changes when a consumer polls; whether the script is one's.
fn poll_otherwise(script: &mut Script, change: PollChange) -> bool {
    let (from_ms, poll_ms, pause_ms) = match script {
        Script::Produce { .. } | Script::Administer { .. } => return false,
        Script::Consume {
            from_ms,
            poll_ms,
            pause_ms,
            rewinds_ms,
            ..
        } => {
            if change == PollChange::NoRewind {
                rewinds_ms.clear();
            }
            (from_ms, poll_ms, pause_ms)
        }
        Script::Member(member) => {
            match change {
                PollChange::NoRewind => {
                    member.pauses_ms.clear();
                    member.looks_ms.clear();
                    member.wakes_ms.clear();
                }
                PollChange::NoStall => member.stalls_ms.clear(),
                PollChange::NoLetters => member.dead_letters = None,
                PollChange::LongPoll | PollChange::LongPause | PollChange::Late => {}
            }
            (
                &mut member.from_ms,
                &mut member.poll_ms,
                &mut member.pause_ms,
            )
        }
    };
    match change {
        PollChange::NoRewind | PollChange::NoStall | PollChange::NoLetters => {}
        PollChange::LongPoll => *poll_ms = (*poll_ms * 2).min(10_000),
        PollChange::LongPause => *pause_ms = (*pause_ms * 2).clamp(500, 20_000),
        PollChange::Late => *from_ms += 2_000,
    }
    true
}

/// Whether the script is about that topic.
fn concerns(script: &Script, name: &str) -> bool {
    match script {
        Script::Produce { topic, .. }
        | Script::Consume { topic, .. }
        | Script::Administer { topic, .. } => topic == name,
        Script::Member(member) => {
            let letters = member.dead_letters.as_ref();
            member.pattern.is_some()
                || member.topics.iter().any(|topic| topic == name)
                || letters.is_some_and(|letters| letters.topic == name)
        }
    }
}

fn sends_of(plan: &Plan) -> usize {
    let sends = plan.clients.iter().map(|client| match &client.script {
        Script::Produce { sends, .. } => sends.len(),
        Script::Administer { calls, .. } => calls.len(),
        Script::Consume { .. } | Script::Member(_) => 0,
    });
    sends.sum()
}

/// The size of a plan: each fault instance and each send, admin call, poll or commit. Set-up and the final scan
/// do not count. How many polls and commits there are, only a run can say.
fn items(plan: &Plan, end: Option<&RunEnd>) -> usize {
    let lines = || end.iter().flat_map(|end| &end.lines);
    let consumers: BTreeSet<A> = lines()
        .filter_map(|line| match &line.b {
            Body::Actor(actor) if actor.role == Role::Consumer => Some(actor.a),
            _ => None,
        })
        .collect();
    let counts = |body: &Body| match body {
        Body::I { a, op, .. } => {
            matches!(op, Op::Poll | Op::CommitOffsets { .. }) && consumers.contains(a)
        }
        _ => false,
    };
    let calls = lines().filter(|line| counts(&line.b)).count();
    plan.faults.len() + sends_of(plan) + calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::RUN;
    use crate::scenario::Scenario;
    use crate::seed::Seed;

    #[test]
    fn the_size_before_is_counted_as_the_size_after() {
        let scenario = Scenario::find("leader-kill").expect("it is in scenarios/");
        let mut plan = Plan::draw(&scenario, Seed(1));
        plan.bug = Some("kip-101-hw-truncation".to_owned());
        let end = carry_out(&plan, judged(EngineKind::Event), RUN).map(|carried| carried.end);
        let end = end.expect("its properties go together");
        let shrunk = shrink(&plan, EngineKind::Event, RUN, &mut |_| {}).expect("it fails");
        assert_eq!(shrunk.items_before, items(&plan, end.as_ref()));
        assert!(plan.faults.len() + sends_of(&plan) < shrunk.items_before);
        assert!(shrunk.items < 20, "{}", shrunk.items);
    }
}
