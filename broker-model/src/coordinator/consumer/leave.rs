//! Members that leave or are thrown out, and the timers that throw them out.
//!
//! Mirrors `consumerGroupLeave`, `consumerGroupFenceMembers`, `onLoaded` and the bodies of the timers
//! of `GroupMetadataManager`. KIP-848.

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::super::record::Record;
use super::super::turn::{TimerKey, Turn};
use super::group::ConsumerGroup;
use super::heartbeat::{Decided, start_session};
use super::member::{LEAVE_STATIC, Member, MemberState};
use super::subscription::Subscriptions;
use super::timers::{Overdue, Timers, rebalance_key};
use crate::note::MemberRemoved;
use crate::types::{ResponseError, StrBytes};

impl ConsumerGroup {
    /// A member says that it leaves.
    pub(super) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Decided {
        let id = &request.member_id;
        let answer = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(id.clone()))
            .with_member_epoch(request.member_epoch);
        match &request.instance_id {
            None => {
                let known = self.members.contains_key(id);
                known.then_some(()).ok_or(ResponseError::UnknownMemberId)?;
            }
            Some(instance) => {
                let mut member = self.own_static_member(instance, id)?.clone();
                if request.member_epoch == LEAVE_STATIC {
                    // It will be back within its session, and keeps what it has until then.
                    member.epoch = LEAVE_STATIC;
                    member.pending_revocation.clear();
                    let record = member.assignment_record(&self.id);
                    turn.decision.records.push(record);
                    return Ok(answer);
                }
            }
        }
        self.fence(turn, std::slice::from_ref(id), MemberRemoved::Left);
        Ok(answer)
    }

    /// Throws members out, and raises the epoch: others get what they had. If only members of the
    /// classic protocol are left, the group may become theirs.
    pub(super) fn fence(&mut self, turn: &mut Turn<'_>, gone: &[StrBytes], why: MemberRemoved) {
        if gone.is_empty() {
            return;
        }
        for id in gone {
            self.note_removed(turn, id, why);
        }
        if self.may_downgrade_without(turn.config, gone)
            && self.downgrade(turn, gone, None, true).is_ok()
        {
            return;
        }
        for id in gone {
            turn.decision.records.extend(self.removal(id));
        }
        let stays = |member: &&Member| !gone.contains(&member.id);
        let staying = || self.members.values().filter(stays);
        let still_wanted = |regex| staying().any(|member| member.regex() == Some(regex));
        for regex in self.regexes_of(gone) {
            if !still_wanted(regex) {
                turn.decision.records.push(Record::ConsumerGroupRegex {
                    group: self.id.clone(),
                    regex: regex.clone(),
                    value: None,
                });
            }
        }
        let hash = Subscriptions::of(staying(), &self.regexes).hash(turn.image);
        let record = self.epoch_record(self.epoch + 1, hash);
        turn.decision.records.push(record);
        for id in gone {
            Timers::cancel(turn, &self.id, id);
        }
    }

    fn regexes_of(&self, members: &[StrBytes]) -> std::collections::BTreeSet<&StrBytes> {
        let members = members.iter().filter_map(|id| self.members.get(id));
        members.filter_map(Member::regex).collect()
    }

    /// The tombstones of a member, in the order in which they have to come.
    pub(super) fn removal(&self, member: &StrBytes) -> [Record; 3] {
        let (group, member) = (self.id.clone(), member.clone());
        [
            Record::ConsumerGroupCurrent {
                group: group.clone(),
                member: member.clone(),
                value: None,
            },
            Record::ConsumerGroupTarget {
                group: group.clone(),
                member: member.clone(),
                value: None,
            },
            Record::ConsumerGroupMember {
                group,
                member,
                value: None,
            },
        ]
    }

    /// One of its timers fired.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, key: &TimerKey) {
        self.begin(turn);
        match key {
            TimerKey::Session { member, .. } => {
                self.expire(turn, member, MemberRemoved::SessionExpired);
            }
            TimerKey::Rebalance { member, .. } => match self.overdue(turn, key, member) {
                Overdue::Revocation => self.expire(turn, member, MemberRemoved::RevocationExpired),
                Overdue::Join => self.expire(turn, member, MemberRemoved::JoinExpired),
                Overdue::Sync => self.expire(turn, member, MemberRemoved::SyncExpired),
                Overdue::Nothing => {}
            },
            TimerKey::Regex { .. } => self.resolve_regexes(turn),
            TimerKey::Join { .. } | TimerKey::Sync { .. } | TimerKey::Cleanup => {}
        }
        self.note_records(turn);
    }

    fn overdue(&mut self, turn: &mut Turn<'_>, key: &TimerKey, member: &StrBytes) -> Overdue {
        let epoch = self.members.get(member).map(|member| member.epoch);
        self.soft.timers.fired(turn, key.clone(), epoch)
    }

    fn expire(&mut self, turn: &mut Turn<'_>, member: &StrBytes, why: MemberRemoved) {
        if self.members.contains_key(member) {
            self.fence(turn, std::slice::from_ref(member), why);
        }
    }

    /// The shard has read its log: members have a whole session to say that they are there.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        self.begin(turn);
        self.note_loaded(turn);
        let session_ms = turn.config.group_consumer_session_timeout_ms;
        for member in self.members.values() {
            start_session(turn, &self.id, &member.id, session_ms);
            if member.state == MemberState::UnrevokedPartitions {
                let key = rebalance_key(&self.id, &member.id);
                let timeout_ms = member.rebalance_timeout_ms;
                let timers = &mut self.soft.timers;
                timers.revoke_within(turn, key, member.epoch, timeout_ms);
            }
        }
    }

    /// The broker no longer leads. Nobody waits here, so there is nobody to tell.
    pub(crate) fn on_unloaded(&mut self, _turn: &mut Turn<'_>) {}
}
