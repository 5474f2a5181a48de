//! How notes about replicas change what the judge knows.

use broker_model::note::Note;
use broker_model::types::{LeaderEpoch, NodeId, Offset, ProducerId, TopicIdPartition};
use bytes::Bytes;

use super::World;
use super::batch::Batch;
use super::log::Entry;
use super::partition::{Acked, EpochFacts, Leadership, Partition, Replica, Role};

impl World {
    /// Takes a note about a replica in; other notes change nothing.
    pub(super) fn replica_note(&mut self, node: NodeId, note: &Note) {
        let Some(id) = partition_of(note) else {
            return;
        };
        let index = self.index_of(id);
        let at = self.partitions[index].index_of(node);
        self.take_moment(index, at);
        if shows_a_leader(note, self.moment.high_watermark) {
            self.begin(index, at);
        }
        match note {
            Note::Append {
                as_leader, batch, ..
            } => self.append(index, at, (node, *as_leader), batch),
            Note::BecameLeader { .. } | Note::BecameFollower { .. } => {
                self.role_changed(index, at, node, note);
            }
            Note::LogRecovered { .. } => self.recovered(index, at, note),
            Note::ProduceAnswered { .. } => self.answered(index, at, node, note),
            Note::Truncate { to, .. } => {
                let partition = &mut self.partitions[index];
                let removed = &mut self.moment.removed;
                partition.replicas[at].cut(&partition.arena, *to, removed);
            }
            Note::HighWatermark { .. } | Note::LogStart { .. } => {
                self.offsets_moved(index, at, note);
            }
            Note::FollowerFetched { .. } | Note::LeaderIsr { .. } => {
                self.partitions[index].replicas[at].led(note);
            }
            Note::ReplicaStopped { deleted: true, .. } => {
                self.partitions[index].replicas[at] = Replica::new(node);
            }
            _ => self.partitions[index].replicas[at].told(note),
        }
    }

    fn take_moment(&mut self, index: usize, at: usize) {
        let partition = &self.partitions[index];
        let replica = &partition.replicas[at];
        let moment = &mut self.moment;
        moment.partition = Some(index);
        moment.replica = Some(at);
        moment.batch = None;
        moment.entry = None;
        moment.clash = None;
        moment.log_end = replica.log.end();
        moment.high_watermark = replica.high_watermark;
        moment.log_start = replica.log_start;
        moment.led = replica.leads();
        moment.removed.clear();
        moment.true_high_watermark = partition.true_high_watermark;
        moment.acting = partition.acting;
        moment.producer = None;
    }

    fn append(
        &mut self,
        index: usize,
        at: usize,
        (node, as_leader): (NodeId, bool),
        bytes: &Bytes,
    ) {
        let Some(batch) = Batch::parse(bytes) else {
            return;
        };
        let partition = &mut self.partitions[index];
        let replica = &mut partition.replicas[at];
        let (id, clash) = replica
            .log
            .append(&mut partition.arena, entry_of(&batch, node));
        if as_leader {
            partition.led.insert(id, bytes.clone());
        }
        self.moment.producer = replica.producers.append(partition.arena.entry(id));
        self.moment.batch = Some(batch);
        self.moment.entry = Some(id);
        self.moment.clash = clash;
    }

    fn role_changed(&mut self, index: usize, at: usize, node: NodeId, note: &Note) {
        let partition = &mut self.partitions[index];
        match *note {
            Note::BecameLeader {
                leader_epoch,
                log_end,
                high_watermark,
                ..
            } => {
                partition.tell_leader(leader_epoch, node, self.t_us);
                let replica = &mut partition.replicas[at];
                replica.high_watermark = high_watermark;
                if replica.leads() == Some(leader_epoch) {
                    return;
                }
                replica.role = Role::Leader(leader_epoch);
                replica.has_led = true;
                replica.leadership = Some(Leadership::new(leader_epoch, log_end));
                self.leader_changed(index, leader_epoch, node);
                if self.processes.serves(node) {
                    self.begin(index, at);
                }
                self.partitions[index].commit(at, high_watermark.min(log_end));
            }
            Note::BecameFollower {
                leader_epoch,
                leader,
                high_watermark,
                ..
            } => {
                partition.tell_leader(leader_epoch, leader, self.t_us);
                let replica = &mut partition.replicas[at];
                replica.high_watermark = high_watermark;
                replica.role = Role::Follower(leader_epoch);
                replica.leadership = None;
                if std::mem::take(&mut replica.has_led) {
                    self.leader_changed(index, leader_epoch, leader);
                }
            }
            _ => {}
        }
    }

    /// A broker that leads by the metadata acts as leader from now on.
    fn begin(&mut self, index: usize, at: usize) {
        let partition = &mut self.partitions[index];
        let Some(leadership) = &mut partition.replicas[at].leadership else {
            return;
        };
        if leadership.acts {
            return;
        }
        leadership.acts = true;
        self.moment.began = true;
        let (epoch, start) = (leadership.epoch, leadership.start);
        if let Some(facts) = partition.epochs.get_mut(&epoch) {
            facts.start.get_or_insert(start);
        }
        if epoch > partition.acting {
            partition.acting = epoch;
            if let Some(cut) = partition.accept_loss(at, self.n) {
                self.lose(index, cut);
            }
        }
    }

    fn answered(&mut self, index: usize, at: usize, node: NodeId, note: &Note) {
        let Note::ProduceAnswered {
            leader_epoch,
            acks,
            base,
            last,
            error: None,
            ..
        } = note
        else {
            return;
        };
        let partition = &mut self.partitions[index];
        let log = &partition.replicas[at].log;
        let entry = log.at(&partition.arena, *last);
        // What a leader acknowledges after it was overruled nobody promised to keep.
        let promised = partition.void(*leader_epoch).is_none();
        let counts = *base >= Offset::ZERO && *acks != 0 && promised;
        if let Some(entry) = entry.filter(|_| counts) {
            partition.acked.push(Acked {
                entry,
                acks: *acks,
                by: node,
                n: self.n,
                t_us: self.t_us,
            });
        }
    }

    fn recovered(&mut self, index: usize, at: usize, note: &Note) {
        let Note::LogRecovered {
            log_start,
            log_end,
            epochs,
            ..
        } = note
        else {
            return;
        };
        let partition = &mut self.partitions[index];
        let replica = &mut partition.replicas[at];
        self.moment.lost_power = replica.unknown;
        self.moment.left_on_disk = replica.left_on_disk.take();
        replica.cut(&partition.arena, *log_end, &mut self.moment.removed);
        replica.log_start = *log_start;
        replica.cache.clone_from(epochs);
        replica.role = Role::Offline;
        replica.leadership = None;
        replica.unknown = false;
    }
}

impl World {
    fn offsets_moved(&mut self, index: usize, at: usize, note: &Note) {
        let may_start_late = self.may_start_late(&self.partitions[index]);
        let partition = &mut self.partitions[index];
        let replica = &mut partition.replicas[at];
        match *note {
            Note::HighWatermark {
                as_leader,
                log_start,
                high_watermark,
                ..
            } => {
                replica.high_watermark = high_watermark;
                replica.log_start = log_start;
                if may_start_late {
                    partition.log_start = partition.log_start.max(log_start);
                }
                let rose = as_leader && high_watermark > self.moment.high_watermark;
                if as_leader {
                    partition.commit(at, high_watermark);
                }
                if rose && partition.is_void(at) {
                    self.commit_in_vain(index, at);
                }
            }
            Note::LogStart { log_start, .. } => {
                replica.log_start = log_start;
                if may_start_late {
                    partition.log_start = partition.log_start.max(log_start);
                }
            }
            _ => {}
        }
    }

    /// Whether anything may remove the beginning of the partition's log on purpose.
    pub(crate) fn may_start_late(&self, partition: &Partition) -> bool {
        let part = partition.number.and_then(|p| self.clients.part(p));
        part.is_some_and(|part| part.loses_records)
    }
}

impl Partition {
    fn tell_leader(&mut self, epoch: LeaderEpoch, leader: NodeId, t_us: u64) {
        self.epochs.entry(epoch).or_insert(EpochFacts {
            leader,
            t_us,
            start: None,
        });
    }
}

impl Replica {
    /// What a leader says of its followers and its ISR.
    fn led(&mut self, note: &Note) {
        let Some(leadership) = &mut self.leadership else {
            return;
        };
        match note {
            Note::FollowerFetched {
                leader_epoch,
                replica,
                log_end,
                ..
            } if leadership.epoch == *leader_epoch => leadership.prove(*replica, *log_end),
            Note::LeaderIsr {
                leader_epoch,
                isr,
                maximal,
                min_isr,
                ..
            } if leadership.epoch == *leader_epoch => {
                leadership.isr.clone_from(isr);
                leadership.maximal.clone_from(maximal);
                leadership.min_isr = *min_isr;
                leadership.isr_known = true;
            }
            _ => {}
        }
    }

    fn told(&mut self, note: &Note) {
        match note {
            Note::ReplicaStopped { .. } => {
                self.role = Role::Offline;
                self.leadership = None;
            }
            Note::EpochAssigned { epoch, start, .. } => {
                // An epoch without records gives way (LeaderEpochFileCache.assign).
                while self
                    .cache
                    .last()
                    .is_some_and(|last| last.1 >= *start && last.0 < *epoch)
                {
                    self.cache.pop();
                }
                self.cache.push((*epoch, *start));
            }
            Note::EpochsCut { epochs, .. } => self.cache.clone_from(epochs),
            Note::ProducersExpired { producers, .. } => {
                for &producer in producers {
                    self.producers.forget(producer);
                }
            }
            _ => {}
        }
    }
}

fn entry_of(batch: &Batch, by: NodeId) -> Entry {
    let producer = if batch.has_sequence() {
        batch.producer
    } else {
        ProducerId::NONE
    };
    Entry {
        base: batch.base,
        last: batch.last,
        epoch: batch.epoch,
        crc: batch.crc,
        chain: 0,
        size: batch.size,
        producer,
        producer_epoch: batch.producer_epoch,
        first: batch.first,
        by,
    }
}

/// Whether only a leader that acts does that; `known` is its high watermark before.
fn shows_a_leader(note: &Note, known: Offset) -> bool {
    match note {
        Note::HighWatermark {
            as_leader,
            high_watermark,
            ..
        } => *as_leader && *high_watermark > known,
        Note::Append { as_leader, .. } => *as_leader,
        Note::FollowerFetched { .. } | Note::FetchServed { .. } | Note::LatestServed { .. } => true,
        _ => false,
    }
}

/// The partition that a note about a replica is about.
fn partition_of(note: &Note) -> Option<TopicIdPartition> {
    match note {
        Note::PartitionApplied { partition, .. }
        | Note::LogRecovered { partition, .. }
        | Note::BecameLeader { partition, .. }
        | Note::BecameFollower { partition, .. }
        | Note::ReplicaStopped { partition, .. }
        | Note::Append { partition, .. }
        | Note::Truncate { partition, .. }
        | Note::EpochAssigned { partition, .. }
        | Note::EpochsCut { partition, .. }
        | Note::HighWatermark { partition, .. }
        | Note::FollowerFetched { partition, .. }
        | Note::LeaderIsr { partition, .. }
        | Note::IsrProposed { partition, .. }
        | Note::ProduceAnswered { partition, .. }
        | Note::FetchServed { partition, .. }
        | Note::LatestServed { partition, .. }
        | Note::DuplicateAnswered { partition, .. }
        | Note::SequenceRefused { partition, .. }
        | Note::ProducerState { partition, .. }
        | Note::ProducersExpired { partition, .. }
        | Note::LogStart { partition, .. } => Some(*partition),
        _ => None,
    }
}
