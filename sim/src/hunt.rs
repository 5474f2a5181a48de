//! Which check finds which historic bug, in which scenarios; and the hunt for it.
//!
//! A bug is found when a check of its row fails, in a scenario of its row, within the budget. A
//! panic or another check does not count. The seed must pass with the bug off.

use std::sync::Arc;

use broker_model::bug::Bug;
use serde::Serialize;

use crate::case::{Case, Runner};
use crate::engine::EngineKind;
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::sweep::{Limits, in_order};
use crate::verdict::{Kind, Verdict};
use crate::wall::Stopwatch;

/// Runs of a hunt, over all scenarios of the row together.
pub const BUDGET: u64 = 2_000;
/// Where the three hunts of `sim bugs` start.
pub const STARTS: [u64; 3] = [1, 100_001, 200_001];

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: Bug,
    /// The ids of the checks that count as finding it: the one that kafka-bugs names, and stronger.
    pub accepted: &'static [&'static str],
    /// The scenarios that can reach it.
    pub scenarios: &'static [&'static str],
}

/// Every bug.
pub const HUNTS: [Hunt; 13] = [
    Hunt {
        bug: Bug::Kip101HwTruncation,
        accepted: &["RP-13", "RP-8", "RP-7", "RP-9", "DUR-1a", "DUR-1b", "DUR-2"],
        scenarios: &["leader-kill", "leadership-moves"],
    },
    Hunt {
        bug: Bug::Kip279UnknownEpochLookup,
        accepted: &["RP-9", "RP-13", "RP-7", "RP-8", "ORD-1", "DUR-1a", "DUR-1b"],
        scenarios: &["leadership-moves", "one-way-partition"],
    },
    Hunt {
        bug: Bug::Kip497HwIgnoresPendingIsr,
        accepted: &["RP-6", "RP-5", "RP-7", "RP-8", "DUR-1a", "DUR-1b", "DUR-2"],
        scenarios: &["isr-churn", "leadership-moves"],
    },
    Hunt {
        bug: Bug::KraftNoFlushBeforeFetch,
        accepted: &["KR-7", "KR-8", "KR-6", "KR-5", "KR-4", "KR-3", "KR-2"],
        scenarios: &["power-loss", "controller-failover"],
    },
    Hunt {
        bug: Bug::Kafka5494WindowOne,
        accepted: &["PS-5", "PS-2", "ORD-2", "ORD-5"],
        scenarios: &["leader-kill", "leadership-moves", "isr-churn"],
    },
    Hunt {
        bug: Bug::Kafka5494AcceptGaps,
        accepted: &["PS-1", "PS-2", "ORD-3", "ORD-5", "DUR-1a", "DUR-1b"],
        scenarios: &["leader-kill", "leadership-moves", "isr-churn"],
    },
    Hunt {
        bug: Bug::Kafka5494NoRebuild,
        accepted: &["PS-4", "PS-2", "PS-1", "ORD-2"],
        scenarios: &["leader-kill", "leadership-moves"],
    },
    Hunt {
        bug: Bug::Kafka5494RenumberOrder,
        accepted: &["ORD-5", "PS-1", "PS-2"],
        scenarios: &[
            "oversized-records",
            "leader-kill",
            "leadership-moves",
            "isr-churn",
        ],
    },
    Hunt {
        bug: Bug::Kip429AssignBeforeRevoke,
        accepted: &["GC-6", "GRP-1", "GRP-2"],
        scenarios: &["group-cooperative"],
    },
    Hunt {
        bug: Bug::Kip345InstanceNotFenced,
        accepted: &["GRP-11", "GC-11", "GC-7", "GRP-3", "GC-6"],
        scenarios: &["group-static"],
    },
    Hunt {
        bug: Bug::Kip345ReplaceOnlyStable,
        accepted: &["GC-6", "GC-11", "GRP-11", "GRP-1", "GRP-2"],
        scenarios: &["group-static"],
    },
    Hunt {
        bug: Bug::Kip345ReplacementNotPersisted,
        accepted: &["GC-8", "GC-11", "GRP-11"],
        scenarios: &["group-static"],
    },
    Hunt {
        bug: Bug::Kafka16147PartitionEpochLost,
        accepted: &["GC-3", "GC-6", "GRP-1"],
        scenarios: &["group-consumer-protocol"],
    },
];

/// How a hunt ended, with the fields that scripts rely on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Bag {
    /// The bug's id.
    pub bug: &'static str,
    /// The first seed of the hunt.
    pub from: u64,
    /// Whether a check of the row found it within the budget.
    pub found: bool,
    /// In which scenario.
    pub scenario: Option<String>,
    /// With which seed.
    pub seed: Option<u64>,
    /// Runs that it took.
    pub seeds_tried: u64,
    /// Which check.
    pub invariant: Option<String>,
    /// Simulated milliseconds of all runs.
    pub simulated_ms: u64,
    /// Wall milliseconds.
    pub wall_ms: u64,
    /// Whether the seed passes with the bug off.
    pub clean_pass: bool,
    /// What else failed on the way, and how often: `name/ID`, or a kind of end.
    pub also: std::collections::BTreeMap<String, u64>,
}

impl Hunt {
    /// Hunts from that seed on, for at most `budget` runs.
    ///
    /// # Errors
    ///
    /// A scenario of the row that cannot be read.
    pub fn go(
        &self,
        from: u64,
        budget: u64,
        engine: EngineKind,
        limits: Limits<'_>,
        runner: &Runner,
    ) -> Result<Bag, String> {
        let stopwatch = Stopwatch::start();
        let cases = self.cases(from, budget, engine)?;
        let mut bag = Bag {
            bug: self.bug.id(),
            from,
            found: false,
            scenario: None,
            seed: None,
            seeds_tried: 0,
            invariant: None,
            simulated_ms: 0,
            wall_ms: 0,
            clean_pass: false,
            also: std::collections::BTreeMap::new(),
        };
        let mut found = None;
        in_order(
            &cases,
            limits,
            &|case: &Case| case.judge(runner),
            &|verdict| self.accepts(verdict),
            &mut |verdict| {
                bag.seeds_tried += 1;
                bag.simulated_ms += verdict.simulated_ms;
                if self.accepts(&verdict) {
                    found = Some(verdict);
                } else if !verdict.passed() {
                    let what = verdict
                        .invariant
                        .unwrap_or_else(|| verdict.kind.word().to_owned());
                    *bag.also.entry(what).or_default() += 1;
                }
            },
        )?;
        if let Some(verdict) = found {
            let case = cases
                .into_iter()
                .find(|case| case.seed.0 == verdict.seed && case.scenario.name == verdict.scenario)
                .expect("the verdict is of a case");
            let clean = Case { bug: None, ..case };
            bag.found = true;
            bag.clean_pass = clean.judge(runner)?.passed();
            bag.scenario = Some(verdict.scenario);
            bag.seed = Some(verdict.seed);
            bag.invariant = verdict.invariant;
        }
        bag.wall_ms = stopwatch.ms();
        Ok(bag)
    }

    /// Whether that is what finding the bug means.
    #[must_use]
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        verdict.kind == Kind::Violation && self.accepted.contains(&verdict.id())
    }

    /// By seed, and of each seed every scenario.
    fn cases(&self, from: u64, budget: u64, engine: EngineKind) -> Result<Vec<Case>, String> {
        let scenarios: Result<Vec<Arc<Scenario>>, String> = self
            .scenarios
            .iter()
            .map(|name| Scenario::find(name).map(Arc::new))
            .collect();
        let scenarios = scenarios?;
        let all = (from..=u64::MAX).flat_map(|seed| {
            scenarios.iter().map(move |scenario| Case {
                scenario: scenario.clone(),
                seed: Seed(seed),
                engine,
                bug: Some(self.bug),
            })
        });
        let budget = usize::try_from(budget).expect("a budget of runs is small");
        Ok(all.take(budget).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_hunted() {
        let hunted = HUNTS.map(|hunt| hunt.bug);
        assert_eq!(hunted[..], Bug::ALL[..]);
    }

    #[test]
    fn a_hunt_ends_with_the_last_seed() {
        let hunt = &HUNTS[0];
        let cases = hunt.cases(u64::MAX, BUDGET, EngineKind::Event);
        let cases = cases.expect("its scenarios are there");
        assert_eq!(cases.len(), hunt.scenarios.len());
        let first = hunt.cases(0, 2, EngineKind::Event).map(|cases| cases.len());
        assert_eq!(first, Ok(2));
    }
}
