//! Runs that once failed: a seed without a bug passes now; one with a bug still violates its check,
//! and passes with the bug off.

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use sim::case::{Case, RUN, carry_out, judged};
use sim::corpus::{SeedFile, reproduces, seed_files};

fn main() {
    let args = Arguments::from_args();
    let paths = seed_files().expect("seeds/ can be read");
    let trials = paths.into_iter().map(|path| {
        let name = path.file_stem().map_or_else(String::new, |stem| {
            format!("seeds::{}", stem.to_string_lossy())
        });
        Trial::test(name, move || replay(&path))
    });
    libtest_mimic::run(&args, trials.collect()).exit();
}

fn replay(path: &Path) -> Result<(), Failed> {
    let seed = SeedFile::read(path)?;
    let mut plan = seed.plan()?;
    if seed.bug.is_some() {
        if !reproduces(&seed, RUN)? {
            return Err(format!("it does not end with {} any more", seed.invariant).into());
        }
        plan.bug = None;
    }
    let shrunk = carry_out(&plan, judged(seed.engine), RUN)?.verdict;
    let whole = Case {
        bug: None,
        ..seed.case()?
    };
    for verdict in [shrunk, whole.judge(RUN)?] {
        if !verdict.passed() {
            let detail = verdict.detail.clone().unwrap_or_default();
            return Err(format!("{}\n{detail}", verdict.line()).into());
        }
    }
    Ok(())
}
