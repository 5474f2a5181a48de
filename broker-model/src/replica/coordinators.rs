//! What a coordinator does with the partition that holds its state: append and read.
//!
//! Mirrors `CoordinatorPartitionWriter` and `CoordinatorLoaderImpl` in front of `ReplicaManager`.

use bytes::Bytes;

use super::manager::ReplicaManager;
use super::partition::Partition;
use super::purgatory::News;
use crate::context::Context;
use crate::metadata::MetadataImage;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, Offset, ResponseError, TopicIdPartition};
use crate::wire::validate::validate_produce;

/// The log of a partition that this broker leads, from its start to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WholeLog {
    /// Its batches.
    pub(crate) batches: Bytes,
    /// Committed up to there, exclusive.
    pub(crate) high_watermark: Offset,
    /// Its end, exclusive.
    pub(crate) log_end: Offset,
}

impl ReplicaManager {
    /// In which epoch this broker leads the partition, if it does.
    pub(crate) fn leads(&self, id: TopicIdPartition) -> Option<LeaderEpoch> {
        self.led(id).map(Partition::leader_epoch)
    }

    /// The high watermark of a partition that this broker leads.
    pub(crate) fn high_watermark(&self, id: TopicIdPartition) -> Option<Offset> {
        self.led(id).map(|it| it.log.high_watermark())
    }

    /// All that is in the log of a partition that this broker leads.
    pub(crate) fn read_whole(&self, cx: &Context<'_>, id: TopicIdPartition) -> Option<WholeLog> {
        let log = &self.led(id)?.log;
        let (start, log_end) = (log.log_start(), log.log_end());
        let read = log.read(cx.disk, start, i32::MAX as usize, log_end, true);
        let read = read.expect("a read between the ends of a log");
        assert!(
            read.next == log_end,
            "a coordinator's log of more than 2 GiB: {} of {log_end}",
            read.next
        );
        Some(WholeLog {
            batches: read.records,
            high_watermark: log.high_watermark(),
            log_end,
        })
    }

    /// Appends a batch of a coordinator if enough replicas are in sync. Returns its last offset;
    /// that it is committed is seen by the high watermark.
    pub(crate) fn append_batch(
        &mut self,
        cx: &mut Context<'_>,
        image: &MetadataImage,
        id: TopicIdPartition,
        batch: &Bytes,
    ) -> Result<Offset, ResponseError> {
        let is_stopping = self.storage.is_stopping();
        let partition = self.hosted.get_mut(&id);
        let partition = partition.filter(|it| it.is_leader() && !is_stopping);
        let partition = partition.ok_or(ResponseError::NotLeaderOrFollower)?;
        if partition.isr().len() < partition.min_isr() {
            cx.effects.probe(Probe::NotEnoughReplicas);
            return Err(ResponseError::NotEnoughReplicas);
        }
        let rules = partition.config.produce_rules();
        let validated =
            validate_produce(batch, &rules, cx.now.wall_ms).map_err(|rejected| rejected.error)?;
        let leader_epoch = partition.leader_epoch();
        let appended = partition
            .log
            .append_as_leader(cx, batch, &validated, leader_epoch)?;
        let moved = partition.maybe_increment_high_watermark(cx, &self.around);
        let news = if moved {
            News::Watermarks
        } else {
            News::LogEnd
        };
        self.touched.add(id, news);
        self.finish(cx, image);
        Ok(appended.last)
    }

    fn led(&self, id: TopicIdPartition) -> Option<&Partition> {
        self.hosted.get(&id).filter(|it| it.is_leader())
    }
}
