//! Groups as their members see them (CON-4, CON-5, GRP): who owns what, and what is committed. Judged from the
//! history; with the nodes in sight, more strictly.

use super::World;
use super::world::gates::number;
use super::world::members::{CommitFacts, GroupFacts, GroupPart, MemberFacts, Stay};
use crate::history::{A, P};

mod administered;
pub(super) mod at_least_once;
pub(super) mod at_most_once;
pub(super) mod coverage;
pub(super) mod effects;
pub(super) mod generations;
pub(super) mod legal_reset;
pub(super) mod one_assignment;
pub(super) mod one_owner;
pub(super) mod owned_poll;
pub(super) mod register;
pub(super) mod resume_point;
pub(super) mod sane_commit;
pub(super) mod static_member;
pub(super) mod zombie_commit;

/// An excuse: a coordinator that does not hear of a member expires it, and the member does not know.
const UNHEARD: &str = "the member may have been expired without knowing";
/// An excuse: the log of the group's coordinator lost committed records, and with them members and offsets.
const LOG_LOST: &str = "the log of the group's coordinator was destroyed with nobody to blame";
/// An excuse: a coordinator that does not know that it was deposed answers with what was current then.
const STALE: &str = "a deposed coordinator may have answered";
/// An excuse: a request that its client gave up on may be carried out later, and once more.
const LATE: &str = "an attempt to commit may have been carried out late";
/// An excuse: see `Stay::is_late_for`.
pub(super) const OUTDATED: &str = "a listener was called with what its coordinator had taken back";
/// An excuse: `offsets.retention.minutes` may be over.
const OFFSETS_EXPIRED: &str = "committed offsets may have expired";

/// Whether committed records of coordinators' logs were lost with nobody to blame.
fn lost_log(world: &World) -> bool {
    const NAME: &str = "__consumer_offsets-";
    let seen = world.partitions.iter();
    let mut seen = seen.filter(|partition| partition.name.starts_with(NAME));
    let told = world.clients.parts.iter();
    let mut told = told.filter(|part| part.name.starts_with(NAME));
    seen.any(|partition| !partition.cuts.is_empty()) || told.any(|part| !part.cuts.is_empty())
}

/// What became of a partition with an owner, at last.
fn last_stay(group: &GroupFacts, p: P, owner: A) -> Option<&Stay> {
    let stays = group.parts.get(&p).map_or(&[][..], |part| &part.stays);
    stays.iter().rev().find(|stay| stay.a == owner)
}

/// Whether one of both has the partition only because its listener was called late.
pub(super) fn is_outdated(group: &GroupFacts, p: P, (one, other): (A, A)) -> bool {
    let (one, other) = (last_stay(group, p, one), last_stay(group, p, other));
    let both = one.zip(other);
    both.is_some_and(|(one, other)| one.is_late_for(other) || other.is_late_for(one))
}

/// The member whom the last line is about, with its group.
fn subject(world: &World) -> Option<(A, &MemberFacts, &GroupFacts)> {
    let (a, group) = world.moment.members.member?;
    let member = world.members.member(a)?;
    Some((a, member, &world.members.groups[group]))
}

/// Where the group began to read the partition. Where it jumped forward, by reset or seek, it began anew; unless
/// the scenario expects that check to fail.
fn group_start(world: &World, part: &GroupPart, check: &str) -> i64 {
    if world.expects(check) {
        0
    } else {
        part.start.unwrap_or(0)
    }
}

/// The records from that offset on that the final scan found, in order.
fn records(world: &World, p: P, from: i64) -> impl Iterator<Item = i64> {
    let clients = &world.clients;
    let seen = clients
        .part(p)
        .into_iter()
        .flat_map(|part| part.seen.iter());
    seen.filter(move |&(offset, seen)| {
        let there = || clients.find(seen.v).is_some_and(|value| value.in_final);
        from <= offset && seen.v != 0 && there()
    })
    .map(|(offset, _)| offset)
}

/// The least that the group may have committed at that fact; `None` if perhaps nothing.
fn committed_at_last(group: &GroupFacts, p: P, n: u64) -> Option<i64> {
    let overwritten = group.overwritten_before(p, n);
    let certain = overwritten > 0;
    let current = group
        .writes(p)
        .filter(|(commit, _)| commit.may_count() && overwritten <= commit.cmp());
    let least = current.map(|(_, (offset, _))| offset).min();
    least.filter(|_| certain)
}

/// Whether an attempt of a commit that went on until then may have been given up on, and have been carried out later
/// than another one.
fn was_late(world: &World, commit: &CommitFacts, until_us: u64) -> bool {
    let member = world.members.member(commit.a);
    let request_us = member.map_or(0, |member| member.gates.request_ms * 1_000);
    commit.inv_us + request_us <= until_us
}

/// Whether an offset that nobody commits again may be forgotten by now, and its group with it.
fn may_have_expired(world: &World) -> bool {
    let minutes = number(&world.clients.cfg, "offsets.retention.minutes", 10_080);
    minutes * 60_000_000 < world.t_us
}
