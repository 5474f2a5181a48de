//! What disturbs the network between processes, and how many messages met it.
//!
//! Shared by the turmoil engine, which turns it into turmoil's links, and by the streams, which
//! report what they send. Decides nothing about time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Disturbance, ProcessId};

/// The network's state between any two processes.
#[derive(Default)]
pub(super) struct Weather {
    disturbances: BTreeMap<u32, Met>,
    /// Hosts without power.
    dark: BTreeSet<ProcessId>,
    addresses: BTreeMap<IpAddr, ProcessId>,
    names: BTreeMap<String, ProcessId>,
}

/// A disturbance, and how many messages met it.
struct Met {
    disturbance: Disturbance,
    messages: u64,
}

/// What the pair of links between two processes should be like.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sky {
    /// Messages of the first to the second are lost.
    pub(super) cut_there: bool,
    /// Messages of the second to the first are lost.
    pub(super) cut_back: bool,
    /// Messages wait. A cut wins over it.
    pub(super) held: bool,
    /// Messages take longer, in microseconds.
    pub(super) extra_us: u64,
}

impl Weather {
    /// Tells a host's name and address.
    pub(super) fn register(&mut self, process: ProcessId, name: &str, address: IpAddr) {
        self.names.insert(name.to_owned(), process);
        self.addresses.insert(address, process);
    }

    pub(super) fn process_at(&self, address: IpAddr) -> Option<ProcessId> {
        self.addresses.get(&address).copied()
    }

    pub(super) fn process_named(&self, name: &str) -> Option<ProcessId> {
        self.names.get(name).copied()
    }

    /// Adds a fault's disturbance, which has met that many messages already.
    pub(super) fn disturb(&mut self, fault: u32, disturbance: Disturbance, messages: u64) {
        let met = Met {
            disturbance,
            messages,
        };
        self.disturbances.insert(fault, met);
    }

    pub(super) fn calm(&mut self, fault: u32) {
        self.disturbances.remove(&fault);
    }

    /// How many messages have met that fault's disturbance.
    pub(super) fn met(&self, fault: u32) -> u64 {
        self.disturbances.get(&fault).map_or(0, |met| met.messages)
    }

    pub(super) fn darken(&mut self, process: ProcessId) {
        self.dark.insert(process);
    }

    /// True if the host had been dark.
    pub(super) fn light(&mut self, process: ProcessId) -> bool {
        self.dark.remove(&process)
    }

    /// A message is sent from the one to the other.
    pub(super) fn meets(&mut self, from: ProcessId, to: ProcessId) {
        for met in self.disturbances.values_mut() {
            met.messages += u64::from(met.disturbance.concerns(from, to));
        }
    }

    /// An attempt to connect. True if its SYN or the answer is lost.
    pub(super) fn loses_syn(&mut self, from: ProcessId, to: ProcessId) -> bool {
        self.meets(from, to);
        self.cuts_handshake(from, to)
    }

    /// Whether no connection can be made between the two now.
    pub(super) fn cuts_handshake(&self, from: ProcessId, to: ProcessId) -> bool {
        let sky = self.between(from, to);
        sky.cut_there || sky.cut_back
    }

    /// What the links between the two should be like.
    pub(super) fn between(&self, one: ProcessId, other: ProcessId) -> Sky {
        let dark = self.dark.contains(&one) || self.dark.contains(&other);
        let mut sky = Sky {
            cut_there: dark,
            cut_back: dark,
            ..Sky::default()
        };
        for Met { disturbance, .. } in self.disturbances.values() {
            let there = disturbance.concerns(one, other);
            let back = disturbance.concerns(other, one);
            match disturbance {
                Disturbance::Cut { .. } | Disturbance::Split { .. } => {
                    sky.cut_there |= there;
                    sky.cut_back |= back;
                }
                Disturbance::Hold { .. } => sky.held |= there || back,
                Disturbance::Slow { extra_us, .. } if there || back => sky.extra_us += extra_us,
                Disturbance::Slow { .. } => {}
            }
        }
        sky.held &= !sky.cut_there && !sky.cut_back;
        sky
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ProcessId = ProcessId(0);
    const TWO: ProcessId = ProcessId(1);

    #[test]
    fn a_cut_one_way_loses_messages_one_way_and_every_handshake() {
        let mut weather = Weather::default();
        let cut = Disturbance::Cut {
            from: vec![ONE],
            to: vec![TWO],
        };
        weather.disturb(7, cut, 0);
        let sky = weather.between(TWO, ONE);
        assert!(sky.cut_back && !sky.cut_there, "{sky:?}");
        weather.meets(TWO, ONE);
        assert_eq!(weather.met(7), 0);
        assert!(weather.loses_syn(ONE, TWO) && weather.loses_syn(TWO, ONE));
        assert_eq!(weather.met(7), 1);
    }

    #[test]
    fn a_dark_host_is_cut_off_whatever_else_there_is() {
        let mut weather = Weather::default();
        let hold = Disturbance::Hold {
            one: vec![ONE],
            other: vec![TWO],
        };
        weather.disturb(1, hold, 0);
        assert!(weather.between(ONE, TWO).held);
        weather.darken(TWO);
        let sky = weather.between(ONE, TWO);
        assert!(sky.cut_there && sky.cut_back && !sky.held, "{sky:?}");
        assert!(weather.light(TWO) && weather.between(ONE, TWO).held);
    }
}
