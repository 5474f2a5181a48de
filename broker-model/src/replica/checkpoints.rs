//! The small files that outlive a broker: high watermarks, log starts, and the mark of an orderly
//! stop.
//!
//! Mirrors `OffsetCheckpointFile` and `CleanShutdownFileHandler`. A line names a partition by the
//! topic's id, not by its name, as the logs here are named.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use crate::effect::{DiskRead, File};
use crate::types::{BrokerEpoch, Offset, TopicIdPartition, Uuid};

/// Offsets by partition.
pub(super) type Checkpoint = BTreeMap<TopicIdPartition, Offset>;

/// Reads a checkpoint. One that makes no sense counts as absent: the high watermark and the log
/// start can be learned again.
pub(super) fn read(disk: &dyn DiskRead, file: File) -> Checkpoint {
    let bytes = disk.read_all(file).unwrap_or_default();
    parse(&bytes).unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Option<Checkpoint> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    if lines.next()? != VERSION {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let entries = lines.map(|line| {
        let mut words = line.split(' ');
        let partition = TopicIdPartition {
            topic: words.next()?.parse::<Uuid>().ok()?,
            partition: words.next()?.parse().ok()?,
        };
        Some((partition, Offset(words.next()?.parse().ok()?)))
    });
    let entries: Checkpoint = entries.collect::<Option<_>>()?;
    (entries.len() == count).then_some(entries)
}

/// The content of a checkpoint: a version, the number of lines, and a line for each partition.
pub(super) fn content(checkpoint: &Checkpoint) -> Bytes {
    let mut text = format!("{VERSION}\n{}\n", checkpoint.len());
    for (at, offset) in checkpoint {
        writeln!(text, "{} {} {offset}", at.topic, at.partition).expect("a string takes it all");
    }
    Bytes::from(text)
}

/// The mark of an orderly stop: it names the registration that stopped (KIP-966).
pub(super) fn clean_shutdown(epoch: BrokerEpoch) -> Bytes {
    Bytes::from(format!("{VERSION}\n{epoch}\n"))
}

/// The registration that stopped in order, if the last one did.
pub(super) fn read_clean_shutdown(disk: &dyn DiskRead) -> Option<BrokerEpoch> {
    let bytes = disk.read_all(File::CleanShutdown)?;
    let epoch = std::str::from_utf8(&bytes).ok().and_then(|text| {
        let mut lines = text.lines().filter(|_| text.starts_with(VERSION));
        lines.nth(1)?.parse().ok()
    });
    Some(epoch.map_or(BrokerEpoch::UNKNOWN, BrokerEpoch))
}

/// `OffsetCheckpointFile.CURRENT_VERSION`
const VERSION: &str = "0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_half_a_one_does_not() {
        let at = |partition| TopicIdPartition {
            topic: Uuid::from_u128(0x0bad_cafe),
            partition,
        };
        let checkpoint = Checkpoint::from([(at(0), Offset(7)), (at(3), Offset(0))]);
        let bytes = content(&checkpoint);
        assert_eq!(parse(&bytes), Some(checkpoint));
        let line = bytes.len() - 10;
        assert_eq!(parse(&bytes[..line]), None);
    }
}
