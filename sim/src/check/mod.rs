//! The invariants, and what judges them.
