//! Kafka's `ExponentialBackoff`: doubling, twenty percent of jitter, an upper bound.

use crate::ids::IdSource;

/// Growing delays between attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Backoff {
    /// `retry.backoff.ms`.
    pub(super) initial_ms: u64,
    /// `retry.backoff.max.ms`.
    pub(super) max_ms: u64,
}

impl Backoff {
    /// The delay in milliseconds after `attempts` earlier delays.
    pub(super) fn delay_ms(self, attempts: u32, ids: &mut IdSource) -> u64 {
        if self.max_ms <= self.initial_ms {
            return self.max_ms;
        }
        let term_ms = (self.initial_ms << attempts.min(DOUBLINGS_MAX)).min(self.max_ms);
        let percent = 80 + ids.below(41);
        (term_ms * percent / 100).min(self.max_ms)
    }
}

/// More doublings than this pass every bound that makes sense.
const DOUBLINGS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_within_the_jitter() {
        let mut ids = IdSource::new(1);
        let backoff = Backoff {
            initial_ms: 100,
            max_ms: 1_000,
        };
        for (attempts, term) in [(0, 100), (1, 200), (2, 400), (3, 800)] {
            let delay = backoff.delay_ms(attempts, &mut ids);
            let range = term * 8 / 10..=(term * 12 / 10).min(1_000);
            assert!(range.contains(&delay), "{attempts}: {delay}");
        }
        assert!((800..=1_000).contains(&backoff.delay_ms(40, &mut ids)));
        let constant = Backoff {
            initial_ms: 100,
            max_ms: 100,
        };
        assert_eq!(constant.delay_ms(3, &mut ids), 100);
    }
}
