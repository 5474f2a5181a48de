//! Kafka's clients as state machines on the same seam as the nodes.

pub mod command;
pub mod network;
