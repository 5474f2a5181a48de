//! A partition's log: batches in a file, and what can be known from them.
//!
//! [`UnifiedLog`] owns the bytes, the offsets and two summaries of its batches: which leader epoch
//! starts where ([`leader_epochs`]) and what each idempotent producer wrote last
//! ([`producer_state`]). Both are folds over the batches; recovery and truncation fold again.
//!
//! A log knows no peers: who leads, who is in sync and how far the high watermark may go is decided
//! in [`replica`](crate::replica). There are no segments, no retention and no compaction, and no
//! snapshots of the producer state: it is read from the batches every time.
//!
//! Mirrors Kafka's `UnifiedLog`, `LocalLog`, `LogLoader`, `LeaderEpochFileCache`,
//! `ProducerStateManager` and `TransactionIndex`.

mod aborted_txns;
pub mod append;
mod batch_index;
pub mod leader_epochs;
pub mod lookup;
pub mod producer_entry;
pub mod producer_state;
pub mod recovery;
mod tail_cache;
mod truncation;
pub mod unified_log;

pub use aborted_txns::AbortedTxn;
pub use append::{AppendInfo, FollowerAppendError};
pub use lookup::{ReadInfo, TimestampAndOffset};
pub use recovery::RecoveryReport;
pub use unified_log::{Offsets, UnifiedLog};
