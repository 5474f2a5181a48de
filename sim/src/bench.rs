//! How fast runs are: the rows of `cargo sim bench`, with all checks on.
//!
//! Every row says its load, so that nobody is fast by doing little. Simulated seconds are those of the
//! workload; wall seconds are those of whole runs, set-up, healing and final scan included.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

pub mod group;

use crate::case::{Case, RUN, carry_out, judged};
use crate::engine::EngineKind;
use crate::engine::bare::{self, Burden};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::sweep::{Limits, cores, in_order};
use crate::wall::Stopwatch;

/// A row, with the fields that scripts rely on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub row: &'static str,
    /// The engine; `bare` for turmoil without anything of ours.
    pub engine: &'static str,
    /// Threads.
    pub cores: usize,
    /// Steps of nodes and clients, of whole runs, per wall second.
    pub events_per_second: u64,
    /// Of the median seed.
    pub simulated_s_per_wall_s: f64,
    /// Runs a minute.
    pub runs_per_minute: u64,
    /// The most memory the process had during the row.
    pub peak_mb: u64,
    /// Wall time over that of the floor beneath it: turmoil over bare turmoil, cores over one core.
    pub floor_ratio: Option<f64>,
    /// The row's load, per simulated second.
    pub load: Load,
    /// Runs that were measured.
    pub runs: u64,
    /// Runs that did not pass: their speed says little.
    pub failed: u64,
}

/// What happens in a simulated second.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Load {
    /// Steps of nodes and clients.
    pub events: f64,
    /// Requests that were sent.
    pub requests: f64,
    /// Records that were acknowledged.
    pub acked: f64,
}

/// A row to measure.
struct Course {
    row: &'static str,
    scenario: Arc<Scenario>,
    engine: EngineKind,
    cores: usize,
    runs: u64,
}

/// What one run took and gave.
#[derive(Clone, Copy)]
struct Lap {
    wall: Duration,
    simulated_ms: u64,
    events: u64,
    events_total: u64,
    requests: u64,
    acked: u64,
    passed: bool,
    burden: Burden,
}

/// Measures the rows of those names; all, if there are none. `each` gets a row when it is done.
///
/// # Errors
///
/// A scenario that cannot be read, or a row that does not exist.
pub fn bench(names: &[String], scale: u64, each: &mut dyn FnMut(&Row)) -> Result<(), String> {
    if let Some(name) = names.iter().find(|name| !ROWS.contains(&name.as_str())) {
        return Err(crate::nearest::unknown("row", name, ROWS));
    }
    let wanted = |row: &str| names.is_empty() || names.iter().any(|name| name == row);
    let full = Arc::new(Scenario::parse("full", "bench/full.toml", FULL)?);
    let kraft = Arc::new(Scenario::parse("kraft", "bench/kraft.toml", KRAFT)?);
    let leader_kill = Arc::new(Scenario::find("leader-kill")?);
    let course = |row, scenario: &Arc<Scenario>, engine, cores, runs: u64| Course {
        row,
        scenario: scenario.clone(),
        engine,
        cores,
        runs: runs * scale,
    };
    let event = EngineKind::Event;
    if wanted("full") {
        each(&course("full", &full, event, 1, 40).measure()?);
    }
    if wanted("kraft") {
        each(&course("kraft", &kraft, event, 1, 200).measure()?);
    }
    if wanted("leader-kill") {
        each(&course("leader-kill", &leader_kill, event, 1, 200).measure()?);
    }
    if wanted("turmoil") || wanted("turmoil-bare") {
        for row in on_turmoil(&course("turmoil", &leader_kill, EngineKind::Turmoil, 1, 6))? {
            each(&row);
        }
    }
    if wanted("cores") {
        each(&course("cores", &full, event, cores(), 40).beside_one_core()?);
    }
    Ok(())
}

/// How often `cores` compares one core with all.
const ROUNDS: usize = 7;

/// The rows, in order.
pub const ROWS: [&str; 8] = [
    "full",
    "kraft",
    "leader-kill",
    "turmoil",
    "turmoil-bare",
    "cores",
    "group",
    "assignor",
];

const FULL: &str = include_str!("../bench/full.toml");
const KRAFT: &str = include_str!("../bench/kraft.toml");

/// The row `turmoil`, and bare turmoil with the same hosts, ticks and messages beside it.
fn on_turmoil(course: &Course) -> Result<Vec<Row>, String> {
    reset_peak();
    let laps = course.run()?;
    let wall: Duration = laps.iter().map(|lap| lap.wall).sum();
    let mut ours = course.row(&laps, wall);
    reset_peak();
    let mut bare = Vec::new();
    for lap in &laps {
        let stopwatch = Stopwatch::start();
        bare::carry(lap.burden)?;
        bare.push(Lap {
            wall: stopwatch.elapsed(),
            events: 0,
            events_total: 0,
            acked: 0,
            ..*lap
        });
    }
    let floor: Duration = bare.iter().map(|lap| lap.wall).sum();
    ours.floor_ratio = Some(ratio(micros(wall), micros(floor)));
    let floor = Row {
        row: "turmoil-bare",
        engine: "bare",
        ..course.row(&bare, floor)
    };
    Ok(vec![ours, floor])
}

impl Course {
    fn measure(&self) -> Result<Row, String> {
        reset_peak();
        let stopwatch = Stopwatch::start();
        let laps = self.run()?;
        Ok(self.row(&laps, stopwatch.elapsed()))
    }

    /// The same runs on one core and on all, in turn. Whatever disturbs a round makes it slower, so the
    /// ratio is that of the fastest of either.
    fn beside_one_core(&self) -> Result<Row, String> {
        let alone = Course {
            row: self.row,
            scenario: self.scenario.clone(),
            cores: 1,
            ..*self
        };
        let timed = |course: &Course| {
            let stopwatch = Stopwatch::start();
            let laps = course.run()?;
            Ok::<_, String>((laps, stopwatch.elapsed()))
        };
        reset_peak();
        let (mut laps, mut wall) = (Vec::new(), Duration::ZERO);
        let (mut fastest_one, mut fastest) = (Duration::MAX, Duration::MAX);
        for round in 0..ROUNDS {
            // Whatever comes first in one round comes last in the next.
            let before = (round % 2 == 0).then(|| timed(&alone)).transpose()?;
            let (own, all) = timed(self)?;
            let one = match before {
                Some(one) => one.1,
                None => timed(&alone)?.1,
            };
            fastest_one = fastest_one.min(one);
            fastest = fastest.min(all);
            laps.extend(own);
            wall += all;
        }
        Ok(Row {
            floor_ratio: Some(ratio(micros(fastest_one), micros(fastest))),
            ..self.row(&laps, wall)
        })
    }

    fn run(&self) -> Result<Vec<Lap>, String> {
        let cases: Vec<Case> = (1..=self.runs)
            .map(|seed| Case {
                scenario: self.scenario.clone(),
                seed: Seed(seed),
                engine: self.engine,
                bug: None,
            })
            .collect();
        let never = AtomicBool::new(false);
        let limits = Limits {
            jobs: self.cores,
            keep_going: true,
            until: None,
            interrupted: &never,
        };
        let mut laps = Vec::new();
        in_order(&cases, limits, &lap, &|_| false, &mut |lap| laps.push(lap))?;
        Ok(laps)
    }

    fn row(&self, laps: &[Lap], wall: Duration) -> Row {
        let sum = |of: fn(&Lap) -> u64| laps.iter().map(of).sum::<u64>();
        let runs = u64::try_from(laps.len()).expect("few runs");
        let simulated_ms = sum(|lap| lap.simulated_ms);
        let per_simulated_s = |count: u64| ratio(count * 1_000, simulated_ms);
        let wall_us = u64::try_from(wall.as_micros())
            .expect("a bench ends")
            .max(1);
        Row {
            row: self.row,
            engine: self.engine.name(),
            cores: self.cores,
            events_per_second: per_second(sum(|lap| lap.events_total), wall_us),
            simulated_s_per_wall_s: median_speed(laps),
            runs_per_minute: per_second(runs * 60, wall_us),
            peak_mb: peak_mb(),
            floor_ratio: None,
            load: Load {
                events: per_simulated_s(sum(|lap| lap.events)),
                requests: per_simulated_s(sum(|lap| lap.requests)),
                acked: per_simulated_s(sum(|lap| lap.acked)),
            },
            runs,
            failed: sum(|lap| u64::from(!lap.passed)),
        }
    }
}

fn lap(case: &Case) -> Result<Lap, String> {
    let plan = case.plan();
    let stopwatch = Stopwatch::start();
    let carried = carry_out(&plan, judged(case.engine), RUN)?;
    let wall = stopwatch.elapsed();
    let total_ms = carried.end.as_ref().map_or(0, |end| end.total_ms);
    let counts = carried.end.map(|end| end.counts).unwrap_or_default();
    let hosts = plan.nodes.len() + plan.clients.len() + HARNESS_CLIENTS;
    Ok(Lap {
        wall,
        simulated_ms: carried.verdict.simulated_ms,
        events: counts.events,
        events_total: counts.events_total,
        requests: counts.requests,
        acked: counts.acked,
        passed: carried.verdict.passed(),
        burden: Burden {
            seed: plan.seed,
            hosts: u16::try_from(hosts).expect("few processes"),
            tick_ms: plan.run.tick_ms,
            latency_us: plan.run.latency_us,
            simulated_ms: total_ms,
            messages: counts.messages,
            message_bytes: counts.message_bytes,
        },
    })
}

/// The admin client; the final readers come when the run is over.
const HARNESS_CLIENTS: usize = 1;

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("a bench ends")
}

fn median_speed(laps: &[Lap]) -> f64 {
    let speed = |lap: &Lap| ratio(lap.simulated_ms * 1_000, micros(lap.wall));
    median(laps.iter().map(speed).collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

fn per_second(count: u64, wall_us: u64) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / u128::from(wall_us)).expect("not that fast")
}

/// To two places.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people; counts stay below 2^52"
)]
fn ratio(count: u64, of: u64) -> f64 {
    (count as f64 / of.max(1) as f64 * 100.0).round() / 100.0
}

/// Forgets the most memory the process ever had, where the kernel allows it.
fn reset_peak() {
    // Without it the peak is that of all rows so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory the process had, in MB; 0 where the kernel does not say.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_can_be_read() {
        for (name, text) in [("full", FULL), ("kraft", KRAFT)] {
            let read = Scenario::parse(name, "bench", text);
            assert!(read.is_ok(), "{}", read.err().unwrap_or_default());
        }
    }
}
