//! `twice`: two runs of one seed, and the first difference.

use serde::Serialize;

use super::{Common, Ended, OneRun, Out};
use crate::case::{Carried, RUN, carry_out};
use crate::run::Options;
use crate::trace::TraceLine;
use crate::verdict::{Verdict, exit};

#[derive(Serialize)]
struct Twice<'a> {
    equal: bool,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Runs one seed twice.
pub(super) fn twice(common: &Common, args: &OneRun, out: &Out) -> Ended {
    let case = common.case(args)?;
    let plan = case.plan();
    let options = Options {
        engine: case.engine,
        judge: true,
        trace: true,
    };
    let first = carry_out(&plan, options, RUN)?;
    let second = carry_out(&plan, options, RUN)?;
    let difference = difference(&first, &second);
    let mut verdict = first.verdict;
    if let Some(difference) = &difference {
        verdict.differs(difference.clone());
    }
    out.json(&Twice {
        equal: difference.is_none(),
        verdict: &verdict,
    });
    match &difference {
        None => out.text(&format!("equal  {}", verdict.line())),
        Some(difference) => out.text(&format!("{}\n{difference}", verdict.line())),
    }
    if difference.is_some() {
        return Ok(exit::NOT_DETERMINISTIC);
    }
    Ok(verdict.kind.exit_code())
}

/// The first line that differs, or at least the digests.
fn difference(first: &Carried, second: &Carried) -> Option<String> {
    let (one, other) = (lines(first), lines(second));
    let same_lines = one == other;
    if same_lines && first.verdict.digest == second.verdict.digest {
        return None;
    }
    let at = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let at = at.min(one.len().min(other.len()));
    let said = |lines: &[TraceLine]| {
        lines
            .get(at)
            .map_or_else(|| "(the end)".to_owned(), ToString::to_string)
    };
    let digest = |carried: &Carried| carried.verdict.digest.clone().unwrap_or_default();
    Some(format!(
        "the runs differ{} trace line {}\n  first   {}\n  second  {}\n  digests {} and {}",
        if same_lines {
            " without a trace of it, after"
        } else {
            " at"
        },
        at + 1,
        said(one),
        said(other),
        digest(first),
        digest(second),
    ))
}

fn lines(carried: &Carried) -> &[TraceLine] {
    let trace = carried.end.as_ref().and_then(|end| end.trace.as_ref());
    trace.map_or(&[], |trace| trace.lines())
}
