//! The groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! A group goes round: members [join](join) until the [join phase](rebalance) ends, the leader says in
//! its [SyncGroup](sync) who gets what, and when that is written down everybody hears of it. Whoever
//! comes, leaves or falls silent starts the next round. A group changes at once, not when its records
//! are committed: they are there for the next coordinator ([`load`]), which finds it empty or stable.
//!
//! Does not know offsets; only says who may commit them ([`validate`]).
//!
//! Mirrors `ClassicGroup`, `ClassicGroupMember` and the classic half of `GroupMetadataManager`.
//! KIP-62, KIP-134, KIP-345, KIP-389, KIP-394, KIP-559, KIP-814.

mod answer;
mod heartbeat;
mod join;
mod leave;
mod load;
mod member;
mod membership;
mod migration;
mod protocol;
mod rebalance;
mod static_member;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use self::member::ClassicGroupMember;
use super::migration::CONSUMER_PROTOCOL;
use super::offsets::ExpirySince;
use super::refusal;
use super::turn::{Caller, Continuation, TimerChange, TimerKey, Turn};
use crate::note::{ClassicGroupChange, ClassicGroupState, Note};
use crate::types::{Now, ResponseError, StrBytes};

/// A group of the classic protocol. Changes at once; its records only outlive it.
///
/// The leader is a member; each static member's instance is mapped to its id; whoever has to sync has
/// joined; pending members are no members. A group is stable or completing only with members, and
/// empty only without.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    id: StrBytes,
    state: ClassicGroupState,
    /// The state before, which tells a first rebalance from later ones.
    previous: ClassicGroupState,
    /// Since when it is in its state, in ms since 1970.
    since: Option<i64>,
    /// `consumer`, say; none before the first member.
    protocol_type: Option<StrBytes>,
    /// The assignor of this generation.
    protocol: Option<StrBytes>,
    generation: i32,
    leader: Option<StrBytes>,
    members: BTreeMap<StrBytes, ClassicGroupMember>,
    /// Member ids by `group.instance.id`.
    static_members: BTreeMap<StrBytes, StrBytes>,
    /// Ids that were given out and did not join yet (KIP-394).
    pending_join: BTreeSet<StrBytes>,
    /// Members of this generation that did not sync yet.
    pending_sync: BTreeSet<StrBytes>,
    /// What the members read, if they are consumers and could be understood.
    subscribed_topics: Option<BTreeSet<StrBytes>>,
    /// Set while a first rebalance runs.
    initial: Option<InitialRebalance>,
    /// Somebody came during a first rebalance, which may be put off for more.
    new_member_added: bool,
    /// Assignments that are being written, oldest first, and their generation.
    assignments: VecDeque<(i32, Assignment)>,
    /// Nothing of it was ever written.
    unwritten: bool,
    /// Whose JoinGroup made the group, until that is written.
    creator: Option<Caller>,
}

/// Parts by member id.
type Assignment = BTreeMap<StrBytes, Bytes>;

/// How long a new group still waits for more members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct InitialRebalance {
    /// Of the timer that runs, in ms.
    delay_ms: u64,
    /// How much it may still be put off, in ms.
    remaining_ms: u64,
}

impl ClassicGroup {
    /// An empty group.
    pub(crate) fn new(id: StrBytes, now: Now) -> Self {
        ClassicGroup {
            id,
            state: ClassicGroupState::Empty,
            previous: ClassicGroupState::Dead,
            since: Some(now.wall_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            initial: None,
            new_member_added: false,
            assignments: VecDeque::new(),
            unwritten: true,
            creator: None,
        }
    }

    /// One of its timers fired.
    pub(crate) fn on_timer(&mut self, turn: &mut Turn<'_>, key: &TimerKey) {
        match key {
            TimerKey::Session { member, .. } => self.session_expired(turn, member),
            TimerKey::Join { .. } => self.join_phase_expired(turn),
            TimerKey::Sync { .. } => self.sync_phase_expired(turn),
            TimerKey::Rebalance { .. } | TimerKey::Regex { .. } | TimerKey::Cleanup => {}
        }
    }

    /// What it wrote is committed, or could not be.
    pub(crate) fn on_written(
        &mut self,
        turn: &mut Turn<'_>,
        then: Continuation,
        result: Result<(), ResponseError>,
    ) {
        let result = result.map_err(refusal::of_operation);
        match then {
            Continuation::ClassicAssigned { generation, .. } => {
                self.assignment_written(turn, generation, result);
            }
            Continuation::ClassicEmptied { .. } => self.empty_written(turn, result),
            Continuation::ClassicStaticReplaced {
                member,
                previous,
                caller,
                ..
            } => self.replacement_written(turn, &member, &previous, caller, result),
            Continuation::ConsumerJoined { .. } | Continuation::ConsumerSynced { .. } => {}
        }
    }

    /// The answer to DescribeGroups.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let stable = self.state == ClassicGroupState::Stable;
        let protocol = self.protocol.as_ref().filter(|_| stable);
        let members = self.members.values();
        let members = members.map(|member| {
            let metadata = protocol.and_then(|protocol| member.metadata(protocol));
            DescribedGroupMember::default()
                .with_member_id(member.id.clone())
                .with_group_instance_id(member.instance.clone())
                .with_client_id(member.client_id.clone())
                .with_client_host(member.client_host.clone())
                .with_member_metadata(metadata.cloned().unwrap_or_default())
                .with_member_assignment(member.assignment.clone())
        });
        DescribedGroup::default()
            .with_group_id(self.id.clone().into())
            .with_group_state(StrBytes::from_static_str(self.state.name()))
            .with_protocol_type(self.protocol_type.clone().unwrap_or_default())
            .with_protocol_data(protocol.cloned().unwrap_or_default())
            .with_members(members.collect())
    }

    /// The state's name (`ClassicGroupState.toString`).
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Whether it has no member (`ClassicGroup.isEmpty`).
    pub(crate) fn is_empty(&self) -> bool {
        self.state == ClassicGroupState::Empty
    }

    /// The protocol type, if a member has ever joined.
    pub(crate) fn protocol_type(&self) -> Option<&StrBytes> {
        self.protocol_type.as_ref()
    }

    /// Whether a member reads that topic. Consumers that nobody understands may read any.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic.as_bytes()),
            None => self.uses_consumer_protocol(),
        }
    }

    /// From when the age of its offsets counts; `None` while they do not age.
    pub(crate) fn expiry(&self) -> Option<ExpirySince> {
        if self.protocol_type.is_none() {
            // Consumers without a group, which only store their offsets here.
            return Some(ExpirySince::Commit);
        }
        match self.state {
            ClassicGroupState::Empty => {
                Some(self.since.map_or(ExpirySince::Commit, ExpirySince::Empty))
            }
            // The offsets of topics that nobody reads any more.
            ClassicGroupState::Stable
                if self.uses_consumer_protocol() && self.subscribed_topics.is_some() =>
            {
                Some(ExpirySince::Commit)
            }
            _ => None,
        }
    }

    fn uses_consumer_protocol(&self) -> bool {
        let protocol_type = self.protocol_type.as_ref();
        protocol_type.is_some_and(|protocol_type| &**protocol_type == CONSUMER_PROTOCOL)
    }

    fn is_leader(&self, member: &StrBytes) -> bool {
        self.leader.as_ref() == Some(member)
    }

    fn transition_to(&mut self, turn: &mut Turn<'_>, to: ClassicGroupState) {
        use ClassicGroupState::{CompletingRebalance, Dead, Empty, PreparingRebalance, Stable};
        let from = self.state;
        let legal = match to {
            Empty | CompletingRebalance => from == PreparingRebalance,
            PreparingRebalance => matches!(from, Stable | CompletingRebalance | Empty),
            Stable => from == CompletingRebalance,
            Dead => true,
        };
        assert!(legal, "group {} went from {from:?} to {to:?}", self.id);
        self.previous = from;
        self.state = to;
        self.since = Some(turn.now.wall_ms);
        let generation = self.generation;
        let change = ClassicGroupChange::State {
            from,
            to,
            generation,
        };
        self.note(turn, change);
    }

    fn note(&self, turn: &mut Turn<'_>, change: ClassicGroupChange) {
        let group = self.id.clone();
        let partition = turn.partition;
        turn.effects.note(Note::ClassicGroup {
            partition,
            group,
            change,
        });
    }

    fn session_key(&self, member: &StrBytes) -> TimerKey {
        TimerKey::Session {
            group: self.id.clone(),
            member: member.clone(),
        }
    }

    fn join_key(&self) -> TimerKey {
        let group = self.id.clone();
        TimerKey::Join { group }
    }

    fn sync_key(&self) -> TimerKey {
        let group = self.id.clone();
        TimerKey::Sync { group }
    }
}

fn start(turn: &mut Turn<'_>, key: TimerKey, after_ms: u64) {
    turn.decision.timers.push(TimerChange::Start(key, after_ms));
}

fn stop(turn: &mut Turn<'_>, key: TimerKey) {
    turn.decision.timers.push(TimerChange::Stop(key));
}

/// A duration that a client gave: below 0 is none at all.
fn millis(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}
