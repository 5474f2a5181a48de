//! The harness itself (HX): a judge that trusts a broken world says nothing. HX-1, that a seed repeats, is
//! judged by running it twice.

pub(super) mod disk;
pub(super) mod excuses;
pub(super) mod halts;
pub(super) mod lives;
pub(super) mod order;
