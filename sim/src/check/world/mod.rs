//! What the judge knows of a run so far: ghost state that no node has.

use std::collections::BTreeMap;

use broker_model::types::NodeId;

use crate::history::{Hdr, Line};
use crate::observe::{NodeEnd, Observed, Setup};

/// Ghost state, shared by the checks.
#[derive(Debug, Default)]
pub struct World {
    expected: Vec<String>,
    destroyed: Vec<Line>,
    ends: BTreeMap<NodeId, NodeEnd>,
}

impl World {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            expected: setup.plan.expect.clone(),
            ..Self::default()
        }
    }

    pub(super) fn of_history(header: &Hdr) -> Self {
        let expected = header.cfg.get("expect").map_or("", String::as_str);
        Self {
            expected: expected.split(',').map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    pub(super) fn observe(&mut self, _event: &Observed<'_>) {}

    pub(super) fn end(&mut self, ends: BTreeMap<NodeId, NodeEnd>) {
        self.ends = ends;
    }

    /// Whether the scenario expects that check to fail.
    #[must_use]
    pub fn expects(&self, check: &str) -> bool {
        let name = check.split_once('/').map_or(check, |(name, _)| name);
        self.expected.iter().any(|expected| expected == name)
    }

    pub(super) fn destroyed(&self) -> &[Line] {
        &self.destroyed
    }
}
