//! Real clients against `serve`: kcat, confluent-kafka, kafka-python and kafkajs write, read, share
//! partitions in groups, and look after groups; and a client of ours is a member among librdkafka's.
//!
//! Ignored unless asked for (`cargo test --test real_clients -- --ignored`): they need kcat, a Python
//! that has `clients/requirements.txt` (`KAFKA_SIM_PYTHON` names another than `python3`) and a node that has
//! `clients/package.json` (`KAFKA_SIM_NODE_MODULES` says where), build the release binary and open ports.
//! `.ci/run` installs all of that.

mod admin;
mod group;
mod groups;
mod member;
mod mixed;
mod ours;
mod programs;
mod records;
mod served;
mod tutorial;

/// Each test's first broker port: below those that the system gives away, and three nodes apart.
mod port {
    pub(crate) const RECORDS: u16 = 24_100;
    pub(crate) const LIBRDKAFKA: u16 = 24_110;
    pub(crate) const KAFKA_PYTHON: u16 = 24_120;
    pub(crate) const KAFKAJS: u16 = 24_130;
    pub(crate) const STATIC: u16 = 24_140;
    pub(crate) const MIXED: u16 = 24_150;
    pub(crate) const ADMIN: u16 = 24_160;
    pub(crate) const TUTORIAL: u16 = 24_170;
}
