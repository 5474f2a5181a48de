//! An exported history, judged as `sim check` does, is found to be what its run was found to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_model::bug::Bug;
use sim::case::{Case, judged};
use sim::check::{Judgement, black_box, is_whole};
use sim::engine::EngineKind;
use sim::history::{Line, read_jsonl, write_jsonl};
use sim::run::{RunEnd, run};
use sim::scenario::Scenario;
use sim::seed::Seed;

/// How many, of each scenario.
const SEEDS: u64 = 3;

#[test]
fn a_history_of_a_run_that_passes_is_judged_as_the_run() {
    for scenario in ["leader-kill", "group-cooperative", "group-static"] {
        for seed in 1..=SEEDS {
            let (found, whole) = agree(scenario, seed, None);
            assert!(whole && found.is_empty(), "{scenario} {seed}: {found:?}");
        }
    }
}

#[test]
fn a_history_of_a_run_that_goes_on_after_what_it_expects_is_judged_as_the_run() {
    for (scenario, check) in [
        ("acks-one", "acked-is-durable/"),
        ("slow-batch", "effect-once/"),
        ("offset-expiry", "effect-once/"),
    ] {
        let seeds = (1..=SEEDS).map(|seed| agree(scenario, seed, None));
        let (found, whole): (Vec<_>, Vec<_>) = seeds.unzip();
        let has_found = found.iter().flatten().any(|it| it.starts_with(check));
        assert!(has_found, "{scenario}: {found:?}");
        assert!(!whole.contains(&false), "{scenario}");
    }
}

#[test]
fn a_history_of_a_run_with_a_bug_is_judged_as_the_run() {
    for (bug, scenario, check) in [
        (
            Bug::Kip429AssignBeforeRevoke,
            "group-cooperative",
            Some("one-owner/"),
        ),
        (
            Bug::Kafka5494RenumberOrder,
            "oversized-records",
            Some("in-order/"),
        ),
        // Of these two no client sees anything before the run ends.
        (Bug::Kip101HwTruncation, "leader-kill", None),
        (Bug::Kafka5494NoRebuild, "leader-kill", None),
    ] {
        let seeds = (1..=SEEDS).map(|seed| agree(scenario, seed, Some(bug)));
        let (found, whole): (Vec<_>, Vec<_>) = seeds.unzip();
        match check {
            Some(check) => {
                let has_found = found.iter().flatten().any(|it| it.starts_with(check));
                assert!(has_found, "{bug:?}: {found:?}");
            }
            None => assert!(!whole.contains(&true), "{bug:?} did not end its run"),
        }
    }
}

#[test]
fn a_history_that_ends_early_is_not_judged_as_if_it_were_whole() {
    let lines = exported(&ended("leader-kill", 1, None));
    assert!(is_whole(&lines));
    // It looks at the whole run only.
    let of_the_whole = "acked-is-durable/DUR-1b";
    let cut = &lines[..lines.len() / 2];
    assert!(!is_whole(cut));
    let judgement = black_box(cut);
    assert_eq!(judgement.violations, []);
    assert_eq!(judgement.exercised[of_the_whole], 0);
    // Claims to be whole, and nobody has read it to its end.
    let done = lines.last().expect("there are lines").clone();
    let judgement = black_box(&[cut, &[done]].concat());
    assert_ne!(judgement.exercised[of_the_whole], 0);
    assert_ne!(judgement.violations, []);
}

/// Judges a run's history again: which checks of histories find something, the same in both, and whether it
/// goes to its end.
fn agree(scenario: &str, seed: u64, bug: Option<Bug>) -> (BTreeSet<&'static str>, bool) {
    let end = ended(scenario, seed, bug);
    let lines = exported(&end);
    let again = black_box(&lines);
    let found = names(&again, &again);
    let what = format!("{scenario}, seed {seed}, {bug:?}");
    assert_eq!(found, names(&end.judgement, &again), "{what}");
    (found, is_whole(&lines))
}

fn ended(scenario: &str, seed: u64, bug: Option<Bug>) -> RunEnd {
    let scenario = Scenario::find(scenario).expect("it is in scenarios/");
    let case = Case {
        scenario: Arc::new(scenario),
        seed: Seed(seed),
        engine: EngineKind::Event,
        bug,
    };
    run(&case.plan(), judged(EngineKind::Event)).expect("its properties go together")
}

/// The history as it is after an export.
fn exported(end: &RunEnd) -> Vec<Line> {
    let mut file = Vec::new();
    write_jsonl(&mut file, &end.lines).expect("a vector takes everything");
    read_jsonl(file.as_slice()).expect("it was just written")
}

/// Which checks of histories found something.
fn names(judgement: &Judgement, of_history: &Judgement) -> BTreeSet<&'static str> {
    let names = judgement.violations.iter().map(|violation| violation.check);
    let judges_histories = |name: &&str| of_history.exercised.contains_key(name);
    names.filter(judges_histories).collect()
}
