//! Kafka's wire protocol: the only place that knows API versions and byte layouts.

pub mod versions;
