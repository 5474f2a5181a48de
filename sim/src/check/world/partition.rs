//! Ghost state of one partition: its replicas' logs, what was committed, and what was destroyed.

use std::collections::BTreeMap;

use broker_model::note::PartitionState;
use broker_model::types::{LeaderEpoch, NodeId, Offset, TopicIdPartition};
use bytes::Bytes;

use super::batch::values;
use super::log::{Arena, EntryId, Log};
use super::producers::Producers;
use crate::history::{P, V};

/// A partition instance.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) id: TopicIdPartition,
    /// `orders-0`, once the topic's name is known.
    pub(crate) name: String,
    /// Its number in the history.
    pub(crate) number: Option<P>,
    /// Whether its topic was deleted.
    pub(crate) removed: bool,
    /// Its committed state, and the offset of the record that made it so.
    pub(crate) state: Option<PartitionState>,
    pub(crate) state_offset: Offset,
    pub(crate) arena: Arena,
    /// Batches as leaders appended them.
    pub(super) led: BTreeMap<EntryId, Bytes>,
    /// The committed log.
    pub(crate) canon: Log,
    /// The largest high watermark that a leader ever held, unless destroyed since.
    pub(crate) true_high_watermark: Offset,
    /// The largest log start that a replica ever had, where anything may remove records on purpose.
    pub(crate) log_start: Offset,
    pub(crate) replicas: Vec<Replica>,
    /// What was told first about each leader epoch.
    pub(crate) epochs: BTreeMap<LeaderEpoch, EpochFacts>,
    /// The largest epoch in which a broker acted as leader.
    pub(crate) acting: LeaderEpoch,
    /// Why committed records may be lost at the next election.
    pub(crate) unpromised: Option<&'static str>,
    /// Leaders of earlier epochs commit nothing that was promised: somebody else was elected without
    /// regard to them.
    void_before: LeaderEpoch,
    void_why: &'static str,
    /// What was lost with nobody to blame.
    pub(crate) cuts: Vec<Cut>,
    /// Produces that were answered without an error.
    pub(crate) acked: Vec<Acked>,
}

/// The first that was told about a leader epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochFacts {
    /// Its leader, `NodeId::NONE` if it has none.
    pub(crate) leader: NodeId,
    /// When that was told.
    pub(crate) t_us: u64,
    /// Its leader's log end when it began to act.
    pub(crate) start: Option<Offset>,
}

/// Committed offsets that were lost with nobody to blame (invariants.md §0.4, lineage).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// The first lost offset, and the true high watermark before.
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) n: u64,
    pub(crate) why: &'static str,
}

/// A produce that was answered without an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) entry: EntryId,
    pub(crate) acks: i16,
    pub(crate) by: NodeId,
    pub(crate) n: u64,
    pub(crate) t_us: u64,
}

/// A replica of a partition.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) node: NodeId,
    pub(crate) log: Log,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) role: Role,
    /// Whether it led since it last followed.
    pub(super) has_led: bool,
    /// Its leadership, while it leads.
    pub(crate) leadership: Option<Leadership>,
    /// Its leader-epoch cache: (epoch, start).
    pub(crate) cache: Vec<(LeaderEpoch, Offset)>,
    pub(crate) producers: Producers,
    /// From a power loss until it is next added to the ISR: it may lack committed records.
    pub(crate) lossy: bool,
    /// From a power loss until recovery said what is left.
    pub(crate) unknown: bool,
    /// What a power loss left of its log's file: flushed and kept bytes.
    pub(crate) left_on_disk: Option<(u64, u64)>,
}

/// What a broker does with a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Offline,
    Follower(LeaderEpoch),
    Leader(LeaderEpoch),
}

/// A broker's time as leader in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    pub(crate) epoch: LeaderEpoch,
    /// Its log end when it took over.
    pub(crate) start: Offset,
    /// Whether it acts: a broker that starts may lead by the metadata before it answers anybody.
    pub(crate) acts: bool,
    /// The ISR as it holds it.
    pub(crate) isr: Vec<NodeId>,
    pub(crate) maximal: Vec<NodeId>,
    pub(crate) min_isr: usize,
    /// Whether it said what its ISR is.
    pub(crate) isr_known: bool,
    /// Log ends that followers proved by a fetch in this epoch.
    pub(crate) fetched: Vec<(NodeId, Offset)>,
}

impl Partition {
    pub(super) fn new(id: TopicIdPartition) -> Self {
        Self {
            id,
            name: format!("{}-{}", id.topic, id.partition),
            number: None,
            removed: false,
            state: None,
            state_offset: Offset::UNKNOWN,
            arena: Arena::default(),
            led: BTreeMap::new(),
            canon: Log::default(),
            true_high_watermark: Offset::ZERO,
            log_start: Offset::ZERO,
            replicas: Vec::new(),
            epochs: BTreeMap::new(),
            acting: LeaderEpoch::NONE,
            unpromised: None,
            void_before: LeaderEpoch::NONE,
            void_why: UNCLEAN_ELECTION,
            cuts: Vec::new(),
            acked: Vec::new(),
        }
    }

    /// The replica on that node.
    pub(crate) fn replica(&self, node: NodeId) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.node == node)
    }

    /// The replica's index; a new one if the node has none yet.
    pub(super) fn index_of(&mut self, node: NodeId) -> usize {
        let found = self.replicas.iter().position(|known| known.node == node);
        found.unwrap_or_else(|| {
            self.replicas.push(Replica::new(node));
            self.replicas.len() - 1
        })
    }

    /// The members of the committed ISR.
    pub(crate) fn isr(&self) -> &[NodeId] {
        self.state.as_ref().map_or(&[], |state| &state.isr)
    }

    /// Whether the replica holds what was committed below `end`.
    pub(crate) fn holds(&self, replica: &Replica, end: Offset) -> bool {
        end <= self.log_start || replica.log.agrees(&self.arena, &self.canon, end)
    }

    /// Why a committed offset may be gone, if a power loss or an unclean election took it after
    /// the fact `n`.
    pub(crate) fn destroyed_after(&self, offset: Offset, n: u64) -> Option<&'static str> {
        self.cuts
            .iter()
            .find(|cut| cut.n > n && cut.from <= offset)
            .map(|cut| cut.why)
    }

    /// Whether what the replica commits as leader was promised by nobody.
    pub(super) fn is_void(&self, by: usize) -> bool {
        let epoch = self.replicas[by].leads();
        epoch.is_some_and(|epoch| self.void(epoch).is_some())
    }

    /// Why nobody promised to keep what leaders of that epoch commit, if so: it was overruled.
    pub(crate) fn void(&self, epoch: LeaderEpoch) -> Option<&'static str> {
        (epoch < self.void_before).then_some(self.void_why)
    }

    /// A leader whose epoch was overruled raised its high watermark, so far `known`: the values that it
    /// committed and that whoever overruled it does not hold.
    pub(super) fn in_vain(&self, by: usize, known: Offset) -> Vec<(i64, V)> {
        let replica = &self.replicas[by];
        let overruled = self.epochs.get(&self.void_before);
        let Some(leader) = overruled.and_then(|facts| self.replica(facts.leader)) else {
            return Vec::new();
        };
        let shared = replica.log.common_end(&self.arena, &leader.log);
        let from = replica.log.index_of(&self.arena, known.max(shared));
        let ids = replica.log.ids()[from..].iter();
        ids.take_while(|&&id| self.arena.entry(id).last < replica.high_watermark)
            .filter_map(|id| self.led.get(id))
            .flat_map(|batch| values(batch))
            .collect()
    }

    /// A leader set its high watermark.
    pub(super) fn commit(&mut self, by: usize, to: Offset) {
        if to <= self.true_high_watermark || self.is_void(by) {
            return;
        }
        self.true_high_watermark = to;
        let log = &self.replicas[by].log;
        let from = log.index_of(&self.arena, self.canon.end());
        for &id in &log.ids()[from..] {
            let entry = self.arena.entry(id);
            if entry.last >= to {
                break;
            }
            if entry.base >= self.canon.end() {
                self.canon.push(&self.arena, id);
            }
        }
    }

    /// Notices when nobody whom the controller may elect is sure to hold what was committed.
    pub(super) fn weigh_losses(&mut self) {
        let isr = self.isr();
        let all_lossy = !isr.is_empty()
            && isr
                .iter()
                .all(|&node| self.replica(node).is_some_and(|replica| replica.lossy));
        if all_lossy {
            self.unpromised = Some(ALL_LOST_POWER);
        }
    }

    /// A leader begins with less than was committed, and nobody is to blame: what it has is what
    /// is committed from now on.
    pub(super) fn accept_loss(&mut self, leader: usize, n: u64) -> Option<Cut> {
        let why = self.unpromised.take()?;
        self.replicas[leader].lossy = false;
        self.void_before = self.acting;
        self.void_why = why;
        let log = &self.replicas[leader].log;
        let from = self
            .canon
            .common_end(&self.arena, log)
            .min(self.true_high_watermark);
        if from >= self.true_high_watermark {
            return None;
        }
        let cut = Cut {
            from,
            to: self.true_high_watermark,
            n,
            why,
        };
        self.canon.cut(&self.arena, from, &mut Vec::new());
        self.true_high_watermark = from;
        self.cuts.push(cut);
        Some(cut)
    }
}

/// An excuse: at some instant every in-sync replica had lost power since it joined.
pub(crate) const ALL_LOST_POWER: &str = "every in-sync replica lost power";
/// An excuse: the configuration allows leaders from outside the ISR, and one was elected.
pub(crate) const UNCLEAN_ELECTION: &str = "unclean election";

impl Replica {
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            log: Log::default(),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            role: Role::Offline,
            has_led: false,
            leadership: None,
            cache: Vec::new(),
            producers: Producers::default(),
            lossy: false,
            unknown: false,
            left_on_disk: None,
        }
    }

    /// Its epoch as leader.
    pub(crate) fn leads(&self) -> Option<LeaderEpoch> {
        match self.role {
            Role::Leader(epoch) => Some(epoch),
            Role::Offline | Role::Follower(_) => None,
        }
    }

    pub(super) fn cut(&mut self, arena: &Arena, to: Offset, removed: &mut Vec<EntryId>) {
        let before = removed.len();
        self.log.cut(arena, to, removed);
        self.producers
            .cut(arena, self.log.ids(), &removed[before..]);
        self.high_watermark = self.high_watermark.min(to);
    }

    pub(super) fn stopped(&mut self, power_lost: bool) {
        self.role = Role::Offline;
        self.leadership = None;
        self.lossy |= power_lost;
        self.unknown |= power_lost;
    }
}

impl Leadership {
    pub(super) fn new(epoch: LeaderEpoch, start: Offset) -> Self {
        Self {
            epoch,
            start,
            acts: false,
            isr: Vec::new(),
            maximal: Vec::new(),
            min_isr: 0,
            isr_known: false,
            fetched: Vec::new(),
        }
    }

    /// The log end that the follower proved in this epoch.
    pub(crate) fn proven(&self, node: NodeId) -> Option<Offset> {
        self.fetched
            .iter()
            .find(|&&(replica, _)| replica == node)
            .map(|&(_, end)| end)
    }

    pub(super) fn prove(&mut self, node: NodeId, end: Offset) {
        match self
            .fetched
            .iter_mut()
            .find(|(replica, _)| *replica == node)
        {
            Some((_, proven)) => *proven = end,
            None => self.fetched.push((node, end)),
        }
    }
}
