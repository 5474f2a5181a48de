//! Guarantee gates (invariants.md §0.3): what a configuration promises, by Kafka's defaults.

use crate::history::Cfg;

/// What a client's configuration promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClientGates {
    /// -1 for all.
    pub(crate) acks: i16,
    /// `enable.idempotence`, as Kafka decides it: on, unless another property rules it out.
    pub(crate) idempotent: bool,
    /// `retries`.
    pub(crate) retries: u64,
    /// `isolation.level=read_committed`.
    pub(crate) read_committed: bool,
    /// `delivery.timeout.ms`.
    pub(crate) delivery_timeout_ms: u64,
    /// `max.block.ms`.
    pub(crate) max_block_ms: u64,
    /// `request.timeout.ms`.
    pub(crate) request_timeout_ms: u64,
    /// `default.api.timeout.ms`.
    pub(crate) api_timeout_ms: u64,
    /// `poll.timeout.ms`, a name of our own: how long one poll of the workload waits.
    pub(crate) poll_timeout_ms: u64,
}

impl ClientGates {
    /// Reads producer.properties or consumer.properties.
    pub(crate) fn of(cfg: &Cfg) -> Self {
        let acks = match cfg.get("acks").map(String::as_str) {
            Some("0") => 0,
            Some("1") => 1,
            _ => -1,
        };
        let retries = number(cfg, "retries", i32::MAX.unsigned_abs().into());
        let in_flight = number(cfg, "max.in.flight.requests.per.connection", 5);
        let possible = acks == -1 && retries > 0 && in_flight <= 5;
        let api_timeout_ms = number(cfg, "default.api.timeout.ms", 60_000);
        Self {
            acks,
            idempotent: possible && flag(cfg, "enable.idempotence", true),
            retries,
            read_committed: cfg
                .get("isolation.level")
                .is_some_and(|level| level == "read_committed"),
            delivery_timeout_ms: number(cfg, "delivery.timeout.ms", 120_000),
            max_block_ms: number(cfg, "max.block.ms", 60_000),
            request_timeout_ms: number(cfg, "request.timeout.ms", 30_000),
            api_timeout_ms,
            poll_timeout_ms: number(cfg, "poll.timeout.ms", api_timeout_ms),
        }
    }
}

/// A whole number among properties.
pub(crate) fn number(cfg: &Cfg, name: &str, default: u64) -> u64 {
    cfg.get(name)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(default)
}

/// A yes or no among properties, in any case.
pub(crate) fn flag(cfg: &Cfg, name: &str, default: bool) -> bool {
    cfg.get(name)
        .and_then(|text| text.trim().to_ascii_lowercase().parse().ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(properties: &[(&str, &str)]) -> ClientGates {
        let cfg = properties
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        ClientGates::of(&cfg)
    }

    #[test]
    fn idempotence_is_the_default_until_something_rules_it_out() {
        assert!(gates(&[]).idempotent);
        assert!(!gates(&[("acks", "1")]).idempotent);
        assert!(!gates(&[("retries", "0")]).idempotent);
        assert!(!gates(&[("max.in.flight.requests.per.connection", "6")]).idempotent);
        assert!(!gates(&[("enable.idempotence", "false")]).idempotent);
        assert_eq!(gates(&[("enable.idempotence", "false")]).acks, -1);
    }
}
