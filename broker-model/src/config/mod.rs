//! Kafka's properties under Kafka's own names: what exists, what it may be, what it is by default.
//!
//! One table each for nodes, topics, producers, consumers and admin clients. Each row is written once and gives the
//! typed field, its documentation, the default of 4.2 and the valid range; a property that Kafka has
//! and the model does not read is a row without a field, so that it is recognised and checked. A name
//! that no row has is an error that tells the nearest one. Mirrors Kafka's `ConfigDef`.

mod admin;
mod broker;
mod consumer;
mod producer;
mod topic;
mod unsimulated;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use admin::{ADMIN, AdminConfig};
pub use broker::{BROKER, BrokerConfig};
pub use consumer::{AutoOffsetReset, CONSUMER, ConsumerConfig, GroupProtocol, IsolationLevel};
pub use producer::{Acks, PRODUCER, ProducerConfig};
pub use topic::{CleanupPolicy, ConfigSource, TOPIC, TopicConfig, TopicEntry, describe_topic};
pub use unsimulated::unsimulated;
pub use value::{FromValue, Value, Values};

/// All properties of one kind of thing.
#[derive(Debug)]
pub struct PropertyTable {
    /// The section of a scenario file in which they stand, for example `topic.config`.
    pub section: &'static str,
    /// The properties that have a field. Which of them nothing acts upon: [`unsimulated`].
    pub read: &'static [Property],
    /// The properties that are recognised and checked; some act as what topics do not say.
    pub known: &'static [Property],
}

impl PropertyTable {
    /// Every property, those that the model reads first.
    pub fn iter(&self) -> impl Iterator<Item = &'static Property> {
        self.read.iter().chain(self.known)
    }

    /// The property of this name.
    pub fn find(&self, name: &str) -> Option<&'static Property> {
        self.iter().find(|property| property.name == name)
    }

    /// The name that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        self.iter()
            .map(|property| {
                (
                    strsim::normalized_damerau_levenshtein(name, property.name),
                    property,
                )
            })
            .filter(|(likeness, _)| NEAR <= *likeness)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, property)| property.name)
    }
}

/// How alike two names must be, out of 1, for one to be taken for a slip of the other.
const NEAR: f64 = 0.6;

/// One property.
#[derive(Debug)]
pub struct Property {
    /// Kafka's name of it.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// The default in 4.2, as it would be written in a file; none where Kafka has null.
    pub default: Option<&'static str>,
    /// Which values of that kind it takes.
    pub check: Check,
    /// What it does, in a line.
    pub doc: &'static str,
    /// The field that holds it, where it has one.
    pub field: Option<&'static str>,
}

/// The kinds of values (`ConfigDef.Type`), with the numbers that DescribeConfigs uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A 32-bit integer.
    Int = 3,
    /// A 16-bit integer.
    Short = 4,
    /// A 64-bit integer.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
}

/// Which values of its kind a property takes (`ConfigDef.Validator`).
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// All.
    Any,
    /// Numbers from this one on.
    AtLeast(i64),
    /// Numbers from the first to the last, both included.
    Between(i64, i64),
    /// A share, from 0 to 1.
    Ratio,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of these texts.
    ListOf(&'static [&'static str]),
    /// The same, and at least one.
    NonEmptyListOf(&'static [&'static str]),
    /// A text that is not empty.
    NonEmpty,
    /// A level that gzip has: -1 or 1 to 9.
    GzipLevel,
    /// `earliest`, `latest`, `none` or `by_duration:` and a duration.
    OffsetReset,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
}

/// A property that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyError {
    /// No property has this name.
    Unknown {
        /// The section in which it stood.
        section: &'static str,
        /// The name as given.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value is not of its kind or out of its range.
    Invalid {
        /// The property.
        name: String,
        /// The value as given.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// Two values that are fine by themselves do not go together.
    Conflict {
        /// Which, and what to do.
        reason: String,
    },
}

impl PropertyError {
    fn conflict(reason: impl Into<String>) -> PropertyError {
        PropertyError::Conflict {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyError::Unknown {
                section,
                name,
                nearest,
            } => {
                write!(f, "unknown property {name:?} in [{section}]")?;
                nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest:?}?"))
            }
            PropertyError::Invalid {
                name,
                value,
                expected,
            } => {
                write!(f, "invalid value {value:?} for {name}: expected {expected}")
            }
            PropertyError::Conflict { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for PropertyError {}

/// Reads one value, as written in a file or sent in a request.
pub fn parse(table: &PropertyTable, name: &str, text: &str) -> Result<Value, PropertyError> {
    let property = table.find(name).ok_or_else(|| PropertyError::Unknown {
        section: table.section,
        name: name.to_owned(),
        nearest: table.nearest(name),
    })?;
    value::parse_value(property, text)
}

/// Names and values as a file or a request gives them.
pub type Given = BTreeMap<String, String>;

/// Declares a table and the struct with a field for each property that the model reads.
///
/// A row is `field: type = "name", Kind, default, check;` under its documentation.
macro_rules! properties {
    (
        $(#[$struct_meta:meta])*
        $struct_name:ident in $table:ident($section:literal);
        read { $(
            $(#[doc = $doc:literal])+
            $field:ident: $type:ty = $name:literal, $kind:ident, $default:expr, $check:expr;
        )* }
        known { $(
            $(#[doc = $known_doc:literal])+
            $known_name:literal, $known_kind:ident, $known_default:expr, $known_check:expr;
        )* }
    ) => {
        $(#[$struct_meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $struct_name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        #[doc = concat!("The properties of `[", $section, "]`.")]
        pub static $table: $crate::config::PropertyTable = $crate::config::PropertyTable {
            section: $section,
            read: &[$( $crate::config::Property {
                name: $name,
                kind: $crate::config::Kind::$kind,
                default: $default,
                check: $check,
                doc: concat!($($doc),+).trim_ascii_start(),
                field: Some(stringify!($field)),
            } ),*],
            known: &[$( $crate::config::Property {
                name: $known_name,
                kind: $crate::config::Kind::$known_kind,
                default: $known_default,
                check: $known_check,
                doc: concat!($($known_doc),+).trim_ascii_start(),
                field: None,
            } ),*],
        };

        impl $struct_name {
            /// Fills each field from what is given, or from its default.
            fn read(
                values: &$crate::config::Values,
            ) -> Result<Self, $crate::config::PropertyError> {
                Ok($struct_name { $( $field: values.read($name)?, )* })
            }
        }
    };
}
use properties;

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [&PropertyTable; 5] = [&BROKER, &TOPIC, &PRODUCER, &CONSUMER, &ADMIN];

    #[test]
    fn every_default_passes_its_own_check() {
        for table in TABLES {
            for property in table.iter() {
                let Some(default) = property.default else {
                    continue;
                };
                let parsed = parse(table, property.name, default);
                assert!(
                    parsed.is_ok(),
                    "[{}] {}: {parsed:?}",
                    table.section,
                    property.name
                );
            }
        }
    }

    #[test]
    fn no_name_is_in_a_table_twice() {
        for table in TABLES {
            let mut names: Vec<_> = table.iter().map(|property| property.name).collect();
            names.sort_unstable();
            let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
            assert_eq!(twice, None, "[{}]", table.section);
        }
    }

    #[test]
    fn every_property_says_what_it_does() {
        for property in TABLES.iter().flat_map(|table| table.iter()) {
            assert!(
                property.doc.ends_with('.'),
                "{}: {:?}",
                property.name,
                property.doc
            );
        }
    }

    #[test]
    fn a_misspelt_name_is_told_its_nearest() {
        let error = parse(&TOPIC, "min.insync.replica", "2").expect_err("misspelt");
        let told = r#"unknown property "min.insync.replica" in [topic.config]; did you mean "min.insync.replicas"?"#;
        assert_eq!(error.to_string(), told);
        let error = parse(&TOPIC, "colour", "red").expect_err("nothing like it");
        assert_eq!(
            error.to_string(),
            r#"unknown property "colour" in [topic.config]"#
        );
    }

    #[test]
    fn values_out_of_kind_or_range_are_told_what_is_expected() {
        let told = |name, value| parse(&TOPIC, name, value).expect_err("wrong").to_string();
        assert_eq!(
            told("retention.ms", "abc"),
            r#"invalid value "abc" for retention.ms: expected a 64-bit integer"#
        );
        assert_eq!(
            told("min.insync.replicas", "0"),
            r#"invalid value "0" for min.insync.replicas: expected at least 1"#
        );
        assert_eq!(
            told("cleanup.policy", "shred"),
            r#"invalid value "shred" for cleanup.policy: expected a list of compact, delete"#
        );
        assert_eq!(
            told("unclean.leader.election.enable", "maybe"),
            r#"invalid value "maybe" for unclean.leader.election.enable: expected true or false"#
        );
    }

    #[test]
    fn defaults_are_those_of_4_2() {
        let default = |table: &PropertyTable, name| table.find(name).and_then(|row| row.default);
        assert_eq!(default(&PRODUCER, "linger.ms"), Some("5"));
        assert_eq!(default(&PRODUCER, "acks"), Some("all"));
        assert_eq!(default(&BROKER, "replica.lag.time.max.ms"), Some("30000"));
        assert_eq!(default(&BROKER, "message.max.bytes"), Some("1048588"));
        assert_eq!(
            default(&TOPIC, "message.timestamp.after.max.ms"),
            Some("3600000")
        );
    }
}
