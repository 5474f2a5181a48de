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
    at_most_once = "at-most-once",
    broker_fenced = "broker-fenced",
    broker_reregistered = "broker-reregistered",
    check_quorum_resigned = "check-quorum-resigned",
    commit_after_rebalance = "commit-after-rebalance",
    consumer_out_of_range = "consumer-out-of-range",
    consumer_truncation = "consumer-truncation",
    controlled_shutdown = "controlled-shutdown",
    coordinator_failover = "coordinator-failover",
    delayed_produce_demoted = "delayed-produce-demoted",
    duplicate_produce = "duplicate-produce",
    election = "election",
    group_classic = "group-classic",
    group_consumer_protocol = "group-consumer-protocol",
    group_cooperative = "group-cooperative",
    group_migration = "group-migration",
    isr_shrinks_and_expands = "isr-shrinks-and-expands",
    kafka_16147_partition_epoch_lost = "kafka-16147-partition-epoch-lost",
    kafka_5494_accept_gaps = "kafka-5494-accept-gaps",
    kafka_5494_no_rebuild = "kafka-5494-no-rebuild",
    kafka_5494_renumber_order = "kafka-5494-renumber-order",
    kafka_5494_window_one = "kafka-5494-window-one",
    kip_101_hw_truncation = "kip-101-hw-truncation",
    kip_279_unknown_epoch_lookup = "kip-279-unknown-epoch-lookup",
    kip_345_instance_not_fenced = "kip-345-instance-not-fenced",
    kip_345_replace_only_stable = "kip-345-replace-only-stable",
    kip_345_replacement_not_persisted = "kip-345-replacement-not-persisted",
    kip_429_assign_before_revoke = "kip-429-assign-before-revoke",
    kip_497_hw_ignores_pending_isr = "kip-497-hw-ignores-pending-isr",
    kraft_no_flush_before_fetch = "kraft-no-flush-before-fetch",
    late_request = "late-request",
    not_enough_replicas = "not-enough-replicas",
    offset_expiry = "offset-expiry",
    power_loss = "power-loss",
    pre_vote_refused = "pre-vote-refused",
    repeated_heartbeat = "repeated-heartbeat",
    raft_truncation = "raft-truncation",
    split_roles = "split-roles",
    split_vote = "split-vote",
    stale_leader_commits = "stale-leader-commits",
    static_member = "static-member",
    zombie_leader = "zombie-leader",
}

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
        assert!(0 < times, "the premise of {check} arises in no script");
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
        assert!(named.contains(bug.id()), "{}", bug.id());
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
