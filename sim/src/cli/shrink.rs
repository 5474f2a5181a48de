//! `shrink`: a smaller plan that violates the same invariant.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{Common, Ended, Out, Subject};
use crate::case::{RUN, shell_word};
use crate::corpus::PlanFile;
use crate::plan::Plan;
use crate::report::{directory, summary};
use crate::shrink::Shrunk;
use crate::verdict::exit;

#[derive(Serialize)]
struct Result<'a> {
    scenario: &'a str,
    seed: u64,
    invariant: Option<&'a str>,
    items_before: usize,
    items: usize,
    runs: u64,
    plan: String,
}

/// Shrinks a run that fails.
pub(super) fn shrink(common: &Common, args: &Subject, out: &Out) -> Ended {
    let (stored, _) = common.subject(args)?;
    let mut told = |text: &str| out.watch(text);
    let shrunk = crate::shrink::shrink(&stored.plan, stored.engine, RUN, &mut told)?;
    let Shrunk { plan, verdict, .. } = &shrunk;
    let directory = directory(plan, stored.engine, common.out.as_deref());
    let path = directory.join("shrunk.toml");
    write(&directory, &path, &PlanFile::new(plan, verdict))?;
    out.json(&Result {
        scenario: &plan.scenario,
        seed: plan.seed.0,
        invariant: verdict.invariant.as_deref(),
        items_before: shrunk.items_before,
        items: shrunk.items,
        runs: shrunk.runs,
        plan: path.display().to_string(),
    });
    out.text(&page(&stored.plan, &shrunk, &path));
    Ok(exit::PASS)
}

fn write(directory: &Path, path: &Path, plan: &PlanFile) -> std::result::Result<(), String> {
    let told = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(directory).map_err(told)?;
    fs::write(path, plan.to_toml()).map_err(told)
}

fn page(from: &Plan, shrunk: &Shrunk, path: &Path) -> String {
    let Shrunk {
        plan,
        verdict,
        items: left,
        items_before,
        runs,
    } = shrunk;
    let mut text = format!(
        "{}\n\n  from   {}\n  to     {}\n  items  {left} of {items_before} ({runs} runs)\n",
        verdict.line(),
        summary(from),
        summary(plan),
    );
    for fault in &plan.faults {
        let at = crate::verdict::seconds(fault.at_ms);
        text.push_str(&format!("    {at:>8}  {:?}\n", fault.fault));
    }
    if let Some(detail) = &verdict.detail {
        text.push('\n');
        for line in detail.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let path = shell_word(&path.display().to_string());
    text.push_str(&format!("\n  replay   cargo sim replay {path}"));
    text
}
