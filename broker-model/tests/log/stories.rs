//! What a log does, one behaviour a test.

use broker_model::bug::Bug;
use broker_model::log::FollowerAppendError;
use broker_model::log::lookup::timestamps;
use broker_model::probe::Probe;
use broker_model::types::{LeaderEpoch, Offset, ResponseError};
use broker_model::wire::batch::{ProducerState, TimestampType};

use crate::harness::{Replica, batch, producer, spans, stored};

const ALL: usize = usize::MAX >> 1;

#[test]
fn a_leader_writes_offset_and_epoch_and_tells() {
    let mut leader = Replica::new();
    leader.lead(3);
    leader.told();
    assert_eq!(leader.plain(2), Offset(0));
    assert_eq!(leader.plain(1), Offset(2));
    assert_eq!(
        leader.told(),
        ["append [(0, 1)] leader=true", "append [(2, 2)] leader=true"]
    );
    assert_eq!(spans(leader.disk.log()), [(0, 1), (2, 2)]);
    assert_eq!(leader.epochs(), [(3, 0)]);
    leader.lead(5);
    assert_eq!(leader.told(), ["epoch 5 from 3", "0 producers at 3"]);
}

#[test]
fn an_epoch_without_records_gives_its_place_to_the_next() {
    let mut leader = Replica::new();
    leader.plain(1);
    leader.lead(1);
    leader.told();
    leader.lead(2);
    let told = leader.told();
    assert_eq!(told[..2], ["epochs [(0, 0)]", "epoch 2 from 1"]);
    assert_eq!(leader.epochs(), [(0, 0), (2, 1)]);
}

#[test]
fn what_was_appended_in_a_step_can_be_read_in_it() {
    let mut leader = Replica::new();
    leader.plain(2);
    let one = batch(ProducerState::NONE, &[1]);
    leader.step(|step| {
        for _ in 0..100 {
            step.append(&one, LeaderEpoch(0), TimestampType::CreateTime)
                .expect("nothing is wrong with it");
        }
        let read = step
            .log
            .read(step.cx.disk, Offset(1), ALL, Offset(102), true);
        let read = read.expect("in range");
        assert_eq!(read.next, Offset(102));
        assert_eq!(spans(&read.records).len(), 101);
    });
    leader.plain(1);
    assert_eq!(leader.read(0, ALL, 1000, true).len(), 102);
}

#[test]
fn what_is_cut_and_written_anew_in_one_step_is_read_anew() {
    let mut leader = Replica::new();
    for _ in 0..10 {
        leader.plain(1);
    }
    let three = batch(ProducerState::NONE, &[1, 2, 3]);
    leader.step(|step| {
        step.log.truncate_to(&mut step.cx, Offset(4));
        for _ in 0..200 {
            step.append(&three, LeaderEpoch(0), TimestampType::CreateTime)
                .expect("nothing is wrong with it");
        }
        let read = step
            .log
            .read(step.cx.disk, Offset(3), 300, Offset(999), true);
        assert_eq!(
            spans(&read.expect("in range").records),
            [(3, 3), (4, 6), (7, 9)]
        );
    });
    assert_eq!(leader.read(3, 300, 999, true), [(3, 3), (4, 6), (7, 9)]);
}

#[test]
fn a_read_returns_whole_batches_within_its_limits() {
    let mut leader = Replica::new();
    for _ in 0..3 {
        leader.plain(2);
    }
    let size = leader.disk.log().len() / 3;
    let both = [(2, 3), (4, 5)];
    assert_eq!(leader.read(3, ALL, 6, false), both);
    assert_eq!(leader.read(3, 2 * size - 1, 6, false), both[..1]);
    assert_eq!(leader.read(3, size - 1, 6, false), []);
    assert_eq!(leader.read(3, 0, 6, true), both[..1]);
    assert_eq!(leader.read(3, ALL, 5, true), both[..1]);
    assert_eq!(leader.read(3, ALL, 3, true), []);
    assert_eq!(leader.read(6, ALL, 6, true), []);
    assert_eq!(
        leader.log.bytes_available(Offset(3), Offset(6)),
        2 * size as u64
    );
    assert_eq!(leader.log.bytes_available(Offset(6), Offset(6)), 0);
}

#[test]
fn an_offset_that_the_log_does_not_have_is_out_of_range() {
    let mut leader = Replica::new();
    leader.plain(4);
    leader.high_watermark(4);
    assert_eq!(leader.delete_records(2), Ok(2));
    for (offset, error) in [(1, true), (2, false), (4, false), (5, true)] {
        let read = leader
            .log
            .read(&leader.disk, Offset(offset), ALL, Offset(4), true);
        assert_eq!(read.is_err(), error, "{offset}");
    }
}

#[test]
fn a_follower_takes_batches_that_continue_its_log() {
    let mut follower = Replica::new();
    let sent = [stored(0, 0, 2), stored(2, 1, 1), stored(3, 1, 5)].concat();
    follower.epoch = LeaderEpoch(1);
    let cut = &sent[..sent.len() - 1];
    let info = follower.follow(cut).expect("fine").expect("not empty");
    assert_eq!((info.base, info.last), (Offset(0), Offset(2)));
    assert_eq!(spans(follower.disk.log()), [(0, 1), (2, 2)]);
    assert_eq!(follower.epochs(), [(0, 0), (1, 2)]);
    assert_eq!(follower.follow(&[]), Ok(None));
    let tail = follower.follow(&stored(3, 1, 5)).expect("fine");
    assert_eq!(tail.map(|info| info.last), Some(Offset(7)));
}

#[test]
fn a_follower_refuses_an_overlap_a_gap_and_damage() {
    let mut follower = Replica::new();
    follower.follow(&stored(0, 0, 3)).expect("fine");
    let unexpected = |first, last| {
        Err(FollowerAppendError::UnexpectedOffset {
            expected: Offset(3),
            first: Offset(first),
            last: Offset(last),
        })
    };
    assert_eq!(follower.follow(&stored(2, 0, 2)), unexpected(2, 3));
    assert_eq!(follower.follow(&stored(4, 0, 1)), unexpected(4, 4));
    let mut damaged = stored(3, 0, 1).to_vec();
    *damaged.last_mut().expect("not empty") ^= 1;
    assert_eq!(follower.follow(&damaged), Err(FollowerAppendError::Corrupt));
    let nobody = stored(3, -1, 1);
    assert_eq!(follower.follow(&nobody), Err(FollowerAppendError::Corrupt));
    assert_eq!(follower.offsets(), [0, 0, 0, 3]);
}

#[test]
fn a_follower_leaves_out_what_a_later_leader_wrote() {
    let mut follower = Replica::new();
    let sent = [stored(0, 0, 1), stored(1, 7, 1), stored(2, 0, 1)].concat();
    let info = follower.follow(&sent).expect("fine").expect("not empty");
    assert_eq!(info.last, Offset(0));
    assert_eq!(follower.epochs(), [(0, 0)]);
}

#[test]
fn a_duplicate_is_answered_with_its_offset_and_timestamp() {
    let mut leader = Replica::new();
    assert_eq!(leader.send(0, 0, 2), Ok(0));
    assert_eq!(leader.send(0, 2, 1), Ok(2));
    leader.told();
    let again = leader.append(&batch(producer(1, 0, 0), &[7, 8]));
    let again = again.expect("a duplicate");
    assert_eq!((again.base, again.last), (Offset(0), Offset(1)));
    assert!(again.duplicate);
    assert_eq!(again.log_append_time_ms, 1000);
    assert_eq!(leader.told(), ["duplicate 0..=1 at 0"]);
    assert_eq!(
        leader.send(0, 4, 1),
        Err(ResponseError::OutOfOrderSequenceNumber)
    );
    assert_eq!(leader.log.log_end(), Offset(3));
    assert_eq!(
        leader.probes,
        [Probe::DuplicateBatch, Probe::OutOfOrderSequence]
    );
}

#[test]
fn a_follower_that_becomes_leader_knows_the_duplicates_unless_it_forgot() {
    for (bug, expected) in [(None, Ok(0)), (Some(Bug::Kafka5494NoRebuild), Ok(1))] {
        let mut leader = Replica::new();
        assert_eq!(leader.send(0, 0, 1), Ok(0));
        let mut follower = Replica::new();
        follower.bug = bug;
        follower.follow(leader.disk.log()).expect("fine");
        follower.lead(1);
        assert_eq!(follower.send(0, 0, 1), expected);
    }
}

#[test]
fn a_cut_removes_whole_batches_and_all_that_is_known_of_them() {
    let mut log = Replica::new();
    assert_eq!(log.send(0, 0, 2), Ok(0));
    log.lead(1);
    assert_eq!(log.send(0, 2, 3), Ok(2));
    assert_eq!(log.high_watermark(5), 5);
    log.told();
    assert!(log.truncate(3));
    assert_eq!(
        log.told(),
        [
            "truncate 5 -> 2 hw 5",
            "epochs [(0, 0)]",
            "1 producers at 2",
            "offsets 0 2 2 2",
        ]
    );
    assert_eq!(spans(log.disk.log()), [(0, 1)]);
    assert_eq!(log.send(0, 2, 1), Ok(2));
}

#[test]
fn a_cut_at_the_end_removes_the_start_of_an_epoch_without_records() {
    let mut log = Replica::new();
    log.plain(2);
    log.lead(4);
    log.told();
    assert!(!log.truncate(9));
    assert_eq!(log.told(), ["epochs [(0, 0)]"]);
    assert!(!log.truncate(2));
    assert!(log.told().is_empty());
}

#[test]
fn a_log_can_start_over_anywhere() {
    let mut log = Replica::new();
    assert_eq!(log.send(0, 0, 2), Ok(0));
    log.told();
    log.step(|step| {
        step.log
            .truncate_fully_and_start_at(&mut step.cx, Offset(50));
    });
    assert_eq!(
        log.told(),
        [
            "truncate 2 -> 50 hw 0",
            "epochs []",
            "0 producers at 50",
            "log start 50",
            "offsets 50 50 50 50",
        ]
    );
    log.follow(&stored(50, 0, 3)).expect("fine");
    assert_eq!(log.read(50, ALL, 99, true), [(50, 52)]);
    assert!(log.truncate(20));
    assert_eq!(log.offsets(), [20, 20, 20, 20]);
    let (log, _) = Replica::recover(log.disk, 20);
    assert_eq!(log.offsets(), [20, 20, 20, 20]);
}

#[test]
fn records_are_deleted_up_to_the_high_watermark() {
    let mut leader = Replica::new();
    leader.plain(3);
    leader.plain(2);
    leader.high_watermark(5);
    leader.told();
    let out_of_range = Err(ResponseError::OffsetOutOfRange);
    assert_eq!(leader.delete_records(6), out_of_range);
    assert_eq!(leader.delete_records(-2), out_of_range);
    assert_eq!(leader.delete_records(2), Ok(2));
    assert_eq!(leader.delete_records(1), Ok(2));
    assert_eq!(leader.delete_records(-1), Ok(5));
    assert_eq!(
        leader.told(),
        [
            "epochs [(0, 2)]",
            "log start 2",
            "offsets 2 5 5 5",
            "epochs [(0, 5)]",
            "log start 5",
            "offsets 5 5 5 5",
        ]
    );
    assert_eq!(
        leader.timestamp(timestamps::EARLIEST),
        Some((-1, 5, Some(0)))
    );
}

#[test]
fn a_leader_never_moves_the_high_watermark_back() {
    let mut leader = Replica::new();
    leader.plain(4);
    let mut increment = |to| {
        leader.step(|step| {
            step.log
                .maybe_increment_high_watermark(&mut step.cx, Offset(to))
        })
    };
    assert!(increment(3));
    assert!(!increment(3));
    assert!(!increment(1));
    assert_eq!(leader.high_watermark(99), 4);
    assert_eq!(leader.high_watermark(2), 2);
}

#[test]
fn read_committed_waits_for_the_marker_and_its_replication() {
    let mut leader = Replica::new();
    leader.plain(1);
    assert_eq!(leader.transact(7, 0), Offset(1));
    assert_eq!(leader.transact(8, 0), Offset(2));
    leader.high_watermark(3);
    assert_eq!(leader.offsets(), [0, 1, 3, 3]);
    assert_eq!(leader.end(7, false), Offset(3));
    assert_eq!(leader.offsets(), [0, 1, 3, 4]);
    leader.high_watermark(4);
    assert_eq!(leader.offsets(), [0, 2, 4, 4]);
    leader.end(8, true);
    leader.high_watermark(5);
    assert_eq!(leader.offsets(), [0, 5, 5, 5]);
    let aborted = leader.log.aborted_txns(Offset(0), Offset(5));
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].first, aborted[0].last), (Offset(1), Offset(3)));
    assert_eq!(aborted[0].last_stable, Offset(2));
    assert!(leader.log.aborted_txns(Offset(4), Offset(5)).is_empty());
    assert!(leader.log.aborted_txns(Offset(0), Offset(1)).is_empty());
}

#[test]
fn a_cut_marker_opens_its_transaction_again() {
    let mut leader = Replica::new();
    leader.transact(7, 0);
    leader.end(7, false);
    leader.high_watermark(2);
    assert_eq!(leader.offsets(), [0, 2, 2, 2]);
    leader.truncate(1);
    assert_eq!(leader.offsets(), [0, 0, 1, 1]);
    assert!(leader.log.aborted_txns(Offset(0), Offset(9)).is_empty());
    let (recovered, _) = Replica::recover(leader.disk, 0);
    assert_eq!(recovered.offsets(), [0, 0, 0, 1]);
}

#[test]
fn offsets_are_found_by_timestamp_inside_a_batch_too() {
    let mut leader = Replica::new();
    for batch in [
        batch(ProducerState::NONE, &[1000, 1010, 1020]),
        batch(ProducerState::NONE, &[2000, 2010]),
    ] {
        leader.append(&batch).expect("nothing is wrong with it");
    }
    let found = |timestamp, offset| Some((timestamp, offset, Some(0)));
    assert_eq!(leader.timestamp(0), found(1000, 0));
    assert_eq!(leader.timestamp(1000), found(1000, 0));
    assert_eq!(leader.timestamp(1001), found(1010, 1));
    assert_eq!(leader.timestamp(1021), found(2000, 3));
    assert_eq!(leader.timestamp(2010), found(2010, 4));
    assert_eq!(leader.timestamp(2011), None);
    assert_eq!(leader.timestamp(timestamps::MAX), found(2010, 4));
    assert_eq!(leader.timestamp(timestamps::LATEST), found(-1, 5));
    assert_eq!(leader.timestamp(timestamps::EARLIEST), found(-1, 0));
    assert_eq!(leader.timestamp(timestamps::EARLIEST_LOCAL), found(-1, 0));
    assert_eq!(
        leader.timestamp(timestamps::LATEST_TIERED),
        Some((-1, -1, Some(-1)))
    );
    leader.high_watermark(5);
    assert_eq!(leader.delete_records(2), Ok(2));
    assert_eq!(leader.timestamp(0), found(1020, 2));
}

#[test]
fn the_first_of_equal_timestamps_is_the_largest() {
    let mut leader = Replica::new();
    assert_eq!(leader.timestamp(timestamps::MAX), None);
    for records in [3, 2] {
        let batch = batch(ProducerState::NONE, &vec![5000; records]);
        leader.append(&batch).expect("nothing is wrong with it");
    }
    assert_eq!(leader.timestamp(timestamps::MAX), Some((5000, 0, Some(0))));
}

#[test]
fn with_log_append_time_the_leader_stamps_the_records() {
    let mut leader = Replica::new();
    leader.timestamp_type = TimestampType::LogAppendTime;
    let info = leader
        .append(&batch(ProducerState::NONE, &[5, 6]))
        .expect("nothing is wrong with it");
    assert_eq!(info.log_append_time_ms, 1_000_000);
    assert_eq!(leader.timestamp(6), Some((1_000_000, 0, Some(0))));
}

#[test]
fn idle_producers_are_forgotten_and_told() {
    let mut leader = Replica::new();
    assert_eq!(leader.send(0, 0, 1), Ok(0));
    leader.told();
    leader.wall_ms = 1000 + 86_400_000;
    leader.step(|step| {
        step.log.remove_expired_producers(&mut step.cx, 86_400_001);
    });
    assert!(leader.told().is_empty());
    leader.step(|step| {
        step.log.remove_expired_producers(&mut step.cx, 86_400_000);
    });
    assert_eq!(leader.told(), ["expired [1]"]);
    assert_eq!(leader.send(0, 9, 1), Ok(1));
}

#[test]
fn a_torn_tail_is_cut() {
    let mut log = Replica::new();
    assert_eq!(log.send(0, 0, 1), Ok(0));
    log.lead(2);
    log.plain(3);
    let mut disk = log.disk;
    let torn = disk.log().len() - 1;
    for bytes in disk.files.values_mut() {
        bytes.truncate(torn);
    }
    let (mut log, report) = Replica::recover(disk, 0);
    assert_eq!(log.probes, [Probe::TornTailCut]);
    let cut = report.cut_bytes;
    assert_eq!(
        log.told(),
        [
            format!("recovered 0..1 epochs [(0, 0)] cut {cut}"),
            "1 producers at 1".to_owned()
        ]
    );
    assert_eq!(spans(log.disk.log()), [(0, 0)]);
    assert_eq!(log.send(0, 1, 1), Ok(1));
    assert_eq!(log.read(0, ALL, 9, true), [(0, 0), (1, 1)]);
}

#[test]
fn a_log_that_lost_more_than_was_deleted_starts_empty_behind_it() {
    let mut log = Replica::new();
    log.plain(3);
    let (mut log, report) = Replica::recover(log.disk, 10);
    assert_eq!(log.offsets(), [10, 10, 10, 10]);
    assert!(0 < report.cut_bytes);
    assert!(log.disk.log().is_empty());
    assert_eq!(log.plain(1), Offset(10));
}
