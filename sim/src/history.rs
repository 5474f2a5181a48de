//! The client history (invariants.md §4): what clients invoked and observed, one line an event.
//!
//! The same schema serves simulated and real clusters. In a run the lines stay typed and in memory;
//! they become JSON, one object a line, only for an artifact. Enums are tagged externally and
//! nothing is flattened, because that is what serde reads fastest.
//!
//! An actor is one incarnation of a client; a restarted client is a new actor. Whether an
//! operation is `fail` or `info` is decided by the recorder with the rule of invariants.md §0.2.

mod jsonl;
mod line;
mod registry;
pub mod value;

pub use jsonl::{read_jsonl, write_jsonl};
pub use line::{
    A, Actor, BadRecord, Body, Cfg, Er, Ev, Hdr, Line, LogEnt, Lv, Nem, Op, P, Part, PollPart, Res,
    Role, Sent, V, Wb,
};
pub use registry::Registry;
