//! Kafka as pure state machines.
