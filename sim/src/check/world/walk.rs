//! A consumer's way through a partition.
//!
//! One walk a consumer and partition, carrying the position where its next poll must begin. Every
//! legal jump sets the position: an assignment, a seek, a reset.

use crate::history::{A, P, PollPart};

/// Where a consumer stands in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Walk {
    /// Where the next poll begins, if that is known.
    pub(crate) position: Option<i64>,
    /// The position before resets that came since the last poll.
    before_reset: Option<i64>,
    /// Whether it was reset since the last poll.
    was_reset: bool,
}

/// What one poll did in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) p: P,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Where it had to begin, if that is known.
    pub(crate) expected: Option<i64>,
    /// Whether the position was reset while it went on.
    pub(crate) was_reset: bool,
    /// Where its records begin among the moment's sights.
    pub(crate) first_sight: usize,
    /// The first offset that is less than the position it was read at, and that position.
    pub(crate) went_back: Option<(i64, i64)>,
    /// How many records it returned.
    pub(crate) records: usize,
}

/// A range that a consumer's position passed without a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) from: i64,
    /// Exclusive.
    pub(crate) to: i64,
    pub(crate) actor: A,
    pub(crate) n: u64,
    pub(crate) t_us: u64,
}

/// What a final consumer read of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scan {
    /// The first position.
    pub(crate) from: Option<i64>,
    /// The last position.
    pub(crate) to: i64,
    /// The end offset that it was told to reach.
    pub(crate) must_reach: Option<i64>,
}

impl Walk {
    /// The position was set; negative numbers stand for the log's ends.
    pub(super) fn seek(&mut self, to: i64) {
        *self = Self {
            position: (to >= 0).then_some(to),
            ..Self::default()
        };
    }

    /// The client set the position by itself, perhaps in the middle of a poll.
    pub(super) fn reset(&mut self, to: i64) {
        if !self.was_reset {
            self.before_reset = self.position;
        }
        self.was_reset = true;
        self.position = Some(to);
    }

    /// A poll returned.
    pub(super) fn step(&mut self, poll: &PollPart, first_sight: usize) -> Step {
        // A poll that had begun when the position was reset. Any other is like all polls.
        let was_reset = self.was_reset
            && self.position != Some(poll.from)
            && self.before_reset == Some(poll.from);
        let expected = if was_reset {
            Some(poll.from)
        } else {
            self.position
        };
        // The records may begin anywhere from the reset's target on.
        let mut position = match self.position {
            Some(target) if was_reset => target.min(poll.from),
            _ => poll.from,
        };
        let mut went_back = None;
        for &(offset, _) in &poll.rs {
            if offset < position {
                went_back.get_or_insert((offset, position));
            }
            position = offset + 1;
        }
        if !was_reset && poll.to < position {
            went_back.get_or_insert((poll.to, position));
        }
        let step = Step {
            p: poll.p,
            from: poll.from,
            to: poll.to,
            expected,
            was_reset,
            first_sight,
            went_back,
            records: poll.rs.len(),
        };
        *self = Self {
            position: Some(poll.to),
            ..Self::default()
        };
        step
    }
}

impl Step {
    /// The ranges that the position passed without a record.
    pub(super) fn gaps(&self, poll: &PollPart, mut gap: impl FnMut(i64, i64)) {
        let passed = u64::try_from(self.to - self.from).unwrap_or(0);
        if self.was_reset || passed == poll.rs.len() as u64 {
            return;
        }
        let mut position = self.from;
        for &(offset, _) in &poll.rs {
            if position < offset {
                gap(position, offset);
            }
            position = offset + 1;
        }
        if position < self.to {
            gap(position, self.to);
        }
    }
}

impl Scan {
    /// Whether it went from the start to the end that it was told to reach.
    pub(crate) fn is_complete(&self) -> bool {
        match self.must_reach {
            Some(end) => self.to >= end && (self.from.is_some() || end == 0),
            None => false,
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.from.get_or_insert(step.from);
        self.to = step.to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(from: i64, to: i64, offsets: &[i64]) -> PollPart {
        PollPart {
            from,
            to,
            rs: offsets.iter().map(|&offset| (offset, 1)).collect(),
            ..PollPart::default()
        }
    }

    #[test]
    fn a_walk_knows_where_the_next_poll_begins() {
        let mut walk = Walk::default();
        walk.seek(-2);
        assert_eq!(walk.step(&poll(3, 5, &[3, 4]), 0).expected, None);
        assert_eq!(walk.step(&poll(7, 8, &[7]), 0).expected, Some(5));
        walk.reset(2);
        assert_eq!(walk.step(&poll(2, 3, &[2]), 0).expected, Some(2));
    }

    #[test]
    fn a_reset_during_a_poll_lets_it_begin_at_either_place() {
        let mut walk = Walk::default();
        walk.seek(9);
        walk.reset(2);
        let step = walk.step(&poll(9, 3, &[2]), 0);
        assert_eq!((step.expected, step.went_back), (Some(9), None));
        assert_eq!(walk.position, Some(3));
        walk.reset(1);
        assert_eq!(walk.step(&poll(2, 3, &[2]), 0).expected, Some(1));
    }

    #[test]
    fn a_poll_from_the_target_of_a_reset_is_like_all_polls() {
        let mut walk = Walk::default();
        walk.reset(3);
        let part = poll(3, 6, &[4]);
        let step = walk.step(&part, 0);
        assert_eq!((step.expected, step.was_reset), (Some(3), false));
        let mut gaps = Vec::new();
        step.gaps(&part, |from, to| gaps.push((from, to)));
        assert_eq!(gaps, [(3, 4), (5, 6)]);
        // One that knew no position begins where the reset says, too.
        let mut walk = Walk::default();
        walk.reset(3);
        assert_eq!(walk.step(&poll(7, 8, &[7]), 0).expected, Some(3));
    }

    #[test]
    fn gaps_are_what_lies_between_records() {
        let part = poll(3, 12, &[3, 4, 7, 9]);
        let step = Walk::default().step(&part, 0);
        let mut gaps = Vec::new();
        step.gaps(&part, |from, to| gaps.push((from, to)));
        assert_eq!(gaps, [(5, 7), (8, 9), (10, 12)]);
        assert_eq!(step.went_back, None);
    }

    #[test]
    fn going_back_is_noticed() {
        let step = Walk::default().step(&poll(3, 6, &[3, 5, 4]), 0);
        assert_eq!(step.went_back, Some((4, 6)));
    }
}
