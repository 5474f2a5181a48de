//! `bench`: simulated seconds per wall second, runs per minute, events per second.

use clap::Args;

use super::{Ended, Out};
use crate::bench::group::{self, GroupRow};
use crate::bench::{ROWS, Row};
use crate::coverage::aligned;
use crate::verdict::exit;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// Which; all if none is named: full, kraft, leader-kill, turmoil, turmoil-bare, cores,
    /// group (with join), assignor
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
    let mut groups = Vec::new();
    let mut each = |row: &GroupRow| {
        out.json(row);
        out.watch(&format!("{} {} x {}", row.row, row.members, row.partitions));
        groups.push(row.clone());
    };
    let wanted = |row: &str| args.rows.is_empty() || args.rows.iter().any(|name| name == row);
    if wanted("group") {
        group::groups(args.scale.max(1), &mut each)?;
    }
    if wanted("assignor") {
        group::assignors(args.scale.max(1), &mut each);
    }
    if !rows.is_empty() {
        out.text(&table(&rows));
    }
    if !groups.is_empty() {
        out.text(&group_table(&groups));
    }
    Ok(exit::PASS)
}

fn group_table(rows: &[GroupRow]) -> String {
    let head = [
        "row",
        "assignor",
        "members x partitions",
        "simulated s",
        "events",
        "wall us",
        "ns/partition",
        "ns/(member x partition)",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    let or_dash = |figure: Option<String>| figure.unwrap_or_else(|| "-".to_owned());
    lines.extend(rows.iter().map(|row| {
        [
            row.row.to_owned(),
            format!("{}, {}", row.assignor, row.protocol),
            format!("{} x {}", row.members, row.partitions),
            or_dash(row.simulated_s.map(|s| s.to_string())),
            or_dash(row.events.map(|events| events.to_string())),
            row.wall_us.to_string(),
            row.ns_per_partition.to_string(),
            row.ns_per_pair.to_string(),
        ]
    }));
    aligned(&lines)
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
