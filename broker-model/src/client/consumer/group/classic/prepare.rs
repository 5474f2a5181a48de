//! What comes before JoinGroup: positions are committed, and what cannot be kept is given up
//! (`onJoinPrepare`).

use std::collections::BTreeSet;

use super::Classic;
use super::join::Join;
use crate::client::command::RebalanceCallback;
use crate::client::consumer::group::commits::Ended;
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::types::TopicPartition;

/// How far it is.
#[derive(Debug)]
pub(super) struct Preparing {
    /// Committing is given up then (`joinPrepareTimer`), monotonic.
    pub(super) deadline_ms: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The positions are to be committed.
    Commit,
    /// That commit is on its way, if there was anything to commit.
    Committing(Option<u64>),
    /// The listener was called; these stay.
    Revoking(BTreeSet<TopicPartition>),
    /// The listener returned, and only what stays is assigned.
    Revoked,
}

impl Preparing {
    /// Of what was assigned, only that is left which the member keeps.
    fn end_revoking(&mut self, env: &mut Env<'_>) {
        if let Stage::Revoking(kept) = &self.stage {
            let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
            env.positions
                .assign_from_group(kept, &BTreeSet::new(), metadata, effects);
            self.stage = Stage::Revoked;
        }
    }
}

impl Classic {
    /// True once the member may join.
    pub(super) fn prepare(&mut self, env: &mut Env<'_>, shared: &mut Shared) -> bool {
        let mut preparing = match self.preparing.take() {
            Some(preparing) => preparing,
            None if self.needs_prepare => {
                self.needs_prepare = false;
                let deadline_ms = env.now.mono_ms + shared.config.max_poll_interval_ms;
                let stage = Stage::Commit;
                Preparing { deadline_ms, stage }
            }
            None => return true,
        };
        let is_late = preparing.deadline_ms <= env.now.mono_ms;
        if let Stage::Commit = preparing.stage {
            if shared.commits.is_auto() && !self.cooperative {
                let all = env.positions.names();
                env.positions.mark_revoking(&all);
            }
            preparing.stage = Stage::Committing(shared.commits.commit_once(env));
        }
        if let Stage::Committing(commit) = preparing.stage {
            let ended = match commit {
                None => Some(Ended::Well),
                Some(id) => shared.commits.take_ended(id),
            };
            if ended == Some(Ended::Retriable) && !is_late {
                self.rejoin_ms = env.now.mono_ms + shared.config.retry_backoff_ms;
                preparing.stage = Stage::Commit;
            }
            if matches!(ended, None | Some(Ended::Retriable)) && !is_late {
                self.preparing = Some(preparing);
                return false;
            }
            let kept = self.revoke(env, shared);
            preparing.stage = Stage::Revoking(kept);
        }
        if shared.callbacks.is_outstanding() {
            self.preparing = Some(preparing);
            return false;
        }
        preparing.end_revoking(env);
        self.is_leader = false;
        self.group_topics.clear();
        true
    }

    /// The listener returned. In Kafka it is called in the middle of all this: what follows, follows at
    /// once, even if the coordinator went away meanwhile.
    pub(super) fn return_from_listener(&mut self, env: &mut Env<'_>, shared: &mut Shared) {
        if shared.callbacks.is_outstanding() {
            return;
        }
        if let Some(preparing) = &mut self.preparing {
            preparing.end_revoking(env);
        }
        self.join = match self.join.take() {
            Some(Join::Revoking(assigned)) => Some(self.announce(env, shared, &assigned)),
            Some(Join::Announcing) => {
                self.needs_prepare = true;
                None
            }
            other => other,
        };
    }

    /// Calls the listener for what the member has lost or gives up. Returns what it keeps.
    fn revoke(&mut self, env: &mut Env<'_>, shared: &mut Shared) -> BTreeSet<TopicPartition> {
        let owned = env.positions.names();
        let member = self.member();
        if self.generation.is_lost() {
            if !owned.is_empty() {
                let what = RebalanceCallback::Lost;
                shared.callbacks.call(env, what, &owned, member);
            }
            return BTreeSet::new();
        }
        let what = RebalanceCallback::Revoked;
        if !self.cooperative {
            shared.callbacks.call(env, what, &owned, member);
            return BTreeSet::new();
        }
        let is_wanted = |name: &TopicPartition| shared.topics.contains(&name.topic);
        let (kept, revoked): (BTreeSet<_>, BTreeSet<_>) = owned.into_iter().partition(is_wanted);
        if !revoked.is_empty() {
            shared.callbacks.call(env, what, &revoked, member);
        }
        kept
    }
}
