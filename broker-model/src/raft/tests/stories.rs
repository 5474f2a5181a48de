//! Stories: what one replica does, input by input, and what a quorum does, left alone.

use insta::assert_snapshot;

use super::cluster::Cluster;
use super::replica::{Replica, batch};
use crate::bug::Bug;
use crate::note::RaftRole;
use crate::probe::Probe;
use crate::raft::messages::{self, Fetched, View};
use crate::timer::Timer;
use crate::types::{LeaderEpoch, NodeId, Offset, StrBytes};

/// Follower of n2 in epoch 3, with one batch of epoch 2 and one of epoch 3.
fn follower(bug: Option<Bug>) -> Replica {
    let log = [batch(0, 2, &["a"]), batch(1, 3, &["b"])];
    Replica::start((3, Some(2), None), &log, bug).0
}

/// Leader of epoch 4 that has committed nothing yet: its log ends at 3.
fn leader() -> Replica {
    let log = [batch(0, 2, &["a"]), batch(1, 3, &["b"])];
    let (mut replica, _) = Replica::start((3, None, None), &log, None);
    replica.fired(Timer::Election);
    replica.voted(2, 3, true);
    replica.flushed();
    replica.voted(2, 4, true);
    replica.flushed();
    replica.flushed();
    replica
}

#[test]
fn an_election_is_a_pre_vote_a_vote_and_a_leader_change() {
    let (mut replica, _) = Replica::start((3, None, None), &[batch(0, 2, &["a"])], None);
    assert_snapshot!(replica.fired(Timer::Election), @r"
    Prospective in 3
    to n2: pre-vote epoch 3 log 1/e2
    to n3: pre-vote epoch 3 log 1/e2
    ");
    assert_snapshot!(replica.voted(2, 3, true), @r"
    write QuorumState epoch 4 leader - voted n1
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Candidate in 4
    to n2: vote epoch 4 log 1/e2
    to n3: vote epoch 4 log 1/e2
    ");
    assert_snapshot!(replica.voted(3, 4, false), @"");
    assert_snapshot!(replica.voted(2, 4, true), @r"
    probe raft-elected
    write QuorumState epoch 4 leader n1 voted -
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Leader in 4
    write MetadataLog 1 batches
    flush MetadataLog
    to n2: begin epoch 4
    to n3: begin epoch 4
    ");
}

#[test]
fn a_vote_is_not_sent_before_it_is_flushed() {
    let (mut replica, _) = Replica::start((3, None, None), &[batch(0, 2, &["a"])], None);
    assert_snapshot!(replica.vote(2, 4, (2, 1), false), @r"
    write QuorumState epoch 4 leader - voted n2
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 4
    Unattached in 4
    reply vote granted epoch 4
    to n3: fetch epoch 4 from 1/e2
    ");
    assert_snapshot!(replica.vote(3, 4, (2, 9), false), @r"
    reply vote refused epoch 4
    ");
    assert_snapshot!(replica.vote(2, 4, (2, 1), false), @r"
    reply vote granted epoch 4
    ");
}

#[test]
fn a_vote_is_refused_to_a_shorter_log() {
    let (mut replica, _) = Replica::start((3, None, None), &[batch(0, 2, &["a"])], None);
    assert_snapshot!(replica.vote(2, 4, (1, 9), false), @r"
    write QuorumState epoch 4 leader - voted -
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 4
    reply vote refused epoch 4
    to n3: fetch epoch 4 from 1/e2
    ");
}

#[test]
fn inputs_wait_while_the_election_is_written() {
    let (mut replica, _) = Replica::start((3, None, None), &[batch(0, 2, &["a"])], None);
    replica.vote(2, 4, (2, 1), false);
    assert_snapshot!(replica.vote(3, 5, (2, 1), false), @"");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 4
    Unattached in 4
    reply vote granted epoch 4
    to n3: fetch epoch 4 from 1/e2
    write QuorumState epoch 5 leader - voted n3
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 5
    Unattached in 5
    reply vote granted epoch 5
    to n2: fetch epoch 5 from 1/e2
    ");
}

#[test]
fn a_pre_vote_changes_neither_epoch_nor_vote_and_a_fetched_follower_refuses_it() {
    let mut replica = follower(None);
    assert_snapshot!(replica.vote(3, 3, (3, 2), true), @r"
    reply vote granted epoch 3
    ");
    replica.fetched(2, 3, bytes::Bytes::new(), 2);
    assert_snapshot!(replica.vote(3, 3, (3, 2), true), @r"
    probe pre-vote-refused
    reply vote refused epoch 3
    ");
}

#[test]
fn a_prospective_voter_that_is_refused_goes_back_to_its_leader() {
    let mut replica = follower(None);
    assert_snapshot!(replica.after(2_000).fired(Timer::RaftFetch), @r"
    Prospective in 3
    to n2: pre-vote epoch 3 log 2/e3
    to n3: pre-vote epoch 3 log 2/e3
    ");
    assert_snapshot!(replica.voted(3, 3, false), @"");
    assert_snapshot!(replica.voted(2, 3, false), @r"
    Follower in 3
    to n2: fetch epoch 3 from 2/e3
    ");
}

#[test]
fn a_split_vote_ends_in_pre_votes_again() {
    let (mut replica, _) = Replica::start((3, None, None), &[batch(0, 2, &["a"])], None);
    replica.fired(Timer::Election);
    replica.voted(2, 3, true);
    replica.flushed();
    assert_snapshot!(replica.vote(2, 4, (2, 1), false), @r"
    reply vote refused epoch 4
    ");
    assert_snapshot!(replica.voted(2, 4, false), @"");
    assert_snapshot!(replica.voted(3, 4, false), @"");
    assert_snapshot!(replica.fired(Timer::Election), @r"
    Prospective in 4
    to n2: pre-vote epoch 4 log 1/e2
    to n3: pre-vote epoch 4 log 1/e2
    ");
}

#[test]
fn a_former_leader_restarts_resigned_and_tells_the_others() {
    let (mut replica, story) = Replica::start((3, Some(1), None), &[batch(0, 3, &["a"])], None);
    assert_snapshot!(story, @r"
    flush MetadataLog
    write QuorumState epoch 3 leader n1 voted -
    flush QuorumState
    Resigned in 3
    to n2: end epoch 3 successors []
    to n3: end epoch 3 successors []
    ");
    assert_snapshot!(replica.fired(Timer::Election), @r"
    write QuorumState epoch 4 leader - voted -
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 4
    to n2: fetch epoch 4 from 1/e3
    ");
}

#[test]
fn a_former_candidate_asks_again_in_its_epoch() {
    let (_, story) = Replica::start((3, None, Some(1)), &[batch(0, 2, &["a"])], None);
    assert_snapshot!(story, @r"
    flush MetadataLog
    write QuorumState epoch 3 leader - voted n1
    flush QuorumState
    Candidate in 3
    to n2: vote epoch 3 log 1/e2
    to n3: vote epoch 3 log 1/e2
    ");
}

#[test]
fn a_fetch_acknowledges_only_what_is_flushed() {
    let mut replica = follower(None);
    assert_snapshot!(replica.fetched(2, 3, batch(2, 3, &["c"]), 2), @r"
    write MetadataLog 1 batches
    flush MetadataLog
    high watermark 2
    committed 0..=0
    committed 1..=1
    ");
    assert_snapshot!(replica.flushed(), @r"
    to n2: fetch epoch 3 from 3/e3
    ");
}

#[test]
fn with_the_bug_of_kafka_10533_a_fetch_acknowledges_what_is_not_flushed() {
    let mut replica = follower(Some(Bug::KraftNoFlushBeforeFetch));
    assert_snapshot!(replica.fetched(2, 3, batch(2, 3, &["c"]), 2), @r"
    write MetadataLog 1 batches
    high watermark 2
    to n2: fetch epoch 3 from 3/e3
    committed 0..=0
    committed 1..=1
    ");
}

#[test]
fn a_follower_cuts_what_its_leader_never_had() {
    let mut replica = follower(None);
    assert_snapshot!(replica.begin(3, 4), @r"
    write QuorumState epoch 4 leader n3 voted -
    flush QuorumState
    ");
    assert_snapshot!(replica.flushed(), @r"
    Follower in 4
    reply begin epoch 4
    to n3: fetch epoch 4 from 2/e3
    ");
    assert_snapshot!(replica.diverged(3, 4, (2, 1)), @r"
    cut MetadataLog to 69 bytes
    cut 2 to 1
    probe raft-truncated
    to n3: fetch epoch 4 from 1/e2
    ");
    assert_snapshot!(replica.fetched(3, 4, batch(1, 4, &["x"]), 2), @r"
    write MetadataLog 1 batches
    flush MetadataLog
    high watermark 2
    committed 0..=0
    committed 1..=1
    ");
}

#[test]
fn a_leader_that_would_have_it_cut_committed_records_is_not_obeyed() {
    let mut replica = follower(None);
    replica.fetched(2, 3, bytes::Bytes::new(), 2);
    replica.begin(3, 4);
    replica.flushed();
    assert_snapshot!(replica.diverged(3, 4, (2, 1)), @r"
    halt
    ");
}

#[test]
fn the_high_watermark_moves_only_past_the_leaders_own_epoch() {
    let mut replica = leader();
    assert_snapshot!(replica.fetch(2, 4, (3, 2), -1), @r"
    reply fetch [2] high watermark -1
    ");
    assert_snapshot!(replica.fetch(2, 4, (4, 3), -1), @r"
    high watermark 3
    reply fetch [] high watermark 3
    committed 0..=0
    committed 1..=1
    committed 2..=2
    claim epoch 4
    ");
    assert_snapshot!(replica.append(4, "x"), @r"
    write MetadataLog 1 batches
    flush MetadataLog
    append Ok(3)
    ");
    assert_snapshot!(replica.fetch(2, 4, (4, 4), 3), @"");
    assert_snapshot!(replica.flushed(), @r"
    high watermark 4
    reply fetch [] high watermark 4
    committed 3..=3
    ");
    assert_snapshot!(replica.append(3, "y"), @r"
    append Err(NotLeader)
    ");
}

#[test]
fn a_fetch_waits_for_records_for_the_high_watermark_or_half_a_second() {
    let mut replica = leader();
    replica.fetch(2, 4, (4, 3), -1);
    assert_snapshot!(replica.fetch(2, 4, (4, 3), 3), @"");
    assert_snapshot!(replica.after(499).fired(Timer::RaftPurgatory), @"");
    assert_snapshot!(replica.after(1).fired(Timer::RaftPurgatory), @r"
    reply fetch [] high watermark 3
    ");
    replica.fetch(2, 4, (4, 3), 3);
    assert_snapshot!(replica.append(4, "x"), @r"
    write MetadataLog 1 batches
    flush MetadataLog
    reply fetch [3] high watermark 3
    append Ok(3)
    ");
}

#[test]
fn a_leader_answers_where_the_logs_part() {
    let mut replica = leader();
    assert_snapshot!(replica.fetch(2, 4, (2, 2), -1), @r"
    reply fetch [] high watermark -1 diverging 1/e2
    ");
    assert_snapshot!(replica.fetch(2, 4, (3, 5), -1), @r"
    reply fetch [] high watermark -1 diverging 2/e3
    ");
    assert_snapshot!(replica.fetch(2, 4, (1, 1), -1), @r"
    reply fetch [] high watermark -1 diverging 0/e1
    ");
}

#[test]
fn errors_of_a_fetch() {
    let mut replica = leader();
    assert_snapshot!(replica.fetch(2, 3, (3, 2), -1), @r"
    reply fetch [] high watermark -1 FencedLeaderEpoch
    ");
    assert_snapshot!(replica.fetch(2, 5, (3, 2), -1), @r"
    reply fetch [] high watermark -1 UnknownLeaderEpoch
    ");
    assert_snapshot!(replica.fetch(2, 4, (5, 2), -1), @r"
    reply fetch [] high watermark -1 InvalidRequest
    ");
    assert_snapshot!(replica.fetch_of(&StrBytes::from_static_str("other"), 2, 4, (3, 2), -1), @r"
    reply fetch InconsistentClusterId
    ");
    assert_snapshot!(follower(None).fetch(3, 3, (3, 2), -1), @r"
    reply fetch [] high watermark -1 NotLeaderOrFollower
    ");
}

#[test]
fn a_leader_that_loses_its_epoch_fails_the_fetches_that_wait() {
    let mut replica = leader();
    replica.fetch(2, 4, (4, 3), -1);
    replica.fetch(2, 4, (4, 3), 3);
    assert_snapshot!(replica.vote(3, 5, (4, 3), false), @r"
    write QuorumState epoch 5 leader - voted n3
    flush QuorumState
    resign epoch 4
    ");
    assert_snapshot!(replica.flushed(), @r"
    Unattached in 5
    Unattached in 5
    reply fetch [] high watermark -1 NotLeaderOrFollower
    reply vote granted epoch 5
    to n3: fetch epoch 5 from 3/e4
    ");
    assert_snapshot!(replica.append(4, "x"), @r"
    append Err(NotLeader)
    ");
}

#[test]
fn an_answer_that_is_not_expected_any_more_is_dropped() {
    let mut replica = follower(None);
    let endpoint = super::endpoint(2);
    let view = View {
        epoch: LeaderEpoch(3),
        leader: Some((NodeId(2), &endpoint)),
    };
    let records = Fetched {
        error: None,
        high_watermark: Offset(3),
        diverging: None,
        records: batch(2, 3, &["c"]),
    };
    let body = messages::fetch_response(18, view, records);
    assert_snapshot!(replica.stray(2, 999, body), @"");
}

#[test]
fn a_follower_whose_leader_is_gone_asks_the_others() {
    let mut replica = follower(None);
    assert_snapshot!(replica.lost(2), @r"
    to n3: fetch epoch 3 from 2/e3
    ");
}

#[test]
fn the_preferred_successor_stands_at_once_and_the_next_one_waits() {
    let mut replica = follower(None);
    assert_snapshot!(replica.end(2, 3, &[1, 3]), @r"
    reply end epoch 3
    ");
    assert_snapshot!(replica.fired(Timer::RaftFetch), @r"
    Prospective in 3
    to n2: pre-vote epoch 3 log 2/e3
    to n3: pre-vote epoch 3 log 2/e3
    ");
    let mut replica = follower(None);
    replica.end(2, 3, &[3, 1]);
    assert_snapshot!(replica.after(499).fired(Timer::RaftFetch), @"");
    assert_snapshot!(replica.after(1).fired(Timer::RaftFetch), @r"
    Prospective in 3
    to n2: pre-vote epoch 3 log 2/e3
    to n3: pre-vote epoch 3 log 2/e3
    ");
}

#[test]
fn an_old_leader_is_fenced() {
    let mut replica = follower(None);
    assert_snapshot!(replica.begin(3, 2), @r"
    reply begin epoch 3 FencedLeaderEpoch
    ");
    assert_snapshot!(replica.begin(3, 3), @r"
    reply begin epoch 3 UnknownServerError
    ");
    assert_snapshot!(replica.vote(3, 2, (1, 9), false), @r"
    reply vote refused epoch 3 FencedLeaderEpoch
    ");
}

// ---- quorums ----

#[test]
fn a_quorum_elects_one_leader_and_its_observers_follow() {
    let cluster = Cluster::elected(1, 3, 2);
    let leader = cluster.active().expect("elected");
    for (id, raft) in cluster.running() {
        assert_eq!(raft.leader().map(|(leader, _)| leader), Some(leader));
        assert_eq!(raft.role() == RaftRole::Leader, id == leader);
        assert_eq!(raft.high_watermark(), Offset(1));
    }
}

#[test]
fn appends_commit_within_two_round_trips_and_a_flush_or_two() {
    let mut cluster = Cluster::elected(2, 3, 1);
    let leader = cluster.active().expect("elected");
    for value in 0..100 {
        let offset = cluster.append(leader, value).expect("it leads");
        let began_ms = cluster.now_ms;
        cluster.run_until(100, |cluster| {
            cluster
                .running()
                .all(|(_, raft)| offset < raft.high_watermark())
        });
        // A fetch, data, a flush, the acknowledgement, the high watermark: five each at most.
        assert!(cluster.now_ms - began_ms <= 25);
    }
}

#[test]
fn an_idle_quorum_costs_four_messages_a_second_and_follower() {
    let mut cluster = Cluster::elected(3, 3, 1);
    let before = cluster.messages;
    cluster.run(60_000);
    let fetchers = 3;
    assert!(cluster.messages - before <= 60 * 4 * fetchers);
}

#[test]
fn a_dead_leader_is_replaced_and_follows_when_it_is_back() {
    let mut cluster = Cluster::elected(4, 3, 1);
    let old = cluster.active().expect("elected");
    cluster.append(old, 7);
    cluster.run(100);
    cluster.crash(old, true);
    cluster.run_until(5_000, |cluster| {
        cluster.active().is_some_and(|id| id != old)
    });
    cluster.start(old);
    cluster.run(3_000);
    let new = cluster.active().expect("elected");
    assert_eq!(cluster.raft(old).expect("runs").role(), RaftRole::Follower);
    assert_eq!(
        cluster.raft(old).expect("runs").high_watermark(),
        cluster.raft(new).expect("runs").log_end()
    );
}

#[test]
fn a_leader_without_a_majority_resigns() {
    let mut cluster = Cluster::elected(5, 3, 0);
    let old = cluster.active().expect("elected");
    cluster.isolate(old);
    cluster.run(3_500);
    assert_ne!(cluster.raft(old).expect("runs").role(), RaftRole::Leader);
    assert_eq!(cluster.probes.get(&Probe::CheckQuorumResigned), Some(&1));
    assert_ne!(cluster.active(), Some(old));
}

#[test]
fn an_isolated_voter_burns_no_epochs_and_deposes_nobody() {
    let mut cluster = Cluster::elected(6, 3, 0);
    let leader = cluster.active().expect("elected");
    let epoch = cluster.raft(leader).expect("runs").epoch();
    let lonely = cluster.follower();
    cluster.isolate(lonely);
    cluster.run(30_000);
    assert_eq!(cluster.raft(lonely).expect("runs").epoch(), epoch);
    cluster.heal();
    cluster.run(10_000);
    assert_eq!(cluster.active(), Some(leader));
    assert_eq!(cluster.raft(leader).expect("runs").epoch(), epoch);
    assert_eq!(
        cluster.raft(lonely).expect("runs").role(),
        RaftRole::Follower
    );
}

#[test]
fn an_orderly_stop_hands_over_without_a_timeout() {
    let mut cluster = Cluster::elected(7, 3, 0);
    let old = cluster.active().expect("elected");
    cluster.shutdown(old);
    cluster.run_until(500, |cluster| {
        let stopping = cluster.raft(old).expect("runs");
        stopping.is_shut_down() && cluster.active().is_some_and(|id| id != old)
    });
}

#[test]
fn a_single_voter_leads_alone() {
    let mut cluster = Cluster::elected(8, 1, 1);
    let offset = cluster.append(NodeId(1), 1).expect("it leads");
    cluster.run(60_000);
    let mut replicas = cluster.running();
    assert!(replicas.all(|(_, raft)| raft.high_watermark() == offset.next()));
}
