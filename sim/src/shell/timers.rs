//! The timers of a process: which are armed, which a script withholds, and at which moment of its
//! window one fires.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use broker_model::timer::Timer;

use super::Shell;
use crate::seed::Purpose;
use crate::trace::timer_code;

/// What is armed, and what keeps it from firing.
#[derive(Default)]
pub(super) struct Timers {
    armed: Vec<Armed>,
    armings: u64,
    /// Timers that a script keeps from firing, with the arming whose moment passed meanwhile.
    withheld: BTreeMap<Timer, Option<u64>>,
}

#[derive(Clone, Copy)]
struct Armed {
    timer: Timer,
    arming: u64,
}

impl Timers {
    /// Arms a timer, anew if it is armed already. Returns which arming this is.
    pub(super) fn arm(&mut self, timer: Timer) -> u64 {
        self.disarm(timer);
        self.armings += 1;
        self.armed.push(Armed {
            timer,
            arming: self.armings,
        });
        self.armings
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.armed.retain(|armed| armed.timer != timer);
    }

    /// The process ended. What a script withholds stays withheld.
    pub(super) fn disarm_all(&mut self) {
        self.armed.clear();
    }

    /// Whether that arming is neither fired nor replaced nor disarmed.
    pub(super) fn is_pending(&self, arming: u64) -> bool {
        self.armed.iter().any(|armed| armed.arming == arming)
    }

    /// An arming's moment came. Whether the timer fires; it is not armed any more then.
    pub(super) fn take(&mut self, timer: Timer, arming: u64) -> bool {
        let Some(at) = self.armed.iter().position(|armed| armed.arming == arming) else {
            return false;
        };
        if let Some(missed) = self.withheld.get_mut(&timer) {
            *missed = Some(arming);
            return false;
        }
        self.armed.swap_remove(at);
        true
    }
}

impl Shell {
    /// Which arming of that timer is pending.
    #[must_use]
    pub fn armed(&self, timer: Timer) -> Option<u64> {
        let mut armed = self.timers.armed.iter();
        armed
            .find(|armed| armed.timer == timer)
            .map(|armed| armed.arming)
    }

    /// From now on that timer does not fire by itself.
    pub fn withhold(&mut self, timer: Timer) {
        self.timers.withheld.entry(timer).or_default();
    }

    /// Whether that timer does not fire by itself.
    #[must_use]
    pub fn withholds(&self, timer: Timer) -> bool {
        self.timers.withheld.contains_key(&timer)
    }

    /// The timer fires again. Returns the arming whose moment passed while it did not.
    pub fn grant(&mut self, timer: Timer) -> Option<u64> {
        self.timers.withheld.remove(&timer).flatten()
    }

    /// How long from now that arming fires, in microseconds.
    pub(super) fn delay_us(
        &self,
        timer: Timer,
        arming: u64,
        window_ms: &RangeInclusive<u64>,
    ) -> u64 {
        let least_us = window_ms.start() * 1_000;
        let span_us = (window_ms.end() - window_ms.start()) * 1_000;
        if span_us == 0 {
            least_us
        } else if self.pinned_timers {
            least_us + self.pinned_lag_us(span_us)
        } else {
            least_us + self.drawn_lag_us(timer, arming, span_us)
        }
    }

    /// The moment of a span that this process always fires at.
    fn pinned_lag_us(&self, span_us: u64) -> u64 {
        let turn = u64::from(self.identity.index) % PINNED_STEPS;
        turn * (span_us / PINNED_STEPS)
    }

    /// A moment of a span, drawn for that arming.
    fn drawn_lag_us(&self, timer: Timer, arming: u64, span_us: u64) -> u64 {
        let incarnation = u64::from(self.incarnation) << 32;
        let key = [self.identity.key, timer_code(timer), incarnation | arming];
        let draw = self.seed.draw(Purpose::Timers, key);
        if timer == Timer::ApplyMetadata {
            heavy_tailed(draw, span_us)
        } else {
            draw % (span_us + 1)
        }
    }
}

/// Into how many moments a pinned timer's window is divided.
const PINNED_STEPS: u64 = 8;

/// A Pareto-like lag inside `0..=span`: most are short, one in a hundred is long.
fn heavy_tailed(draw: u64, span: u64) -> u64 {
    let tail = draw >> 56;
    let within = draw & 0x00FF_FFFF_FFFF_FFFF;
    let reach = match tail {
        0..=2 => span,
        3..=15 => span / 4,
        16..=63 => span / 16,
        _ => span / 64,
    };
    within % (reach + 1)
}
