//! What an admin client can be asked about groups, and what it says.

use super::OffsetAndMetadata;
use crate::types::{StrBytes, TopicPartition};

/// A call about a group, which its coordinator answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupCall {
    /// `alterConsumerGroupOffsets`: commits in the name of a group without members.
    AlterOffsets {
        /// `group.id`.
        group: StrBytes,
        /// What is committed.
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    },
    /// `listConsumerGroupOffsets`.
    ListOffsets {
        /// `group.id`.
        group: StrBytes,
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// `deleteConsumerGroupOffsets`: of topics that no member reads (KIP-496).
    DeleteOffsets {
        /// `group.id`.
        group: StrBytes,
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// `deleteConsumerGroups`: a group without members goes, with its offsets (KIP-229).
    Delete {
        /// `group.id`.
        group: StrBytes,
    },
    /// `describeClassicGroups`.
    Describe {
        /// `group.id`.
        group: StrBytes,
    },
}

impl GroupCall {
    /// `group.id`.
    #[must_use]
    pub fn group(&self) -> &StrBytes {
        match self {
            GroupCall::AlterOffsets { group, .. }
            | GroupCall::ListOffsets { group, .. }
            | GroupCall::DeleteOffsets { group, .. }
            | GroupCall::Delete { group }
            | GroupCall::Describe { group } => group,
        }
    }
}

/// What came of a call about a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupAnswer {
    /// It was done.
    Done,
    /// The committed offset of each partition that was asked about.
    Offsets(Vec<(TopicPartition, Option<OffsetAndMetadata>)>),
    /// The group.
    Group {
        /// `Empty`, `Stable` and so on.
        state: StrBytes,
        /// How many members it has.
        members: usize,
    },
}
