//! No process ends by itself unless it was asked to: a fatal state is not passed over in silence.

use super::told;
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::fault::Fault;
use crate::observe::{Fact, Observed, Stop, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Halts;

impl Check for Halts {
    fn name(&self) -> &'static str {
        "harness/HX-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Stopped, Kind::HarnessBroken]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        told(event, "HX-4", sink);
        let Fact::World(WorldEvent::Stopped { node, how, .. }) = event.fact else {
            return;
        };
        let asked = world.plan.as_ref().is_some_and(|plan| {
            let mut faults = plan.faults.iter();
            faults.any(|plan| matches!(plan.fault, Fault::RollingRestart { .. }))
        });
        if *how == Stop::Halted && !asked {
            sink.fail(Violation::new(format!("n{node} ended by itself")).fact(
                "halted",
                event.t_us,
                "and nothing in the plan asks for it",
            ));
        } else {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::plan::FaultPlan;

    #[test]
    fn a_process_that_ends_by_itself_is_found() {
        Case::of(make::<Halts>)
            .stops(1, Stop::Halted)
            .end()
            .fails("n1 ended by itself");
    }

    #[test]
    fn a_process_that_is_restarted_in_order_may_end() {
        let restarts = FaultPlan {
            id: 1,
            at_ms: 0,
            fault: Fault::RollingRestart {
                down_ms: 1,
                gap_ms: 1,
            },
        };
        Case::planned(make::<Halts>, |plan| plan.faults.push(restarts))
            .stops(1, Stop::Halted)
            .end()
            .passes();
    }
}
