//! Plays what can be played of a schedule that nobody thought out: the fuzz draws verbs at random.

use super::plan::plan;
use super::script::{ScriptError, parse};
use super::stage::Stage;
use crate::check::{Judge, Violation};
use crate::cluster::Cluster;
use crate::engine::event::EventEngine;
use crate::observe::Setup;
use crate::recorder::Recorder;
use crate::run::Run;

/// What came of a random schedule.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// The script without the lines that could not be carried out: [`super::transcript`] plays it all.
    pub script: String,
    /// What is broken, if anything is.
    pub violation: Option<Violation>,
}

/// Plays a script, passes over what cannot be done where it stands (no such timer is armed, the node runs
/// already), and asks the judge. Writes no transcript, which would take most of the time.
///
/// # Errors
///
/// The first line that cannot be understood, or a cluster that does not form.
pub fn attempt(script: &str) -> Result<Attempt, ScriptError> {
    let verbs = parse(script)?;
    let plan = plan(&verbs)?;
    let judge = Judge::new(&Setup { plan: &plan });
    let recorder = Recorder::new(Some(judge), None);
    let engine = EventEngine::new(plan.seed, plan.run.latency_us, recorder);
    let run = Run::new(&plan, Cluster::new(engine)).with_pinned_timers();
    let mut stage = Stage::new(run, &plan.expect);
    let whole = |what| ScriptError { line: 1, what };
    stage.form_once().map_err(whole)?;
    let mut lines: Vec<&str> = script.lines().collect();
    for (line, verb) in verbs {
        if stage.run.violated() {
            break;
        }
        // A verb that cannot be carried out has changed nothing.
        if stage.play(verb).is_err() {
            lines[line - 1] = "";
        }
    }
    lines.retain(|line| !line.is_empty());
    Ok(Attempt {
        script: lines.join("\n") + "\n",
        violation: stage.conclude().map_err(whole)?.violation,
    })
}
