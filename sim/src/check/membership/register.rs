//! The committed offset of a group and partition is a register: commits write it, and whoever asks reads it. There is an
//! order of writes and reads that explains what was read. KAFKA-20634 loses commits; O9.
//!
//! A commit's metadata names its writer, so that each write has a value of its own and zones decide
//! (`world/register.rs`). A read that does not tell its writer is attributed to the only write of that offset; where
//! there are several, GRP-5 says what it can. Reads that a coordinator without a lease may have answered
//! can be stale, and only have to be of a write that did not fail.
//!
//! Groups without members, which admin clients deal with, are judged call by call (`administered.rs`).

use super::administered::Administered;
use super::{LATE, LOG_LOST, OFFSETS_EXPIRED, lost_log, may_have_expired, was_late};
use crate::check::world::members::{CommitFacts, GroupFacts, ReadFacts};
use crate::check::world::register::{self, Flaw, Read, Write};
use crate::check::{Check, Kind, Sink, Violation, World};
use crate::history::P;
use crate::observe::{Fact, Observed};

/// See the module.
#[derive(Default)]
pub(in crate::check) struct Register {
    administered: Administered,
}

impl Check for Register {
    fn name(&self) -> &'static str {
        "committed-offset-register/GRP-4"
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Invoked, Kind::Succeeded, Kind::Failed, Kind::Unknown]
    }

    fn on(&mut self, event: &Observed<'_>, world: &World, sink: &mut Sink) {
        if let Fact::History(line) = event.fact {
            self.administered.on(line, world, sink);
        }
    }

    fn finish(&mut self, world: &World, sink: &mut Sink) {
        for group in &world.members.groups {
            for &p in group.parts.keys() {
                Operations::of(world, group, p).judge(sink);
            }
        }
    }
}

/// What was done to one register.
struct Operations<'a> {
    world: &'a World,
    group: &'a GroupFacts,
    p: P,
    /// Those that did not certainly fail, with their offsets.
    commits: Vec<(&'a CommitFacts, (i64, i64))>,
    /// Reads that were not stale and whose writer is known.
    reads: Vec<&'a ReadFacts>,
    of: Vec<Read>,
    /// Reads of what nobody wrote.
    phantoms: Vec<&'a ReadFacts>,
}

impl<'a> Operations<'a> {
    fn of(world: &'a World, group: &'a GroupFacts, p: P) -> Self {
        let all = group.writes(p).filter(|(commit, _)| commit.may_count());
        let mut operations = Operations {
            world,
            group,
            p,
            commits: all.collect(),
            reads: Vec::new(),
            of: Vec::new(),
            phantoms: Vec::new(),
        };
        for read in &group.parts[&p].reads {
            operations.take(read);
        }
        operations
    }

    fn take(&mut self, read: &'a ReadFacts) {
        let commits = (0..).zip(&self.commits);
        let mut of = commits.filter(|(_, (commit, range))| read.may_be_of(commit, *range));
        let of: Option<usize> = match (read.offset, of.next(), of.next()) {
            (offset, _, _) if offset < 0 => None,
            (_, None, _) => {
                self.phantoms.push(read);
                return;
            }
            (_, Some((one, _)), None) => Some(one),
            // It cannot be told which.
            (_, Some(_), Some(_)) => return,
        };
        let (world, members) = (self.world, &self.world.members);
        if members.is_fresh(world.white_box, read.asked_n, read.told_n) {
            let (inv, cmp) = (read.asked_n, read.told_n);
            self.reads.push(read);
            self.of.push(Read { inv, cmp, of });
        }
    }

    fn judge(&self, sink: &mut Sink) {
        for read in &self.phantoms {
            self.tell(self.phantom(read), &[], sink);
        }
        let writes = self.commits.iter().map(|(commit, _)| Write {
            inv: commit.inv_n,
            cmp: commit.cmp(),
        });
        let writes: Vec<Write> = writes.collect();
        match register::flaw(&writes, &self.of) {
            Some(flaw) => self.tell(self.story(flaw), &concerned(flaw), sink),
            None if writes.is_empty() => {}
            None => {
                for _ in &self.of {
                    sink.exercised();
                }
            }
        }
    }

    fn tell(&self, violation: Violation, concerned: &[Option<usize>], sink: &mut Sink) {
        let written = concerned.iter().flatten();
        let mut written = written.map(|&index| self.commits[index].0);
        let late = written.any(|commit| was_late(self.world, commit, commit.end_us));
        let forgot = concerned.contains(&None) && may_have_expired(self.world);
        if lost_log(self.world) {
            sink.excused(LOG_LOST);
        } else if late {
            sink.excused(LATE);
        } else if forgot {
            sink.excused(OFFSETS_EXPIRED);
        } else {
            sink.fail(violation);
        }
    }

    fn subject(&self) -> String {
        let name = self.world.clients.name(self.p);
        format!("the committed offset of group {} in {name}", self.group.id)
    }

    fn phantom(&self, read: &ReadFacts) -> Violation {
        let failed = self
            .group
            .writes(self.p)
            .find(|(commit, range)| !commit.may_count() && read.may_be_of(commit, *range));
        let headline = format!("{} is one that nobody committed", self.subject());
        let mut violation = Violation::new(headline);
        if let Some((commit, _)) = failed {
            violation = violation.fact("failed", commit.end_us, self.written(commit));
        }
        violation.fact("read", read.told_us, self.read(read))
    }

    fn story(&self, flaw: Flaw) -> Violation {
        let subject = self.subject();
        match flaw {
            Flaw::Early { read } => {
                let violation =
                    Violation::new(format!("{subject} was read before it was committed"));
                let read = self.reads[read];
                violation.fact("read", read.told_us, self.read(read))
            }
            Flaw::Back { one, other } => {
                let violation = Violation::new(format!("{subject} went there and back"));
                self.cluster(self.cluster(violation, one), other)
            }
            Flaw::Lost { kept, lost } => {
                let violation = Violation::new(format!("{subject} lost a commit"));
                self.cluster(self.cluster(violation, Some(lost)), kept)
            }
        }
    }

    /// A write, and the reads of it.
    fn cluster(&self, mut violation: Violation, of: Option<usize>) -> Violation {
        if let Some(index) = of {
            let (commit, _) = self.commits[index];
            violation = violation.fact("committed", commit.end_us, self.written(commit));
        }
        let reads = self.of.iter().zip(&self.reads);
        for (_, read) in reads.filter(|(read, _)| read.of == of) {
            violation = violation.fact("read", read.told_us, self.read(read));
        }
        violation
    }

    fn written(&self, commit: &CommitFacts) -> String {
        let offs = commit.offs.iter().find(|(p, _, _)| *p == self.p);
        let offset = offs.map_or(-1, |&(_, offset, _)| offset);
        let who = self.world.clients.who(commit.a);
        let (from, to, state) = (commit.inv_n, commit.end_n, commit.state);
        format!("{offset} by {who}, facts {from} to {to}: {state:?}")
    }

    fn read(&self, read: &ReadFacts) -> String {
        let who = self.world.clients.who(read.a);
        let (offset, from, to) = (read.offset, read.asked_n, read.told_n);
        format!("{offset} by {who}, facts {from} to {to}")
    }
}

/// The values that a flaw is about.
fn concerned(flaw: Flaw) -> Vec<Option<usize>> {
    match flaw {
        Flaw::Early { .. } => Vec::new(),
        Flaw::Back { one, other } => vec![one, other],
        Flaw::Lost { kept, lost } => vec![kept, Some(lost)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::make;
    use crate::check::testing::{Case, coordinates};

    fn case() -> Case {
        Case::of(make::<Register>)
            .part()
            .member(10, &[])
            .member(11, &[])
            .owns(10, 1)
    }

    #[test]
    fn a_commit_that_is_lost_is_found() {
        let two = || case().commits(10, 1, 1, 5).commits(10, 1, 2, 8);
        two().looks(11, 5, 1).end().fails("lost a commit");
        two().looks(11, -1, 0).end().fails("lost a commit");
        two().looks(11, 8, 2).end().passes();
    }

    #[test]
    fn a_value_that_comes_back_is_found() {
        let both = || {
            case()
                .begins_commit(10, 1, 1, 5)
                .begins_commit(10, 1, 2, 8)
                .looks(11, 5, 1)
                .looks(11, 8, 2)
        };
        let back = both().looks(11, 5, 1).looks(11, 8, 2);
        back.end().fails("went there and back");
        both().looks(11, 8, 2).end().passes();
    }

    #[test]
    fn what_nobody_committed_is_found() {
        case()
            .commits(10, 1, 1, 5)
            .looks(11, 5, 7)
            .end()
            .fails("one that nobody committed");
        case()
            .begins_commit(10, 1, 1, 5)
            .refused(10, 1, 22)
            .looks(11, 5, 1)
            .end()
            .fails("failed");
    }

    #[test]
    fn a_resume_reads_the_register_too() {
        let two = || case().commits(10, 1, 1, 5).commits(10, 1, 2, 8).owns(11, 2);
        two()
            .resets(11, -1, 5, "committed")
            .end()
            .fails("lost a commit");
        two().resets(11, -1, 8, "committed").end().passes();
        // Whose 8 it is cannot be told.
        two()
            .commits(11, 2, 3, 8)
            .owns(10, 3)
            .resets(10, -1, 8, "committed")
            .end()
            .is_silent();
    }

    #[test]
    fn an_automatic_commit_overwrites_as_well() {
        let auto = || case().commits(10, 1, 1, 5).auto_commits(10, 1, 8);
        auto().looks(11, 5, 1).end().fails("lost a commit");
        auto().looks(11, 8, 0).end().passes();
        auto().looks(11, 9, 0).end().fails("nobody committed");
    }

    #[test]
    fn stale_reads_need_two_coordinators_and_end_with_the_faults() {
        let stale = |case: Case| {
            let two = case.note(1, coordinates()).note(2, coordinates());
            two.commits(10, 1, 1, 5).commits(10, 1, 2, 8)
        };
        stale(case()).looks(11, 5, 1).end().is_silent();
        stale(case())
            .looks(11, 5, 7)
            .end()
            .fails("nobody committed");
        stale(case())
            .phase("final")
            .looks(11, 5, 1)
            .end()
            .fails("lost a commit");
    }

    #[test]
    fn a_commit_that_took_long_may_come_twice() {
        case()
            .begins_commit(10, 1, 1, 5)
            .wait_ms(30_000)
            .committed_as(10, 1, 1)
            .commits(10, 1, 2, 8)
            .looks(11, 5, 1)
            .end()
            .is_excused(LATE);
    }
}
