//! What members of groups hold by their own account, and what they were told about commits.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::{Offset, StrBytes, TopicPartition};

use crate::history::{A, Body, Ev, Line, Op, P};

/// What clients say.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    pub(crate) actors: BTreeMap<A, Holder>,
    /// Who holds a partition for a group.
    pub(crate) holders: BTreeMap<(StrBytes, P), BTreeSet<A>>,
    /// Who was the last to get it.
    last: BTreeMap<(StrBytes, P), A>,
    names: BTreeMap<P, TopicPartition>,
    /// Commits without a completion: when they began, and what they are.
    open: BTreeMap<(A, u64), OpenCommit>,
    /// When each offset was last accepted by a decision that is committed.
    accepted: BTreeMap<(StrBytes, TopicPartition, Offset), u64>,
    pub(crate) moment: HolderMoment,
}

/// A member by its own account.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    pub(crate) member: StrBytes,
    pub(crate) generation: i32,
    /// What it holds, and since which fact.
    pub(crate) held: BTreeMap<P, u64>,
}

#[derive(Debug)]
struct OpenCommit {
    n: u64,
    t_us: u64,
    group: StrBytes,
    offsets: Vec<(P, i64)>,
}

/// What the last line brought.
#[derive(Debug, Default)]
pub(crate) struct HolderMoment {
    /// Partitions that an actor got for a group, and whether somebody else had them before.
    pub(crate) gained: Vec<(P, bool)>,
    pub(crate) group: StrBytes,
    /// Offsets that an actor was told are committed: when it asked, and since which fact they are, if
    /// they are.
    pub(crate) confirmed: Vec<(TopicPartition, Offset, Option<u64>)>,
    pub(crate) asked: (u64, u64),
}

impl Holders {
    /// A decision that accepted an offset is committed.
    pub(super) fn accepted(
        &mut self,
        group: &StrBytes,
        (partition, offset): (&TopicPartition, Offset),
        n: u64,
    ) {
        let key = (group.clone(), partition.clone(), offset);
        let known = self.accepted.entry(key).or_default();
        *known = n.max(*known);
    }

    /// Takes a line in.
    pub(in crate::check::world) fn line(&mut self, line: &Line) {
        match &line.b {
            Body::Part(part) => {
                let partition = TopicPartition {
                    topic: StrBytes::from_string(part.topic.clone()),
                    partition: i32::try_from(part.idx).unwrap_or(i32::MAX),
                };
                self.names.insert(part.p, partition);
            }
            Body::Ev { a, ev } => self.event(*a, ev, line.n),
            Body::I {
                a,
                o,
                op: Op::CommitOffsets { g, offs, .. },
            } => {
                let open = OpenCommit {
                    n: line.n,
                    t_us: line.t,
                    group: StrBytes::from_string(g.clone()),
                    offsets: offs.clone(),
                };
                self.open.insert((*a, *o), open);
            }
            Body::Ok { a, o, .. } => {
                self.moment.confirmed.clear();
                if let Some(open) = self.open.remove(&(*a, *o)) {
                    self.confirm(&open);
                }
            }
            Body::Fail { a, o, .. } | Body::Info { a, o, .. } => {
                self.open.remove(&(*a, *o));
            }
            _ => {}
        }
    }

    fn confirm(&mut self, open: &OpenCommit) {
        self.moment.asked = (open.n, open.t_us);
        self.moment.group = open.group.clone();
        for &(p, offset) in &open.offsets {
            if let Some(partition) = self.names.get(&p) {
                let offset = Offset(offset);
                let key = (open.group.clone(), partition.clone(), offset);
                let since = self.accepted.get(&key).copied();
                self.moment
                    .confirmed
                    .push((partition.clone(), offset, since));
            }
        }
    }

    fn event(&mut self, a: A, ev: &Ev, n: u64) {
        self.moment.gained.clear();
        match ev {
            Ev::Assigned {
                g,
                mid,
                generation,
                ps,
            } => {
                let group = StrBytes::from_string(g.clone());
                let actor = self.speaks(a, mid, *generation);
                actor.held.extend(ps.iter().map(|&(p, _)| (p, n)));
                for &(p, _) in ps {
                    let key = (group.clone(), p);
                    let last = self.last.insert(key.clone(), a);
                    self.holders.entry(key).or_default().insert(a);
                    let moved = last.is_some_and(|last| last != a);
                    self.moment.gained.push((p, moved));
                }
                self.moment.group = group;
            }
            Ev::Revoked {
                g,
                mid,
                generation,
                ps,
            }
            | Ev::Lost {
                g,
                mid,
                generation,
                ps,
            } => {
                let group = StrBytes::from_string(g.clone());
                let actor = self.speaks(a, mid, *generation);
                for p in ps {
                    actor.held.remove(p);
                }
                for &p in ps {
                    self.gives_up(a, &(group.clone(), p));
                }
            }
            Ev::Died => {
                self.actors.remove(&a);
                self.holders.retain(|_, holders| {
                    holders.remove(&a);
                    !holders.is_empty()
                });
            }
            _ => {}
        }
    }

    fn speaks(&mut self, a: A, member: &str, generation: i32) -> &mut Holder {
        let actor = self.actors.entry(a).or_default();
        actor.member = StrBytes::from_string(member.to_owned());
        actor.generation = generation;
        actor
    }

    fn gives_up(&mut self, a: A, key: &(StrBytes, P)) {
        if let Some(holders) = self.holders.get_mut(key) {
            holders.remove(&a);
            if holders.is_empty() {
                self.holders.remove(key);
            }
        }
    }
}
