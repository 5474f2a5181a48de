//! Random schedules: proptest picks what is delivered, held, cut, killed and fired, the judge looks on, and
//! what fails is shrunk to a short script of the kind that `interaction/` keeps.
//!
//! Every run of these tests draws the same schedules.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sim::interaction::{Attempt, attempt, transcript};

/// Schedules that must break nothing.
const CASES: u32 = 64;
/// Schedules within which a bug must be found.
const BUDGET: u32 = 200;
/// Verbs of a schedule.
const VERBS: std::ops::Range<usize> = 5..30;
/// Schedules that shrinking may try.
const SHRINKS: u32 = 400;
/// What a shrunk script may have beside its declarations.
const SHORT: usize = 8;

/// What is held and lost.
const APIS: &[&str] = &[
    "Fetch",
    "AlterPartition",
    "Produce",
    "BrokerHeartbeat",
    "Vote",
];
/// What fires before its time.
const TIMERS: &[&str] = &[
    "election",
    "raft-fetch",
    "check-quorum",
    "heartbeat",
    "isr-expiration",
    "purgatory",
    "broker-sessions",
];

const CLUSTER: &str = "\
> nodes 3 replica.lag.time.max.ms=1000
> topic orders 1x3 min.insync.replicas=2
> producer p acks=all
> producer q acks=1 enable.idempotence=false
> consumer c orders
";

#[test]
fn random_schedules_break_nothing() {
    if let Some(found) = fuzz(CLUSTER, CASES) {
        panic!("{}", story(&found));
    }
}

#[test]
fn a_follower_that_cuts_its_log_at_the_high_watermark_is_found() {
    is_found("kip-101-hw-truncation");
}

#[test]
fn a_leader_that_ignores_a_pending_isr_is_found() {
    is_found("kip-497-hw-ignores-pending-isr");
}

/// The bug is found within the budget, by a script that is short, can be played, and passes without it.
fn is_found(bug: &str) {
    let found = fuzz(&format!("> bug {bug}\n{CLUSTER}"), BUDGET);
    let found = found.unwrap_or_else(|| panic!("{bug} is not found in {BUDGET} schedules"));
    let told = transcript(&found.script).expect("what could be carried out can be again");
    let check = |violation: Option<_>| violation.map(|it: sim::check::Violation| it.check);
    assert_eq!(check(told.violation), check(found.violation.clone()));
    let drawn = found.script.lines().count() - CLUSTER.lines().count() - 1;
    assert!(drawn <= SHORT, "{drawn} verbs:\n{}", story(&found));
    let clean = found
        .script
        .lines()
        .filter(|line| !line.starts_with("> bug"));
    let clean = clean.collect::<Vec<_>>().join("\n");
    let clean = attempt(&clean).expect("it was played already");
    assert_eq!(clean.violation, None, "{}", story(&clean));
}

/// Plays so many random schedules after these lines; the shortest that fails, if any does.
fn fuzz(first: &str, cases: u32) -> Option<Attempt> {
    let config = Config {
        cases,
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let play = |verbs: &[String]| {
        let script = format!("{first}{}", verbs.concat());
        attempt(&script).unwrap_or_else(|error| panic!("{error}\n{script}"))
    };
    let ended = runner.run(&vec(verb(), VERBS), |verbs| match play(&verbs).violation {
        None => Ok(()),
        Some(violation) => Err(TestCaseError::fail(violation.check)),
    });
    match ended {
        Ok(()) => None,
        Err(TestError::Fail(_, verbs)) => Some(play(&verbs)),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// The transcript, ready to be kept in `interaction/`.
fn story(found: &Attempt) -> String {
    let told = transcript(&found.script).map(|told| told.page);
    let told = told.unwrap_or_else(|error| error.to_string());
    format!("the script:\n{}\nwhat happens:\n{told}", found.script)
}

/// A line of a script. Some cannot be carried out where they stand, and are passed over.
fn verb() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => client(),
        6 => time(),
        4 => moved(),
        3 => process(),
        3 => network(),
        3 => rpc(),
        3 => timer(),
    ]
    .prop_map(|line| format!("> {line}\n"))
}

fn client() -> impl Strategy<Value = String> {
    let send = |client, count| format!("send {client} orders-0 {count}");
    prop_oneof![
        4 => (1..4).prop_map(move |count| send("p", count)),
        1 => (1..4).prop_map(move |count| send("q", count)),
        1 => Just("poll c".to_owned()),
    ]
}

fn time() -> impl Strategy<Value = String> {
    select(&["1ms", "5ms", "20ms", "100ms", "500ms", "2s", "6s"]).prop_map(|it| format!("run {it}"))
}

fn moved() -> impl Strategy<Value = String> {
    node().prop_map(|to| format!("move orders-0 to {to}"))
}

fn process() -> impl Strategy<Value = String> {
    let what = select(&["start", "kill", "power-off", "pause", "resume"]);
    (what, node()).prop_map(|(what, who)| format!("{what} {who}"))
}

fn network() -> impl Strategy<Value = String> {
    let arrow = select(&["->", "<->"]);
    prop_oneof![
        (node(), arrow, node()).prop_map(|(from, arrow, to)| format!("cut {from} {arrow} {to}")),
        node().prop_map(|who| format!("isolate {who}")),
        Just("heal".to_owned()),
    ]
}

fn rpc() -> impl Strategy<Value = String> {
    let side = |requests| if requests { "requests" } else { "responses" };
    let rule = (
        select(&["hold", "drop"]),
        node(),
        select(APIS),
        any::<bool>(),
    );
    prop_oneof![
        2 => rule.prop_map(move |(rule, who, api, requests)| {
            format!("{rule} {who} {api} {}", side(requests))
        }),
        1 => Just("release".to_owned()),
    ]
}

fn timer() -> impl Strategy<Value = String> {
    let metadata = select(&["withhold", "fire", "grant"]);
    prop_oneof![
        (node(), select(TIMERS)).prop_map(|(who, timer)| format!("fire {who} {timer}")),
        (metadata, node()).prop_map(|(verb, who)| format!("{verb} {who} apply-metadata")),
    ]
}

fn node() -> impl Strategy<Value = &'static str> {
    select(&["n1", "n2", "n3"])
}
