//! One replica's log on a disk that takes writes only after the step, as every engine does.

use std::collections::BTreeMap;

use broker_model::bug::Bug;
use broker_model::client::network::{Network, NetworkConfig};
use broker_model::context::Context;
use broker_model::effect::{DiskRead, Effect, Effects, File, Write};
use broker_model::ids::IdSource;
use broker_model::log::{AppendInfo, FollowerAppendError, RecoveryReport, UnifiedLog};
use broker_model::note::{Note, ProducerEntry};
use broker_model::probe::Probe;
use broker_model::types::{
    LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, ResponseError, Sequence, StrBytes,
    TopicIdPartition, Uuid,
};
use broker_model::wire::batch::{BatchHeader, BatchIter, ProducerState, TimestampType};
use broker_model::wire::build::{BatchBuilder, end_txn_marker};
use broker_model::wire::validate::Validated;
use bytes::Bytes;

pub(crate) const P0: TopicIdPartition = TopicIdPartition {
    topic: Uuid::from_u128(1000),
    partition: 0,
};

/// Files as byte vectors.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<File, Vec<u8>>,
}

impl Disk {
    pub(crate) fn log(&self) -> &[u8] {
        self.files
            .get(&File::PartitionLog(P0))
            .map_or(&[], Vec::as_slice)
    }

    fn write(&mut self, file: File, write: Write) {
        match write {
            Write::Append(bytes) => self.files.entry(file).or_default().extend(bytes),
            Write::Truncate { len } => {
                let len = usize::try_from(len).expect("small");
                let bytes = self
                    .files
                    .get_mut(&file)
                    .expect("a file that is cut exists");
                assert!(len <= bytes.len(), "cut to more than there is");
                bytes.truncate(len);
            }
            Write::Replace(bytes) => {
                self.files.insert(file, bytes.to_vec());
            }
            Write::Delete => {
                self.files.remove(&file);
            }
        }
    }
}

impl DiskRead for Disk {
    fn len(&self, file: File) -> Option<u64> {
        self.files.get(&file).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, file: File, at: u64, len: usize) -> Bytes {
        let at = usize::try_from(at).expect("small");
        Bytes::copy_from_slice(&self.files[&file][at..at + len])
    }

    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        vec![P0]
    }
}

/// A log, its disk, and what it told since it was last asked.
pub(crate) struct Replica {
    pub(crate) log: UnifiedLog,
    pub(crate) disk: Disk,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) wall_ms: i64,
    pub(crate) bug: Option<Bug>,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) notes: Vec<Note>,
    pub(crate) probes: Vec<Probe>,
}

/// What [`Replica::step`] hands to a step.
pub(crate) struct Step<'a, 'b> {
    pub(crate) log: &'a mut UnifiedLog,
    pub(crate) cx: Context<'b>,
}

impl Replica {
    /// An empty log, led in epoch 0.
    pub(crate) fn new() -> Replica {
        let mut replica =
            Replica::over(UnifiedLog::recover(P0, &Disk::default(), Offset(0), true).0);
        replica.lead(0);
        replica
    }

    fn over(log: UnifiedLog) -> Replica {
        Replica {
            log,
            disk: Disk::default(),
            epoch: LeaderEpoch(0),
            wall_ms: 1_000_000,
            bug: None,
            timestamp_type: TimestampType::CreateTime,
            notes: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// What a broker finds on `disk` when it starts.
    pub(crate) fn recover(disk: Disk, log_start: i64) -> (Replica, RecoveryReport) {
        let (log, report) = UnifiedLog::recover(P0, &disk, Offset(log_start), false);
        let mut replica = Replica::over(log);
        replica.disk = disk;
        replica.step(|step| step.log.report_recovery(&mut step.cx, &report));
        (replica, report)
    }

    /// Runs one step; what it wrote is on the disk afterwards.
    pub(crate) fn step<R>(&mut self, run: impl FnOnce(&mut Step<'_, '_>) -> R) -> R {
        let mut effects = Effects::new();
        let mut network = Network::new(NetworkConfig::default(), StrBytes::from_static_str("n1"));
        let mut ids = IdSource::new(0);
        let now = Now {
            mono_ms: 0,
            wall_ms: self.wall_ms,
        };
        let cx = Context {
            now,
            disk: &self.disk,
            network: &mut network,
            ids: &mut ids,
            effects: &mut effects,
            bug: self.bug,
        };
        let result = run(&mut Step {
            log: &mut self.log,
            cx,
        });
        for effect in effects.drain() {
            match effect {
                Effect::Write { file, write } => self.disk.write(file, write),
                Effect::Note(note) => self.notes.push(note),
                Effect::Probe(probe) => self.probes.push(probe),
                other => panic!("a log asked for {other:?}"),
            }
        }
        result
    }

    pub(crate) fn lead(&mut self, epoch: i32) {
        self.epoch = LeaderEpoch(epoch);
        self.step(|step| {
            step.log.on_become_leader(&mut step.cx, LeaderEpoch(epoch));
        });
    }

    pub(crate) fn append(&mut self, batch: &[u8]) -> Result<AppendInfo, ResponseError> {
        let (epoch, timestamp_type) = (self.epoch, self.timestamp_type);
        self.step(|step| step.append(batch, epoch, timestamp_type))
    }

    /// Appends `records` records without a producer; the offset of the first.
    pub(crate) fn plain(&mut self, records: usize) -> Offset {
        let batch = batch(ProducerState::NONE, &vec![1000; records]);
        self.append(&batch).expect("nothing is wrong with it").base
    }

    /// Offers a batch of producer 1: its first offset or the error.
    pub(crate) fn send(
        &mut self,
        epoch: i16,
        first: i32,
        records: usize,
    ) -> Result<i64, ResponseError> {
        let batch = batch(producer(1, epoch, first), &vec![1000; records]);
        self.append(&batch).map(|info| info.base.0)
    }

    /// Appends a record of a transaction.
    pub(crate) fn transact(&mut self, id: i64, first: i32) -> Offset {
        let state = ProducerState {
            transactional: true,
            ..producer(id, 0, first)
        };
        self.append(&batch(state, &[1000])).expect("in order").base
    }

    /// Ends a transaction.
    pub(crate) fn end(&mut self, id: i64, commit: bool) -> Offset {
        let marker = end_txn_marker(commit, 0, producer(id, 0, -1), 1000);
        self.append(&marker).expect("a marker in order").base
    }

    pub(crate) fn follow(
        &mut self,
        records: &[u8],
    ) -> Result<Option<AppendInfo>, FollowerAppendError> {
        let (records, epoch) = (Bytes::copy_from_slice(records), self.epoch);
        self.step(|step| step.log.append_as_follower(&mut step.cx, &records, epoch))
    }

    pub(crate) fn truncate(&mut self, to: i64) -> bool {
        self.step(|step| step.log.truncate_to(&mut step.cx, Offset(to)))
    }

    pub(crate) fn high_watermark(&mut self, to: i64) -> i64 {
        self.step(|step| step.log.update_high_watermark(&mut step.cx, Offset(to)).0)
    }

    pub(crate) fn delete_records(&mut self, to: i64) -> Result<i64, ResponseError> {
        self.step(|step| step.log.delete_records(&mut step.cx, Offset(to)))
            .map(|start| start.0)
    }

    /// (base, last) of the batches that a read returns.
    pub(crate) fn read(
        &self,
        from: i64,
        max_bytes: usize,
        up_to: i64,
        min_one: bool,
    ) -> Vec<(i64, i64)> {
        let read = self
            .log
            .read(&self.disk, Offset(from), max_bytes, Offset(up_to), min_one);
        spans(&read.expect("in range").records)
    }

    pub(crate) fn timestamp(&self, timestamp: i64) -> Option<(i64, i64, Option<i32>)> {
        let found = self.log.offset_for_timestamp(&self.disk, timestamp)?;
        Some((
            found.timestamp,
            found.offset.0,
            found.epoch.map(|epoch| epoch.0),
        ))
    }

    /// What the log knows of its producers, as it tells the judge.
    pub(crate) fn producers(&mut self) -> Vec<ProducerEntry> {
        self.notes.clear();
        let epoch = self.epoch;
        self.step(|step| {
            step.log.on_become_leader(&mut step.cx, epoch);
        });
        let told = self.notes.iter().find_map(|note| match note {
            Note::ProducerState { producers, .. } => Some(producers.clone()),
            _ => None,
        });
        told.expect("a leader tells its producers")
    }

    pub(crate) fn epochs(&self) -> Vec<(i32, i64)> {
        let entries = self.log.epochs().entries().iter();
        entries.map(|(epoch, start)| (epoch.0, start.0)).collect()
    }

    /// Log start, last stable offset, high watermark and log end.
    pub(crate) fn offsets(&self) -> [i64; 4] {
        let offsets = self.log.offsets();
        [
            offsets.log_start.0,
            offsets.last_stable.0,
            offsets.high_watermark.0,
            offsets.log_end.0,
        ]
    }

    /// What was told since, in short.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.notes.drain(..).map(|note| brief(&note)).collect()
    }
}

impl Step<'_, '_> {
    pub(crate) fn append(
        &mut self,
        batch: &[u8],
        epoch: LeaderEpoch,
        timestamp_type: TimestampType,
    ) -> Result<AppendInfo, ResponseError> {
        let header = BatchHeader::parse(batch).expect("ours");
        let max_timestamp = match timestamp_type {
            TimestampType::CreateTime => header.max_timestamp,
            TimestampType::LogAppendTime => self.cx.now.wall_ms,
        };
        let validated = Validated {
            header,
            timestamp_type,
            max_timestamp,
        };
        self.log
            .append_as_leader(&mut self.cx, batch, &validated, epoch)
    }
}

pub(crate) fn producer(id: i64, epoch: i16, first: i32) -> ProducerState {
    ProducerState {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: Sequence(first),
        transactional: false,
    }
}

/// A batch with a record for each timestamp.
pub(crate) fn batch(producer: ProducerState, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new().by(producer);
    for &timestamp in timestamps {
        builder.push(timestamp, None, Some(b"value"), &[]);
    }
    builder.build()
}

/// A batch as it lies in a log.
pub(crate) fn stored(base: i64, epoch: i32, records: usize) -> Bytes {
    let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(epoch));
    for _ in 0..records {
        builder.push(1000, None, Some(b"value"), &[]);
    }
    builder.build()
}

/// (base, last) of each batch.
pub(crate) fn spans(records: &[u8]) -> Vec<(i64, i64)> {
    BatchIter::new(records)
        .map(|batch| batch.expect("whole").header)
        .map(|header| (header.base_offset.0, header.last_offset().0))
        .collect()
}

fn brief(note: &Note) -> String {
    match note {
        Note::LogRecovered {
            log_start,
            log_end,
            epochs,
            cut_bytes,
            ..
        } => format!("recovered {log_start}..{log_end} epochs {epochs:?} cut {cut_bytes}"),
        Note::Append {
            as_leader, batch, ..
        } => format!("append {:?} leader={as_leader}", spans(batch)),
        Note::Truncate {
            to,
            log_end,
            high_watermark,
            ..
        } => format!("truncate {log_end} -> {to} hw {high_watermark}"),
        Note::EpochAssigned { epoch, start, .. } => format!("epoch {epoch} from {start}"),
        Note::EpochsCut { epochs, .. } => format!("epochs {epochs:?}"),
        Note::HighWatermark {
            log_start,
            last_stable,
            high_watermark,
            log_end,
            ..
        } => format!("offsets {log_start} {last_stable} {high_watermark} {log_end}"),
        Note::ProducerState { end, producers, .. } => {
            format!("{} producers at {end}", producers.len())
        }
        Note::LogStart { log_start, .. } => format!("log start {log_start}"),
        Note::DuplicateAnswered {
            first, last, base, ..
        } => format!("duplicate {first}..={last} at {base}"),
        Note::ProducersExpired { producers, .. } => format!("expired {producers:?}"),
        other => panic!("a log told {other:?}"),
    }
}
