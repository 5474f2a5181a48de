//! Property tables.
