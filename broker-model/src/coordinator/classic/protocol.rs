//! Which assignor the group uses, and what it reads.
//!
//! Mirrors the protocol half of `ClassicGroup`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::JoinGroupRequest;

use super::{ClassicGroup, subscription};
use crate::note::ClassicGroupState;
use crate::types::StrBytes;

impl ClassicGroup {
    /// Whether somebody with these protocols has one in common with all the others.
    pub(super) fn supports(&self, request: &JoinGroupRequest) -> bool {
        if self.state == ClassicGroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        if self.protocol_type.as_ref() != Some(&request.protocol_type) {
            return false;
        }
        if self.members.is_empty() {
            return !request.protocols.is_empty();
        }
        let candidates = self.candidates();
        let mut given = request.protocols.iter();
        given.any(|protocol| candidates.contains(&protocol.name))
    }

    /// The assignor with most votes among those that all members have: each votes for the one that it
    /// names first. `None` only without members or without a common one.
    pub(super) fn select_protocol(&self) -> Option<StrBytes> {
        let candidates = self.candidates();
        let mut votes: BTreeMap<&StrBytes, usize> = BTreeMap::new();
        for member in self.members.values() {
            *votes.entry(member.vote(&candidates)?).or_default() += 1;
        }
        let most = votes.values().max().copied();
        let mut elected = votes.into_iter().filter(|&(_, count)| Some(count) == most);
        elected.next().map(|(name, _)| name.clone())
    }

    /// What the members read: `None` if they are no consumers, or one of them says it in a way that
    /// nobody understands.
    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(member.metadata(protocol)?)?);
        }
        Some(topics)
    }

    /// The assignors that all members have.
    fn candidates(&self) -> BTreeSet<&StrBytes> {
        let mut members = self.members.values();
        let Some(first) = members.next() else {
            return BTreeSet::new();
        };
        members.fold(first.protocol_names(), |common, member| {
            let names = member.protocol_names();
            common.intersection(&names).copied().collect()
        })
    }
}
