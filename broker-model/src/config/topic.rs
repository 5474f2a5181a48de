//! What a topic can be told, and where it gets what it is not told. Mirrors Kafka's `LogConfig`,
//! `ServerTopicConfigSynonyms` and `ConfigHelper`.

use super::Check::{Any, AtLeast, Between, GzipLevel, ListOf, OneOf, Ratio, ThrottledReplicas};
use super::value::parse_value;
use super::{BROKER, FromValue, Given, Kind, Property, PropertyError, Value, Values, properties};
use crate::wire::batch::TimestampType;
use crate::wire::validate::ProduceRules;

properties! {
    /// A topic's configuration.
    TopicConfig in TOPIC("topic.config");
    read {
        /// How many in-sync replicas a batch with acks=all needs, if there are as many replicas.
        min_insync_replicas: i32 = "min.insync.replicas", Int, Some("1"), AtLeast(1);
        /// Whether a replica outside the ISR may lead when nobody else can.
        unclean_leader_election_enable: bool =
            "unclean.leader.election.enable", Boolean, Some("false"), Any;
        /// How large a batch may be, in bytes.
        max_message_bytes: usize = "max.message.bytes", Int, Some("1048588"), AtLeast(0);
        /// Who sets the timestamps of records.
        message_timestamp_type: TimestampType = "message.timestamp.type", String,
            Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]);
        /// How far behind the broker's clock a timestamp may be, in ms.
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms", Long,
            Some("9223372036854775807"), AtLeast(0);
        /// How far ahead of the broker's clock a timestamp may be, in ms.
        message_timestamp_after_max_ms: i64 =
            "message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0);
        /// What becomes of old records.
        cleanup_policy: CleanupPolicy =
            "cleanup.policy", List, Some("delete"), ListOf(&["compact", "delete"]);
        /// How long records are kept, in ms; -1 for ever.
        retention_ms: i64 = "retention.ms", Long, Some("604800000"), AtLeast(-1);
        /// How many bytes of a partition are kept; -1 for all.
        retention_bytes: i64 = "retention.bytes", Long, Some("-1"), Any;
        /// How large a segment grows, in bytes.
        segment_bytes: usize = "segment.bytes", Int, Some("1073741824"), AtLeast(1_048_576);
        /// How old a segment grows, in ms.
        segment_ms: u64 = "segment.ms", Long, Some("604800000"), AtLeast(1);
        /// After how many records the log is flushed.
        flush_messages: u64 = "flush.messages", Long, Some("9223372036854775807"), AtLeast(1);
        /// After how long the log is flushed, in ms.
        flush_ms: u64 = "flush.ms", Long, Some("9223372036854775807"), AtLeast(0);
        /// How long tombstones are kept, in ms.
        delete_retention_ms: u64 = "delete.retention.ms", Long, Some("86400000"), AtLeast(0);
        /// How long a record is safe from compaction, in ms.
        min_compaction_lag_ms: u64 = "min.compaction.lag.ms", Long, Some("0"), AtLeast(0);
        /// How long a record may escape compaction, in ms.
        max_compaction_lag_ms: u64 =
            "max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1);
    }
    known {
        /// The compression of batches in the log; the model keeps them as they come.
        "compression.type", String, Some("producer"),
            OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
        /// The level of gzip.
        "compression.gzip.level", Int, Some("-1"), GzipLevel;
        /// The level of lz4.
        "compression.lz4.level", Int, Some("9"), Between(1, 17);
        /// The level of zstd.
        "compression.zstd.level", Int, Some("3"), Between(-131072, 22);
        /// How much the age of a segment may vary, in ms.
        "segment.jitter.ms", Long, Some("0"), AtLeast(0);
        /// How large an index grows, in bytes.
        "segment.index.bytes", Int, Some("10485760"), AtLeast(4);
        /// After how many bytes the index gets an entry.
        "index.interval.bytes", Int, Some("4096"), AtLeast(0);
        /// How long a deleted segment stays on the disk, in ms.
        "file.delete.delay.ms", Long, Some("60000"), AtLeast(0);
        /// From which share of dirty bytes a log is compacted.
        "min.cleanable.dirty.ratio", Double, Some("0.5"), Ratio;
        /// Whether segments are allocated in full.
        "preallocate", Boolean, Some("false"), Any;
        /// Replicas whose leaders throttle replication.
        "leader.replication.throttled.replicas", List, Some(""), ThrottledReplicas;
        /// Replicas whose followers throttle replication.
        "follower.replication.throttled.replicas", List, Some(""), ThrottledReplicas;
        /// Whether old segments go to remote storage.
        "remote.storage.enable", Boolean, Some("false"), Any;
        /// How long records stay local, in ms; -2 as long as `retention.ms` says.
        "local.retention.ms", Long, Some("-2"), AtLeast(-2);
        /// How many bytes stay local; -2 as many as `retention.bytes` says.
        "local.retention.bytes", Long, Some("-2"), AtLeast(-2);
        /// Whether nothing more goes to remote storage.
        "remote.log.copy.disable", Boolean, Some("false"), Any;
        /// Whether turning remote storage off deletes what is there.
        "remote.log.delete.on.disable", Boolean, Some("false"), Any;
    }
}

/// What becomes of old records (`cleanup.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// The last record of each key stays.
    pub compact: bool,
    /// Records beyond the retention go.
    pub delete: bool,
}

impl FromValue for CleanupPolicy {
    const EXPECTED: &'static str = "a list of compact, delete";
    fn from_value(value: &Value) -> Option<CleanupPolicy> {
        let policies = Vec::<String>::from_value(value)?;
        let has = |name: &str| policies.iter().any(|policy| policy == name);
        Some(CleanupPolicy {
            compact: has("compact"),
            delete: has("delete"),
        })
    }
}

impl FromValue for TimestampType {
    const EXPECTED: &'static str = "CreateTime or LogAppendTime";
    fn from_value(value: &Value) -> Option<TimestampType> {
        match String::from_value(value)?.as_str() {
            "CreateTime" => Some(TimestampType::CreateTime),
            "LogAppendTime" => Some(TimestampType::LogAppendTime),
            _ => None,
        }
    }
}

impl TopicConfig {
    /// Reads and checks the `overrides` of a topic on a node with the properties `node`, which must
    /// have passed their own checks. What is not overridden comes from the node, then from the table.
    pub fn from_properties(node: &Given, overrides: &Given) -> Result<TopicConfig, PropertyError> {
        let mut given = overrides.clone();
        for property in TOPIC
            .iter()
            .filter(|property| !overrides.contains_key(property.name))
        {
            if let Some(value) = inherited(node, property.name) {
                given.insert(property.name.to_owned(), value.to_string());
            }
        }
        let values = Values::parse(&TOPIC, &given)?;
        let config = TopicConfig::read(&values)?;
        if config.max_compaction_lag_ms < config.min_compaction_lag_ms {
            return Err(PropertyError::conflict(format!(
                "min.compaction.lag.ms ({}) is above max.compaction.lag.ms ({})",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            )));
        }
        if values.read("remote.storage.enable")? {
            let reason = "remote.storage.enable needs remote.log.storage.system.enable on the node";
            return Err(PropertyError::conflict(reason));
        }
        Ok(config)
    }

    /// What a leader of the topic checks before it appends.
    pub fn produce_rules(&self) -> ProduceRules {
        ProduceRules {
            max_message_bytes: self.max_message_bytes,
            timestamp_type: self.message_timestamp_type,
            timestamp_before_max_ms: self.message_timestamp_before_max_ms,
            timestamp_after_max_ms: self.message_timestamp_after_max_ms,
            compacted: self.cleanup_policy.compact,
        }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig::from_properties(&Given::new(), &Given::new())
            .expect("Kafka's defaults go together")
    }
}

/// The node's property that stands in for a topic's, and how many of the topic's units one of it is.
struct Synonym {
    name: &'static str,
    factor: i64,
}

const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 60_000,
    }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym {
        name,
        factor: 3_600_000,
    }
}

/// The synonyms of a topic's property, the strongest first.
fn synonyms(name: &str) -> &'static [Synonym] {
    SYNONYMS
        .iter()
        .find(|(topic, _)| *topic == name)
        .map_or(&[], |(_, synonyms)| synonyms)
}

/// Every topic property that a node has a word on (`ServerTopicConfigSynonyms`).
const SYNONYMS: &[(&str, &[Synonym])] = &[
    ("segment.bytes", &[same("log.segment.bytes")]),
    (
        "segment.ms",
        &[same("log.roll.ms"), hours("log.roll.hours")],
    ),
    (
        "segment.jitter.ms",
        &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")],
    ),
    ("segment.index.bytes", &[same("log.index.size.max.bytes")]),
    ("flush.messages", &[same("log.flush.interval.messages")]),
    (
        "flush.ms",
        &[
            same("log.flush.interval.ms"),
            same("log.flush.scheduler.interval.ms"),
        ],
    ),
    ("retention.bytes", &[same("log.retention.bytes")]),
    (
        "retention.ms",
        &[
            same("log.retention.ms"),
            minutes("log.retention.minutes"),
            hours("log.retention.hours"),
        ],
    ),
    ("max.message.bytes", &[same("message.max.bytes")]),
    ("index.interval.bytes", &[same("log.index.interval.bytes")]),
    (
        "delete.retention.ms",
        &[same("log.cleaner.delete.retention.ms")],
    ),
    (
        "min.compaction.lag.ms",
        &[same("log.cleaner.min.compaction.lag.ms")],
    ),
    (
        "max.compaction.lag.ms",
        &[same("log.cleaner.max.compaction.lag.ms")],
    ),
    (
        "file.delete.delay.ms",
        &[same("log.segment.delete.delay.ms")],
    ),
    (
        "min.cleanable.dirty.ratio",
        &[same("log.cleaner.min.cleanable.ratio")],
    ),
    ("cleanup.policy", &[same("log.cleanup.policy")]),
    (
        "unclean.leader.election.enable",
        &[same("unclean.leader.election.enable")],
    ),
    ("min.insync.replicas", &[same("min.insync.replicas")]),
    ("compression.type", &[same("compression.type")]),
    ("compression.gzip.level", &[same("compression.gzip.level")]),
    ("compression.lz4.level", &[same("compression.lz4.level")]),
    ("compression.zstd.level", &[same("compression.zstd.level")]),
    ("preallocate", &[same("log.preallocate")]),
    (
        "message.timestamp.type",
        &[same("log.message.timestamp.type")],
    ),
    (
        "message.timestamp.before.max.ms",
        &[same("log.message.timestamp.before.max.ms")],
    ),
    (
        "message.timestamp.after.max.ms",
        &[same("log.message.timestamp.after.max.ms")],
    ),
    ("local.retention.ms", &[same("log.local.retention.ms")]),
    (
        "local.retention.bytes",
        &[same("log.local.retention.bytes")],
    ),
];

/// What the node's own properties say about a topic's property, in the topic's units.
fn inherited(node: &Given, name: &str) -> Option<Value> {
    synonyms(name).iter().find_map(|synonym| {
        let text = node.get(synonym.name)?;
        let property = BROKER
            .find(synonym.name)
            .expect("the node's table has every synonym");
        let value = parse_value(property, text).ok()?;
        Some(match value {
            Value::Integer(number) if number < 0 && synonym.name.starts_with("log.retention.") => {
                Value::Integer(-1)
            }
            Value::Integer(number) => Value::Integer(number.saturating_mul(synonym.factor)),
            other => other,
        })
    })
}

/// One line of DescribeConfigs for a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicEntry {
    /// The topic's property.
    pub name: &'static str,
    /// The kind of its value; `kind as i8` is the number on the wire.
    pub kind: Kind,
    /// The value in force.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
    /// All that was said about it, the strongest first.
    pub synonyms: Vec<SynonymEntry>,
    /// What it does.
    pub doc: &'static str,
}

/// One thing said about a property.
#[derive(Debug, Clone, PartialEq)]
pub struct SynonymEntry {
    /// The property, of the topic or of the node.
    pub name: &'static str,
    /// Its value, in its own units.
    pub value: String,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// Where a value comes from, with the numbers of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// The topic's own.
    Topic = 1,
    /// The node's `server.properties`.
    StaticBroker = 4,
    /// Nobody said anything.
    Default = 5,
}

/// Everything there is to say about a topic's configuration, by name.
pub fn describe_topic(node: &Given, overrides: &Given) -> Vec<TopicEntry> {
    let mut entries: Vec<TopicEntry> = TOPIC
        .iter()
        .map(|property| describe(property, node, overrides))
        .collect();
    entries.sort_by_key(|entry| entry.name);
    entries
}

fn describe(property: &'static Property, node: &Given, overrides: &Given) -> TopicEntry {
    let mut said = Vec::new();
    let canonical = |property: &Property, text: &str| {
        parse_value(property, text).map_or_else(|_| text.to_owned(), |value| value.to_string())
    };
    let overridden = overrides
        .get(property.name)
        .map(|text| canonical(property, text));
    if let Some(value) = &overridden {
        let (name, value) = (property.name, value.clone());
        said.push(SynonymEntry {
            name,
            value,
            source: ConfigSource::Topic,
        });
    }
    let rows = || {
        synonyms(property.name).iter().map(|synonym| {
            BROKER
                .find(synonym.name)
                .expect("the node's table has every synonym")
        })
    };
    said.extend(rows().filter_map(|row| {
        let value = canonical(row, node.get(row.name)?);
        Some(SynonymEntry {
            name: row.name,
            value,
            source: ConfigSource::StaticBroker,
        })
    }));
    said.extend(rows().filter_map(|row| {
        let value = canonical(row, row.default?);
        Some(SynonymEntry {
            name: row.name,
            value,
            source: ConfigSource::Default,
        })
    }));
    let default = || canonical(property, property.default.unwrap_or_default());
    let value = overridden
        .or_else(|| inherited(node, property.name).map(|value| value.to_string()))
        .unwrap_or_else(default);
    let source = said
        .first()
        .map_or(ConfigSource::Default, |first| first.source);
    let (name, kind, doc) = (property.name, property.kind, property.doc);
    TopicEntry {
        name,
        kind,
        value,
        source,
        synonyms: said,
        doc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Given {
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn entry(name: &str, node: &Given, overrides: &Given) -> TopicEntry {
        let entries = describe_topic(node, overrides);
        entries
            .into_iter()
            .find(|entry| entry.name == name)
            .expect("in the table")
    }

    #[test]
    fn every_synonym_is_a_property_of_the_node_with_the_same_meaning() {
        for property in TOPIC.iter() {
            let rows: Vec<_> = synonyms(property.name)
                .iter()
                .map(|synonym| {
                    (
                        BROKER.find(synonym.name).expect(synonym.name),
                        synonym.factor,
                    )
                })
                .collect();
            let default = rows
                .iter()
                .find_map(|(row, factor)| Some((row.default?, factor)));
            let Some((default, &factor)) = default else {
                continue;
            };
            if factor == 1 {
                assert_eq!(property.default, Some(default), "{}", property.name);
            }
        }
    }

    #[test]
    fn a_topic_takes_its_own_then_the_nodes_then_kafkas() {
        let node = given(&[("log.retention.minutes", "2"), ("log.retention.hours", "9")]);
        let retention_ms = |node: &Given, topic: &Given| {
            TopicConfig::from_properties(node, topic)
                .expect("fine")
                .retention_ms
        };
        assert_eq!(retention_ms(&node, &given(&[("retention.ms", "5")])), 5);
        assert_eq!(retention_ms(&node, &Given::new()), 120_000);
        assert_eq!(retention_ms(&Given::new(), &Given::new()), 604_800_000);
        assert_eq!(
            retention_ms(&given(&[("log.retention.hours", "-1")]), &Given::new()),
            -1
        );
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        let error = |pairs| TopicConfig::from_properties(&Given::new(), &given(pairs)).is_err();
        assert!(error(&[("no.such.key", "1")]));
        assert!(error(&[("retention.ms", "abc")]));
        assert!(error(&[("cleanup.policy", "shred")]));
        assert!(error(&[("min.insync.replicas", "0")]));
        assert!(error(&[
            ("min.compaction.lag.ms", "9"),
            ("max.compaction.lag.ms", "8")
        ]));
        assert!(error(&[("remote.storage.enable", "true")]));
        assert!(!error(&[("cleanup.policy", "compact,delete")]));
        assert!(!error(&[("cleanup.policy", "")]));
    }

    #[test]
    fn a_description_tells_where_values_come_from() {
        let overrides = given(&[("max.message.bytes", "77777")]);
        let described = entry("max.message.bytes", &Given::new(), &overrides);
        assert_eq!(
            (described.value.as_str(), described.source),
            ("77777", ConfigSource::Topic)
        );
        let said: Vec<_> = described
            .synonyms
            .iter()
            .map(|synonym| (synonym.name, synonym.value.as_str(), synonym.source as i8))
            .collect();
        assert_eq!(
            said,
            [
                ("max.message.bytes", "77777", 1),
                ("message.max.bytes", "1048588", 5)
            ]
        );
        let policy = entry("cleanup.policy", &Given::new(), &Given::new());
        assert_eq!((policy.kind as i8, policy.source as i8), (7, 5));
        assert_eq!(policy.synonyms[0].name, "log.cleanup.policy");
        let node = given(&[("log.retention.hours", "2")]);
        let retention = entry("retention.ms", &node, &Given::new());
        assert_eq!(
            (retention.value.as_str(), retention.source as i8),
            ("7200000", 4)
        );
    }
}
