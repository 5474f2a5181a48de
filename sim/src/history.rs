//! The client history (invariants.md §4): what clients invoked and observed, one line an event.
//!
//! The same schema serves simulated and real clusters. In a run the lines stay typed and in memory;
//! they become JSON, one object a line, only for an artifact. Enums are tagged externally and
//! nothing is flattened, because that is what serde reads fastest.
//!
//! An actor is one incarnation of a client; a restarted client is a new actor. Whether an
//! operation is `fail` or `info` is decided by the recorder with the rule of invariants.md §0.2.

mod cluster;
mod jsonl;
mod line;
mod operation;
mod registry;
pub mod value;

pub use cluster::{LogEnt, Lv, Nem, Wb};
pub use jsonl::{read_jsonl, write_jsonl};
pub use line::{A, Actor, Body, Cfg, Hdr, Line, P, Part, Role, V};
pub use operation::{BadRecord, Er, Ev, Op, PollPart, Res, Sent};
pub use registry::Registry;
