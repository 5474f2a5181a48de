//! The newest bytes of a log, kept in memory.
//!
//! A write reaches the disk after the step that asked for it, so what was appended in this very step
//! can be read from here alone. Older bytes stay a while: followers and consumers read at the end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::effect::{DiskRead, File};

/// The bytes from `start` to the log's end, in the pieces in which they were appended.
///
/// Everything before `start` is on the disk as it was before this step.
#[derive(Clone, Default, Debug)]
pub(super) struct TailCache {
    start: u64,
    end: u64,
    pieces: VecDeque<Piece>,
    /// The file's length when a cut was asked for that the disk may not have carried out yet: until
    /// then bytes behind the cut are there, but they are the old ones.
    length_before_cut: Option<u64>,
}

#[derive(Clone, Debug)]
struct Piece {
    position: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

impl TailCache {
    /// An empty tail of a file that holds `end` bytes.
    pub(super) fn new(end: u64) -> Self {
        TailCache {
            start: end,
            end,
            ..TailCache::default()
        }
    }

    /// The length of the file once all that was asked for is done.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds bytes at the end, and lets go of old ones that are on the disk.
    pub(super) fn push(&mut self, bytes: Bytes, disk: &dyn DiskRead, file: File) {
        let piece = Piece {
            position: self.end,
            bytes,
        };
        self.end = piece.end();
        self.pieces.push_back(piece);
        if self.is_full() {
            self.evict(disk.len(file).unwrap_or(0));
        }
    }

    /// Cuts the bytes from `end` on; `disk_length` is the file's length before this step.
    pub(super) fn truncate(&mut self, end: u64, disk_length: u64) {
        assert!(end <= self.end, "cut at {end} behind the end {}", self.end);
        while self.pieces.back().is_some_and(|last| end <= last.position) {
            self.pieces.pop_back();
        }
        if let Some(last) = self.pieces.back_mut() {
            let kept = last.bytes.len() as u64 - last.end().saturating_sub(end);
            last.bytes
                .truncate(usize::try_from(kept).expect("a piece lies in memory"));
        }
        self.start = self.start.min(end);
        self.end = end;
        if end < disk_length {
            self.length_before_cut = Some(disk_length);
        }
    }

    /// The `len` bytes at `position`, from memory or else from `file`.
    pub(super) fn read(&self, disk: &dyn DiskRead, file: File, position: u64, len: usize) -> Bytes {
        let end = position + len as u64;
        assert!(end <= self.end, "read up to {end} of {} bytes", self.end);
        if end <= self.start {
            return disk.read(file, position, len);
        }
        let first = self
            .pieces
            .partition_point(|piece| piece.end() <= position.max(self.start));
        let piece = &self.pieces[first];
        if piece.position <= position && end <= piece.end() {
            return slice(piece, position, end);
        }
        let mut bytes = BytesMut::with_capacity(len);
        if position < self.start {
            let on_disk = usize::try_from(self.start - position).expect("less than len");
            bytes.extend_from_slice(&disk.read(file, position, on_disk));
        }
        for piece in self.pieces.range(first..) {
            if end <= piece.position {
                break;
            }
            let from = position.max(piece.position);
            bytes.extend_from_slice(&slice(piece, from, end.min(piece.end())));
        }
        bytes.freeze()
    }

    fn is_full(&self) -> bool {
        PIECES_MAX < self.pieces.len() || BYTES_MAX < self.end - self.start
    }

    fn evict(&mut self, disk_length: u64) {
        if self.length_before_cut == Some(disk_length) {
            return;
        }
        self.length_before_cut = None;
        while self.is_full()
            && let Some(first) = self.pieces.front()
            && first.end() <= disk_length
        {
            self.start = first.end();
            self.pieces.pop_front();
        }
    }
}

fn slice(piece: &Piece, from: u64, to: u64) -> Bytes {
    let index = |at: u64| usize::try_from(at - piece.position).expect("a piece lies in memory");
    piece.bytes.slice(index(from)..index(to))
}

/// How many appends are kept.
const PIECES_MAX: usize = 64;

/// How many bytes are kept.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{METADATA_TOPIC_ID, TopicIdPartition};

    const FILE: File = File::PartitionLog(TopicIdPartition {
        topic: METADATA_TOPIC_ID,
        partition: 0,
    });

    struct Disk(Vec<u8>);

    impl DiskRead for Disk {
        fn len(&self, _: File) -> Option<u64> {
            Some(self.0.len() as u64)
        }
        fn read(&self, _: File, at: u64, len: usize) -> Bytes {
            let at = usize::try_from(at).expect("small");
            Bytes::copy_from_slice(&self.0[at..at + len])
        }
        fn partition_logs(&self) -> Vec<TopicIdPartition> {
            Vec::new()
        }
    }

    #[test]
    fn what_is_not_on_the_disk_yet_can_be_read() {
        let disk = Disk(b"abc".to_vec());
        let mut tail = TailCache::new(3);
        tail.push(Bytes::from_static(b"de"), &disk, FILE);
        tail.push(Bytes::from_static(b"fgh"), &disk, FILE);
        assert_eq!(tail.read(&disk, FILE, 0, 2), "ab");
        assert_eq!(tail.read(&disk, FILE, 3, 2), "de");
        assert_eq!(tail.read(&disk, FILE, 6, 2), "gh");
        assert_eq!(tail.read(&disk, FILE, 4, 3), "efg");
        assert_eq!(tail.read(&disk, FILE, 1, 7), "bcdefgh");
    }

    #[test]
    fn a_read_within_one_piece_shares_its_bytes() {
        let disk = Disk(Vec::new());
        let mut tail = TailCache::new(0);
        let piece = Bytes::from_static(b"abcdef");
        tail.push(piece.clone(), &disk, FILE);
        let read = tail.read(&disk, FILE, 2, 3);
        assert_eq!(read.as_ptr(), piece[2..].as_ptr());
    }

    #[test]
    fn bytes_behind_a_cut_are_never_taken_from_the_old_file() {
        let mut disk = Disk(b"old-old-old".to_vec());
        let mut tail = TailCache::new(11);
        tail.truncate(4, 11);
        for _ in 0..100 {
            tail.push(Bytes::from_static(b"new"), &disk, FILE);
        }
        assert_eq!(tail.read(&disk, FILE, 0, 10), "old-newnew");
        disk.0 = [b"old-".to_vec(), b"new".repeat(100)].concat();
        tail.push(Bytes::from_static(b"new"), &disk, FILE);
        assert!(tail.pieces.len() <= PIECES_MAX);
        assert_eq!(tail.read(&disk, FILE, 0, 10), "old-newnew");
        assert_eq!(tail.read(&disk, FILE, 300, 7), "wnewnew");
    }

    #[test]
    fn a_cut_inside_a_piece_keeps_its_head() {
        let disk = Disk(Vec::new());
        let mut tail = TailCache::new(0);
        tail.push(Bytes::from_static(b"abc"), &disk, FILE);
        tail.push(Bytes::from_static(b"def"), &disk, FILE);
        tail.truncate(5, 0);
        assert_eq!(tail.read(&disk, FILE, 0, 5), "abcde");
        tail.truncate(3, 0);
        tail.push(Bytes::from_static(b"x"), &disk, FILE);
        assert_eq!(tail.read(&disk, FILE, 0, 4), "abcx");
    }
}
