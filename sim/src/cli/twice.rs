//! `twice`: two runs of one seed, and the first difference.

use std::path::Path;

use serde::Serialize;

use super::{Common, Ended, OneRun, Out};
use crate::case::{Carried, RUN, carry_out};
use crate::report::{Files, directory, trace_of};
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
    let mut first = carry_out(&plan, options, RUN)?;
    // Before the second run: a panic leaves its trace with the thread.
    let one = trace_of(&first);
    let second = carry_out(&plan, options, RUN)?;
    let other = trace_of(&second);
    let difference = difference((&first, &one), (&second, &other));
    if let Some(difference) = &difference {
        first.verdict.differs(difference.clone());
    }
    let verdict = &first.verdict;
    out.json(&Twice {
        equal: difference.is_none(),
        verdict,
    });
    match &difference {
        None => out.text(&format!("equal  {}", verdict.line())),
        Some(difference) => out.text(&format!("{}\n{difference}", verdict.line())),
    }
    if common.trace || common.out.is_some() {
        let place = directory(&plan, case.engine, common.out.as_deref());
        let page = verdict.line();
        let files = |carried: &Carried, trace: &[TraceLine], place: &Path| {
            let files = Files {
                plan: &plan,
                verdict: &carried.verdict,
                trace,
                end: carried.end.as_ref(),
                page: &page,
            };
            files.leave(place)
        };
        out.text(&files(&first, &one, &place)?);
        if difference.is_some() {
            out.text(&files(&second, &other, &place.join("second"))?);
        }
    }
    if difference.is_some() {
        return Ok(exit::NOT_DETERMINISTIC);
    }
    Ok(verdict.kind.exit_code())
}

/// A run and its trace.
type Traced<'a> = (&'a Carried, &'a [TraceLine]);

/// The first line that differs, or at least the digests, or what the runs were found to be.
fn difference((first, one): Traced<'_>, (second, other): Traced<'_>) -> Option<String> {
    let same_lines = one == other;
    if same_lines && first.verdict.digest == second.verdict.digest {
        return first.verdict.unlike(&second.verdict);
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
