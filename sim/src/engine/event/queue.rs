//! What is to happen and when: by time, and among equals in the order of scheduling.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use broker_model::effect::File;
use broker_model::timer::Timer;
use broker_model::types::FlushId;

use crate::disk::FlushTicket;
use crate::engine::ProcessId;
use crate::engine::link::{Parcel, Way};

/// Something that is to happen.
pub(super) enum What {
    Fire {
        process: ProcessId,
        incarnation: u32,
        timer: Timer,
        arming: u64,
    },
    Flushed {
        process: ProcessId,
        incarnation: u32,
        file: File,
        id: FlushId,
        ticket: FlushTicket,
    },
    Wake {
        process: ProcessId,
        incarnation: u32,
    },
    Deliver {
        link: u32,
        way: Way,
        /// Counts the parcels of that way.
        number: u64,
        parcel: Parcel,
    },
    Resend {
        link: u32,
    },
}

/// The events to come.
pub(super) struct Queue {
    events: BinaryHeap<Reverse<Event>>,
    /// How many were scheduled.
    order: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue {
            events: BinaryHeap::with_capacity(256),
            order: 0,
        }
    }

    pub(super) fn push(&mut self, at_us: u64, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event {
            at_us,
            order: self.order,
            what,
        }));
    }

    /// The next event and its time, if it is due by then.
    pub(super) fn pop_due(&mut self, by_us: u64) -> Option<(u64, What)> {
        let Reverse(next) = self.events.peek()?;
        if next.at_us > by_us {
            return None;
        }
        let Reverse(event) = self.events.pop()?;
        Some((event.at_us, event.what))
    }
}

struct Event {
    at_us: u64,
    order: u64,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}
