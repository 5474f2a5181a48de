//! Where each leader epoch starts in a log.
//!
//! A follower compares these with its leader's to find where the two logs part (KIP-101, KIP-279).
//! Kafka keeps them in `leader-epoch-checkpoint`; here they follow from the batches. Mirrors
//! `LeaderEpochFileCache`.

use crate::types::{LeaderEpoch, Offset};

/// Leader epochs and their first offsets.
///
/// Both rise strictly from one entry to the next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LeaderEpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// What [`LeaderEpochCache::assign`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assigned {
    /// The epoch had its start already.
    Known,
    /// The epoch is new.
    Added,
    /// The epoch is new, and entries that it contradicts were removed.
    AddedAfterCut,
}

impl LeaderEpochCache {
    /// No epochs.
    #[must_use]
    pub fn new() -> Self {
        LeaderEpochCache::default()
    }

    /// The entries, ascending.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The largest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// The smallest epoch and its start.
    #[must_use]
    pub fn earliest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.entries.first().copied()
    }

    /// Where `epoch` starts, if it has an entry.
    #[must_use]
    pub fn start_of(&self, epoch: LeaderEpoch) -> Option<Offset> {
        let at = self.entries.partition_point(|&(known, _)| known < epoch);
        let &(found, start) = self.entries.get(at)?;
        (found == epoch).then_some(start)
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_for(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The largest epoch that is at most `requested`, and where it ends: where the next larger one
    /// starts, or at `log_end` if `requested` is the latest.
    ///
    /// An epoch older than all entries ends where the oldest entry starts; one newer than all, and no
    /// epoch at all, have no answer.
    #[must_use]
    pub fn end_offset_for(
        &self,
        requested: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if requested == LeaderEpoch::NONE {
            return None;
        }
        if self.latest() == Some(requested) {
            return Some((requested, log_end));
        }
        let higher = self
            .entries
            .partition_point(|&(epoch, _)| epoch <= requested);
        let &(_, end) = self.entries.get(higher)?;
        let floor = higher
            .checked_sub(1)
            .map_or(requested, |at| self.entries[at].0);
        Some((floor, end))
    }

    /// Notes that `epoch` starts at `start`, unless it is the latest epoch already.
    ///
    /// Entries that would no longer be smaller in both epoch and start are removed: they stand for
    /// epochs that wrote nothing, or nothing that is still there.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> Assigned {
        assert!(LeaderEpoch::NONE < epoch, "epoch {epoch} has no start");
        if let Some(&(latest, known)) = self.entries.last()
            && latest == epoch
            && known <= start
        {
            return Assigned::Known;
        }
        let before = self.entries.len();
        while let Some(&(last, at)) = self.entries.last()
            && (epoch <= last || start <= at)
        {
            self.entries.pop();
        }
        let cut = self.entries.len() < before;
        self.entries.push((epoch, start));
        if cut {
            Assigned::AddedAfterCut
        } else {
            Assigned::Added
        }
    }

    /// Removes every epoch that starts at `end` or later. Returns whether there was one.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let kept = self.entries.partition_point(|&(_, start)| start < end);
        let cut = kept < self.entries.len();
        self.entries.truncate(kept);
        cut
    }

    /// Removes every epoch that ends at `start` or earlier, and lets the one around `start` begin
    /// there. Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|&(_, at)| at <= start);
        let Some(last) = after.checked_sub(1) else {
            return false;
        };
        if last == 0 && self.entries[0].1 == start {
            return false;
        }
        self.entries.drain(..last);
        self.entries[0].1 = start;
        true
    }

    /// Removes every epoch. Returns whether there was one.
    pub fn clear(&mut self) -> bool {
        let cut = !self.entries.is_empty();
        self.entries.clear();
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::new();
        for &(epoch, start) in entries {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache
    }

    fn entries(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
        let plain = |&(epoch, start): &(LeaderEpoch, Offset)| (epoch.0, start.0);
        cache.entries().iter().map(plain).collect()
    }

    fn end(cache: &LeaderEpochCache, requested: i32) -> Option<(i32, i64)> {
        let found = cache.end_offset_for(LeaderEpoch(requested), Offset(100))?;
        Some((found.0.0, found.1.0))
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let cache = cache(&[(2, 0), (4, 10), (7, 30)]);
        assert_eq!(end(&cache, 2), Some((2, 10)));
        assert_eq!(end(&cache, 4), Some((4, 30)));
        assert_eq!(end(&cache, 7), Some((7, 100)));
    }

    #[test]
    fn an_epoch_that_left_nothing_is_answered_with_the_one_below_it() {
        let cache = cache(&[(2, 5), (4, 10), (7, 30)]);
        assert_eq!(end(&cache, 3), Some((2, 10)));
        assert_eq!(end(&cache, 6), Some((4, 30)));
        assert_eq!(end(&cache, 1), Some((1, 5)));
        assert_eq!(end(&cache, 8), None);
        assert_eq!(end(&cache, -1), None);
        assert_eq!(end(&LeaderEpochCache::new(), 0), None);
    }

    #[test]
    fn an_epoch_keeps_its_start_and_drops_what_contradicts_it() {
        let mut cache = cache(&[(1, 0), (2, 10)]);
        let mut assign = |epoch, start| cache.assign(LeaderEpoch(epoch), Offset(start));
        assert_eq!(assign(2, 15), Assigned::Known);
        assert_eq!(assign(5, 10), Assigned::AddedAfterCut);
        assert_eq!(assign(6, 20), Assigned::Added);
        assert_eq!(assign(3, 15), Assigned::AddedAfterCut);
        assert_eq!(entries(&cache), [(1, 0), (3, 15)]);
    }

    #[test]
    fn cutting_the_end_leaves_no_epoch_that_starts_there() {
        let mut cache = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(!cache.truncate_from_end(Offset(21)));
        assert!(cache.truncate_from_end(Offset(10)));
        assert_eq!(entries(&cache), [(1, 0)]);
        assert!(cache.truncate_from_end(Offset(0)));
        assert_eq!(cache.latest(), None);
    }

    #[test]
    fn cutting_the_start_moves_the_epoch_around_it() {
        let mut cache = cache(&[(1, 0), (2, 10), (3, 20)]);
        assert!(cache.truncate_from_start(Offset(15)));
        assert_eq!(entries(&cache), [(2, 15), (3, 20)]);
        assert!(!cache.truncate_from_start(Offset(15)));
        assert!(!cache.truncate_from_start(Offset(3)));
        assert!(cache.truncate_from_start(Offset(50)));
        assert_eq!(entries(&cache), [(3, 50)]);
    }

    #[test]
    fn every_offset_belongs_to_the_epoch_that_started_last() {
        let cache = cache(&[(1, 5), (4, 10)]);
        let epoch_for = |offset| cache.epoch_for(Offset(offset)).map(|epoch| epoch.0);
        assert_eq!(epoch_for(4), None);
        assert_eq!(epoch_for(5), Some(1));
        assert_eq!(epoch_for(9), Some(1));
        assert_eq!(epoch_for(10), Some(4));
        assert_eq!(cache.start_of(LeaderEpoch(4)), Some(Offset(10)));
        assert_eq!(cache.start_of(LeaderEpoch(2)), None);
    }
}
