//! Turmoil's links, brought to what the weather says.

use std::net::IpAddr;
use std::time::Duration;

use super::TurmoilEngine;
use crate::engine::weather::Sky;
use crate::engine::{Disturbance, ProcessId};

impl TurmoilEngine {
    /// Brings turmoil's links to what the weather says.
    pub(super) fn update_links(&mut self) {
        let known: Vec<(ProcessId, IpAddr)> = (0..)
            .map(ProcessId)
            .zip(&self.processes)
            .filter_map(|(id, member)| Some((id, member.address?)))
            .collect();
        for (nth, &(one, here)) in known.iter().enumerate() {
            for &(other, there) in &known[nth + 1..] {
                let sky = self.weather.borrow().between(one, other);
                let before = self.skies.insert((one, other), sky).unwrap_or_default();
                if sky != before {
                    self.change_link(here, there, before, sky);
                }
            }
        }
    }

    fn change_link(&self, here: IpAddr, there: IpAddr, before: Sky, now: Sky) {
        if before.held && !now.held {
            self.sim.release(here, there);
        }
        let ways = [
            (here, there, before.cut_there, now.cut_there),
            (there, here, before.cut_back, now.cut_back),
        ];
        for (from, to, was_cut, is_cut) in ways {
            match (was_cut, is_cut) {
                (false, true) => self.sim.partition_oneway(from, to),
                (true, false) => self.sim.repair_oneway(from, to),
                _ => {}
            }
        }
        if now.held && !before.held {
            self.sim.hold(here, there);
        }
        if now.extra_us != before.extra_us {
            let least = Duration::from_micros(self.latency_us.0 + now.extra_us);
            let most = Duration::from_micros(self.latency_us.1 + now.extra_us);
            self.sim.set_link_latency(here, there, least);
            self.sim.set_link_max_message_latency(here, there, most);
        }
    }

    /// Messages on their way that the disturbance will lose or hold.
    pub(super) fn in_flight(&self, disturbance: &Disturbance) -> u64 {
        if matches!(disturbance, Disturbance::Slow { .. }) {
            return 0;
        }
        let weather = self.weather.borrow();
        let mut hit = 0;
        self.sim.links(|links| {
            for sent in links.flatten() {
                let (from, to) = sent.pair();
                let from = weather.process_at(from.ip());
                let to = weather.process_at(to.ip());
                if let (Some(from), Some(to)) = (from, to) {
                    hit += u64::from(disturbance.concerns(from, to));
                }
            }
        });
        hit
    }
}
