//! The harness itself (HX): a judge that trusts a broken world says nothing. HX-1, that a seed repeats, is
//! judged by running it twice.

pub(super) mod disk;
pub(super) mod excuses;
pub(super) mod halts;
pub(super) mod lives;
pub(super) mod order;

use super::{Sink, Violation};
use crate::observe::{Fact, Observed, WorldEvent};

/// Fails if the harness itself said that this check is broken.
fn told(event: &Observed<'_>, id: &str, sink: &mut Sink) {
    if let Fact::World(WorldEvent::HarnessBroken { check, detail }) = event.fact
        && check.ends_with(id)
    {
        sink.fail(Violation::new(format!("the harness is broken: {detail}")));
    }
}
