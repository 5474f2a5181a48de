//! Runs the checks over the facts of a run.

use std::collections::BTreeMap;

use broker_model::types::NodeId;

use super::Kind;
#[cfg(test)]
use super::world::lineage::HistoryCut;
use super::{ALL, BLACK_BOX, Boxed, Judgement, Sink, Violation, World};
use crate::history::{Body, Hdr, Line, Nem};
use crate::observe::{Fact, NodeEnd, Observed, Setup};

/// Judges one run while it happens.
pub struct Judge {
    world: World,
    checks: Vec<Boxed>,
    /// For each kind of fact, who looks at it.
    concerned: Vec<Vec<usize>>,
    sink: Sink,
    /// How many violations were looked at for `unexpected`.
    seen: usize,
    unexpected: Option<usize>,
}

impl Judge {
    /// All checks, for a run of that plan.
    #[must_use]
    pub fn new(setup: &Setup<'_>) -> Self {
        Self::with(World::new(setup), ALL)
    }

    /// One check alone, for its tests.
    #[cfg(test)]
    pub(super) fn of_one(setup: &Setup<'_>, make: fn() -> Boxed) -> Self {
        Self::with(World::new(setup), &[make])
    }

    /// Committed offsets of a partition were lost with nobody to blame.
    #[cfg(test)]
    pub(super) fn destroy(&mut self, p: crate::history::P, cut: HistoryCut) {
        self.world.clients.cut(p, cut);
    }

    /// A leader that was overruled committed a value.
    #[cfg(test)]
    pub(super) fn commit_in_vain(&mut self, p: crate::history::P, value: (i64, u64)) {
        self.world.clients.committed_in_vain(p, &[value]);
    }

    fn with(world: World, checks: &[fn() -> Boxed]) -> Self {
        let checks: Vec<Boxed> = checks.iter().map(|make| make()).collect();
        let mut concerned = vec![Vec::new(); Kind::ALL.len()];
        for (index, check) in checks.iter().enumerate() {
            for &kind in check.wants() {
                concerned[kind as usize].push(index);
            }
        }
        let names = checks.iter().map(|check| check.name()).collect();
        Self {
            world,
            checks,
            concerned,
            sink: Sink::new(names),
            seen: 0,
            unexpected: None,
        }
    }

    /// Takes the next fact.
    pub fn observe(&mut self, event: &Observed<'_>) {
        self.sink.at(event.n, event.t_us);
        self.world.observe(event);
        for &index in &self.concerned[Kind::of(&event.fact) as usize] {
            self.sink.speaks(index);
            self.checks[index].on(event, &self.world, &mut self.sink);
        }
        if self.seen < self.sink.violations().len() {
            self.find_unexpected();
        }
    }

    /// The first violation that the scenario does not expect: there is no point in going on.
    #[must_use]
    pub fn first_violation(&self) -> Option<&Violation> {
        self.unexpected.map(|index| &self.sink.violations()[index])
    }

    /// What happened to leaders so far, and which committed offsets were lost that nobody promised to
    /// keep, as history lines. They belong into an exported history, in their order `n`, and into no
    /// digest.
    #[must_use]
    pub fn told(&self) -> &[Line] {
        self.world.told()
    }

    /// Judges the whole run; `ends` are the nodes as they are now.
    #[must_use]
    pub fn finish(mut self, ends: &BTreeMap<NodeId, NodeEnd>) -> Judgement {
        self.world.end(ends.clone());
        for (index, check) in self.checks.iter_mut().enumerate() {
            self.sink.speaks(index);
            check.finish(&self.world, &mut self.sink);
        }
        self.sink.into_judgement()
    }

    /// What was found of a run that ended early: checks that need the whole run say nothing.
    #[must_use]
    pub fn stop(self) -> Judgement {
        self.sink.into_judgement()
    }

    fn find_unexpected(&mut self) {
        let violations = self.sink.violations();
        if self.unexpected.is_none() {
            self.unexpected = (self.seen..violations.len())
                .find(|&index| !self.world.expects(violations[index].check));
        }
        self.seen = violations.len();
    }
}

/// Judges a recorded history by what clients saw. Of one that ends early, checks that need the whole run
/// say nothing.
#[must_use]
pub fn black_box(lines: &[Line]) -> Judgement {
    let none = Hdr::default();
    let header = lines.iter().find_map(|line| match &line.b {
        Body::Hdr(header) => Some(header),
        _ => None,
    });
    let world = World::of_history(header.unwrap_or(&none));
    let mut judge = Judge::with(world, BLACK_BOX);
    for line in lines {
        judge.observe(&Observed {
            n: line.n,
            t_us: line.t,
            fact: Fact::History(line),
        });
    }
    if is_whole(lines) {
        judge.finish(&BTreeMap::new())
    } else {
        judge.stop()
    }
}

/// Whether a history goes to the end of its run. One that tells no phases cannot say that it does not.
#[must_use]
pub fn is_whole(lines: &[Line]) -> bool {
    let last = lines.iter().rev().find_map(|line| match &line.b {
        Body::Nem(Nem::Phase { name }) => Some(name),
        _ => None,
    });
    last.is_none_or(|name| name == "done")
}
