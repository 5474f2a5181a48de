//! Ghost state of the metadata quorum: every node's log, votes and what was committed.

use std::collections::BTreeMap;

use broker_model::note::{Note, RaftRole};
use broker_model::types::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Sequence};

use super::log::{Arena, Entry, EntryId, Log};

/// A vote, an epoch and a leader, as `quorum-state` holds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct QuorumState {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) leader: Option<NodeId>,
    pub(crate) voted: Option<NodeId>,
}

/// A voter or observer.
#[derive(Debug, Default)]
pub(crate) struct RaftNode {
    pub(crate) log: Log,
    /// Up to where its log is known to be on disk.
    pub(crate) flushed: Offset,
    /// Its role, `None` until this incarnation said so.
    pub(crate) role: Option<RaftRole>,
    pub(crate) epoch: LeaderEpoch,
    /// The high watermark that this incarnation knows.
    pub(crate) high_watermark: Offset,
    /// From a power loss until recovery said what is left.
    pub(crate) unknown: bool,
    /// `quorum-state` as written …
    pub(crate) written: QuorumState,
    /// … and as it is certainly on disk.
    pub(crate) durable: QuorumState,
}

/// The metadata quorum.
#[derive(Debug, Default)]
pub(crate) struct Raft {
    pub(crate) voters: Vec<NodeId>,
    pub(crate) arena: Arena,
    pub(crate) nodes: BTreeMap<NodeId, RaftNode>,
    /// The largest high watermark that a leader ever set.
    pub(crate) high_watermark: Offset,
    /// The committed log.
    pub(crate) canon: Log,
    /// The largest high watermark that leaders up to and including that epoch set.
    committed_by: Vec<(LeaderEpoch, Offset)>,
}

/// What a raft note replaced.
#[derive(Debug, Default)]
pub(crate) struct RaftMoment {
    /// The node before the note: role, epoch, high watermark, log end, flushed end.
    pub(crate) role: Option<RaftRole>,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end: Offset,
    pub(crate) flushed: Offset,
    pub(crate) unknown: bool,
    pub(crate) written: QuorumState,
    pub(crate) durable: QuorumState,
    /// The quorum's high watermark before.
    pub(crate) committed: Offset,
    /// An entry of the same epoch that the appended batch contradicts.
    pub(crate) clash: Option<EntryId>,
    /// What a truncation removed.
    pub(crate) removed: Vec<EntryId>,
}

impl Raft {
    /// A quorum of these voters.
    pub(super) fn of(voters: Vec<NodeId>) -> Self {
        Self {
            voters,
            ..Self::default()
        }
    }

    /// The node.
    pub(crate) fn node(&self, node: NodeId) -> Option<&RaftNode> {
        self.nodes.get(&node)
    }

    /// Up to where leaders of epochs before that one committed.
    pub(crate) fn committed_before(&self, epoch: LeaderEpoch) -> Offset {
        let at = self.committed_by.partition_point(|&(by, _)| by < epoch);
        at.checked_sub(1)
            .map_or(Offset::ZERO, |index| self.committed_by[index].1)
    }

    /// A process ended. What it had in memory is gone.
    pub(super) fn stopped(&mut self, node: NodeId, power_lost: bool) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.unknown |= power_lost;
            node.role = None;
            node.high_watermark = Offset::ZERO;
        }
    }

    /// Takes a note in, if it is one about the quorum.
    pub(super) fn observe(&mut self, id: NodeId, note: &Note, moment: &mut RaftMoment) {
        let node = self.nodes.entry(id).or_default();
        moment.take(node, self.high_watermark);
        match *note {
            Note::RaftRecovered {
                epoch,
                leader,
                voted,
                log_end,
            } => {
                node.log.cut(&self.arena, log_end, &mut moment.removed);
                // What a power loss left is on the disk.
                let lost_power = std::mem::take(&mut node.unknown);
                node.flushed = if lost_power {
                    log_end
                } else {
                    node.flushed.min(log_end)
                };
                node.role = None;
                node.epoch = epoch;
                node.written = QuorumState {
                    epoch,
                    leader,
                    voted,
                };
                if lost_power {
                    node.durable = node.written;
                }
            }
            Note::RaftRole { epoch, role, .. } => {
                node.role = Some(role);
                node.epoch = epoch;
            }
            Note::QuorumStateWritten {
                epoch,
                leader,
                voted,
            } => {
                node.written = QuorumState {
                    epoch,
                    leader,
                    voted,
                };
            }
            Note::QuorumStateFlushed => node.durable = node.written,
            Note::RaftAppend {
                epoch,
                base,
                last,
                crc,
            } => {
                let entry = raft_entry(id, epoch, base, last, crc);
                moment.clash = node.log.append(&mut self.arena, entry).1;
            }
            Note::RaftFlushed { to } => node.flushed = node.flushed.max(to).min(node.log.end()),
            Note::RaftTruncate { to, .. } => {
                node.log.cut(&self.arena, to, &mut moment.removed);
                node.flushed = node.flushed.min(to);
            }
            Note::RaftHighWatermark {
                high_watermark,
                leader,
                epoch,
                ..
            } => {
                node.high_watermark = high_watermark;
                if leader {
                    self.commit(id, epoch, high_watermark);
                }
            }
            _ => {}
        }
    }

    fn commit(&mut self, by: NodeId, epoch: LeaderEpoch, to: Offset) {
        self.high_watermark = self.high_watermark.max(to);
        let at = self.committed_by.partition_point(|&(by, _)| by < epoch);
        if self.committed_by.get(at).is_none_or(|&(by, _)| by != epoch) {
            let before = at.checked_sub(1).map(|index| self.committed_by[index].1);
            self.committed_by
                .insert(at, (epoch, before.unwrap_or(Offset::ZERO)));
        }
        for (_, high_watermark) in &mut self.committed_by[at..] {
            *high_watermark = to.max(*high_watermark);
        }
        let Some(leader) = self.nodes.get(&by) else {
            return;
        };
        let from = leader.log.index_of(&self.arena, self.canon.end());
        for &id in &leader.log.ids()[from..] {
            let entry = self.arena.entry(id);
            if entry.last >= to {
                break;
            }
            if entry.base >= self.canon.end() {
                self.canon.push(&self.arena, id);
            }
        }
    }
}

impl RaftMoment {
    fn take(&mut self, node: &RaftNode, committed: Offset) {
        self.role = node.role;
        self.epoch = node.epoch;
        self.high_watermark = node.high_watermark;
        self.log_end = node.log.end();
        self.flushed = node.flushed;
        self.unknown = node.unknown;
        self.written = node.written;
        self.durable = node.durable;
        self.committed = committed;
        self.clash = None;
        self.removed.clear();
    }
}

fn raft_entry(by: NodeId, epoch: LeaderEpoch, base: Offset, last: Offset, crc: u32) -> Entry {
    Entry {
        base,
        last,
        epoch,
        crc,
        chain: 0,
        size: 0,
        producer: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        first: Sequence::NONE,
        by,
    }
}
