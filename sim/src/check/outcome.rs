//! What a check has to say, and where it says it.

use std::collections::BTreeMap;

/// What a check says about a fact.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The fact is none of its business.
    Quiet,
    /// Its premise held, and so did its conclusion.
    Exercised,
    /// Its conclusion does not hold, for a reason that Kafka's promise allows for.
    Excused(&'static str),
    /// Its conclusion does not hold.
    Fail(Violation),
}

/// Whether something went wrong or something never happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// A safety property is broken.
    Violation,
    /// The cluster did not heal or settle within its bound.
    Stuck,
}

/// A check that failed.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// The check's `name/ID`.
    pub check: &'static str,
    /// A headline, then the facts that clash, one a line, aligned.
    pub detail: String,
    /// The fact at which it showed.
    pub n: u64,
    /// The simulated time of that fact, in microseconds.
    pub t_us: u64,
    /// Broken or stuck.
    pub class: Class,
}

impl Violation {
    /// A violation with that headline; the judge fills in who says so, and when.
    #[must_use]
    pub fn new(headline: impl Into<String>) -> Self {
        Self {
            check: "",
            detail: headline.into(),
            n: 0,
            t_us: 0,
            class: Class::Violation,
        }
    }

    /// The same for something that did not happen in time.
    #[must_use]
    pub fn stuck(headline: impl Into<String>) -> Self {
        Self {
            class: Class::Stuck,
            ..Self::new(headline)
        }
    }

    /// Adds a fact: a word for it, when it was (microseconds), and the rest.
    #[must_use]
    pub fn fact(mut self, word: &str, t_us: u64, what: impl AsRef<str>) -> Self {
        let time = format!("{}.{:03}s", t_us / 1_000_000, t_us % 1_000_000 / 1_000);
        let what = what.as_ref();
        self.detail
            .push_str(&format!("\n  {word:<14} {time:>9}  {what}"));
        self
    }

    /// The headline alone.
    #[must_use]
    pub fn headline(&self) -> &str {
        self.detail.lines().next().unwrap_or_default()
    }
}

/// What a run was found to be.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Judgement {
    /// Earliest first; expected ones too.
    pub violations: Vec<Violation>,
    /// How often each check's premise was true and not trivially so.
    pub exercised: BTreeMap<&'static str, u64>,
    /// How often a check's conclusion did not hold, by check and reason.
    pub excused: BTreeMap<(&'static str, &'static str), u64>,
}

/// Takes what checks say, and remembers who speaks.
#[derive(Debug)]
pub struct Sink {
    names: Vec<&'static str>,
    speaker: usize,
    n: u64,
    t_us: u64,
    exercised: Vec<u64>,
    excused: BTreeMap<(&'static str, &'static str), u64>,
    failed: Vec<u32>,
    violations: Vec<Violation>,
}

/// A check that fails again and again is heard this often.
const VIOLATIONS_PER_CHECK: u32 = 4;

impl Sink {
    pub(super) fn new(names: Vec<&'static str>) -> Self {
        Self {
            exercised: vec![0; names.len()],
            failed: vec![0; names.len()],
            names,
            speaker: 0,
            n: 0,
            t_us: 0,
            excused: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn at(&mut self, n: u64, t_us: u64) {
        self.n = n;
        self.t_us = t_us;
    }

    pub(super) fn speaks(&mut self, check: usize) {
        self.speaker = check;
    }

    /// Takes an outcome.
    pub fn push(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Quiet => {}
            Outcome::Exercised => self.exercised(),
            Outcome::Excused(reason) => self.excused(reason),
            Outcome::Fail(violation) => self.fail(violation),
        }
    }

    /// The premise held, and so did the conclusion.
    pub fn exercised(&mut self) {
        self.exercised[self.speaker] += 1;
    }

    /// The conclusion does not hold, but it was not promised either.
    pub fn excused(&mut self, reason: &'static str) {
        *self
            .excused
            .entry((self.names[self.speaker], reason))
            .or_default() += 1;
    }

    /// The conclusion does not hold.
    pub fn fail(&mut self, violation: Violation) {
        self.fail_at(self.n, self.t_us, violation);
    }

    /// The conclusion did not hold at an earlier fact, as is clear only now.
    pub fn fail_at(&mut self, n: u64, t_us: u64, violation: Violation) {
        self.failed[self.speaker] += 1;
        if self.failed[self.speaker] <= VIOLATIONS_PER_CHECK {
            self.violations.push(Violation {
                check: self.names[self.speaker],
                n,
                t_us,
                ..violation
            });
        }
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(super) fn excuses(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.excused
    }

    pub(super) fn into_judgement(mut self) -> Judgement {
        self.violations.sort_by_key(|violation| violation.n);
        Judgement {
            violations: self.violations,
            exercised: self.names.into_iter().zip(self.exercised).collect(),
            excused: self.excused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_reads_as_two_facts_that_clash() {
        let violation = Violation::new("orders-1 offset 42 was acknowledged and is gone")
            .fact("acknowledged", 8_112_000, "by n2  epoch 4")
            .fact("absent", 12_480_999, "on n1  epoch 5");
        let page = "\
orders-1 offset 42 was acknowledged and is gone
  acknowledged      8.112s  by n2  epoch 4
  absent           12.480s  on n1  epoch 5";
        assert_eq!(violation.detail, page);
        assert_eq!(violation.headline(), page.lines().next().expect("a line"));
    }

    #[test]
    fn a_check_is_not_heard_for_ever() {
        let mut sink = Sink::new(vec!["a/A-1", "b/B-1"]);
        for n in 0..100 {
            sink.at(n, n);
            sink.speaks(0);
            sink.fail(Violation::new("again"));
        }
        sink.speaks(1);
        sink.fail_at(2, 2, Violation::new("found late"));
        let violations = sink.into_judgement().violations;
        let order: Vec<_> = violations.iter().map(|v| (v.n, v.check)).collect();
        assert_eq!(
            order,
            [
                (0, "a/A-1"),
                (1, "a/A-1"),
                (2, "a/A-1"),
                (2, "b/B-1"),
                (3, "a/A-1")
            ]
        );
    }
}
