//! `bugs`: each historic bug switched on in the scenarios that can reach it, until it is found.

use std::sync::atomic::Ordering;

use clap::Args;

use super::sweep::SeedRange;
use super::{Common, Ended, Out, note_interrupts};
use crate::case::RUN;
use crate::corpus::find_bug;
use crate::coverage::aligned;
use crate::hunt::{BUDGET, Bag, HUNTS, Hunt, STARTS};
use crate::sweep::{Limits, cores};
use crate::verdict::{exit, seconds};

/// Arguments of `bugs`.
#[derive(Args, Debug)]
pub(super) struct BugsArgs {
    /// Which; all if none is named
    ids: Vec<String>,
    /// One hunt over these seeds, instead of three from 1, 100001 and 200001
    #[arg(long)]
    seeds: Option<SeedRange>,
    /// Threads; all cores if not said
    #[arg(long)]
    jobs: Option<usize>,
}

/// Hunts for them.
pub(super) fn bugs(common: &Common, args: &BugsArgs, out: &Out) -> Ended {
    let hunts = hunts(&args.ids)?;
    let limits = Limits {
        jobs: args.jobs.unwrap_or_else(cores),
        keep_going: true,
        until: None,
        interrupted: note_interrupts(),
    };
    let mut bags = Vec::new();
    for hunt in hunts {
        for (from, budget) in args.starts(hunt) {
            let bag = hunt.go(from, budget, common.engine(), limits, RUN)?;
            if limits.interrupted.load(Ordering::Relaxed) {
                out.text(&table(&bags));
                return Ok(exit::INTERRUPTED);
            }
            out.json(&bag);
            out.watch(&line(&bag).join("  "));
            bags.push(bag);
        }
    }
    out.text(&table(&bags));
    let proved = bags.iter().all(|bag| bag.found && bag.clean_pass);
    Ok(if proved {
        exit::PASS
    } else {
        exit::NOTHING_PROVED
    })
}

impl BugsArgs {
    /// Where hunts start, and how many runs each may take.
    fn starts(&self, hunt: &Hunt) -> Vec<(u64, u64)> {
        match self.seeds {
            Some(seeds) => {
                let scenarios = u64::try_from(hunt.scenarios.len()).expect("few scenarios");
                let runs = seeds.count().saturating_mul(scenarios);
                vec![(seeds.first, runs.min(BUDGET))]
            }
            None => STARTS.iter().map(|&from| (from, BUDGET)).collect(),
        }
    }
}

fn hunts(ids: &[String]) -> Result<Vec<&'static Hunt>, String> {
    if ids.is_empty() {
        return Ok(HUNTS.iter().collect());
    }
    let find = |id: &String| {
        let bug = find_bug(id)?;
        Ok(HUNTS
            .iter()
            .find(|hunt| hunt.bug == bug)
            .expect("every bug is hunted"))
    };
    ids.iter().map(find).collect()
}

fn table(bags: &[Bag]) -> String {
    let head = [
        "bug",
        "from",
        "found",
        "runs",
        "seed",
        "by",
        "clean",
        "simulated",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(bags.iter().map(line));
    aligned(&rows)
}

fn line(bag: &Bag) -> [String; 8] {
    let dash = || "-".to_owned();
    let place = bag.scenario.as_deref().unwrap_or("-");
    [
        bag.bug.to_owned(),
        bag.from.to_string(),
        if bag.found { "yes" } else { "NO" }.to_owned(),
        bag.seeds_tried.to_string(),
        bag.seed.map_or_else(dash, |seed| format!("{place} {seed}")),
        bag.invariant.clone().unwrap_or_else(dash),
        match (bag.found, bag.clean_pass) {
            (false, _) => dash(),
            (true, true) => "passes".to_owned(),
            (true, false) => "FAILS".to_owned(),
        },
        seconds(bag.simulated_ms),
    ]
}
