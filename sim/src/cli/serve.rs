//! `serve`: the same nodes on real TCP, for real clients.

use std::path::PathBuf;

use clap::Args;

use super::Ended;

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// How many combined nodes
    #[arg(long, default_value_t = 3)]
    nodes: u16,
    /// The first node's broker port; the next nodes' follow
    #[arg(long, default_value_t = 9_092)]
    port: u16,
    /// Where data is kept; a temporary directory if not said
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Serves until it is ended.
pub(super) fn serve(args: &ServeArgs) -> Ended {
    Err(format!("serve is not built yet: {args:?}"))
}
