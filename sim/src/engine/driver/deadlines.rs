//! What a process waits for: timers, flushes and wake-ups, in order of time.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_model::effect::File;
use broker_model::timer::Timer;
use broker_model::types::FlushId;
use tokio::time::Instant;

use crate::disk::FlushTicket;

/// The driver's clock: microseconds, simulated on turmoil, since the start of the cluster on TCP.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct DriverClock {
    start: Instant,
    start_us: u64,
}

impl DriverClock {
    /// A clock that shows `start_us` now.
    pub(in crate::engine) fn at(start_us: u64) -> Self {
        DriverClock {
            start: Instant::now(),
            start_us,
        }
    }

    pub(in crate::engine) fn now_us(&self) -> u64 {
        let passed = self.start.elapsed().as_micros();
        self.start_us + u64::try_from(passed).expect("less than half a million years")
    }

    pub(super) fn instant(&self, at_us: u64) -> Instant {
        self.start + Duration::from_micros(at_us.saturating_sub(self.start_us))
    }
}

/// Something that happens at a set time.
#[derive(Debug)]
pub(super) enum Due {
    Fire {
        timer: Timer,
        arming: u64,
    },
    Flushed {
        file: File,
        id: FlushId,
        ticket: FlushTicket,
    },
    Wake,
}

/// Deadlines in order of time; equal ones in the order they were set.
#[derive(Default, Debug)]
pub(super) struct Deadlines {
    dues: BTreeMap<(u64, u64), Due>,
    order: u64,
}

impl Deadlines {
    pub(super) fn set(&mut self, at_us: u64, due: Due) {
        self.order += 1;
        self.dues.insert((at_us, self.order), due);
    }

    pub(super) fn next_us(&self) -> Option<u64> {
        self.dues.first_key_value().map(|(&(at_us, _), _)| at_us)
    }

    /// Takes the first one whose time has come.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<Due> {
        let entry = self.dues.first_entry()?;
        (entry.key().0 <= now_us).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_of_time_and_never_early() {
        let mut deadlines = Deadlines::default();
        deadlines.set(20, Due::Wake);
        let (timer, arming) = (Timer::ApplyMetadata, 1);
        deadlines.set(10, Due::Fire { timer, arming });
        assert_eq!(deadlines.next_us(), Some(10));
        assert!(deadlines.pop_due(9).is_none());
        assert!(matches!(deadlines.pop_due(20), Some(Due::Fire { .. })));
        assert!(matches!(deadlines.pop_due(20), Some(Due::Wake)));
        assert!(deadlines.pop_due(20).is_none());
    }
}
