//! The log against naive models of itself, under whatever order of calls proptest thinks of.

use broker_model::effect::{DiskRead, File};
use broker_model::log::UnifiedLog;
use broker_model::log::leader_epochs::LeaderEpochCache;
use broker_model::types::{LeaderEpoch, Offset};
use broker_model::wire::batch::{ProducerState, TimestampType};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::harness::{P0, Replica, Step, batch, producer, spans};

const ALL: usize = usize::MAX >> 1;

/// One thing that happens to a log.
#[derive(Clone, Debug)]
enum Op {
    Append { records: u8 },
    Lead { skip: i32 },
    Truncate { back: i64 },
    StartOver { ahead: i64 },
    HighWatermark { to: i64 },
    Delete { to: i64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..6_u8).prop_map(|records| Op::Append { records }),
        3 => (1..4_i32).prop_map(|skip| Op::Lead { skip }),
        3 => (0..12_i64).prop_map(|back| Op::Truncate { back }),
        1 => (-5..20_i64).prop_map(|ahead| Op::StartOver { ahead }),
        4 => (0..60_i64).prop_map(|to| Op::HighWatermark { to }),
        2 => (0..60_i64).prop_map(|to| Op::Delete { to }),
    ]
}

/// A log as a list: (first offset, last offset, leader epoch) of every batch.
#[derive(Default)]
struct Naive {
    batches: Vec<(i64, i64, i32)>,
    start: i64,
    high_watermark: i64,
    end: i64,
    epoch: i32,
}

impl Naive {
    /// Does the same to the list and, within a step, to the log.
    fn apply(&mut self, op: &Op, step: &mut Step<'_, '_>) {
        let Step { log, cx } = step;
        match *op {
            Op::Append { records } => {
                let end = self.end + i64::from(records);
                self.batches.push((self.end, end - 1, self.epoch));
                self.end = end;
                let batch = batch(ProducerState::NONE, &vec![1000; records.into()]);
                let epoch = LeaderEpoch(self.epoch);
                step.append(&batch, epoch, TimestampType::CreateTime)
                    .expect("nothing is wrong with it");
            }
            Op::Lead { skip } => {
                self.epoch += skip;
                log.on_become_leader(cx, LeaderEpoch(self.epoch));
            }
            Op::Truncate { back } => {
                let target = (self.end - back).max(0);
                self.truncate(target);
                log.truncate_to(cx, Offset(target));
            }
            Op::StartOver { ahead } => {
                let start = (self.end + ahead).max(0);
                self.start_over(start);
                log.truncate_fully_and_start_at(cx, Offset(start));
            }
            Op::HighWatermark { to } => {
                self.high_watermark = to.clamp(self.start, self.end);
                log.update_high_watermark(cx, Offset(to));
            }
            Op::Delete { to } => {
                let allowed = to <= self.high_watermark;
                if allowed {
                    self.start = self.start.max(to);
                }
                assert_eq!(log.delete_records(cx, Offset(to)).is_ok(), allowed);
            }
        }
    }

    fn truncate(&mut self, target: i64) {
        if self.end <= target {
            return;
        }
        if self.batches.first().is_none_or(|first| target < first.0) {
            return self.start_over(target);
        }
        while let Some(&(base, last, _)) = self.batches.last()
            && target <= last
        {
            self.batches.pop();
            self.end = base;
        }
        self.start = self.start.min(self.end);
        self.high_watermark = self.high_watermark.min(self.end);
    }

    fn start_over(&mut self, start: i64) {
        self.batches.clear();
        (self.start, self.high_watermark, self.end) = (start, start, start);
    }

    fn read(&self, from: i64, up_to: i64) -> Vec<(i64, i64)> {
        let inside = |&&(_, last, _): &&(i64, i64, i32)| from <= last && last < up_to;
        let batches = self.batches.iter().filter(inside);
        batches.map(|&(base, last, _)| (base, last)).collect()
    }

    fn epoch_for(&self, offset: i64) -> Option<i32> {
        let inside = |&&(base, last, _): &&(i64, i64, i32)| base <= offset && offset <= last;
        self.batches.iter().find(inside).map(|&(_, _, epoch)| epoch)
    }

    fn check(&self, log: &UnifiedLog, disk: &dyn DiskRead) {
        let offsets = log.offsets();
        assert_eq!(
            (
                offsets.log_start.0,
                offsets.high_watermark.0,
                offsets.log_end.0
            ),
            (self.start, self.high_watermark, self.end)
        );
        for from in self.start..=self.end {
            for up_to in [from, self.high_watermark, self.end] {
                let read = log.read(disk, Offset(from), ALL, Offset(up_to), true);
                let read = read.expect("in range");
                assert_eq!(spans(&read.records), self.read(from, up_to));
            }
        }
        for offset in self.start..self.end {
            let epoch = log.epoch_for(Offset(offset)).map(|epoch| epoch.0);
            assert_eq!(epoch, self.epoch_for(offset));
        }
    }
}

/// What a producer may try: its id, epoch, first sequence and number of records.
fn send() -> impl Strategy<Value = (i64, i16, i32, usize)> {
    (1..3_i64, 0..2_i16, 0..12_i32, 1..3_usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_log_is_a_list_of_batches(
        steps in vec((vec(op(), 1..8), prop::bool::weighted(0.2)), 1..20),
    ) {
        let mut replica = Replica::new();
        let mut naive = Naive::default();
        for (ops, restart) in steps {
            replica.step(|step| {
                for op in &ops {
                    naive.apply(op, step);
                    naive.check(step.log, step.cx.disk);
                }
            });
            naive.check(&replica.log, &replica.disk);
            if restart {
                replica = Replica::recover(replica.disk, naive.start).0;
                naive.high_watermark = naive.start;
                naive.check(&replica.log, &replica.disk);
            }
        }
    }

    #[test]
    fn the_end_of_an_epoch_is_found_by_reading_all_batches(
        batches in vec((0..3_i32, 1..4_i64), 1..20),
        requested in -1..40_i32,
        cut in 0..40_i64,
        from_end in any::<bool>(),
    ) {
        let mut cache = LeaderEpochCache::new();
        let mut list = Vec::new();
        let (mut epoch, mut end) = (0, 0);
        for (skip, records) in batches {
            epoch += skip;
            cache.assign(LeaderEpoch(epoch), Offset(end));
            list.push((epoch, end));
            end += records;
        }
        if from_end {
            cache.truncate_from_end(Offset(cut));
            list.retain(|&(_, base)| base < cut);
        } else {
            cache.truncate_from_start(Offset(cut.min(end - 1)));
            let kept = list.iter().rposition(|&(_, base)| base <= cut.min(end - 1));
            list.drain(..kept.unwrap_or(0));
            list[0].1 = cut.min(end - 1);
        }
        let latest = list.last().map(|&(epoch, _)| epoch);
        let floor = list.iter().rev().find(|&&(epoch, _)| epoch <= requested);
        let higher = list.iter().find(|&&(epoch, _)| requested < epoch);
        let expected = if requested == -1 {
            None
        } else if latest == Some(requested) {
            Some((requested, end))
        } else {
            higher.map(|&(_, base)| (floor.map_or(requested, |&(epoch, _)| epoch), base))
        };
        let found = cache.end_offset_for(LeaderEpoch(requested), Offset(end));
        prop_assert_eq!(found.map(|(epoch, end)| (epoch.0, end.0)), expected);
    }

    #[test]
    fn producer_state_is_a_fold_over_the_log(
        sends in vec(send(), 1..60),
        cut in 0..80_i64,
    ) {
        let mut leader = Replica::new();
        for (id, epoch, first, records) in sends {
            let batch = batch(producer(id, epoch, first), &vec![1000; records]);
            let _refused = leader.append(&batch);
        }
        leader.truncate(cut);
        let mut follower = Replica::new();
        follower.follow(leader.disk.log()).expect("a log continues itself");
        let mut restarted = Replica::recover(leader.disk.clone(), 0).0;
        let expected = leader.producers();
        prop_assert_eq!(&follower.producers(), &expected);
        prop_assert_eq!(&restarted.producers(), &expected);
        prop_assert_eq!(follower.epochs(), leader.epochs());
    }

    #[test]
    fn whatever_is_left_of_a_file_recovery_finds_a_prefix_of_its_batches(
        batches in vec((1..5_usize, any::<bool>()), 1..12),
        kept in any::<prop::sample::Index>(),
        flipped in any::<Option<prop::sample::Index>>(),
    ) {
        let mut log = Replica::new();
        for (records, new_epoch) in batches {
            if new_epoch {
                log.lead(log.epoch.0 + 1);
            }
            log.plain(records);
        }
        let whole = spans(log.disk.log());
        let bytes = log.disk.files.get_mut(&File::PartitionLog(P0)).expect("not empty");
        bytes.truncate(kept.index(bytes.len() + 1));
        let left = bytes.len();
        let intact = spans(bytes);
        if let Some(flipped) = flipped && 0 < left {
            bytes[flipped.index(left)] ^= 0x10;
        }
        let (recovered, report) = Replica::recover(log.disk, 0);
        let found = spans(recovered.disk.log());
        let damaged_base = found.first() != whole.first();
        prop_assert!(whole.starts_with(&found) || damaged_base);
        prop_assert!(found == intact || flipped.is_some());
        prop_assert_eq!(recovered.disk.log().len() as u64 + report.cut_bytes, left as u64);
        let again = Replica::recover(recovered.disk, recovered.log.log_start().0).1;
        prop_assert_eq!(again.cut_bytes, 0);
    }
}
