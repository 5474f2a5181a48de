//! The leader's part: it makes the assignment for everybody (`onLeaderElected`).

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;

use super::join::{Failure, INCONSISTENT, Join};
use super::{Classic, Counts};
use crate::client::consumer::group::assignor::{Assignor, Member, Members};
use crate::client::consumer::group::env::Env;
use crate::client::consumer::group::shared::Shared;
use crate::types::StrBytes;
use crate::wire::consumer_protocol::{Subscription, encode_assignment};

/// A generation that waits for its assignment.
#[derive(Debug)]
pub(super) struct Assigning {
    assignor: Assignor,
    members: Members,
    /// The coordinator wants no assignment: the leader came back as the static member that it was.
    skip: bool,
    /// Metadata has to become newer than this.
    stale: Option<u64>,
}

impl Classic {
    /// Reads what the members want, and sees to metadata about it.
    pub(super) fn begin_assigning(
        &mut self,
        env: &mut Env<'_>,
        members: &[JoinGroupResponseMember],
        skip: bool,
    ) -> Result<Assigning, Failure> {
        let protocol = self.generation.protocol.as_deref();
        let assignor = protocol.and_then(Assignor::of_name);
        let assignor = assignor.filter(|assignor| self.assignors.contains(assignor));
        let assignor = assignor.ok_or(INCONSISTENT)?;
        let members = members.iter().map(|member| {
            let read = Subscription::decode(&member.metadata).map_err(|_| INCONSISTENT)?;
            let known = Member {
                instance: member.group_instance_id.clone(),
                topics: read.topics.into_iter().collect(),
                owned: read.owned,
                generation: read.generation,
                user_data: read.user_data,
            };
            Ok((member.member_id.clone(), known))
        });
        let members = members.collect::<Result<Members, Failure>>()?;
        let topics = members.values().flat_map(|member| &member.topics);
        self.group_topics = topics.cloned().collect();
        let metadata = &mut env.cluster.metadata;
        for topic in &self.group_topics {
            metadata.want(topic);
        }
        let is_due = metadata.is_update_due(env.now);
        Ok(Assigning {
            assignor,
            members,
            skip,
            stale: is_due.then(|| metadata.version()),
        })
    }

    /// Makes the assignment and sends it, once metadata is fresh.
    pub(super) fn assign_as_leader(
        &mut self,
        env: &mut Env<'_>,
        shared: &Shared,
        assigning: Assigning,
    ) -> Join {
        let version = env.cluster.metadata.version();
        if assigning.stale.is_some_and(|stale| version <= stale) {
            return Join::Assigning(assigning);
        }
        self.is_leader = true;
        let counts = self.counts(env, shared);
        let assignments = if assigning.skip {
            Vec::new()
        } else {
            self.assignments(&counts, &assigning)
        };
        self.assigned_for = Some(counts);
        self.send_sync(env, shared, assignments)
    }

    /// What SyncGroup says: the assignment of each member.
    fn assignments(&self, counts: &Counts, assigning: &Assigning) -> Vec<(StrBytes, Bytes)> {
        let wanted = &self.group_topics;
        let exists = |(topic, count): &(&StrBytes, &usize)| **count > 0 && wanted.contains(*topic);
        let counts = counts.iter().filter(exists);
        let counts = counts
            .map(|(topic, &count)| (topic.clone(), count))
            .collect();
        let assignor = assigning.assignor;
        let assignment = assignor.assign(&counts, &assigning.members, self.bug);
        let assignment = assignment.into_iter();
        assignment
            .map(|(id, assigned)| (id, encode_assignment(&assigned)))
            .collect()
    }
}
