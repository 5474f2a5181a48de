//! A classic group that becomes a consumer group, or was one.
//!
//! Mirrors `ClassicGroup.fromConsumerGroup` and the classic half of `convertToConsumerGroup` and
//! `convertToClassicGroup`. KIP-848.

use std::collections::BTreeMap;

use super::ClassicGroup;
use super::answer;
use super::member::{ClassicGroupMember, Waiter};
use crate::coordinator::migration::{CONSUMER_PROTOCOL, Downgrade, Migrant};
use crate::coordinator::turn::Turn;
use crate::note::{ClassicGroupChange, ClassicGroupState};
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// Whether its members are consumers, as far as they say.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.uses_consumer_protocol()
    }

    /// How many members it has.
    pub(crate) fn size(&self) -> usize {
        self.members.len()
    }

    /// Its generation.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// The assignor of this generation.
    pub(crate) fn protocol(&self) -> Option<&StrBytes> {
        self.protocol.as_ref()
    }

    /// Its members, to take along.
    pub(crate) fn migrants(&self) -> Vec<Migrant> {
        let members = self.members.values().map(|member| Migrant {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        });
        members.collect()
    }

    /// Whoever waits hears that a rebalance is going on: it is that of the consumer group.
    pub(crate) fn send_away(&mut self, turn: &mut Turn<'_>) {
        let error = ResponseError::RebalanceInProgress;
        for member in self.members.values_mut() {
            if let Some(Waiter(Some(caller))) = member.awaiting_join.take() {
                answer::join_error(turn, caller, &member.id, error);
            }
            if let Some(Waiter(Some(caller))) = member.awaiting_sync.take() {
                answer::sync_error(turn, caller, error);
            }
        }
    }

    /// The classic group that a consumer group becomes: stable, with the epoch as its generation. It
    /// is written down before anything else happens to it. `None` if its members have no assignor in
    /// common, which nobody lets happen.
    pub(crate) fn downgraded(
        turn: &mut Turn<'_>,
        id: StrBytes,
        downgrade: Downgrade,
    ) -> Option<Self> {
        let mut group = ClassicGroup::new(id, turn.now);
        group.unwritten = false;
        group.state = ClassicGroupState::Stable;
        group.generation = downgrade.generation;
        group.protocol_type = Some(StrBytes::from_static_str(CONSUMER_PROTOCOL));
        for member in downgrade.members {
            if let Some(instance) = &member.instance {
                let id = member.id.clone();
                group.static_members.insert(instance.clone(), id);
            }
            let member = ClassicGroupMember::migrated(member);
            group.members.insert(member.id.clone(), member);
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol = Some(group.select_protocol()?);
        group.subscribed_topics = group.compute_subscribed_topics();
        group.tell_downgrade(turn);
        group.store(turn, |member| member.assignment.clone());
        for id in group.members.keys() {
            group.start_session(turn, id);
        }
        if downgrade.rebalance {
            group.prepare_rebalance(turn);
        }
        Some(group)
    }

    /// The group as if it had just been loaded, and who has what.
    fn tell_downgrade(&self, turn: &mut Turn<'_>) {
        let loaded = ClassicGroupChange::Loaded {
            state: self.state,
            generation: self.generation,
            members: self.identities(),
            topics: self.subscribed_topics.clone(),
        };
        self.note(turn, loaded);
        let parts: BTreeMap<_, _> = self
            .members
            .values()
            .map(|member| (member.id.clone(), member.assignment.clone()))
            .collect();
        let assigned = ClassicGroupChange::Assigned {
            generation: self.generation,
            assignment: parts.into_iter().collect(),
        };
        self.note(turn, assigned);
    }
}
