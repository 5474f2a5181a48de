//! An excuse needs a cause: nothing is forgiven for a power loss or an unclean election that did not happen.
//! Comes last, after all that may be excused.

use crate::check::client::DESTROYED;
use crate::check::world::partition::{ALL_LOST_POWER, UNCLEAN_ELECTION};
use crate::check::{Check, Kind, Sink, Violation, World};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Excuses;

impl Check for Excuses {
    fn name(&self) -> &'static str {
        "harness/HX-6"
    }

    fn wants(&self) -> &'static [Kind] {
        &[]
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        if !world.white_box {
            return;
        }
        let processes = &world.processes;
        let (power, unclean) = (processes.power_losses, processes.unclean_elections);
        let used: Vec<_> = sink.excuses().keys().copied().collect();
        for (check, reason) in used {
            let caused = match reason {
                ALL_LOST_POWER => power > 0,
                UNCLEAN_ELECTION => unclean > 0,
                DESTROYED => power + unclean > 0,
                _ => continue,
            };
            if caused {
                sink.exercised();
            } else {
                sink.fail(
                    Violation::new(format!("{check} forgave something without a cause")).fact(
                        "reason",
                        world.t_us,
                        format!("{reason}; {power} power losses, {unclean} unclean elections"),
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{Case, leads};
    use crate::check::{Boxed, make};
    use crate::observe::{Observed, Stop};

    /// Forgives everything, then asks.
    #[derive(Default)]
    struct Lenient(Excuses);

    impl Check for Lenient {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn wants(&self) -> &'static [Kind] {
            &[Kind::BecameLeader]
        }

        fn on(&mut self, _event: &Observed<'_>, _world: &World, sink: &mut Sink) {
            sink.excused(ALL_LOST_POWER);
        }

        fn finish(&mut self, world: &World, sink: &mut Sink) {
            self.0.finish(world, sink);
        }
    }

    const LENIENT: fn() -> Boxed = make::<Lenient>;

    #[test]
    fn an_excuse_without_a_cause_is_found() {
        Case::of(LENIENT)
            .note(1, leads(1, 0, 0))
            .end()
            .fails("without a cause");
    }

    #[test]
    fn an_excuse_with_a_cause_passes() {
        Case::of(LENIENT)
            .note(1, leads(1, 0, 0))
            .stops(1, Stop::PowerLoss)
            .end()
            .is_excused(ALL_LOST_POWER);
    }
}
