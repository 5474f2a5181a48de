//! One step of a member from what it has to what the target gives it.
//!
//! Mirrors `CurrentAssignmentBuilder`. KIP-848: a member first gives up what it shall not have, and
//! only when it reports that it did so does its epoch rise; then it gets what is free, and waits for
//! the rest. So no partition has two owners.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;

use super::super::record::{ResolvedRegex, TopicPartitions};
use super::member::{Member, MemberState};
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes, Uuid};

/// What a step depends on.
pub(super) struct Reconciliation<'a> {
    /// The metadata.
    pub(super) image: &'a MetadataImage,
    /// What the group's expressions resolve to.
    pub(super) regexes: &'a BTreeMap<StrBytes, ResolvedRegex>,
    /// The epoch of the target.
    pub(super) target_epoch: i32,
    /// What the target gives the member.
    pub(super) target: &'a TopicPartitions,
    /// Whether the member's subscription has just changed.
    pub(super) subscription_changed: bool,
    /// What the member reports to own; `None` if it says nothing.
    pub(super) owned: Option<&'a [Owned]>,
    /// Whether anybody owns a partition.
    pub(super) is_owned: &'a dyn Fn(Uuid, i32) -> bool,
}

impl Reconciliation<'_> {
    /// The member after the step.
    pub(super) fn step(&self, member: &Member) -> Result<Member, ResponseError> {
        if !self.subscription_changed && member.is_reconciled_to(self.target_epoch) {
            return Ok(member.clone());
        }
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => Ok(self.next(member)),
            // A changed subscription alone: it is not reconciled anew, but loses what it left.
            MemberState::Stable => Ok(self.without_unsubscribed(member)),
            MemberState::UnrevokedPartitions if self.still_owns(&member.pending_revocation) => {
                if self.subscription_changed {
                    Ok(self.without_unsubscribed(member))
                } else {
                    Ok(member.clone())
                }
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.next(member))
            }
            // It has to start anew, whatever the unknown state meant.
            MemberState::Unknown if self.owned.is_none_or(|owned| !owned.is_empty()) => {
                Err(ResponseError::FencedMemberEpoch)
            }
            MemberState::Unknown => Ok(self.next(member)),
        }
    }

    /// Whether the member holds any of them, as far as it says; silence is a yes.
    fn still_owns(&self, partitions: &TopicPartitions) -> bool {
        let Some(owned) = self.owned else {
            return true;
        };
        owned.iter().any(|topic| {
            let held = partitions.get(&topic.topic_id);
            held.is_some_and(|held| topic.partitions.iter().any(|at| held.contains(at)))
        })
    }

    /// Takes away what the member is no longer subscribed to (`updateCurrentAssignment`).
    fn without_unsubscribed(&self, member: &Member) -> Member {
        let subscribed = subscribed_topics(member, self.regexes, self.image);
        let mut changed = member.clone();
        for (&topic, partitions) in &member.assigned {
            if !subscribed.contains(&topic) {
                changed.assigned.remove(&topic);
                let pending = changed.pending_revocation.entry(topic).or_default();
                pending.extend(partitions);
            }
        }
        if changed.assigned == member.assigned {
            return member.clone();
        }
        if self.still_owns(&changed.pending_revocation) {
            changed.state = MemberState::UnrevokedPartitions;
        } else {
            changed
                .pending_revocation
                .clone_from(&member.pending_revocation);
        }
        changed
    }

    /// The next assignment (`computeNextAssignment`).
    fn next(&self, member: &Member) -> Member {
        let mut parts = self.compare(member);
        let mut changed = member.clone();
        if !parts.to_revoke.is_empty() && self.still_owns(&parts.to_revoke) {
            // It stays in its epoch until it has given them up.
            changed.state = MemberState::UnrevokedPartitions;
            changed.advance_to(member.epoch);
            changed.assigned = parts.kept;
            changed.pending_revocation = parts.to_revoke;
            return changed;
        }
        for (topic, partitions) in parts.free {
            parts.kept.entry(topic).or_default().extend(partitions);
        }
        changed.state = if parts.unreleased {
            MemberState::UnreleasedPartitions
        } else {
            MemberState::Stable
        };
        changed.advance_to(self.target_epoch);
        changed.assigned = parts.kept;
        changed.pending_revocation.clear();
        changed
    }

    fn compare(&self, member: &Member) -> Parts {
        let subscribed = subscribed_topics(member, self.regexes, self.image);
        let nothing = BTreeSet::new();
        let topics: BTreeSet<Uuid> = self
            .target
            .keys()
            .chain(member.assigned.keys())
            .copied()
            .collect();
        let mut parts = Parts::default();
        for topic in topics {
            let target = self.target.get(&topic);
            // What it no longer reads it shall not have, though the target does not know yet.
            let target = target
                .filter(|_| subscribed.contains(&topic))
                .unwrap_or(&nothing);
            let assigned = member.assigned.get(&topic).unwrap_or(&nothing);
            let pending = member.pending_revocation.get(&topic).unwrap_or(&nothing);
            // What it has still to give up itself is free for it: nobody else can own it.
            let taken = |at: &i32| (self.is_owned)(topic, *at) && !pending.contains(at);
            let missing: BTreeSet<i32> = target.difference(assigned).copied().collect();
            parts.unreleased |= missing.iter().any(taken);
            put(
                &mut parts.kept,
                topic,
                target.intersection(assigned).copied().collect(),
            );
            put(
                &mut parts.to_revoke,
                topic,
                assigned.difference(target).copied().collect(),
            );
            put(
                &mut parts.free,
                topic,
                missing.into_iter().filter(|at| !taken(at)).collect(),
            );
        }
        parts
    }
}

/// A member's partitions against its target.
#[derive(Default)]
struct Parts {
    /// Has and shall have.
    kept: TopicPartitions,
    /// Has and shall not have.
    to_revoke: TopicPartitions,
    /// Shall have and can have.
    free: TopicPartitions,
    /// Whether it shall have what others still own.
    unreleased: bool,
}

fn put(into: &mut TopicPartitions, topic: Uuid, partitions: BTreeSet<i32>) {
    if !partitions.is_empty() {
        into.insert(topic, partitions);
    }
}

/// The topics that a member reads and that exist. An expression that is not resolved yet matches
/// nothing.
pub(super) fn subscribed_topics(
    member: &Member,
    regexes: &BTreeMap<StrBytes, ResolvedRegex>,
    image: &MetadataImage,
) -> BTreeSet<Uuid> {
    let resolved = member.regex().and_then(|regex| regexes.get(regex));
    let matched = resolved.into_iter().flat_map(|resolved| &resolved.topics);
    let names = member.topics.iter().chain(matched);
    let ids = names.filter_map(|name| image.topic_names().get(name).copied());
    ids.collect()
}
