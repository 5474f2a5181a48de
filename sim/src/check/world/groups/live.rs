//! A group of the classic protocol as its coordinator holds it. It changes at once, not when its
//! records are committed.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::note::{ClassicGroupChange, ClassicGroupState};
use broker_model::types::StrBytes;
use bytes::Bytes;

use super::fold::Stored;

/// A classic group.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) state: ClassicGroupState,
    pub(crate) generation: i32,
    pub(crate) members: BTreeMap<StrBytes, LiveMember>,
    /// Ids that were given out and did not join yet.
    pub(crate) pending: BTreeSet<StrBytes>,
    /// Members by `group.instance.id`.
    pub(crate) instances: BTreeMap<StrBytes, StrBytes>,
    /// Ids that were replaced, by their `group.instance.id`, while that is in the group.
    pub(crate) fenced: BTreeMap<StrBytes, StrBytes>,
    /// Whether a replacement that was appended was taken back, because that took too long.
    pub(crate) took_back: bool,
    /// The generation that was last given an assignment, and to whom.
    pub(crate) assigned: Option<(i32, BTreeSet<StrBytes>)>,
    /// What its members read, if they are consumers and could be understood.
    pub(crate) topics: Option<BTreeSet<StrBytes>>,
    /// Since when it is in its state.
    pub(crate) since_us: u64,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LiveMember {
    pub(crate) instance: Option<StrBytes>,
    /// Its part, empty if it has none.
    pub(crate) part: Bytes,
    /// Since when it is a member.
    pub(crate) since_us: u64,
}

/// What a note about a classic group replaced.
#[derive(Clone, Debug)]
pub(crate) struct Was {
    pub(crate) state: ClassicGroupState,
    pub(crate) generation: i32,
    pub(crate) since_us: u64,
    /// What makes no sense about a member that comes or goes.
    pub(crate) odd: Option<String>,
    /// Who had the instance of a member that comes.
    pub(crate) holder: Option<StrBytes>,
}

impl Live {
    /// An empty group.
    pub(super) fn new(t_us: u64) -> Self {
        Self {
            state: ClassicGroupState::Empty,
            generation: 0,
            members: BTreeMap::new(),
            pending: BTreeSet::new(),
            instances: BTreeMap::new(),
            fenced: BTreeMap::new(),
            took_back: false,
            assigned: None,
            topics: None,
            since_us: t_us,
        }
    }

    /// Whether that member may commit in that generation now (`ClassicGroup.validateOffsetCommit`).
    pub(crate) fn may_commit(&self, member: &StrBytes, generation: i32) -> bool {
        match self.state {
            ClassicGroupState::Empty if generation < 0 => true,
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Dead => false,
            _ => self.members.contains_key(member) && self.generation == generation,
        }
    }

    /// Takes a change in; `stored` is what the log said when the group was loaded.
    pub(super) fn apply(
        &mut self,
        change: &ClassicGroupChange,
        stored: Option<&Stored>,
        t_us: u64,
    ) -> Was {
        let mut was = Was {
            state: self.state,
            generation: self.generation,
            since_us: self.since_us,
            odd: None,
            holder: None,
        };
        match change {
            ClassicGroupChange::Loaded { .. } => self.load(change, stored, t_us),
            ClassicGroupChange::State { to, generation, .. } => {
                self.turn_to(*to, *generation, t_us)
            }
            ClassicGroupChange::Generation { topics, .. } => {
                self.topics.clone_from(topics);
                self.took_back = false;
            }
            ClassicGroupChange::Assigned {
                generation,
                assignment,
            } => {
                let whom = assignment.iter().map(|(id, _)| id.clone()).collect();
                self.assigned = Some((*generation, whom));
                for (id, part) in assignment {
                    if let Some(member) = self.members.get_mut(id) {
                        member.part = part.clone();
                    }
                }
            }
            ClassicGroupChange::Pending { member } => {
                self.pending.insert(member.clone());
            }
            ClassicGroupChange::Joined { member, instance } => {
                if self.members.contains_key(member) {
                    was.odd = Some(format!("{member} joined and was a member"));
                }
                let holder = instance.as_ref().and_then(|it| self.instances.get(it));
                was.holder = holder.cloned();
                self.pending.remove(member);
                self.insert(member, instance.clone(), Bytes::new(), t_us);
            }
            ClassicGroupChange::Removed { member, .. } => {
                let pending = self.pending.remove(member);
                if self.remove(member).is_none() && !pending {
                    was.odd = Some(format!("{member} was removed and was no member"));
                }
            }
            ClassicGroupChange::Replaced {
                instance,
                previous,
                member,
            } => {
                was.holder = self.instances.get(instance).cloned();
                self.replace(instance, (previous, member), t_us);
            }
            ClassicGroupChange::Stored { .. } | ClassicGroupChange::Deleted => {}
        }
        was
    }

    fn load(&mut self, change: &ClassicGroupChange, stored: Option<&Stored>, t_us: u64) {
        let ClassicGroupChange::Loaded {
            state,
            generation,
            members,
            topics,
        } = change
        else {
            return;
        };
        *self = Self::new(stored.map_or(t_us, |stored| stored.t_us));
        self.state = *state;
        self.generation = *generation;
        self.topics.clone_from(topics);
        for (id, instance) in members {
            let known = stored.and_then(|stored| stored.members.get(id));
            let part = known.map(|(_, part)| part.clone()).unwrap_or_default();
            self.insert(id, instance.clone(), part, t_us);
        }
    }

    fn replace(
        &mut self,
        instance: &StrBytes,
        (previous, member): (&StrBytes, &StrBytes),
        t_us: u64,
    ) {
        let part = self.members.remove(previous).map(|it| it.part);
        self.took_back |= self.fenced.remove(member).is_some();
        self.fenced.insert(previous.clone(), instance.clone());
        let part = part.unwrap_or_default();
        self.insert(member, Some(instance.clone()), part, t_us);
    }

    fn turn_to(&mut self, to: ClassicGroupState, generation: i32, t_us: u64) {
        let resets = self.state == ClassicGroupState::CompletingRebalance
            && to == ClassicGroupState::PreparingRebalance;
        if resets {
            for member in self.members.values_mut() {
                member.part = Bytes::new();
            }
        }
        self.state = to;
        self.generation = generation;
        self.since_us = t_us;
    }

    fn insert(&mut self, id: &StrBytes, instance: Option<StrBytes>, part: Bytes, since_us: u64) {
        if let Some(instance) = &instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let member = LiveMember {
            instance,
            part,
            since_us,
        };
        self.members.insert(id.clone(), member);
    }

    fn remove(&mut self, id: &StrBytes) -> Option<LiveMember> {
        let gone = self.members.remove(id)?;
        if let Some(instance) = &gone.instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
            self.fenced.retain(|_, other| other != instance);
        }
        Some(gone)
    }
}
