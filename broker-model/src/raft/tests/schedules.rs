//! Random schedules: crashes that lose what was not flushed, cuts, appends, orderly stops. The judge
//! watches every effect; in the end everything heals, and all logs must agree and hold every value
//! that was ever handed out as committed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Rng;
use super::cluster::Cluster;
use crate::bug::Bug;
use crate::probe::Probe;
use crate::types::NodeId;

/// Runs one schedule and returns the cluster in its healed state.
fn schedule(seed: u64, bug: Option<Bug>) -> Cluster {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let voters = if rng.one_in(8) { 5 } else { 3 };
    let mut cluster = Cluster::new(seed, voters, 1, bug);
    cluster.latency_max_ms = [2, 20, 200][usize::try_from(rng.range(0, 2)).expect("small")];
    cluster.flush_max_ms = [2, 30, 300][usize::try_from(rng.range(0, 2)).expect("small")];
    cluster.start_all();
    let mut value = 0;
    for _ in 0..rng.range(20, 60) {
        let node = NodeId(i32::try_from(rng.range(1, 4)).expect("small"));
        let other = NodeId(i32::try_from(rng.range(1, 3)).expect("small"));
        match rng.range(0, 19) {
            0..=2 => cluster.crash(node, rng.one_in(2)),
            3 => {
                for id in 1..=voters {
                    cluster.crash(NodeId(id), true);
                }
            }
            4..=7 => cluster.start(node),
            8 => cluster.start_all(),
            9 => cluster.cut(node, other),
            10 => cluster.isolate(other),
            11 | 12 => cluster.heal(),
            13 => {
                cluster.shutdown(other);
                cluster.run(rng.range(0, 300));
                cluster.crash(other, false);
            }
            _ => {
                let active = cluster.active().unwrap_or(other);
                for _ in 0..rng.range(1, 4) {
                    value += 1;
                    cluster.append(active, value);
                }
            }
        }
        let most_ms = if rng.one_in(3) { 3_000 } else { 60 };
        cluster.run(rng.range(0, most_ms));
    }
    heal(&mut cluster);
    cluster
}

/// Demands that a healed quorum elects a leader, commits a last value, and that all logs agree.
fn heal(cluster: &mut Cluster) {
    let mut acknowledged: BTreeSet<Vec<u8>> = cluster.judge.values().map(<[u8]>::to_vec).collect();
    cluster.heal();
    // A node that was told to stop takes part again as a new incarnation.
    cluster.start_all();
    // A connection that lost a message is silent until a request on it times out.
    cluster.run(5_000);
    cluster.run_until(60_000, |cluster| {
        let active = cluster.active().and_then(|id| cluster.raft(id));
        active.is_some_and(|raft| {
            cluster.running().all(|(_, other)| {
                other.leader() == raft.leader()
                    && other.log_end() == raft.log_end()
                    && other.high_watermark() == raft.log_end()
            })
        })
    });
    let active = cluster.active().expect("just seen");
    let last = cluster.append(active, u64::MAX).expect("it is active");
    cluster.run_until(10_000, |cluster| {
        cluster
            .running()
            .all(|(_, raft)| last < raft.high_watermark())
    });
    for value in cluster.judge.values() {
        acknowledged.remove(value);
    }
    assert!(acknowledged.is_empty(), "lost: {acknowledged:?}");
    assert_eq!(cluster.judge.high_watermark(), last.next());
    assert_eq!(cluster.judge.last_leader(), Some(active));
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let schedules = 1_500;
    let mut seen = BTreeSet::new();
    for seed in 1..=schedules {
        let run = catch_unwind(AssertUnwindSafe(|| schedule(seed, None)));
        match run {
            Ok(cluster) => seen.extend(cluster.probes.into_keys()),
            Err(panic) => panic!("seed {seed}: {:?}", panic.downcast_ref::<String>()),
        }
    }
    for probe in [
        Probe::RaftElected,
        Probe::PreVoteRefused,
        Probe::CheckQuorumResigned,
        Probe::RaftTruncated,
        Probe::TornTailCut,
    ] {
        assert!(seen.contains(&probe), "never reached: {}", probe.id());
    }
}

#[test]
fn a_voter_that_acknowledges_without_a_flush_is_found() {
    let found = (1..=100).find(|&seed| {
        let run = || schedule(seed, Some(Bug::KraftNoFlushBeforeFetch));
        catch_unwind(AssertUnwindSafe(run)).is_err()
    });
    assert!(found.is_some(), "the bug was not found");
}
