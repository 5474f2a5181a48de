//! `sweep`: many runs on all cores.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Common, Ended, Out, note_interrupts};
use crate::case::{Case, RUN};
use crate::coverage::Coverage;
use crate::engine::EngineKind;
use crate::junit;
use crate::report;
use crate::scenario::value::{Micros, parse_time};
use crate::scenario::{Scenario, names};
use crate::seed::Seed;
use crate::sweep::{Itinerary, Limits, cores};
use crate::verdict::{Verdict, exit};
use crate::wall::Stopwatch;

/// Arguments of `sweep`.
#[derive(Args, Debug)]
pub(super) struct SweepArgs {
    /// Scenarios; all in scenarios/ if none is named
    scenarios: Vec<String>,
    /// Seeds, both ends included
    #[arg(long, default_value = "1..16", value_name = "A..B")]
    seeds: SeedRange,
    /// Goes on with further seeds for that long
    #[arg(long = "for", value_parser = parse_time, value_name = "TIME")]
    lasts: Option<Micros>,
    /// Threads; all cores if not said
    #[arg(long)]
    jobs: Option<usize>,
    /// The I-th of N shares of all runs
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Goes on after a failure
    #[arg(long)]
    keep_going: bool,
    /// Writes a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// `A..B`, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SeedRange {
    /// The first.
    pub(super) first: u64,
    /// The last.
    pub(super) last: u64,
}

impl SeedRange {
    /// How many seeds; of all that there are, one fewer.
    pub(super) fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (Seed(first), Seed(last)) = (first.parse()?, last.parse()?);
        if last < first {
            return Err(format!("range {text:?} is empty"));
        }
        Ok(SeedRange { first, last })
    }
}

/// A range of seeds, piece by piece.
struct Rounds {
    left: Option<SeedRange>,
    /// Whether there is more behind the range.
    goes_on: bool,
}

impl Rounds {
    fn of(seeds: SeedRange, goes_on: bool) -> Self {
        Rounds {
            left: Some(seeds),
            goes_on,
        }
    }

    fn next(&mut self) -> Option<SeedRange> {
        let SeedRange { first, last } = self.left?;
        let end = last.min(first.saturating_add(ROUND_MAX - 1));
        let next = end.checked_add(1);
        self.left = next.and_then(|next| {
            let last = match self.goes_on {
                true => last.max(next.saturating_add(ROUND - 1)),
                false => last,
            };
            (next <= last).then_some(SeedRange { first: next, last })
        });
        Some(SeedRange { first, last: end })
    }
}

/// `I/N`, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text:?} is not a share such as \"1/4\"");
        let (index, of) = text.split_once('/').ok_or_else(malformed)?;
        let (index, of): (usize, usize) = (
            index.parse().map_err(|_| malformed())?,
            of.parse().map_err(|_| malformed())?,
        );
        if index == 0 || of < index {
            return Err(malformed());
        }
        Ok(Shard { index, of })
    }
}

/// Pages that a sweep prints; further failures are a line each.
const PAGES_MAX: usize = 3;
/// Seeds of every scenario with which no check may remain unexercised.
const WHOLE: u64 = 16;
/// Seeds of one round of `--for`.
const ROUND: u64 = 64;
/// Seeds whose cases are held in memory at once.
const ROUND_MAX: u64 = 50_000;

#[derive(Serialize)]
struct Summary {
    runs: u64,
    passed: u64,
    failed: u64,
    simulated_ms: u64,
    wall_ms: u64,
    seeds_per_minute: u64,
}

#[derive(Serialize)]
struct Last<'a> {
    summary: Summary,
    coverage: &'a Coverage,
    unproved: &'a [String],
}

/// Runs them.
pub(super) fn sweep(common: &Common, args: &SweepArgs, out: &Out) -> Ended {
    let scenarios = scenarios(common, &args.scenarios)?;
    let itinerary = Itinerary {
        scenarios: scenarios.iter().cloned().map(Arc::new).collect(),
        engine: common.engine.map(EngineKind::from),
        bug: common.bug()?,
        shard: args
            .shard
            .map_or((0, 1), |shard| (shard.index - 1, shard.of)),
    };
    let stopwatch = Stopwatch::start();
    let limits = Limits {
        jobs: args.jobs.unwrap_or_else(cores),
        keep_going: args.keep_going,
        until: args
            .lasts
            .map(|span| (stopwatch, Duration::from_micros(span.0))),
        interrupted: note_interrupts(),
    };
    let mut tally = Tally::new(common, args, out);
    let mut rounds = Rounds::of(args.seeds, args.lasts.is_some());
    while let Some(seeds) = rounds.next() {
        tally.round(&itinerary.cases(seeds.first, seeds.last), limits)?;
        let late = limits
            .until
            .is_some_and(|(watch, span)| watch.elapsed() >= span);
        let failed = tally.failed > 0 && !args.keep_going;
        if late || failed || limits.interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    tally.end(
        &scenarios,
        stopwatch.ms(),
        limits.interrupted.load(Ordering::Relaxed),
    )
}

fn scenarios(common: &Common, said: &[String]) -> Result<Vec<Scenario>, String> {
    let said = if said.is_empty() {
        names()?
    } else {
        said.to_vec()
    };
    if said.is_empty() {
        return Err("there are no scenarios in scenarios/".to_owned());
    }
    let mut scenarios: Result<Vec<Scenario>, String> =
        said.iter().map(|name| common.scenario(name)).collect();
    if let Ok(scenarios) = &mut scenarios {
        scenarios.sort_by(|one, other| one.said.cmp(&other.said));
        scenarios.dedup_by(|one, other| one.said == other.said);
    }
    let scenarios = scenarios?;
    one_name_each(&scenarios)?;
    Ok(scenarios)
}

/// Coverage, reports and files of a run go by the scenario's name.
fn one_name_each(scenarios: &[Scenario]) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for Scenario { name, said, .. } in scenarios {
        if let Some(other) = seen.insert(name, said) {
            return Err(format!(
                "two scenarios are named {name:?}, {other} and {said}: rename a file, or sweep them one by one"
            ));
        }
    }
    Ok(())
}

/// Takes verdicts in, in order, and says what there is to say.
struct Tally<'a> {
    common: &'a Common,
    args: &'a SweepArgs,
    out: &'a Out,
    coverage: Coverage,
    runs: u64,
    failed: u64,
    simulated_ms: u64,
    pages: usize,
    /// The lowest failing run, by (scenario, seed, engine), and its exit code.
    lowest: Option<((String, u64, EngineKind), u8)>,
    junit: Vec<junit::TestCase>,
}

impl<'a> Tally<'a> {
    fn new(common: &'a Common, args: &'a SweepArgs, out: &'a Out) -> Self {
        Tally {
            common,
            args,
            out,
            coverage: Coverage::default(),
            runs: 0,
            failed: 0,
            simulated_ms: 0,
            pages: 0,
            lowest: None,
            junit: Vec::new(),
        }
    }

    fn round(&mut self, cases: &[Case], limits: Limits<'_>) -> Result<(), String> {
        let bar = self
            .out
            .progress(u64::try_from(cases.len()).unwrap_or(u64::MAX));
        let mut trouble = Ok(());
        crate::sweep::sweep(cases, limits, RUN, &mut |verdict| {
            bar.inc(1);
            let taken = self.take(cases, &verdict, &bar);
            if trouble.is_ok() {
                trouble = taken;
            }
        })?;
        bar.finish_and_clear();
        trouble
    }

    fn take(&mut self, cases: &[Case], verdict: &Verdict, bar: &ProgressBar) -> Result<(), String> {
        self.runs += 1;
        self.simulated_ms += verdict.simulated_ms;
        self.coverage.add(verdict);
        self.out.json(verdict);
        if self.args.junit.is_some() {
            self.junit.push(junit::TestCase::of(verdict));
        }
        if verdict.passed() {
            return Ok(());
        }
        self.failed += 1;
        bar.set_message(format!("{} failed", self.failed));
        let key = (verdict.scenario.clone(), verdict.seed, verdict.engine);
        if self.lowest.as_ref().is_none_or(|(lowest, _)| key < *lowest) {
            self.lowest = Some((key, verdict.kind.exit_code()));
        }
        self.pages += 1;
        if PAGES_MAX < self.pages {
            bar.suspend(|| self.out.text(&verdict.line()));
            return Ok(());
        }
        let is_it = |case: &&Case| {
            case.scenario.name == verdict.scenario
                && case.seed.0 == verdict.seed
                && case.engine == verdict.engine
        };
        let case = cases.iter().find(is_it).expect("the verdict is of a case");
        let page = report::page(case, verdict, self.common.out.as_deref(), RUN)?;
        bar.suspend(|| self.out.text(&page));
        Ok(())
    }

    /// Whether this is a sweep that must exercise every check: all scenarios, enough of each.
    fn is_whole(&self) -> bool {
        self.args.scenarios.is_empty()
            && self.args.shard.is_none()
            && WHOLE <= self.args.seeds.count()
    }

    fn end(self, scenarios: &[Scenario], wall_ms: u64, interrupted: bool) -> Ended {
        let scenarios: Vec<&Scenario> = scenarios.iter().collect();
        let is_over = self.failed == 0 && !interrupted;
        let mut unproved = Vec::new();
        let mut vacuous = Vec::new();
        if is_over {
            unproved = self.coverage.unproved(&scenarios);
            vacuous = self.coverage.vacuous();
        }
        if self.is_whole() {
            let holes = vacuous.drain(..);
            unproved.extend(holes.map(|check| format!("{check}: no run exercised it")));
        }
        self.out.json(&Last {
            summary: Summary {
                runs: self.runs,
                passed: self.runs - self.failed,
                failed: self.failed,
                simulated_ms: self.simulated_ms,
                wall_ms,
                seeds_per_minute: self.runs * 60_000 / wall_ms.max(1),
            },
            coverage: &self.coverage,
            unproved: &unproved,
        });
        self.out.text(&self.coverage.table());
        if !vacuous.is_empty() {
            self.out
                .text(&format!("not exercised here: {}", vacuous.join(", ")));
        }
        if let Some(out) = &self.common.out {
            write(&out.join("coverage.txt"), &self.coverage.details())?;
        }
        if let Some(file) = &self.args.junit {
            write(file, &junit::report(&self.junit))?;
        }
        for what in &unproved {
            self.out.text(&format!("NOT PROVED  {what}"));
        }
        let (runs, failed, simulated_s) = (self.runs, self.failed, self.simulated_ms / 1_000);
        let speed = self.simulated_ms / wall_ms.max(1);
        self.out.text(&format!(
            "\n{runs} runs, {failed} failed, {simulated_s} s simulated in {} s: {speed} times as fast",
            wall_ms / 1_000
        ));
        if interrupted {
            return Ok(exit::INTERRUPTED);
        }
        Ok(match self.lowest {
            Some((_, code)) => code,
            None if unproved.is_empty() => exit::PASS,
            None => exit::NOTHING_PROVED,
        })
    }
}

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        // A directory that cannot be made shows when the file is written.
        let _ = fs::create_dir_all(parent);
    }
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(text: &str, goes_on: bool) -> Vec<(u64, u64)> {
        let mut rounds = Rounds::of(text.parse().expect("it is a range"), goes_on);
        let next = std::iter::from_fn(|| rounds.next());
        next.take(3)
            .map(|seeds| (seeds.first, seeds.last))
            .collect()
    }

    #[test]
    fn a_range_is_swept_piece_by_piece() {
        assert_eq!(rounds("1..16", false), [(1, 16)]);
        let pieces = [(1, 50_000), (50_001, 100_000), (100_001, 150_000)];
        assert_eq!(rounds("1..100000000", false), pieces);
        assert_eq!(rounds("7..50006", false), [(7, 50_006)]);
        assert_eq!(rounds("7..50007", false), [(7, 50_006), (50_007, 50_007)]);
        let max = u64::MAX;
        assert_eq!(rounds(&format!("{max}..{max}"), true), [(max, max)]);
    }

    #[test]
    fn a_sweep_for_a_time_goes_on_behind_the_range() {
        assert_eq!(rounds("1..16", true), [(1, 16), (17, 80), (81, 144)]);
    }

    #[test]
    fn two_scenarios_have_two_names() {
        let text = "title = 't'\nwhy = []\n[[node]]\ncount = 1\n";
        let named =
            |name: &str, place: &str| Scenario::parse(name, place, text).expect("it is fine");
        let [one, other] = ["a/t.toml", "b/t.toml"].map(|place| named("t", place));
        assert_eq!(
            one_name_each(&[one.clone(), named("u", "a/u.toml")]),
            Ok(())
        );
        let told = one_name_each(&[one, other]).expect_err("both are t");
        assert!(told.contains("\"t\", a/t.toml and b/t.toml"), "{told}");
    }

    #[test]
    fn a_range_counts_both_ends() {
        let count = |text: &str| text.parse().map(SeedRange::count);
        assert_eq!(count("3..5"), Ok(3));
        assert_eq!(count("0..18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert!("5..4".parse::<SeedRange>().is_err());
    }
}
