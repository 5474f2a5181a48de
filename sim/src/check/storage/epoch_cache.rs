//! A replica's leader-epoch cache tells the truth about its log: epochs and starts rise strictly, and each
//! epoch starts where its first batch lies. KIP-101, KIP-279; `LeaderEpochFileCache`.
//!
//! An epoch may be in the cache before it has a record; none may start behind the log's end.

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, Offset};

use crate::check::replication::about;
use crate::check::world::partition::{Partition, Replica};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct EpochCache;

impl Check for EpochCache {
    fn name(&self) -> &'static str {
        "epoch-cache/ST-3"
    }

    fn wants(&self) -> &'static [Kind] {
        &[
            Kind::HighWatermark,
            Kind::BecameLeader,
            Kind::BecameFollower,
            Kind::LogRecovered,
        ]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((node, note, partition, replica)) = about(event, world) else {
            return;
        };
        let wrong = if matches!(note, Note::HighWatermark { .. }) {
            tail(partition, replica)
        } else {
            whole(partition, replica)
        };
        if replica.log.ids().is_empty() {
            return;
        }
        let Some((epoch, start, wrong)) = wrong else {
            sink.exercised();
            return;
        };
        sink.fail(
            Violation::new(format!(
                "the epoch cache of {} on n{node} does not fit its log",
                partition.name
            ))
            .fact(
                "cache",
                event.t_us,
                format!("epoch {epoch} from {start} on; all: {:?}", replica.cache),
            )
            .fact(
                "log",
                event.t_us,
                format!("{wrong}; log end {}", replica.log.end()),
            ),
        );
    }
}

type Wrong = (LeaderEpoch, Offset, String);

/// What is wrong at the log's end.
fn tail(partition: &Partition, replica: &Replica) -> Option<Wrong> {
    let last = partition.arena.entry(replica.log.last()?);
    let at = replica
        .cache
        .partition_point(|&(_, start)| start <= last.base);
    let known = at.checked_sub(1).map(|index| replica.cache[index]);
    match known {
        Some((epoch, _)) if epoch == last.epoch => None,
        _ => {
            let (epoch, start) = known.unwrap_or((LeaderEpoch::NONE, Offset::UNKNOWN));
            let wrong = format!("{}..{} is of epoch {}", last.base, last.last, last.epoch);
            Some((epoch, start, wrong))
        }
    }
}

/// What is wrong anywhere.
fn whole(partition: &Partition, replica: &Replica) -> Option<Wrong> {
    for pair in replica.cache.windows(2) {
        if pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1 {
            let wrong = format!("the entry before is epoch {} from {}", pair[0].0, pair[0].1);
            return Some((pair[1].0, pair[1].1, wrong));
        }
    }
    for (index, &(epoch, start)) in replica.cache.iter().enumerate() {
        if start > replica.log.end() {
            return Some((epoch, start, "it ends before".to_owned()));
        }
        let log = &replica.log;
        let last = replica
            .cache
            .get(index + 1)
            .map_or(log.end(), |&(_, next)| next)
            - 1;
        for offset in [start, last] {
            let Some(id) = log.at(&partition.arena, offset) else {
                continue;
            };
            let entry = partition.arena.entry(id);
            let begins = offset != start || entry.base == start || start <= replica.log_start;
            if start <= last && (entry.epoch != epoch || !begins) {
                let wrong = format!("{}..{} is of epoch {}", entry.base, entry.last, entry.epoch);
                return Some((epoch, start, wrong));
            }
        }
    }
    tail(partition, replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{
        Case, TestBatch, cache, follower_hw, leads, partition, recovers, truncates,
    };
    use crate::observe::Stop;

    fn assigns(epoch: i32, start: i64) -> Note {
        Note::EpochAssigned {
            partition: partition(),
            epoch: LeaderEpoch(epoch),
            start: Offset(start),
        }
    }

    fn cuts(left: &[(i32, i64)]) -> Note {
        Note::EpochsCut {
            partition: partition(),
            epochs: cache(left),
        }
    }

    fn case() -> Case {
        Case::of(make::<EpochCache>)
            .note(1, assigns(4, 0))
            .note(1, TestBatch::at(0, 2, 4).followed())
            .note(1, assigns(5, 2))
            .note(1, TestBatch::at(2, 2, 5).followed())
    }

    #[test]
    fn an_epoch_that_was_not_assigned_is_found() {
        case()
            .note(1, TestBatch::at(4, 1, 6).followed())
            .note(1, follower_hw(6, 1, 5))
            .end()
            .fails("is of epoch 6");
    }

    #[test]
    fn an_epoch_that_outlives_its_records_is_found() {
        case()
            .note(1, truncates(2, 4))
            .note(1, TestBatch::at(2, 2, 4).followed())
            .note(1, leads(6, 4, 0))
            .end()
            .fails("is of epoch 4");
    }

    #[test]
    fn a_recovered_cache_that_starts_an_epoch_elsewhere_is_found() {
        case()
            .stops(1, Stop::Killed)
            .note(1, recovers(4, &[(4, 0), (5, 1)]))
            .end()
            .fails("epoch 5 from 1 on");
    }

    #[test]
    fn a_cache_that_follows_its_log_passes() {
        case()
            .note(1, truncates(2, 4))
            .note(1, cuts(&[(4, 0)]))
            .note(1, TestBatch::at(2, 2, 4).followed())
            .note(1, assigns(6, 4))
            .note(1, leads(6, 4, 0))
            .stops(1, Stop::Killed)
            .note(1, recovers(4, &[(4, 0)]))
            .end()
            .passes();
    }
}
