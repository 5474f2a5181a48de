//! A static member that comes back takes its old place (KIP-345).
//!
//! Mirrors `GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin`. In a stable group
//! whose assignor stays the same, nobody else hears of it: the new id is written down, and then the
//! member may ask for its part. KIP-814: a leader is told that it leads, and not to assign.

use super::ClassicGroup;
use super::answer::{self, UNKNOWN_MEMBER};
use super::join::Join;
use super::member::{Before, Waiter};
use crate::coordinator::turn::{Caller, Continuation, Turn};
use crate::note::ClassicGroupState;
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// JoinGroup of an instance that is in the group, without a member id.
    pub(super) fn join_static(&mut self, turn: &mut Turn<'_>, join: Join<'_>, new: StrBytes) {
        let instance = join.request.group_instance_id.as_ref();
        let instance = instance.expect("static members have an instance");
        let old = self.static_members.get(instance).cloned();
        let old = old.expect("the instance is in the group");
        let leader = self.leader.clone().unwrap_or_default();
        self.replace(turn, instance, &old, &new);
        let member = self.members.get_mut(&new).expect("it was replaced");
        let before = Before {
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            protocols: std::mem::take(&mut member.protocols),
            leader,
        };
        member.rejoin(&join.caller, join.request);
        match self.state {
            ClassicGroupState::Stable if self.select_protocol() == self.protocol => {
                self.write_replacement(turn, join, before, &old, new);
            }
            ClassicGroupState::Stable => self.prepare_rebalance_or_complete_join(turn),
            // The leader may be assigning to the old id.
            ClassicGroupState::CompletingRebalance => self.prepare_rebalance(turn),
            ClassicGroupState::PreparingRebalance => self.maybe_complete_join(turn),
            ClassicGroupState::Empty | ClassicGroupState::Dead => {
                panic!("group {} is {:?} and has members", self.id, self.state)
            }
        }
    }

    fn write_replacement(
        &mut self,
        turn: &mut Turn<'_>,
        join: Join<'_>,
        before: Before,
        old: &StrBytes,
        new: StrBytes,
    ) {
        self.store(turn, |member| member.assignment.clone());
        let member = self.members.get_mut(&new).expect("it was replaced");
        member.before = Some(Box::new(before));
        turn.decision.then = Some(Continuation::ClassicStaticReplaced {
            group: self.id.clone(),
            member: new,
            previous: old.clone(),
            caller: join.caller,
        });
    }

    /// The replacement is stored: the member may go on. Or it is not: the old id counts again.
    pub(super) fn replacement_written(
        &mut self,
        turn: &mut Turn<'_>,
        id: &StrBytes,
        previous: &StrBytes,
        caller: Caller,
        result: Result<(), ResponseError>,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let Some(before) = member.before.take() else {
            return;
        };
        // It may have joined another generation meanwhile, or have gone.
        let waiter = member.awaiting_join.take_if(|Waiter(own)| match own {
            Some(own) => *own == caller,
            None => true,
        });
        let waits = matches!(waiter, Some(Waiter(Some(_))));
        if let Err(error) = result {
            if waits {
                let response = self.join_response(id).with_members(vec![]);
                let response = response
                    .with_member_id(UNKNOWN_MEMBER)
                    .with_leader(before.leader.clone())
                    .with_error_code(error.code());
                answer::join(turn, caller, response);
            }
            self.revert(turn, id, previous, *before);
            return;
        }
        // Its session may have ended unseen while it waited.
        self.start_session(turn, id);
        if waits && answer::supports_skipping_assignment(&caller) {
            let leads = self.is_leader(id);
            let response = self.join_response(id).with_skip_assignment(leads);
            answer::join(turn, caller, response);
        } else if waits {
            // Older clients take it from the old id that they do not lead, and do not assign.
            let response = self.join_response(id).with_members(vec![]);
            answer::join(turn, caller, response.with_leader(before.leader));
        }
    }

    fn revert(&mut self, turn: &mut Turn<'_>, id: &StrBytes, previous: &StrBytes, before: Before) {
        let member = self.members.get_mut(id).expect("it was replaced");
        let instance = member.instance.clone().expect("it is static");
        member.awaiting_join = None;
        member.rebalance_timeout_ms = before.rebalance_timeout_ms;
        member.session_timeout_ms = before.session_timeout_ms;
        let protocols = std::mem::replace(&mut member.protocols, before.protocols);
        // In the meantime the others may have settled on something that it could not do before.
        if !self.can_go_on() {
            let member = self.members.get_mut(id).expect("it was replaced");
            member.protocols = protocols;
        }
        self.replace(turn, &instance, id, previous);
    }

    /// Whether there is a common assignor, the chosen one if there is a chosen one.
    fn can_go_on(&self) -> bool {
        match self.state {
            ClassicGroupState::Stable | ClassicGroupState::CompletingRebalance => {
                let protocol = self.protocol.as_ref();
                let protocol = protocol.expect("members have a protocol");
                let mut members = self.members.values();
                members.all(|member| member.metadata(protocol).is_some())
            }
            _ => self.select_protocol().is_some(),
        }
    }
}
