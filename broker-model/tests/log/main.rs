//! The log against stories and against naive models of itself.

mod harness;
mod properties;
mod stories;
