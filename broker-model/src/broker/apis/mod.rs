//! What a broker answers from the metadata it has applied, without asking anybody.
//!
//! Mirrors the read-only half of `KafkaApis`: pure functions from an image and a request to a
//! response. Who may ask is not checked: there is no authorizer.

pub(crate) mod alter_configs;
pub(crate) mod auto_create;
pub(crate) mod coordinators;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_topic_partitions;
pub(crate) mod metadata;
pub(crate) mod resource;
pub(crate) mod topics;
