//! What a consumer can be told. Mirrors Kafka's `ConsumerConfig`.

use super::Check::{Any, AtLeast, NonEmpty, OffsetReset, OneOf, OneOfAnyCase};
use super::value::duration_ms;
use super::{FromValue, Given, PropertyError, Value, Values, properties};

properties! {
    /// A consumer's configuration.
    ConsumerConfig in CONSUMER("consumer.config");
    read {
        /// How many bytes a broker should gather before it answers a fetch.
        fetch_min_bytes: i32 = "fetch.min.bytes", Int, Some("1"), AtLeast(0);
        /// How many bytes a fetch should bring at most; the first batch comes whole.
        fetch_max_bytes: i32 = "fetch.max.bytes", Int, Some("52428800"), AtLeast(0);
        /// How long a broker may wait for `fetch.min.bytes`, in ms.
        fetch_max_wait_ms: i32 = "fetch.max.wait.ms", Int, Some("500"), AtLeast(0);
        /// How many bytes of one partition a fetch should bring at most.
        max_partition_fetch_bytes: i32 =
            "max.partition.fetch.bytes", Int, Some("1048576"), AtLeast(0);
        /// Whether records of open and aborted transactions are seen.
        isolation_level: IsolationLevel = "isolation.level", String, Some("read_uncommitted"),
            OneOf(&["read_committed", "read_uncommitted"]);
        /// Where to start without a valid position.
        auto_offset_reset: AutoOffsetReset =
            "auto.offset.reset", String, Some("latest"), OffsetReset;
        /// How many records a poll returns at most.
        max_poll_records: usize = "max.poll.records", Int, Some("500"), AtLeast(1);
        /// Whether the CRC of each batch is verified.
        check_crcs: bool = "check.crcs", Boolean, Some("true"), Any;
        /// How long to wait for an answer, in ms.
        request_timeout_ms: u64 = "request.timeout.ms", Int, Some("30000"), AtLeast(0);
        /// How long a call without a timeout of its own may take, in ms.
        default_api_timeout_ms: u64 = "default.api.timeout.ms", Int, Some("60000"), AtLeast(0);
        /// How long to wait before the first retry, in ms.
        retry_backoff_ms: u64 = "retry.backoff.ms", Long, Some("100"), AtLeast(0);
        /// How long to wait before a retry at most, in ms; the wait doubles up to this.
        retry_backoff_max_ms: u64 = "retry.backoff.max.ms", Long, Some("1000"), AtLeast(0);
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
        /// How old metadata may get before it is asked for anew, in ms.
        metadata_max_age_ms: u64 = "metadata.max.age.ms", Long, Some("300000"), AtLeast(0);
        /// Whether asking for the metadata of a topic may create it.
        allow_auto_create_topics: bool = "allow.auto.create.topics", Boolean, Some("true"), Any;
        /// The name under which requests are sent.
        client_id: String = "client.id", String, Some(""), Any;
        /// Where the consumer runs, so that a near replica may serve it.
        client_rack: String = "client.rack", String, Some(""), Any;
        /// The group it is a member of.
        group_id: Option<String> = "group.id", String, None, Any;
        /// The name that makes it a static member.
        group_instance_id: Option<String> = "group.instance.id", String, None, NonEmpty;
        /// The classic protocol, or that of KIP-848.
        group_protocol: GroupProtocol = "group.protocol", String, Some("classic"),
            OneOfAnyCase(&["classic", "consumer"]);
        /// The assignor that the coordinator should use (KIP-848).
        group_remote_assignor: Option<String> = "group.remote.assignor", String, None, Any;
        /// How long the coordinator waits for a heartbeat, in ms (classic).
        session_timeout_ms: u64 = "session.timeout.ms", Int, Some("45000"), Any;
        /// How often to send one, in ms (classic).
        heartbeat_interval_ms: u64 = "heartbeat.interval.ms", Int, Some("3000"), Any;
        /// How long the application may take between polls, in ms.
        max_poll_interval_ms: u64 = "max.poll.interval.ms", Int, Some("300000"), AtLeast(1);
        /// The assignors that the member knows, the preferred one first (classic).
        partition_assignment_strategy: Vec<String> = "partition.assignment.strategy", List,
            Some("org.apache.kafka.clients.consumer.RangeAssignor,\
                  org.apache.kafka.clients.consumer.CooperativeStickyAssignor"), Any;
        /// Whether positions are committed by the way.
        enable_auto_commit: bool = "enable.auto.commit", Boolean, Some("true"), Any;
        /// How often, in ms.
        auto_commit_interval_ms: u64 = "auto.commit.interval.ms", Int, Some("5000"), AtLeast(0);
    }
    known {
        /// Where to find the cluster.
        "bootstrap.servers", List, None, Any;
        /// How host names are resolved.
        "client.dns.lookup", String, Some("use_all_dns_ips"),
            OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]);
        /// Whether a pattern subscribes to internal topics.
        "exclude.internal.topics", Boolean, Some("true"), Any;
        /// The class that reads keys.
        "key.deserializer", Class, None, Any;
        /// The class that reads values.
        "value.deserializer", Class, None, Any;
        /// Classes that see records before the application does.
        "interceptor.classes", List, Some(""), Any;
        /// The socket's send buffer, in bytes.
        "send.buffer.bytes", Int, Some("131072"), AtLeast(-1);
        /// The socket's receive buffer, in bytes.
        "receive.buffer.bytes", Int, Some("65536"), AtLeast(-1);
        /// Whether to start over from the bootstrap servers when no known broker answers.
        "metadata.recovery.strategy", String, Some("rebootstrap"),
            OneOfAnyCase(&["none", "rebootstrap"]);
        /// How long metadata may be unobtainable before starting over, in ms.
        "metadata.recovery.rebootstrap.trigger.ms", Long, Some("300000"), AtLeast(0);
        /// How records of a share group are acknowledged.
        "share.acknowledgement.mode", String, Some("implicit"),
            OneOfAnyCase(&["implicit", "explicit"]);
        /// How many records of a share group are acquired at once.
        "share.acquire.mode", String, Some("batch_optimized"),
            OneOfAnyCase(&["batch_optimized", "record_limit"]);
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

/// Which records a consumer sees (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IsolationLevel {
    /// All below the high watermark.
    ReadUncommitted,
    /// Those of committed transactions, below the last stable offset.
    ReadCommitted,
}

impl IsolationLevel {
    /// The number in Fetch and ListOffsets requests.
    pub fn code(self) -> i8 {
        match self {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        }
    }

    /// The level with this number; a broker takes whatever else is sent for an error.
    pub fn from_code(code: i8) -> Option<IsolationLevel> {
        match code {
            0 => Some(IsolationLevel::ReadUncommitted),
            1 => Some(IsolationLevel::ReadCommitted),
            _ => None,
        }
    }
}

impl FromValue for IsolationLevel {
    const EXPECTED: &'static str = "read_committed or read_uncommitted";
    fn from_value(value: &Value) -> Option<IsolationLevel> {
        match String::from_value(value)?.as_str() {
            "read_committed" => Some(IsolationLevel::ReadCommitted),
            "read_uncommitted" => Some(IsolationLevel::ReadUncommitted),
            _ => None,
        }
    }
}

/// Where a consumer starts without a valid position (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoOffsetReset {
    /// At the start of the log.
    Earliest,
    /// At its end.
    Latest,
    /// Nowhere: the application is told.
    None,
    /// At the first record that is no older than that many ms (KIP-1106).
    ByDuration(u64),
}

impl FromValue for AutoOffsetReset {
    const EXPECTED: &'static str = "earliest, latest, none or by_duration:<PnDTnHnMn.nS>";
    fn from_value(value: &Value) -> Option<AutoOffsetReset> {
        let text = String::from_value(value)?;
        match text.as_str() {
            "earliest" => Some(AutoOffsetReset::Earliest),
            "latest" => Some(AutoOffsetReset::Latest),
            "none" => Some(AutoOffsetReset::None),
            other => {
                let age = duration_ms(other.strip_prefix("by_duration:")?);
                age.map(AutoOffsetReset::ByDuration)
            }
        }
    }
}

/// How a consumer is a member of its group (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

impl FromValue for GroupProtocol {
    const EXPECTED: &'static str = "classic or consumer";
    fn from_value(value: &Value) -> Option<GroupProtocol> {
        match String::from_value(value)?.to_ascii_lowercase().as_str() {
            "classic" => Some(GroupProtocol::Classic),
            "consumer" => Some(GroupProtocol::Consumer),
            _ => None,
        }
    }
}

impl ConsumerConfig {
    /// Reads and checks a consumer's properties, together and one by one.
    pub fn from_properties(given: &Given) -> Result<ConsumerConfig, PropertyError> {
        let values = Values::parse(&CONSUMER, given)?;
        let mut config = ConsumerConfig::read(&values)?;
        if values.is_given("reconnect.backoff.ms") && !values.is_given("reconnect.backoff.max.ms") {
            config.reconnect_backoff_max_ms = config.reconnect_backoff_ms;
        }
        config.settle_auto_commit(values.is_given("enable.auto.commit"))?;
        config.check_protocol(&values)?;
        Ok(config)
    }

    /// Without a group there is nothing to commit to.
    fn settle_auto_commit(&mut self, asked_for: bool) -> Result<(), PropertyError> {
        if self.group_id.is_some() || !self.enable_auto_commit {
            return Ok(());
        }
        if asked_for {
            return Err(PropertyError::conflict(
                "enable.auto.commit needs a group.id",
            ));
        }
        self.enable_auto_commit = false;
        Ok(())
    }

    /// Each protocol leaves to the coordinator what the other leaves to the member.
    fn check_protocol(&self, values: &Values) -> Result<(), PropertyError> {
        let (protocol, foreign) = match self.group_protocol {
            GroupProtocol::Classic => ("classic", CLASSIC_FOREIGN),
            GroupProtocol::Consumer => ("consumer", CONSUMER_FOREIGN),
        };
        let given: Vec<&str> = foreign
            .iter()
            .copied()
            .filter(|name| values.is_given(name))
            .collect();
        if !given.is_empty() {
            return Err(PropertyError::conflict(format!(
                "{} cannot be set with group.protocol={protocol}",
                given.join(", ")
            )));
        }
        let classic = self.group_protocol == GroupProtocol::Classic;
        let is_known = |class: &String| {
            let name = class.rsplit('.').next();
            name.is_some_and(|name| ASSIGNORS.contains(&name))
        };
        let mut classes = self.partition_assignment_strategy.iter();
        if let Some(unknown) = classes.find(|class| !is_known(class)) {
            return Err(PropertyError::conflict(format!(
                "there is no assignor {unknown}, only {}",
                ASSIGNORS.join(", ")
            )));
        }
        if classic && self.session_timeout_ms <= self.heartbeat_interval_ms {
            let reason = "heartbeat.interval.ms must be below session.timeout.ms";
            return Err(PropertyError::conflict(reason));
        }
        Ok(())
    }
}

/// The classes that `partition.assignment.strategy` may name.
const ASSIGNORS: [&str; 4] = [
    "RangeAssignor",
    "RoundRobinAssignor",
    "StickyAssignor",
    "CooperativeStickyAssignor",
];

/// What cannot be set with `group.protocol=classic`.
const CLASSIC_FOREIGN: &[&str] = &[
    "group.remote.assignor",
    "share.acknowledgement.mode",
    "share.acquire.mode",
];

/// What cannot be set with `group.protocol=consumer`.
const CONSUMER_FOREIGN: &[&str] = &[
    "partition.assignment.strategy",
    "heartbeat.interval.ms",
    "session.timeout.ms",
    "share.acknowledgement.mode",
    "share.acquire.mode",
];

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig::from_properties(&Given::new()).expect("Kafka's defaults go together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(given: &[(&str, &str)]) -> Result<ConsumerConfig, String> {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let given = given.iter().map(own).collect();
        ConsumerConfig::from_properties(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn auto_commit_needs_a_group() {
        assert_eq!(
            consumer(&[]).map(|config| config.enable_auto_commit),
            Ok(false)
        );
        let grouped = consumer(&[("group.id", "g")]);
        assert_eq!(grouped.map(|config| config.enable_auto_commit), Ok(true));
        assert!(consumer(&[("enable.auto.commit", "true")]).is_err());
    }

    #[test]
    fn each_protocol_refuses_what_the_other_needs() {
        let next = ("group.protocol", "CONSUMER");
        assert!(consumer(&[next]).is_ok());
        assert_eq!(
            consumer(&[next, ("session.timeout.ms", "9000")]),
            Err("session.timeout.ms cannot be set with group.protocol=consumer".to_owned())
        );
        assert!(consumer(&[("group.remote.assignor", "uniform")]).is_err());
        assert!(consumer(&[("heartbeat.interval.ms", "45000")]).is_err());
    }

    #[test]
    fn assignors_are_kafkas_classes() {
        let by = |class| consumer(&[("partition.assignment.strategy", class)]).map(|_| ());
        assert_eq!(
            by("org.apache.kafka.clients.consumer.StickyAssignor"),
            Ok(())
        );
        assert_eq!(by("RangeAssignor, RoundRobinAssignor"), Ok(()));
        assert!(by("com.example.MyAssignor").is_err());
    }

    #[test]
    fn a_start_is_named_or_an_age() {
        let reset = |text: &str| {
            let config = consumer(&[("auto.offset.reset", text)]);
            config.map(|config| config.auto_offset_reset)
        };
        assert_eq!(reset("earliest"), Ok(AutoOffsetReset::Earliest));
        assert_eq!(
            reset("by_duration:PT1H"),
            Ok(AutoOffsetReset::ByDuration(3_600_000))
        );
        let age_ms = |text: &str| match reset(&format!("by_duration:{text}")) {
            Ok(AutoOffsetReset::ByDuration(age_ms)) => Some(age_ms),
            _ => None,
        };
        assert_eq!(age_ms("P2DT3H4M5.0061S"), Some(183_845_007));
        assert_eq!(age_ms("pt1m-20s"), Some(40_000));
        assert_eq!(age_ms("-PT-0,5S"), Some(500));
        assert_eq!(age_ms("PT0S"), Some(0));
        for none in [
            "", "P", "PT", "1H", "PT1", "PT1.5H", "PT1M1H", "P1H", "-PT1S", "PT1SX",
        ] {
            assert_eq!(age_ms(none), None, "{none}");
        }
        assert!(reset("smallest").is_err());
    }

    #[test]
    fn isolation_levels_have_numbers() {
        for level in [
            IsolationLevel::ReadCommitted,
            IsolationLevel::ReadUncommitted,
        ] {
            assert_eq!(IsolationLevel::from_code(level.code()), Some(level));
        }
        assert_eq!(IsolationLevel::from_code(2), None);
    }
}
