//! The metadata quorum (KR): Raft's promises, over all nodes and all time.

pub(super) mod append_only;
pub(super) mod epoch_monotonic;
pub(super) mod high_watermark;
pub(super) mod leader_completeness;
pub(super) mod log_matching;
pub(super) mod majority;
pub(super) mod one_leader;
pub(super) mod one_vote;
pub(super) mod truncation;
