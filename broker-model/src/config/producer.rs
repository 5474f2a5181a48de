//! What a producer can be told. Mirrors Kafka's `ProducerConfig`.

use super::Check::{Any, AtLeast, Between, GzipLevel, NonEmpty, OneOf, OneOfAnyCase};
use super::{FromValue, Given, PropertyError, Value, Values, properties};

properties! {
    /// A producer's configuration.
    ProducerConfig in PRODUCER("producer.config");
    read {
        /// How many replicas must have a batch before it counts as sent.
        acks: Acks = "acks", String, Some("all"), OneOf(&["all", "-1", "0", "1"]);
        /// Whether batches carry sequences, so that a retry is never stored twice.
        enable_idempotence: bool = "enable.idempotence", Boolean, Some("true"), Any;
        /// How often a batch is sent again before it fails.
        retries: i32 = "retries", Int, Some("2147483647"), Between(0, 2147483647);
        /// How long to wait before the first retry, in ms.
        retry_backoff_ms: u64 = "retry.backoff.ms", Long, Some("100"), AtLeast(0);
        /// How long to wait before a retry at most, in ms; the wait doubles up to this.
        retry_backoff_max_ms: u64 = "retry.backoff.max.ms", Long, Some("1000"), AtLeast(0);
        /// How long a batch waits for more records, in ms.
        linger_ms: u64 = "linger.ms", Long, Some("5"), AtLeast(0);
        /// How large a batch grows, in bytes.
        batch_size: usize = "batch.size", Int, Some("16384"), AtLeast(0);
        /// How many requests may be unanswered on one connection.
        max_in_flight_requests_per_connection: usize =
            "max.in.flight.requests.per.connection", Int, Some("5"), AtLeast(1);
        /// How long to wait for an answer, in ms.
        request_timeout_ms: u64 = "request.timeout.ms", Int, Some("30000"), AtLeast(0);
        /// How long a record may take from send to success or failure, in ms.
        delivery_timeout_ms: u64 = "delivery.timeout.ms", Int, Some("120000"), AtLeast(0);
        /// How long send and the transaction calls may wait, in ms.
        max_block_ms: u64 = "max.block.ms", Long, Some("60000"), AtLeast(0);
        /// How many bytes of records may wait to be sent.
        buffer_memory: usize = "buffer.memory", Long, Some("33554432"), AtLeast(0);
        /// How large a request and a record may be, in bytes.
        max_request_size: usize = "max.request.size", Int, Some("1048576"), AtLeast(0);
        /// How old metadata may get before it is asked for anew, in ms.
        metadata_max_age_ms: u64 = "metadata.max.age.ms", Long, Some("300000"), AtLeast(0);
        /// How long metadata of an unused topic is kept, in ms.
        metadata_max_idle_ms: u64 = "metadata.max.idle.ms", Long, Some("300000"), AtLeast(5000);
        /// How long to wait before the first new connection attempt, in ms.
        reconnect_backoff_ms: u64 = "reconnect.backoff.ms", Long, Some("50"), AtLeast(0);
        /// How long to wait before a connection attempt at most, in ms.
        reconnect_backoff_max_ms: u64 = "reconnect.backoff.max.ms", Long, Some("1000"), AtLeast(0);
        /// How long a connection attempt may take, in ms.
        socket_connection_setup_timeout_ms: u64 =
            "socket.connection.setup.timeout.ms", Long, Some("10000"), Any;
        /// How long a connection attempt may take at most, in ms; the time doubles up to this.
        socket_connection_setup_timeout_max_ms: u64 =
            "socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any;
        /// How long a connection may be idle before it is closed, in ms.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", Long, Some("540000"), Any;
        /// Whether partitions of slow brokers get fewer records without a key.
        partitioner_adaptive_partitioning_enable: bool =
            "partitioner.adaptive.partitioning.enable", Boolean, Some("true"), Any;
        /// How long a broker may be unable to take batches before its partitions are avoided, in ms.
        partitioner_availability_timeout_ms: u64 =
            "partitioner.availability.timeout.ms", Long, Some("0"), AtLeast(0);
        /// Whether keys play no part in the choice of a partition.
        partitioner_ignore_keys: bool = "partitioner.ignore.keys", Boolean, Some("false"), Any;
        /// The name that survives a restart and fences the producer's former self.
        transactional_id: Option<String> = "transactional.id", String, None, NonEmpty;
        /// How long a transaction may stay open before the coordinator aborts it, in ms.
        transaction_timeout_ms: i32 = "transaction.timeout.ms", Int, Some("60000"), Any;
        /// Whether transactions wait for an external coordinator (KIP-939).
        transaction_two_phase_commit_enable: bool =
            "transaction.two.phase.commit.enable", Boolean, Some("false"), Any;
        /// The name under which requests are sent.
        client_id: String = "client.id", String, Some(""), Any;
        /// Whether to start over from the bootstrap servers when no known broker answers.
        metadata_recovery_strategy: String = "metadata.recovery.strategy", String,
            Some("rebootstrap"), OneOfAnyCase(&["none", "rebootstrap"]);
        /// How long metadata may be unobtainable before starting over, in ms.
        metadata_recovery_rebootstrap_trigger_ms: u64 =
            "metadata.recovery.rebootstrap.trigger.ms", Long, Some("300000"), AtLeast(0);
    }
    known {
        /// Where to find the cluster.
        "bootstrap.servers", List, None, Any;
        /// How host names are resolved.
        "client.dns.lookup", String, Some("use_all_dns_ips"),
            OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]);
        /// The compression of batches; this client sends them as they are.
        "compression.type", String, Some("none"), OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]);
        /// The level of gzip.
        "compression.gzip.level", Int, Some("-1"), GzipLevel;
        /// The level of lz4.
        "compression.lz4.level", Int, Some("9"), Between(1, 17);
        /// The level of zstd.
        "compression.zstd.level", Int, Some("3"), Between(-131072, 22);
        /// The socket's send buffer, in bytes.
        "send.buffer.bytes", Int, Some("131072"), AtLeast(-1);
        /// The socket's receive buffer, in bytes.
        "receive.buffer.bytes", Int, Some("32768"), AtLeast(-1);
        /// The class that turns keys into bytes.
        "key.serializer", Class, None, Any;
        /// The class that turns values into bytes.
        "value.serializer", Class, None, Any;
        /// The class that chooses partitions.
        "partitioner.class", Class, None, Any;
        /// Classes that see records before they are sent.
        "interceptor.classes", List, Some(""), Any;
        /// Whether metrics are pushed to the cluster.
        "enable.metrics.push", Boolean, Some("true"), Any;
        /// The window of a metrics sample, in ms.
        "metrics.sample.window.ms", Long, Some("30000"), AtLeast(0);
        /// How many metrics samples are kept.
        "metrics.num.samples", Int, Some("2"), AtLeast(1);
        /// How much is measured.
        "metrics.recording.level", String, Some("INFO"), OneOf(&["INFO", "DEBUG", "TRACE"]);
        /// Classes that report metrics.
        "metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter"), Any;
        /// The protocol towards brokers; this client speaks PLAINTEXT only.
        "security.protocol", String, Some("PLAINTEXT"),
            OneOfAnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]);
    }
}

/// How many replicas must have a batch (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody answers.
    None,
    /// The leader answers once it has the batch.
    Leader,
    /// The leader answers once the whole ISR has it.
    All,
}

impl Acks {
    /// The number in a Produce request.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

impl FromValue for Acks {
    const EXPECTED: &'static str = "all, -1, 0 or 1";
    fn from_value(value: &Value) -> Option<Acks> {
        match String::from_value(value)?.as_str() {
            "all" | "-1" => Some(Acks::All),
            "0" => Some(Acks::None),
            "1" => Some(Acks::Leader),
            _ => None,
        }
    }
}

impl ProducerConfig {
    /// Reads and checks a producer's properties, together and one by one.
    pub fn from_properties(given: &Given) -> Result<ProducerConfig, PropertyError> {
        let values = Values::parse(&PRODUCER, given)?;
        let mut config = ProducerConfig::read(&values)?;
        if values.is_given("reconnect.backoff.ms") && !values.is_given("reconnect.backoff.max.ms") {
            config.reconnect_backoff_max_ms = config.reconnect_backoff_ms;
        }
        config.settle_idempotence(values.is_given("enable.idempotence"))?;
        config.settle_transactions(values.is_given("transaction.timeout.ms"))?;
        config.settle_delivery_timeout(values.is_given("delivery.timeout.ms"))?;
        Ok(config)
    }

    /// Idempotence by default gives way to other settings; asked for, it does not.
    fn settle_idempotence(&mut self, asked_for: bool) -> Result<(), PropertyError> {
        if !self.enable_idempotence {
            return Ok(());
        }
        let without_retries = self.retries == 0;
        let without_acks = self.acks != Acks::All;
        if asked_for && without_retries {
            let reason = "enable.idempotence needs retries above 0";
            return Err(PropertyError::conflict(reason));
        }
        if asked_for && without_acks {
            return Err(PropertyError::conflict("enable.idempotence needs acks=all"));
        }
        if IN_FLIGHT_MAX_FOR_IDEMPOTENCE < self.max_in_flight_requests_per_connection {
            return Err(PropertyError::conflict(format!(
                "enable.idempotence needs max.in.flight.requests.per.connection of at most \
                 {IN_FLIGHT_MAX_FOR_IDEMPOTENCE}, not {}",
                self.max_in_flight_requests_per_connection
            )));
        }
        self.enable_idempotence = !without_retries && !without_acks;
        Ok(())
    }

    fn settle_transactions(&self, timeout_given: bool) -> Result<(), PropertyError> {
        if self.transactional_id.is_some() && !self.enable_idempotence {
            return Err(PropertyError::conflict(
                "transactional.id needs enable.idempotence",
            ));
        }
        if self.transaction_two_phase_commit_enable && timeout_given {
            let reason = "transaction.timeout.ms and transaction.two.phase.commit.enable exclude \
                          each other";
            return Err(PropertyError::conflict(reason));
        }
        Ok(())
    }

    /// Room for one attempt: demanded where the timeout was given, made where it was not.
    fn settle_delivery_timeout(&mut self, given: bool) -> Result<(), PropertyError> {
        let int_max = i32::MAX as u64;
        let attempt_ms = (self.linger_ms.min(int_max) + self.request_timeout_ms).min(int_max);
        if attempt_ms <= self.delivery_timeout_ms {
            return Ok(());
        }
        if given {
            let reason = "delivery.timeout.ms must be at least linger.ms + request.timeout.ms";
            return Err(PropertyError::conflict(reason));
        }
        self.delivery_timeout_ms = attempt_ms;
        Ok(())
    }
}

/// Brokers remember as many batches of a producer, so more in flight could not be told apart.
const IN_FLIGHT_MAX_FOR_IDEMPOTENCE: usize = 5;

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig::from_properties(&Given::new()).expect("Kafka's defaults go together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(given: &[(&str, &str)]) -> Result<ProducerConfig, String> {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let given = given.iter().map(own).collect();
        ProducerConfig::from_properties(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn idempotence_by_default_gives_way() {
        assert_eq!(
            producer(&[]).map(|config| config.enable_idempotence),
            Ok(true)
        );
        assert_eq!(
            producer(&[("acks", "1")]).map(|config| config.enable_idempotence),
            Ok(false)
        );
        assert_eq!(
            producer(&[("retries", "0")]).map(|config| config.enable_idempotence),
            Ok(false)
        );
    }

    #[test]
    fn idempotence_asked_for_does_not() {
        let idempotent = ("enable.idempotence", "true");
        assert!(producer(&[idempotent, ("acks", "1")]).is_err());
        assert!(producer(&[idempotent, ("retries", "0")]).is_err());
        let six = ("max.in.flight.requests.per.connection", "6");
        assert!(producer(&[six]).is_err());
        assert!(producer(&[six, ("enable.idempotence", "false")]).is_ok());
    }

    #[test]
    fn a_transactional_producer_is_idempotent() {
        let id = ("transactional.id", "t");
        assert!(producer(&[id]).is_ok());
        assert!(producer(&[id, ("enable.idempotence", "false")]).is_err());
        assert!(producer(&[id, ("acks", "0")]).is_err());
        assert!(producer(&[("transactional.id", "")]).is_err());
    }

    #[test]
    fn a_delivery_has_time_for_one_attempt() {
        assert!(producer(&[("delivery.timeout.ms", "100")]).is_err());
        let slow = producer(&[("request.timeout.ms", "200000")]).expect("the default makes room");
        assert_eq!(slow.delivery_timeout_ms, 200_005);
    }

    #[test]
    fn a_back_off_given_alone_does_not_grow() {
        let config = producer(&[("reconnect.backoff.ms", "70")]).expect("fine");
        assert_eq!(config.reconnect_backoff_max_ms, 70);
    }

    #[test]
    fn acks_in_words_and_numbers() {
        let acks = |text| producer(&[("acks", text)]).map(|config| config.acks.code());
        assert_eq!(
            (acks("all"), acks("-1"), acks("0"), acks("1")),
            (Ok(-1), Ok(-1), Ok(0), Ok(1))
        );
        assert!(acks("2").is_err());
    }
}
