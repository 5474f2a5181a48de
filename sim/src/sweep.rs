//! Many runs on many threads, with results in an order that threads cannot change.
//!
//! Workers take the next case in order, so everything before a failure has been started when the
//! failure is found. Results are handed on in the order of the cases. Without `keep_going` nothing
//! after the first failure, in that order, counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use broker_model::bug::Bug;

use crate::case::{Case, Runner, carry_out, judged};
use crate::engine::EngineKind;
use crate::run::Options;
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::verdict::Verdict;
use crate::wall::Stopwatch;

/// Which runs a sweep is made of.
#[derive(Clone, Debug)]
pub struct Itinerary {
    /// Of what, in order.
    pub scenarios: Vec<Arc<Scenario>>,
    /// The one engine, or by seed: every seed on `event`, some also on `turmoil`.
    pub engine: Option<EngineKind>,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
    /// Which share of all cases, of how many shares; counted from 0.
    pub shard: (usize, usize),
}

/// A seed that this divides also runs on turmoil.
pub const TURMOIL_EVERY: u64 = 16;
/// A seed that leaves [`TWICE_AT`] over this runs twice.
pub const TWICE_EVERY: u64 = 20;
/// See [`TWICE_EVERY`].
pub const TWICE_AT: u64 = 1;

impl Itinerary {
    /// The cases of those seeds, by scenario, seed and engine.
    #[must_use]
    pub fn cases(&self, first: u64, last: u64) -> Vec<Case> {
        let mut cases = Vec::new();
        for scenario in &self.scenarios {
            for seed in first..=last {
                for engine in self.engines(seed) {
                    cases.push(Case {
                        scenario: scenario.clone(),
                        seed: Seed(seed),
                        engine,
                        bug: self.bug,
                    });
                }
            }
        }
        let (share, shares) = self.shard;
        let mut index = 0;
        cases.retain(|_| {
            index += 1;
            (index - 1) % shares == share
        });
        cases
    }

    fn engines(&self, seed: u64) -> Vec<EngineKind> {
        match self.engine {
            Some(engine) => vec![engine],
            None if seed.is_multiple_of(TURMOIL_EVERY) => {
                vec![EngineKind::Event, EngineKind::Turmoil]
            }
            None => vec![EngineKind::Event],
        }
    }
}

/// How many at once, and when to stop.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Threads.
    pub jobs: usize,
    /// Whether to go on after a failure.
    pub keep_going: bool,
    /// No case is begun after that much wall time.
    pub until: Option<(Stopwatch, Duration)>,
    /// Set by Ctrl-C.
    pub interrupted: &'a AtomicBool,
}

impl Limits<'_> {
    fn over(&self) -> bool {
        let late = |(stopwatch, span): (Stopwatch, Duration)| stopwatch.elapsed() >= span;
        self.interrupted.load(Ordering::Relaxed) || self.until.is_some_and(late)
    }
}

/// Runs the cases. `each` gets every verdict that counts, in the order of the cases, as soon as that
/// is possible. True if all cases were run, or all up to a failure that ended it.
///
/// # Errors
///
/// The first case in order whose properties do not go together.
pub fn sweep(
    cases: &[Case],
    limits: Limits<'_>,
    runner: &Runner,
    each: &mut dyn FnMut(Verdict),
) -> Result<bool, String> {
    let work = |case: &Case| judge_case(case, runner);
    let fails = |verdict: &Verdict| !limits.keep_going && !verdict.passed();
    in_order(cases, limits, &work, &fails, each)
}

/// Judges a case; some seeds run twice, and both must be the same.
///
/// # Errors
///
/// Properties that do not go together.
pub fn judge_case(case: &Case, runner: &Runner) -> Result<Verdict, String> {
    if case.seed.0 % TWICE_EVERY == TWICE_AT {
        twice(case, judged(case.engine), runner)
    } else {
        case.judge(runner)
    }
}

/// Runs a case twice and compares.
///
/// # Errors
///
/// Properties that do not go together.
pub fn twice(case: &Case, options: Options, runner: &Runner) -> Result<Verdict, String> {
    let plan = case.plan();
    let first = carry_out(&plan, options, runner)?;
    let second = carry_out(&plan, options, runner)?;
    let mut verdict = first.verdict;
    if verdict.digest != second.verdict.digest {
        let marks = |end: Option<&crate::run::RunEnd>| end.map(|end| end.marks.clone());
        let one = marks(first.end.as_ref()).unwrap_or_default();
        let other = marks(second.end.as_ref()).unwrap_or_default();
        let agreed = one.iter().zip(&other).take_while(|(a, b)| a == b).last();
        let upto = agreed.map_or(0, |(mark, _)| mark.0);
        verdict.differs(format!(
            "two runs of one seed differ after step {upto}\n  first   {}\n  second  {}",
            verdict.digest.as_deref().unwrap_or("panicked"),
            second.verdict.digest.as_deref().unwrap_or("panicked"),
        ));
    } else if let Some(how) = verdict.unlike(&second.verdict) {
        verdict.differs(how);
    }
    Ok(verdict)
}

/// Does `work` on every item, on many threads, and hands the results on in order. A result that
/// `ends` it is the last one handed on.
///
/// # Errors
///
/// The first error in order.
pub fn in_order<I: Sync, R: Send>(
    items: &[I],
    limits: Limits<'_>,
    work: &(dyn Fn(&I) -> Result<R, String> + Sync),
    ends: &(dyn Fn(&R) -> bool + Sync),
    each: &mut dyn FnMut(R),
) -> Result<bool, String> {
    let next = AtomicUsize::new(0);
    let last = AtomicUsize::new(usize::MAX);
    let (to, from) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..limits.jobs.max(1) {
            let (to, next, last) = (to.clone(), &next, &last);
            scope.spawn(move || {
                while !limits.over() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= items.len() || index > last.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = work(&items[index]);
                    if result.as_ref().map_or(true, ends) {
                        last.fetch_min(index, Ordering::Relaxed);
                    }
                    if to.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(to);
        collect(items.len(), &from, ends, each)
    })
}

/// Puts results back in order. True if the last one or one that ends it was handed on.
fn collect<R>(
    count: usize,
    from: &mpsc::Receiver<(usize, Result<R, String>)>,
    ends: &dyn Fn(&R) -> bool,
    each: &mut dyn FnMut(R),
) -> Result<bool, String> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (index, result) in from {
        early.insert(index, result);
        while let Some(result) = early.remove(&next) {
            next += 1;
            let result = result?;
            let end = ends(&result);
            each(result);
            if end {
                return Ok(true);
            }
        }
    }
    // Interrupted: what was finished out of order counts too.
    for (_, result) in early {
        each(result?);
    }
    Ok(next == count)
}

/// Threads that the machine runs at once.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(interrupted: &AtomicBool) -> Limits<'_> {
        Limits {
            jobs: 4,
            keep_going: false,
            until: None,
            interrupted,
        }
    }

    #[test]
    fn results_come_in_order_up_to_the_first_that_ends_it() {
        let items: Vec<u32> = (0..200).collect();
        let interrupted = AtomicBool::new(false);
        for _ in 0..20 {
            let mut seen = Vec::new();
            let whole = in_order(
                &items,
                limits(&interrupted),
                &|item| Ok(*item),
                &|result| *result % 50 == 49,
                &mut |result| seen.push(result),
            );
            assert_eq!(whole, Ok(true));
            assert_eq!(seen, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_interrupted_sweep_says_so() {
        let items: Vec<u32> = (0..200).collect();
        let interrupted = AtomicBool::new(true);
        let whole = in_order(
            &items,
            limits(&interrupted),
            &|item| Ok(*item),
            &|_| false,
            &mut |_| {},
        );
        assert_eq!(whole, Ok(false));
    }

    #[test]
    fn shards_share_the_cases_out() {
        let text = "title = 't'\nwhy = []\n[[node]]\ncount = 1\n[[topic]]\nname = 'o'\n\
                    partitions = 1\nreplication-factor = 1\n";
        let scenario = Scenario::parse("t", "t.toml", text).expect("it is fine");
        let mut itinerary = Itinerary {
            scenarios: vec![Arc::new(scenario)],
            engine: None,
            bug: None,
            shard: (0, 1),
        };
        let all = itinerary.cases(1, 32).len();
        assert_eq!(all, 34, "seeds 16 and 32 also run on turmoil");
        let shards = (0..3).map(|share| {
            itinerary.shard = (share, 3);
            itinerary.cases(1, 32).len()
        });
        assert_eq!(shards.sum::<usize>(), all);
    }
}
