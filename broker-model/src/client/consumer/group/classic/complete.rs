//! What comes after SyncGroup: the assignment is taken over and announced (`onJoinComplete`).

use std::collections::BTreeSet;

use bytes::Bytes;

use super::join::{Failure, INCONSISTENT, Join};
use super::{Classic, is_missing};
use crate::client::command::{ClientError, RebalanceCallback};
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::types::{ResponseError, TopicPartition};
use crate::wire::consumer_protocol::decode_assignment;

impl Classic {
    /// Takes an assignment over. With a cooperative assignor, what is not in it is given up first,
    /// and the member rejoins so that somebody else may get it.
    pub(super) fn complete(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        assignment: &Bytes,
    ) -> Join {
        if !self.is_leader {
            self.assigned_for = None;
        }
        if is_missing(assignment) {
            let error = ClientError::Broker(ResponseError::UnknownServerError);
            return Join::Failed(Failure::Fatal(error));
        }
        let Ok(assigned) = decode_assignment(assignment) else {
            return Join::Failed(INCONSISTENT);
        };
        let assigned: BTreeSet<TopicPartition> = assigned.into_iter().collect();
        if assigned
            .iter()
            .any(|name| !shared.topics.contains(&name.topic))
        {
            // The subscription has changed since the member joined: joins again with the new one.
            self.request_rejoin("received assignment does not match the current subscription");
            self.needs_prepare = true;
            return Join::Failed(Failure::Again);
        }
        if self.cooperative {
            let owned = env.positions.names();
            let revoked: BTreeSet<_> = owned.difference(&assigned).cloned().collect();
            if !revoked.is_empty() {
                let what = RebalanceCallback::Revoked;
                let member = self.member();
                shared.callbacks.call(env, what, &revoked, member);
                self.request_rejoin("need to revoke partitions and re-join");
            }
        }
        Join::Revoking(assigned)
    }

    /// The assignment holds from now on: the listener hears what is new.
    pub(super) fn announce(
        &mut self,
        env: &mut Env<'_>,
        shared: &mut Shared,
        assigned: &BTreeSet<TopicPartition>,
    ) -> Join {
        let owned = env.positions.names();
        let added: BTreeSet<_> = assigned.difference(&owned).cloned().collect();
        let remembered = assigned.iter().cloned().collect();
        self.last_assignment = Some((remembered, self.generation.id));
        shared.commits.restart_timer(env.now.mono_ms);
        let (metadata, effects) = (&env.cluster.metadata, &mut *env.effects);
        env.positions
            .assign_from_group(assigned, &BTreeSet::new(), metadata, effects);
        let what = RebalanceCallback::Assigned;
        let member = self.member();
        shared.callbacks.call(env, what, &added, member);
        Join::Announcing
    }
}
