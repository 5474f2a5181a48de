//! What a sweep covered: faults, checks and probes by scenario, and what it failed to prove.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::check::ALL;
use crate::engine::EngineKind;
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// A fault kind that was planned in that many runs must have been effective in one.
const PLANNED_ENOUGH: u64 = 8;
/// Below that chance, two engines that reach a check equally often do not differ so by luck. A sweep
/// makes some hundreds of comparisons.
const LUCK: f64 = 1e-6;
/// A sweep of that many runs of a scenario must have reached its probes and expected violations.
const SWEEP_ENOUGH: u64 = 16;

/// The coverage of a sweep.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Coverage {
    /// By scenario.
    pub scenarios: BTreeMap<String, ScenarioCoverage>,
}

/// The coverage of one scenario.
#[derive(Clone, Default, Debug, Serialize)]
pub struct ScenarioCoverage {
    /// Runs, by engine.
    pub runs: BTreeMap<EngineKind, u64>,
    /// Runs that did not pass.
    pub failed: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, FaultCoverage>,
    /// Checks whose premise held, by engine and `name/ID`.
    pub exercised: BTreeMap<EngineKind, BTreeMap<&'static str, Exercise>>,
    /// Excuses by `name/ID: reason`.
    pub excused: BTreeMap<String, u64>,
    /// Runs that reached a probe.
    pub probes: BTreeMap<&'static str, u64>,
    /// Runs that showed an expected violation, by check.
    pub expected: BTreeMap<String, u64>,
}

/// How often a kind of fault was planned and had an effect.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct FaultCoverage {
    /// Runs that planned it.
    pub runs: u64,
    /// Faults that were planned.
    pub planned: u64,
    /// Faults that had an effect.
    pub effective: u64,
}

/// How often a check's premise held.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub struct Exercise {
    /// In how many runs.
    pub runs: u64,
    /// How often altogether.
    pub times: u64,
}

impl Coverage {
    /// Takes a run in.
    pub fn add(&mut self, verdict: &Verdict) {
        let of = self.scenarios.entry(verdict.scenario.clone()).or_default();
        *of.runs.entry(verdict.engine).or_default() += 1;
        of.failed += u64::from(!verdict.passed());
        of.simulated_ms += verdict.simulated_ms;
        for (kind, planned) in &verdict.faults_planned {
            let fault = of.faults.entry(kind).or_default();
            fault.runs += 1;
            fault.planned += planned;
            fault.effective += verdict.faults.get(kind).unwrap_or(&0);
        }
        let exercised = of.exercised.entry(verdict.engine).or_default();
        for (check, times) in verdict.exercised.iter().filter(|(_, times)| **times > 0) {
            let exercise = exercised.entry(check).or_default();
            exercise.runs += 1;
            exercise.times += times;
        }
        for (excuse, times) in &verdict.excused {
            *of.excused.entry(excuse.clone()).or_default() += times;
        }
        for probe in verdict.probes.keys() {
            *of.probes.entry(probe).or_default() += 1;
        }
        for check in &verdict.expected {
            *of.expected.entry(check.clone()).or_default() += 1;
        }
    }

    /// What the sweep should have shown and did not.
    #[must_use]
    pub fn unproved(&self, scenarios: &[&Scenario]) -> Vec<String> {
        let mut all = Vec::new();
        for scenario in scenarios {
            let name = &scenario.name;
            let Some(of) = self.scenarios.get(name) else {
                continue;
            };
            let idle = of.faults.iter().filter(|(_, fault)| fault.is_idle());
            all.extend(idle.map(|(kind, fault)| {
                let (runs, planned) = (fault.runs, fault.planned);
                format!("{name}: {kind} was planned {planned} times in {runs} runs and never had an effect")
            }));
            all.extend(of.engine_gaps().map(|gap| format!("{name}: {gap}")));
            let runs: u64 = of.runs.values().sum();
            if runs < SWEEP_ENOUGH {
                continue;
            }
            let file = &scenario.file;
            let probes = file.probes.iter();
            let missed = probes.filter(|probe| !of.probes.contains_key(probe.as_str()));
            all.extend(
                missed.map(|probe| format!("{name}: probe {probe} was not reached in {runs} runs")),
            );
            let unseen = file.expect.violates.iter();
            let unseen = unseen.filter(|check| !of.expected.contains_key(check.as_str()));
            all.extend(unseen.map(|check| {
                format!("{name}: the expected violation of {check} did not show in {runs} runs")
            }));
        }
        all
    }

    /// Checks that no run exercised: of some scenarios, what these do not reach; of all of them, a hole.
    #[must_use]
    pub fn vacuous(&self) -> Vec<&'static str> {
        let seen: BTreeSet<&str> = self
            .scenarios
            .values()
            .flat_map(|of| of.exercised.values())
            .flat_map(|checks| checks.keys().copied())
            .collect();
        let names = ALL.iter().map(|make| make().name());
        names.filter(|name| !seen.contains(name)).collect()
    }

    /// The table at the end of a sweep.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![
            [
                "scenario",
                "runs",
                "failed",
                "simulated",
                "checks",
                "faults: effective/planned",
            ]
            .map(str::to_owned),
        ];
        for (name, of) in &self.scenarios {
            let checks: BTreeSet<&str> = of
                .exercised
                .values()
                .flat_map(|checks| checks.keys().copied())
                .collect();
            let runs: u64 = of.runs.values().sum();
            let faults = of
                .faults
                .iter()
                .map(|(kind, fault)| format!("{kind} {}/{}", fault.effective, fault.planned));
            rows.push([
                name.clone(),
                runs.to_string(),
                of.failed.to_string(),
                format!("{} s", of.simulated_ms / 1_000),
                format!("{}/{}", checks.len(), ALL.len()),
                faults.collect::<Vec<_>>().join("  "),
            ]);
        }
        let mut table = aligned(&rows);
        for (name, of) in &self.scenarios {
            let runs: u64 = of.runs.values().sum();
            table.extend(of.expected.iter().map(|(check, times)| {
                format!("{name} violates {check}, as expected, in {times} of {runs} runs\n")
            }));
        }
        table
    }

    /// Every check and every probe, with the scenario that exercises it most.
    #[must_use]
    pub fn details(&self) -> String {
        let mut rows = vec![
            [
                "check",
                "times",
                "event: best share of runs",
                "turmoil: runs",
            ]
            .map(str::to_owned),
        ];
        for name in ALL.iter().map(|make| make().name()) {
            let exercise = |of: &ScenarioCoverage, engine| {
                let checks = of.exercised.get(&engine)?;
                checks.get(name).copied()
            };
            let all = self.scenarios.values();
            let both = [EngineKind::Event, EngineKind::Turmoil];
            let times: u64 = all
                .clone()
                .flat_map(|of| both.map(|engine| exercise(of, engine)))
                .flatten()
                .map(|exercise| exercise.times)
                .sum();
            let turmoil: u64 = all
                .filter_map(|of| exercise(of, EngineKind::Turmoil))
                .map(|exercise| exercise.runs)
                .sum();
            let shares = self.scenarios.iter().filter_map(|(scenario, of)| {
                let runs = *of.runs.get(&EngineKind::Event)?;
                let per_mille = exercise(of, EngineKind::Event)?.runs * 1_000 / runs;
                Some((per_mille, scenario))
            });
            let best = shares.max().map_or_else(
                || "-".to_owned(),
                |(per_mille, scenario)| {
                    format!("{}.{} % of {scenario}", per_mille / 10, per_mille % 10)
                },
            );
            rows.push([
                name.to_owned(),
                times.to_string(),
                best,
                turmoil.to_string(),
            ]);
        }
        let mut text = aligned(&rows);
        text.push('\n');
        let mut rows = vec![["scenario", "probe", "runs"].map(str::to_owned)];
        for (scenario, of) in &self.scenarios {
            rows.extend(
                of.probes
                    .iter()
                    .map(|(probe, runs)| [scenario.clone(), (*probe).to_owned(), runs.to_string()]),
            );
        }
        text.push_str(&aligned(&rows));
        let mut rows = vec![["scenario", "excused", "times"].map(str::to_owned)];
        for (scenario, of) in &self.scenarios {
            rows.extend(
                of.excused
                    .iter()
                    .map(|(excuse, times)| [scenario.clone(), excuse.clone(), times.to_string()]),
            );
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        text
    }
}

impl ScenarioCoverage {
    /// Checks that one engine exercises and the other, in enough runs, never does: then they do not run
    /// the same thing.
    fn engine_gaps(&self) -> impl Iterator<Item = String> + '_ {
        let both = [EngineKind::Event, EngineKind::Turmoil];
        let ways = both.into_iter().zip(both.into_iter().rev());
        ways.flat_map(move |(one, other)| {
            let runs = |engine| self.runs.get(&engine).copied().unwrap_or(0);
            let (of_one, of_other) = (runs(one), runs(other));
            let checks = self.exercised.get(&one).into_iter().flatten();
            checks.filter_map(move |(check, exercise)| {
                let others = self.exercised.get(&other);
                let seen = others.is_some_and(|checks| checks.contains_key(check));
                let by_luck = all_on_one(exercise.runs, of_one, of_other);
                (!seen && by_luck < LUCK).then(|| {
                    let (one, other, runs) = (one.name(), other.name(), exercise.runs);
                    format!("{check} is exercised in {runs} of {of_one} runs on {one} and in none of {of_other} on {other}")
                })
            })
        })
    }
}

impl FaultCoverage {
    fn is_idle(self) -> bool {
        PLANNED_ENOUGH <= self.runs && self.effective == 0
    }
}

/// Columns under each other.
#[must_use]
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The chance that, of runs on two engines, those that reached something are all on the first, if it makes
/// no difference which engine a run is on (Fisher's exact test, its one tail).
fn all_on_one(reached: u64, of_one: u64, of_other: u64) -> f64 {
    let of_both = of_one + of_other;
    #[expect(clippy::cast_precision_loss, reason = "runs are fewer than 2^52")]
    let on_one = |index: u64| (of_one - index) as f64 / (of_both - index) as f64;
    (0..reached.min(of_one)).map(on_one).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::plan::Plan;
    use crate::seed::Seed;
    use std::sync::Arc;

    #[test]
    fn a_fault_without_effect_and_a_probe_never_reached_prove_nothing() {
        let text = "title = 't'\nwhy = []\nprobes = ['raft-elected']\n[[node]]\ncount = 1\n\
                    [[topic]]\nname = 'o'\npartitions = 1\nreplication-factor = 1\n\
                    [[fault]]\nkind = 'kill'\nat = '1s'\ntarget = 'n1'\nrestart = '1s'\n";
        let scenario = Scenario::parse("t", "t.toml", text).expect("it is fine");
        let case = Case {
            scenario: Arc::new(scenario.clone()),
            seed: Seed(1),
            engine: EngineKind::Event,
            bug: None,
        };
        let plan: Plan = case.plan();
        let verdict = Verdict::of_panic(&plan, EngineKind::Event, String::new(), 0);
        let mut coverage = Coverage::default();
        for _ in 0..7 {
            coverage.add(&verdict);
        }
        assert!(coverage.unproved(&[&scenario]).is_empty());
        coverage.add(&verdict);
        assert_eq!(coverage.unproved(&[&scenario]).len(), 1);
        for _ in 0..8 {
            coverage.add(&verdict);
        }
        let unproved = coverage.unproved(&[&scenario]);
        assert_eq!(
            unproved[1],
            "t: probe raft-elected was not reached in 16 runs"
        );
    }

    #[test]
    fn an_engine_that_never_exercises_what_the_other_does_proves_nothing() {
        let exercise = Exercise {
            runs: 60,
            times: 90,
        };
        let mut of = ScenarioCoverage {
            runs: BTreeMap::from([(EngineKind::Event, 80), (EngineKind::Turmoil, 16)]),
            exercised: BTreeMap::from([(EngineKind::Event, BTreeMap::from([("a/A-1", exercise)]))]),
            ..ScenarioCoverage::default()
        };
        let gaps: Vec<String> = of.engine_gaps().collect();
        assert_eq!(
            gaps,
            ["a/A-1 is exercised in 60 of 80 runs on event and in none of 16 on turmoil"]
        );
        of.runs.insert(EngineKind::Turmoil, 8);
        assert_eq!(of.engine_gaps().count(), 0, "it may be chance");
        of.runs.insert(EngineKind::Turmoil, 16);
        let once = BTreeMap::from([("a/A-1", Exercise { runs: 1, times: 1 })]);
        of.exercised.insert(EngineKind::Turmoil, once);
        assert_eq!(of.engine_gaps().count(), 0);
    }

    #[test]
    fn one_rare_run_is_no_difference_between_engines() {
        // A sweep of node-down over 3,000 seeds: KR-9 in one run on turmoil and in none on event.
        assert!(all_on_one(1, 187, 3_000) > 0.05);
        assert!(all_on_one(5, 187, 3_000) < 1e-5);
        assert!((all_on_one(2, 2, 2) - 1.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [["a", "bbb"], ["cc", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a   bbb\ncc  d\n");
    }
}
