//! The assignors by themselves, for measurements: how long an assignment takes, whoever asks for it.
//!
//! Members are numbered and read one topic.

use crate::client::shares_of_leader;
use crate::coordinator::shares_of_coordinator;

/// Who shall have which partitions of a topic that has so many, and who has which now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shares {
    /// How many partitions there are.
    pub partitions: i32,
    /// What each member has.
    pub owned: Vec<Vec<i32>>,
}

/// What a leader's assignor gives to each member (`range`, `roundrobin`, `sticky`,
/// `cooperative-sticky`); `None` if there is no such assignor.
#[must_use]
pub fn by_leader(assignor: &str, shares: &Shares) -> Option<Vec<Vec<i32>>> {
    shares_of_leader(assignor, shares)
}

/// What the coordinator's assignor gives to each member (`uniform`, `range`); `None` if there is no
/// such assignor.
#[must_use]
pub fn by_coordinator(assignor: &str, shares: &Shares) -> Option<Vec<Vec<i32>>> {
    shares_of_coordinator(assignor, shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_share() {
        let shares = Shares {
            partitions: 4,
            owned: vec![vec![0, 1, 2, 3], vec![]],
        };
        let range = vec![vec![0, 1], vec![2, 3]];
        assert_eq!(by_leader("range", &shares), Some(range.clone()));
        assert_eq!(by_coordinator("range", &shares), Some(range.clone()));
        assert_eq!(by_coordinator("uniform", &shares), Some(range));
        let given_up_first = vec![vec![0, 1], vec![]];
        assert_eq!(
            by_leader("cooperative-sticky", &shares),
            Some(given_up_first)
        );
        assert_eq!(by_leader("uniform", &shares), None);
        assert_eq!(by_coordinator("sticky", &shares), None);
    }
}
