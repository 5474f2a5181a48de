//! The groups of the consumer protocol (KIP-848): ConsumerGroupHeartbeat.
//!
//! Mirrors `ConsumerGroup` and the consumer half of `GroupMetadataManager`.

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, OffsetCommitRequest};

use super::offsets::ExpirySince;
use super::record::Record;
use super::turn::{Caller, TimerKey, Turn};
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes};

/// A group of the consumer protocol. Changes only in [`ConsumerGroup::replay`].
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    id: StrBytes,
}

impl ConsumerGroup {
    /// A group without records.
    pub(crate) fn new(id: StrBytes) -> Self {
        ConsumerGroup { id }
    }

    /// ConsumerGroupHeartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: Caller,
        _client_host: StrBytes,
        _request: &ConsumerGroupHeartbeatRequest,
    ) {
    }

    /// One of its timers fired.
    pub(crate) fn on_timer(&mut self, _turn: &mut Turn<'_>, _key: &TimerKey) {}

    /// The metadata changed.
    pub(crate) fn on_metadata(&mut self, _turn: &mut Turn<'_>) {}

    /// Takes a record in. There are two copies of each group, one of what is written and one of
    /// what is committed: this is called for both.
    pub(crate) fn replay(&mut self, _record: &Record) {}

    /// The shard has read its log.
    pub(crate) fn on_loaded(&mut self, _turn: &mut Turn<'_>) {}

    /// The broker no longer leads.
    pub(crate) fn on_unloaded(&mut self, _turn: &mut Turn<'_>) {}

    /// Whether the member may commit.
    pub(crate) fn validate_offset_commit(
        &mut self,
        _turn: &mut Turn<'_>,
        _version: i16,
        _request: &OffsetCommitRequest,
    ) -> Result<(), ResponseError> {
        Ok(())
    }

    /// Whether offsets may be fetched.
    pub(crate) fn validate_offset_fetch(
        &self,
        _member: Option<&StrBytes>,
        _epoch: i32,
    ) -> Result<(), ResponseError> {
        Ok(())
    }

    /// Whether offsets may be deleted.
    pub(crate) fn validate_offset_delete(&self) -> Result<(), ResponseError> {
        Ok(())
    }

    /// Whether the group may be deleted.
    pub(crate) fn validate_delete_group(&self) -> Result<(), ResponseError> {
        Ok(())
    }

    /// The records that delete it.
    pub(crate) fn delete_records(&self) -> Vec<Record> {
        vec![Record::ConsumerGroupMetadata {
            group: self.id.clone(),
            value: None,
        }]
    }

    /// The answer to ConsumerGroupDescribe, without authorized operations.
    pub(crate) fn describe(&self, _image: &MetadataImage) -> DescribedGroup {
        DescribedGroup::default()
    }

    /// The state's name (`ConsumerGroupState.toString`).
    pub(crate) fn state_name(&self) -> &'static str {
        "Empty"
    }

    /// Whether it has no member.
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    /// Whether a member reads that topic.
    pub(crate) fn is_subscribed_to(&self, _topic: &str) -> bool {
        false
    }

    /// From when the age of its offsets counts; `None` while they do not age.
    pub(crate) fn expiry(&self) -> Option<ExpirySince> {
        Some(ExpirySince::Commit)
    }
}
