//! `serve`: the same nodes on real TCP, for real clients.

use std::path::PathBuf;

use broker_model::config::{BROKER, Given, unsimulated};
use clap::Args;
use serde::Serialize;

use super::{Common, Ended, Out};
use crate::engine::serve::{ServeOptions, serve as serve_nodes};
use crate::scenario::parse_setting;
use crate::verdict::exit;

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

#[derive(Serialize)]
struct Ready<'a> {
    /// Whom clients connect to first.
    ready: &'a str,
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn serve(common: &Common, args: &ServeArgs, out: &Out) -> Ended {
    let settings = common.settings.iter().map(|text| parse_setting(text));
    let set: Given = settings.collect::<Result<_, _>>()?;
    for name in set.keys() {
        if let Some(what) = unsimulated(&BROKER, name) {
            super::out::note(&format!("{name}: Kafka {what}, these nodes do not"));
        }
    }
    let options = ServeOptions {
        nodes: args.nodes,
        port: args.port,
        data: args.data.clone(),
        set,
        bug: common.bug()?,
    };
    serve_nodes(&options, |brokers| {
        out.text(&format!("ready: {brokers}"));
        out.json(&Ready { ready: brokers });
    })?;
    Ok(exit::PASS)
}
