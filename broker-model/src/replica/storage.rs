//! What the replicas write down besides their logs, and how they stop in order.
//!
//! Mirrors `ReplicaManager.checkpointHighWatermarks`, `LogManager.checkpointLogStartOffsets` and
//! `LogManager.shutdown`: logs are flushed, then the mark of an orderly stop is written, so that the
//! mark is never there without what it stands for.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::checkpoints::{self, Checkpoint};
use super::manager::ReplicaManager;
use crate::context::Context;
use crate::effect::{Effect, File, Write};
use crate::input::DiskResult;
use crate::log::UnifiedLog;
use crate::types::{BrokerEpoch, FlushId, FlushOwner, Offset};

/// The small files, and how far the stop has got.
#[derive(Debug)]
pub(super) struct Storage {
    /// As last written.
    high_watermarks: Checkpoint,
    /// As last written.
    log_starts: Checkpoint,
    /// The registration that had stopped in order before this process.
    clean_epoch: Option<BrokerEpoch>,
    stage: Stage,
    last_flush: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Running,
    /// Logs and checkpoints are being flushed.
    Flushing(BTreeSet<FlushId>),
    /// The mark is being flushed.
    Marking(FlushId),
    Stopped,
}

impl Storage {
    /// Nothing written yet.
    pub(super) fn new(clean_epoch: Option<BrokerEpoch>) -> Self {
        Storage {
            high_watermarks: Checkpoint::new(),
            log_starts: Checkpoint::new(),
            clean_epoch,
            stage: Stage::Running,
            last_flush: 0,
        }
    }

    /// Whether nothing more may be appended.
    pub(super) fn is_stopping(&self) -> bool {
        self.stage != Stage::Running
    }

    /// The mark of an orderly stop says nothing about this process.
    pub(super) fn forget_clean_shutdown(&mut self, cx: &mut Context<'_>) {
        if self.clean_epoch.is_some() {
            cx.effects.write(File::CleanShutdown, Write::Delete);
            self.flush(cx, File::CleanShutdown);
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, file: File) -> FlushId {
        self.last_flush += 1;
        let id = FlushId::new(FlushOwner::Replica, self.last_flush);
        cx.effects.flush(file, id);
        id
    }

    fn replace(&mut self, cx: &mut Context<'_>, file: File, content: Bytes) -> FlushId {
        cx.effects.write(file, Write::Replace(content));
        self.flush(cx, file)
    }
}

impl ReplicaManager {
    /// The registration that had stopped in order before this process started, if it did
    /// (`RegisterBroker.PreviousBrokerEpoch`).
    #[must_use]
    pub fn cleanly_stopped_epoch(&self) -> Option<BrokerEpoch> {
        self.storage.clean_epoch
    }

    /// Writes high watermarks and log starts down, if they have moved. Returns the flushes.
    pub(super) fn checkpoint(&mut self, cx: &mut Context<'_>) -> Vec<FlushId> {
        let mut flushes = Vec::new();
        let high_watermarks = self.offsets_of(UnifiedLog::high_watermark);
        if high_watermarks != self.storage.high_watermarks {
            let content = checkpoints::content(&high_watermarks);
            flushes.push(self.storage.replace(cx, File::HighWatermarks, content));
            self.storage.high_watermarks = high_watermarks;
        }
        let mut log_starts = self.offsets_of(UnifiedLog::log_start);
        log_starts.retain(|_, start| *start != Offset::ZERO);
        if log_starts != self.storage.log_starts {
            let content = checkpoints::content(&log_starts);
            flushes.push(self.storage.replace(cx, File::LogStarts, content));
            self.storage.log_starts = log_starts;
        }
        flushes
    }

    fn offsets_of(&self, offset: impl Fn(&UnifiedLog) -> Offset) -> Checkpoint {
        let hosted = self.hosted.iter().map(|(id, it)| (*id, offset(&it.log)));
        let unhosted = self.unhosted.iter().map(|(id, log)| (*id, offset(log)));
        hosted.chain(unhosted).collect()
    }

    /// Stops in order. [`ReplicaManager::is_shut_down`] tells when everything is on the disk.
    pub fn shutdown(&mut self, cx: &mut Context<'_>) {
        if self.storage.is_stopping() {
            return;
        }
        self.fetchers.close(cx);
        cx.network
            .close(crate::timer::Channel::AlterPartition, cx.effects);
        let mut flushes: BTreeSet<FlushId> = self.checkpoint(cx).into_iter().collect();
        let hosted = self.hosted.values().map(|it| it.log.file());
        let files: Vec<File> = hosted
            .chain(self.unhosted.values().map(UnifiedLog::file))
            .collect();
        for file in files {
            flushes.insert(self.storage.flush(cx, file));
        }
        self.storage.stage = Stage::Flushing(flushes);
        self.mark_if_flushed(cx);
    }

    /// Whether an orderly stop has come to its end.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.storage.stage == Stage::Stopped
    }

    /// A flush of this part ended.
    pub fn on_flushed(&mut self, cx: &mut Context<'_>, id: FlushId, result: DiskResult) {
        if result.is_err() {
            // Kafka takes a log directory that fails out of use, and stops when it was the last.
            return cx.effects.push(Effect::Halt);
        }
        match &mut self.storage.stage {
            Stage::Flushing(waiting) => {
                waiting.remove(&id);
                self.mark_if_flushed(cx);
            }
            Stage::Marking(mark) if *mark == id => self.storage.stage = Stage::Stopped,
            Stage::Running | Stage::Marking(_) | Stage::Stopped => {}
        }
    }

    fn mark_if_flushed(&mut self, cx: &mut Context<'_>) {
        if self.storage.stage == Stage::Flushing(BTreeSet::new()) {
            let content = checkpoints::clean_shutdown(self.around.broker_epoch);
            let id = self.storage.replace(cx, File::CleanShutdown, content);
            self.storage.stage = Stage::Marking(id);
        }
    }
}
