//! What was acknowledged with acks=all is in the complete final scan. Jepsen: lost-write; oracle O1.
//!
//! Complete: a final consumer went from the log's start to the end that it was told. Where a scenario
//! expects `acked-is-durable` to fail, acks=1 counts too and nothing is excused.

use super::{ACKS, may_be_gone};
use crate::check::world::clients::{Clients, SendState, ValueFacts};
use crate::check::world::walk::Scan;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct AckedComplete;

impl Check for AckedComplete {
    fn name(&self) -> &'static str {
        "acked-is-durable/DUR-1a"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        let lifted = world.expects(self.name());
        let clients = &world.clients;
        for value in &clients.values {
            let (SendState::Ok, Some(p)) = (value.state, value.p) else {
                continue;
            };
            let Some(scan) = complete_scan(clients, p) else {
                continue;
            };
            let start = scan.from.unwrap_or(0);
            let removed = clients.part(p).is_some_and(|part| part.loses_records);
            if removed && value.off >= 0 && value.off < start {
                // DeleteRecords or retention moved the log's start.
                continue;
            }
            let acks = clients.gates_of(value).map_or(0, |gates| gates.acks);
            if value.in_final {
                if acks == -1 || lifted {
                    sink.exercised();
                }
                continue;
            }
            let excuse = if acks != -1 {
                Some(ACKS)
            } else {
                may_be_gone(clients, value, p, value.off)
            };
            match excuse {
                Some(excuse) if !lifted => sink.excused(excuse),
                _ => sink.fail(story(world, value, p, scan)),
            }
        }
    }
}

/// A scan that went to the end, if there is one.
pub(in crate::check) fn complete_scan(clients: &Clients, p: P) -> Option<&Scan> {
    let mut scans = clients.part(p)?.scans.values();
    scans.find(|scan| scan.is_complete())
}

fn story(world: &World, value: &ValueFacts, p: P, scan: &Scan) -> Violation {
    let name = world.clients.name(p);
    let what = if value.off < 0 {
        format!("a value of {name} was acknowledged and is gone")
    } else {
        format!("{name} offset {} was acknowledged and is gone", value.off)
    };
    Violation::new(what)
        .fact(
            "acknowledged",
            value.completed_us,
            super::sent(world, value),
        )
        .fact(
            "absent",
            world.t_us,
            format!(
                "from the final scan of offsets {}..{}",
                scan.from.unwrap_or(0),
                scan.to
            ),
        )
}

#[cfg(test)]
mod tests {
    use super::super::DESTROYED;
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    fn planned(expect: &[&str], acks: &str) -> Case {
        planned_with(&[], expect, acks)
    }

    fn planned_with(part: &[(&str, &str)], expect: &[&str], acks: &str) -> Case {
        let expect: Vec<String> = expect.iter().map(|&name| name.to_owned()).collect();
        Case::planned(make::<AckedComplete>, |plan| plan.expect = expect)
            .part_with(part)
            .actor(1, Role::Producer, &[("acks", acks)])
            .sends(1, 100)
            .acked(1, 100, 0)
            .sends(1, 101)
            .acked(1, 101, 1)
    }

    #[test]
    fn a_value_that_the_final_scan_lacks_is_found() {
        planned(&[], "all")
            .final_scan(2, &[(1, 101)])
            .end()
            .fails("orders-0 offset 0 was acknowledged and is gone");
    }

    #[test]
    fn a_value_behind_the_end_of_the_final_scan_is_found() {
        planned(&[], "all")
            .final_scan(1, &[(0, 100)])
            .end()
            .fails("offset 1 was acknowledged and is gone");
    }

    #[test]
    fn a_log_whose_head_is_gone_is_found_unless_it_may_be_removed() {
        let scanned = |part: &[(&str, &str)]| {
            planned_with(part, &[], "all")
                .starting_at(1)
                .final_scan(2, &[(1, 101)])
                .end()
        };
        scanned(&[]).fails("orders-0 offset 0 was acknowledged and is gone");
        scanned(&[("retention.ms", "1000")]).passes();
    }

    #[test]
    fn values_that_are_there_pass() {
        planned(&[], "all")
            .final_scan(2, &[(0, 100), (1, 101)])
            .end()
            .passes();
    }

    #[test]
    fn a_scan_that_did_not_reach_the_end_says_nothing() {
        planned(&[], "all").end().is_silent();
    }

    #[test]
    fn what_was_destroyed_after_the_acknowledgement_is_excused() {
        planned(&[], "all")
            .destroys(1)
            .final_scan(1, &[(0, 100)])
            .end()
            .is_excused(DESTROYED);
    }

    #[test]
    fn acks_1_is_excused_unless_the_scenario_expects_the_loss() {
        planned(&[], "1")
            .final_scan(1, &[(0, 100)])
            .end()
            .is_excused(ACKS);
        planned(&["acked-is-durable"], "1")
            .final_scan(1, &[(0, 100)])
            .end()
            .fails("is gone");
    }
}
