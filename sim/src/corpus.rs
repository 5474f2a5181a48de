//! Runs in files: plans that replay by themselves, and `seeds/`, the runs that once failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use broker_model::bug::Bug;
use serde::{Deserialize, Serialize};

use crate::case::{Case, Runner, carry_out, judged};
use crate::engine::EngineKind;
use crate::nearest::unknown;
use crate::plan::{FaultPlan, Plan};
use crate::scenario::{Scenario, parse_toml, root, to_toml, top_level_keys};
use crate::seed::Seed;
use crate::verdict::Verdict;
use crate::wall;

/// A plan and what to do with it: it replays from its file alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// The engine it ran on.
    pub engine: EngineKind,
    /// The check that it violates, as `name/ID`, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violates: Option<String>,
    /// Every choice.
    pub plan: Plan,
}

impl PlanFile {
    /// The plan of a run with that verdict.
    #[must_use]
    pub fn new(plan: &Plan, verdict: &Verdict) -> Self {
        PlanFile {
            engine: verdict.engine,
            violates: verdict.invariant.clone(),
            plan: plan.clone(),
        }
    }

    /// As a file says it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        to_toml(self)
    }
}

/// A file in `seeds/`: a run that once failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: Seed,
    /// The engine.
    pub engine: EngineKind,
    /// The historic bug that was switched on, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// The check that failed, as `name/ID`, or how else it ended.
    pub invariant: String,
    /// The day and the commit.
    pub found: String,
    /// One sentence: what broke.
    pub why: String,
    /// Settings of the command line, as `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<String>,
    /// The clients that the shrunk run kept; all, where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// The faults that the shrunk run kept; the scenario's, where it is not said.
    #[serde(default, rename = "fault", skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<FaultPlan>>,
}

impl SeedFile {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// One line that names the file and what is wrong.
    pub fn read(path: &Path) -> Result<SeedFile, String> {
        parse_toml(&path.display().to_string(), &read(path)?)
    }

    /// The run that it is about.
    ///
    /// # Errors
    ///
    /// A scenario, bug or setting that is gone, in one line.
    pub fn case(&self) -> Result<Case, String> {
        let settings: Result<Vec<_>, String> = self
            .set
            .iter()
            .map(|setting| crate::scenario::parse_setting(setting))
            .collect();
        let scenario = Scenario::find(&self.scenario)?.with_settings(&settings?)?;
        let bug = self.bug.as_deref().map(find_bug).transpose()?;
        Ok(Case {
            scenario: Arc::new(scenario),
            seed: self.seed,
            engine: self.engine,
            bug,
        })
    }

    /// Its plan: the draw of its seed, in the shape that it was shrunk to.
    ///
    /// # Errors
    ///
    /// As [`SeedFile::case`].
    pub fn plan(&self) -> Result<Plan, String> {
        let mut plan = self.case()?.plan();
        if let Some(faults) = &self.faults {
            plan.faults.clone_from(faults);
        }
        if let Some(clients) = &self.clients {
            plan.clients.retain(|client| clients.contains(&client.name));
        }
        Ok(plan)
    }
}

/// The bug of that id.
///
/// # Errors
///
/// One line with the nearest id.
pub fn find_bug(id: &str) -> Result<Bug, String> {
    Bug::from_id(id).ok_or_else(|| unknown("bug", id, Bug::ALL.map(Bug::id)))
}

/// A plan that a file holds, with its engine.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    /// The engine.
    pub engine: EngineKind,
    /// What it is said to violate.
    pub violates: Option<String>,
    /// Every choice.
    pub plan: Plan,
}

/// Reads a plan file or a seed file; `None` if it is neither, but perhaps a scenario.
///
/// # Errors
///
/// One line that names the file and what is wrong.
pub fn read_stored(path: &Path) -> Result<Option<Stored>, String> {
    let text = read(path)?;
    let place = path.display().to_string();
    let keys = top_level_keys(&place, &text)?;
    let has = |key: &str| keys.iter().any(|each| each == key);
    if has("plan") {
        let file: PlanFile = parse_toml(&place, &text)?;
        return Ok(Some(Stored {
            engine: file.engine,
            violates: file.violates,
            plan: file.plan,
        }));
    }
    if has("seed") {
        let file: SeedFile = parse_toml(&place, &text)?;
        let plan = file.plan().map_err(|what| format!("{place}: {what}"))?;
        return Ok(Some(Stored {
            engine: file.engine,
            violates: Some(file.invariant),
            plan,
        }));
    }
    Ok(None)
}

/// The files in `seeds/`, in order.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn seed_files() -> Result<Vec<PathBuf>, String> {
    let directory = root().join("seeds");
    let entries = fs::read_dir(&directory)
        .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    paths.sort();
    Ok(paths)
}

/// Writes a file in `seeds/` under the next number, and says where.
///
/// # Errors
///
/// When it cannot be written.
pub fn keep(seed: &SeedFile) -> Result<PathBuf, String> {
    let taken = seed_files()?.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        name.split('-').next()?.parse::<u32>().ok()
    });
    let number = taken.max().unwrap_or(0) + 1;
    let path = root().join("seeds").join(file_name(number, seed));
    fs::write(&path, to_toml(seed))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

fn file_name(number: u32, seed: &SeedFile) -> String {
    let what = seed.invariant.split('/').next().unwrap_or_default();
    format!("{number:04}-{}-{}.toml", slug(&seed.scenario), slug(what))
}

/// Whether the run that the file describes ends as the file says.
///
/// # Errors
///
/// As [`SeedFile::case`], or properties that do not go together.
pub fn reproduces(seed: &SeedFile, runner: &Runner) -> Result<bool, String> {
    let verdict = carry_out(&seed.plan()?, judged(seed.engine), runner)?.verdict;
    let ended = verdict.invariant.as_deref();
    let ended = ended.map_or_else(|| verdict.kind.word().to_lowercase(), str::to_owned);
    Ok(ended == seed.invariant)
}

/// Today and the commit that is checked out.
#[must_use]
pub fn found_now() -> String {
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(root())
        .output();
    let commit = match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    };
    format!("{}, commit {commit}", wall::today())
}

fn slug(text: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    text.chars().map(keep).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_file_is_named_after_what_broke() {
        let seed = |scenario: &str, invariant: &str| SeedFile {
            scenario: scenario.to_owned(),
            seed: Seed(7),
            engine: EngineKind::Event,
            bug: None,
            invariant: invariant.to_owned(),
            found: String::new(),
            why: String::new(),
            set: Vec::new(),
            clients: None,
            faults: None,
        };
        let leader_kill = seed("leader-kill", "acked-is-durable/DUR-1a");
        assert_eq!(
            file_name(8, &leader_kill),
            "0008-leader-kill-acked-is-durable.toml"
        );
        let odd = seed("/tmp/My one", "not deterministic");
        assert_eq!(
            file_name(9, &odd),
            "0009--tmp-my-one-not-deterministic.toml"
        );
    }
}
