//! A disk with a page cache: what a crash leaves is chosen by the test.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::effect::{DiskRead, File, Write};
use crate::types::TopicIdPartition;

/// Files as the process sees them, as they are on disk, and the writes in between.
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct MemoryDisk {
    cache: BTreeMap<File, Bytes>,
    durable: BTreeMap<File, Bytes>,
    unflushed: BTreeMap<File, VecDeque<Write>>,
    /// How many writes of a file are durable.
    flushed: BTreeMap<File, usize>,
}

impl MemoryDisk {
    /// A disk with this metadata log on it.
    pub(in crate::raft) fn with_log(content: &[u8]) -> Self {
        let mut disk = MemoryDisk::default();
        let content = Bytes::copy_from_slice(content);
        disk.write(File::MetadataLog, Write::Append(content));
        disk.flush_to(File::MetadataLog, 1);
        disk
    }

    /// Into the page cache.
    pub(in crate::raft) fn write(&mut self, file: File, write: Write) {
        apply(&mut self.cache, file, &write);
        self.unflushed.entry(file).or_default().push_back(write);
    }

    /// How many writes of that file there were.
    pub(in crate::raft) fn written(&self, file: File) -> usize {
        let durable = self.flushed.get(&file).copied().unwrap_or(0);
        durable + self.unflushed.get(&file).map_or(0, VecDeque::len)
    }

    /// The first `writes` writes of that file are durable.
    pub(in crate::raft) fn flush_to(&mut self, file: File, writes: usize) {
        let durable = self.flushed.entry(file).or_default();
        let pending = self.unflushed.entry(file).or_default();
        while *durable < writes
            && let Some(write) = pending.pop_front()
        {
            apply(&mut self.durable, file, &write);
            *durable += 1;
        }
    }

    /// What would be left of that file if the power went now.
    pub(in crate::raft) fn durable(&self, file: File) -> Option<&Bytes> {
        self.durable.get(&file)
    }

    /// The power goes. Of each file's writes that were not flushed, the first `below(how many)` had
    /// been written back, and of the next one, if it appends, the first `below(its length)` bytes.
    pub(in crate::raft) fn lose_power(&mut self, mut below: impl FnMut(usize) -> usize) {
        let files: Vec<File> = self.unflushed.keys().copied().collect();
        for file in files {
            let (written, pending) = (self.written(file), self.unflushed[&file].len());
            self.flush_to(file, written - pending + below(pending));
            let next = self.unflushed.get(&file).and_then(VecDeque::front);
            if let Some(Write::Append(bytes)) = next.cloned() {
                let part = bytes.slice(..below(bytes.len()));
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
            let mut whole = BytesMut::with_capacity(content.len() + bytes.len());
            whole.extend_from_slice(content);
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
