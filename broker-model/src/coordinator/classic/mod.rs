//! The groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! Mirrors `ClassicGroup`, `ClassicGroupMember` and the classic half of `GroupMetadataManager`.

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};

use super::offsets::ExpirySince;
use super::record::{GroupMetadataValue, Record};
use super::turn::{Caller, Continuation, TimerKey, Turn};
use crate::types::{ConnectionId, Now, ResponseError, StrBytes};

/// A group of the classic protocol. Changes at once; its records only outlive it.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    id: StrBytes,
}

impl ClassicGroup {
    /// An empty group.
    pub(crate) fn new(id: StrBytes, _now: Now) -> Self {
        ClassicGroup { id }
    }

    /// The group that its last record describes.
    pub(crate) fn replay(id: StrBytes, _value: &GroupMetadataValue) -> Self {
        ClassicGroup { id }
    }

    /// JoinGroup. A group that was made for it has to be written down.
    pub(crate) fn join(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: Caller,
        _client_host: StrBytes,
        _request: &JoinGroupRequest,
    ) {
    }

    /// SyncGroup.
    pub(crate) fn sync(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: Caller,
        _request: &SyncGroupRequest,
    ) {
    }

    /// Heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: Caller,
        _request: &HeartbeatRequest,
    ) {
    }

    /// LeaveGroup.
    pub(crate) fn leave(
        &mut self,
        _turn: &mut Turn<'_>,
        _caller: Caller,
        _request: &LeaveGroupRequest,
    ) {
    }

    /// One of its timers fired.
    pub(crate) fn on_timer(&mut self, _turn: &mut Turn<'_>, _key: &TimerKey) {}

    /// What it wrote is committed, or could not be.
    pub(crate) fn on_written(
        &mut self,
        _turn: &mut Turn<'_>,
        _then: Continuation,
        _result: Result<(), ResponseError>,
    ) {
    }

    /// The shard has read its log.
    pub(crate) fn on_loaded(&mut self, _turn: &mut Turn<'_>) {}

    /// The broker no longer leads: whoever waits hears NOT_COORDINATOR.
    pub(crate) fn on_unloaded(&mut self, _turn: &mut Turn<'_>) {}

    /// Nobody waits on that connection any more.
    pub(crate) fn on_closed(&mut self, _conn: ConnectionId) {}

    /// Whether the member may commit; its session starts anew.
    pub(crate) fn validate_offset_commit(
        &mut self,
        _turn: &mut Turn<'_>,
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
        vec![Record::GroupMetadata {
            group: self.id.clone(),
            value: None,
        }]
    }

    /// The answer to DescribeGroups.
    pub(crate) fn describe(&self) -> DescribedGroup {
        DescribedGroup::default()
    }

    /// The state's name (`ClassicGroupState.toString`).
    pub(crate) fn state_name(&self) -> &'static str {
        "Empty"
    }

    /// Whether it has no member (`ClassicGroup.isEmpty`).
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    /// Whether a member reads that topic, as far as that is known.
    pub(crate) fn is_subscribed_to(&self, _topic: &str) -> bool {
        false
    }

    /// From when the age of its offsets counts; `None` while they do not age.
    pub(crate) fn expiry(&self) -> Option<ExpirySince> {
        None
    }

    /// The protocol type, if a member has ever joined.
    pub(crate) fn protocol_type(&self) -> Option<&StrBytes> {
        None
    }
}
