//! The offsets of a group without members, as the one client that administers it sees them: each partition is
//! a register, and calls follow each other. What an attempt without an answer wrote may be there at any later time.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::types::ResponseError;

use super::{LOG_LOST, OFFSETS_EXPIRED, lost_log, may_have_expired};
use crate::check::{Sink, Violation, World};
use crate::history::{A, Body, Er, Line, Op, P, Res};

/// The groups that admin clients deal with, by name.
#[derive(Default)]
pub(super) struct Administered {
    /// Calls that have not ended: what, and the fact.
    open: BTreeMap<(A, u64), (Op, u64)>,
    groups: BTreeMap<String, Group>,
}

#[derive(Default)]
struct Group {
    parts: BTreeMap<P, Held>,
    /// An attempt to delete it may be carried out yet.
    may_go: bool,
}

/// What a partition's offset can be; [`NONE`] is none.
struct Held {
    may: BTreeSet<i64>,
    /// What attempts without an answer may write yet.
    late: BTreeSet<i64>,
    /// Whatever was ever written.
    known: BTreeSet<i64>,
}

const NONE: i64 = -1;

impl Group {
    fn part(&mut self, p: P) -> &mut Held {
        let may_go = self.may_go;
        self.parts.entry(p).or_insert_with(|| Held {
            may: [NONE].into(),
            late: may_go.then_some(NONE).into_iter().collect(),
            known: [NONE].into(),
        })
    }
}

impl Held {
    /// It is this, unless a late attempt came.
    fn is(&mut self, offset: i64) {
        self.may.clone_from(&self.late);
        self.may.insert(offset);
    }

    /// An attempt may write that yet.
    fn is_late(&mut self, offset: i64) {
        self.late.insert(offset);
        self.may.insert(offset);
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done { late: bool },
    Refused,
    Unknown,
}

/// A call that ended.
struct Ended<'a> {
    line: &'a Line,
    asked_n: u64,
    group: &'a str,
}

impl Administered {
    pub(super) fn on(&mut self, line: &Line, world: &World, sink: &mut Sink) {
        let Some(a) = line.b.actor() else {
            return;
        };
        let unknown = Res::Unit;
        let (o, end, result, error) = match &line.b {
            Body::I { o, op, .. } => {
                if group_of(op).is_some() {
                    self.open.insert((a, *o), (op.clone(), line.n));
                }
                return;
            }
            Body::Ok { o, r, .. } => {
                let late = matches!(r, Res::Retried { .. });
                (o, End::Done { late }, r, None)
            }
            Body::Fail { o, e, .. } => (o, End::Refused, &unknown, Some(*e)),
            Body::Info { o, .. } => (o, End::Unknown, &unknown, None),
            _ => return,
        };
        let Some((op, asked_n)) = self.open.remove(&(a, *o)) else {
            return;
        };
        let Some(group) = group_of(&op) else {
            return;
        };
        // Members commit, too: the register of commits judges that.
        let mut groups = world.members.groups.iter();
        if groups.any(|known| known.id == group) {
            return;
        }
        let ended = Ended {
            line,
            asked_n,
            group,
        };
        let group = self.groups.entry(group.to_owned()).or_default();
        if let Some(error) = error {
            refused(&ended, group, error, world, sink);
        }
        match &op {
            Op::AlterOffsets { offs, .. } => {
                for &(p, offset) in offs {
                    written(group.part(p), offset, end);
                }
            }
            Op::DeleteOffsets { ps, .. } => {
                for &p in ps {
                    written(group.part(p), NONE, end);
                }
            }
            Op::DeleteGroup { .. } => {
                group.may_go |= matches!(end, End::Done { late: true } | End::Unknown);
                for held in group.parts.values_mut() {
                    written(held, NONE, end);
                }
            }
            Op::GroupOffsets { .. } => {
                if let Res::Offs(offsets) = result {
                    for &(p, offset) in offsets {
                        read(&ended, (p, group.part(p)), offset, world, sink);
                    }
                }
            }
            Op::DescribeGroup { .. } => {
                if let Res::Group { st, members } = result {
                    described(&ended, group, (st, *members), world, sink);
                }
            }
            _ => {}
        }
    }
}

fn group_of(op: &Op) -> Option<&str> {
    match op {
        Op::AlterOffsets { g, .. }
        | Op::GroupOffsets { g, .. }
        | Op::DeleteOffsets { g, .. }
        | Op::DeleteGroup { g }
        | Op::DescribeGroup { g } => Some(g),
        _ => None,
    }
}

fn written(held: &mut Held, offset: i64, end: End) {
    if end == End::Refused {
        return;
    }
    held.known.insert(offset);
    match end {
        End::Done { late } => {
            if late {
                held.late.insert(offset);
            }
            held.is(offset);
        }
        End::Unknown => held.is_late(offset),
        End::Refused => {}
    }
}

fn is_fresh(ended: &Ended<'_>, world: &World) -> bool {
    let members = &world.members;
    members.is_fresh(world.white_box, ended.asked_n, ended.line.n)
}

fn read(ended: &Ended<'_>, (p, held): (P, &mut Held), offset: i64, world: &World, sink: &mut Sink) {
    let fresh = is_fresh(ended, world);
    let may = if fresh { &held.may } else { &held.known };
    if may.contains(&offset) {
        if fresh {
            sink.exercised();
            held.is(offset);
        }
        return;
    }
    let can: Vec<String> = may.iter().map(ToString::to_string).collect();
    let name = world.clients.name(p);
    let what = format!("{offset} in {name}; it can only be {}", can.join(" or "));
    tell(ended, what, offset == NONE, world, sink);
}

/// A coordinator says that the group does not exist: then it has no offsets.
fn gone(ended: &Ended<'_>, group: &mut Group, what: &str, world: &World, sink: &mut Sink) {
    if !is_fresh(ended, world) {
        return;
    }
    match group
        .parts
        .iter()
        .find(|(_, held)| !held.may.contains(&NONE))
    {
        None => {
            sink.exercised();
            group.parts.values_mut().for_each(|held| held.is(NONE));
        }
        Some((&p, held)) => {
            let can: Vec<String> = held.may.iter().map(ToString::to_string).collect();
            let (name, can) = (world.clients.name(p), can.join(" or "));
            let what = format!("{what}, and it has {can} in {name}");
            tell(ended, what, true, world, sink);
        }
    }
}

fn refused(ended: &Ended<'_>, group: &mut Group, error: Er, world: &World, sink: &mut Sink) {
    match ResponseError::try_from_code(error.c) {
        Some(ResponseError::GroupIdNotFound) => {
            gone(ended, group, "that it does not exist", world, sink);
        }
        Some(ResponseError::NonEmptyGroup | ResponseError::GroupSubscribedToTopic) => {
            let what = format!("error {}, and nobody was ever in it", error.c);
            tell(ended, what, false, world, sink);
        }
        _ => {}
    }
}

fn described(
    ended: &Ended<'_>,
    group: &mut Group,
    (state, members): (&str, usize),
    world: &World,
    sink: &mut Sink,
) {
    match (state, members) {
        ("Empty", 0) => sink.exercised(),
        ("Dead", 0) => gone(ended, group, "Dead", world, sink),
        _ => {
            let what = format!("{state} with {members} members, and nobody was ever in it");
            tell(ended, what, false, world, sink);
        }
    }
}

fn tell(ended: &Ended<'_>, what: String, forgot: bool, world: &World, sink: &mut Sink) {
    if lost_log(world) {
        sink.excused(LOG_LOST);
    } else if forgot && may_have_expired(world) {
        sink.excused(OFFSETS_EXPIRED);
    } else {
        let who = ended.line.b.actor().map(|a| world.clients.who(a));
        let headline = format!("group {} is not as its administrator left it", ended.group);
        let story = format!("{} hears {what}", who.unwrap_or_default());
        sink.fail(Violation::new(headline).fact("answer", ended.line.t, story));
    }
}

#[cfg(test)]
mod tests {
    use super::super::register::Register;
    use super::*;
    use crate::check::make;
    use crate::check::testing::Case;
    use crate::history::Role;

    const G: &str = "a/0";

    fn case() -> Case {
        let case = Case::of(make::<Register>).part();
        case.actor(5, Role::Admin, &[])
    }

    fn begins(case: Case, o: u64, op: Op) -> Case {
        case.line(Body::I { a: 5, o, op })
    }

    fn alters(case: Case, o: u64, offset: i64) -> Case {
        let g = G.to_owned();
        let offs = vec![(0, offset)];
        begins(case, o, Op::AlterOffsets { g, offs })
    }

    fn ends(case: Case, o: u64, r: Res) -> Case {
        case.line(Body::Ok { a: 5, o, r })
    }

    fn fails(case: Case, o: u64, error: ResponseError) -> Case {
        let e = Er::broker(error, 1);
        case.line(Body::Fail { a: 5, o, e })
    }

    fn is_lost(case: Case, o: u64) -> Case {
        let e = Er {
            c: Er::TIMED_OUT,
            att: 1,
        };
        let r = Res::Unit;
        case.line(Body::Info { a: 5, o, e, r })
    }

    fn altered(case: Case, o: u64, offset: i64) -> Case {
        ends(alters(case, o, offset), o, Res::Unit)
    }

    fn reads(case: Case, o: u64, offset: i64) -> Case {
        let (g, ps) = (G.to_owned(), vec![0]);
        let case = begins(case, o, Op::GroupOffsets { g, ps });
        ends(case, o, Res::Offs(vec![(0, offset)]))
    }

    fn begins_delete(case: Case, o: u64) -> Case {
        let g = G.to_owned();
        begins(case, o, Op::DeleteGroup { g })
    }

    fn deleted(case: Case, o: u64) -> Case {
        let (g, ps) = (G.to_owned(), vec![0]);
        let case = begins(case, o, Op::DeleteOffsets { g, ps });
        ends(case, o, Res::Unit)
    }

    fn described(case: Case, o: u64, st: &str, members: usize) -> Case {
        let g = G.to_owned();
        let case = begins(case, o, Op::DescribeGroup { g });
        let st = st.to_owned();
        ends(case, o, Res::Group { st, members })
    }

    #[test]
    fn what_was_committed_is_read_until_it_is_deleted() {
        let two = || altered(altered(case(), 1, 10), 2, 11);
        reads(two(), 3, 11).end().passes();
        reads(two(), 3, 10).end().fails("it can only be 11");
        reads(two(), 3, -1).end().fails("it can only be 11");
        let gone = || deleted(two(), 3);
        reads(gone(), 4, -1).end().passes();
        reads(gone(), 4, 11).end().fails("it can only be -1");
        let deleted = || ends(begins_delete(two(), 3), 3, Res::Unit);
        reads(deleted(), 4, -1).end().passes();
        reads(deleted(), 4, 11).end().fails("it can only be -1");
    }

    #[test]
    fn what_nobody_answered_may_be_there_at_any_later_time() {
        let lost = || is_lost(alters(altered(case(), 1, 10), 2, 11), 2);
        for offset in [10, 11] {
            reads(lost(), 3, offset).end().passes();
        }
        reads(lost(), 3, 12).end().fails("10 or 11");
        reads(reads(lost(), 3, 10), 4, 11).end().passes();
        reads(reads(lost(), 3, 11), 4, 10).end().fails("only be 11");
        let retried = Res::Retried { unanswered: 1 };
        let late = || altered(ends(alters(case(), 1, 10), 1, retried.clone()), 2, 11);
        reads(late(), 3, 10).end().passes();
        let may_go = || is_lost(begins_delete(altered(case(), 1, 10), 2), 2);
        reads(altered(may_go(), 3, 12), 4, -1).end().passes();
        let before = is_lost(begins_delete(case(), 1), 1);
        reads(altered(before, 2, 12), 3, -1).end().passes();
    }

    #[test]
    fn what_was_refused_is_not_there() {
        let refused = fails(alters(case(), 1, 10), 1, ResponseError::UnknownMemberId);
        reads(refused, 2, 10).end().fails("it can only be -1");
    }

    #[test]
    fn a_group_with_offsets_exists_and_nobody_is_in_it() {
        let has = || altered(case(), 1, 10);
        described(has(), 2, "Empty", 0).end().passes();
        described(has(), 2, "Dead", 0).end().fails("it has 10");
        described(has(), 2, "Stable", 1).end().fails("1 members");
        let absent = |case: Case| {
            let g = G.to_owned();
            let case = begins(case, 2, Op::DescribeGroup { g });
            fails(case, 2, ResponseError::GroupIdNotFound)
        };
        absent(has())
            .end()
            .fails("it does not exist, and it has 10");
        absent(is_lost(begins_delete(has(), 3), 3)).end().passes();
        let full = fails(begins_delete(has(), 2), 2, ResponseError::NonEmptyGroup);
        full.end().fails("nobody was ever in it");
    }

    #[test]
    fn members_commit_as_well() {
        let cfg = [("group.id", G)];
        let case = case().actor(6, Role::Consumer, &cfg);
        reads(altered(case, 1, 10), 2, 3).end().is_silent();
    }
}
