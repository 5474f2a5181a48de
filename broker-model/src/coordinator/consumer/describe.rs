//! What others ask a group of the consumer protocol: may this member commit, may the group go, what
//! does it look like.
//!
//! Mirrors the `validate…` methods of `ConsumerGroup`, `asDescribedGroup` and
//! `createGroupTombstoneRecords`.

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as Described, TopicPartitions as DescribedPartitions,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, TopicName};

use super::super::offsets::ExpirySince;
use super::super::record::{Record, TopicPartitions};
use super::super::turn::Turn;
use super::group::ConsumerGroup;
use super::member::Member;
use crate::config::BrokerConfig;
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes};

/// From this version of OffsetCommit on a client knows of member epochs (KIP-848).
const EPOCHS_IN_OFFSET_COMMIT: i16 = 9;

/// `Member.memberType` of a member of the classic protocol.
const CLASSIC: i8 = 0;
/// `Member.memberType` of a member of the consumer protocol.
const CONSUMER: i8 = 1;

impl ConsumerGroup {
    /// Whether the member may commit: it has to name its epoch exactly. (4.2 has no KIP-1251.)
    pub(crate) fn validate_offset_commit(
        &mut self,
        _turn: &mut Turn<'_>,
        version: i16,
        request: &OffsetCommitRequest,
    ) -> Result<(), ResponseError> {
        let epoch = request.generation_id_or_member_epoch;
        // An admin client, or a consumer that assigned its partitions itself.
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&request.member_id);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if !member.is_classic() && version < EPOCHS_IN_OFFSET_COMMIT {
            return Err(ResponseError::UnsupportedVersion);
        }
        check_exact_epoch(member, epoch)
    }

    /// Whether offsets may be fetched.
    pub(crate) fn validate_offset_fetch(
        &self,
        member: Option<&StrBytes>,
        epoch: i32,
    ) -> Result<(), ResponseError> {
        let Some(member) = member else {
            let anonymous = epoch < 0;
            return anonymous
                .then_some(())
                .ok_or(ResponseError::UnknownMemberId);
        };
        let member = self.members.get(member);
        check_exact_epoch(member.ok_or(ResponseError::UnknownMemberId)?, epoch)
    }

    /// Whether offsets may be deleted: those of topics that nobody reads.
    pub(crate) fn validate_offset_delete(&self) -> Result<(), ResponseError> {
        Ok(())
    }

    /// Whether the group may be deleted.
    pub(crate) fn validate_delete_group(&self) -> Result<(), ResponseError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(ResponseError::NonEmptyGroup)
        }
    }

    /// From when the age of its offsets counts; `None` while they do not age.
    pub(crate) fn expiry(&self) -> Option<ExpirySince> {
        Some(ExpirySince::Commit)
    }

    /// The records that delete it.
    pub(crate) fn delete_records(&self) -> Vec<Record> {
        let group = &self.id;
        let mut records = Vec::new();
        for part in 0..3 {
            if part == 2 {
                records.push(Record::ConsumerGroupTargetEpoch {
                    group: group.clone(),
                    value: None,
                });
            }
            let members = self.members.keys();
            records.extend(members.map(|member| self.removal(member)[part].clone()));
        }
        let regexes = self.regexes.keys();
        records.extend(regexes.map(|regex| Record::ConsumerGroupRegex {
            group: group.clone(),
            regex: regex.clone(),
            value: None,
        }));
        records.push(Record::ConsumerGroupPartitionMetadata {
            group: group.clone(),
        });
        records.push(Record::ConsumerGroupMetadata {
            group: group.clone(),
            value: None,
        });
        records
    }

    /// The answer to ConsumerGroupDescribe, without authorized operations.
    pub(crate) fn describe(&self, image: &MetadataImage, config: &BrokerConfig) -> DescribedGroup {
        let members = self.members.values();
        let nothing = TopicPartitions::new();
        let describe = |member: &Member| {
            let target = self.target.get(&member.id).unwrap_or(&nothing);
            describe_member(member, target, image)
        };
        DescribedGroup::default()
            .with_group_id(GroupId(self.id.clone()))
            .with_group_state(StrBytes::from_static_str(self.state_name()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.target_epoch)
            .with_assignor_name(StrBytes::from_string(self.assignor_name(config)))
            .with_members(members.map(describe).collect())
    }
}

fn check_exact_epoch(member: &Member, epoch: i32) -> Result<(), ResponseError> {
    if epoch == member.epoch {
        Ok(())
    } else if member.is_classic() {
        Err(ResponseError::IllegalGeneration)
    } else {
        Err(ResponseError::StaleMemberEpoch)
    }
}

fn describe_member(member: &Member, target: &TopicPartitions, image: &MetadataImage) -> Described {
    let topics = member.topics.iter().map(|name| TopicName(name.clone()));
    Described::default()
        .with_member_id(member.id.clone())
        .with_instance_id(member.instance.clone())
        .with_rack_id(member.rack.clone())
        .with_member_epoch(member.epoch)
        .with_client_id(member.client_id.clone())
        .with_client_host(member.client_host.clone())
        .with_subscribed_topic_names(topics.collect())
        .with_subscribed_topic_regex(member.regex.clone())
        .with_assignment(describe_partitions(&member.assigned, image))
        .with_target_assignment(describe_partitions(target, image))
        .with_member_type(if member.is_classic() {
            CLASSIC
        } else {
            CONSUMER
        })
}

fn describe_partitions(partitions: &TopicPartitions, image: &MetadataImage) -> Assignment {
    let topics = partitions.iter().filter_map(|(&id, partitions)| {
        let topic = DescribedPartitions::default()
            .with_topic_id(id)
            .with_topic_name(TopicName(image.topic(id)?.name.clone()))
            .with_partitions(partitions.iter().copied().collect());
        Some(topic)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
