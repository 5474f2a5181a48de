//! Groups as their members see them (CON-4, CON-5, GRP): who owns what, and what is committed. Judged from the
//! history; with the nodes in sight, more strictly.

use super::World;
use super::world::members::{GroupFacts, MemberFacts};
use crate::history::A;

pub(super) mod generations;
pub(super) mod one_owner;
pub(super) mod owned_poll;
pub(super) mod zombie_commit;

/// An excuse: a coordinator that does not hear of a member expires it, and the member does not know.
const UNHEARD: &str = "the member may have been expired without knowing";
/// An excuse: the log of the group's coordinator lost committed records, and with them members and offsets.
const LOG_LOST: &str = "the log of the group's coordinator was destroyed with nobody to blame";

/// Whether committed records of coordinators' logs were lost with nobody to blame.
fn lost_log(world: &World) -> bool {
    const NAME: &str = "__consumer_offsets-";
    let seen = world.partitions.iter();
    let mut seen = seen.filter(|partition| partition.name.starts_with(NAME));
    let told = world.clients.parts.iter();
    let mut told = told.filter(|part| part.name.starts_with(NAME));
    seen.any(|partition| !partition.cuts.is_empty()) || told.any(|part| !part.cuts.is_empty())
}

/// The member whom the last line is about, with its group.
fn subject(world: &World) -> Option<(A, &MemberFacts, &GroupFacts)> {
    let (a, group) = world.moment.members.member?;
    let member = world.members.member(a)?;
    Some((a, member, &world.members.groups[group]))
}
