//! Explicit schedules as transcripts: one script, one test, one snapshot that tells the story.
//!
//! The scripts are in `interaction/`, the transcripts in `snapshots/`. A script that switches a
//! historic bug on (`> bug ID`) must end with a violation, and the same script without the bug must
//! not: both transcripts are kept. What a script may say is in [`sim::interaction`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use broker_model::bug::Bug;
use broker_model::probe::Probe;
use kafka_sim_tests::NOT_REACHED;
use sim::interaction::{Transcript, transcript};

/// Names every script, and makes a test of each.
macro_rules! scripts {
    ($($test:ident = $name:literal,)*) => {
        const SCRIPTS: &[&str] = &[$($name,)*];

        $(
            #[test]
            fn $test() {
                tell($name);
            }
        )*
    };
}

scripts! {
    broker_fenced = "broker-fenced",
    broker_reregistered = "broker-reregistered",
    check_quorum_resigned = "check-quorum-resigned",
    consumer_out_of_range = "consumer-out-of-range",
    consumer_truncation = "consumer-truncation",
    controlled_shutdown = "controlled-shutdown",
    delayed_produce_demoted = "delayed-produce-demoted",
    duplicate_produce = "duplicate-produce",
    election = "election",
    isr_shrinks_and_expands = "isr-shrinks-and-expands",
    kafka_5494_accept_gaps = "kafka-5494-accept-gaps",
    kafka_5494_no_rebuild = "kafka-5494-no-rebuild",
    kafka_5494_renumber_order = "kafka-5494-renumber-order",
    kafka_5494_window_one = "kafka-5494-window-one",
    kip_101_hw_truncation = "kip-101-hw-truncation",
    kip_279_unknown_epoch_lookup = "kip-279-unknown-epoch-lookup",
    kip_497_hw_ignores_pending_isr = "kip-497-hw-ignores-pending-isr",
    kraft_no_flush_before_fetch = "kraft-no-flush-before-fetch",
    late_request = "late-request",
    not_enough_replicas = "not-enough-replicas",
    power_loss = "power-loss",
    pre_vote_refused = "pre-vote-refused",
    raft_truncation = "raft-truncation",
    split_roles = "split-roles",
    split_vote = "split-vote",
    stale_leader_commits = "stale-leader-commits",
    zombie_leader = "zombie-leader",
}

/// Checks whose premise arises in no script, with the reason.
const NOT_EXERCISED: &[(&str, &str)] = &[
    ("at-least-once/GRP-7", NO_MEMBERS),
    ("commit-coverage/GRP-6", NO_MEMBERS),
    ("commit-fence/GC-7", NO_MEMBERS),
    ("committed-offset-register/GRP-4", NO_MEMBERS),
    ("committed-offset-safe/GRP-5", NO_MEMBERS),
    ("double-assignment/GC-6", NO_MEMBERS),
    ("effect-complete/O14a", NO_MEMBERS),
    ("effect-once/O14b", NO_MEMBERS),
    ("epoch-monotonic/GRP-8", NO_MEMBERS),
    ("legal-reset/CON-5", NO_MEMBERS),
    ("legal-transitions/GC-1", NO_MEMBERS),
    ("member-epoch/GC-4", NO_MEMBERS),
    ("member-timers/GC-12", NO_MEMBERS),
    ("no-zombie-commit/GRP-3", NO_MEMBERS),
    ("offset-expiry/GC-10", NO_MEMBERS),
    ("one-coordinator/GC-9", NO_MEMBERS),
    ("one-instance/GRP-11", NO_MEMBERS),
    ("one-owner/GRP-1", NO_MEMBERS),
    ("one-owner/GRP-2", NO_MEMBERS),
    ("owned-poll/CON-4", NO_MEMBERS),
    ("partition-epoch/GC-3", NO_MEMBERS),
    ("protocol-migration/GC-13", NO_MEMBERS),
    ("sane-commit/GRP-10", NO_MEMBERS),
    ("stable-group/GC-5", NO_MEMBERS),
    ("state-fold/GC-8", NO_MEMBERS),
    ("static-member/GC-11", NO_MEMBERS),
    ("target-assignment/GC-2", NO_MEMBERS),
    ("no-stuck-fencing/LIV-9", NO_MEMBERS),
    ("groups-settle/LIV-6", NO_MEMBERS),
];

/// Why a check or a bug of consumer groups is in no script.
const NO_MEMBERS: &str = "scripts have no members of groups yet";

/// Bugs that no script switches on, with the reason. The tests of broker-model do: rule by rule beside the code,
/// and in whole clusters in `tests/cluster/members.rs`.
const NO_SCRIPT: &[(Bug, &str)] = &[
    (Bug::Kip429AssignBeforeRevoke, NO_MEMBERS),
    (Bug::Kip345InstanceNotFenced, NO_MEMBERS),
    (Bug::Kip345ReplaceOnlyStable, NO_MEMBERS),
    (Bug::Kip345ReplacementNotPersisted, NO_MEMBERS),
    (Bug::Kafka16147PartitionEpochLost, NO_MEMBERS),
];

#[test]
fn every_rare_state_and_every_check_has_its_transcript() {
    let mut reached = BTreeSet::new();
    let mut exercised = BTreeMap::new();
    for name in SCRIPTS {
        let script = script(name);
        let clean = play(name, without_bug(&script).as_deref().unwrap_or(&script));
        reached.extend(clean.reached);
        for (check, times) in clean.exercised {
            *exercised.entry(check).or_insert(0) += times;
        }
    }
    for probe in Probe::ALL {
        let is_listed = NOT_REACHED.iter().any(|(listed, _)| listed == probe);
        assert_ne!(reached.contains(probe), is_listed, "{}", probe.id());
    }
    for (check, times) in exercised {
        let is_listed = NOT_EXERCISED.iter().any(|(listed, _)| *listed == check);
        assert_ne!(0 < times, is_listed, "{check}");
    }
}

#[test]
fn every_script_is_named_and_every_bug_has_one() {
    let files = fs::read_dir(folder()).expect("the scripts are beside this file");
    let files = files.map(|file| file.expect("the folder can be read").path());
    let stem = |path: &Path| path.file_stem()?.to_str().map(str::to_owned);
    let files: BTreeSet<String> = files.filter_map(|path| stem(&path)).collect();
    let named: BTreeSet<String> = SCRIPTS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, named);
    for bug in Bug::ALL {
        let is_listed = NO_SCRIPT.iter().any(|(listed, _)| *listed == bug);
        assert_ne!(named.contains(bug.id()), is_listed, "{}", bug.id());
    }
}

/// Plays a script and compares its transcript; twice, if it switches a bug on.
fn tell(name: &str) {
    let script = script(name);
    let told = play(name, &script);
    let Some(clean) = without_bug(&script) else {
        compare(name, &told);
        return assert_clean(name, &told);
    };
    let clean = play(name, &clean);
    compare(name, &told);
    compare(&format!("{name}.fixed"), &clean);
    assert!(told.violation.is_some(), "the judge does not see {name}");
    assert_clean(name, &clean);
}

fn assert_clean(name: &str, told: &Transcript) {
    if let Some(violation) = &told.violation {
        panic!("{name}: {}: {}", violation.check, violation.detail);
    }
}

/// The script without its bug and without what is expected of it, if it switches one on.
fn without_bug(script: &str) -> Option<String> {
    let of_bug = |line: &&str| line.starts_with("> bug ") || line.starts_with("> expect ");
    script.lines().any(|line| of_bug(&line)).then(|| {
        let rest: Vec<&str> = script.lines().filter(|line| !of_bug(line)).collect();
        rest.join("\n") + "\n"
    })
}

fn play(name: &str, script: &str) -> Transcript {
    match transcript(script) {
        Ok(told) => told,
        Err(error) => panic!("{name}.txt: {error}"),
    }
}

fn script(name: &str) -> String {
    let path = folder().join(name).with_extension("txt");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/interaction"))
}

fn compare(name: &str, told: &Transcript) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, told.page));
}
