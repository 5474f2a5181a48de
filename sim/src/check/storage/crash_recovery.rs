//! What is left after a crash: a process kill loses nothing that was written; a power loss leaves a prefix
//! of it with everything that was flushed, and nothing that had not reached the disk.
//! Holds for partition logs and for the metadata log.

use broker_model::note::Note;
use broker_model::types::{NodeId, Offset};

use crate::check::replication::about;
use crate::check::world::partition::{Partition, Replica};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::{Fact, Observed, Stop};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct CrashRecovery;

impl Check for CrashRecovery {
    fn name(&self) -> &'static str {
        "crash-recovery/ST-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::LogRecovered, Kind::RaftRecovered]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Fact::Note { node, note, .. } = event.fact else {
            return;
        };
        let Some(how) = world.processes.get(node).last_stop else {
            return;
        };
        let (what, least, most, now) = match note {
            Note::RaftRecovered { log_end, .. } => {
                let before = &world.moment.raft;
                let least = if before.unknown {
                    before.flushed
                } else {
                    before.log_end
                };
                ("the metadata log", least, before.log_end, *log_end)
            }
            Note::LogRecovered { log_end, .. } => {
                let Some((_, _, partition, replica)) = about(event, world) else {
                    return;
                };
                let written = world.moment.log_end;
                let left = world.moment.left_on_disk;
                let (least, most) = match left.filter(|_| world.moment.lost_power) {
                    Some((flushed, kept)) => (
                        end_within(world, partition, replica, flushed),
                        end_within(world, partition, replica, kept),
                    ),
                    None => (written, written),
                };
                (partition.name.as_str(), least, most, *log_end)
            }
            _ => return,
        };
        if least <= now && now <= most {
            if most > Offset::ZERO {
                sink.exercised();
            }
            return;
        }
        sink.fail(story(event, node, (what, how), (least, most, now)));
    }
}

/// The log end that so many bytes of the file from before the crash make.
fn end_within(world: &World, partition: &Partition, replica: &Replica, bytes: u64) -> Offset {
    let before = replica.log.ids().iter().chain(&world.moment.removed);
    let mut room = bytes;
    let mut end = Offset::ZERO;
    for &id in before {
        let entry = partition.arena.entry(id);
        match room.checked_sub(u64::from(entry.size)) {
            Some(left) => room = left,
            None => return end,
        }
        end = entry.end();
    }
    // Where the whole file is left, so is the end that a checkpoint or a start behind 0 gives.
    world.moment.log_end.max(end)
}

fn story(
    event: &Observed<'_>,
    node: NodeId,
    (what, how): (&str, Stop),
    (least, most, now): (Offset, Offset, Offset),
) -> Violation {
    let found = if now < least { "less" } else { "more" };
    Violation::new(format!(
        "n{node} recovered {found} of {what} than the crash left"
    ))
    .fact("stopped", event.t_us, format!("{how:?}"))
    .fact("left", event.t_us, format!("between {least} and {most}"))
    .fact("recovered", event.t_us, format!("up to {now}"))
}

#[cfg(test)]
mod tests {
    use broker_model::effect::File;
    use broker_model::types::LeaderEpoch;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, partition, recovers};
    use crate::observe::WorldEvent;

    fn case() -> Case {
        Case::of(make::<CrashRecovery>)
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(1, TestBatch::at(2, 2, 4).led())
    }

    fn disk(flushed: u64, kept: u64) -> WorldEvent {
        let batch = TestBatch::at(0, 2, 4).bytes().len() as u64;
        WorldEvent::DiskAfterPowerLoss {
            node: NodeId(1),
            file: File::PartitionLog(partition()),
            written: 2 * batch,
            promised: 0,
            flushed: flushed * batch,
            kept: kept * batch + 5,
        }
    }

    fn raft(log_end: i64) -> Note {
        Note::RaftRecovered {
            epoch: LeaderEpoch(1),
            leader: None,
            voted: None,
            log_end: Offset(log_end),
        }
    }

    fn raft_case(how: Stop) -> Case {
        let append = |base| Note::RaftAppend {
            epoch: LeaderEpoch(1),
            base: Offset(base),
            last: Offset(base),
            crc: 1,
        };
        Case::of(make::<CrashRecovery>)
            .note(1, append(0))
            .note(1, Note::RaftFlushed { to: Offset(1) })
            .note(1, append(1))
            .stops(1, how)
    }

    #[test]
    fn a_kill_loses_nothing() {
        let case = || case().stops(1, Stop::Killed);
        case().note(1, recovers(4, &[])).end().passes();
        case()
            .note(1, recovers(2, &[]))
            .end()
            .fails("recovered less");
    }

    #[test]
    fn a_power_loss_leaves_what_was_flushed_and_no_more_than_reached_the_disk() {
        let case = |flushed, kept| {
            case()
                .stops(1, Stop::PowerLoss)
                .happens(disk(flushed, kept))
        };
        case(0, 1).note(1, recovers(2, &[])).end().passes();
        case(1, 1).note(1, recovers(0, &[])).end().fails("less");
        case(0, 1).note(1, recovers(4, &[])).end().fails("more");
    }

    #[test]
    fn the_metadata_log_keeps_what_was_flushed() {
        raft_case(Stop::PowerLoss).note(1, raft(1)).end().passes();
        raft_case(Stop::PowerLoss)
            .note(1, raft(0))
            .end()
            .fails("less");
        raft_case(Stop::Killed).note(1, raft(2)).end().passes();
        raft_case(Stop::Killed).note(1, raft(1)).end().fails("less");
    }
}
