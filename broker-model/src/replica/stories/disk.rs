//! Files in memory. Writes reach them at once; nothing is lost.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::effect::{DiskRead, File, Write};
use crate::types::TopicIdPartition;

/// Files in memory.
#[derive(Clone, Default)]
pub(super) struct Disk(BTreeMap<File, BytesMut>);

impl DiskRead for Disk {
    fn len(&self, file: File) -> Option<u64> {
        self.0.get(&file).map(|it| it.len() as u64)
    }

    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let at = usize::try_from(at).expect("small");
        Bytes::copy_from_slice(&self.0[&file][at..at + len])
    }

    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        let logs = self.0.keys().filter_map(|file| match file {
            File::PartitionLog(id) => Some(*id),
            _ => None,
        });
        logs.collect()
    }
}

impl Disk {
    /// Carries out a write.
    pub(super) fn write(&mut self, file: File, write: Write) {
        let content = self.0.entry(file).or_default();
        match write {
            Write::Append(bytes) => content.extend_from_slice(&bytes),
            Write::Truncate { len } => content.truncate(usize::try_from(len).expect("small")),
            Write::Replace(bytes) => *content = BytesMut::from(&*bytes),
            Write::Delete => {
                self.0.remove(&file);
            }
        }
    }
}
