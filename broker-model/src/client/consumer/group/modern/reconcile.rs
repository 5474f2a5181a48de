//! From what a member owns to what it should own: commit, revoke, assign, acknowledge
//! (`maybeReconcile`).

use std::collections::{BTreeMap, BTreeSet};

use super::{Modern, State, named};
use crate::client::command::{GroupMember, RebalanceCallback};
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::types::{TopicPartition, Uuid};

/// An assignment, and how many there were before (`LocalAssignment`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Local {
    epoch: i64,
    /// Indexes by topic.
    pub(super) topics: BTreeMap<Uuid, BTreeSet<i32>>,
}

impl Local {
    /// There was none yet.
    pub(super) const NONE: Local = Local {
        epoch: -1,
        topics: BTreeMap::new(),
    };

    fn is_none(&self) -> bool {
        self.epoch == -1
    }

    /// The next one, if it differs.
    fn update(&mut self, topics: BTreeMap<Uuid, BTreeSet<i32>>) {
        if self.is_none() || self.topics != topics {
            self.epoch += 1;
            self.topics = topics;
        }
    }
}

/// A reconciliation under way.
#[derive(Debug)]
pub(super) struct Reconciliation {
    resolved: Local,
    assigned: BTreeSet<TopicPartition>,
    revoked: BTreeSet<TopicPartition>,
    stage: Stage,
    /// The member has joined anew meanwhile.
    pub(super) outlived: bool,
}

#[derive(Debug)]
enum Stage {
    /// The positions are being committed, if there is anything to commit.
    Committing(Option<u64>),
    /// The listener is called for what is given up.
    Revoking(Call),
    /// The listener is called for what is new.
    Announcing(Call),
}

impl Reconciliation {
    /// Whether the listener is called, or about to be.
    pub(super) fn is_calling(&self) -> bool {
        match self.stage {
            Stage::Committing(_) => false,
            Stage::Revoking(_) | Stage::Announcing(_) => true,
        }
    }
}

/// A call of the listener that waits for a poll.
#[derive(Debug)]
pub(super) struct Call {
    what: RebalanceCallback,
    partitions: BTreeSet<TopicPartition>,
    called: bool,
}

impl Call {
    /// Not called yet.
    pub(super) fn of(what: RebalanceCallback, partitions: BTreeSet<TopicPartition>) -> Self {
        Call {
            what,
            partitions,
            called: false,
        }
    }

    /// Calls the listener, unless there is nothing to tell. True once it has returned.
    pub(super) fn run(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        member: &GroupMember,
    ) -> bool {
        if shared.callbacks.is_outstanding() {
            return false;
        }
        let is_needless = self.partitions.is_empty() && self.what != RebalanceCallback::Assigned;
        if self.called || is_needless {
            return true;
        }
        self.called = true;
        let (what, member) = (self.what, member.clone());
        shared.callbacks.call(env, what, &self.partitions, member);
        false
    }
}

impl Modern {
    /// The coordinator says what the member should own (`processAssignmentReceived`).
    pub(super) fn on_assignment(&mut self, topics: BTreeMap<Uuid, BTreeSet<i32>>) {
        self.target.update(topics);
        if self.current != self.target {
            self.transition_to(State::Reconciling);
        } else if matches!(self.state, State::Reconciling | State::Joining) {
            self.transition_to(State::Stable);
        }
    }

    /// Whether the member owns its target.
    pub(super) fn is_reconciled(&self) -> bool {
        self.current == self.target
    }

    /// Begins to reconcile, if there is something to reconcile. Positions can be committed only
    /// while the application polls.
    pub(super) fn reconcile(&mut self, env: &mut Env<'_>, shared: &mut Shared, polls: bool) {
        let is_due = self.state == State::Reconciling && !self.is_reconciled();
        if !is_due || self.reconciliation.is_some() {
            return;
        }
        let resolved = self.resolve(env);
        if !self.current.is_none() && resolved.topics == self.current.topics {
            self.current = resolved;
            return self.transition_to(State::Acknowledging);
        }
        if shared.commits.is_auto() && !polls {
            return;
        }
        let assigned = named(&self.names, &resolved.topics);
        let owned = env.positions.names();
        let revoked: BTreeSet<_> = owned.difference(&assigned).cloned().collect();
        env.positions.mark_revoking(&revoked);
        let deadline_ms = env.now.mono_ms + shared.config.max_poll_interval_ms;
        let commit = shared.commits.commit_before_rebalance(env, deadline_ms);
        self.reconciliation = Some(Reconciliation {
            resolved,
            assigned,
            revoked,
            stage: Stage::Committing(commit),
            outlived: false,
        });
    }

    /// The part of the target whose topics are known by name; asks for the others.
    fn resolve(&mut self, env: &mut Env<'_>) -> Local {
        let metadata = &mut env.cluster.metadata;
        let mut resolved = self.target.clone();
        resolved.topics.retain(|&id, _| {
            if let Some(name) = metadata.topic_name(id) {
                self.names.insert(id, name.clone());
            }
            let is_known = self.names.contains_key(&id);
            if !is_known {
                metadata.want_id(id);
            }
            is_known
        });
        resolved
    }

    /// Looks whether the commit has ended, while no poll waits: the listener is called later.
    pub(super) fn go_on_committing(&mut self, shared: &mut Shared) {
        let is_aborted = self.state != State::Reconciling;
        let Some(reconciliation) = &mut self.reconciliation else {
            return;
        };
        let Stage::Committing(commit) = reconciliation.stage else {
            return;
        };
        if commit.is_some_and(|id| shared.commits.take_ended(id).is_none()) {
            return;
        }
        if is_aborted || reconciliation.outlived {
            self.reconciliation = None;
        } else {
            reconciliation.stage = Stage::Committing(None);
        }
    }

    /// Goes on as far as the commit and the listener allow.
    pub(super) fn go_on_reconciling(&mut self, env: &mut Env<'_>, shared: &mut Shared) {
        while let Some(mut reconciliation) = self.reconciliation.take() {
            let is_aborted = self.state != State::Reconciling || reconciliation.outlived;
            let next = match &mut reconciliation.stage {
                Stage::Committing(commit) => {
                    let ended = commit.is_none_or(|id| shared.commits.take_ended(id).is_some());
                    if !ended {
                        self.reconciliation = Some(reconciliation);
                        return;
                    }
                    if is_aborted {
                        return;
                    }
                    self.begin_revoking(env, &reconciliation.revoked)
                }
                Stage::Revoking(call) => {
                    if !call.run(env, shared, &self.known_as) {
                        self.reconciliation = Some(reconciliation);
                        return;
                    }
                    if is_aborted {
                        return;
                    }
                    self.begin_assigning(env, &reconciliation.assigned)
                }
                Stage::Announcing(call) => {
                    if !call.run(env, shared, &self.known_as) {
                        self.reconciliation = Some(reconciliation);
                        return;
                    }
                    env.positions.mark_announced();
                    if !is_aborted {
                        self.current = reconciliation.resolved;
                        shared.commits.restart_timer(env.now.mono_ms);
                        self.transition_to(State::Acknowledging);
                    }
                    return;
                }
            };
            reconciliation.stage = next;
            self.reconciliation = Some(reconciliation);
        }
    }

    fn begin_revoking(&self, env: &mut Env<'_>, revoked: &BTreeSet<TopicPartition>) -> Stage {
        let owned = env.positions.names();
        let revoked = revoked.intersection(&owned).cloned().collect();
        env.positions.mark_revoking(&revoked);
        Stage::Revoking(Call::of(RebalanceCallback::Revoked, revoked))
    }

    /// The assignment holds from now on; what is new is held until the listener has heard of it.
    fn begin_assigning(&mut self, env: &mut Env<'_>, assigned: &BTreeSet<TopicPartition>) -> Stage {
        let owned = env.positions.names();
        let added: BTreeSet<_> = assigned.difference(&owned).cloned().collect();
        let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
        env.positions
            .assign_from_group(assigned, &added, metadata, effects);
        Stage::Announcing(Call::of(RebalanceCallback::Assigned, added))
    }
}
