//! `list`: scenarios, bugs, invariants and faults, one line each.

use broker_model::bug::Bug;
use serde::Serialize;

use super::{Ended, Out};
use crate::check::ALL;
use crate::check::page::summary;
use crate::coverage::aligned;
use crate::fault::Fault;
use crate::scenario::Scenario;
use crate::verdict::exit;

#[derive(Serialize)]
struct Item {
    kind: &'static str,
    name: String,
    summary: String,
}

/// Lists what there is.
pub(super) fn list(out: &Out) -> Ended {
    let mut items = Vec::new();
    for scenario in Scenario::all()? {
        items.push(Item {
            kind: "scenario",
            name: scenario.name,
            summary: scenario.file.title,
        });
    }
    items.extend(Bug::ALL.map(|bug| Item {
        kind: "bug",
        name: bug.id().to_owned(),
        summary: bug.summary().to_owned(),
    }));
    items.extend(ALL.iter().map(|make| make().name()).map(|name| Item {
        kind: "invariant",
        name: name.to_owned(),
        summary: summary(name),
    }));
    items.extend(Fault::KINDS.map(|kind| Item {
        kind: "fault",
        name: kind.to_owned(),
        summary: Fault::summary(kind).to_owned(),
    }));
    for item in &items {
        out.json(item);
    }
    let rows: Vec<[String; 3]> = items
        .into_iter()
        .map(|item| [item.kind.to_owned(), item.name, item.summary])
        .collect();
    out.text(&aligned(&rows));
    Ok(exit::PASS)
}
