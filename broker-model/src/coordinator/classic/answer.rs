//! Answers to JoinGroup and SyncGroup, which wait for nothing, and what versions of JoinGroup ask for.
//!
//! Mirrors what `JoinGroupRequest` knows of its versions.

use bytes::Bytes;
use kafka_protocol::messages::{JoinGroupResponse, ResponseKind, SyncGroupResponse};

use super::super::turn::{Caller, Turn};
use crate::types::{ResponseError, StrBytes};

/// The member id of those who have none yet (`JoinGroupRequest.UNKNOWN_MEMBER_ID`).
pub(super) const UNKNOWN_MEMBER: StrBytes = StrBytes::from_static_str("");

/// From this version of JoinGroup on, a member must know its id before it is let in (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From this version of JoinGroup on, a leader may be told not to assign (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// Whether a new dynamic member is told its id first.
pub(super) fn requires_known_member_id(caller: &Caller) -> bool {
    MEMBER_ID_REQUIRED_SINCE <= caller.version
}

/// Whether the caller understands that it leads and need not assign.
pub(super) fn supports_skipping_assignment(caller: &Caller) -> bool {
    SKIP_ASSIGNMENT_SINCE <= caller.version
}

/// Answers JoinGroup, waiting for nothing.
pub(super) fn join(turn: &mut Turn<'_>, caller: Caller, response: JoinGroupResponse) {
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
        .with_protocol_name(None)
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
