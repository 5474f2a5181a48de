//! The world around [`broker_model`]: engines, faults, checks, sweeps and the command line.
//!
//! How one run happens, top to bottom:
//!
//! 1. [`scenario`] reads a TOML file; with a [`seed`] it becomes a [`plan`]: every choice made.
//! 2. [`run`] puts nodes and clients on an [`engine`], lets the [`fault`]s happen, and records.
//! 3. Every note and history line goes to the recorder, which numbers it, feeds the digest
//!    ([`trace`]) and hands it to the [`check`]s at once.
//! 4. The [`report`] says what was judged.

pub mod bench;
pub mod case;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod corpus;
pub mod coverage;
pub mod disk;
pub mod engine;
pub mod fault;
pub mod history;
pub mod hunt;
pub mod interaction;
pub mod junit;
pub mod nearest;
pub mod observe;
pub mod panics;
pub mod plan;
pub mod recorder;
pub mod report;
pub mod run;
pub mod scenario;
pub mod seed;
pub mod shell;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod verdict;
pub mod view;
pub mod wall;
pub mod workload;
