//! What a shard tells of its groups: committed state only.
//!
//! A coordinator that was just elected may not know yet that the end of its log is committed: until
//! its high watermark is there, it tells what was true before. Consumers fetch stable offsets, which
//! wait for that.
//!
//! Mirrors `GroupMetadataManager.listGroups`, `describeGroups`, `consumerGroupDescribe` and the
//! reading half of `OffsetMetadataManager.fetchOffsets`.

use std::collections::BTreeSet;

use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup as ConsumerDescribed;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;

use super::{Committed, Group, Shard};
use crate::config::BrokerConfig;
use crate::coordinator::classic::ClassicGroup;
use crate::coordinator::consumer::ConsumerGroup;
use crate::metadata::MetadataImage;
use crate::types::{ResponseError, StrBytes};

impl Shard {
    /// The groups in one of those states and of one of those types; an empty filter lets all pass.
    pub(crate) fn list(&self, states: &[StrBytes], types: &[StrBytes]) -> Vec<ListedGroup> {
        let lower = |it: &StrBytes| it.to_lowercase().trim().to_owned();
        let states: BTreeSet<String> = states.iter().map(lower).collect();
        let types: BTreeSet<String> = types.iter().map(|it| it.to_lowercase()).collect();
        let listed = self.committed.iter().filter_map(|(id, group)| {
            let (protocol_type, state, kind) = match group {
                Committed::Classic(()) => {
                    let classic = self.committed_classic(id)?;
                    let protocol_type = classic.protocol_type().cloned().unwrap_or_default();
                    (protocol_type, classic.state_name(), "classic")
                }
                Committed::Consumer(it) => {
                    let protocol_type = StrBytes::from_static_str("consumer");
                    (protocol_type, it.state_name(), "consumer")
                }
            };
            let is_asked_for = (states.is_empty() || states.contains(&state.to_lowercase()))
                && (types.is_empty() || types.contains(kind));
            is_asked_for.then(|| {
                ListedGroup::default()
                    .with_group_id(GroupId(id.clone()))
                    .with_protocol_type(protocol_type)
                    .with_group_state(StrBytes::from_static_str(state))
                    .with_group_type(StrBytes::from_static_str(kind))
            })
        });
        listed.collect()
    }

    /// A classic group for DescribeGroups in `version`.
    pub(crate) fn describe(&self, id: &StrBytes, version: i16) -> DescribedGroup {
        if let Some(group) = self.committed_classic(id) {
            return group.describe();
        }
        let unknown = DescribedGroup::default()
            .with_group_id(GroupId(id.clone()))
            .with_group_state(StrBytes::from_static_str("Dead"));
        match version {
            0..=5 => unknown,
            _ => unknown
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(not_found(id))),
        }
    }

    /// A consumer group for ConsumerGroupDescribe.
    pub(crate) fn describe_consumer(
        &self,
        id: &StrBytes,
        image: &MetadataImage,
        config: &BrokerConfig,
    ) -> ConsumerDescribed {
        match self.committed.get(id) {
            Some(Committed::Consumer(group)) => group.describe(image, config),
            Some(Committed::Classic(())) | None => ConsumerDescribed::default()
                .with_group_id(GroupId(id.clone()))
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(not_found(id))),
        }
    }

    /// OffsetFetch of one group, committed state.
    pub(crate) fn fetch_committed(
        &self,
        request: &OffsetFetchRequestGroup,
    ) -> Result<OffsetFetchResponseGroup, ResponseError> {
        let id = &request.group_id.0;
        let group = match self.committed.get(id) {
            Some(Committed::Classic(())) => self.committed_classic(id).map(Reader::Classic),
            Some(Committed::Consumer(it)) => Some(Reader::Consumer(it)),
            None => None,
        };
        let known = may_fetch(group.as_ref(), request)?;
        Ok(self.committed_offsets.fetch(request, known))
    }

    /// OffsetFetch of one group that asks for what is stable: written state, to be answered once it
    /// is committed.
    pub(crate) fn fetch_written(
        &self,
        request: &OffsetFetchRequestGroup,
    ) -> Result<OffsetFetchResponseGroup, ResponseError> {
        let group = self.groups.get(&request.group_id.0);
        let group = group.map(|it| match it {
            Group::Classic(it) => Reader::Classic(it),
            Group::Consumer(it) => Reader::Consumer(it),
        });
        let known = may_fetch(group.as_ref(), request)?;
        Ok(self.offsets.fetch(request, known))
    }

    /// A classic group that is committed to be there, in the state in which it is.
    fn committed_classic(&self, id: &StrBytes) -> Option<&ClassicGroup> {
        let Some(Committed::Classic(())) = self.committed.get(id) else {
            return None;
        };
        match self.groups.get(id) {
            Some(Group::Classic(group)) => Some(group),
            Some(Group::Consumer(_)) | None => self.leaving.get(id),
        }
    }
}

/// A group whose offsets somebody fetches.
enum Reader<'a> {
    Classic(&'a ClassicGroup),
    Consumer(&'a ConsumerGroup),
}

/// Whether there is a group whose offsets may be fetched. Where there is none, nothing is wrong:
/// there are no offsets either.
fn may_fetch(
    group: Option<&Reader<'_>>,
    request: &OffsetFetchRequestGroup,
) -> Result<bool, ResponseError> {
    let (member, epoch) = (request.member_id.as_ref(), request.member_epoch);
    let valid = match group {
        Some(Reader::Classic(it)) => it.validate_offset_fetch(member, epoch),
        Some(Reader::Consumer(it)) => it.validate_offset_fetch(member, epoch),
        None => Err(ResponseError::GroupIdNotFound),
    };
    match valid {
        Ok(()) => Ok(true),
        Err(ResponseError::GroupIdNotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn not_found(id: &StrBytes) -> StrBytes {
    StrBytes::from_string(format!("Group {id} not found."))
}
