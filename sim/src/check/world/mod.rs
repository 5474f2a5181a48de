//! What the judge knows of a run so far: ghost state that no node has.
//!
//! The world takes every fact in before the checks see it. What a fact replaced is in the
//! [`Moment`], so that a check sees before and after. Everything here is O(1) a fact, amortized,
//! but for what follows a truncation or a restart.

pub(crate) mod batch;
pub(crate) mod clients;
mod coordinators;
pub(crate) mod gates;
pub(crate) mod groups;
pub(crate) mod lineage;
pub(crate) mod log;
pub(crate) mod members;
pub(crate) mod metadata;
pub(crate) mod partition;
pub(crate) mod process;
pub(crate) mod producers;
pub(crate) mod raft;
pub(crate) mod register;
mod replicas;
mod sparse;
pub(crate) mod walk;

use std::collections::BTreeMap;

use broker_model::effect::File;
use broker_model::note::{BrokerState, MetadataReader, Note, PartitionState};
use broker_model::types::{LeaderEpoch, NodeId, Offset, ProducerEpoch, Sequence, TopicIdPartition};
use xxhash_rust::xxh3::xxh3_64;

use self::batch::Batch;
use self::clients::{ClientMoment, Clients, OpKind};
use self::groups::{GroupMoment, Groups};
use self::lineage::HistoryCut;
use self::log::EntryId;
use self::members::{MemberMoment, Members};
use self::metadata::{Metadata, Told};
use self::partition::{Cut, Partition, UNCLEAN_ELECTION};
use self::process::{ActiveFault, Processes};
use self::raft::{Raft, RaftMoment};
use crate::history::{Body, Hdr, Line, Nem};
use crate::observe::{Fact, NodeEnd, Observed, Phase, Setup, Stop, WorldEvent};
use crate::plan::Plan;

/// Ghost state, shared by the checks.
#[derive(Debug, Default)]
pub struct World {
    /// What the last fact brought, and what it replaced.
    pub(crate) moment: Moment,
    pub(crate) processes: Processes,
    pub(crate) metadata: Metadata,
    pub(crate) raft: Raft,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) clients: Clients,
    pub(crate) members: Members,
    pub(crate) groups: Groups,
    /// Whether nodes were watched, not only clients.
    pub(crate) white_box: bool,
    /// The run's choices, where there is a run.
    pub(crate) plan: Option<Plan>,
    /// How long the plan's cluster may take to serve again, in milliseconds.
    pub(crate) recovery_bound_ms: u64,
    /// How long a partition that could be served may take until it is, in milliseconds.
    pub(crate) service_bound_ms: u64,
    /// The phases that began, with their times in microseconds.
    pub(crate) phases: BTreeMap<Phase, u64>,
    /// The nodes at the end of the run.
    pub(crate) ends: BTreeMap<NodeId, NodeEnd>,
    /// The last fact.
    pub(crate) n: u64,
    pub(crate) t_us: u64,
    indexes: BTreeMap<TopicIdPartition, usize>,
    /// The partition that was asked for last.
    last: usize,
    expected: Vec<String>,
    told: Vec<Line>,
}

/// What the last fact brought, and what it replaced.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// The partition and the replica that it is about.
    pub(crate) partition: Option<usize>,
    pub(crate) replica: Option<usize>,
    /// The appended batch; `None` if its bytes are not one batch.
    pub(crate) batch: Option<Batch>,
    /// Its entry, and an entry of the same epoch that it contradicts.
    pub(crate) entry: Option<EntryId>,
    pub(crate) clash: Option<EntryId>,
    /// The end of the replica's log before.
    pub(crate) log_end: Offset,
    /// Its high watermark before, as it was told.
    pub(crate) high_watermark: Offset,
    /// Its first offset before.
    pub(crate) log_start: Offset,
    /// Whether it led, and in which epoch.
    pub(crate) led: Option<LeaderEpoch>,
    /// What a truncation or a recovery removed.
    pub(crate) removed: Vec<EntryId>,
    /// Whether a power loss came since the last recovery, and what it left of the log's file:
    /// flushed and kept bytes. A file that was wholly on disk is left as it was.
    pub(crate) lost_power: bool,
    pub(crate) left_on_disk: Option<(u64, u64)>,
    /// The partition's true high watermark before.
    pub(crate) true_high_watermark: Offset,
    /// The largest epoch that had acted before.
    pub(crate) acting: LeaderEpoch,
    /// The batch's producer before: epoch and last sequence.
    pub(crate) producer: Option<(ProducerEpoch, Sequence)>,
    /// How a committed record compares with what was told of it before.
    pub(crate) told: Told,
    /// The committed state that it replaces.
    pub(crate) state_before: Option<PartitionState>,
    pub(crate) broker_before: Option<BrokerState>,
    /// Whether a broker began to act as leader by this fact.
    pub(crate) began: bool,
    /// Committed records that were lost with nobody to blame.
    pub(crate) cut: Option<Cut>,
    pub(crate) raft: RaftMoment,
    pub(crate) clients: ClientMoment,
    pub(crate) members: MemberMoment,
    pub(crate) groups: GroupMoment,
}

impl World {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let plan = setup.plan;
        let voters = plan
            .nodes
            .iter()
            .filter(|node| {
                let roles = node.config.get("process.roles");
                roles.is_none_or(|roles| roles.contains("controller"))
            })
            .map(|node| NodeId(node.id))
            .collect();
        Self {
            white_box: true,
            raft: Raft::of(voters),
            expected: plan.expect.clone(),
            plan: Some(plan.clone()),
            recovery_bound_ms: super::liveness::recovery_bound_ms(plan),
            service_bound_ms: super::liveness::service_bound_ms(plan),
            ..Self::default()
        }
    }

    pub(super) fn of_history(header: &Hdr) -> Self {
        let expected = header.cfg.get("expect").map_or("", String::as_str);
        Self {
            expected: expected.split(',').map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Whether the scenario expects that check to fail, so that its gates are lifted.
    #[must_use]
    pub fn expects(&self, check: &str) -> bool {
        let name = check.split_once('/').map_or(check, |(name, _)| name);
        self.expected.iter().any(|expected| expected == name)
    }

    /// The partition that the last fact is about.
    pub(crate) fn partition(&self) -> Option<&Partition> {
        self.moment.partition.map(|index| &self.partitions[index])
    }

    /// The partition with that id.
    pub(crate) fn find(&self, id: &TopicIdPartition) -> Option<&Partition> {
        self.indexes.get(id).map(|&index| &self.partitions[index])
    }

    /// What the world knows of the cluster and clients do not, as history lines: changes of leaders, and
    /// committed offsets that were lost with nobody to blame.
    pub(super) fn told(&self) -> &[Line] {
        &self.told
    }

    pub(super) fn end(&mut self, ends: BTreeMap<NodeId, NodeEnd>) {
        self.ends = ends;
    }

    /// Takes a fact in.
    pub(super) fn observe(&mut self, event: &Observed<'_>) {
        self.n = event.n;
        self.t_us = event.t_us;
        match event.fact {
            Fact::Note { node, note, .. } => self.note(node, note),
            Fact::History(line) => self.line(line),
            Fact::World(what) => self.world_event(what),
        }
    }

    fn line(&mut self, line: &Line) {
        self.clients.observe(line, &mut self.moment.clients);
        let ended = self.moment.clients.ended.as_ref();
        let closed = ended.is_some_and(|op| op.what == OpKind::Close);
        let members = &mut self.moment.members;
        self.members.observe(line, &self.clients, closed, members);
        self.groups.holders.line(line);
        match &line.b {
            Body::Part(part) => {
                if let Some(id) = part.partition().filter(|_| self.white_box) {
                    let index = self.index_of(id);
                    let partition = &mut self.partitions[index];
                    partition.number = Some(part.p);
                    partition.name = format!("{}-{}", part.topic, part.idx);
                }
            }
            // With the nodes in sight the world finds these by itself.
            Body::Nem(nem) if !self.white_box => self.nemesis(line.n, nem),
            _ => {}
        }
    }

    /// What a history says was done to the cluster.
    fn nemesis(&mut self, n: u64, nem: &Nem) {
        match nem {
            Nem::Destroyed { p, vs, .. } if !vs.is_empty() => {
                self.clients.committed_in_vain(*p, vs);
            }
            &Nem::Destroyed { p, from, to, .. } => self.clients.cut(p, HistoryCut { from, to, n }),
            Nem::LeaderChange { p, .. } => self.clients.leader_changed(*p, n),
            Nem::Fault { .. } | Nem::Heal { .. } | Nem::Phase { .. } => {}
        }
    }

    fn world_event(&mut self, event: &WorldEvent) {
        match event {
            WorldEvent::Started { node, incarnation } => {
                let process = self.processes.all.entry(*node).or_default();
                process.up = true;
                process.serving = false;
                process.incarnation = *incarnation;
                process.since_us = self.t_us;
            }
            WorldEvent::Stopped { node, how, .. } => self.stopped(*node, *how),
            WorldEvent::DiskAfterPowerLoss {
                node,
                file: File::PartitionLog(id),
                flushed,
                kept,
                ..
            } => {
                let index = self.index_of(*id);
                let partition = &mut self.partitions[index];
                let replica = partition.index_of(*node);
                partition.replicas[replica].left_on_disk = Some((*flushed, *kept));
            }
            WorldEvent::FaultBegan { id, kind, target } => {
                self.members.fault(self.n, kind, target);
                self.processes.faults.insert(*id, ActiveFault { kind });
            }
            WorldEvent::FaultEnded { id, .. } => {
                self.processes.faults.remove(id);
            }
            WorldEvent::Phase(phase) => {
                self.phases.entry(*phase).or_insert(self.t_us);
            }
            WorldEvent::DiskAfterPowerLoss { .. }
            | WorldEvent::FaultEffective { .. }
            | WorldEvent::HarnessBroken { .. } => {}
        }
    }

    fn stopped(&mut self, node: NodeId, how: Stop) {
        let process = self.processes.all.entry(node).or_default();
        process.up = false;
        process.last_stop = Some(how);
        process.since_us = self.t_us;
        let power_lost = how == Stop::PowerLoss;
        if power_lost {
            process.epoch_at_power_loss =
                self.metadata.brokers.get(&node).map(|broker| broker.epoch);
        }
        self.raft.stopped(node, power_lost);
        self.members.coordinators.stopped(self.n, node);
        self.groups.stopped(node);
        for partition in &mut self.partitions {
            let known = partition.replicas.iter_mut();
            for replica in known.filter(|replica| replica.node == node) {
                replica.stopped(power_lost);
            }
            if power_lost {
                partition.weigh_losses();
            }
        }
    }

    fn note(&mut self, node: NodeId, note: &Note) {
        let moment = &mut self.moment;
        moment.partition = None;
        moment.replica = None;
        moment.cut = None;
        moment.began = false;
        match note {
            Note::RaftRecovered { .. }
            | Note::RaftRole { .. }
            | Note::QuorumStateWritten { .. }
            | Note::QuorumStateFlushed
            | Note::VoteCast { .. }
            | Note::VoteAnswered { .. }
            | Note::RaftAppend { .. }
            | Note::RaftFlushed { .. }
            | Note::RaftTruncate { .. }
            | Note::RaftFetched { .. }
            | Note::RaftHighWatermark { .. } => {
                self.raft.observe(node, note, &mut moment.raft);
            }
            Note::PartitionCommitted {
                offset,
                partition,
                state,
            } => self.partition_committed(*offset, *partition, state),
            Note::BrokerCommitted {
                offset,
                broker,
                state,
            } => self.broker_committed(*offset, *broker, *state),
            Note::TopicCommitted {
                offset,
                topic,
                name,
                removed,
            } => {
                let digest = xxh3_64(name.as_bytes()) ^ u64::from(*removed);
                moment.told = self.metadata.tell(*offset, 1, digest);
                self.metadata.topics.insert(*topic, name.clone());
                self.groups.topics.topic(*offset, *topic, name, *removed);
                for partition in &mut self.partitions {
                    if partition.id.topic == *topic {
                        partition.name = format!("{name}-{}", partition.id.partition);
                        partition.removed |= *removed;
                    }
                }
            }
            Note::MetadataApplied { offset, hash, by } => {
                if *by == MetadataReader::Broker {
                    self.groups.topics.applied(node, *offset);
                }
                let told = self.metadata.hashes.entry(*offset);
                let (known, _) = *told.or_insert((*hash, node));
                moment.told = if known == *hash {
                    Told::Again
                } else {
                    Told::Otherwise
                };
            }
            Note::BrokerFenced { fenced: false, .. } => {
                self.processes.all.entry(node).or_default().serving = true;
            }
            Note::Coordinator { .. }
            | Note::ClassicGroup { .. }
            | Note::ConsumerGroup { .. }
            | Note::Offsets { .. } => self.group_note(node, note),
            _ => self.replica_note(node, note),
        }
    }

    /// A coordinator says something of itself or of its groups.
    fn group_note(&mut self, node: NodeId, note: &Note) {
        let moment = &mut self.moment.groups;
        let now = (self.n, self.t_us);
        if let Note::Coordinator {
            partition: id,
            change,
            ..
        } = note
        {
            let coordinators = &mut self.members.coordinators;
            coordinators.changed(self.n, node, id.partition, change);
            let partition = self.indexes.get(id).map(|&index| &self.partitions[index]);
            self.groups
                .coordinator_note((node, note), now, partition, moment);
        } else {
            self.groups.group_note((node, note), now, moment);
        }
    }

    /// Whether the broker lost its power and the metadata still knows only the incarnation before
    /// that. It takes no requests until it is registered again, whatever it believes to lead.
    pub(crate) fn awaits_registration(&self, node: NodeId) -> bool {
        let lost = self.processes.get(node).epoch_at_power_loss;
        lost.is_some() && self.metadata.brokers.get(&node).map(|broker| broker.epoch) == lost
    }

    fn broker_committed(&mut self, offset: Offset, broker: NodeId, state: BrokerState) {
        let digest = xxh3_64(format!("{state:?}").as_bytes());
        self.moment.told = self.metadata.tell(offset, 2, digest);
        self.moment.broker_before = self.metadata.brokers.get(&broker).copied();
        if self.moment.told == Told::First {
            self.metadata.brokers.insert(broker, state);
            let epochs = &mut self.metadata.broker_epochs;
            epochs.entry(state.epoch).or_insert(broker);
        }
    }

    fn partition_committed(
        &mut self,
        offset: Offset,
        id: TopicIdPartition,
        state: &PartitionState,
    ) {
        let index = self.index_of(id);
        self.moment.partition = Some(index);
        let subject = 3 + index as u64;
        self.moment.told = self.metadata.tell(offset, subject, digest_of(state));
        let lossy = state
            .isr
            .iter()
            .filter(|&&node| self.awaits_registration(node));
        let awaiting: Vec<NodeId> = lossy.copied().collect();
        let partition = &mut self.partitions[index];
        self.moment.state_before.clone_from(&partition.state);
        if self.moment.told != Told::First {
            return;
        }
        let before = partition.state.replace(state.clone());
        if before.is_none() {
            self.groups.topics.partition(offset, id);
        }
        partition.state_offset = offset;
        for &node in &state.isr {
            let joined = before
                .as_ref()
                .is_none_or(|before| !before.isr.contains(&node));
            let replica = partition.index_of(node);
            // One that was proposed before its power went joins with a log that is no more.
            if joined && !awaiting.contains(&node) {
                partition.replicas[replica].lossy = false;
            }
        }
        let elected_outside = state.leader != NodeId::NONE
            && before.is_some_and(|before| !before.isr.contains(&state.leader));
        if elected_outside && self.allows_unclean(index) {
            self.partitions[index].unpromised = Some(UNCLEAN_ELECTION);
        }
        self.partitions[index].weigh_losses();
    }

    /// Whether the configuration allows leaders from outside the ISR.
    fn allows_unclean(&self, index: usize) -> bool {
        const NAME: &str = "unclean.leader.election.enable";
        let Some(plan) = &self.plan else {
            return false;
        };
        let topic = self.metadata.topics.get(&self.partitions[index].id.topic);
        let of_topic = plan
            .topics
            .iter()
            .find(|plan| topic.is_some_and(|name| **name == *plan.name))
            .and_then(|plan| plan.config.get(NAME));
        match of_topic {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => plan
                .nodes
                .iter()
                .any(|node| gates::flag(&node.config, NAME, false)),
        }
    }

    fn index_of(&mut self, id: TopicIdPartition) -> usize {
        // Facts about one partition come in runs.
        if self
            .partitions
            .get(self.last)
            .is_some_and(|partition| partition.id == id)
        {
            return self.last;
        }
        let next = self.partitions.len();
        let index = *self.indexes.entry(id).or_insert(next);
        if index == next {
            let mut partition = Partition::new(id);
            if let Some(name) = self.metadata.topics.get(&id.topic) {
                partition.name = format!("{name}-{}", id.partition);
            }
            self.partitions.push(partition);
        }
        self.last = index;
        index
    }

    /// Records that committed offsets were lost with nobody to blame.
    fn lose(&mut self, index: usize, cut: Cut) {
        self.moment.cut = Some(cut);
        if let Some(p) = self.partitions[index].number {
            let (from, to) = (cut.from.0, cut.to.0);
            self.clients.cut(p, HistoryCut { from, to, n: cut.n });
            let vs = Vec::new();
            self.tell(Nem::Destroyed { p, from, to, vs });
        }
    }

    /// Records what a leader committed though it had been overruled.
    fn commit_in_vain(&mut self, index: usize, by: usize) {
        let partition = &self.partitions[index];
        let values = partition.in_vain(by, self.moment.high_watermark);
        let (Some(p), Some(&(from, _)), Some(&(last, _))) =
            (partition.number, values.first(), values.last())
        else {
            return;
        };
        self.clients.committed_in_vain(p, &values);
        let (to, vs) = (last + 1, values);
        self.tell(Nem::Destroyed { p, from, to, vs });
    }

    /// Records that a broker leads, or heard that it does not any more.
    fn leader_changed(&mut self, index: usize, le: LeaderEpoch, leader: NodeId) {
        let Some(p) = self.partitions[index].number else {
            return;
        };
        self.clients.leader_changed(p, self.n);
        self.tell(Nem::LeaderChange {
            p,
            le: le.0,
            broker: leader.0,
            unclean: self.partitions[index].unpromised == Some(UNCLEAN_ELECTION),
        });
    }

    fn tell(&mut self, nem: Nem) {
        self.told.push(Line {
            n: self.n,
            t: self.t_us,
            b: Body::Nem(nem),
        });
    }
}

fn digest_of(state: &PartitionState) -> u64 {
    let mut bytes = Vec::with_capacity(64);
    for list in [&state.replicas, &state.isr] {
        bytes.extend(list.len().to_le_bytes());
        bytes.extend(list.iter().flat_map(|node| node.0.to_le_bytes()));
    }
    bytes.extend(state.leader.0.to_le_bytes());
    bytes.extend(state.leader_epoch.0.to_le_bytes());
    bytes.extend(state.partition_epoch.0.to_le_bytes());
    bytes.push(u8::from(state.recovering));
    xxh3_64(&bytes)
}
