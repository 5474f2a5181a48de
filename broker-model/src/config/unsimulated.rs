//! Properties that Kafka acts upon and the model does not: a run must not pretend that it did.
//!
//! Scenarios may not set them to anything but their default; `serve`, whose clients may set what they
//! like, says so. What is tuned here and does not exist in the model at all (threads, buffers, index
//! sizes, metrics, SSL) is not listed: nobody can see its effect.

use super::PropertyTable;

/// What Kafka would do by a property that is not simulated; `None` for all others.
#[must_use]
pub fn unsimulated(table: &PropertyTable, name: &str) -> Option<&'static str> {
    let rows = UNSIMULATED.iter();
    rows.filter(|(section, ..)| *section == table.section)
        .flat_map(|(_, what, names)| names.iter().map(move |each| (*each, *what)))
        .find(|(each, _)| *each == name)
        .map(|(_, what)| what)
}

/// Section, what Kafka does, and the properties that tell it to.
const UNSIMULATED: &[(&str, &str, &[&str])] = &[
    (
        "node.config",
        "flushes logs before it acknowledges, or in the background",
        &[
            "log.flush.interval.messages",
            "log.flush.interval.ms",
            "log.flush.scheduler.interval.ms",
        ],
    ),
    (
        "node.config",
        "rolls segments, and flushes what is before",
        &["log.segment.bytes", "log.roll.ms", "log.roll.hours"],
    ),
    (
        "node.config",
        "deletes or compacts old records",
        &[
            "log.retention.ms",
            "log.retention.minutes",
            "log.retention.hours",
            "log.retention.bytes",
            "log.retention.check.interval.ms",
            "log.cleanup.policy",
            "log.cleaner.enable",
            "log.cleaner.delete.retention.ms",
            "log.cleaner.min.cleanable.ratio",
            "log.cleaner.min.compaction.lag.ms",
            "log.cleaner.max.compaction.lag.ms",
        ],
    ),
    (
        "node.config",
        "compresses batches anew",
        &["compression.type"],
    ),
    (
        "node.config",
        "closes connections or delays them",
        &[
            "socket.request.max.bytes",
            "max.connections",
            "max.connections.per.ip",
            "max.connection.creation.rate",
            "connections.max.idle.ms",
        ],
    ),
    (
        "node.config",
        "fetches on so many connections, and gives each attempt to connect more time",
        &[
            "num.replica.fetchers",
            "socket.connection.setup.timeout.max.ms",
        ],
    ),
    (
        "node.config",
        "serves fetches from followers",
        &["replica.selector.class"],
    ),
    (
        "node.config",
        "gathers metadata records before it appends them",
        &["controller.quorum.append.linger.ms"],
    ),
    (
        "node.config",
        "snapshots and deletes its metadata log",
        &[
            "metadata.log.max.record.bytes.between.snapshots",
            "metadata.log.max.snapshot.interval.ms",
            "metadata.max.retention.bytes",
            "metadata.max.retention.ms",
        ],
    ),
    (
        "node.config",
        "takes its voters from there (here all nodes with the role are voters)",
        &[
            "controller.quorum.voters",
            "controller.quorum.bootstrap.servers",
            "controller.quorum.auto.join.enable",
        ],
    ),
    (
        "node.config",
        "refuses requests by it",
        &[
            "create.topic.policy.class.name",
            "alter.config.policy.class.name",
            "authorizer.class.name",
        ],
    ),
    (
        "node.config",
        "gives up on its controller after that time",
        &[
            "initial.broker.registration.timeout.ms",
            "controller.socket.timeout.ms",
            "request.timeout.ms",
        ],
    ),
    (
        "node.config",
        "coordinates transactions by it",
        &[
            "transaction.max.timeout.ms",
            "transaction.partition.verification.enable",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "transaction.two.phase.commit.enable",
            "transactional.id.expiration.ms",
            "transaction.state.log.num.partitions",
            "transaction.state.log.replication.factor",
            "transaction.state.log.min.isr",
        ],
    ),
    (
        "topic.config",
        "flushes the log before it acknowledges, or in the background",
        &["flush.messages", "flush.ms"],
    ),
    (
        "topic.config",
        "rolls segments, and flushes what is before",
        &["segment.bytes", "segment.ms"],
    ),
    (
        "topic.config",
        "deletes or compacts old records",
        &[
            "cleanup.policy",
            "retention.ms",
            "retention.bytes",
            "delete.retention.ms",
            "min.compaction.lag.ms",
            "max.compaction.lag.ms",
            "min.cleanable.dirty.ratio",
        ],
    ),
    (
        "topic.config",
        "compresses batches anew",
        &["compression.type"],
    ),
    (
        "topic.config",
        "replicates no faster",
        &[
            "leader.replication.throttled.replicas",
            "follower.replication.throttled.replicas",
        ],
    ),
    (
        "producer.config",
        "sends transactions",
        &[
            "transactional.id",
            "transaction.timeout.ms",
            "transaction.two.phase.commit.enable",
        ],
    ),
    (
        "producer.config",
        "compresses batches",
        &["compression.type"],
    ),
    (
        "producer.config",
        "chooses other partitions",
        &[
            "partitioner.class",
            "partitioner.availability.timeout.ms",
            "partitioner.adaptive.partitioning.enable",
        ],
    ),
    (
        "producer.config",
        "forgets what is idle, and gives each attempt to connect more time",
        &[
            "socket.connection.setup.timeout.max.ms",
            "connections.max.idle.ms",
            "metadata.max.idle.ms",
        ],
    ),
    (
        "producer.config",
        "bootstraps anew by it, or not at all",
        &[
            "metadata.recovery.strategy",
            "metadata.recovery.rebootstrap.trigger.ms",
        ],
    ),
    (
        "consumer.config",
        "forgets what is idle, and gives each attempt to connect more time",
        &[
            "socket.connection.setup.timeout.max.ms",
            "connections.max.idle.ms",
        ],
    ),
    (
        "consumer.config",
        "bootstraps anew by it, or not at all",
        &[
            "metadata.recovery.strategy",
            "metadata.recovery.rebootstrap.trigger.ms",
        ],
    ),
    (
        "admin.config",
        "forgets what is idle, and gives each attempt to connect more time",
        &[
            "socket.connection.setup.timeout.max.ms",
            "connections.max.idle.ms",
        ],
    ),
    (
        "admin.config",
        "bootstraps anew by it, or not at all",
        &[
            "metadata.recovery.strategy",
            "metadata.recovery.rebootstrap.trigger.ms",
        ],
    ),
    (
        "admin.config",
        "asks the controllers themselves",
        &["bootstrap.controllers"],
    ),
    (
        "consumer.config",
        "fetches from the nearest replica",
        &["client.rack"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ADMIN, BROKER, CONSUMER, PRODUCER, TOPIC};

    #[test]
    fn only_what_exists_is_listed() {
        let tables = [&BROKER, &TOPIC, &PRODUCER, &CONSUMER, &ADMIN];
        for (section, _, names) in UNSIMULATED {
            let table = tables.iter().find(|table| table.section == *section);
            let table = table.expect("the section exists");
            for name in *names {
                assert!(table.find(name).is_some(), "{section} has no {name}");
            }
        }
    }

    #[test]
    fn what_acts_is_not_listed() {
        assert!(unsimulated(&TOPIC, "min.insync.replicas").is_none());
        assert!(unsimulated(&TOPIC, "flush.messages").is_some());
        assert!(unsimulated(&PRODUCER, "transactional.id").is_some());
        assert!(unsimulated(&CONSUMER, "group.id").is_none());
    }
}
