//! What a run leaves behind: its digest, and, when asked for, its one-line trace.

mod digest;
pub mod log;
mod render;
mod sink;

pub use digest::{BodyHash, Digest, DigestValue, MARK_EVERY, Scratch, timer_code};
pub use sink::{TraceLine, TraceSink, left_behind};
