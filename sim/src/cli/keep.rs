//! `keep`: writes a failing seed, shrunk, into `seeds/`.

use clap::Args;
use serde::Serialize;

use super::{Common, Ended, OneRun, Out};
use crate::case::RUN;
use crate::corpus::{self, SeedFile, found_now};
use crate::verdict::exit;

/// Arguments of `keep`.
#[derive(Args, Debug)]
pub(super) struct KeepArgs {
    #[command(flatten)]
    run: OneRun,
    /// One sentence: what broke
    #[arg(long)]
    why: String,
}

#[derive(Serialize)]
struct Kept {
    file: String,
    invariant: String,
}

/// Keeps a seed that fails.
pub(super) fn keep(common: &Common, args: &KeepArgs, out: &Out) -> Ended {
    let case = common.case(&args.run)?;
    if args.why.trim().is_empty() {
        return Err("--why is empty: say in one sentence what broke".to_owned());
    }
    // Before the long search: a seed names its scenario, and whoever replays it must find it.
    if !case.scenario.is_shared() {
        let said = &case.scenario.said;
        return Err(format!(
            "{said} is not in scenarios/: put it there to keep a seed of it"
        ));
    }
    let mut told = |text: &str| out.watch(text);
    let shrunk = crate::shrink::shrink(&case.plan(), case.engine, RUN, &mut told)?;
    let verdict = shrunk.verdict;
    let invariant = verdict
        .invariant
        .clone()
        .unwrap_or_else(|| verdict.kind.word().to_lowercase());
    let clients = shrunk.plan.clients.iter().map(|client| client.name.clone());
    let mut seed = SeedFile {
        scenario: case.scenario.name.clone(),
        seed: case.seed,
        engine: case.engine,
        bug: case.bug.map(|bug| bug.id().to_owned()),
        invariant: invariant.clone(),
        found: found_now(),
        why: args.why.trim().to_owned(),
        set: common.settings.clone(),
        clients: Some(clients.collect()),
        faults: Some(shrunk.plan.faults),
    };
    // What else was shrunk may be what makes the overrides enough: then all of the seed is kept.
    if !corpus::reproduces(&seed, RUN)? {
        seed.clients = None;
        seed.faults = None;
    }
    let path = corpus::keep(&seed)?;
    out.json(&Kept {
        file: path.display().to_string(),
        invariant,
    });
    out.text(&format!("kept  {}", path.display()));
    Ok(exit::PASS)
}
