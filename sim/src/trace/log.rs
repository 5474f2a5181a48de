//! What libraries log (RUST_LOG), on stderr, with simulated time.

use std::cell::Cell;
use std::fmt;
use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

thread_local! {
    static NOW_US: Cell<u64> = const { Cell::new(0) };
}

/// Shows what RUST_LOG asks for. A subscriber that is there already stays.
pub fn show() {
    let shown = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_timer(SimulatedTime)
        .with_writer(io::stderr)
        .try_init();
    drop(shown);
}

/// The time of the run on this thread.
pub(super) fn at(now_us: u64) {
    NOW_US.set(now_us);
}

struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        let now_us = NOW_US.get();
        write!(to, "{:>3}.{:06}", now_us / 1_000_000, now_us % 1_000_000)
    }
}
