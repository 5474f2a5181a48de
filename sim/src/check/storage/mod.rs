//! Log storage (ST): what a replica's log looks like, and what a crash leaves of it.

pub(super) mod batch_shape;
pub(super) mod crash_recovery;
pub(super) mod epoch_cache;
pub(super) mod log_bounds;
