//! Who is in the group: members come, go, change their ids and are elected.
//!
//! Mirrors the bookkeeping of `ClassicGroup`.

use super::answer::{self, UNKNOWN_MEMBER};
use super::member::{ClassicGroupMember, Waiter};
use super::{ClassicGroup, start, stop};
use crate::bug::Bug;
use crate::coordinator::turn::Turn;
use crate::note::{ClassicGroupChange, MemberRemoved};
use crate::types::{ResponseError, StrBytes};

impl ClassicGroup {
    /// Lets a member in.
    pub(super) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        member: ClassicGroupMember,
        protocol_type: &StrBytes,
    ) {
        self.note(
            turn,
            ClassicGroupChange::Joined {
                member: member.id.clone(),
                instance: member.instance.clone(),
            },
        );
        if let Some(instance) = &member.instance {
            let id = member.id.clone();
            let other = self.static_members.insert(instance.clone(), id);
            assert!(other.is_none(), "{instance} is in group {} twice", self.id);
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.pending_join.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, or an id that was given out. Its session ends; who leads is chosen anew.
    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, id: &StrBytes, why: MemberRemoved) {
        let removed = self.members.remove(id);
        let was_pending = self.pending_join.remove(id);
        self.pending_sync.remove(id);
        if removed.is_none() && !was_pending {
            return;
        }
        if let Some(instance) = removed.and_then(|member| member.instance) {
            self.static_members.remove(&instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        stop(turn, self.session_key(id));
        let member = id.clone();
        self.note(turn, ClassicGroupChange::Removed { member, why });
    }

    /// Takes a member out that may be waiting for the generation: it hears that it is unknown, and
    /// joins anew if it still wants to.
    pub(super) fn expel(&mut self, turn: &mut Turn<'_>, id: &StrBytes, why: MemberRemoved) {
        let member = self.members.get_mut(id);
        let waiter = member.and_then(|member| member.awaiting_join.take());
        if let Some(Waiter(Some(caller))) = waiter {
            answer::join_error(
                turn,
                caller,
                &UNKNOWN_MEMBER,
                ResponseError::UnknownMemberId,
            );
        }
        self.remove(turn, id, why);
    }

    /// Gives a static member another id. Whoever waits with the old one is fenced.
    pub(super) fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &StrBytes,
        old: &StrBytes,
        new: &StrBytes,
    ) {
        let member = self.members.remove(old);
        let mut member = member.expect("an instance is mapped to a member");
        if let Some(Waiter(Some(caller))) = member.awaiting_join.take() {
            answer::join_error(turn, caller, old, ResponseError::FencedInstanceId);
        }
        if let Some(Waiter(Some(caller))) = member.awaiting_sync.take() {
            answer::sync_error(turn, caller, ResponseError::FencedInstanceId);
        }
        member.id = new.clone();
        member.is_new = false;
        member.before = None;
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.static_members.insert(instance.clone(), new.clone());
        stop(turn, self.session_key(old));
        self.start_session(turn, new);
        let change = ClassicGroupChange::Replaced {
            instance: instance.clone(),
            previous: old.clone(),
            member: new.clone(),
        };
        self.note(turn, change);
    }

    /// The member that speaks, if it may speak for that instance (`ClassicGroup.validateMember`).
    pub(super) fn validate_member(
        &self,
        turn: &Turn<'_>,
        id: &StrBytes,
        instance: Option<&StrBytes>,
    ) -> Result<StrBytes, ResponseError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                // Whoever knows the instance is taken for its member.
                Some(existing) if turn.has(Bug::Kip345InstanceNotFenced) => {
                    return Ok(existing.clone());
                }
                Some(existing) if existing != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) {
            Ok(id.clone())
        } else {
            Err(ResponseError::UnknownMemberId)
        }
    }

    /// Sees to it that the leader has joined: it still leads, or somebody who has joined does. False
    /// if nobody has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        let leader = self.members.get(leader).expect("the leader is a member");
        if leader.awaiting_join.is_some() {
            return true;
        }
        let mut members = self.members.values();
        let joined = members.find(|member| member.awaiting_join.is_some());
        let joined = joined.map(|member| member.id.clone());
        let elected = joined.is_some();
        if elected {
            self.leader = joined;
        }
        elected
    }

    /// How many have joined so far.
    pub(super) fn joined(&self) -> usize {
        let members = self.members.values();
        let joined = members.filter(|member| member.awaiting_join.is_some());
        joined.count()
    }

    /// Whether nobody is missing any more.
    pub(super) fn all_joined(&self) -> bool {
        self.joined() == self.members.len() && self.pending_join.is_empty()
    }

    /// How long the group waits for its members: as long as the most patient one asks.
    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        let members = self.members.values();
        let timeouts = members.map(|member| super::millis(member.rebalance_timeout_ms));
        timeouts.max().unwrap_or(0)
    }

    /// A member was heard of.
    pub(super) fn start_session(&self, turn: &mut Turn<'_>, id: &StrBytes) {
        let member = self.members.get(id).expect("members have sessions");
        let timeout_ms = super::millis(member.session_timeout_ms);
        start(turn, self.session_key(id), timeout_ms);
    }

    /// Its members and their instances.
    pub(super) fn identities(&self) -> Vec<(StrBytes, Option<StrBytes>)> {
        let members = self.members.values();
        members
            .map(|member| (member.id.clone(), member.instance.clone()))
            .collect()
    }
}
