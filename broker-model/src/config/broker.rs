//! What a node can be told: `server.properties`. Mirrors Kafka's `KafkaConfig` and the classes it is
//! put together from (`KRaftConfigs`, `QuorumConfig`, `ReplicationConfigs`, `ServerLogConfigs`, …).
//! TLS, SASL, quotas and remote storage are not here: the model has none of them.

use super::Check::{
    Any, AtLeast, Between, GzipLevel, ListOf, NonEmptyListOf, OneOf, OneOfAnyCase, Ratio,
};
use super::{Given, PropertyError, Values, properties};

properties! {
    /// A node's configuration, broker and controller alike.
    BrokerConfig in BROKER("node.config");
    read {
        /// What the process is: broker, controller or both.
        process_roles: Vec<String> = "process.roles", List, Some("broker,controller"),
            NonEmptyListOf(&["broker", "controller"]);
        /// The node's number, unique in the cluster.
        node_id: Option<i32> = "node.id", Int, None, AtLeast(0);
        /// Where the broker runs; replicas are spread over racks.
        broker_rack: Option<String> = "broker.rack", String, None, Any;

        /// How long a voter without a leader waits before it stands for election, in ms.
        controller_quorum_election_timeout_ms: u64 =
            "controller.quorum.election.timeout.ms", Int, Some("1000"), AtLeast(0);
        /// How long a follower fetches in vain, and a leader leads unfetched, in ms.
        controller_quorum_fetch_timeout_ms: u64 =
            "controller.quorum.fetch.timeout.ms", Int, Some("2000"), AtLeast(0);
        /// How long a candidate that lost backs off at most, in ms.
        controller_quorum_election_backoff_max_ms: u64 =
            "controller.quorum.election.backoff.max.ms", Int, Some("1000"), AtLeast(0);
        /// How long the leader gathers records before it writes them, in ms.
        controller_quorum_append_linger_ms: u64 =
            "controller.quorum.append.linger.ms", Int, Some("25"), AtLeast(0);
        /// How long to wait for an answer of the quorum, in ms.
        controller_quorum_request_timeout_ms: u64 =
            "controller.quorum.request.timeout.ms", Int, Some("2000"), AtLeast(0);
        /// How long to wait before asking the quorum again, in ms.
        controller_quorum_retry_backoff_ms: u64 =
            "controller.quorum.retry.backoff.ms", Int, Some("20"), AtLeast(0);

        /// How many bytes of metadata records go between two snapshots.
        metadata_log_max_record_bytes_between_snapshots: u64 =
            "metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520"), AtLeast(1);
        /// How much time goes between two snapshots at most, in ms; 0 for any amount.
        metadata_log_max_snapshot_interval_ms: u64 =
            "metadata.log.max.snapshot.interval.ms", Long, Some("3600000"), AtLeast(0);
        /// How often an idle controller writes a no-op record, in ms; 0 for never.
        metadata_max_idle_interval_ms: u64 =
            "metadata.max.idle.interval.ms", Int, Some("500"), AtLeast(0);
        /// How many bytes of the metadata log and its snapshots are kept.
        metadata_max_retention_bytes: i64 =
            "metadata.max.retention.bytes", Long, Some("104857600"), Any;
        /// How long the metadata log and its snapshots are kept, in ms.
        metadata_max_retention_ms: i64 = "metadata.max.retention.ms", Long, Some("604800000"), Any;

        /// How often a broker tells the controller that it lives, in ms.
        broker_heartbeat_interval_ms: u64 =
            "broker.heartbeat.interval.ms", Int, Some("2000"), Any;
        /// How long a controller waits for a heartbeat before it fences the broker, in ms.
        broker_session_timeout_ms: u64 = "broker.session.timeout.ms", Int, Some("9000"), Any;
        /// How long a broker tries to register before it gives up, in ms.
        initial_broker_registration_timeout_ms: u64 =
            "initial.broker.registration.timeout.ms", Int, Some("60000"), Any;
        /// Whether a broker hands its leaderships over before it stops.
        controlled_shutdown_enable: bool = "controlled.shutdown.enable", Boolean, Some("true"), Any;

        /// How long a follower may be behind before it leaves the ISR, in ms.
        replica_lag_time_max_ms: u64 = "replica.lag.time.max.ms", Long, Some("30000"), Any;
        /// How long a follower's fetch waits for data, in ms.
        replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms", Int, Some("500"), Any;
        /// How many bytes a follower's fetch waits for.
        replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes", Int, Some("1"), Any;
        /// How many bytes of one partition a follower fetches; the first batch comes whole.
        replica_fetch_max_bytes: i32 =
            "replica.fetch.max.bytes", Int, Some("1048576"), AtLeast(0);
        /// How many bytes a follower fetches at once.
        replica_fetch_response_max_bytes: i32 =
            "replica.fetch.response.max.bytes", Int, Some("10485760"), AtLeast(0);
        /// How long a follower waits after a failed fetch, in ms.
        replica_fetch_backoff_ms: u64 = "replica.fetch.backoff.ms", Int, Some("1000"), AtLeast(0);
        /// How long a follower waits for an answer, in ms.
        replica_socket_timeout_ms: u64 = "replica.socket.timeout.ms", Int, Some("30000"), Any;
        /// How often high watermarks are written down, in ms.
        replica_high_watermark_checkpoint_interval_ms: u64 =
            "replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any;
        /// How many fetchers a broker has for each leader's broker.
        num_replica_fetchers: usize = "num.replica.fetchers", Int, Some("1"), AtLeast(1);

        /// How many in-sync replicas a batch with acks=all needs, where the topic does not say.
        min_insync_replicas: i32 = "min.insync.replicas", Int, Some("1"), AtLeast(1);
        /// Whether a replica outside the ISR may lead, where the topic does not say.
        unclean_leader_election_enable: bool =
            "unclean.leader.election.enable", Boolean, Some("false"), Any;
        /// How often unclean elections are tried, in ms.
        unclean_leader_election_interval_ms: u64 =
            "unclean.leader.election.interval.ms", Long, Some("300000"), AtLeast(1);
        /// Whether leadership goes back to preferred replicas.
        auto_leader_rebalance_enable: bool =
            "auto.leader.rebalance.enable", Boolean, Some("true"), Any;
        /// How often that is looked at, in seconds.
        leader_imbalance_check_interval_seconds: u64 =
            "leader.imbalance.check.interval.seconds", Long, Some("300"), AtLeast(1);
        /// How many partitions a topic gets that does not say.
        num_partitions: i32 = "num.partitions", Int, Some("1"), AtLeast(1);
        /// How many replicas a topic gets that does not say.
        default_replication_factor: i16 = "default.replication.factor", Int, Some("1"), Any;
        /// Whether asking for a topic creates it.
        auto_create_topics_enable: bool = "auto.create.topics.enable", Boolean, Some("true"), Any;
        /// Whether topics can be deleted.
        delete_topic_enable: bool = "delete.topic.enable", Boolean, Some("true"), Any;

        /// How large a batch may be, in bytes, where the topic does not say.
        message_max_bytes: usize = "message.max.bytes", Int, Some("1048588"), AtLeast(0);
        /// How many bytes a fetch brings at most, whatever it asks for.
        fetch_max_bytes: i32 = "fetch.max.bytes", Int, Some("57671680"), AtLeast(1024);
        /// How many incremental fetch sessions a broker remembers.
        max_incremental_fetch_session_cache_slots: usize =
            "max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0);
        /// How many partitions one DescribeTopicPartitions answers at most.
        max_request_partition_size_limit: usize =
            "max.request.partition.size.limit", Int, Some("2000"), AtLeast(1);
        /// How long to wait for an answer of another node, in ms.
        request_timeout_ms: u64 = "request.timeout.ms", Int, Some("30000"), Any;
        /// How long a connection may be idle before it is closed, in ms.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", Long, Some("600000"), Any;
        /// How long a connection attempt may take, in ms.
        socket_connection_setup_timeout_ms: u64 =
            "socket.connection.setup.timeout.ms", Long, Some("10000"), Any;
        /// How long a connection attempt may take at most, in ms; the time doubles up to this.
        socket_connection_setup_timeout_max_ms: u64 =
            "socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any;
        /// How large a request may be, in bytes.
        socket_request_max_bytes: usize =
            "socket.request.max.bytes", Int, Some("104857600"), AtLeast(1);

        /// How long a silent producer is remembered, in ms.
        producer_id_expiration_ms: u64 =
            "producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1);
        /// How often forgotten producers are looked for, in ms.
        producer_id_expiration_check_interval_ms: u64 =
            "producer.id.expiration.check.interval.ms", Int, Some("600000"), AtLeast(1);
        /// How long a transaction may stay open at most, in ms.
        transaction_max_timeout_ms: i32 =
            "transaction.max.timeout.ms", Int, Some("900000"), AtLeast(1);
        /// How long an unused transactional id is remembered, in ms.
        transactional_id_expiration_ms: u64 =
            "transactional.id.expiration.ms", Int, Some("604800000"), AtLeast(1);
        /// How often open transactions are checked for their timeouts, in ms.
        transaction_abort_timed_out_transaction_cleanup_interval_ms: u64 =
            "transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"),
            AtLeast(1);
        /// How often unused transactional ids are looked for, in ms.
        transaction_remove_expired_transaction_cleanup_interval_ms: u64 =
            "transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"),
            AtLeast(1);
        /// Whether a leader asks the coordinator if a partition is in the transaction (KIP-890).
        transaction_partition_verification_enable: bool =
            "transaction.partition.verification.enable", Boolean, Some("true"), Any;
        /// How many partitions `__transaction_state` gets.
        transaction_state_log_num_partitions: i32 =
            "transaction.state.log.num.partitions", Int, Some("50"), AtLeast(1);
        /// How many replicas `__transaction_state` gets.
        transaction_state_log_replication_factor: i16 =
            "transaction.state.log.replication.factor", Short, Some("3"), AtLeast(1);
        /// How many in-sync replicas `__transaction_state` needs.
        transaction_state_log_min_isr: i32 =
            "transaction.state.log.min.isr", Int, Some("2"), AtLeast(1);

        /// How many partitions `__consumer_offsets` gets.
        offsets_topic_num_partitions: i32 =
            "offsets.topic.num.partitions", Int, Some("50"), AtLeast(1);
        /// How many replicas `__consumer_offsets` gets.
        offsets_topic_replication_factor: i16 =
            "offsets.topic.replication.factor", Short, Some("3"), AtLeast(1);
        /// How long a commit waits to be replicated, in ms.
        offsets_commit_timeout_ms: u64 = "offsets.commit.timeout.ms", Int, Some("5000"), AtLeast(1);
        /// How long offsets of an empty group are kept, in minutes.
        offsets_retention_minutes: u64 = "offsets.retention.minutes", Int, Some("10080"), AtLeast(1);
        /// How often old offsets are looked for, in ms.
        offsets_retention_check_interval_ms: u64 =
            "offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1);
        /// How many bytes of metadata an offset may carry.
        offset_metadata_max_bytes: usize = "offset.metadata.max.bytes", Int, Some("4096"), Any;
        /// How long a new group waits for more members, in ms (classic).
        group_initial_rebalance_delay_ms: u64 =
            "group.initial.rebalance.delay.ms", Int, Some("3000"), Any;
        /// The shortest session timeout of a member, in ms (classic).
        group_min_session_timeout_ms: u64 = "group.min.session.timeout.ms", Int, Some("6000"), Any;
        /// The longest session timeout of a member, in ms (classic).
        group_max_session_timeout_ms: u64 =
            "group.max.session.timeout.ms", Int, Some("1800000"), Any;
        /// How many members a group has at most (classic).
        group_max_size: usize = "group.max.size", Int, Some("2147483647"), AtLeast(1);
        /// How long the coordinator waits for a heartbeat, in ms (KIP-848).
        group_consumer_session_timeout_ms: u64 =
            "group.consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1);
        /// How often a member sends one, in ms (KIP-848).
        group_consumer_heartbeat_interval_ms: u64 =
            "group.consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1);
        /// How many members a group has at most (KIP-848).
        group_consumer_max_size: usize =
            "group.consumer.max.size", Int, Some("2147483647"), AtLeast(1);
        /// The assignors of the coordinator, the default one first (KIP-848).
        group_consumer_assignors: Vec<String> =
            "group.consumer.assignors", List, Some("uniform,range"),
            NonEmptyListOf(&["uniform", "range"]);
        /// Which group protocols are served; that of streams and share groups never is.
        group_coordinator_rebalance_protocols: Vec<String> =
            "group.coordinator.rebalance.protocols", List, Some("classic,consumer,streams"),
            ListOf(&["classic", "consumer", "share", "streams"]);
        /// Whether groups may change between the protocols.
        group_consumer_migration_policy: String =
            "group.consumer.migration.policy", String, Some("bidirectional"),
            OneOfAnyCase(&["disabled", "upgrade", "downgrade", "bidirectional"]);
        /// How often the topics that regular expressions match are looked for, in ms.
        group_consumer_regex_refresh_interval_ms: i64 =
            "group.consumer.regex.refresh.interval.ms", Int, Some("600000"), AtLeast(10_000);
    }
    known {
        /// The node's number before KRaft.
        "broker.id", Int, Some("-1"), Any;
        /// Where the node listens; the world of the model decides.
        "listeners", List, Some("PLAINTEXT://:9092"), Any;
        /// Where others find it; the world of the model decides.
        "advertised.listeners", List, None, Any;
        /// Which protocol each listener speaks.
        "listener.security.protocol.map", String, None, Any;
        /// Which listeners are the controller's.
        "controller.listener.names", List, Some("CONTROLLER"), Any;
        /// Which listener brokers use among themselves.
        "inter.broker.listener.name", String, None, Any;
        /// Which protocol brokers use among themselves.
        "security.inter.broker.protocol", String, Some("PLAINTEXT"),
            OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]);
        /// The voters, if they do not change.
        "controller.quorum.voters", List, Some(""), Any;
        /// Where to find the voters, if they change.
        "controller.quorum.bootstrap.servers", List, Some(""), Any;
        /// Whether a controller joins the voters by itself.
        "controller.quorum.auto.join.enable", Boolean, Some("false"), Any;
        /// How long to wait for an answer of the controller, in ms.
        "controller.socket.timeout.ms", Int, Some("30000"), Any;
        /// The directory of the log.
        "log.dir", String, Some("/tmp/kafka-logs"), Any;
        /// The directories of the log.
        "log.dirs", List, None, Any;
        /// The directory of the metadata log.
        "metadata.log.dir", String, None, Any;
        /// How large a segment of the metadata log grows, in bytes.
        "metadata.log.segment.bytes", Int, Some("1073741824"), AtLeast(8_388_608);
        /// How old a segment of the metadata log grows, in ms.
        "metadata.log.segment.ms", Long, Some("604800000"), Any;
        /// How long a failed directory may stay unreported, in ms.
        "log.dir.failure.timeout.ms", Long, Some("30000"), AtLeast(1);
        /// How large a segment grows, in bytes, where the topic does not say.
        "log.segment.bytes", Int, Some("1073741824"), AtLeast(1_048_576);
        /// How old a segment grows, in ms, where the topic does not say.
        "log.roll.ms", Long, None, AtLeast(1);
        /// The same in hours.
        "log.roll.hours", Int, Some("168"), AtLeast(1);
        /// How much the age of a segment may vary, in ms.
        "log.roll.jitter.ms", Long, None, AtLeast(0);
        /// The same in hours.
        "log.roll.jitter.hours", Int, Some("0"), AtLeast(0);
        /// How long records are kept, in ms, where the topic does not say.
        "log.retention.ms", Long, None, Any;
        /// The same in minutes.
        "log.retention.minutes", Int, None, Any;
        /// The same in hours.
        "log.retention.hours", Int, Some("168"), Any;
        /// How many bytes of a partition are kept, where the topic does not say.
        "log.retention.bytes", Long, Some("-1"), Any;
        /// How often old segments are looked for, in ms.
        "log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1);
        /// What becomes of old records, where the topic does not say.
        "log.cleanup.policy", List, Some("delete"), ListOf(&["compact", "delete"]);
        /// How large an index grows, in bytes, where the topic does not say.
        "log.index.size.max.bytes", Int, Some("10485760"), AtLeast(4);
        /// After how many bytes the index gets an entry, where the topic does not say.
        "log.index.interval.bytes", Int, Some("4096"), AtLeast(0);
        /// After how many records a log is flushed, where the topic does not say.
        "log.flush.interval.messages", Long, Some("9223372036854775807"), AtLeast(1);
        /// After how long a log is flushed, in ms, where the topic does not say.
        "log.flush.interval.ms", Long, None, Any;
        /// How often logs are checked for that, in ms.
        "log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any;
        /// How often recovery points are written down, in ms.
        "log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0);
        /// How often log start offsets are written down, in ms.
        "log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), AtLeast(0);
        /// How long a deleted segment stays on the disk, in ms.
        "log.segment.delete.delay.ms", Long, Some("60000"), AtLeast(0);
        /// Whether segments are allocated in full.
        "log.preallocate", Boolean, Some("false"), Any;
        /// How long background tasks wait after a start, in ms.
        "log.initial.task.delay.ms", Long, Some("30000"), AtLeast(0);
        /// Who sets the timestamps of records, where the topic does not say.
        "log.message.timestamp.type", String, Some("CreateTime"),
            OneOf(&["CreateTime", "LogAppendTime"]);
        /// How far behind the clock a timestamp may be, in ms, where the topic does not say.
        "log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0);
        /// How far ahead of the clock a timestamp may be, in ms, where the topic does not say.
        "log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0);
        /// How long records stay local, in ms.
        "log.local.retention.ms", Long, Some("-2"), AtLeast(-2);
        /// How many bytes stay local.
        "log.local.retention.bytes", Long, Some("-2"), AtLeast(-2);
        /// Whether logs are compacted.
        "log.cleaner.enable", Boolean, Some("true"), Any;
        /// How many threads compact.
        "log.cleaner.threads", Int, Some("1"), AtLeast(0);
        /// How long an idle cleaner sleeps, in ms.
        "log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(0);
        /// From which share of dirty bytes a log is compacted, where the topic does not say.
        "log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Ratio;
        /// How long tombstones are kept, in ms, where the topic does not say.
        "log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0);
        /// How long a record is safe from compaction, in ms, where the topic does not say.
        "log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0);
        /// How long a record may escape compaction, in ms, where the topic does not say.
        "log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1);
        /// The compression of batches in the log, where the topic does not say.
        "compression.type", String, Some("producer"),
            OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
        /// The level of gzip, where the topic does not say.
        "compression.gzip.level", Int, Some("-1"), GzipLevel;
        /// The level of lz4, where the topic does not say.
        "compression.lz4.level", Int, Some("9"), Between(1, 17);
        /// The level of zstd, where the topic does not say.
        "compression.zstd.level", Int, Some("3"), Between(-131072, 22);
        /// How many threads recover a directory.
        "num.recovery.threads.per.data.dir", Int, Some("2"), AtLeast(1);
        /// How many threads serve requests.
        "num.io.threads", Int, Some("8"), AtLeast(1);
        /// How many threads serve sockets.
        "num.network.threads", Int, Some("3"), AtLeast(1);
        /// How many threads do other work.
        "background.threads", Int, Some("10"), AtLeast(1);
        /// How many requests may wait.
        "queued.max.requests", Int, Some("500"), AtLeast(1);
        /// How many bytes of requests may wait; -1 for any number.
        "queued.max.request.bytes", Long, Some("-1"), Any;
        /// The socket's send buffer, in bytes.
        "socket.send.buffer.bytes", Int, Some("102400"), Any;
        /// The socket's receive buffer, in bytes.
        "socket.receive.buffer.bytes", Int, Some("102400"), Any;
        /// How many connections may wait to be accepted.
        "socket.listen.backlog.size", Int, Some("50"), AtLeast(1);
        /// The follower's receive buffer, in bytes.
        "replica.socket.receive.buffer.bytes", Int, Some("65536"), Any;
        /// How many connections there may be.
        "max.connections", Int, Some("2147483647"), AtLeast(0);
        /// How many connections of one address there may be.
        "max.connections.per.ip", Int, Some("2147483647"), AtLeast(0);
        /// How many connections a second may be made.
        "max.connection.creation.rate", Int, Some("2147483647"), AtLeast(0);
        /// How often the purgatory of fetches is purged, in requests.
        "fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any;
        /// How often the purgatory of produces is purged, in requests.
        "producer.purgatory.purge.interval.requests", Int, Some("1000"), Any;
        /// How often the purgatory of record deletions is purged, in requests.
        "delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any;
        /// The class that chooses replicas to read from.
        "replica.selector.class", String, None, Any;
        /// The class that decides on new topics.
        "create.topic.policy.class.name", Class, None, Any;
        /// The class that decides on changed configurations.
        "alter.config.policy.class.name", Class, None, Any;
        /// The class that decides who may do what.
        "authorizer.class.name", String, Some(""), Any;
        /// How long a start may take, in ms.
        "server.max.startup.time.ms", Long, Some("9223372036854775807"), AtLeast(0);
        /// Whether unfinished API versions are served.
        "unstable.api.versions.enable", Boolean, Some("false"), Any;
        /// Whether unfinished feature levels can be chosen.
        "unstable.feature.versions.enable", Boolean, Some("false"), Any;
        /// How large a segment of `__transaction_state` grows, in bytes.
        "transaction.state.log.segment.bytes", Int, Some("104857600"), AtLeast(1);
        /// How many bytes are read at once when transactions are loaded.
        "transaction.state.log.load.buffer.size", Int, Some("5242880"), AtLeast(1);
        /// Whether two-phase commit is allowed (KIP-939).
        "transaction.two.phase.commit.enable", Boolean, Some("false"), Any;
        /// How long to wait before adding partitions to a transaction again, in ms.
        "add.partitions.to.txn.retry.backoff.ms", Int, Some("20"), AtLeast(1);
        /// How long to go on with that, in ms.
        "add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100"), AtLeast(0);
        /// How large a segment of `__consumer_offsets` grows, in bytes.
        "offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(1);
        /// How `__consumer_offsets` is compressed.
        "offsets.topic.compression.codec", Int, Some("0"), Any;
        /// How many bytes are read at once when offsets are loaded.
        "offsets.load.buffer.size", Int, Some("5242880"), AtLeast(1);
        /// How long the coordinator gathers records, in ms; -1 to adapt.
        "group.coordinator.append.linger.ms", Int, Some("-1"), AtLeast(-1);
        /// How many threads coordinate.
        "group.coordinator.threads", Int, Some("4"), AtLeast(1);
        /// The shortest session timeout a group can be given, in ms (KIP-848).
        "group.consumer.min.session.timeout.ms", Int, Some("45000"), AtLeast(1);
        /// The longest session timeout a group can be given, in ms (KIP-848).
        "group.consumer.max.session.timeout.ms", Int, Some("60000"), AtLeast(1);
        /// The shortest heartbeat interval a group can be given, in ms (KIP-848).
        "group.consumer.min.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1);
        /// The longest heartbeat interval a group can be given, in ms (KIP-848).
        "group.consumer.max.heartbeat.interval.ms", Int, Some("15000"), AtLeast(1);
    }
}

impl BrokerConfig {
    /// Reads and checks a node's properties, together and one by one.
    pub fn from_properties(given: &Given) -> Result<BrokerConfig, PropertyError> {
        let values = Values::parse(&BROKER, given)?;
        let config = BrokerConfig::read(&values)?;
        config.check_replication()?;
        for name in [
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
        ] {
            check_retention(&values, name)?;
        }
        let queued_bytes: i64 = values.read("queued.max.request.bytes")?;
        if 0 < queued_bytes && (queued_bytes as u64) < config.socket_request_max_bytes as u64 {
            let reason = "queued.max.request.bytes must be at least socket.request.max.bytes";
            return Err(PropertyError::conflict(reason));
        }
        let protocols = &config.group_coordinator_rebalance_protocols;
        if !protocols.iter().any(|protocol| protocol == "classic") {
            let reason = "group.coordinator.rebalance.protocols must name classic";
            return Err(PropertyError::conflict(reason));
        }
        Ok(config)
    }

    /// Whether `process.roles` has this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.process_roles.iter().any(|own| own == role)
    }

    /// A fetch that waits longer than others wait for it would look like a failure.
    fn check_replication(&self) -> Result<(), PropertyError> {
        let wait_ms = u64::try_from(self.replica_fetch_wait_max_ms).unwrap_or(0);
        if self.replica_socket_timeout_ms < wait_ms {
            let reason = "replica.socket.timeout.ms must be at least replica.fetch.wait.max.ms";
            return Err(PropertyError::conflict(reason));
        }
        if self.replica_lag_time_max_ms < wait_ms {
            let reason = "replica.lag.time.max.ms must be at least replica.fetch.wait.max.ms";
            return Err(PropertyError::conflict(reason));
        }
        Ok(())
    }
}

/// Some time, or for ever; but not no time at all.
fn check_retention(values: &Values, name: &str) -> Result<(), PropertyError> {
    if values.read::<Option<i64>>(name)? == Some(0) {
        return Err(PropertyError::conflict(format!(
            "{name} must be at least 1, or -1 for ever"
        )));
    }
    Ok(())
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig::from_properties(&Given::new()).expect("Kafka's defaults go together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(given: &[(&str, &str)]) -> Result<BrokerConfig, String> {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let given = given.iter().map(own).collect();
        BrokerConfig::from_properties(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_scenario_says_is_read() {
        let config = node(&[
            ("process.roles", "controller"),
            ("controller.quorum.election.timeout.ms", "500"),
            ("replica.lag.time.max.ms", "3000"),
        ]);
        let config = config.expect("fine");
        assert_eq!(config.controller_quorum_election_timeout_ms, 500);
        assert_eq!(config.replica_lag_time_max_ms, 3000);
        assert!(config.has_role("controller"));
        assert!(!config.has_role("broker"));
    }

    #[test]
    fn times_that_do_not_go_together_are_refused() {
        assert!(node(&[("replica.lag.time.max.ms", "499")]).is_err());
        assert!(node(&[("replica.socket.timeout.ms", "499")]).is_err());
        assert!(node(&[("log.retention.hours", "0")]).is_err());
        assert!(node(&[("log.roll.ms", "0")]).is_err());
        assert!(node(&[("process.roles", "")]).is_err());
        assert!(node(&[("queued.max.request.bytes", "1000")]).is_err());
        assert!(node(&[("group.coordinator.rebalance.protocols", "consumer")]).is_err());
    }

    #[test]
    fn a_time_below_zero_is_refused_even_where_kafka_does_not_check() {
        let told = node(&[("broker.session.timeout.ms", "-1")]).expect_err("negative");
        assert_eq!(
            told,
            r#"invalid value "-1" for broker.session.timeout.ms: expected a number that is not negative"#
        );
    }
}
