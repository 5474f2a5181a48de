//! Answers of the classic group APIs, in the version in which they were asked for.
//!
//! Mirrors the constructors of `JoinGroupResponse` and `LeaveGroupResponse`.

use bytes::Bytes;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ResponseKind,
    SyncGroupResponse,
};

use super::super::turn::{Caller, Turn};
use crate::types::{ResponseError, StrBytes};

/// The member id of those who have none yet (`JoinGroupRequest.UNKNOWN_MEMBER_ID`).
pub(super) const UNKNOWN_MEMBER: StrBytes = StrBytes::from_static_str("");

/// From this version of JoinGroup on, a member must know its id before it is let in (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From this version of JoinGroup on, a leader may be told not to assign (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// From this version of JoinGroup on, the protocol's name may be null.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// From this version of LeaveGroup on, members leave in batches.
const LEAVE_BATCH_SINCE: i16 = 3;

/// Whether a new dynamic member is told its id first.
pub(super) fn requires_known_member_id(caller: &Caller) -> bool {
    MEMBER_ID_REQUIRED_SINCE <= caller.version
}

/// Whether the caller understands that it leads and need not assign.
pub(super) fn supports_skipping_assignment(caller: &Caller) -> bool {
    SKIP_ASSIGNMENT_SINCE <= caller.version
}

/// Answers JoinGroup, waiting for nothing.
pub(super) fn join(turn: &mut Turn<'_>, caller: Caller, mut response: JoinGroupResponse) {
    let name = response.protocol_name.filter(|name| !name.is_empty());
    response.protocol_name = if NULL_PROTOCOL_SINCE <= caller.version {
        name
    } else {
        Some(name.unwrap_or_default())
    };
    let response = ResponseKind::JoinGroup(response);
    turn.decision.at_once.push((caller, response));
}

/// Refuses a JoinGroup.
pub(super) fn join_error(
    turn: &mut Turn<'_>,
    caller: Caller,
    member: &StrBytes,
    error: ResponseError,
) {
    let response = JoinGroupResponse::default()
        .with_member_id(member.clone())
        .with_error_code(error.code());
    join(turn, caller, response);
}

/// Answers SyncGroup, waiting for nothing.
pub(super) fn sync(turn: &mut Turn<'_>, caller: Caller, response: SyncGroupResponse) {
    let response = ResponseKind::SyncGroup(response);
    turn.decision.at_once.push((caller, response));
}

/// Refuses a SyncGroup.
pub(super) fn sync_error(turn: &mut Turn<'_>, caller: Caller, error: ResponseError) {
    let response = SyncGroupResponse::default().with_error_code(error.code());
    sync(turn, caller, response);
}

/// A SyncGroup's part without an error.
pub(super) fn synced(
    protocol_type: Option<StrBytes>,
    protocol: Option<StrBytes>,
    assignment: Bytes,
) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_protocol_type(protocol_type)
        .with_protocol_name(protocol)
        .with_assignment(assignment)
}

/// A heartbeat's answer.
pub(super) fn heartbeat(error: Option<ResponseError>) -> ResponseKind {
    let code = error.map_or(0, |error| error.code());
    ResponseKind::Heartbeat(HeartbeatResponse::default().with_error_code(code))
}

/// Who leaves.
pub(super) fn leaving(caller: &Caller, request: &LeaveGroupRequest) -> Vec<MemberIdentity> {
    if LEAVE_BATCH_SINCE <= caller.version {
        request.members.clone()
    } else {
        vec![MemberIdentity::default().with_member_id(request.member_id.clone())]
    }
}

/// The answer to LeaveGroup: one by one, or old clients' one and only as a whole.
pub(super) fn left(caller: &Caller, members: Vec<MemberResponse>) -> ResponseKind {
    let response = LeaveGroupResponse::default();
    ResponseKind::LeaveGroup(if LEAVE_BATCH_SINCE <= caller.version {
        response.with_members(members)
    } else {
        let first = members.first().map_or(0, |member| member.error_code);
        response.with_error_code(first)
    })
}
