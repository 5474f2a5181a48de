//! One run that is asked for: a scenario, a seed, an engine, and perhaps a bug.

use std::sync::Arc;

use broker_model::bug::Bug;
use broker_model::config::PropertyError;

use crate::engine::EngineKind;
use crate::panics;
use crate::plan::Plan;
use crate::run::{self, Options, RunEnd};
use crate::scenario::Scenario;
use crate::seed::Seed;
use crate::verdict::Verdict;
use crate::wall::Stopwatch;

/// Carries out a plan. Always [`run::run`], but for tests that put something unseeded into it.
pub type Runner = dyn Fn(&Plan, Options) -> Result<RunEnd, PropertyError> + Sync;

/// One run that is asked for.
#[derive(Clone, Debug)]
pub struct Case {
    /// Of what.
    pub scenario: Arc<Scenario>,
    /// Of which everything follows.
    pub seed: Seed,
    /// On which engine.
    pub engine: EngineKind,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
}

impl Case {
    /// Every choice made.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::draw(&self.scenario, self.seed);
        plan.bug = self.bug.map(|bug| bug.id().to_owned());
        plan
    }

    /// The command that does something with this very run.
    #[must_use]
    pub fn command(&self, verb: &str) -> String {
        let mut command = format!(
            "cargo sim {verb:<6} {} --seed {}",
            shell_word(&self.scenario.said),
            self.seed
        );
        if self.engine != EngineKind::Event {
            command.push_str(&format!(" --engine {}", self.engine.name()));
        }
        if let Some(bug) = self.bug {
            command.push_str(&format!(" --bug {}", bug.id()));
        }
        for (name, value) in &self.scenario.settings {
            let setting = shell_word(&format!("{name}={value}"));
            command.push_str(&format!(" --set {setting}"));
        }
        command
    }

    /// Carries it out and judges it.
    ///
    /// # Errors
    ///
    /// Properties that do not go together.
    pub fn judge(&self, runner: &Runner) -> Result<Verdict, String> {
        carry_out(&self.plan(), judged(self.engine), runner).map(|carried| carried.verdict)
    }
}

/// As a shell must be told it: in quotes, if it would read anything into it.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A run that was carried out.
pub struct Carried {
    /// What it was found to be.
    pub verdict: Verdict,
    /// How it ended, unless it panicked.
    pub end: Option<RunEnd>,
}

/// The options of a run that is judged and not traced.
#[must_use]
pub fn judged(engine: EngineKind) -> Options {
    Options {
        engine,
        judge: true,
        trace: false,
    }
}

/// Carries out a plan; a panic is a verdict too.
///
/// # Errors
///
/// Properties that do not go together, in one line.
pub fn carry_out(plan: &Plan, options: Options, runner: &Runner) -> Result<Carried, String> {
    let stopwatch = Stopwatch::start();
    match panics::catch(|| runner(plan, options)) {
        Ok(Ok(end)) => {
            let verdict = Verdict::of(plan, options.engine, &end, stopwatch.ms());
            let end = Some(end);
            Ok(Carried { verdict, end })
        }
        Ok(Err(error)) => Err(format!("{} seed {}: {error}", plan.scenario, plan.seed)),
        Err(text) => {
            let verdict = Verdict::of_panic(plan, options.engine, text, stopwatch.ms());
            Ok(Carried { verdict, end: None })
        }
    }
}

/// The runner of everything but tests.
pub const RUN: &Runner = &run::run;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_can_be_pasted() {
        let text = "title = 't'\nwhy = []\n[[node]]\ncount = 1\n";
        let scenario = Scenario::parse("t", "my own/t.toml", text).expect("it is fine");
        let strategy = ("partition.assignment.strategy", "[RangeAssignor, it's]");
        let settings = [("acks", "1..5"), strategy];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let case = Case {
            scenario: Arc::new(Scenario {
                settings: settings.to_vec(),
                ..scenario
            }),
            seed: Seed(7),
            engine: EngineKind::Turmoil,
            bug: None,
        };
        assert_eq!(
            case.command("replay"),
            "cargo sim replay 'my own/t.toml' --seed 7 --engine turmoil --set acks=1..5 \
             --set 'partition.assignment.strategy=[RangeAssignor, it'\\''s]'"
        );
    }
}
