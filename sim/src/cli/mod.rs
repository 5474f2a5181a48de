//! The command line: one file a command. Names, exit codes and JSON fields are a contract.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::case::Case;
use crate::corpus::{Stored, find_bug, read_stored};
use crate::engine::EngineKind;
use crate::scenario::{Scenario, parse_setting};
use crate::seed::Seed;
use crate::verdict::exit;

mod bench;
mod bugs;
mod check;
mod flags;
mod keep;
mod list;
mod out;
mod replay;
mod run;
mod serve;
mod shrink;
mod sweep;
mod twice;

pub use out::Out;

/// A deterministic simulation testbed for Apache Kafka.
#[derive(Parser, Debug)]
#[command(
    name = "sim",
    bin_name = "cargo sim",
    disable_help_subcommand = true,
    version = VERSION
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// `0.1.0 (--cfg tokio_unstable is on)`, as [`crate::report::TOKIO_FLAG`] says it.
const VERSION: &str = if cfg!(tokio_unstable) {
    concat!(env!("CARGO_PKG_VERSION"), " (--cfg tokio_unstable is on)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (--cfg tokio_unstable is off)")
};

/// Options that may stand behind every command; one that it cannot honour, it refuses.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// For people or for scripts: json is one object a line
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Where plan, trace, history and report go
    #[arg(long, global = true, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Switches a historic bug on
    #[arg(long, global = true, value_name = "ID")]
    pub bug: Option<String>,
    /// A property for every node, topic or client that knows it
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// Leaves the trace and the other files of what is run, though it passes
    #[arg(long, global = true)]
    pub trace: bool,
    /// The engine; a sweep without it uses both
    #[arg(long, global = true, value_enum)]
    pub engine: Option<Engine>,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// The engines, as the command line says them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Engine {
    /// One queue of events.
    Event,
    /// The async driver on turmoil.
    Turmoil,
}

impl From<Engine> for EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Event => EngineKind::Event,
            Engine::Turmoil => EngineKind::Turmoil,
        }
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Scenarios, bugs, invariants and faults, one line each
    List,
    /// One run; the verdict, and on failure what happened
    Run(OneRun),
    /// Many runs on all cores
    Sweep(sweep::SweepArgs),
    /// The same run with its trace
    Replay(replay::ReplayArgs),
    /// A smaller plan that violates the same invariant
    Shrink(Subject),
    /// Writes seeds/NNNN-….toml
    Keep(keep::KeepArgs),
    /// Two runs and their first difference
    Twice(OneRun),
    /// Each historic bug switched on until it is found
    Bugs(bugs::BugsArgs),
    /// Judges a recorded history
    Check(check::CheckArgs),
    /// The same nodes on real TCP, for real clients
    Serve(serve::ServeArgs),
    /// Simulated seconds per wall second, runs per minute, events per second
    Bench(bench::BenchArgs),
}

/// A scenario and a seed.
#[derive(Args, Clone, Debug)]
pub struct OneRun {
    /// A name in scenarios/, or a path to a .toml file
    pub scenario: String,
    /// A number, or a 40-digit commit id
    #[arg(long)]
    pub seed: Seed,
}

/// A plan or seed file, or a scenario and a seed.
#[derive(Args, Clone, Debug)]
pub struct Subject {
    /// A plan or a seed file, or a scenario
    #[arg(value_name = "FILE|SCENARIO")]
    pub subject: String,
    /// The seed, where the first argument is a scenario
    #[arg(long)]
    pub seed: Option<Seed>,
}

/// What a command ends with: an exit code, or one line that says what was wrong with its usage.
pub type Ended = Result<u8, String>;

/// Runs a command and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return usage(&one_line(&error.to_string())),
        Err(help) => {
            // Help and version are no errors.
            let _ = help.print();
            return exit::PASS;
        }
    };
    let out = Out::new(cli.common.format);
    match dispatch(cli, &out) {
        Ok(code) => code,
        Err(what) => usage(&what),
    }
}

fn dispatch(cli: Cli, out: &Out) -> Ended {
    let Cli { common, command } = cli;
    common.suit(&command)?;
    match command {
        Command::List => list::list(out),
        Command::Run(args) => run::run(&common, &args, out),
        Command::Sweep(args) => sweep::sweep(&common, &args, out),
        Command::Replay(args) => replay::replay(&common, &args, out),
        Command::Shrink(args) => shrink::shrink(&common, &args, out),
        Command::Keep(args) => keep::keep(&common, &args, out),
        Command::Twice(args) => twice::twice(&common, &args, out),
        Command::Bugs(args) => bugs::bugs(&common, &args, out),
        Command::Check(args) => check::check(&args, out),
        Command::Serve(args) => serve::serve(&common, &args, out),
        Command::Bench(args) => bench::bench(&args, out),
    }
}

fn usage(what: &str) -> u8 {
    eprintln!("error: {what}");
    exit::USAGE
}

/// What clap says in several lines, up to its usage text, in one.
fn one_line(text: &str) -> String {
    let told = text.split("\n\nUsage:").next().unwrap_or(text);
    let told = told
        .split("\n\nFor more information")
        .next()
        .unwrap_or(told);
    let lines: Vec<&str> = told
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

impl Common {
    /// The scenario of that name, with the settings of the command line.
    fn scenario(&self, said: &str) -> Result<Scenario, String> {
        let settings: Result<Vec<_>, String> = self
            .settings
            .iter()
            .map(|text| parse_setting(text))
            .collect();
        Scenario::find(said)?.with_settings(&settings?)
    }

    /// The run that is meant.
    fn case(&self, args: &OneRun) -> Result<Case, String> {
        Ok(Case {
            scenario: Arc::new(self.scenario(&args.scenario)?),
            seed: args.seed,
            engine: self.engine(),
            bug: self.bug()?,
        })
    }

    fn bug(&self) -> Result<Option<broker_model::bug::Bug>, String> {
        self.bug.as_deref().map(find_bug).transpose()
    }

    /// The engine that was named, or the fast one.
    fn engine(&self) -> EngineKind {
        self.engine.map_or(EngineKind::Event, EngineKind::from)
    }

    /// The plan in a plan or seed file.
    fn stored(&self, path: &Path) -> Result<Option<Stored>, String> {
        if !path.is_file() {
            return Ok(None);
        }
        let Some(mut stored) = read_stored(path)? else {
            return Ok(None);
        };
        if !self.settings.is_empty() {
            return Err("--set does not go with a plan: every choice is made".to_owned());
        }
        if let Some(engine) = self.engine {
            stored.engine = engine.into();
        }
        if let Some(bug) = self.bug()? {
            stored.plan.bug = Some(bug.id().to_owned());
        }
        Ok(Some(stored))
    }

    /// The plan that is meant, and the case it was drawn from if it was.
    fn subject(&self, args: &Subject) -> Result<(Stored, Option<Case>), String> {
        if args.seed.is_none()
            && let Some(stored) = self.stored(Path::new(&args.subject))?
        {
            return Ok((stored, None));
        }
        let seed = args
            .seed
            .ok_or_else(|| match Scenario::find(&args.subject) {
                Ok(_) => format!("--seed is missing for scenario {:?}", args.subject),
                Err(what) => what,
            })?;
        let case = self.case(&OneRun {
            scenario: args.subject.clone(),
            seed,
        })?;
        let stored = Stored {
            engine: case.engine,
            violates: None,
            plan: case.plan(),
        };
        Ok((stored, Some(case)))
    }
}

/// Set by Ctrl-C; commands that run many cases look at it.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is noted; a second one ends the process.
fn note_interrupts() -> &'static AtomicBool {
    // A handler that is set already is this one.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
    &INTERRUPTED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(args: &[&str]) -> u8 {
        main(["sim"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn wrong_usage_is_two() {
        assert_eq!(
            code(&["run", "no-such-scenario", "--seed", "1"]),
            exit::USAGE
        );
        assert_eq!(code(&["run", "smoke", "--seed", "seven"]), exit::USAGE);
        assert_eq!(
            code(&["run", "smoke", "--seed", "1", "--bug", "kip-102"]),
            exit::USAGE
        );
        assert_eq!(
            code(&["run", "smoke", "--seed", "1", "--set", "ack=1"]),
            exit::USAGE
        );
        assert_eq!(code(&["swep"]), exit::USAGE);
        assert_eq!(code(&["sweep", "--seeds", "9..3"]), exit::USAGE);
    }

    #[test]
    fn the_version_says_whether_the_flag_is_on() {
        let version = Cli::try_parse_from(["sim", "--version"]).expect_err("it is printed");
        let version = version.to_string();
        let told = format!("({})", crate::report::TOKIO_FLAG);
        assert!(version.contains(&told), "{version}");
    }

    #[test]
    fn what_clap_says_is_one_line() {
        let error = Cli::try_parse_from(["sim", "swep"]).expect_err("it is misspelt");
        let line = one_line(&error.to_string());
        assert!(line.contains("swep") && line.contains("'sweep'"), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
}
