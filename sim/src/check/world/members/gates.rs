//! What a member's configuration says.

use super::super::gates::number;
use crate::history::Cfg;

/// `group.protocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Classic,
    Consumer,
}

/// `app.delivery`, a name of our own: what the application claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    AtLeastOnce,
    AtMostOnce,
    None,
}

/// What a member's configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemberGates {
    pub(crate) protocol: Protocol,
    /// `group.instance.id`.
    pub(crate) instance: Option<String>,
    pub(crate) delivery: Delivery,
    /// `app.effects=once`.
    pub(crate) once: bool,
    /// `app.sink` is something.
    pub(crate) sink: bool,
    /// `auto.offset.reset`: `earliest`, `latest`, `none` …
    pub(crate) reset: String,
    /// How long it may be silent, in milliseconds, by the client or by the group coordinator.
    pub(crate) session_ms: u64,
    /// `max.poll.interval.ms`, which is its rebalance timeout, too.
    pub(crate) rebalance_ms: u64,
    pub(crate) request_ms: u64,
    pub(crate) api_ms: u64,
}

impl MemberGates {
    /// Reads consumer.properties, and the brokers'.
    pub(super) fn of(cfg: &Cfg, brokers: &Cfg) -> Self {
        let text = |name: &str| cfg.get(name).map(|value| value.to_ascii_lowercase());
        let protocol = match text("group.protocol").as_deref() {
            Some("consumer") => Protocol::Consumer,
            _ => Protocol::Classic,
        };
        let session_ms = match protocol {
            Protocol::Classic => number(cfg, "session.timeout.ms", 45_000),
            Protocol::Consumer => number(brokers, "group.consumer.session.timeout.ms", 45_000),
        };
        let delivery = match text("app.delivery").as_deref() {
            Some("at-least-once") => Delivery::AtLeastOnce,
            Some("at-most-once") => Delivery::AtMostOnce,
            _ => Delivery::None,
        };
        Self {
            protocol,
            instance: cfg.get("group.instance.id").cloned(),
            delivery,
            once: text("app.effects").as_deref() == Some("once"),
            sink: text("app.sink").is_some_and(|sink| sink != "none"),
            reset: text("auto.offset.reset").unwrap_or_else(|| "latest".to_owned()),
            session_ms,
            rebalance_ms: number(cfg, "max.poll.interval.ms", 300_000),
            request_ms: number(cfg, "request.timeout.ms", 30_000),
            api_ms: number(cfg, "default.api.timeout.ms", 60_000),
        }
    }
}
