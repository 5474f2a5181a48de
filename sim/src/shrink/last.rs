//! The last items: what can go only together, or only if what stays is changed a little.
//!
//! Leaving one item out moves everything after it: a leadership that was elsewhere then is drawn to
//! another node, a batch is retried at another time. So one item is left out while another is drawn
//! anew or moved in time.

use super::Search;
use crate::plan::{FaultPlan, Plan, Script};

/// Plans with more items are too many for every pair.
const ITEMS_MAX: usize = 40;
/// Milliseconds that a fault is moved by, one way and the other.
const SHIFTS_MS: [u64; 3] = [40, 250, 1_000];
/// How often a fault's own draws are made anew.
const REDRAWS: u32 = 4;

impl Search<'_> {
    /// Leaves out two items at once.
    pub(super) fn drop_pairs(&mut self) {
        let mut first = 0;
        while first < few(&self.best) {
            let mut second = first + 1;
            let mut smaller = false;
            while second < few(&self.best) && !smaller && !self.is_spent() {
                let plan = without(&self.best, &[first, second]);
                smaller = self.still(plan);
                second += 1;
            }
            if !smaller {
                first += 1;
            }
        }
    }

    /// Leaves out one item and changes a fault.
    pub(super) fn drop_and_change(&mut self) {
        let mut out = 0;
        while out < few(&self.best) && !self.is_spent() {
            let plan = without(&self.best, &[out]);
            if !self.changed(&plan) {
                out += 1;
            }
        }
    }

    fn changed(&mut self, plan: &Plan) -> bool {
        for index in 0..plan.faults.len() {
            for fault in changes(plan, &plan.faults[index]) {
                let mut plan = plan.clone();
                plan.faults[index] = fault;
                plan.faults.sort_by_key(|fault| (fault.at_ms, fault.id));
                if self.still(plan) {
                    return true;
                }
            }
        }
        false
    }
}

/// The fault at other times, and with other draws of its own.
fn changes(plan: &Plan, fault: &FaultPlan) -> Vec<FaultPlan> {
    let mut all = Vec::new();
    for shift_ms in SHIFTS_MS {
        for at_ms in [
            fault.at_ms.checked_sub(shift_ms),
            fault.at_ms.checked_add(shift_ms),
        ] {
            let within = at_ms.filter(|at_ms| *at_ms < plan.run.duration_ms);
            all.extend(within.map(|at_ms| FaultPlan {
                at_ms,
                ..fault.clone()
            }));
        }
    }
    let highest = plan.faults.iter().map(|fault| fault.id).max().unwrap_or(0);
    all.extend((1..=REDRAWS).map(|redraw| FaultPlan {
        id: highest + redraw,
        ..fault.clone()
    }));
    all
}

/// Faults and sends of a plan that has few; otherwise none.
fn few(plan: &Plan) -> usize {
    let items = plan.faults.len() + super::sends_of(plan);
    if items <= ITEMS_MAX { items } else { 0 }
}

/// The plan without those items: faults first, then sends.
fn without(plan: &Plan, out: &[usize]) -> Plan {
    let mut plan = plan.clone();
    let mut index = 0;
    let mut stays = || {
        index += 1;
        !out.contains(&(index - 1))
    };
    plan.faults.retain(|_| stays());
    for client in &mut plan.clients {
        if let Script::Produce { sends, .. } = &mut client.script {
            sends.retain(|_| stays());
        }
    }
    plan
}
