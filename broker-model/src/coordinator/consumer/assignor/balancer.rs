//! Who has least and who has most, while partitions move from these to those.
//!
//! Mirrors `UniformHeterogeneousAssignmentBuilder.MemberAssignmentBalancer`. Members are sorted by how
//! many partitions they have. A range of those with least grows from the left, one of those with
//! most from the right; each member of a range gets, or gives, one partition before the next round
//! of that range. When the two levels differ by one at most, nothing is left to do. Levels go below
//! zero while a range is empty, so they are signed.

/// The two ranges.
pub(super) struct Balancer {
    /// By number of partitions when this began, then by number.
    sorted: Vec<usize>,
    /// Those with least are `sorted[..least_end]`.
    least_end: usize,
    least_level: i64,
    next_least: usize,
    /// Those with most are `sorted[most_start..most_end]`; behind are some that have none to give.
    most_start: usize,
    most_end: usize,
    most_level: i64,
    /// One above the next of them, 0 if there is none.
    next_most: usize,
}

impl Balancer {
    /// For these members, of which there is at least one.
    pub(super) fn new(members: &[usize], sizes: &[usize]) -> Self {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|&member| (sizes[member], member));
        let (first, last) = (sorted[0], sorted[sorted.len() - 1]);
        let end = sorted.len();
        Balancer {
            sorted,
            least_end: 0,
            least_level: level(sizes, first) - 1,
            next_least: 0,
            most_start: end,
            most_end: end,
            most_level: level(sizes, last) + 1,
            next_most: end,
        }
    }

    /// Who gets the next partition.
    pub(super) fn next_least_loaded(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least_level += 1;
            while self.least_end < self.sorted.len()
                && level(sizes, self.sorted[self.least_end]) == self.least_level
            {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        let member = self.sorted[self.next_least];
        self.next_least += 1;
        member
    }

    /// Who gives the next partition, if anybody can.
    pub(super) fn next_most_loaded(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.next_most <= self.most_start {
            if self.most_end <= self.most_start && self.most_start > 0 {
                // All were excluded: go on with whatever level comes next.
                self.most_level = level(sizes, self.sorted[self.most_start - 1]);
            } else {
                self.most_level -= 1;
            }
            while self.most_start > 0
                && level(sizes, self.sorted[self.most_start - 1]) == self.most_level
            {
                self.most_start -= 1;
            }
            self.next_most = self.most_end;
        }
        if self.next_most == 0 {
            return None;
        }
        self.next_most -= 1;
        Some(self.sorted[self.next_most])
    }

    /// The member that came last has nothing to give.
    pub(super) fn exclude_most_loaded(&mut self) {
        self.most_end -= 1;
        self.sorted.swap(self.next_most, self.most_end);
    }

    /// Whether the two ranges are level.
    pub(super) fn is_balanced(&self) -> bool {
        self.most_level - self.least_level <= 1
    }
}

fn level(sizes: &[usize], member: usize) -> i64 {
    i64::try_from(sizes[member]).expect("a count of partitions")
}
