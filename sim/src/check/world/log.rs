//! Ghost logs. Every batch that any replica ever held is kept once, with a chain hash over it and
//! all before it, so that "the same prefix" is one comparison.

use std::collections::BTreeMap;

use broker_model::types::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Sequence};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Names an entry of an [`Arena`]. Two logs that hold the same one hold the same prefix.
pub(crate) type EntryId = u32;

/// The chain hash before the first batch.
const ROOT: u64 = 0x6b61_666b_612d_6c6f;

/// A batch as the judge remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Its first offset.
    pub(crate) base: Offset,
    /// Its last offset.
    pub(crate) last: Offset,
    /// Its leader epoch.
    pub(crate) epoch: LeaderEpoch,
    /// Its CRC.
    pub(crate) crc: u32,
    /// The hash over epoch, offsets and CRC of this batch and the chain before it.
    pub(crate) chain: u64,
    /// Its size in bytes, 0 if unknown.
    pub(crate) size: u32,
    /// Its producer, if it has sequences.
    pub(crate) producer: ProducerId,
    /// That producer's epoch.
    pub(crate) producer_epoch: ProducerEpoch,
    /// The sequence of its first record.
    pub(crate) first: Sequence,
    /// Who held it first.
    pub(crate) by: NodeId,
}

impl Entry {
    /// The offset behind it.
    pub(crate) fn end(&self) -> Offset {
        self.last.next()
    }

    /// How many offsets it takes.
    pub(crate) fn offsets(&self) -> i32 {
        i32::try_from(self.last - self.base + 1).unwrap_or(i32::MAX)
    }

    /// The sequence of its last record.
    pub(crate) fn last_sequence(&self) -> Sequence {
        self.first.plus(self.offsets() - 1)
    }
}

/// Every batch of one partition that anybody ever held.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    entries: Vec<Entry>,
    /// By epoch, in order of last offset.
    epochs: BTreeMap<LeaderEpoch, Vec<EntryId>>,
}

impl Arena {
    /// The entry.
    pub(crate) fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id as usize]
    }

    /// The entry that was first known under that epoch and reaches over that offset.
    pub(crate) fn in_epoch(&self, epoch: LeaderEpoch, offset: Offset) -> Option<EntryId> {
        let ids = self.epochs.get(&epoch)?;
        let at = ids.partition_point(|&id| self.entry(id).last < offset);
        let id = *ids.get(at)?;
        (self.entry(id).base <= offset).then_some(id)
    }

    /// Finds or adds a batch that follows a log with that chain (`None`: an unknown prefix).
    /// The second id is an entry of the same epoch that this one contradicts.
    fn intern(&mut self, mut entry: Entry, prefix: Option<u64>) -> (EntryId, Option<EntryId>) {
        entry.chain = chain(prefix.unwrap_or(ROOT), &entry);
        let entries = &self.entries;
        let ids = self.epochs.entry(entry.epoch).or_default();
        let at = ids.partition_point(|&id| entries[id as usize].last < entry.last);
        let mut clash = None;
        for &id in &ids[at..] {
            let known = &entries[id as usize];
            if known.last != entry.last {
                if known.base <= entry.last {
                    clash.get_or_insert(id);
                }
                break;
            }
            let same_batch = known.base == entry.base && known.crc == entry.crc;
            if known.chain == entry.chain || prefix.is_none() && same_batch {
                return (id, clash);
            }
            clash.get_or_insert(id);
        }
        if let Some(&before) = at.checked_sub(1).and_then(|before| ids.get(before))
            && entries[before as usize].last >= entry.base
        {
            clash.get_or_insert(before);
        }
        let id = EntryId::try_from(entries.len()).expect("a run has fewer than 2^32 batches");
        let after = ids[at..]
            .iter()
            .take_while(|&&id| entries[id as usize].last == entry.last)
            .count();
        ids.insert(at + after, id);
        self.entries.push(entry);
        (id, clash)
    }
}

fn chain(prefix: u64, entry: &Entry) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&entry.base.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.last.0.to_le_bytes());
    bytes[16..20].copy_from_slice(&entry.epoch.0.to_le_bytes());
    bytes[20..].copy_from_slice(&entry.crc.to_le_bytes());
    xxh3_64_with_seed(&bytes, prefix)
}

/// One replica's log, or the committed one: entries of an arena in order of offsets.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    ids: Vec<EntryId>,
    end: Offset,
    /// The chain at the end, `None` behind an unknown prefix.
    chain: Option<u64>,
    /// Whether it was started behind offset 0.
    starts_late: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            end: Offset::ZERO,
            chain: Some(ROOT),
            starts_late: false,
        }
    }
}

impl Log {
    /// The offset of the next record.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// The entries, in order.
    pub(crate) fn ids(&self) -> &[EntryId] {
        &self.ids
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<EntryId> {
        self.ids.last().copied()
    }

    /// Adds a batch. The second id is an entry of the same epoch that this one contradicts.
    pub(crate) fn append(&mut self, arena: &mut Arena, entry: Entry) -> (EntryId, Option<EntryId>) {
        let (id, clash) = arena.intern(entry, self.chain);
        self.push(arena, id);
        (id, clash)
    }

    /// Adds an entry that another log holds.
    pub(crate) fn push(&mut self, arena: &Arena, id: EntryId) {
        let entry = arena.entry(id);
        self.ids.push(id);
        self.end = entry.end();
        self.chain = Some(entry.chain);
    }

    /// Cuts the log to that end; what was cut goes to `removed`, in order. A batch that lies
    /// across the end is cut whole. An end behind the log starts it anew there.
    pub(crate) fn cut(&mut self, arena: &Arena, to: Offset, removed: &mut Vec<EntryId>) {
        if to > self.end {
            removed.append(&mut self.ids);
            self.chain = None;
            self.starts_late = true;
        } else {
            let keep = self.ids.partition_point(|&id| arena.entry(id).last < to);
            removed.extend(self.ids.drain(keep..));
            self.chain = match self.ids.last() {
                Some(&id) => Some(arena.entry(id).chain),
                None => (to == Offset::ZERO).then_some(ROOT),
            };
            self.starts_late &= to > Offset::ZERO;
        }
        self.end = to;
    }

    /// The entry that reaches over that offset.
    pub(crate) fn at(&self, arena: &Arena, offset: Offset) -> Option<EntryId> {
        let at = self.index_of(arena, offset);
        let &id = self.ids.get(at)?;
        (arena.entry(id).base <= offset).then_some(id)
    }

    /// The index of the first entry that ends at or behind that offset.
    pub(crate) fn index_of(&self, arena: &Arena, offset: Offset) -> usize {
        // Almost every question is about the end of a log.
        let tail = self.ids.len().saturating_sub(4);
        if tail > 0 && arena.entry(self.ids[tail - 1]).last < offset {
            let near = &self.ids[tail..];
            return tail + near.partition_point(|&id| arena.entry(id).last < offset);
        }
        self.ids
            .partition_point(|&id| arena.entry(id).last < offset)
    }

    /// Whether this log and that one are the same below `end`, as far as both know.
    pub(crate) fn agrees(&self, arena: &Arena, other: &Log, end: Offset) -> bool {
        let offset = end - 1;
        if offset < self.known_from(arena).max(other.known_from(arena)) {
            return true;
        }
        match (self.at(arena, offset), other.at(arena, offset)) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (None, Some(_)) | (Some(_), None) => false,
            (None, None) => self.end >= end,
        }
    }

    /// Up to where this log and that one are the same.
    pub(crate) fn common_end(&self, arena: &Arena, other: &Log) -> Offset {
        let from = self.known_from(arena).max(other.known_from(arena));
        let mine = &self.ids[self.index_of(arena, from)..];
        let theirs = &other.ids[other.index_of(arena, from)..];
        // Equal entries mean equal prefixes, so equality is monotone along the shorter log.
        let (mut low, mut high) = (0, mine.len().min(theirs.len()));
        while low < high {
            let middle = (low + high) / 2;
            if mine[middle] == theirs[middle] {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low.checked_sub(1) {
            Some(index) => arena.entry(mine[index]).end(),
            None => from,
        }
    }

    /// The first offset whose prefix is known.
    fn known_from(&self, arena: &Arena) -> Offset {
        match self.ids.first() {
            Some(&id) if self.starts_late => arena.entry(id).base,
            None if self.starts_late => self.end,
            _ => Offset::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base: i64, last: i64, epoch: i32, crc: u32) -> Entry {
        Entry {
            base: Offset(base),
            last: Offset(last),
            epoch: LeaderEpoch(epoch),
            crc,
            chain: 0,
            size: 0,
            producer: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            first: Sequence::NONE,
            by: NodeId(1),
        }
    }

    #[test]
    fn copies_share_their_entries() {
        let mut arena = Arena::default();
        let (mut leader, mut follower) = (Log::default(), Log::default());
        for batch in [entry(0, 1, 1, 7), entry(2, 2, 1, 8), entry(3, 5, 2, 9)] {
            let (id, clash) = leader.append(&mut arena, batch);
            assert_eq!(
                (follower.append(&mut arena, batch), clash),
                ((id, None), None)
            );
        }
        assert!(leader.agrees(&arena, &follower, Offset(6)));
        assert_eq!(leader.at(&arena, Offset(4)), leader.last());
        assert_eq!(arena.in_epoch(LeaderEpoch(1), Offset(2)), Some(1));
        assert_eq!(arena.in_epoch(LeaderEpoch(1), Offset(3)), None);
    }

    #[test]
    fn a_log_that_went_another_way_differs_from_there_on() {
        let mut arena = Arena::default();
        let (mut one, mut two) = (Log::default(), Log::default());
        one.append(&mut arena, entry(0, 1, 1, 7));
        two.append(&mut arena, entry(0, 1, 1, 7));
        one.append(&mut arena, entry(2, 2, 1, 8));
        two.append(&mut arena, entry(2, 2, 2, 8));
        let (first, _) = one.append(&mut arena, entry(3, 3, 3, 9));
        let (second, clash) = two.append(&mut arena, entry(3, 3, 3, 9));
        assert_ne!(first, second);
        assert_eq!(clash, Some(first));
        assert_eq!(one.common_end(&arena, &two), Offset(2));
        assert!(one.agrees(&arena, &two, Offset(2)));
        assert!(!one.agrees(&arena, &two, Offset(4)));
    }

    #[test]
    fn overlapping_batches_of_one_epoch_clash() {
        let mut arena = Arena::default();
        let (mut one, mut two) = (Log::default(), Log::default());
        let (whole, _) = one.append(&mut arena, entry(0, 3, 1, 7));
        let (_, clash) = two.append(&mut arena, entry(0, 1, 1, 8));
        assert_eq!(clash, Some(whole));
    }

    #[test]
    fn a_cut_gives_back_what_it_removed() {
        let mut arena = Arena::default();
        let mut log = Log::default();
        let (kept, _) = log.append(&mut arena, entry(0, 1, 1, 7));
        let (cut, _) = log.append(&mut arena, entry(2, 5, 1, 8));
        let mut removed = Vec::new();
        log.cut(&arena, Offset(4), &mut removed);
        assert_eq!((log.ids(), log.end()), ([kept].as_slice(), Offset(4)));
        assert_eq!(removed, [cut]);
        log.cut(&arena, Offset(9), &mut removed);
        assert_eq!((log.ids().len(), log.end()), (0, Offset(9)));
        // What follows an unknown prefix is taken for the batch that is known there.
        let mut other = Log::default();
        other.append(&mut arena, entry(0, 8, 1, 5));
        let (known, _) = other.append(&mut arena, entry(9, 9, 2, 6));
        assert_eq!(log.append(&mut arena, entry(9, 9, 2, 6)), (known, None));
    }
}
