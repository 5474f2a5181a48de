//! `check`: judges a recorded history, simulated or real, by what clients saw.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Ended, Out};
use crate::check::{black_box, is_whole};
use crate::history::{Body, Line, read_jsonl};
use crate::verdict::{exit, name_of, seconds};

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The history, one event a line
    #[arg(value_name = "HISTORY.jsonl")]
    history: PathBuf,
}

#[derive(Serialize)]
struct Finding {
    verdict: &'static str,
    invariant: Option<&'static str>,
    detail: Option<String>,
    at_ms: Option<u64>,
    events: usize,
    /// Whether the history goes to the end of its run; if not, fewer checks have a say.
    whole: bool,
    exercised: std::collections::BTreeMap<&'static str, u64>,
    expected: Vec<&'static str>,
}

/// Judges it.
pub(super) fn check(args: &CheckArgs, out: &Out) -> Ended {
    let place = args.history.display();
    let file =
        File::open(&args.history).map_err(|error| format!("cannot read {place}: {error}"))?;
    let lines = read_jsonl(BufReader::new(file)).map_err(|what| format!("{place} {what}"))?;
    if !is_history(&lines) {
        return Err(format!(
            "{place} is not a history: its first line is no header"
        ));
    }
    let expected = expected(&lines);
    let judgement = black_box(&lines);
    let is_expected = |check: &str| expected.iter().any(|name| name == name_of(check));
    let violation = judgement
        .violations
        .iter()
        .find(|violation| !is_expected(violation.check));
    let seen = judgement
        .violations
        .iter()
        .map(|violation| name_of(violation.check));
    let mut seen: Vec<&str> = seen.filter(|name| is_expected(name)).collect();
    seen.sort_unstable();
    seen.dedup();
    out.json(&Finding {
        verdict: if violation.is_some() {
            "violation"
        } else {
            "pass"
        },
        invariant: violation.map(|violation| violation.check),
        detail: violation.map(|violation| violation.detail.clone()),
        at_ms: violation.map(|violation| violation.t_us / 1_000),
        events: lines.len(),
        whole: is_whole(&lines),
        exercised: judgement.exercised.clone(),
        expected: seen,
    });
    let exercised = judgement
        .exercised
        .values()
        .filter(|count| **count > 0)
        .count();
    match violation {
        None => out.text(&format!(
            "pass  {place}  {} events, {exercised} of {} checks exercised{}",
            lines.len(),
            judgement.exercised.len(),
            if is_whole(&lines) {
                ""
            } else {
                "; it ends early, so nothing is said of the whole run"
            }
        )),
        Some(violation) => out.text(&format!(
            "FAIL  {place}  {}  at {}\n\n{}",
            violation.check,
            seconds(violation.t_us / 1_000),
            violation.detail
        )),
    }
    Ok(if violation.is_some() {
        exit::VIOLATION
    } else {
        exit::PASS
    })
}

/// Whether somebody says what these lines are of. Nothing at all is no history.
fn is_history(lines: &[Line]) -> bool {
    matches!(lines.first(), Some(line) if matches!(line.b, Body::Hdr(_)))
}

/// What the run's scenario expected to be violated, as its header says.
fn expected(lines: &[Line]) -> Vec<String> {
    let header = lines.iter().find_map(|line| match &line.b {
        Body::Hdr(header) => header.cfg.get("expect"),
        _ => None,
    });
    header.map_or_else(Vec::new, |names| {
        names.split(',').map(str::to_owned).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Hdr, Nem};

    #[test]
    fn a_history_begins_with_a_header() {
        let line = |n, b| Line { n, t: 0, b };
        let header = line(1, Body::Hdr(Hdr::default()));
        let healed = line(2, Body::Nem(Nem::Heal { id: 1 }));
        assert!(!is_history(&[]));
        assert!(!is_history(std::slice::from_ref(&healed)));
        assert!(is_history(&[header, healed]));
    }
}
