//! Committed metadata on its way into the broker.
//!
//! Mirrors `MetadataLoader` and `BrokerMetadataPublisher`. What raft hands out queues up and is
//! applied in one piece when its moment comes: a broker that lags jumps over leader epochs, as in
//! Kafka, where the loader publishes one delta for all that it has read.

use crate::context::Context;
use crate::metadata::log_hash::LogHash;
use crate::metadata::{MetadataDelta, MetadataImage, MetadataRecord};
use crate::note::{MetadataReader, Note};
use crate::raft::CommittedBatch;
use crate::timer::Timer;
use crate::types::Offset;

/// The broker's copy of the metadata, and what it has not taken in yet.
///
/// queue continues image: its first batch starts where image ends.
#[derive(Debug)]
pub(crate) struct MetadataLoader {
    lag_max_ms: u64,
    image: MetadataImage,
    hash: LogHash,
    queue: Vec<CommittedBatch>,
    /// `Timer::ApplyMetadata` runs.
    armed: bool,
}

impl MetadataLoader {
    /// The loader of an empty log. `lag_max_ms` is how long it may take its time; 0 is not at all.
    pub(crate) fn new(lag_max_ms: u64) -> Self {
        MetadataLoader {
            lag_max_ms,
            image: MetadataImage::empty(),
            hash: LogHash::new(),
            queue: Vec::new(),
            armed: false,
        }
    }

    /// The metadata as applied.
    pub(crate) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// The last offset that is applied, -1 at first (`MetadataLoader.lastAppliedOffset`).
    pub(crate) fn applied(&self) -> Offset {
        self.image.offset()
    }

    /// Raft committed the next batch.
    pub(crate) fn enqueue(&mut self, cx: &mut Context<'_>, batch: CommittedBatch) {
        self.queue.push(batch);
        if self.lag_max_ms != 0 && !self.armed {
            self.armed = true;
            cx.effects.arm(Timer::ApplyMetadata, 0..=self.lag_max_ms);
        }
    }

    /// Whether there is something to apply that nothing holds back.
    pub(crate) fn is_due(&self) -> bool {
        !self.queue.is_empty() && !self.armed
    }

    /// `Timer::ApplyMetadata`: the wait is over.
    pub(crate) fn on_timer(&mut self) {
        self.armed = false;
    }

    /// Takes in everything that is queued, as one change.
    pub(crate) fn load(&mut self, cx: &mut Context<'_>) -> MetadataDelta {
        let mut delta = MetadataDelta::default();
        for batch in self.queue.drain(..) {
            if !batch.control {
                let mut offset = batch.base;
                for bytes in &batch.records {
                    let record = MetadataRecord::decode(bytes)
                        .expect("the active controller wrote it, and raft keeps bytes");
                    self.hash.update(offset, bytes);
                    self.image.replay(offset, &record, &mut delta);
                    offset = offset.next();
                }
            }
            self.image.advance_to(batch.last);
        }
        cx.effects.note(Note::MetadataApplied {
            by: MetadataReader::Broker,
            offset: self.image.offset(),
            hash: self.hash.value(),
        });
        delta
    }
}
