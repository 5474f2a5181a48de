//! A disk with a page cache: what a crash leaves is chosen by the test.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::effect::{DiskRead, File, Write};
use crate::types::TopicIdPartition;

/// Files as the process sees them, the state that is on disk, and the writes in between.
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct MemoryDisk {
    cache: BTreeMap<File, Bytes>,
    durable: BTreeMap<File, Bytes>,
    unflushed: BTreeMap<File, VecDeque<Write>>,
}

impl MemoryDisk {
    /// A disk with this metadata log on it.
    pub(in crate::raft) fn with_log(content: &[u8]) -> Self {
        let mut disk = MemoryDisk::default();
        let content = Bytes::copy_from_slice(content);
        disk.write(File::MetadataLog, Write::Append(content));
        disk.flush(File::MetadataLog);
        disk
    }

    /// Into the page cache.
    pub(in crate::raft) fn write(&mut self, file: File, write: Write) {
        apply(&mut self.cache, file, &write);
        self.unflushed.entry(file).or_default().push_back(write);
    }

    /// How many writes of that file a flush now would make durable.
    pub(in crate::raft) fn pending(&self, file: File) -> usize {
        self.unflushed.get(&file).map_or(0, VecDeque::len)
    }

    /// Everything of that file is durable.
    pub(in crate::raft) fn flush(&mut self, file: File) {
        self.flush_first(file, usize::MAX);
    }

    /// The first writes of that file are durable.
    pub(in crate::raft) fn flush_first(&mut self, file: File, writes: usize) {
        let pending = self.unflushed.entry(file).or_default();
        for write in pending.drain(..writes.min(pending.len())) {
            apply(&mut self.durable, file, &write);
        }
    }

    /// The power goes: of each file, `survives(pending writes)` of the writes that were not flushed
    /// had been written back, and the last of these perhaps in part.
    pub(in crate::raft) fn lose_power(&mut self, mut survives: impl FnMut(usize) -> usize) {
        let files: Vec<File> = self.unflushed.keys().copied().collect();
        for file in files {
            let pending = self.pending(file);
            self.flush_first(file, survives(pending));
            let next = self.unflushed.get(&file).and_then(VecDeque::front);
            if let Some(Write::Append(bytes)) = next.cloned() {
                let part = bytes.slice(..survives(bytes.len()).min(bytes.len()));
                apply(&mut self.durable, file, &Write::Append(part));
            }
        }
        self.unflushed.clear();
        self.cache = self.durable.clone();
    }
}

fn apply(files: &mut BTreeMap<File, Bytes>, file: File, write: &Write) {
    let content = files.entry(file).or_default();
    match write {
        Write::Append(bytes) => {
            let mut whole = BytesMut::from(&content[..]);
            whole.extend_from_slice(bytes);
            *content = whole.freeze();
        }
        Write::Truncate { len } => {
            content.truncate(usize::try_from(*len).expect("a test's file is small"));
        }
        Write::Replace(bytes) => *content = bytes.clone(),
        Write::Delete => {
            files.remove(&file);
        }
    }
}

impl DiskRead for MemoryDisk {
    fn len(&self, file: File) -> Option<u64> {
        self.cache.get(&file).map(|content| content.len() as u64)
    }

    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let at = usize::try_from(at).expect("a test's file is small");
        self.cache[&file].slice(at..at + len)
    }

    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        Vec::new()
    }
}
