//! What an admin client can be told. Mirrors Kafka's `AdminClientConfig`.

use super::Check::{Any, AtLeast, Between, OneOf, OneOfAnyCase};
use super::{Given, PropertyError, Values, properties};

properties! {
    /// An admin client's configuration.
    AdminConfig in ADMIN("admin.config");
    read {
        /// How long to wait for an answer, in ms.
        request_timeout_ms: u64 = "request.timeout.ms", Int, Some("30000"), AtLeast(0);
        /// How long a call may take, in ms.
        default_api_timeout_ms: u64 = "default.api.timeout.ms", Int, Some("60000"), AtLeast(0);
        /// How often a call is sent again before it fails.
        retries: i32 = "retries", Int, Some("2147483647"), Between(0, 2147483647);
        /// How long to wait before the first retry, in ms.
        retry_backoff_ms: u64 = "retry.backoff.ms", Long, Some("100"), AtLeast(0);
        /// How long to wait before a retry at most, in ms; the wait doubles up to this.
        retry_backoff_max_ms: u64 = "retry.backoff.max.ms", Long, Some("1000"), AtLeast(0);
        /// How old metadata may get before it is asked for anew, in ms.
        metadata_max_age_ms: u64 = "metadata.max.age.ms", Long, Some("300000"), AtLeast(0);
        /// How long to wait before the first new connection attempt, in ms.
        reconnect_backoff_ms: u64 = "reconnect.backoff.ms", Long, Some("50"), AtLeast(0);
        /// How long to wait before a connection attempt at most, in ms.
        reconnect_backoff_max_ms: u64 = "reconnect.backoff.max.ms", Long, Some("1000"), AtLeast(0);
        /// How long a connection attempt may take, in ms.
        socket_connection_setup_timeout_ms: u64 =
            "socket.connection.setup.timeout.ms", Long, Some("10000"), Any;
    }
    known {
        /// Where to find the cluster.
        "bootstrap.servers", List, None, Any;
        /// Where to find the controllers.
        "bootstrap.controllers", List, None, Any;
        /// The name under which requests are sent; clients are called as the scenario calls them.
        "client.id", String, Some(""), Any;
        /// How host names are resolved.
        "client.dns.lookup", String, Some("use_all_dns_ips"),
            OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]);
        /// How long a connection may be idle before it is closed, in ms.
        "connections.max.idle.ms", Long, Some("300000"), Any;
        /// How long a connection attempt may take at most, in ms; the time doubles up to this.
        "socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any;
        /// The socket's send buffer, in bytes.
        "send.buffer.bytes", Int, Some("131072"), AtLeast(-1);
        /// The socket's receive buffer, in bytes.
        "receive.buffer.bytes", Int, Some("65536"), AtLeast(-1);
        /// Whether to start over from the bootstrap servers when no known broker answers.
        "metadata.recovery.strategy", String,
            Some("rebootstrap"), OneOfAnyCase(&["none", "rebootstrap"]);
        /// How long metadata may be unobtainable before starting over, in ms.
        "metadata.recovery.rebootstrap.trigger.ms", Long, Some("300000"), AtLeast(0);
        /// The protocol towards brokers; this client speaks PLAINTEXT only.
        "security.protocol", String, Some("PLAINTEXT"),
            OneOfAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]);
        /// Whether metrics are pushed to the cluster.
        "enable.metrics.push", Boolean, Some("false"), Any;
        /// The window of a metrics sample, in ms.
        "metrics.sample.window.ms", Long, Some("30000"), AtLeast(0);
        /// How many metrics samples are kept.
        "metrics.num.samples", Int, Some("2"), AtLeast(1);
        /// How much is measured.
        "metrics.recording.level", String, Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"]);
        /// Classes that report metrics.
        "metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any;
    }
}

impl AdminConfig {
    /// Reads and checks an admin client's properties.
    pub fn from_properties(given: &Given) -> Result<AdminConfig, PropertyError> {
        let values = Values::parse(&ADMIN, given)?;
        let mut config = AdminConfig::read(&values)?;
        if values.is_given("reconnect.backoff.ms") && !values.is_given("reconnect.backoff.max.ms") {
            config.reconnect_backoff_max_ms = config.reconnect_backoff_ms;
        }
        Ok(config)
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig::from_properties(&Given::new()).expect("Kafka's defaults go together")
    }
}
