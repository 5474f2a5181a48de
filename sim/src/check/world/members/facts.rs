//! Groups, members, stays, commits and reads.

use std::collections::{BTreeMap, BTreeSet};

use super::super::register::UNKNOWN;
use super::super::sparse::Sparse;
use super::{MemberGates, Pattern};
use crate::history::{A, P};

/// A member: an incarnation of a consumer that has a group.
#[derive(Debug)]
pub(crate) struct MemberFacts {
    pub(crate) group: usize,
    pub(crate) gates: MemberGates,
    /// What it owns by its own callbacks: indexes of stays.
    pub(crate) owned: BTreeMap<P, usize>,
    pub(crate) paused: BTreeSet<P>,
    /// What it got since its last poll returned.
    pub(super) unsettled: BTreeSet<P>,
    /// Its subscription, and how often it said one.
    pub(crate) topics: BTreeSet<String>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) subscriptions: u32,
    /// When it first did: it cannot have joined before.
    pub(crate) subscribed_n: Option<u64>,
    /// As whom it was seen last.
    pub(crate) mid: String,
    /// The largest generation or member epoch that it knew in its membership, 0 for none.
    pub(crate) generation: i32,
    /// The generation that it was last assigned partitions in.
    pub(crate) assigned_in: i32,
    /// When it first was, and when last.
    pub(crate) first_assigned_n: Option<u64>,
    pub(crate) last_assigned_n: u64,
    pub(crate) assigned_us: u64,
    /// When the last commit began that its coordinator took in this membership.
    pub(crate) heard_us: Option<u64>,
    /// That it was told that it is no member any more.
    pub(crate) told_gone: Option<ToldGone>,
    /// When it died, closed or gave up.
    pub(crate) ended: Option<(u64, Ended)>,
    /// Commits that have not ended.
    pub(super) open: BTreeMap<u64, usize>,
}

/// A member was told that it is none any more.
#[derive(Clone, Debug)]
pub(crate) struct ToldGone {
    /// It may have asked then, or later.
    pub(crate) asked_n: u64,
    pub(crate) n: u64,
    pub(crate) mid: String,
    /// The largest generation that it knew.
    pub(crate) generation: i32,
}

/// How ownership, or a member, ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// In order: the revoked listener returned.
    Revoked,
    /// The lost listener was called.
    Lost,
    Closed,
    Died,
    /// It was fenced and gave up.
    Fenced,
    /// The same partition was assigned once more.
    Again,
}

/// A partition's time with one member.
#[derive(Clone, Debug)]
pub(crate) struct Stay {
    pub(crate) a: A,
    pub(crate) generation: i32,
    pub(crate) from_n: u64,
    pub(crate) from_us: u64,
    pub(crate) end: Option<(u64, Ended)>,
    /// Whether the position was set to something other than what is committed.
    pub(crate) sought: bool,
    /// The end of what anybody had read when it began.
    pub(crate) top: i64,
    /// Of a member of the consumer protocol: since when its application had not polled when it began.
    pub(crate) away_us: Option<u64>,
    /// When a poll that had seen it begin returned.
    pub(crate) settled_us: Option<u64>,
}

/// No heartbeat that tells of an assignment is followed by another one sooner, in microseconds.
const HEARTBEATS_US: u64 = 100_000;

impl Stay {
    /// Whether it began by a listener that waited for its application to poll, while another one may have got the
    /// partition: a member of the consumer protocol that repeats what it owns after a heartbeat was lost does not
    /// name what its listener still waits with, its coordinator takes that for given up, and the listener is called
    /// all the same (`AbstractMembershipManager.revokeAndAssign`).
    pub(crate) fn is_late_for(&self, other: &Stay) -> bool {
        self.away_us.is_some_and(|away_us| {
            let is_long = HEARTBEATS_US <= self.from_us - away_us;
            let until_us = self.settled_us.unwrap_or(u64::MAX);
            is_long && (away_us..=until_us).contains(&other.from_us)
        })
    }
}

/// A group.
#[derive(Debug, Default)]
pub(crate) struct GroupFacts {
    pub(crate) id: String,
    pub(crate) members: Vec<A>,
    pub(crate) parts: BTreeMap<P, GroupPart>,
    pub(crate) commits: Vec<CommitFacts>,
    /// Facts by which somebody was assigned partitions in a larger generation than anybody before.
    pub(super) rises: Vec<(u64, i32)>,
}

/// A partition in a group.
#[derive(Debug, Default)]
pub(crate) struct GroupPart {
    pub(crate) stays: Vec<Stay>,
    /// Who commits what: indexes of the group's commits, and which of their offsets.
    pub(crate) writes: Vec<(usize, usize)>,
    pub(crate) reads: Vec<ReadFacts>,
    /// What was returned to members.
    pub(crate) delivered: Sparse<Delivered>,
    /// How often a record had its effect.
    pub(crate) effects: Sparse<u32>,
    /// Where the group began, or jumped forward to by a reset or seek.
    pub(crate) start: Option<i64>,
    /// Whether a position was set by an application, or was not in the log any more.
    pub(crate) moved: bool,
}

/// When a record was first returned to a member, and how often it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Delivered {
    /// 0 for never.
    pub(crate) n: u64,
    pub(crate) times: u32,
}

/// A commit.
#[derive(Clone, Debug)]
pub(crate) struct CommitFacts {
    pub(crate) a: A,
    /// As whom: the last attempt's, where that is known.
    pub(crate) generation: i32,
    pub(crate) mid: String,
    /// The generation as known when it began.
    pub(crate) known: i32,
    /// Its writer's id, 0 if its offsets carry none.
    pub(crate) w: u64,
    /// Partition, offset, and the largest offset that it may have become before it was sent.
    pub(crate) offs: Vec<(P, i64, i64)>,
    pub(crate) inv_n: u64,
    pub(crate) inv_us: u64,
    /// When it ended, however it did.
    pub(crate) end_n: u64,
    pub(crate) end_us: u64,
    pub(crate) state: CommitState,
    /// The error that it ended with.
    pub(crate) error: i16,
}

/// How a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommitState {
    Open,
    Ok,
    Fail,
    Info,
}

/// A read of a committed offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadFacts {
    pub(crate) a: A,
    pub(crate) asked_n: u64,
    pub(crate) told_n: u64,
    pub(crate) told_us: u64,
    /// -1 where nothing was committed.
    pub(crate) offset: i64,
    /// The writer's id, 0 for none, if it was told.
    pub(crate) w: Option<u64>,
    /// Whether a member started from it.
    pub(crate) resumes: bool,
}

impl CommitFacts {
    /// When it had taken effect for certain.
    pub(crate) fn cmp(&self) -> u64 {
        if self.state == CommitState::Ok {
            self.end_n
        } else {
            UNKNOWN
        }
    }

    /// Whether it may have taken effect.
    pub(crate) fn may_count(&self) -> bool {
        self.state != CommitState::Fail
    }
}

impl ReadFacts {
    /// Whether it may have returned that offset of that writer.
    pub(crate) fn may_be_of(&self, commit: &CommitFacts, (offset, upto): (i64, i64)) -> bool {
        let of_writer = self.w.is_none_or(|w| w == commit.w);
        of_writer && (offset..=upto).contains(&self.offset) && commit.inv_n < self.told_n
    }
}

impl GroupFacts {
    /// The largest generation that somebody had been assigned partitions in before that fact.
    pub(crate) fn generation_before(&self, n: u64) -> i32 {
        let known = self.rises.partition_point(|&(rise_n, _)| rise_n < n);
        self.rises[..known]
            .last()
            .map_or(0, |&(_, generation)| generation)
    }

    /// The writes of a partition: the commit, its offset, and the largest that it may be.
    pub(crate) fn writes(&self, p: P) -> impl Iterator<Item = (&CommitFacts, (i64, i64))> {
        let writes = self.parts.get(&p).map(|part| part.writes.as_slice());
        writes.unwrap_or_default().iter().map(|&(commit, index)| {
            let commit = &self.commits[commit];
            let (_, offset, upto) = commit.offs[index];
            (commit, (offset, upto))
        })
    }

    /// Before which fact a write must not have taken effect for certain, to be current at that fact: the
    /// last invocation of a write that had ended well by then.
    pub(crate) fn overwritten_before(&self, p: P, n: u64) -> u64 {
        let ended = self.writes(p).filter(|(commit, _)| commit.cmp() < n);
        ended.map(|(commit, _)| commit.inv_n).max().unwrap_or(0)
    }
}

impl MemberFacts {
    /// Whether it subscribed to that topic, by its name or by an expression; `None` where that cannot be told.
    pub(crate) fn wants(&self, topic: &str) -> Option<bool> {
        match &self.pattern {
            _ if self.topics.contains(topic) => Some(true),
            Some(pattern) => pattern.matches(topic),
            None => Some(false),
        }
    }

    /// Whether it may take part in its group.
    pub(crate) fn lives(&self) -> bool {
        self.ended.is_none()
    }
}
