//! A power loss takes nothing of a log that was flushed, and gives nothing that was not written.

use broker_model::effect::File;

use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed, WorldEvent};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Disk;

impl Check for Disk {
    fn name(&self) -> &'static str {
        "harness/HX-5"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::DiskAfterPowerLoss]
    }

    fn on(&mut self, event: &Observed<'_>, _world: &World, sink: &mut Sink) {
        let Fact::World(WorldEvent::DiskAfterPowerLoss {
            node,
            file,
            written,
            promised,
            flushed,
            kept,
        }) = event.fact
        else {
            return;
        };
        if !matches!(file, File::PartitionLog(_) | File::MetadataLog) {
            // A file that is replaced as a whole is the old or the new one.
            return;
        }
        if kept < promised.max(flushed) || kept > written {
            sink.fail(
                Violation::new(format!(
                    "the disk of n{node} broke its promise for {file:?}"
                ))
                .fact(
                    "before",
                    event.t_us,
                    format!("{written} bytes written, {promised} flushed as the node was told, {flushed} in truth"),
                )
                .fact("after", event.t_us, format!("{kept} bytes")),
            );
        } else if 0 < *promised && flushed < written {
            sink.exercised();
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_model::types::NodeId;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, Found};

    fn left(promised: u64, kept: u64) -> Found {
        let event = WorldEvent::DiskAfterPowerLoss {
            node: NodeId(1),
            file: File::MetadataLog,
            written: 100,
            promised,
            flushed: 60,
            kept,
        };
        Case::of(make::<Disk>).happens(event).end()
    }

    #[test]
    fn a_disk_that_loses_what_was_flushed_is_found() {
        left(0, 59).fails("broke its promise");
    }

    #[test]
    fn a_disk_that_did_not_flush_what_it_said_it_had_is_found() {
        left(70, 69).fails("broke its promise");
        left(70, 70).passes();
    }

    #[test]
    fn a_disk_that_keeps_what_was_never_written_is_found() {
        left(60, 101).fails("broke its promise");
    }

    #[test]
    fn anything_between_is_right() {
        left(60, 60).passes();
        left(60, 100).passes();
        left(0, 60).is_silent();
    }
}
