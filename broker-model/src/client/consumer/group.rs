//! A consumer as member of its group: the coordinator, the membership, commits, and the calls of
//! the rebalance listener.
//!
//! Two protocols, one interface: a membership takes a turn while a poll waits and one in the
//! background, and says as whom offsets are committed. Everything here asks the coordinator or the
//! application; what is fetched is no business of it.

mod assignor;
mod callbacks;
mod classic;
mod commits;
mod committed;
mod coordinator;
mod env;
mod identity;
mod leaving;
mod membership;
mod modern;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use self::assignor::shares_of_leader;
use self::coordinator::Found;
pub(super) use self::env::Env;
use self::leaving::Leaving;
use self::membership::Membership;
use self::shared::Shared;
use crate::bug::Bug;
use crate::client::command::{CallbackId, ClientError, OffsetAndMetadata, OpId, Subscription};
use crate::client::network::Completion;
use crate::client::token::Purpose;
use crate::config::{ConsumerConfig, GroupProtocol};
use crate::types::{ResponseError, StrBytes, TopicPartition};

/// A consumer's group.
#[derive(Debug)]
pub(super) struct Group {
    shared: Shared,
    protocol: GroupProtocol,
    membership: Membership,
    /// What the poll that waits, or the next one, ends with.
    error: Option<ClientError>,
    /// The application unsubscribes or closes.
    leaving: Option<Leaving>,
}

impl Group {
    /// Of a consumer that has a `group.id`, not in the group yet.
    pub(super) fn new(config: &ConsumerConfig, bug: Option<Bug>) -> Option<Group> {
        let group = config.group_id.as_ref()?;
        let group = StrBytes::from_string(group.clone());
        Some(Group {
            shared: Shared::new(group, config),
            protocol: config.group_protocol,
            membership: Membership::new(config, bug),
            error: None,
            leaving: None,
        })
    }

    /// Whether the consumer is a member, or wants to be.
    pub(super) fn is_subscribed(&self) -> bool {
        self.shared.is_subscribed()
    }

    /// The application subscribes.
    pub(super) fn subscribe(&mut self, env: &mut Env<'_>, to: Subscription) {
        match to {
            Subscription::Topics(topics) => {
                for topic in &topics {
                    env.cluster.metadata.want(topic);
                }
                self.shared.topics = topics.into_iter().collect();
                self.shared.pattern = None;
                env.positions.subscribe(Some(self.shared.topics.clone()));
            }
            Subscription::Pattern(pattern) => {
                // There `KafkaConsumer` throws an UnsupportedOperationException.
                assert!(
                    self.protocol == GroupProtocol::Consumer,
                    "the classic protocol knows no RE2 patterns"
                );
                self.shared.topics.clear();
                self.shared.pattern = Some(pattern);
                env.positions.subscribe(None);
            }
        }
        self.membership.on_subscription_updated();
    }

    /// The application commits.
    pub(super) fn commit(
        &mut self,
        env: &mut Env<'_>,
        op: OpId,
        offsets: Option<Vec<(TopicPartition, OffsetAndMetadata)>>,
        sync: bool,
    ) {
        self.shared.commits.call(env, op, offsets, sync);
    }

    /// The application asks what is committed.
    pub(super) fn committed(
        &mut self,
        env: &mut Env<'_>,
        op: OpId,
        partitions: Vec<TopicPartition>,
    ) {
        self.shared.reads.call(env, op, partitions);
    }

    /// The rebalance listener returned.
    pub(super) fn on_callback_done(&mut self, callback: CallbackId) {
        self.shared.callbacks.on_done(callback);
    }

    /// The application wants a rebalance.
    pub(super) fn enforce_rebalance(&mut self) {
        self.membership.enforce_rebalance();
    }

    /// Ends the calls that wait, but for polls. False if there is none.
    pub(super) fn wake_up(&mut self, env: &mut Env<'_>) -> bool {
        let waits = self.shared.commits.has_waiting_call() || self.shared.reads.has_waiting_call();
        let waits = waits && self.leaving.is_none();
        if waits {
            self.shared.commits.abort_waiting(env, ClientError::Wakeup);
            self.shared.reads.abort_calls(env, ClientError::Wakeup);
        }
        waits
    }

    /// A request of the group's ended.
    pub(super) fn on_completed(&mut self, env: &mut Env<'_>, completion: Completion) {
        self.route(env, completion);
        while let Some(orphan) = self.shared.coordinator.next_orphan() {
            self.route(env, orphan);
        }
    }

    fn route(&mut self, env: &mut Env<'_>, completion: Completion) {
        let shared = &mut self.shared;
        match Purpose::of(completion.token).0 {
            Purpose::FindCoordinator => self.on_lookup(env, completion),
            Purpose::OffsetCommit => self.on_commit_answer(env, completion),
            Purpose::OffsetFetch => {
                let (coordinator, reads) = (&mut shared.coordinator, &mut shared.reads);
                let is_member = self.membership.reader().is_some();
                let read = reads.on_answer(env, completion, coordinator, is_member);
                self.error = read.err().or(self.error);
            }
            Purpose::JoinGroup
            | Purpose::SyncGroup
            | Purpose::Heartbeat
            | Purpose::LeaveGroup
            | Purpose::GroupHeartbeat => self.membership.on_answer(env, shared, completion),
            Purpose::Metadata
            | Purpose::InitProducerId
            | Purpose::Produce
            | Purpose::Fetch
            | Purpose::ListOffsets
            | Purpose::EpochEnds
            | Purpose::CreateTopic
            | Purpose::GroupCall => unreachable!("not sent to a coordinator"),
        }
    }

    fn on_lookup(&mut self, env: &mut Env<'_>, completion: Completion) {
        let shared = &mut self.shared;
        match shared.coordinator.on_answer(env, completion) {
            Found::Yes => self.membership.on_coordinator_found(env, shared),
            // With the consumer protocol commits wait for the coordinator.
            Found::NotYet if self.protocol == GroupProtocol::Consumer => {}
            Found::NotYet => shared.commits.on_lookup_failed(env, NOT_AVAILABLE),
            Found::Never(error) => {
                self.error = Some(error);
                shared.commits.abort_all(env, error);
                shared.reads.abort_calls(env, error);
            }
        }
    }

    fn on_commit_answer(&mut self, env: &mut Env<'_>, completion: Completion) {
        let shared = &mut self.shared;
        let coordinator = &mut shared.coordinator;
        let refused = shared.commits.on_answer(env, completion, coordinator);
        if let Some(refusal) = refused {
            let (error, again) = self.membership.on_commit_refused(shared, &refusal);
            if again {
                shared.commits.refuse_or_retry(env, refusal.id, error);
            } else {
                shared.commits.refuse(env, refusal.id, error);
            }
        }
    }

    /// Does whatever can be done now. `polls`: a poll waits. `asks`: somebody waits for a position.
    pub(super) fn run(&mut self, env: &mut Env<'_>, polls: bool, asks: bool) {
        self.shared.coordinator.check(env);
        // What a commit came to may be what the membership waits for.
        for _ in 0..2 {
            let goes_on = self.error.is_none() && self.leaving.is_none();
            if polls && goes_on && !self.is_calling_back() {
                self.run_poll(env);
            } else if asks && goes_on {
                self.shared.reads.on_poll(env);
            }
            self.membership.run_background(env, &mut self.shared);
            self.run_leaving(env);
            let shared = &mut self.shared;
            let standing = self.membership.standing(shared);
            shared.commits.run(env, &shared.coordinator, &standing);
        }
        let shared = &mut self.shared;
        let reader = self.membership.reader();
        shared.reads.run(env, &shared.coordinator, reader);
        if self.needs_coordinator(polls) {
            self.shared.coordinator.look_up(env);
        }
        while let Some(orphan) = self.shared.coordinator.next_orphan() {
            self.route(env, orphan);
        }
    }

    /// One turn of a poll that waits.
    fn run_poll(&mut self, env: &mut Env<'_>) {
        if self.is_subscribed() {
            match self.membership.poll(env, &mut self.shared) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
        self.shared.commits.on_poll(env);
        self.shared.reads.on_poll(env);
    }

    /// Whether the rebalance listener has not returned yet.
    pub(super) fn is_calling_back(&self) -> bool {
        self.shared.callbacks.is_outstanding()
    }

    /// Whether a poll that waits returns nothing before its time is up, because in Kafka its
    /// thread waits for the coordinator.
    pub(super) fn blocks_polls(&self) -> bool {
        self.membership.blocks_polls(&self.shared)
    }

    /// What the poll that waits ends with, once.
    pub(super) fn take_error(&mut self) -> Option<ClientError> {
        self.error.take()
    }

    fn needs_coordinator(&self, polls: bool) -> bool {
        let shared = &self.shared;
        let is_asked = shared.commits.need_coordinator() || shared.reads.need_coordinator();
        is_asked || self.membership.needs_coordinator(shared, polls)
    }

    /// When something is due without an answer, monotonic.
    pub(super) fn next_deadline_ms(&self, now_ms: u64, polls: bool) -> Option<u64> {
        let shared = &self.shared;
        let polls = polls && !self.is_calling_back();
        let lookup = shared.coordinator.next_deadline_ms();
        let auto = shared.commits.next_auto_ms();
        let deadlines = [
            lookup.filter(|_| self.needs_coordinator(polls)),
            self.membership.next_deadline_ms(now_ms, polls, shared),
            auto.filter(|&auto_ms| polls && now_ms < auto_ms),
            shared.commits.next_deadline_ms(now_ms),
            shared.reads.next_deadline_ms(now_ms),
            self.leaving.as_ref().and_then(Leaving::next_deadline_ms),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Ends every call of the application.
    fn abort(&mut self, env: &mut Env<'_>, error: ClientError) {
        self.shared.commits.abort_all(env, error);
        self.shared.reads.abort_calls(env, error);
    }
}

/// How a commit ends whose coordinator is not found.
const NOT_AVAILABLE: ClientError = ClientError::Broker(ResponseError::CoordinatorNotAvailable);
