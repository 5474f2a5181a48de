//! What the log of an offsets partition says of groups: the fold that a coordinator's state must
//! equal.

use std::collections::BTreeMap;

use broker_model::note::{ClassicGroupChange, ConsumerGroupChange, OffsetsChange};
use broker_model::types::{Offset, StrBytes, TopicPartition};
use bytes::Bytes;

use super::consumer::ConsumerFold;

/// A change of a group or of its offsets that a record keeps.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Classic(ClassicGroupChange),
    Consumer(ConsumerGroupChange),
    Offsets(OffsetsChange),
}

/// What one batch of a coordinator says, group by group.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// When it was appended.
    pub(crate) n: u64,
    pub(crate) t_us: u64,
    /// In the order in which the coordinator told of them.
    pub(crate) changes: Vec<(StrBytes, Change)>,
}

/// The groups of an offsets partition.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Fold {
    pub(crate) groups: BTreeMap<StrBytes, GroupFold>,
    pub(crate) offsets: BTreeMap<StrBytes, BTreeMap<TopicPartition, CommittedOffset>>,
}

/// A group of either protocol.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum GroupFold {
    Classic(Stored),
    Consumer(Box<ConsumerFold>),
}

/// The last record of a classic group.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) generation: i32,
    /// Each member's `group.instance.id` and part.
    pub(crate) members: BTreeMap<StrBytes, (Option<StrBytes>, Bytes)>,
    /// When it was written.
    pub(crate) t_us: u64,
}

/// A committed offset and when it was committed, by the coordinator's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: Offset,
    pub(crate) timestamp: i64,
}

/// What a decision did to a group, for checks that compare before and after.
#[derive(Debug)]
pub(crate) enum Step {
    /// A consumer group's epoch.
    Epoch {
        group: StrBytes,
        before: i32,
        after: i32,
    },
    /// A consumer group's target.
    Target {
        group: StrBytes,
        before: i32,
        after: i32,
    },
    /// What a member of a consumer group has.
    Assigned(Box<super::consumer::Reassigned>),
    /// Members of a consumer group came or went.
    Members { group: StrBytes },
    /// A classic group became a consumer group.
    Upgraded { group: StrBytes },
    /// A consumer group became a classic group.
    Downgraded {
        group: StrBytes,
        was: Box<ConsumerFold>,
    },
}

impl Step {
    /// The group.
    pub(crate) fn group(&self) -> &StrBytes {
        match self {
            Step::Epoch { group, .. }
            | Step::Target { group, .. }
            | Step::Members { group }
            | Step::Upgraded { group }
            | Step::Downgraded { group, .. } => group,
            Step::Assigned(it) => &it.group,
        }
    }
}

impl Fold {
    /// The consumer group.
    pub(crate) fn consumer(&self, group: &StrBytes) -> Option<&ConsumerFold> {
        match self.groups.get(group)? {
            GroupFold::Consumer(it) => Some(it),
            GroupFold::Classic(_) => None,
        }
    }

    /// The classic group's last record.
    pub(crate) fn classic(&self, group: &StrBytes) -> Option<&Stored> {
        match self.groups.get(group)? {
            GroupFold::Classic(it) => Some(it),
            GroupFold::Consumer(_) => None,
        }
    }

    /// A group's offset.
    pub(crate) fn offset(
        &self,
        group: &StrBytes,
        partition: &TopicPartition,
    ) -> Option<CommittedOffset> {
        self.offsets.get(group)?.get(partition).copied()
    }

    /// Takes in what a batch says.
    pub(super) fn apply(&mut self, decision: &Decision, steps: &mut Vec<Step>) {
        for (group, change) in &decision.changes {
            // It is told last and happens first.
            if let Change::Consumer(ConsumerGroupChange::Upgraded) = change {
                let upgraded = GroupFold::Consumer(Box::default());
                self.groups.insert(group.clone(), upgraded);
                let group = group.clone();
                steps.push(Step::Upgraded { group });
            }
        }
        let mut reported = BTreeMap::new();
        for (group, change) in &decision.changes {
            match change {
                Change::Classic(change) => self.classic_changed(group, change, decision.t_us),
                Change::Consumer(change) => {
                    let step = self.consumer_changed(group, change, decision.n, &mut reported);
                    steps.extend(step);
                }
                Change::Offsets(change) => self.offsets_changed(group, change, decision.t_us),
            }
        }
    }

    fn classic_changed(&mut self, group: &StrBytes, change: &ClassicGroupChange, t_us: u64) {
        match change {
            ClassicGroupChange::Stored {
                generation,
                members,
            } => {
                let members = members.iter().cloned();
                let stored = Stored {
                    generation: *generation,
                    members: members.map(|(id, own, part)| (id, (own, part))).collect(),
                    t_us,
                };
                self.groups
                    .insert(group.clone(), GroupFold::Classic(stored));
            }
            ClassicGroupChange::Deleted if self.classic(group).is_some() => {
                self.groups.remove(group);
            }
            _ => {}
        }
    }

    fn consumer_changed(
        &mut self,
        group: &StrBytes,
        change: &ConsumerGroupChange,
        n: u64,
        reported: &mut super::consumer::Reports,
    ) -> Option<Step> {
        use ConsumerGroupChange as It;
        match change {
            It::Upgraded => return None,
            It::Downgraded | It::Deleted => {
                self.consumer(group)?;
                let Some(GroupFold::Consumer(was)) = self.groups.remove(group) else {
                    return None;
                };
                let group = group.clone();
                return (*change == It::Downgraded).then_some(Step::Downgraded { group, was });
            }
            // Nothing of these makes a group.
            It::Removed { .. }
            | It::Replaced { .. }
            | It::Reported { .. }
            | It::Forgotten { .. } => {}
            _ if self.consumer(group).is_none() => {
                let new = GroupFold::Consumer(Box::default());
                self.groups.insert(group.clone(), new);
            }
            _ => {}
        }
        match self.groups.get_mut(group) {
            Some(GroupFold::Consumer(it)) => it.apply(group, change, n, reported),
            Some(GroupFold::Classic(_)) | None => None,
        }
    }

    fn offsets_changed(&mut self, group: &StrBytes, change: &OffsetsChange, t_us: u64) {
        match change {
            OffsetsChange::Accepted {
                partition,
                offset,
                commit_timestamp,
                ..
            } => {
                // Whoever is in no group has one without members.
                self.groups.entry(group.clone()).or_insert_with(|| {
                    GroupFold::Classic(Stored {
                        t_us,
                        ..Stored::default()
                    })
                });
                let value = CommittedOffset {
                    offset: *offset,
                    timestamp: *commit_timestamp,
                };
                let offsets = self.offsets.entry(group.clone()).or_default();
                offsets.insert(partition.clone(), value);
            }
            OffsetsChange::Expired { partition, .. } | OffsetsChange::Deleted { partition } => {
                if let Some(offsets) = self.offsets.get_mut(group) {
                    offsets.remove(partition);
                    if offsets.is_empty() {
                        self.offsets.remove(group);
                    }
                }
            }
            OffsetsChange::Loaded { .. } | OffsetsChange::Refused { .. } => {}
        }
    }
}
