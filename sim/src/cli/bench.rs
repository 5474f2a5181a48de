//! `bench`: simulated seconds per wall second, runs per minute, events per second.

use clap::Args;

use super::{Ended, Out};
use crate::bench::{ROWS, Row};
use crate::coverage::aligned;
use crate::verdict::exit;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// Which; all if none is named: full, kraft, leader-kill, turmoil, turmoil-bare, cores
    rows: Vec<String>,
    /// So many times as many runs of each
    #[arg(long, default_value_t = 1, value_name = "N")]
    scale: u64,
}

/// Measures.
pub(super) fn bench(args: &BenchArgs, out: &Out) -> Ended {
    let mut rows = Vec::new();
    crate::bench::bench(&args.rows, args.scale.max(1), &mut |row| {
        out.json(row);
        out.watch(&format!("{} of {} rows", row.row, ROWS.len()));
        rows.push(row.clone());
    })?;
    out.text(&table(&rows));
    Ok(exit::PASS)
}

fn table(rows: &[Row]) -> String {
    let head = [
        "row",
        "engine",
        "cores",
        "events/s",
        "simulated s/s",
        "runs/min",
        "peak MB",
        "ratio",
        "per simulated second: events, requests, acked",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let load = row.load;
        let failed = if row.failed > 0 {
            format!("  ({} of {} runs failed)", row.failed, row.runs)
        } else {
            String::new()
        };
        [
            row.row.to_owned(),
            row.engine.to_owned(),
            row.cores.to_string(),
            row.events_per_second.to_string(),
            row.simulated_s_per_wall_s.to_string(),
            row.runs_per_minute.to_string(),
            row.peak_mb.to_string(),
            row.floor_ratio
                .map_or_else(|| "-".to_owned(), |ratio| ratio.to_string()),
            format!("{}, {}, {}{failed}", load.events, load.requests, load.acked),
        ]
    }));
    aligned(&lines)
}
