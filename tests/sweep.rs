//! Every scenario on both simulated engines, one test each: `cargo test leader-kill`.
//!
//! `SEEDS=200` turns it up.

use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use sim::case::{Case, RUN};
use sim::coverage::Coverage;
use sim::engine::EngineKind;
use sim::report;
use sim::scenario::Scenario;
use sim::seed::Seed;
use sim::sweep::judge_case;

/// Seeds of a scenario on the event engine.
const EVENT_SEEDS: u64 = 16;
/// Seeds of a scenario on turmoil, which is slower by far.
const TURMOIL_SEEDS: u64 = 2;

fn main() {
    let args = Arguments::from_args();
    let scenarios = Scenario::all().expect("every scenario can be read");
    let trials = scenarios.into_iter().map(Arc::new).flat_map(|scenario| {
        [EngineKind::Event, EngineKind::Turmoil].map(|engine| {
            let scenario = scenario.clone();
            let name = format!("{}::{}", scenario.name, engine.name());
            Trial::test(name, move || sweep(&scenario, engine))
        })
    });
    libtest_mimic::run(&args, trials.collect()).exit();
}

fn sweep(scenario: &Arc<Scenario>, engine: EngineKind) -> Result<(), Failed> {
    let mut coverage = Coverage::default();
    for seed in 1..=seeds(engine) {
        let case = Case {
            scenario: scenario.clone(),
            seed: Seed(seed),
            engine,
            bug: None,
        };
        let verdict = judge_case(&case, RUN)?;
        if !verdict.passed() {
            return Err(report::page(&case, &verdict, None, RUN)?.into());
        }
        coverage.add(&verdict);
    }
    match coverage.unproved(&[scenario]).as_slice() {
        [] => Ok(()),
        unproved => Err(unproved.join("\n").into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how many seeds are run is no part of any run"
)]
fn seeds(engine: EngineKind) -> u64 {
    let said = std::env::var("SEEDS").ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("SEEDS={text:?} is not a number"))
    });
    said.unwrap_or(match engine {
        EngineKind::Event => EVENT_SEEDS,
        EngineKind::Turmoil => TURMOIL_SEEDS,
    })
}
