//! What of a partition's past does not count any more: committed offsets that were lost with nobody to blame
//! (invariants.md §0.4), and what a leader committed in vain after it was overruled.

use super::clients::{Clients, Seen, ValueFacts};
use crate::history::{P, V};

/// Committed offsets `[from, to)` that were lost, as the history says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HistoryCut {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) n: u64,
}

impl Clients {
    /// Whether what was written there by a send that began before the fact `n` may be gone: a cut
    /// that came later took the offset.
    pub(crate) fn destroyed_after(&self, p: P, offset: i64, n: u64) -> bool {
        let took = |cut: &HistoryCut| (cut.from..cut.to).contains(&offset) && n < cut.n;
        self.part(p).is_some_and(|part| part.cuts.iter().any(took))
    }

    /// Whether an overruled leader committed that value there.
    pub(crate) fn in_vain(&self, p: P, offset: i64, v: V) -> bool {
        self.part(p)
            .is_some_and(|part| part.in_vain.contains(&(offset, v)))
    }

    /// Whether the value, told or read at that offset, may be gone from there with nobody to blame.
    pub(crate) fn is_void(&self, value: &ValueFacts, p: P, offset: i64) -> bool {
        self.destroyed_after(p, offset, value.invoked_n) || self.in_vain(p, offset, value.v)
    }

    /// The same for any value.
    pub(crate) fn is_void_there(&self, v: V, p: P, offset: i64) -> bool {
        self.find(v)
            .is_some_and(|value| self.is_void(value, p, offset))
    }

    /// Whether a sight is what later ones are compared with, and not what was read there before.
    pub(super) fn outlives(&self, p: P, offset: i64, sight: &Seen, before: &Seen) -> bool {
        before.v == 0 && !self.in_vain(p, offset, sight.v)
            || before.v != sight.v
                && self.is_void_there(before.v, p, offset)
                && !self.is_void_there(sight.v, p, offset)
    }

    /// Committed offsets were lost with nobody to blame.
    pub(in crate::check) fn cut(&mut self, p: P, cut: HistoryCut) {
        let part = self.part_mut(p);
        part.cuts.push(cut);
        part.top = part.top.min(cut.from);
        part.seen.clear_from(cut.from);
        part.acked.clear_from(cut.from);
    }

    /// A leader that had been overruled committed these values.
    pub(in crate::check) fn committed_in_vain(&mut self, p: P, values: &[(i64, V)]) {
        self.part_mut(p).in_vain.extend(values);
    }

    /// A broker began to lead the partition, or one that led heard that it does not any more.
    pub(in crate::check) fn leader_changed(&mut self, p: P, n: u64) {
        self.part_mut(p).leader_changed_n = n;
    }
}
