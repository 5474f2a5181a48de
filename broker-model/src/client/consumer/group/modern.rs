//! Membership by the consumer protocol (KIP-848): the coordinator assigns, the member follows.
//!
//! Mirrors Kafka's `AbstractMembershipManager`, `ConsumerMembershipManager` and
//! `ConsumerHeartbeatRequestManager`. One request does everything: ConsumerGroupHeartbeat joins,
//! reports what the member owns, brings what it should own, and leaves. What has to be given up is
//! committed and revoked before anything new is taken. The listener is called while a poll waits.

mod heartbeat;
mod reconcile;

use std::collections::{BTreeMap, BTreeSet};

use self::heartbeat::{Heartbeat, Sent};
use self::reconcile::{Call, Local, Reconciliation};
use super::env::Env;
use super::identity::Identity;
use super::shared::Shared;
use crate::client::command::{ClientError, GroupMember, RebalanceCallback};
use crate::ids::IdSource;
use crate::types::{StrBytes, TopicPartition, Uuid};

/// A member, or somebody who wants to be one.
#[derive(Debug)]
pub(super) struct Modern {
    /// Drawn with the first heartbeat; a process keeps it.
    member_id: Option<StrBytes>,
    /// 0 to join, -1 or -2 to leave.
    epoch: i32,
    state: State,
    /// Whether a commit names the member, and its epoch then.
    known_as: GroupMember,
    current: Local,
    target: Local,
    /// Names of topics that the target has.
    names: BTreeMap<Uuid, StrBytes>,
    reconciliation: Option<Reconciliation>,
    /// The listener is called for what is lost; then the assignment is empty.
    releasing: Option<Call>,
    subscription_updated: bool,
    /// The application did not poll in time and has not polled since.
    poll_expired: bool,
    rejoins_when_released: bool,
    heartbeat: Heartbeat,
    sent: Sent,
    /// What the next poll ends with.
    failure: Option<ClientError>,
    /// A leave that was sent is unanswered.
    leave_unanswered: bool,
}

/// `MemberState`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In no group.
    Unsubscribed,
    /// The next heartbeat joins.
    Joining,
    /// The target is not what the member owns.
    Reconciling,
    /// The next heartbeat says what the member owns.
    Acknowledging,
    /// The member owns its target.
    Stable,
    /// The coordinator fenced the member; its partitions are being released.
    Fenced,
    /// The listener hears that the member leaves.
    PrepareLeaving,
    /// The next heartbeat leaves.
    Leaving,
    /// Something that does not pass.
    Fatal,
    /// It left because the application does not poll.
    Stale,
}

impl State {
    /// `MemberState.getPreviousValidStates`
    fn may_become(self, next: State) -> bool {
        let is_active = matches!(
            self,
            State::Joining | State::Stable | State::Reconciling | State::Acknowledging
        );
        let is_leaving = matches!(self, State::PrepareLeaving | State::Leaving);
        match next {
            State::Unsubscribed => is_leaving || self == State::Fenced,
            State::Joining => matches!(self, State::Fenced | State::Unsubscribed | State::Stale),
            State::Reconciling => is_active,
            State::Acknowledging => self == State::Reconciling,
            State::Stable => is_active && self != State::Stable,
            State::Fenced => is_active || is_leaving,
            State::PrepareLeaving => is_active || self == State::Unsubscribed,
            State::Leaving => self == State::PrepareLeaving,
            State::Fatal => is_active || is_leaving || self == State::Unsubscribed,
            State::Stale => self == State::Leaving,
        }
    }
}

impl Modern {
    /// In no group.
    pub(super) fn new() -> Self {
        Modern {
            member_id: None,
            epoch: 0,
            state: State::Unsubscribed,
            known_as: GroupMember::NONE,
            current: Local::NONE,
            target: Local::NONE,
            names: BTreeMap::new(),
            reconciliation: None,
            releasing: None,
            subscription_updated: false,
            poll_expired: false,
            rejoins_when_released: false,
            heartbeat: Heartbeat::default(),
            sent: Sent::default(),
            failure: None,
            leave_unanswered: false,
        }
    }

    fn transition_to(&mut self, next: State) {
        assert!(
            self.state == next || self.state.may_become(next),
            "a member went from {:?} to {next:?}",
            self.state
        );
        self.state = next;
    }

    /// As whom commits and questions are made.
    pub(super) fn identity(&self, shared: &Shared) -> Identity {
        Identity {
            member: self.known_as.clone(),
            instance: shared.config.instance.clone(),
        }
    }

    /// The member, if it is one.
    pub(super) fn member_in_epoch(&self) -> Option<&GroupMember> {
        (self.known_as.generation > 0).then_some(&self.known_as)
    }

    fn member_id(&mut self, ids: &mut IdSource) -> StrBytes {
        let id = self
            .member_id
            .get_or_insert_with(|| StrBytes::from_string(base64_of(ids.next_uuid())));
        id.clone()
    }

    fn set_epoch(&mut self, epoch: i32) {
        if self.epoch == epoch {
            return;
        }
        self.epoch = epoch;
        self.known_as = GroupMember {
            member_id: self.member_id.clone().unwrap_or_default(),
            generation: if epoch > 0 { epoch } else { -1 },
        };
    }

    /// The application changed what it wants.
    pub(super) fn on_subscription_updated(&mut self) {
        self.subscription_updated = true;
    }

    /// One turn of a poll that waits (`AsyncPollEvent`, `processBackgroundEvents`).
    pub(super) fn poll(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
    ) -> Result<bool, ClientError> {
        self.reconcile(env, shared, true);
        if self.subscription_updated && self.state == State::Unsubscribed {
            self.join();
        }
        self.subscription_updated = false;
        if self.heartbeat.on_poll(env.now, &shared.config) {
            self.poll_expired = false;
            self.rejoins_when_released = self.state == State::Stale;
        }
        self.run_calls(env, shared);
        if !shared.callbacks.is_outstanding()
            && let Some(error) = self.failure.take()
        {
            return Err(error);
        }
        Ok(true)
    }

    /// `transitionToJoining`
    fn join(&mut self) {
        if self.state == State::Fatal {
            return;
        }
        if let Some(reconciliation) = &mut self.reconciliation {
            reconciliation.outlived = true;
        }
        self.set_epoch(0);
        self.transition_to(State::Joining);
        self.target = Local::NONE;
        self.names.clear();
    }

    /// The coordinator does not know the member any more, or not in its epoch
    /// (`transitionToFenced`).
    fn fence(&mut self, env: &mut Env<'_>) {
        match self.state {
            State::PrepareLeaving => {
                self.begin_leaving(false);
                self.transition_to(State::Unsubscribed);
                self.leave_unanswered = false;
            }
            State::Leaving => {
                self.transition_to(State::Unsubscribed);
                self.leave_unanswered = false;
            }
            // An older heartbeat is answered: the member is on its way out or back already.
            State::Unsubscribed | State::Fenced | State::Stale | State::Fatal => {}
            State::Joining | State::Reconciling | State::Acknowledging | State::Stable => {
                self.transition_to(State::Fenced);
                self.set_epoch(0);
                self.release(env);
            }
        }
    }

    /// Nothing can be done about that (`transitionToFatal`).
    fn fail(&mut self, env: &mut Env<'_>, error: ClientError) {
        self.failure = Some(error);
        if matches!(self.state, State::Fenced | State::Stale) {
            return;
        }
        let was = self.state;
        self.transition_to(State::Fatal);
        self.known_as.generation = -1;
        self.leave_unanswered = false;
        let has_left = matches!(
            was,
            State::Unsubscribed | State::Leaving | State::PrepareLeaving
        );
        if !has_left {
            self.release(env);
        }
    }

    /// The listener will hear that everything is lost.
    fn release(&mut self, env: &Env<'_>) {
        let lost = env.positions.names();
        self.releasing = Some(Call::of(RebalanceCallback::Lost, lost));
    }

    /// It has heard it.
    fn on_released(&mut self, env: &mut Env<'_>) {
        self.clear_assignment(env);
        match self.state {
            State::Fenced => self.join(),
            State::Stale if self.rejoins_when_released => {
                self.rejoins_when_released = false;
                self.join();
            }
            _ => {}
        }
    }

    fn clear_assignment(&mut self, env: &mut Env<'_>) {
        let nothing = BTreeSet::new();
        let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
        env.positions
            .assign_from_group(&nothing, &nothing, metadata, effects);
        self.current = Local::NONE;
        self.target = Local::NONE;
        self.names.clear();
    }

    /// Calls the listener for what waits for it, one after the other, and goes on with what
    /// waited.
    fn run_calls(&mut self, env: &mut Env<'_>, shared: &mut Shared) {
        self.go_on_reconciling(env, shared);
        if self
            .reconciliation
            .as_ref()
            .is_some_and(Reconciliation::is_calling)
        {
            return;
        }
        if let Some(call) = &mut self.releasing
            && call.run(env, shared, &self.known_as)
        {
            self.releasing = None;
            self.on_released(env);
        }
        if self.state == State::Stale && self.releasing.is_none() && self.rejoins_when_released {
            self.rejoins_when_released = false;
            self.join();
        }
    }

    /// The application unsubscribes: true once the listener was called for everything that came
    /// before.
    pub(super) fn prepare_unsubscribing(&mut self, env: &mut Env<'_>, shared: &mut Shared) -> bool {
        if !self.is_not_in_group() && self.state != State::Leaving {
            self.transition_to(State::PrepareLeaving);
        }
        self.run_calls(env, shared);
        let is_calling = |one: &Reconciliation| one.is_calling();
        !self.reconciliation.as_ref().is_some_and(is_calling) && self.releasing.is_none()
    }

    /// Whether what the member has is lost, not revoked, when it leaves now.
    pub(super) fn has_lost_partitions(&self) -> bool {
        self.epoch <= 0
    }

    fn is_not_in_group(&self) -> bool {
        matches!(
            self.state,
            State::Unsubscribed | State::Fenced | State::Fatal | State::Stale
        )
    }

    /// Leaves the group; the listener was called (`leaveGroup`).
    pub(super) fn leave(&mut self, env: &mut Env<'_>, shared: &Shared) {
        self.reconciliation = None;
        self.releasing = None;
        self.failure = None;
        self.clear_assignment(env);
        if self.is_not_in_group() {
            if matches!(self.state, State::Fenced) {
                self.transition_to(State::Unsubscribed);
            }
            return;
        }
        if self.state != State::PrepareLeaving {
            self.transition_to(State::PrepareLeaving);
        }
        self.leave_unanswered = true;
        self.begin_leaving(shared.config.instance.is_some());
    }

    /// The next heartbeat says that the member leaves (`transitionToSendingLeaveGroup`).
    fn begin_leaving(&mut self, is_static: bool) {
        let epoch = if is_static {
            LEAVE_STATIC_EPOCH
        } else {
            LEAVE_EPOCH
        };
        self.set_epoch(epoch);
        self.current = Local::NONE;
        self.transition_to(State::Leaving);
    }

    /// Whether the coordinator has heard that the member leaves, or will not hear it.
    pub(super) fn has_left(&self) -> bool {
        !self.leave_unanswered
    }
}

/// Partitions by name of what a member has by id.
fn named(
    names: &BTreeMap<Uuid, StrBytes>,
    topics: &BTreeMap<Uuid, BTreeSet<i32>>,
) -> BTreeSet<TopicPartition> {
    let named = topics.iter().flat_map(|(id, indexes)| {
        let topic = names[id].clone();
        indexes.iter().map(move |&partition| TopicPartition {
            topic: topic.clone(),
            partition,
        })
    });
    named.collect()
}

/// As Kafka's `Uuid.toString` writes it: base64 for URLs, without padding.
fn base64_of(id: Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    let digit = |shift: u32| {
        let six = usize::try_from((bits >> shift) & 63).expect("six bits fit");
        char::from(DIGITS[six])
    };
    let mut text: String = (0..21).map(|at| digit(122 - 6 * at)).collect();
    let last = usize::try_from((bits & 3) << 4).expect("six bits fit");
    text.push(char::from(DIGITS[last]));
    text
}

/// `ConsumerGroupHeartbeatRequest.LEAVE_GROUP_MEMBER_EPOCH`
const LEAVE_EPOCH: i32 = -1;

/// `ConsumerGroupHeartbeatRequest.LEAVE_GROUP_STATIC_MEMBER_EPOCH`
const LEAVE_STATIC_EPOCH: i32 = -2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_writes_them() {
        let id = Uuid::from_u128(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF);
        assert_eq!(base64_of(id), "ABEiM0RVZneImaq7zN3u_w");
    }
}
