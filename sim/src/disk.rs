//! The simulated disk: a page cache over a medium that loses what was not flushed.
//!
//! A write reaches the page cache at once and survives `kill -9`. A flush makes a file durable as
//! it was when the flush was asked for; the operating system writes each file back by itself some
//! time after it became dirty. At a power loss each file keeps a drawn length between what was
//! durable and what was written, and the last write may tear in the middle.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use broker_model::effect::{DiskRead, File, Write};
use broker_model::input::DiskResult;
use broker_model::types::TopicIdPartition;
use bytes::{Bytes, BytesMut};

use crate::seed::{Purpose, Seed};

pub mod files;

/// What a shell needs of a disk, simulated or real.
pub trait Disk: DiskRead {
    /// Carries out a write, at that simulated or real time in microseconds.
    fn write(&mut self, now_us: u64, file: File, write: Write);

    /// Notes what a flush that starts now will make durable.
    fn begin_flush(&mut self, file: File) -> FlushTicket;

    /// The flush is over.
    fn end_flush(&mut self, file: File, ticket: FlushTicket) -> DiskResult;

    /// For the driver, which knows the concrete type.
    fn as_read(&self) -> &dyn DiskRead;

    /// The simulated disk, if this is one.
    fn simulated(&mut self) -> Option<&mut SimDisk>;
}

/// The content that a flush covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushTicket {
    /// Bytes from the file's start.
    pub len: u64,
    /// The file's rewrite count then.
    pub version: u64,
}

/// One process's simulated disk. It outlives the process.
#[derive(Debug)]
pub struct SimDisk {
    seed: Seed,
    /// The process's key for draws.
    process: u64,
    writeback_us: RangeInclusive<u64>,
    files: BTreeMap<File, SimFile>,
    /// Counts dirty periods, for draws.
    dirtied: u64,
    power_losses: u64,
}

/// What a power loss did to a file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The file.
    pub file: File,
    /// What was durable of it.
    pub flushed: u64,
    /// Its length now.
    pub kept: u64,
    /// Whether anything went.
    pub lost: bool,
}

#[derive(Debug, Default)]
struct SimFile {
    /// The content, in the pieces it was written in.
    pieces: Vec<Piece>,
    len: u64,
    /// Durable prefix of the current version.
    flushed: u64,
    /// Counts `Replace` and `Delete`.
    version: u64,
    /// The newest durable content of an older version, while this one is not durable at all.
    older: Option<Option<Bytes>>,
    /// When the operating system writes the file back, if it is dirty.
    writeback_at_us: Option<u64>,
    exists: bool,
}

#[derive(Debug, Clone)]
struct Piece {
    at: u64,
    bytes: Bytes,
}

impl SimDisk {
    /// An empty disk for the process with that key.
    #[must_use]
    pub fn new(seed: Seed, process: u64, writeback_ms: (u64, u64)) -> Self {
        SimDisk {
            seed,
            process,
            writeback_us: writeback_ms.0 * 1_000..=writeback_ms.1 * 1_000,
            files: BTreeMap::new(),
            dirtied: 0,
            power_losses: 0,
        }
    }

    /// The power goes: what was not durable may be gone. Returns what became of each file.
    pub fn lose_power(&mut self, now_us: u64) -> Vec<Loss> {
        self.power_losses += 1;
        let mut losses = Vec::new();
        for (index, (&file, content)) in self.files.iter_mut().enumerate() {
            content.write_back_if_due(now_us);
            let key = [self.process, self.power_losses, index as u64];
            let draw = self.seed.draw(Purpose::Disk, key);
            if let Some(loss) = content.lose_power(file, draw) {
                losses.push(loss);
            }
        }
        self.files.retain(|_, content| content.exists);
        losses
    }
}

impl Disk for SimDisk {
    fn write(&mut self, now_us: u64, file: File, write: Write) {
        let content = self.files.entry(file).or_default();
        content.write_back_if_due(now_us);
        if content.writeback_at_us.is_none() {
            self.dirtied += 1;
            let key = [self.process, u64::MAX, self.dirtied];
            let after_us = self
                .seed
                .draw_in(Purpose::Disk, key, self.writeback_us.clone());
            content.writeback_at_us = Some(now_us + after_us);
        }
        content.apply(write);
    }

    fn begin_flush(&mut self, file: File) -> FlushTicket {
        self.files
            .get(&file)
            .map_or(FlushTicket { len: 0, version: 0 }, |content| FlushTicket {
                len: content.len,
                version: content.version,
            })
    }

    fn end_flush(&mut self, file: File, ticket: FlushTicket) -> DiskResult {
        if let Some(content) = self.files.get_mut(&file)
            && content.version == ticket.version
        {
            content.flushed = content.flushed.max(ticket.len.min(content.len));
            content.older = None;
            if content.flushed == content.len {
                content.writeback_at_us = None;
            }
        }
        Ok(())
    }

    fn as_read(&self) -> &dyn DiskRead {
        self
    }

    fn simulated(&mut self) -> Option<&mut SimDisk> {
        Some(self)
    }
}

impl DiskRead for SimDisk {
    fn len(&self, file: File) -> Option<u64> {
        self.files
            .get(&file)
            .filter(|content| content.exists)
            .map(|content| content.len)
    }

    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let content = self.files.get(&file).expect("only existing files are read");
        content.read(at, len)
    }

    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        let logs = self.files.iter().filter(|(_, content)| content.exists);
        logs.filter_map(|(file, _)| match file {
            File::PartitionLog(partition) => Some(*partition),
            _ => None,
        })
        .collect()
    }
}

impl SimFile {
    fn apply(&mut self, write: Write) {
        match write {
            Write::Append(bytes) => {
                self.exists = true;
                let at = self.len;
                self.len += bytes.len() as u64;
                self.pieces.push(Piece { at, bytes });
            }
            Write::Truncate { len } => self.truncate(len),
            Write::Replace(bytes) => {
                self.supersede();
                self.exists = true;
                self.len = bytes.len() as u64;
                self.pieces = vec![Piece { at: 0, bytes }];
            }
            Write::Delete => {
                *self = SimFile {
                    version: self.version + 1,
                    ..SimFile::default()
                };
            }
        }
    }

    /// Starts a new version and remembers the durable form of the old one.
    fn supersede(&mut self) {
        if self.older.is_none() {
            let durable = self.exists && self.flushed > 0;
            self.older = Some(durable.then(|| {
                self.read(
                    0,
                    usize::try_from(self.flushed).expect("a file fits into memory"),
                )
            }));
        }
        self.version += 1;
        self.flushed = 0;
        self.pieces.clear();
    }

    fn truncate(&mut self, len: u64) {
        while self.pieces.last().is_some_and(|piece| piece.at >= len) {
            self.pieces.pop();
        }
        if let Some(last) = self.pieces.last_mut() {
            let keep = usize::try_from(len - last.at).expect("a file fits into memory");
            last.bytes.truncate(keep);
        }
        self.len = self.len.min(len);
        self.flushed = self.flushed.min(self.len);
    }

    fn write_back_if_due(&mut self, now_us: u64) {
        if self.writeback_at_us.is_some_and(|at_us| at_us <= now_us) {
            self.flushed = self.len;
            self.older = None;
            self.writeback_at_us = None;
        }
    }

    /// What is left of a file once the power is back; `None` if there was nothing to lose.
    fn lose_power(&mut self, file: File, draw: u64) -> Option<Loss> {
        if !self.exists {
            return None;
        }
        self.writeback_at_us = None;
        let written = self.len;
        let flushed = self.flushed;
        let Some(older) = self.older.take() else {
            let kept = flushed + draw % (written - flushed + 1);
            self.truncate(kept);
            self.flushed = self.len;
            return Some(Loss {
                file,
                flushed,
                kept,
                lost: kept < written,
            });
        };
        // A rename that was not made durable: the old content or the new, never a mix.
        let renamed = draw.is_multiple_of(2);
        if !renamed {
            self.version += 1;
            self.exists = older.is_some();
            let bytes = older.unwrap_or_default();
            self.len = bytes.len() as u64;
            self.pieces = vec![Piece { at: 0, bytes }];
        }
        self.flushed = self.len;
        let kept = self.len;
        Some(Loss {
            file,
            flushed: kept,
            kept,
            lost: !renamed,
        })
    }

    fn read(&self, at: u64, len: usize) -> Bytes {
        assert!(
            at + len as u64 <= self.len,
            "a read past the end: {at}+{len} of {}",
            self.len
        );
        let first = self
            .pieces
            .partition_point(|piece| piece.at <= at)
            .saturating_sub(1);
        let mut whole = BytesMut::new();
        let mut at = at;
        let mut left = len;
        for piece in self.pieces.get(first..).unwrap_or_default() {
            let from = usize::try_from(at - piece.at).expect("pieces are in order");
            let take = left.min(piece.bytes.len() - from);
            let part = piece.bytes.slice(from..from + take);
            if take == len {
                return part;
            }
            whole.extend_from_slice(&part);
            at += take as u64;
            left -= take;
            if left == 0 {
                break;
            }
        }
        whole.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: File = File::MetadataLog;

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(Seed(seed), 1, (1_000, 30_000))
    }

    fn append(disk: &mut SimDisk, now_us: u64, text: &'static str) {
        disk.write(
            now_us,
            LOG,
            Write::Append(Bytes::from_static(text.as_bytes())),
        );
    }

    #[test]
    fn a_power_loss_keeps_what_was_flushed_and_a_prefix_of_the_rest() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = disk(seed);
            append(&mut disk, 0, "durable");
            let ticket = disk.begin_flush(LOG);
            append(&mut disk, 1, "later");
            disk.end_flush(LOG, ticket)
                .expect("the simulated disk works");
            disk.lose_power(2);
            let left = disk.read_all(LOG).expect("the file was flushed");
            assert!(
                b"durablelater".starts_with(&left) && left.len() >= 7,
                "{left:?}"
            );
            lengths.insert(left.len());
        }
        assert_eq!(lengths, (7..=12).collect());
    }

    #[test]
    fn a_replaced_file_is_old_or_new_after_a_power_loss() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = disk(seed);
            disk.write(
                0,
                File::QuorumState,
                Write::Replace(Bytes::from_static(b"one")),
            );
            let ticket = disk.begin_flush(File::QuorumState);
            disk.end_flush(File::QuorumState, ticket)
                .expect("the simulated disk works");
            disk.write(
                1,
                File::QuorumState,
                Write::Replace(Bytes::from_static(b"second")),
            );
            disk.lose_power(2);
            seen.insert(
                disk.read_all(File::QuorumState)
                    .expect("one of the two is there"),
            );
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
    }

    #[test]
    fn the_operating_system_writes_a_dirty_file_back() {
        let mut disk = disk(3);
        append(&mut disk, 0, "written back");
        let losses = disk.lose_power(31_000_000);
        assert!(losses.iter().all(|loss| !loss.lost), "{losses:?}");
        assert_eq!(disk.len(LOG), Some(12));
    }

    #[test]
    fn a_read_crosses_pieces() {
        let mut disk = disk(3);
        append(&mut disk, 0, "abc");
        append(&mut disk, 0, "def");
        assert_eq!(&disk.read(LOG, 1, 4)[..], b"bcde");
        disk.write(0, LOG, Write::Truncate { len: 4 });
        assert_eq!(disk.read_all(LOG).as_deref(), Some(&b"abcd"[..]));
    }
}
