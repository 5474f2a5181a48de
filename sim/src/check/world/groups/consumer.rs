//! What the log says of a group of the consumer protocol.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::note::{ConsumerGroupChange, ConsumerMemberState};
use broker_model::types::{StrBytes, TopicIdPartition};

use super::fold::Step;

/// Partitions.
pub(crate) type Partitions = BTreeSet<TopicIdPartition>;

/// What members said that they own, within one decision, by group and member.
pub(super) type Reports = BTreeMap<(StrBytes, StrBytes), Partitions>;

/// A group of the consumer protocol.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct ConsumerFold {
    pub(crate) epoch: i32,
    pub(crate) target_epoch: i32,
    pub(crate) target: BTreeMap<StrBytes, Partitions>,
    pub(crate) members: BTreeMap<StrBytes, Member>,
    /// What expressions resolve to.
    pub(crate) regexes: BTreeMap<StrBytes, BTreeSet<StrBytes>>,
    /// Who has each partition assigned or pending revocation.
    pub(crate) owners: BTreeMap<TopicIdPartition, BTreeSet<StrBytes>>,
    /// Ids that were replaced, by their `group.instance.id`, while that is in the group.
    pub(crate) fenced: BTreeMap<StrBytes, StrBytes>,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<StrBytes>,
    pub(crate) topics: BTreeSet<StrBytes>,
    pub(crate) regex: Option<StrBytes>,
    /// Whether it speaks the classic protocol.
    pub(crate) classic: bool,
    pub(crate) epoch: i32,
    pub(crate) state: ConsumerMemberState,
    pub(crate) assigned: Partitions,
    pub(crate) pending: Partitions,
    /// The fact by which it became a member.
    pub(crate) since: u64,
}

/// What a member has changed.
#[derive(Debug)]
pub(crate) struct Reassigned {
    pub(crate) group: StrBytes,
    pub(crate) id: StrBytes,
    /// `None` if it was no member before this decision.
    pub(crate) before: Option<Member>,
    pub(crate) after: Member,
    /// What it said that it owns.
    pub(crate) reported: Option<Partitions>,
}

/// The epoch of a static member that is away for a while.
pub(crate) const AWAY: i32 = -2;

impl Member {
    fn new(since: u64) -> Self {
        Self {
            instance: None,
            topics: BTreeSet::new(),
            regex: None,
            classic: false,
            epoch: 0,
            state: ConsumerMemberState::Stable,
            assigned: Partitions::new(),
            pending: Partitions::new(),
            since,
        }
    }

    /// What nobody else may have.
    pub(crate) fn holds(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.assigned.iter().chain(&self.pending).copied()
    }
}

impl ConsumerFold {
    /// The names of the topics that a member reads.
    pub(crate) fn reads<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a StrBytes> {
        let matched = member.regex.as_ref().and_then(|it| self.regexes.get(it));
        member.topics.iter().chain(matched.into_iter().flatten())
    }

    /// Whether any member reads that topic.
    pub(crate) fn is_subscribed_to(&self, topic: &StrBytes) -> bool {
        let reads = |member| self.reads(member).any(|own| own == topic);
        self.members.values().any(reads)
    }

    /// Whether it is stable, as Kafka derives it (`ConsumerGroup.maybeUpdateGroupState`).
    pub(crate) fn is_stable(&self) -> bool {
        let reconciled = |member: &Member| {
            member.state == ConsumerMemberState::Stable && member.epoch == self.target_epoch
        };
        !self.members.is_empty()
            && self.epoch <= self.target_epoch
            && self.members.values().all(reconciled)
    }

    pub(super) fn apply(
        &mut self,
        group: &StrBytes,
        change: &ConsumerGroupChange,
        n: u64,
        reported: &mut Reports,
    ) -> Option<Step> {
        use ConsumerGroupChange as It;
        let group = group.clone();
        match change {
            It::Epoch { epoch } => {
                let (before, after) = (self.epoch, *epoch);
                self.epoch = after;
                Some(Step::Epoch {
                    group,
                    before,
                    after,
                })
            }
            It::TargetEpoch { epoch } => {
                let (before, after) = (self.target_epoch, *epoch);
                self.target_epoch = after;
                Some(Step::Target {
                    group,
                    before,
                    after,
                })
            }
            It::Target { member, partitions } => {
                self.target.insert(member.clone(), partitions.clone());
                None
            }
            It::Subscribed { .. } => self.subscribe(change, n).then_some(Step::Members { group }),
            It::Assigned { member, .. } => {
                let said = reported.get(&(group.clone(), member.clone())).cloned();
                Some(self.assign(group, change, n, said))
            }
            It::Reported { member, owned } => {
                reported.insert((group, member.clone()), owned.clone());
                None
            }
            It::Resolved { regex, topics } => {
                self.regexes.insert(regex.clone(), topics.clone());
                None
            }
            It::Forgotten { regex } => {
                self.regexes.remove(regex);
                None
            }
            It::Replaced {
                instance,
                previous,
                member,
            } => {
                self.replace(instance, (previous, member));
                Some(Step::Members { group })
            }
            It::Removed { member, .. } => {
                self.throw_out(member);
                Some(Step::Members { group })
            }
            It::Loaded {
                epoch,
                target_epoch,
            } => {
                self.epoch = *epoch;
                self.target_epoch = *target_epoch;
                None
            }
            It::Upgraded | It::Downgraded | It::Deleted => None,
        }
    }

    /// What a member says of itself; whether it is new.
    fn subscribe(&mut self, change: &ConsumerGroupChange, n: u64) -> bool {
        let ConsumerGroupChange::Subscribed {
            member,
            instance,
            topics,
            regex,
            classic,
        } = change
        else {
            unreachable!("the caller looked");
        };
        let joins = !self.members.contains_key(member);
        let new = || Member::new(n);
        let changed = self.members.entry(member.clone()).or_insert_with(new);
        changed.instance.clone_from(instance);
        changed.topics.clone_from(topics);
        changed.regex.clone_from(regex);
        changed.classic = *classic;
        joins
    }

    fn replace(&mut self, instance: &StrBytes, (previous, member): (&StrBytes, &StrBytes)) {
        self.remove(previous);
        self.fenced.remove(member);
        self.fenced.insert(previous.clone(), instance.clone());
    }

    fn throw_out(&mut self, member: &StrBytes) {
        let gone = self.remove(member);
        if let Some(instance) = gone.and_then(|gone| gone.instance) {
            self.fenced.retain(|_, other| *other != instance);
        }
    }

    fn assign(
        &mut self,
        group: StrBytes,
        change: &ConsumerGroupChange,
        n: u64,
        reported: Option<Partitions>,
    ) -> Step {
        let ConsumerGroupChange::Assigned {
            member: id,
            epoch,
            state,
            assigned,
            pending_revocation,
            ..
        } = change
        else {
            unreachable!("the caller looked");
        };
        let known = self.members.get(id).cloned();
        let before = known.clone().filter(|known| known.since < n);
        let mut after = known.unwrap_or_else(|| Member::new(n));
        self.disown(id, &after);
        after.epoch = *epoch;
        after.state = *state;
        after.assigned.clone_from(assigned);
        after.pending.clone_from(pending_revocation);
        for partition in after.holds() {
            let owners = self.owners.entry(partition).or_default();
            owners.insert(id.clone());
        }
        self.members.insert(id.clone(), after.clone());
        Step::Assigned(Box::new(Reassigned {
            group,
            id: id.clone(),
            before,
            after,
            reported,
        }))
    }

    fn remove(&mut self, id: &StrBytes) -> Option<Member> {
        self.target.remove(id);
        let gone = self.members.remove(id)?;
        self.disown(id, &gone);
        Some(gone)
    }

    fn disown(&mut self, id: &StrBytes, member: &Member) {
        for partition in member.holds() {
            if let Some(owners) = self.owners.get_mut(&partition) {
                owners.remove(id);
                if owners.is_empty() {
                    self.owners.remove(&partition);
                }
            }
        }
    }
}
