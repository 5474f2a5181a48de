//! `StickyAssignor` and `CooperativeStickyAssignor`: balanced, and as much as possible stays where
//! it was.
//!
//! Mirrors `AbstractStickyAssignor`: what members claim to own is cleared of what two claim, the
//! younger generation wins; then equal subscriptions are assigned by `constrained`, others by
//! `general`. The cooperative one then leaves out what has to be given up by its owner first.

use std::collections::{BTreeMap, BTreeSet};

use super::constrained::Constrained;
use super::general::General;
use super::{Assignment, Counts, Member, Members};
use crate::bug::Bug;
use crate::types::{StrBytes, TopicPartition};
use crate::wire::consumer_protocol as wire;

/// What members own, after conflicts were settled.
pub(super) struct Owned {
    /// By member.
    pub(super) by_member: Assignment,
    /// Claimed by two members of one generation: nobody's.
    pub(super) contested: BTreeSet<TopicPartition>,
    /// The highest generation that a member named, -1 for none.
    pub(super) max_generation: i32,
}

/// What a member says of itself: partitions and generation (`MemberData`).
pub(super) type Claim = (Vec<TopicPartition>, Option<i32>);

/// The assignment of a generation, by `sticky`.
pub(super) fn assign(counts: &Counts, members: &Members) -> Assignment {
    build(counts, members, claim_in_user_data).0
}

/// The assignment of a generation, by `cooperative-sticky`.
pub(super) fn assign_cooperative(
    counts: &Counts,
    members: &Members,
    bug: Option<Bug>,
) -> Assignment {
    let (mut assignment, transferring) = build(counts, members, claim_in_subscription);
    if bug == Some(Bug::Kip429AssignBeforeRevoke) {
        return assignment;
    }
    let transferring = transferring.unwrap_or_else(|| changing_hands(members, &assignment));
    for (id, assigned) in &mut assignment {
        assigned.retain(|partition| transferring.get(partition) != Some(id));
    }
    assignment
}

/// The assignment, and what changes its owner where that is known already.
fn build(
    counts: &Counts,
    members: &Members,
    claim: fn(&Member) -> Claim,
) -> (Assignment, Option<BTreeMap<TopicPartition, StrBytes>>) {
    let owned = settle(counts, members, claim);
    let mut subscriptions = members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) {
        let (assignment, transferring) = Constrained::new(counts, owned).build();
        return (assignment, Some(transferring));
    }
    let claims: BTreeMap<StrBytes, Claim> = members
        .iter()
        .map(|(id, member)| (id.clone(), claim(member)))
        .collect();
    (General::new(counts, members, owned).build(&claims), None)
}

/// `sticky` has it in its user data.
fn claim_in_user_data(member: &Member) -> Claim {
    let Some(user_data) = member.user_data.as_ref().filter(|data| !data.is_empty()) else {
        return (Vec::new(), None);
    };
    wire::decode_sticky(user_data).unwrap_or((Vec::new(), Some(-1)))
}

/// `cooperative-sticky` has it in the subscription, in version 1 without the generation.
fn claim_in_subscription(member: &Member) -> Claim {
    let in_user_data = || {
        let user_data = member.user_data.as_ref()?;
        Some(wire::decode_cooperative_sticky(user_data).unwrap_or(-1))
    };
    let generation = member.generation.or_else(in_user_data);
    (member.owned.clone(), generation)
}

/// Who owns what, if every member's claim is looked at.
fn settle(counts: &Counts, members: &Members, claim: fn(&Member) -> Claim) -> Owned {
    let mut owned = Owned {
        by_member: Assignment::new(),
        contested: BTreeSet::new(),
        max_generation: -1,
    };
    let mut owner_of: BTreeMap<TopicPartition, StrBytes> = BTreeMap::new();
    for (id, member) in members {
        let (partitions, generation) = claim(member);
        let generation = generation.unwrap_or(-1);
        owned.max_generation = owned.max_generation.max(generation);
        let mut own = Vec::new();
        for partition in partitions {
            if !counts.contains_key(&partition.topic) {
                continue;
            }
            let Some(other) = owner_of.get(&partition) else {
                owner_of.insert(partition.clone(), id.clone());
                own.push(partition);
                continue;
            };
            let others = members[other].generation.unwrap_or(-1);
            // It may name a partition twice.
            if other == id || generation < others {
                continue;
            }
            owner_of.insert(partition.clone(), id.clone());
            if generation == others {
                owned.contested.insert(partition);
            } else {
                own.push(partition);
            }
        }
        owned.by_member.insert(id.clone(), own);
    }
    // What a later member claims with as much right or more, an earlier one has lost.
    for (id, own) in &mut owned.by_member {
        own.retain(|partition| owner_of.get(partition) == Some(id));
    }
    owned
}

/// What one member gets that another one has (`computePartitionsTransferringOwnership`).
fn changing_hands(
    members: &Members,
    assignment: &Assignment,
) -> BTreeMap<TopicPartition, StrBytes> {
    let mut added = BTreeMap::new();
    let mut revoked = BTreeSet::new();
    for (id, assigned) in assignment {
        let owned: BTreeSet<_> = members[id].owned.iter().collect();
        let assigned: BTreeSet<_> = assigned.iter().collect();
        for &partition in assigned.difference(&owned) {
            added.insert(partition.clone(), id.clone());
        }
        revoked.extend(owned.difference(&assigned).copied().cloned());
    }
    added.retain(|partition, _| revoked.contains(partition));
    added
}
