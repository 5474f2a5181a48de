//! Producer state (PS): what a partition remembers of its idempotent producers.

pub(super) mod contiguity;
pub(super) mod duplicate_answer;
pub(super) mod state;
pub(super) mod uniqueness;
