//! Group requests and responses in the forms that versions gave them.
//!
//! Shards know one form of each: OffsetFetch with groups (since version 8), LeaveGroup with members
//! (since version 3). What is refused early and late is put together here too. Mirrors `OffsetFetchRequest.groups`, `OffsetFetchResponse.Builder`,
//! `LeaveGroupRequest.normalizedData` and the constructors of `LeaveGroupResponse` and
//! `JoinGroupResponse`.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_response::OffsetCommitResponseTopic;
use kafka_protocol::messages::offset_delete_response::OffsetDeleteResponseTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, OffsetFetchRequest, OffsetFetchResponse, ResponseKind,
};

/// The groups whose offsets a request fetches.
pub(super) fn fetched_groups(
    version: i16,
    request: &OffsetFetchRequest,
) -> Vec<OffsetFetchRequestGroup> {
    if FETCH_GROUPS_VERSION_MIN <= version {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name.clone())
                .with_partition_indexes(topic.partition_indexes.clone())
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id.clone())
        .with_member_id(None)
        .with_member_epoch(-1)
        .with_topics(topics);
    vec![group]
}

/// A LeaveGroup whose members are listed.
pub(super) fn listed_members(version: i16, request: LeaveGroupRequest) -> LeaveGroupRequest {
    if LEAVE_MEMBERS_VERSION_MIN <= version {
        return request;
    }
    let member = MemberIdentity::default()
        .with_member_id(request.member_id.clone())
        .with_group_instance_id(None);
    request.with_members(vec![member])
}

/// The partitions of a commit that were refused early and late, each topic once.
pub(in crate::coordinator) fn merge_commit(
    early: Vec<OffsetCommitResponseTopic>,
    late: Vec<OffsetCommitResponseTopic>,
) -> Vec<OffsetCommitResponseTopic> {
    let mut all = early;
    for topic in late {
        match all.iter_mut().find(|it| it.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => all.push(topic),
        }
    }
    all
}

/// The same of an OffsetDelete.
pub(in crate::coordinator) fn merge_delete(
    early: Vec<OffsetDeleteResponseTopic>,
    late: Vec<OffsetDeleteResponseTopic>,
) -> Vec<OffsetDeleteResponseTopic> {
    let mut all = early;
    for topic in late {
        match all.iter_mut().find(|it| it.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => all.push(topic),
        }
    }
    all
}

/// One answer out of those of several shards.
pub(super) fn join(before: Option<ResponseKind>, answer: ResponseKind) -> ResponseKind {
    match (before, answer) {
        (None, answer) => answer,
        (Some(ResponseKind::OffsetFetch(mut all)), ResponseKind::OffsetFetch(more)) => {
            all.groups.extend(more.groups);
            ResponseKind::OffsetFetch(all)
        }
        (Some(ResponseKind::DeleteGroups(mut all)), ResponseKind::DeleteGroups(more)) => {
            all.results.extend(more.results);
            ResponseKind::DeleteGroups(all)
        }
        (before, answer) => unreachable!("answered twice: {before:?} and {answer:?}"),
    }
}

/// An answer as its version has it.
pub(super) fn in_version(version: i16, answer: ResponseKind) -> ResponseKind {
    match answer {
        ResponseKind::OffsetFetch(answer) if version < FETCH_GROUPS_VERSION_MIN => {
            ResponseKind::OffsetFetch(fetched_of_one(answer))
        }
        ResponseKind::LeaveGroup(answer) if version < LEAVE_MEMBERS_VERSION_MIN => {
            ResponseKind::LeaveGroup(left_by_one(&answer))
        }
        // Null or empty: no protocol, either way.
        ResponseKind::JoinGroup(answer) => {
            let name = answer.protocol_name.clone().unwrap_or_default();
            let null = NULL_PROTOCOL_VERSION_MIN <= version && name.is_empty();
            ResponseKind::JoinGroup(answer.with_protocol_name((!null).then_some(name)))
        }
        other => other,
    }
}

fn fetched_of_one(answer: OffsetFetchResponse) -> OffsetFetchResponse {
    let mut groups = answer.groups.into_iter();
    let group = groups.next().expect("one group was asked for");
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|it| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(it.partition_index)
                .with_committed_offset(it.committed_offset)
                .with_committed_leader_epoch(it.committed_leader_epoch)
                .with_metadata(it.metadata)
                .with_error_code(it.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default()
        .with_error_code(group.error_code)
        .with_topics(topics.collect())
}

/// The first error there is.
fn left_by_one(answer: &LeaveGroupResponse) -> LeaveGroupResponse {
    let members = answer.members.iter().map(|it| it.error_code);
    let mut codes = std::iter::once(answer.error_code).chain(members);
    let code = codes.find(|it| *it != 0).unwrap_or(0);
    LeaveGroupResponse::default().with_error_code(code)
}

const FETCH_GROUPS_VERSION_MIN: i16 = 8;
const LEAVE_MEMBERS_VERSION_MIN: i16 = 3;
const NULL_PROTOCOL_VERSION_MIN: i16 = 7;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::JoinGroupResponse;
    use kafka_protocol::messages::leave_group_response::MemberResponse;

    use super::*;
    use crate::types::{ResponseError, StrBytes};

    #[test]
    fn no_protocol_is_null_or_empty() {
        for given in [None, Some(StrBytes::default())] {
            let answer = |version| {
                let answer = JoinGroupResponse::default().with_protocol_name(given.clone());
                match in_version(version, ResponseKind::JoinGroup(answer)) {
                    ResponseKind::JoinGroup(answer) => answer.protocol_name,
                    other => panic!("became {other:?}"),
                }
            };
            assert_eq!(answer(6), Some(StrBytes::default()));
            assert_eq!(answer(7), None);
        }
        let range = JoinGroupResponse::default().with_protocol_name(Some("range".into()));
        for version in [0, 9] {
            let answer = ResponseKind::JoinGroup(range.clone());
            assert_eq!(in_version(version, answer.clone()), answer);
        }
    }

    #[test]
    fn old_clients_leave_one_by_one() {
        let request = LeaveGroupRequest::default().with_member_id("m1".into());
        let listed = listed_members(2, request);
        assert_eq!(listed.members.len(), 1);
        assert_eq!(&*listed.members[0].member_id, "m1");
        let unknown = ResponseError::UnknownMemberId.code();
        let member = MemberResponse::default().with_error_code(unknown);
        let answer = LeaveGroupResponse::default().with_members(vec![member]);
        let old = LeaveGroupResponse::default().with_error_code(unknown);
        let answer = ResponseKind::LeaveGroup(answer);
        assert_eq!(in_version(2, answer.clone()), ResponseKind::LeaveGroup(old));
        assert_eq!(in_version(3, answer.clone()), answer);
    }
}
