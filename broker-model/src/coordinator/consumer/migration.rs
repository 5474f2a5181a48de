//! A consumer group that was a classic group, or becomes one.
//!
//! Mirrors `ConsumerGroup.fromClassicGroup`, `createConsumerGroupRecords`, `validateOnlineUpgrade` and
//! `validateOnlineDowngrade…`. KIP-848.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::classic::ClassicGroup;
use super::super::migration::{self, Downgrade, Migrant};
use super::super::record::{ClassicMemberMetadata, Record, TopicPartitions};
use super::super::turn::Turn;
use super::embedded;
use super::group::{ConsumerGroup, each};
use super::member::{Member, MemberState};
use super::subscription::Subscriptions;
use super::timers::{session_key, start};
use crate::config::BrokerConfig;
use crate::metadata::MetadataImage;
use crate::note::ConsumerGroupChange;
use crate::types::{ResponseError, StrBytes};

/// Whether a classic group that has members may become a consumer group.
pub(crate) fn check_upgrade(
    config: &BrokerConfig,
    group: &ClassicGroup,
) -> Result<(), ResponseError> {
    let allowed = migration::upgrades(config)
        && group.is_of_consumers()
        && group.size() <= config.group_consumer_max_size;
    allowed.then_some(()).ok_or(ResponseError::GroupIdNotFound)
}

impl ConsumerGroup {
    /// The consumer group that a classic group becomes: its generation is the epoch, what members
    /// have is what they shall have, and everybody is stable. The member that caused it comes next.
    pub(crate) fn upgraded(
        turn: &mut Turn<'_>,
        id: StrBytes,
        group: &ClassicGroup,
    ) -> Result<Self, ResponseError> {
        // During its first rebalance a group has no protocol yet, nor can it be read.
        let protocol = group.protocol().ok_or(ResponseError::UnknownServerError)?;
        let mut upgraded = ConsumerGroup::new(id);
        upgraded.epoch = group.generation();
        upgraded.target_epoch = group.generation();
        let mut owned = BTreeSet::new();
        for migrant in group.migrants() {
            let member = immigrant(migrant, protocol, group.generation(), turn.image)?;
            if !each(&member.assigned).all(|partition| owned.insert(partition)) {
                return Err(ResponseError::UnknownServerError);
            }
            let target = member.assigned.clone();
            upgraded.target.insert(member.id.clone(), target);
            upgraded.put(member);
        }
        let members = upgraded.members.values();
        let subscriptions = Subscriptions::of(members, &upgraded.regexes);
        upgraded.metadata_hash = subscriptions.hash(turn.image);
        let records = upgraded.records();
        turn.decision.records.extend(records);
        for member in upgraded.members.values() {
            let timeout_ms = member
                .classic
                .as_ref()
                .map_or(0, |it| it.session_timeout_ms);
            start(turn, session_key(&upgraded.id, &member.id), timeout_ms);
        }
        Ok(upgraded)
    }

    /// Everything that there is to say of it.
    fn records(&self) -> Vec<Record> {
        let group = &self.id;
        let members = || self.members.values();
        let mut records: Vec<Record> = members()
            .map(|member| member.subscription_record(group))
            .collect();
        records.push(self.epoch_record(self.epoch, self.metadata_hash));
        let targets = self.target.iter();
        records.extend(targets.map(|(member, target)| Record::ConsumerGroupTarget {
            group: group.clone(),
            member: member.clone(),
            value: Some(target.clone()),
        }));
        records.push(Record::ConsumerGroupTargetEpoch {
            group: group.clone(),
            value: Some(self.target_epoch),
        });
        records.extend(members().map(|member| member.assignment_record(group)));
        records
    }

    /// Whether the group becomes a classic one when these members are gone: then only members of the
    /// classic protocol are left.
    pub(super) fn may_downgrade_without(&self, config: &BrokerConfig, gone: &[StrBytes]) -> bool {
        let stays = |member: &&Member| !gone.contains(&member.id);
        let mut left = self.members.values().filter(stays);
        let count = left.clone().count();
        0 < count && left.all(Member::is_classic) && fits(config, count)
    }

    /// Whether the group becomes a classic one when a member of the classic protocol takes the place
    /// of this static one.
    pub(super) fn may_downgrade_replacing(&self, config: &BrokerConfig, replaced: &Member) -> bool {
        let mut others = self
            .members
            .values()
            .filter(|other| other.id != replaced.id);
        !replaced.is_classic() && others.all(Member::is_classic) && fits(config, self.members.len())
    }

    /// Becomes a classic group: without `gone`, or with `joining` in the place of its predecessor.
    /// The shard does the rest.
    pub(super) fn downgrade(
        &mut self,
        turn: &mut Turn<'_>,
        gone: &[StrBytes],
        joining: Option<&Member>,
        rebalance: bool,
    ) -> Result<(), ResponseError> {
        let replaced = joining.and_then(|joining| joining.instance.as_ref());
        let replaced = replaced.and_then(|instance| self.static_members.get(instance));
        let stays = |member: &&Member| !gone.contains(&member.id) && Some(&member.id) != replaced;
        let mut members: Vec<(&Member, &StrBytes)> = Vec::new();
        let staying = self.members.values().filter(stays);
        members.extend(staying.map(|member| (member, &member.id)));
        members.extend(joining.zip(replaced));
        let image = turn.image;
        let emigrants = members.into_iter().map(|(member, had_by)| {
            let nothing = TopicPartitions::new();
            let target = self.target.get(had_by).unwrap_or(&nothing);
            emigrant(member, target, image)
        });
        let members: Vec<Migrant> = emigrants.collect::<Result<_, _>>()?;
        let tombstones = self.delete_records().into_iter().map(|mut record| {
            if let Some((joining, replaced)) = joining.zip(replaced) {
                rename(&mut record, replaced, &joining.id);
            }
            record
        });
        turn.decision.records.extend(tombstones);
        self.soft.downgrade = Some(Downgrade {
            generation: self.epoch,
            members,
            rebalance,
        });
        Ok(())
    }

    /// Tells that it is no classic group any more.
    pub(crate) fn tell_upgrade(&self, turn: &mut Turn<'_>) {
        self.note(turn, ConsumerGroupChange::Upgraded);
    }

    /// What becomes of the group, if it becomes a classic one.
    pub(crate) fn take_downgrade(&mut self, turn: &mut Turn<'_>) -> Option<Downgrade> {
        let downgrade = self.soft.downgrade.take()?;
        self.note(turn, ConsumerGroupChange::Downgraded);
        Some(downgrade)
    }
}

fn fits(config: &BrokerConfig, members: usize) -> bool {
    migration::downgrades(config) && members <= config.group_max_size
}

/// A member as it comes from a classic group.
fn immigrant(
    migrant: Migrant,
    protocol: &StrBytes,
    generation: i32,
    image: &MetadataImage,
) -> Result<Member, ResponseError> {
    let malformed = |_| ResponseError::GroupIdNotFound;
    let mut assigned = TopicPartitions::new();
    // Who has just joined has no part.
    if !migrant.assignment.is_empty() {
        let part = embedded::part(&migrant.assignment).map_err(malformed)?;
        if part.has_user_data {
            // A custom assignor would lose it.
            return Err(ResponseError::GroupIdNotFound);
        }
        assigned = embedded::by_id(&part.assigned, image);
    }
    let mut own = migrant.protocols.iter();
    let metadata = own.find(|(name, _)| name == protocol);
    let (_, metadata) = metadata.ok_or(ResponseError::UnknownServerError)?;
    let subscription = embedded::subscription(metadata).map_err(malformed)?;
    let mut member = Member::new(migrant.id);
    member.epoch = generation;
    member.previous_epoch = generation;
    member.state = MemberState::Stable;
    member.instance = migrant.instance;
    member.rack = subscription.rack;
    member.rebalance_timeout_ms = migrant.rebalance_timeout_ms;
    member.client_id = migrant.client_id;
    member.client_host = migrant.client_host;
    member.topics = subscription.topics;
    member.assigned = assigned;
    member.classic = Some(ClassicMemberMetadata {
        session_timeout_ms: migrant.session_timeout_ms,
        supported_protocols: migrant.protocols,
    });
    Ok(member)
}

/// A member as it goes to a classic group; its part is what the target gives it.
fn emigrant(
    member: &Member,
    target: &TopicPartitions,
    image: &MetadataImage,
) -> Result<Migrant, ResponseError> {
    let classic = member.classic.as_ref();
    let classic = classic.expect("only members of the classic protocol go");
    let assignment = classic_part(classic, target, image)?;
    Ok(Migrant {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic.supported_protocols.clone(),
        assignment,
    })
}

/// Partitions as a member of the classic protocol reads them: in the version of its own metadata.
pub(super) fn classic_part(
    classic: &ClassicMemberMetadata,
    partitions: &TopicPartitions,
    image: &MetadataImage,
) -> Result<Bytes, ResponseError> {
    let first = classic.supported_protocols.first();
    let (_, metadata) = first.ok_or(ResponseError::UnknownServerError)?;
    let written = embedded::version(metadata)
        .and_then(|version| embedded::write_part(partitions, image, version));
    written.map_err(|_| ResponseError::UnknownServerError)
}

/// The tombstones of a member whose replacement was written before them are the replacement's.
fn rename(record: &mut Record, from: &StrBytes, to: &StrBytes) {
    if let Record::ConsumerGroupCurrent { member, .. }
    | Record::ConsumerGroupTarget { member, .. }
    | Record::ConsumerGroupMember { member, .. } = record
        && member == from
    {
        *member = to.clone();
    }
}
