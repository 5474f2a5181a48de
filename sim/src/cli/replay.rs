//! `replay`: the same run again, with its trace.

use std::io::{self, IsTerminal};

use clap::Args;

use super::{Common, Ended, Out, Subject};
use crate::case::{RUN, carry_out};
use crate::report::{Files, directory, summary, trace_of};
use crate::run::Options;
use crate::scenario::value::{Micros, parse_time};
use crate::trace::{self, TraceLine};

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    subject: Subject,
    /// Up to that simulated time
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<Micros>,
    /// Only what these do: n1,p/0,world
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
}

/// Runs it again.
pub(super) fn replay(common: &Common, args: &ReplayArgs, out: &Out) -> Ended {
    let (stored, case) = common.subject(&args.subject)?;
    if let Some(name) = args.only.iter().find(|name| !is_known(&stored.plan, name)) {
        let known = stored
            .plan
            .clients
            .iter()
            .map(|client| client.name.as_str());
        return Err(crate::nearest::unknown("process", name, known));
    }
    if io::stderr().is_terminal() {
        trace::log::show();
    }
    let options = Options {
        engine: stored.engine,
        judge: true,
        trace: true,
    };
    let carried = carry_out(&stored.plan, options, RUN)?;
    let trace = trace_of(&carried);
    let mut shown = String::new();
    for line in trace.iter().filter(|line| args.shows(line)) {
        shown.push_str(&format!("{line}\n"));
    }
    let mut text = format!("plan   {}\n", summary(&stored.plan));
    text.push_str(&carried.verdict.line());
    if let Some(detail) = &carried.verdict.detail {
        text.push_str(&format!("\n\n{detail}"));
    }
    if let Some(case) = case {
        text.push_str(&format!("\n\n{}", case.command("shrink")));
    }
    if common.trace || common.out.is_some() {
        let files = Files {
            plan: &stored.plan,
            verdict: &carried.verdict,
            trace: &trace,
            end: carried.end.as_ref(),
            page: &text,
        };
        let directory = directory(&stored.plan, stored.engine, common.out.as_deref());
        let left = files.leave(&directory)?;
        text.push_str(&format!("\n{left}"));
    }
    out.text(&format!("{shown}\n{text}"));
    out.json(&carried.verdict);
    Ok(carried.verdict.kind.exit_code())
}

impl ReplayArgs {
    fn shows(&self, line: &TraceLine) -> bool {
        let in_time = self.until.is_none_or(|until| line.at_us <= until.0);
        let named = self.only.is_empty() || self.only.contains(&line.who);
        in_time && named
    }
}

fn is_known(plan: &crate::plan::Plan, name: &str) -> bool {
    ["world", "history", "admin"].contains(&name)
        || name.starts_with("final/")
        || plan
            .nodes
            .iter()
            .any(|node| format!("n{}", node.id) == name)
        || plan.clients.iter().any(|client| client.name == name)
}
