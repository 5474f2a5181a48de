//! What members of consumer groups did and saw: who owned what when, what was committed and read, which
//! records were delivered, and what became of them outside.

mod facts;
mod gates;
mod pattern;
mod take;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::facts::{
    CommitFacts, CommitState, Delivered, Ended, GroupFacts, GroupPart, MemberFacts, ReadFacts,
    Stay, ToldGone,
};
pub(crate) use self::gates::{Delivery, MemberGates, Protocol};
pub(crate) use self::pattern::Pattern;
use super::clients::Clients;
use super::coordinators::Coordinators;
use crate::history::{A, Line, P};

/// Groups and their members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) groups: Vec<GroupFacts>,
    pub(crate) members: BTreeMap<A, MemberFacts>,
    pub(crate) coordinators: Coordinators,
    /// The first fact that may keep a member from being heard.
    pub(crate) silenced_n: Option<u64>,
    /// When the final phase began: everything is healed and quiet.
    pub(crate) final_n: Option<u64>,
    ids: BTreeMap<String, usize>,
    /// Reads of committed offsets that have not ended: group and invocation.
    reads: BTreeMap<(A, u64), (usize, u64)>,
    names: BTreeSet<String>,
    /// Whether the last line left something in the moment.
    is_dirty: bool,
}

/// What a history line brought.
#[derive(Debug, Default)]
pub(crate) struct MemberMoment {
    /// Whom it is about, and its group.
    pub(crate) member: Option<(A, usize)>,
    /// Stays that began, and that ended: partition and index.
    pub(crate) began: Vec<(P, usize)>,
    pub(crate) ended: Vec<(P, usize)>,
    /// Whether the assigned listener was called.
    pub(crate) assigned: bool,
    /// The group's commit that ended.
    pub(crate) committed: Option<usize>,
    /// Reads of a register that ended: partition and index.
    pub(crate) reads: Vec<(P, usize)>,
    /// The largest generation that the member knew, and the one that it was told.
    pub(crate) generations: Option<(i32, i32)>,
    /// How many partitions a poll returned records of, and which of them it should not have.
    pub(crate) polled: usize,
    pub(crate) unowned: Vec<(P, &'static str)>,
    /// Records that had an effect once more.
    pub(crate) again: Vec<(P, i64)>,
    /// How many had one.
    pub(crate) effects: usize,
}

impl Members {
    /// The member.
    pub(crate) fn member(&self, a: A) -> Option<&MemberFacts> {
        self.members.get(&a)
    }

    /// Whether the actor is, or was, a member of a group.
    pub(crate) fn is_member(&self, a: A) -> bool {
        self.members.contains_key(&a)
    }

    /// Whether what was asked at one fact and told at the other can only be what was committed then.
    pub(crate) fn is_fresh(&self, white_box: bool, asked_n: u64, told_n: u64) -> bool {
        self.final_n.is_some_and(|final_n| final_n < asked_n)
            || white_box && !self.coordinators.were_behind(asked_n, told_n)
    }

    /// Whether a coordinator may have said that which was none any more and did not know it yet.
    pub(crate) fn is_doubtful(&self, white_box: bool, told: &ToldGone) -> bool {
        if white_box {
            self.coordinators.were_behind(told.asked_n, told.n)
        } else {
            self.silenced_n
                .is_some_and(|silenced_n| silenced_n < told.n)
        }
    }

    /// Takes a line in; `closed`: it says that a client has closed.
    pub(super) fn observe(
        &mut self,
        line: &Line,
        clients: &Clients,
        closed: bool,
        moment: &mut MemberMoment,
    ) {
        if self.is_dirty {
            moment.clear();
            self.is_dirty = false;
        }
        self.is_dirty = self.take(line, clients, (closed, moment));
    }

    /// A fault began.
    pub(super) fn fault(&mut self, n: u64, kind: &str, target: &str) {
        // Who is killed or leaves says no more himself, and silences nobody else.
        let on_client = self.names.contains(target);
        if !(on_client && matches!(kind, "kill" | "leave")) {
            self.silenced_n.get_or_insert(n);
        }
    }
}

impl MemberMoment {
    fn clear(&mut self) {
        *self = MemberMoment {
            began: std::mem::take(&mut self.began),
            ended: std::mem::take(&mut self.ended),
            reads: std::mem::take(&mut self.reads),
            unowned: std::mem::take(&mut self.unowned),
            again: std::mem::take(&mut self.again),
            ..MemberMoment::default()
        };
        self.began.clear();
        self.ended.clear();
        self.reads.clear();
        self.unowned.clear();
        self.again.clear();
    }
}
