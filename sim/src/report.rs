//! The page that a failing seed prints, and the files that it leaves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::case::{Carried, Case, Runner, carry_out};
use crate::corpus::PlanFile;
use crate::engine::EngineKind;
use crate::history;
use crate::plan::{Plan, Script};
use crate::run::{Options, RunEnd};
use crate::scenario::root;
use crate::trace::{TraceLine, left_behind};
use crate::verdict::{Kind, Verdict, seconds};

/// Whether tokio was built as .cargo/config.toml asks for: RUSTFLAGS in the environment replace it
/// without a word.
pub const TOKIO_FLAG: &str = if cfg!(tokio_unstable) {
    "--cfg tokio_unstable is on"
} else {
    "--cfg tokio_unstable is off"
};

/// How many lines of the trace the page shows.
const LAST_LINES: usize = 12;

/// Where the files of a run go: `leader-kill-7`, and `leader-kill-7-turmoil-kip-101-hw-truncation` on
/// another engine and with a bug, so that neither overwrites the other.
#[must_use]
pub fn directory(plan: &Plan, engine: EngineKind, out: Option<&Path>) -> PathBuf {
    let target = || root().join("target").join("sim");
    let parent = out.map_or_else(target, Path::to_path_buf);
    let mut name = format!("{}-{}", plan.scenario, plan.seed);
    if engine != EngineKind::Event {
        name.push_str(&format!("-{}", engine.name()));
    }
    if let Some(bug) = &plan.bug {
        name.push_str(&format!("-{bug}"));
    }
    parent.join(name)
}

/// The trace of a run, also of one that panicked.
#[must_use]
pub fn trace_of(carried: &Carried) -> Vec<TraceLine> {
    match &carried.end {
        Some(end) => {
            let trace = end.trace.as_ref();
            trace.map_or(&[][..], |trace| trace.lines()).to_vec()
        }
        None => left_behind(),
    }
}

/// Runs a failing case again with its trace, writes its files and says what happened.
///
/// # Errors
///
/// Properties that do not go together.
pub fn page(
    case: &Case,
    verdict: &Verdict,
    out: Option<&Path>,
    runner: &Runner,
) -> Result<String, String> {
    let plan = case.plan();
    let options = Options {
        engine: case.engine,
        judge: true,
        trace: true,
    };
    let again = carry_out(&plan, options, runner)?;
    let trace = trace_of(&again);
    let directory = directory(&plan, case.engine, out);
    let mut page = headline(verdict);
    page.push_str(&format!("\n  plan   {}\n", summary(&plan)));
    page.push_str(&format!("  build  {TOKIO_FLAG}\n"));
    page.push_str(&tail(&trace, &directory));
    if again.verdict.digest != verdict.digest && verdict.kind != Kind::Nondeterministic {
        page.push_str("  the run was not the same a second time: it is not deterministic\n");
    }
    page.push('\n');
    for (verb, says) in [("replay", ""), ("shrink", ""), ("keep", " --why \"…\"")] {
        let command = match verb {
            "keep" if !case.scenario.is_shared() => {
                "put the scenario in scenarios/ first".to_owned()
            }
            verb => case.command(verb) + says,
        };
        page.push_str(&format!("  {verb:<8} {command}\n"));
    }
    let files = Files {
        plan: &plan,
        verdict,
        trace: &trace,
        end: again.end.as_ref(),
        page: &page,
    };
    if let Err(error) = files.write(&directory) {
        page.push_str(&format!(
            "  cannot write {}: {error}\n",
            directory.display()
        ));
    }
    Ok(page)
}

/// Everything that a run leaves behind.
pub struct Files<'a> {
    /// Every choice.
    pub plan: &'a Plan,
    /// What it was found to be.
    pub verdict: &'a Verdict,
    /// Line by line.
    pub trace: &'a [TraceLine],
    /// How it ended, unless it panicked.
    pub end: Option<&'a RunEnd>,
    /// What was printed.
    pub page: &'a str,
}

impl Files<'_> {
    /// Writes them as [`Files::write`] does, and says where.
    ///
    /// # Errors
    ///
    /// One line with the directory that cannot be written.
    pub fn leave(&self, directory: &Path) -> Result<String, String> {
        match self.write(directory) {
            Ok(()) => Ok(format!("files  {}", directory.display())),
            Err(error) => Err(format!("cannot write {}: {error}", directory.display())),
        }
    }

    /// Writes `plan.toml`, `trace.txt`, `history.jsonl` and `report.txt`.
    ///
    /// # Errors
    ///
    /// When the directory or a file cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let plan = PlanFile::new(self.plan, self.verdict);
        fs::write(directory.join("plan.toml"), plan.to_toml())?;
        if !self.trace.is_empty() {
            let mut file = BufWriter::new(File::create(directory.join("trace.txt"))?);
            for line in self.trace {
                writeln!(file, "{line}")?;
            }
            file.flush()?;
        }
        if let Some(end) = self.end {
            let file = BufWriter::new(File::create(directory.join("history.jsonl"))?);
            history::write_jsonl(file, &end.lines)?;
        }
        fs::write(directory.join("report.txt"), self.page)
    }
}

/// `FAIL  leader-kill  seed 5  acked-is-durable/DUR-1a  at 12.480s`, and the facts that clash.
fn headline(verdict: &Verdict) -> String {
    let Verdict { scenario, seed, .. } = verdict;
    let word = verdict.kind.word();
    let mut text = format!("{word}  {scenario}  seed {seed}");
    if let Some(check) = &verdict.invariant {
        text.push_str(&format!("  {check}"));
    }
    if let Some(at_ms) = verdict.at_ms {
        text.push_str(&format!("  at {}", seconds(at_ms)));
    }
    text.push_str("\n\n");
    for line in verdict.detail.as_deref().unwrap_or_default().lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// `3 nodes, 2 partitions, 2 producers x 212 records, 1 consumer, 1 kill`
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let partitions: i32 = plan.topics.iter().map(|topic| topic.partitions).sum();
    let mut producers = 0;
    let mut consumers = 0;
    let mut records = 0;
    let mut admins = 0;
    let mut admin_calls = 0;
    for client in &plan.clients {
        match &client.script {
            Script::Produce { sends, .. } => {
                producers += 1;
                records += sends.len();
            }
            Script::Consume { .. } | Script::Member(_) => consumers += 1,
            Script::Administer { calls, .. } => {
                admins += 1;
                admin_calls += calls.len();
            }
        }
    }
    let mut parts = vec![
        counted(plan.nodes.len(), "node"),
        counted(usize::try_from(partitions).unwrap_or(0), "partition"),
    ];
    if let Some(each) = records.checked_div(producers) {
        parts.push(format!(
            "{} x {}",
            counted(producers, "producer"),
            counted(each, "record")
        ));
    }
    if consumers > 0 {
        parts.push(counted(consumers, "consumer"));
    }
    if let Some(each) = admin_calls.checked_div(admins) {
        parts.push(format!(
            "{} x {}",
            counted(admins, "admin"),
            counted(each, "call")
        ));
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in &plan.faults {
        *kinds.entry(fault.fault.kind()).or_default() += 1;
    }
    parts.extend(kinds.into_iter().map(|(kind, count)| counted(count, kind)));
    parts.join(", ")
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "power-loss") => format!("{count} power-losses"),
        _ => format!("{count} {what}s"),
    }
}

fn tail(trace: &[TraceLine], directory: &Path) -> String {
    let told: Vec<&TraceLine> = trace.iter().filter(|line| line.who != "history").collect();
    let last = &told[told.len().saturating_sub(LAST_LINES)..];
    let file = directory.join("trace.txt");
    let mut text = format!(
        "  last {} of {} trace lines (all: {})\n",
        last.len(),
        thousands(trace.len()),
        file.display()
    );
    for line in last {
        let line: String = line.to_string().chars().take(160).collect();
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// `8,204`
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::seed::Seed;

    #[test]
    fn runs_that_differ_leave_their_files_in_different_places() {
        let text = "title = 't'\nwhy = []\n[[node]]\ncount = 1\n";
        let scenario = Scenario::parse("t", "t.toml", text).expect("it is fine");
        let mut plan = Plan::draw(&scenario, Seed(7));
        let out = Some(Path::new("out"));
        let of = |plan: &Plan, engine| directory(plan, engine, out).display().to_string();
        assert_eq!(of(&plan, EngineKind::Event), "out/t-7");
        assert_eq!(of(&plan, EngineKind::Turmoil), "out/t-7-turmoil");
        plan.bug = Some("kip-101-hw-truncation".to_owned());
        let both = of(&plan, EngineKind::Turmoil);
        assert_eq!(both, "out/t-7-turmoil-kip-101-hw-truncation");
    }

    #[test]
    fn numbers_are_read_in_groups_of_three() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(8_204), "8,204");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
