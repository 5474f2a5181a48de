//! Every batch in a log is whole: its CRC fits, its offsets continue the log, its records are numbered
//! one by one, its largest timestamp is its records'. Epochs never go back along a log.
//! `DefaultRecordBatch`, `LogValidator`.

use broker_model::note::Note;
use broker_model::types::NodeId;

use crate::check::replication::about;
use crate::check::world::batch::{Batch, HEADER_LEN, sized, varint};
use crate::check::world::partition::{Partition, Replica};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::observe::Observed;

/// See the module.
#[derive(Default)]
pub(in crate::check) struct BatchShape;

impl Check for BatchShape {
    fn name(&self) -> &'static str {
        "batch-shape/ST-1"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Append]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        let Some((
            node,
            Note::Append {
                as_leader,
                batch: bytes,
                ..
            },
            partition,
            replica,
        )) = about(event, world)
        else {
            return;
        };
        let Some(batch) = world.moment.batch else {
            let headline = format!(
                "n{node} appended bytes to {} that are no batch",
                partition.name
            );
            sink.fail(Violation::new(headline).fact(
                "appended",
                event.t_us,
                format!("{} bytes", bytes.len()),
            ));
            return;
        };
        let wrong = place(&batch, *as_leader, partition, replica, world)
            .or_else(|| content(&batch, bytes, *as_leader));
        match wrong {
            None => sink.exercised(),
            Some(wrong) => sink.fail(story(event, node, partition, &batch, wrong, world)),
        }
    }
}

/// What is wrong with where the batch lies.
fn place(
    batch: &Batch,
    as_leader: bool,
    partition: &Partition,
    replica: &Replica,
    world: &World,
) -> Option<&'static str> {
    let end = world.moment.log_end;
    let ids = replica.log.ids();
    let before = ids.len().checked_sub(2).map(|index| ids[index]);
    if batch.base < end || as_leader && batch.base != end {
        Some("it does not continue the log")
    } else if before.is_some_and(|id| partition.arena.entry(id).epoch > batch.epoch) {
        Some("its epoch is less than that of the batch before")
    } else if as_leader && world.moment.led.is_some_and(|led| led != batch.epoch) {
        Some("its epoch is not the leader's")
    } else {
        None
    }
}

/// What is wrong with the batch itself.
fn content(batch: &Batch, bytes: &[u8], as_leader: bool) -> Option<&'static str> {
    if i64::from(batch.count) != batch.last - batch.base + 1 {
        return Some("its record count does not fit its offsets");
    }
    // What the CRC covers begins behind it.
    if crc32c::crc32c(&bytes[21..]) != batch.crc {
        return Some("its CRC is wrong");
    }
    if !as_leader || batch.is_compressed() || batch.is_control() {
        return None;
    }
    records(batch, &bytes[HEADER_LEN..])
}

/// What is wrong with the records of an uncompressed batch.
fn records(batch: &Batch, mut bytes: &[u8]) -> Option<&'static str> {
    let mut newest_ms = i64::MIN;
    for index in 0..batch.count {
        let Some((record, rest)) = sized(bytes) else {
            return Some("a record is cut short");
        };
        let fields = record
            .get(1..)
            .and_then(varint)
            .and_then(|(delta_ms, rest)| {
                let (offset_delta, _) = varint(rest)?;
                Some((delta_ms, offset_delta))
            });
        let Some((delta_ms, offset_delta)) = fields else {
            return Some("a record is cut short");
        };
        if offset_delta != i64::from(index) {
            return Some("its records are not numbered one by one");
        }
        newest_ms = newest_ms.max(batch.base_timestamp_ms + delta_ms);
        bytes = rest;
    }
    if !bytes.is_empty() {
        Some("bytes follow its last record")
    } else if newest_ms != batch.max_timestamp_ms && !batch.has_append_time() {
        Some("its largest timestamp is not its records'")
    } else {
        None
    }
}

fn story(
    event: &Observed<'_>,
    node: NodeId,
    partition: &Partition,
    batch: &Batch,
    wrong: &str,
    world: &World,
) -> Violation {
    Violation::new(format!(
        "a batch of {} on n{node} is not whole: {wrong}",
        partition.name
    ))
    .fact("log end", event.t_us, world.moment.log_end.to_string())
    .fact(
        "appended",
        event.t_us,
        format!(
            "{}..{} of epoch {}, {} records, crc {:08x}",
            batch.base, batch.last, batch.epoch, batch.count, batch.crc
        ),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, TestBatch, partition};

    fn appends(bytes: Vec<u8>) -> Note {
        Note::Append {
            partition: partition(),
            as_leader: true,
            batch: Bytes::from(bytes),
        }
    }

    /// A batch with one byte changed and, if wanted, the CRC made to fit.
    fn changed(at: usize, to: u8, mend: bool) -> Note {
        let mut bytes = TestBatch::at(0, 2, 4).bytes().to_vec();
        bytes[at] = to;
        if mend {
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        appends(bytes)
    }

    #[test]
    fn damage_is_found() {
        let case = || Case::of(make::<BatchShape>);
        let last = TestBatch::at(0, 2, 4).bytes().len() - 1;
        case().note(1, changed(last, 9, false)).end().fails("CRC");
        case().note(1, changed(60, 3, true)).end().fails("count");
        case()
            .note(1, changed(64, 4, true))
            .end()
            .fails("one by one");
        case()
            .note(1, changed(63, 4, true))
            .end()
            .fails("timestamp");
        case()
            .note(1, changed(61, 40, true))
            .end()
            .fails("cut short");
        case().note(1, appends(vec![0; 61])).end().fails("no batch");
    }

    #[test]
    fn a_batch_out_of_place_is_found() {
        let case = || Case::of(make::<BatchShape>).note(1, TestBatch::at(0, 2, 4).led());
        case()
            .note(1, TestBatch::at(3, 1, 4).led())
            .end()
            .fails("does not continue");
        case()
            .note(1, TestBatch::at(2, 1, 3).led())
            .end()
            .fails("less than that of the batch before");
    }

    #[test]
    fn whole_batches_pass() {
        Case::of(make::<BatchShape>)
            .note(1, TestBatch::at(0, 2, 4).led())
            .note(1, TestBatch::at(2, 3, 5).by(9, 0, 0).led())
            .end()
            .passes();
    }
}
