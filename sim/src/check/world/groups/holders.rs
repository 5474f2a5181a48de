//! What members of groups hold by their own account, and what they were told about commits.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::{Offset, StrBytes, TopicPartition};

use crate::history::{A, Body, Ev, Line, P};

/// What clients say.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    pub(crate) actors: BTreeMap<A, Holder>,
    /// Who holds a partition for a group.
    pub(crate) holders: BTreeMap<(StrBytes, P), BTreeSet<A>>,
    /// Who was the last to get it.
    last: BTreeMap<(StrBytes, P), A>,
    names: BTreeMap<P, TopicPartition>,
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

/// What the last line brought.
#[derive(Debug, Default)]
pub(crate) struct HolderMoment {
    /// Partitions that an actor got for a group, and whether somebody else had them before.
    pub(crate) gained: Vec<(P, bool)>,
    pub(crate) group: StrBytes,
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
            _ => {}
        }
    }

    /// The partition of that number, and when an offset of it between those two was last accepted for the
    /// group by a decision that is committed.
    pub(crate) fn accepted_since(
        &self,
        group: &str,
        (p, offset, upto): (P, i64, i64),
    ) -> Option<(&TopicPartition, Option<u64>)> {
        let partition = self.names.get(&p)?;
        let group = StrBytes::from_string(group.to_owned());
        let key = |offset| (group.clone(), partition.clone(), Offset(offset));
        let range = self.accepted.range(key(offset)..=key(upto.max(offset)));
        Some((partition, range.map(|(_, &n)| n).max()))
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
