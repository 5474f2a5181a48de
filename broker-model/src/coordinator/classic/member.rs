//! A member of a group of the classic protocol.
//!
//! Mirrors `ClassicGroupMember`.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::JoinGroupRequest;

use super::super::migration::Migrant;
use super::super::record::ClassicMemberValue;
use super::super::turn::Caller;
use crate::types::{ConnectionId, StrBytes};

/// What an assignor can do for a member: its name and what the member tells it.
pub(crate) type Protocol = (StrBytes, Bytes);

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroupMember {
    /// Its id, which the coordinator made up.
    pub(crate) id: StrBytes,
    /// `group.instance.id`, for a static member (KIP-345).
    pub(crate) instance: Option<StrBytes>,
    /// `client.id`.
    pub(crate) client_id: StrBytes,
    /// Its address.
    pub(crate) client_host: StrBytes,
    /// How long the others wait for it to join again.
    pub(crate) rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub(crate) session_timeout_ms: i32,
    /// The best first.
    pub(crate) protocols: Vec<Protocol>,
    /// Its part, empty if it has none.
    pub(crate) assignment: Bytes,
    /// Its JoinGroup, if it waits for the generation.
    pub(super) awaiting_join: Option<Waiter>,
    /// Its SyncGroup, if it waits for the assignment.
    pub(super) awaiting_sync: Option<Waiter>,
    /// In its first join phase: it does not know its id, or has only just been told.
    pub(super) is_new: bool,
    /// What it was before it came back with a new id, until that is written down.
    pub(super) before: Option<Box<Before>>,
}

/// An answer that is owed. Without a caller, who asked has gone and the member still counts as waiting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waiter(pub(super) Option<Caller>);

/// A static member as it was before its last return.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) leader: StrBytes,
}

impl ClassicGroupMember {
    /// A member that joins for the first time.
    pub(super) fn joining(
        id: StrBytes,
        caller: &Caller,
        client_host: StrBytes,
        request: &JoinGroupRequest,
    ) -> Self {
        ClassicGroupMember {
            id,
            instance: request.group_instance_id.clone(),
            client_id: caller.client_id.clone(),
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms(caller, request),
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols(request),
            assignment: Bytes::new(),
            awaiting_join: Some(Waiter(Some(caller.clone()))),
            awaiting_sync: None,
            is_new: true,
            before: None,
        }
    }

    /// A member that was read from the log; of its protocols only the chosen one is known.
    pub(super) fn loaded(value: &ClassicMemberValue, protocol: StrBytes) -> Self {
        let rebalance_timeout_ms = match value.rebalance_timeout {
            // Version 0 of the record does not have it.
            -1 => value.session_timeout,
            timeout_ms => timeout_ms,
        };
        ClassicGroupMember {
            id: value.member.clone(),
            instance: value.instance.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout,
            protocols: vec![(protocol, value.subscription.clone())],
            assignment: value.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            before: None,
        }
    }

    /// A member that was in a consumer group until now (KIP-848).
    pub(super) fn migrated(member: Migrant) -> Self {
        ClassicGroupMember {
            id: member.id,
            instance: member.instance,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols,
            assignment: member.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            before: None,
        }
    }

    /// Takes over what it says when it joins again, and waits.
    pub(super) fn rejoin(&mut self, caller: &Caller, request: &JoinGroupRequest) {
        self.rebalance_timeout_ms = rebalance_timeout_ms(caller, request);
        self.session_timeout_ms = request.session_timeout_ms;
        self.protocols = protocols(request);
        self.awaiting_join = Some(Waiter(Some(caller.clone())));
    }

    /// What it tells that assignor.
    pub(super) fn metadata(&self, protocol: &StrBytes) -> Option<&Bytes> {
        let mut own = self.protocols.iter();
        let found = own.find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata)
    }

    /// The names of its assignors.
    pub(super) fn protocol_names(&self) -> BTreeSet<&StrBytes> {
        self.protocols.iter().map(|(name, _)| name).collect()
    }

    /// The best of those, in its eyes.
    pub(super) fn vote(&self, candidates: &BTreeSet<&StrBytes>) -> Option<&StrBytes> {
        let mut names = self.protocols.iter().map(|(name, _)| name);
        names.find(|name| candidates.contains(name))
    }

    /// Whether it joins again with what it said before.
    pub(super) fn matches(&self, request: &JoinGroupRequest) -> bool {
        self.protocols == protocols(request)
    }

    /// Whether it need not send heartbeats now: it waits for an answer. A new member may vanish
    /// without anybody noticing, so its first JoinGroup has an end.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Nobody hears answers on that connection any more.
    pub(super) fn on_closed(&mut self, conn: ConnectionId) {
        for waiter in [&mut self.awaiting_join, &mut self.awaiting_sync] {
            if let Some(Waiter(caller)) = waiter
                && caller.as_ref().is_some_and(|caller| caller.conn == conn)
            {
                *caller = None;
            }
        }
    }
}

/// The protocols of a request, the best first.
pub(super) fn protocols(request: &JoinGroupRequest) -> Vec<Protocol> {
    let given = request.protocols.iter();
    given
        .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
        .collect()
}

/// Version 0 has no rebalance timeout: its session timeout is both.
fn rebalance_timeout_ms(caller: &Caller, request: &JoinGroupRequest) -> i32 {
    if caller.version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    }
}
