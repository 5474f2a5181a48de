//! `run`: one run, its verdict, and on failure what happened.

use super::{Common, Ended, OneRun, Out};
use crate::case::{RUN, carry_out};
use crate::report::{self, Files};
use crate::run::Options;

/// Runs one seed.
pub(super) fn run(common: &Common, args: &OneRun, out: &Out) -> Ended {
    let case = common.case(args)?;
    let plan = case.plan();
    let options = Options {
        engine: case.engine,
        judge: true,
        trace: common.trace,
    };
    let carried = carry_out(&plan, options, RUN)?;
    let verdict = &carried.verdict;
    out.json(verdict);
    if !verdict.passed() {
        let page = report::page(&case, verdict, common.out.as_deref(), RUN)?;
        out.text(&page);
        return Ok(verdict.kind.exit_code());
    }
    out.text(&verdict.line());
    if common.trace || common.out.is_some() {
        let files = Files {
            plan: &plan,
            verdict,
            trace: &report::trace_of(&carried),
            end: carried.end.as_ref(),
            page: &verdict.line(),
        };
        let directory = report::directory(&plan, case.engine, common.out.as_deref());
        out.text(&files.leave(&directory)?);
    }
    Ok(verdict.kind.exit_code())
}
