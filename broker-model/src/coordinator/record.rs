//! What a coordinator writes down: the records of `__consumer_offsets`.
//!
//! The schemas are Kafka's (`group-coordinator/src/main/resources/common/message`). A value of `None`
//! is a tombstone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::{LeaderEpoch, Offset, StrBytes, Uuid};

/// Partitions by topic.
pub(crate) type TopicPartitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// One record.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Record {
    /// `OffsetCommitKey` (1).
    OffsetCommit {
        /// The group.
        group: StrBytes,
        /// The topic's name.
        topic: StrBytes,
        /// The partition.
        partition: i32,
        /// The offset.
        value: Option<OffsetCommitValue>,
    },
    /// `GroupMetadataKey` (2): a classic group.
    GroupMetadata {
        /// The group.
        group: StrBytes,
        /// The group's last generation.
        value: Option<GroupMetadataValue>,
    },
    /// `ConsumerGroupMetadataKey` (3).
    ConsumerGroupMetadata {
        /// The group.
        group: StrBytes,
        /// Its epoch and the hash of the metadata it is subscribed to.
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// `ConsumerGroupPartitionMetadataKey` (4): no longer written, only deleted.
    ConsumerGroupPartitionMetadata {
        /// The group.
        group: StrBytes,
    },
    /// `ConsumerGroupMemberMetadataKey` (5).
    ConsumerGroupMember {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
        /// What it said of itself.
        value: Option<ConsumerGroupMemberValue>,
    },
    /// `ConsumerGroupTargetAssignmentMetadataKey` (6): the target's epoch.
    ConsumerGroupTargetEpoch {
        /// The group.
        group: StrBytes,
        /// The epoch.
        value: Option<i32>,
    },
    /// `ConsumerGroupTargetAssignmentMemberKey` (7).
    ConsumerGroupTarget {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
        /// What it shall have.
        value: Option<TopicPartitions>,
    },
    /// `ConsumerGroupCurrentMemberAssignmentKey` (8).
    ConsumerGroupCurrent {
        /// The group.
        group: StrBytes,
        /// The member.
        member: StrBytes,
        /// What it has.
        value: Option<CurrentAssignmentValue>,
    },
    /// `ConsumerGroupRegularExpressionKey` (16).
    ConsumerGroupRegex {
        /// The group.
        group: StrBytes,
        /// The expression.
        regex: StrBytes,
        /// What it resolves to.
        value: Option<ResolvedRegex>,
    },
}

/// `OffsetCommitValue`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OffsetCommitValue {
    /// The offset.
    pub(crate) offset: Offset,
    /// Epoch of the last record before it, -1 if unknown.
    pub(crate) leader_epoch: LeaderEpoch,
    /// What the consumer wants to remember.
    pub(crate) metadata: StrBytes,
    /// When, in ms since 1970.
    pub(crate) commit_timestamp: i64,
    /// When it ends; -1 if nobody said (versions 2 and later of OffsetCommit never do).
    pub(crate) expire_timestamp: i64,
    /// The topic's id, nil if unknown.
    pub(crate) topic_id: Uuid,
}

/// `GroupMetadataValue`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupMetadataValue {
    /// `consumer`, say.
    pub(crate) protocol_type: StrBytes,
    /// The generation.
    pub(crate) generation: i32,
    /// The assignor that was chosen.
    pub(crate) protocol: Option<StrBytes>,
    /// The leader's member id.
    pub(crate) leader: Option<StrBytes>,
    /// Since when it is in its state, in ms since 1970.
    pub(crate) current_state_timestamp: i64,
    /// Its members.
    pub(crate) members: Vec<ClassicMemberValue>,
}

/// `GroupMetadataValue.MemberMetadata`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClassicMemberValue {
    /// Its id.
    pub(crate) member: StrBytes,
    /// `group.instance.id`.
    pub(crate) instance: Option<StrBytes>,
    /// `client.id`.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// In ms.
    pub(crate) rebalance_timeout: i32,
    /// In ms.
    pub(crate) session_timeout: i32,
    /// Its metadata of the chosen protocol.
    pub(crate) subscription: Bytes,
    /// Its part.
    pub(crate) assignment: Bytes,
}

/// `ConsumerGroupMetadataValue`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConsumerGroupMetadataValue {
    /// The group's epoch.
    pub(crate) epoch: i32,
    /// Hash of the topics that it is subscribed to.
    pub(crate) metadata_hash: i64,
}

/// `ConsumerGroupMemberMetadataValue`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct ConsumerGroupMemberValue {
    /// `group.instance.id`.
    pub(crate) instance: Option<StrBytes>,
    /// `client.rack`.
    pub(crate) rack: Option<StrBytes>,
    /// `client.id`.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// The topics, by name.
    pub(crate) subscribed_topics: Vec<StrBytes>,
    /// The topics, by expression.
    pub(crate) subscribed_regex: Option<StrBytes>,
    /// In ms, -1 if unknown.
    pub(crate) rebalance_timeout_ms: i32,
    /// The assignor that it asked for.
    pub(crate) server_assignor: Option<StrBytes>,
    /// Set for a member that speaks the classic protocol.
    pub(crate) classic: Option<ClassicMemberMetadata>,
}

/// `ConsumerGroupMemberMetadataValue.ClassicMemberMetadata`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClassicMemberMetadata {
    /// In ms.
    pub(crate) session_timeout_ms: i32,
    /// Name and metadata.
    pub(crate) supported_protocols: Vec<(StrBytes, Bytes)>,
}

/// `ConsumerGroupCurrentMemberAssignmentValue`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CurrentAssignmentValue {
    /// The member's epoch.
    pub(crate) member_epoch: i32,
    /// The one before.
    pub(crate) previous_member_epoch: i32,
    /// `MemberState`.
    pub(crate) state: i8,
    /// What it owns.
    pub(crate) assigned: TopicPartitions,
    /// What it has to give up.
    pub(crate) pending_revocation: TopicPartitions,
}

/// `ConsumerGroupRegularExpressionValue`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResolvedRegex {
    /// The topics that match.
    pub(crate) topics: BTreeSet<StrBytes>,
    /// Offset of the metadata that was looked at.
    pub(crate) version: i64,
    /// When, in ms since 1970.
    pub(crate) timestamp: i64,
}
