//! A membership by either protocol (`group.protocol`).

use super::assignor::assignors_of;
use super::classic::Classic;
use super::commits::Refusal;
use super::env::Env;
use super::identity::{Identity, Standing};
use super::modern::Modern;
use super::shared::Shared;
use crate::bug::Bug;
use crate::client::command::{ClientError, GroupMember};
use crate::client::network::Completion;
use crate::client::token::Purpose;
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::types::ResponseError;

/// Which protocol, and how far.
#[derive(Debug)]
pub(super) enum Membership {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic(Box<Classic>),
    /// ConsumerGroupHeartbeat.
    Modern(Box<Modern>),
}

impl Membership {
    /// In no group yet.
    pub(super) fn new(config: &ConsumerConfig, bug: Option<Bug>) -> Self {
        match config.group_protocol {
            GroupProtocol::Classic => {
                let assignors = assignors_of(&config.partition_assignment_strategy);
                Membership::Classic(Box::new(Classic::new(assignors, bug)))
            }
            GroupProtocol::Consumer => Membership::Modern(Box::new(Modern::new())),
        }
    }

    /// The application changed what it wants.
    pub(super) fn on_subscription_updated(&mut self) {
        match self {
            Membership::Classic(_) => {}
            Membership::Modern(modern) => modern.on_subscription_updated(),
        }
    }

    /// The application wants a rebalance. The consumer protocol has nothing for that.
    pub(super) fn enforce_rebalance(&mut self) {
        match self {
            Membership::Classic(classic) => classic.request_rejoin("rebalance enforced by user"),
            Membership::Modern(_) => {}
        }
    }

    /// One turn of a poll that waits. True if positions may be committed and looked up.
    pub(super) fn poll(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) -> Result<bool, ClientError> {
        match self {
            Membership::Classic(classic) => classic.poll(env, shared),
            Membership::Modern(modern) => modern.poll(env, shared),
        }
    }

    /// Does what is due, whether or not a poll waits.
    pub(super) fn run_background(&mut self, env: &mut Env<'_>, shared: &mut Shared) {
        match self {
            Membership::Classic(classic) => classic.run_heartbeat(env, shared),
            Membership::Modern(modern) => modern.run_background(env, shared),
        }
    }

    /// One of its requests ended.
    pub(super) fn on_answer(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        completion: Completion,
    ) {
        let purpose = Purpose::of(completion.token).0;
        match (self, purpose) {
            (Membership::Classic(classic), Purpose::JoinGroup) => {
                classic.on_join_answer(completion);
            }
            (Membership::Classic(classic), Purpose::SyncGroup) => {
                classic.on_sync_answer(env, shared, completion);
            }
            (Membership::Classic(classic), Purpose::Heartbeat) => {
                classic.on_heartbeat_answer(env, shared, completion);
            }
            (Membership::Modern(modern), Purpose::GroupHeartbeat) => {
                modern.on_heartbeat_answer(env, shared, completion);
            }
            (Membership::Classic(_), Purpose::LeaveGroup) => {
                if completion.result.is_err() {
                    shared.coordinator.on_disconnect(completion.channel);
                }
            }
            (_, other) => unreachable!("the membership sent no {other:?}"),
        }
    }

    /// The coordinator was found.
    pub(super) fn on_coordinator_found(&mut self, env: &Env<'_>, shared: &Shared) {
        match self {
            Membership::Classic(classic) => {
                classic.on_coordinator_found(env.now, &shared.config);
            }
            Membership::Modern(_) => {}
        }
    }

    /// Whether the coordinator is needed, `polls` telling whether a poll waits.
    pub(super) fn needs_coordinator(&self, shared: &Shared, polls: bool) -> bool {
        match self {
            Membership::Classic(classic) => {
                shared.is_subscribed() && (polls || classic.sends_heartbeats())
            }
            Membership::Modern(_) => true,
        }
    }

    /// Whether a poll that waits returns nothing before the coordinator is known.
    pub(super) fn blocks_polls(&self, shared: &Shared) -> bool {
        match self {
            Membership::Classic(_) => {
                let is_lost = shared.is_subscribed() && !shared.coordinator.is_known();
                is_lost || shared.reads.is_asked_for_positions()
            }
            Membership::Modern(_) => false,
        }
    }

    /// Whether the consumer may commit, and as whom.
    pub(super) fn standing(&self, shared: &Shared) -> Standing {
        match self {
            Membership::Classic(classic) if shared.is_subscribed() => classic.standing(shared),
            Membership::Classic(_) => Standing::As(Identity {
                member: GroupMember::NONE,
                instance: None,
            }),
            Membership::Modern(modern) => Standing::As(modern.identity(shared)),
        }
    }

    /// As whom committed offsets are asked for, if as anybody.
    pub(super) fn reader(&self) -> Option<&GroupMember> {
        match self {
            Membership::Classic(_) => None,
            Membership::Modern(modern) => modern.member_in_epoch(),
        }
    }

    /// The coordinator refused a commit: what the application is told, and whether a commit that
    /// waits for a rebalance may be tried again.
    pub(super) fn on_commit_refused(
        &mut self,
        shared: &Shared,
        refusal: &Refusal,
    ) -> (ClientError, bool) {
        let told = ClientError::Broker(refusal.error);
        match self {
            Membership::Classic(classic) if shared.is_subscribed() => {
                (classic.on_commit_refused(refusal), false)
            }
            Membership::Classic(_) => (told, false),
            Membership::Modern(modern) => {
                let is_stale = refusal.error == ResponseError::StaleMemberEpoch;
                (told, is_stale && modern.member_in_epoch().is_some())
            }
        }
    }

    /// As whom the listener is called for what is given up.
    pub(super) fn member(&self, shared: &Shared) -> GroupMember {
        match self {
            Membership::Classic(classic) => classic.member(),
            Membership::Modern(modern) => modern.identity(shared).member,
        }
    }

    /// The application leaves. True once nothing that came before is to be told.
    pub(super) fn prepare_leaving(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        closes: bool,
    ) -> bool {
        match self {
            Membership::Classic(classic) => {
                if closes {
                    classic.stop_heartbeats();
                }
                true
            }
            Membership::Modern(modern) => closes || modern.prepare_unsubscribing(env, shared),
        }
    }

    /// Whether what the member has is lost, not revoked, when it leaves now.
    pub(super) fn has_lost_partitions(&self) -> bool {
        match self {
            Membership::Classic(classic) => classic.has_lost_partitions(),
            Membership::Modern(modern) => modern.has_lost_partitions(),
        }
    }

    /// Leaves the group.
    pub(super) fn leave(&mut self, env: &mut Env<'_>, shared: &Shared, reason: &'static str) {
        match self {
            Membership::Classic(classic) => classic.leave(env, shared, reason),
            Membership::Modern(modern) => modern.leave(env, shared),
        }
    }

    /// Whether there is no answer to wait for.
    pub(super) fn has_left(&self) -> bool {
        match self {
            Membership::Classic(_) => true,
            Membership::Modern(modern) => modern.has_left(),
        }
    }

    /// When something is due without an answer, monotonic.
    pub(super) fn next_deadline_ms(
        &self,
        now_ms: u64,
        polls: bool,
        shared: &Shared,
    ) -> Option<u64> {
        match self {
            Membership::Classic(classic) => classic
                .next_deadline_ms(now_ms, polls, shared)
                .filter(|_| shared.is_subscribed()),
            Membership::Modern(modern) => modern.next_deadline_ms(polls, shared),
        }
    }
}
