//! Membership by the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! Mirrors Kafka's `AbstractCoordinator` and `ConsumerCoordinator`, with static members (KIP-345),
//! member ids before the first generation (KIP-394) and cooperative rebalances (KIP-429). Joining
//! goes on while a poll waits, as in Kafka, where the application's thread does it; heartbeats go on
//! by themselves.
//!
//! ```text
//! poll → prepare (commit, revoke) → JoinGroup → leader: assign → SyncGroup → complete (revoke, assign)
//! ```

mod complete;
mod heartbeat;
mod join;
mod leader;
mod prepare;
mod sync;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{GroupId, LeaveGroupRequest, RequestKind};

use self::heartbeat::Heartbeat;
use self::join::{Failure, Join, Progress};
use self::prepare::Preparing;
use super::assignor::Assignor;
use super::commits::Refusal;
use super::env::Env;
use super::identity::{Identity, Standing};
use super::shared::Shared;
use crate::bug::Bug;
use crate::client::command::{ClientError, GroupMember};
use crate::client::token::Purpose;
use crate::types::{ResponseError, StrBytes, TopicPartition};

/// A member, or somebody who wants to be one.
#[derive(Debug)]
pub(super) struct Classic {
    /// The preferred one first.
    assignors: Vec<Assignor>,
    /// Whether all of them let members keep what they own.
    cooperative: bool,
    state: State,
    generation: Generation,
    rejoin_needed: bool,
    rejoin_reason: &'static str,
    needs_prepare: bool,
    preparing: Option<Preparing>,
    join: Option<Join>,
    /// Joining is not tried again before, monotonic.
    rejoin_ms: u64,
    /// How many requests were sent.
    requests: u64,
    heartbeat: Heartbeat,
    is_leader: bool,
    /// What the last JoinGroup said.
    joined: Option<BTreeSet<StrBytes>>,
    /// As leader: what all members are subscribed to.
    group_topics: BTreeSet<StrBytes>,
    /// As leader: the partition counts that the assignment was made for.
    assigned_for: Option<Counts>,
    /// The last assignment and its generation, for sticky assignors.
    last_assignment: Option<(Vec<TopicPartition>, i32)>,
    /// An asynchronous commit found the member fenced.
    commit_fenced: bool,
    /// The historic bug that is switched on.
    bug: Option<Bug>,
}

/// Partition counts by topic, 0 for unknown ones.
type Counts = BTreeMap<StrBytes, usize>;

/// `AbstractCoordinator.MemberState`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not in the group.
    Unjoined,
    /// JoinGroup is on its way.
    PreparingRebalance,
    /// SyncGroup is on its way.
    CompletingRebalance,
    /// A member with an assignment.
    Stable,
}

/// `AbstractCoordinator.Generation`
#[derive(Clone, PartialEq, Eq, Debug)]
struct Generation {
    id: i32,
    member_id: StrBytes,
    protocol: Option<StrBytes>,
}

impl Generation {
    const NONE: Generation = Generation {
        id: -1,
        member_id: StrBytes::from_static_str(""),
        protocol: None,
    };

    /// Whether the member has lost what it had.
    fn is_lost(&self) -> bool {
        self.id == -1 || self.member_id.is_empty()
    }

    fn member(&self) -> GroupMember {
        GroupMember {
            member_id: self.member_id.clone(),
            generation: self.id,
        }
    }
}

impl Classic {
    /// Not in the group yet.
    pub(super) fn new(assignors: Vec<Assignor>, bug: Option<Bug>) -> Self {
        let cooperative = assignors.iter().all(|assignor| assignor.is_cooperative());
        Classic {
            assignors,
            cooperative,
            state: State::Unjoined,
            generation: Generation::NONE,
            rejoin_needed: true,
            rejoin_reason: "",
            needs_prepare: true,
            preparing: None,
            join: None,
            rejoin_ms: 0,
            requests: 0,
            heartbeat: Heartbeat::default(),
            is_leader: false,
            joined: None,
            group_topics: BTreeSet::new(),
            assigned_for: None,
            last_assignment: None,
            commit_fenced: false,
            bug,
        }
    }

    /// As whom the application's calls are made.
    pub(super) fn member(&self) -> GroupMember {
        self.generation.member()
    }

    /// Whether the member may commit, and as whom (`sendOffsetCommitRequest`).
    pub(super) fn standing(&self, shared: &Shared) -> Standing {
        match self.state {
            State::Stable => Standing::As(Identity {
                member: self.member(),
                instance: shared.config.instance.clone(),
            }),
            State::PreparingRebalance | State::CompletingRebalance => Standing::Rebalancing,
            State::Unjoined => Standing::NotMember,
        }
    }

    /// One turn of a poll that waits (`ConsumerCoordinator.poll`). True if the member is up to
    /// date.
    pub(super) fn poll(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) -> Result<bool, ClientError> {
        self.return_from_listener(env, shared);
        if shared.callbacks.is_outstanding() {
            return Ok(false);
        }
        if self.commit_fenced {
            return Err(ClientError::Broker(ResponseError::FencedInstanceId));
        }
        if let Some(error) = self.heartbeat.take_failure() {
            return Err(error);
        }
        self.heartbeat.on_poll(env.now, &shared.config);
        if !shared.coordinator.is_known() {
            shared.coordinator.look_up(env);
            return Ok(false);
        }
        self.join_if_needed(env, shared)
    }

    fn join_if_needed(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) -> Result<bool, ClientError> {
        while self.is_rejoin_needed_or_pending(env, shared) {
            if !shared.coordinator.is_known() || env.now.mono_ms < self.rejoin_ms {
                return Ok(false);
            }
            if !self.prepare(env, shared) {
                return Ok(false);
            }
            if self.join.is_none() {
                self.send_join(env, shared);
            }
            match self.advance(env, shared) {
                Progress::Waiting => return Ok(false),
                Progress::Joined => {
                    self.join = None;
                    self.needs_prepare = true;
                }
                Progress::Reset => self.join = None,
                Progress::Failed(failure) => {
                    self.join = None;
                    if failure != Failure::MemberIdRequired {
                        self.request_rejoin("rebalance failed");
                    }
                    match failure {
                        Failure::Again | Failure::MemberIdRequired => {}
                        Failure::Retriable => {
                            self.rejoin_ms = env.now.mono_ms + shared.config.retry_backoff_ms;
                        }
                        Failure::Fatal(error) => return Err(error),
                    }
                }
            }
        }
        Ok(true)
    }

    fn is_rejoin_needed_or_pending(&mut self, env: &Env<'_>, shared: &Shared) -> bool {
        if self.join.is_none() && self.preparing.is_none() {
            let known = self.assigned_for.as_ref();
            if known.is_some_and(|known| *known != self.counts(env, shared)) {
                self.request_rejoin_if_necessary("cached metadata has changed");
            }
            let joined = self.joined.as_ref();
            if joined.is_some_and(|joined| *joined != shared.topics) {
                self.request_rejoin_if_necessary("subscription has changed");
            }
        }
        self.rejoin_needed || self.join.is_some() || self.preparing.is_some()
    }

    /// The partition counts of what this member, and as leader the group, is subscribed to.
    fn counts(&self, env: &Env<'_>, shared: &Shared) -> Counts {
        let metadata = &env.cluster.metadata;
        let count = |topic: &StrBytes| {
            let count = metadata
                .topic_id(topic)
                .map_or(0, |id| metadata.partition_count(id));
            (topic.clone(), count)
        };
        let topics = self.group_topics.union(&shared.topics);
        topics.map(count).collect()
    }

    /// Rejoins with the next poll.
    pub(super) fn request_rejoin(&mut self, reason: &'static str) {
        self.rejoin_reason = reason;
        self.rejoin_needed = true;
    }

    fn request_rejoin_if_necessary(&mut self, reason: &'static str) {
        if !self.rejoin_needed {
            self.request_rejoin(reason);
        }
    }

    /// The member lost its generation, and its id too if `forget_id`
    /// (`resetStateAndRejoin`).
    fn reset(&mut self, reason: &'static str, forget_id: bool) {
        self.state = State::Unjoined;
        let member_id = std::mem::take(&mut self.generation.member_id);
        self.generation = Generation::NONE;
        if !forget_id {
            self.generation.member_id = member_id;
        }
        self.request_rejoin(reason);
        self.needs_prepare = true;
    }

    /// The coordinator refused a commit. What the application is told.
    pub(super) fn on_commit_refused(&mut self, refusal: &Refusal) -> ClientError {
        let error = refusal.error;
        let is_current = refusal.sent_as.member == self.member();
        let is_rejoining = self.state == State::PreparingRebalance;
        match error {
            ResponseError::FencedInstanceId => {
                if !is_current && is_rejoining {
                    return ClientError::Rebalancing;
                }
                self.commit_fenced |= !refusal.is_sync;
            }
            ResponseError::RebalanceInProgress => {
                self.request_rejoin("offset commit failed since group is already rebalancing");
            }
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => {
                if !is_current && is_rejoining {
                    return ClientError::Rebalancing;
                }
                let forget_id = error != ResponseError::IllegalGeneration;
                self.reset("offset commit was refused", forget_id);
            }
            _ => {}
        }
        ClientError::Broker(error)
    }

    /// Leaves the group: dynamic members say so (`maybeLeaveGroup`).
    pub(super) fn leave(&mut self, env: &mut Env<'_>, shared: &Shared, reason: &'static str) {
        let is_member = self.state != State::Unjoined && !self.generation.member_id.is_empty();
        let is_dynamic = shared.config.instance.is_none();
        if is_member && is_dynamic && shared.coordinator.is_known() {
            let member = MemberIdentity::default()
                .with_member_id(self.generation.member_id.clone())
                .with_reason(Some(StrBytes::from_static_str(reason)));
            let request = LeaveGroupRequest::default()
                .with_group_id(GroupId(shared.config.group.clone()))
                .with_members(vec![member]);
            let token = Purpose::LeaveGroup.token(self.next_request());
            let request = RequestKind::LeaveGroup(request);
            shared.coordinator.send(env, token, request, None);
        }
        self.reset(reason, true);
    }

    /// The consumer is closed: no more heartbeats.
    pub(super) fn stop_heartbeats(&mut self) {
        self.heartbeat.stop();
    }

    /// Whether the partitions of a member that leaves now are lost, not revoked
    /// (`onLeavePrepare`).
    pub(super) fn has_lost_partitions(&self) -> bool {
        let rebalances = matches!(
            self.state,
            State::PreparingRebalance | State::CompletingRebalance
        );
        self.generation.is_lost() || rebalances
    }

    /// When something is due without an answer, monotonic.
    pub(super) fn next_deadline_ms(
        &self,
        now_ms: u64,
        polls: bool,
        shared: &Shared,
    ) -> Option<u64> {
        let rejoin = (polls && now_ms < self.rejoin_ms).then_some(self.rejoin_ms);
        let prepare = self.preparing.as_ref();
        let prepare = prepare.map(|preparing| preparing.deadline_ms);
        let prepare = prepare.filter(|&deadline_ms| polls && now_ms < deadline_ms);
        let heartbeat = self.heartbeat.next_deadline_ms(polls);
        let heartbeat = heartbeat.filter(|_| shared.coordinator.is_known());
        [rejoin, prepare, heartbeat].into_iter().flatten().min()
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }
}

/// An empty assignment: that of a member which the leader left out.
fn is_missing(assignment: &Bytes) -> bool {
    assignment.len() < 2
}
