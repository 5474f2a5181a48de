//! Whether reads and writes of one register can be put into an order that explains them: Gibbons and Korach,
//! "Testing shared memories" (1997), for values that are written once. O(K log K).
//!
//! A cluster is a write and the reads that returned it. Its zone lies between the first completion and the
//! last invocation of its operations. If that is forward in time, the register certainly held the value all
//! along; so two such zones may not overlap, and no cluster whose operations all overlap each other may lie
//! within one. A write with an unknown outcome counts only if it was read.

use std::collections::BTreeMap;

/// A write of a value of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Write {
    /// When it began.
    pub(crate) inv: u64,
    /// When it had taken effect; [`UNKNOWN`] if it may still, or never.
    pub(crate) cmp: u64,
}

/// A read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    pub(crate) inv: u64,
    pub(crate) cmp: u64,
    /// Which write it returned; `None` for what was there before all writes.
    pub(crate) of: Option<usize>,
}

/// The completion of a write with an unknown outcome.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// Why there is no such order. A write is named by its index, `None` is the value before all writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// The read, by its index, ended before the write began that it returned.
    Early { read: usize },
    /// Each of two values was there before and after the other.
    Back {
        one: Option<usize>,
        other: Option<usize>,
    },
    /// The value was there before and after that write, which took effect in between.
    Lost { kept: Option<usize>, lost: usize },
}

/// A cluster's zone.
#[derive(Clone, Copy, Debug)]
struct Zone {
    of: Option<usize>,
    first_cmp: u64,
    last_inv: u64,
}

/// Looks for a flaw; writes and reads in any order.
pub(crate) fn flaw(writes: &[Write], reads: &[Read]) -> Option<Flaw> {
    let mut zones: BTreeMap<Option<usize>, Zone> = BTreeMap::new();
    let known = (0..).zip(writes).filter(|(_, write)| write.cmp != UNKNOWN);
    for (index, write) in known {
        zones.insert(Some(index), Zone::of(Some(index), write.cmp, write.inv));
    }
    for (index, read) in (0..).zip(reads) {
        let (cmp, inv) = match read.of {
            Some(of) => (writes[of].cmp, writes[of].inv),
            None => (0, 0),
        };
        if read.cmp < inv {
            return Some(Flaw::Early { read: index });
        }
        let zone = zones.entry(read.of).or_insert(Zone::of(read.of, cmp, inv));
        zone.first_cmp = zone.first_cmp.min(read.cmp);
        zone.last_inv = zone.last_inv.max(read.inv);
    }
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones
        .into_values()
        .partition(|zone| zone.first_cmp < zone.last_inv);
    forward.sort_by_key(|zone| zone.first_cmp);
    let overlap = forward
        .windows(2)
        .find(|pair| pair[1].first_cmp < pair[0].last_inv);
    if let Some(pair) = overlap {
        let (one, other) = (pair[0].of, pair[1].of);
        return Some(Flaw::Back { one, other });
    }
    // They do not overlap, so that only the last that begins before can hold it.
    backward.iter().find_map(|zone| {
        let next = forward.partition_point(|held| held.first_cmp < zone.last_inv);
        let held = forward[..next].last()?;
        let lost = zone.of?;
        (zone.first_cmp < held.last_inv).then_some(Flaw::Lost {
            kept: held.of,
            lost,
        })
    })
}

impl Zone {
    fn of(of: Option<usize>, first_cmp: u64, last_inv: u64) -> Self {
        Zone {
            of,
            first_cmp,
            last_inv,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(inv: u64, cmp: u64) -> Write {
        Write { inv, cmp }
    }

    fn read(inv: u64, cmp: u64, of: Option<usize>) -> Read {
        Read { inv, cmp, of }
    }

    #[test]
    fn a_read_of_what_was_overwritten_is_found() {
        let writes = [write(1, 2), write(3, 4)];
        let lost = Flaw::Lost {
            kept: Some(0),
            lost: 1,
        };
        assert_eq!(flaw(&writes, &[read(5, 6, Some(0))]), Some(lost));
        assert_eq!(flaw(&writes, &[read(5, 6, Some(1))]), None);
        assert_eq!(flaw(&writes, &[read(3, 6, Some(0))]), None);
    }

    #[test]
    fn a_value_that_comes_back_is_found() {
        let writes = [write(1, 19), write(2, 20)];
        let there_and_back = [
            read(11, 12, Some(0)),
            read(13, 14, Some(1)),
            read(15, 16, Some(0)),
            read(17, 18, Some(1)),
        ];
        let back = Flaw::Back {
            one: Some(0),
            other: Some(1),
        };
        assert_eq!(flaw(&writes, &there_and_back), Some(back));
        assert_eq!(flaw(&writes, &there_and_back[..2]), None);
    }

    #[test]
    fn nothing_after_a_write_is_found() {
        let lost = Flaw::Lost {
            kept: None,
            lost: 0,
        };
        assert_eq!(flaw(&[write(1, 2)], &[read(3, 4, None)]), Some(lost));
        assert_eq!(flaw(&[write(1, UNKNOWN)], &[read(3, 4, None)]), None);
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_but_not_early() {
        let writes = [write(5, UNKNOWN), write(6, 7)];
        let late = [read(8, 9, Some(1)), read(10, 11, Some(0))];
        assert_eq!(flaw(&writes, &late), None);
        let early = [read(3, 4, Some(0))];
        assert_eq!(flaw(&writes, &early), Some(Flaw::Early { read: 0 }));
    }

    /// Wing and Gong: tries every order. The operations that are done are the bits of `done`.
    fn explains(writes: &[Write], reads: &[Read], done: u32, value: Option<usize>) -> bool {
        let count = writes.len() + reads.len();
        let op = |index: usize| match writes.get(index) {
            Some(write) => (write.inv, write.cmp),
            None => {
                let read = reads[index - writes.len()];
                (read.inv, read.cmp)
            }
        };
        let open = (0..count).filter(|index| done & (1 << index) == 0);
        let open: Vec<usize> = open.collect();
        // What has an unknown outcome need not happen.
        if open.iter().all(|&index| op(index).1 == UNKNOWN) {
            return true;
        }
        let first_cmp = open.iter().map(|&index| op(index).1).min();
        open.iter().any(|&index| {
            if first_cmp.is_some_and(|first_cmp| first_cmp < op(index).0) {
                return false;
            }
            let done = done | (1 << index);
            if index < writes.len() {
                explains(writes, reads, done, Some(index))
            } else {
                let matches = reads[index - writes.len()].of == value;
                matches && explains(writes, reads, done, value)
            }
        })
    }

    /// Intervals over distinct moments.
    fn histories() -> impl Strategy<Value = (Vec<Write>, Vec<Read>)> {
        let shape = (1_usize..5, 0_usize..5);
        shape.prop_flat_map(|(writes, reads)| {
            let moments = 2 * (writes + reads) as u64;
            let moments: Vec<u64> = (1..=moments).collect();
            let unknown = proptest::collection::vec(any::<bool>(), writes);
            let of = proptest::collection::vec(proptest::option::weighted(0.9, 0..writes), reads);
            (Just(moments).prop_shuffle(), unknown, of).prop_map(move |(moments, unknown, of)| {
                let interval = |index: usize| {
                    let (one, other) = (moments[2 * index], moments[2 * index + 1]);
                    (one.min(other), one.max(other))
                };
                let known = (0..writes).map(|index| {
                    let (inv, cmp) = interval(index);
                    let cmp = if unknown[index] { UNKNOWN } else { cmp };
                    Write { inv, cmp }
                });
                let read = (0..reads).map(|index| {
                    let (inv, cmp) = interval(writes + index);
                    let of = of[index];
                    Read { inv, cmp, of }
                });
                (known.collect(), read.collect())
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn zones_say_what_a_search_says((writes, reads) in histories()) {
            let found = flaw(&writes, &reads);
            prop_assert_eq!(found.is_none(), explains(&writes, &reads, 0, None), "{:?}", found);
        }
    }
}
