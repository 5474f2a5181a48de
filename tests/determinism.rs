//! A run is a function of its plan: what changes the digest, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sim::case::{Case, RUN, Runner, carry_out, judged};
use sim::engine::EngineKind;
use sim::plan::{Plan, Script};
use sim::run::{Options, run};
use sim::scenario::Scenario;
use sim::seed::Seed;
use sim::sweep::{Limits, judge_case, sweep};
use sim::verdict::{Kind, exit};

const ENGINES: [EngineKind; 2] = [EngineKind::Event, EngineKind::Turmoil];

fn case(scenario: &str, seed: u64, engine: EngineKind) -> Case {
    let scenario = Scenario::find(scenario).expect("it is in scenarios/");
    Case {
        scenario: Arc::new(scenario),
        seed: Seed(seed),
        engine,
        bug: None,
    }
}

fn digest_of(plan: &Plan, options: Options) -> String {
    let end = run(plan, options).expect("its properties go together");
    end.digest.to_string()
}

fn digest(plan: &Plan) -> String {
    digest_of(plan, judged(EngineKind::Event))
}

#[test]
fn the_same_plan_gives_the_same_digest() {
    for engine in ENGINES {
        for scenario in ["smoke", "leader-kill"] {
            let plan = case(scenario, 7, engine).plan();
            let options = judged(engine);
            assert_eq!(
                digest_of(&plan, options),
                digest_of(&plan, options),
                "{scenario} on {}",
                engine.name()
            );
        }
    }
}

#[test]
fn checks_and_trace_do_not_change_the_digest() {
    for engine in ENGINES {
        let plan = case("smoke", 9, engine).plan();
        let mut digests = Vec::new();
        for (judge, trace) in [(true, false), (false, false), (true, true)] {
            let options = Options {
                engine,
                judge,
                trace,
            };
            digests.push(digest_of(&plan, options));
        }
        digests.dedup();
        assert_eq!(digests.len(), 1, "{digests:?} on {}", engine.name());
    }
}

#[test]
fn the_smallest_change_of_a_plan_changes_the_digest() {
    let plan = case("leader-kill", 3, EngineKind::Event).plan();
    let mut changed = vec![plan.clone()];
    let mut change = |act: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        act(&mut plan);
        changed.push(plan);
    };
    change(&|plan| first_send(plan, &|sends| sends[0].at_us += 1));
    change(&|plan| first_send(plan, &|sends| sends[0].bytes += 1));
    change(&|plan| first_send(plan, &|sends| sends[0].key = Some(77)));
    change(&|plan| first_send(plan, &|sends| sends.truncate(1)));
    change(&|plan| plan.faults[0].at_ms += 1);
    change(&|plan| plan.run.latency_us.1 += 1);
    change(&|plan| {
        let lag = "replica.lag.time.max.ms".to_owned();
        plan.nodes[0].config.insert(lag, "1234".to_owned());
    });
    change(&|plan| plan.seed = Seed(4));
    let mut digests: Vec<String> = changed.iter().map(digest).collect();
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

fn first_send(plan: &mut Plan, act: &dyn Fn(&mut Vec<sim::plan::SendPlan>)) {
    for client in &mut plan.clients {
        if let Script::Produce { sends, .. } = &mut client.script {
            return act(sends);
        }
    }
    panic!("somebody produces");
}

/// Draws from a counter that no seed knows: every run gets another latency.
fn unseeded(
    plan: &Plan,
    options: Options,
) -> Result<sim::run::RunEnd, broker_model::config::PropertyError> {
    static DRAWS: AtomicU64 = AtomicU64::new(1);
    let mut plan = plan.clone();
    plan.run.latency_us.1 += DRAWS.fetch_add(1, Ordering::Relaxed);
    run(&plan, options)
}

#[test]
fn an_unseeded_draw_is_noticed() {
    let seed = sim::sweep::TWICE_EVERY + sim::sweep::TWICE_AT;
    let case = case("smoke", seed, EngineKind::Event);
    let verdict = judge_case(&case, &unseeded).expect("its properties go together");
    assert_eq!(verdict.kind, Kind::Nondeterministic, "{}", verdict.line());
    assert_eq!(verdict.kind.exit_code(), exit::NOT_DETERMINISTIC);
    let verdict = judge_case(&case, RUN).expect("its properties go together");
    assert_eq!(verdict.kind, Kind::Pass, "{}", verdict.line());
}

#[test]
fn a_judge_of_its_own_mind_is_noticed() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let forgetful: &Runner = &|plan, options| {
        let mut end = run(plan, options)?;
        if RUNS.fetch_add(1, Ordering::Relaxed) == 1 {
            let check = *end.judgement.exercised.keys().next().expect("a check");
            end.judgement.exercised.remove(check);
        }
        Ok(end)
    };
    let seed = sim::sweep::TWICE_EVERY + sim::sweep::TWICE_AT;
    let case = case("smoke", seed, EngineKind::Event);
    let verdict = judge_case(&case, forgetful).expect("its properties go together");
    assert_eq!(verdict.kind, Kind::Nondeterministic, "{}", verdict.line());
    let told = verdict.detail.expect("what differs");
    assert!(told.contains("\n  first   exercised "), "{told}");
    assert!(told.ends_with("\n  second  exercised "), "{told}");
}

#[test]
fn a_panic_is_a_verdict_with_its_text() {
    let panics: &Runner = &|_, _| panic!("the log end went back");
    let plan = case("smoke", 1, EngineKind::Event).plan();
    let carried = carry_out(&plan, judged(EngineKind::Event), panics).expect("a verdict");
    assert_eq!(carried.verdict.kind.exit_code(), exit::PANIC);
    assert_eq!(carried.verdict.headline(), "the log end went back");
}

#[test]
fn threads_and_company_do_not_change_a_run() {
    let alone: Vec<String> = (1..=6)
        .map(|seed| digest(&case("smoke", seed, EngineKind::Event).plan()))
        .collect();
    for jobs in [1, 2, 5] {
        let cases: Vec<Case> = (1..=6)
            .map(|seed| case("smoke", seed, EngineKind::Event))
            .collect();
        let never = AtomicBool::new(false);
        let limits = Limits {
            jobs,
            keep_going: true,
            until: None,
            interrupted: &never,
        };
        let mut together = Vec::new();
        sweep(&cases, limits, RUN, &mut |verdict| {
            together.push(verdict.digest)
        })
        .expect("it runs");
        let together: Vec<String> = together.into_iter().flatten().collect();
        assert_eq!(together, alone, "{jobs} jobs");
    }
}
