//! The client history (invariants.md §4).

/// One line of the history.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    /// The recorder's number.
    pub n: u64,
}
