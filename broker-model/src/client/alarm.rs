//! One of a client's timers, moved only when its next deadline comes earlier.
//!
//! A deadline that goes away leaves its timer armed: it fires early, finds nothing to do and is
//! set again. That is cheaper than a timer effect on every step.

use crate::effect::Effects;
use crate::timer::Timer;
use crate::types::Now;

/// A timer and the moment it is armed for.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Timer,
    armed_ms: Option<u64>,
}

impl Alarm {
    /// Not armed.
    pub(super) fn new(timer: Timer) -> Self {
        Alarm {
            timer,
            armed_ms: None,
        }
    }

    /// Makes the timer fire at `deadline_ms` (monotonic) or before, but not within this step.
    pub(super) fn set(&mut self, now: Now, deadline_ms: u64, effects: &mut Effects) {
        let deadline_ms = deadline_ms.max(now.mono_ms + 1);
        if self.armed_ms.is_some_and(|armed| armed <= deadline_ms) {
            return;
        }
        self.armed_ms = Some(deadline_ms);
        effects.arm_at(self.timer, deadline_ms - now.mono_ms);
    }

    /// The timer fired.
    pub(super) fn fired(&mut self) {
        self.armed_ms = None;
    }

    /// Forgets the timer, if it is armed.
    pub(super) fn cancel(&mut self, effects: &mut Effects) {
        if self.armed_ms.take().is_some() {
            effects.disarm(self.timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now {
            mono_ms,
            wall_ms: 0,
        }
    }

    #[test]
    fn only_an_earlier_deadline_moves_the_timer() {
        let mut effects = Effects::new();
        let mut alarm = Alarm::new(Timer::Admin);
        alarm.set(at(10), 50, &mut effects);
        alarm.set(at(20), 60, &mut effects);
        assert_eq!(effects.as_slice().len(), 1);
        alarm.set(at(20), 40, &mut effects);
        assert_eq!(effects.as_slice().len(), 2);
        alarm.fired();
        alarm.set(at(40), 30, &mut effects);
        let windows: Vec<_> = effects
            .drain()
            .map(|effect| format!("{effect:?}"))
            .collect();
        assert!(windows[0].contains("40..=40"), "{windows:?}");
        assert!(windows[1].contains("20..=20"), "{windows:?}");
        assert!(windows[2].contains("1..=1"), "{windows:?}");
    }
}
