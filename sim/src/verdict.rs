//! What a run was found to be, and how scripts read it.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use crate::check::{Class, Violation};
use crate::engine::EngineKind;
use crate::plan::Plan;
use crate::run::RunEnd;

/// Exit codes of the command line.
pub mod exit {
    /// All runs pass.
    pub const PASS: u8 = 0;
    /// A violation.
    pub const VIOLATION: u8 = 1;
    /// Usage, an unreadable file, an unknown name.
    pub const USAGE: u8 = 2;
    /// A cluster that did not heal or settle.
    pub const STUCK: u8 = 3;
    /// Two runs of one seed differ.
    pub const NOT_DETERMINISTIC: u8 = 4;
    /// Nothing failed, and nothing was proved.
    pub const NOTHING_PROVED: u8 = 5;
    /// The model panicked.
    pub const PANIC: u8 = 101;
    /// Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

/// What kind of end a run came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing failed but what the scenario expects.
    Pass,
    /// A check failed.
    Violation,
    /// The cluster did not heal or settle in time.
    Stuck,
    /// The same seed gave another digest.
    Nondeterministic,
    /// The model contradicted itself.
    Panic,
}

impl Kind {
    /// The exit code of a command that ends with such a run.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Pass => exit::PASS,
            Kind::Violation => exit::VIOLATION,
            Kind::Stuck => exit::STUCK,
            Kind::Nondeterministic => exit::NOT_DETERMINISTIC,
            Kind::Panic => exit::PANIC,
        }
    }

    /// The first word of a report.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Violation => "FAIL",
            Kind::Stuck => "STUCK",
            Kind::Nondeterministic => "NOT DETERMINISTIC",
            Kind::Panic => "PANIC",
        }
    }
}

/// The verdict on a run, with the fields that scripts rely on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The engine.
    pub engine: EngineKind,
    /// How it ended.
    #[serde(rename = "verdict")]
    pub kind: Kind,
    /// The check that failed, as `name/ID`.
    pub invariant: Option<String>,
    /// What clashes, several lines.
    pub detail: Option<String>,
    /// When it showed, in simulated milliseconds.
    pub at_ms: Option<u64>,
    /// The digest, in hex; none if the run panicked.
    pub digest: Option<String>,
    /// The length of the run proper, in simulated milliseconds.
    pub simulated_ms: u64,
    /// What it took, in milliseconds.
    pub wall_ms: u64,
    /// Steps of nodes and clients in the run proper.
    pub events: u64,
    /// Records that were acknowledged in the run proper.
    pub acked: u64,
    /// Rare states, and how often each was reached.
    pub probes: BTreeMap<&'static str, u64>,
    /// How often each check's premise held.
    pub exercised: BTreeMap<&'static str, u64>,
    /// `name/ID: reason`, and how often.
    pub excused: BTreeMap<String, u64>,
    /// Faults of the plan, by kind.
    pub faults_planned: BTreeMap<&'static str, u64>,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Expected violations that were seen, by the check's name.
    pub expected: Vec<String>,
}

impl Verdict {
    /// The verdict on a run that came to an end.
    #[must_use]
    pub fn of(plan: &Plan, engine: EngineKind, end: &RunEnd, wall_ms: u64) -> Verdict {
        let violations = &end.judgement.violations;
        let unexpected = violations
            .iter()
            .find(|violation| !is_expected(plan, violation))
            .or(end.stopped_by.as_ref());
        let mut expected: Vec<String> = violations
            .iter()
            .filter(|violation| is_expected(plan, violation))
            .map(|violation| name_of(violation.check).to_owned())
            .collect();
        expected.sort();
        expected.dedup();
        let probes = end.counts.probes.iter();
        let excused = end.judgement.excused.iter();
        Verdict {
            kind: unexpected.map_or(Kind::Pass, kind_of),
            invariant: unexpected.map(|violation| violation.check.to_owned()),
            detail: unexpected.map(|violation| violation.detail.clone()),
            at_ms: unexpected.map(|violation| violation.t_us / 1_000),
            digest: Some(end.digest.to_string()),
            simulated_ms: end.simulated_ms,
            events: end.counts.events,
            acked: end.counts.acked,
            probes: probes.map(|(probe, count)| (probe.id(), *count)).collect(),
            exercised: end.judgement.exercised.clone(),
            excused: excused
                .map(|((check, reason), count)| (format!("{check}: {reason}"), *count))
                .collect(),
            faults: end.counts.faults.clone(),
            expected,
            ..Verdict::blank(plan, engine, wall_ms)
        }
    }

    /// The verdict on a run in which the model panicked.
    #[must_use]
    pub fn of_panic(plan: &Plan, engine: EngineKind, text: String, wall_ms: u64) -> Verdict {
        Verdict {
            kind: Kind::Panic,
            detail: Some(text),
            ..Verdict::blank(plan, engine, wall_ms)
        }
    }

    /// Turns the verdict into one on a run that was not the same the second time.
    pub fn differs(&mut self, how: String) {
        self.kind = Kind::Nondeterministic;
        self.invariant = None;
        self.detail = Some(how);
        self.at_ms = None;
    }

    /// What two runs of one digest were found to be, where that is not the same. The digest holds
    /// nothing of checks: a judge of its own mind shows here.
    #[must_use]
    pub fn unlike(&self, second: &Verdict) -> Option<String> {
        let said = |verdict: &Verdict, other: &Verdict| {
            let Verdict {
                probes,
                faults,
                expected,
                excused,
                ..
            } = verdict;
            [
                verdict.kind.word().to_owned(),
                format!("{:?} at {:?} ms", verdict.invariant, verdict.at_ms),
                format!("{:?}", verdict.detail),
                format!(
                    "exercised {}",
                    otherwise(&verdict.exercised, &other.exercised)
                ),
                format!("excused {}", otherwise(excused, &other.excused)),
                format!("probes {probes:?}, faults {faults:?}, expected {expected:?}"),
                format!("{} events, {} acked", verdict.events, verdict.acked),
            ]
        };
        let (one, other) = (said(self, second), said(second, self));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        differs.map(|(one, other)| {
            format!(
                "two runs of one seed and one digest were not found to be the same\n  \
                 first   {one}\n  second  {other}"
            )
        })
    }

    /// Whether nothing failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.kind == Kind::Pass
    }

    /// The check's id (`RP-8`), or what else happened.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.invariant {
            Some(check) => check.split_once('/').map_or(check.as_str(), |(_, id)| id),
            None => self.kind.word(),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Verdict {
            scenario,
            seed,
            engine,
            simulated_ms,
            wall_ms,
            events,
            acked,
            ..
        } = self;
        let word = self.kind.word();
        let engine = engine.name();
        let what = match (&self.invariant, self.at_ms) {
            (Some(check), Some(at_ms)) => format!("{check} at {}", seconds(at_ms)),
            (Some(check), None) => check.clone(),
            (None, _) => self.headline().to_owned(),
        };
        if self.passed() {
            let digest = self.digest.as_deref().unwrap_or_default();
            let seen = if self.expected.is_empty() {
                String::new()
            } else {
                format!("  as expected: {}", self.expected.join(", "))
            };
            return format!(
                "{word}  {scenario}  seed {seed}  {engine}  {} simulated in {wall_ms} ms  \
                 {events} events  {acked} acked  digest {digest}{seen}",
                seconds(*simulated_ms)
            );
        }
        format!("{word}  {scenario}  seed {seed}  {engine}  {what}")
    }

    /// The first line of what clashes.
    #[must_use]
    pub fn headline(&self) -> &str {
        let detail = self.detail.as_deref().unwrap_or_default();
        detail.lines().next().unwrap_or_default()
    }

    fn blank(plan: &Plan, engine: EngineKind, wall_ms: u64) -> Verdict {
        let mut faults_planned = BTreeMap::new();
        for fault in &plan.faults {
            *faults_planned.entry(fault.fault.kind()).or_default() += 1;
        }
        Verdict {
            scenario: plan.scenario.clone(),
            seed: plan.seed.0,
            engine,
            kind: Kind::Pass,
            invariant: None,
            detail: None,
            at_ms: None,
            digest: None,
            simulated_ms: 0,
            wall_ms,
            events: 0,
            acked: 0,
            probes: BTreeMap::new(),
            exercised: BTreeMap::new(),
            excused: BTreeMap::new(),
            faults_planned,
            faults: BTreeMap::new(),
            expected: Vec::new(),
        }
    }
}

/// `12.480s`
#[must_use]
pub fn seconds(ms: u64) -> String {
    format!("{}.{:03}s", ms / 1_000, ms % 1_000)
}

/// What was counted otherwise than there.
fn otherwise<K: Ord + Display>(counts: &BTreeMap<K, u64>, there: &BTreeMap<K, u64>) -> String {
    let differ = counts
        .iter()
        .filter(|(what, count)| there.get(what) != Some(count));
    let told: Vec<String> = differ
        .map(|(what, count)| format!("{what} {count} times"))
        .collect();
    told.join(", ")
}

/// A check's name without its id.
#[must_use]
pub fn name_of(check: &str) -> &str {
    check.split_once('/').map_or(check, |(name, _)| name)
}

fn is_expected(plan: &Plan, violation: &Violation) -> bool {
    plan.expect
        .iter()
        .any(|name| name == name_of(violation.check))
}

/// An operation that never completes (LIV-1) is a violation; everything else that never happens is
/// a cluster that is stuck.
fn kind_of(violation: &Violation) -> Kind {
    match violation.class {
        Class::Stuck if !violation.check.ends_with("/LIV-1") => Kind::Stuck,
        Class::Stuck | Class::Violation => Kind::Violation,
    }
}
