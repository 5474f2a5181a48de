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
    /// Where each timer's newest arming stands: arming a timer again replaces it, and a busy process
    /// arms some of its timers with every request.
    armed: BTreeMap<Timer, (u64, u64)>,
    order: u64,
}

impl Deadlines {
    pub(super) fn set(&mut self, at_us: u64, due: Due) {
        self.order += 1;
        let place = (at_us, self.order);
        if let Due::Fire { timer, .. } = due
            && let Some(before) = self.armed.insert(timer, place)
        {
            self.dues.remove(&before);
        }
        self.dues.insert(place, due);
    }

    pub(super) fn next_us(&self) -> Option<u64> {
        self.dues.first_key_value().map(|(&(at_us, _), _)| at_us)
    }

    /// Takes the first one whose time has come.
    pub(super) fn pop_due(&mut self, now_us: u64) -> Option<Due> {
        let entry = self.dues.first_entry()?;
        if now_us < entry.key().0 {
            return None;
        }
        let due = entry.remove();
        if let Due::Fire { timer, .. } = due {
            self.armed.remove(&timer);
        }
        Some(due)
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

    #[test]
    fn a_timer_that_is_armed_again_fires_once() {
        let mut deadlines = Deadlines::default();
        let timer = Timer::ApplyMetadata;
        deadlines.set(10, Due::Fire { timer, arming: 1 });
        deadlines.set(30, Due::Fire { timer, arming: 2 });
        assert!(deadlines.pop_due(20).is_none());
        let due = deadlines.pop_due(30);
        assert!(matches!(due, Some(Due::Fire { arming: 2, .. })), "{due:?}");
        assert!(deadlines.dues.is_empty() && deadlines.armed.is_empty());
    }
}
