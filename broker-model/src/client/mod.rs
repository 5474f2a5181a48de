//! Kafka's clients as state machines on the same seam as the nodes.
//!
//! A [`Client`] is one `KafkaProducer`, `KafkaConsumer` or `KafkaAdminClient`. It is told what the
//! application wants by [`Command`](command::Command)s and answers with
//! [`Event`](command::Event)s: every call ends in exactly one event, whatever the cluster does.
//!
//! ```text
//! producer   accumulator (batches) → txn_manager (sequences) → sender (requests)  ┐
//! consumer   group (membership, commits) → positions (where) → fetcher (sessions)  ├ cluster ─ network
//! admin      one request at a time                                                 ┘ (metadata)
//! ```

mod admin;
mod alarm;
mod backoff;
mod cluster;
pub mod command;
mod config;
mod consumer;
mod metadata;
pub mod network;
mod producer;
#[cfg(test)]
mod testing;
mod token;

pub use self::admin::Admin;
pub use self::config::{ClientConfig, ClientKind};
pub use self::consumer::Consumer;
pub(crate) use self::consumer::shares_of_leader;
pub use self::producer::{Producer, partition_for_key};

use self::config::{admin_cluster, consumer_cluster, producer_cluster};
use crate::effect::Effects;
use crate::input::Input;
use crate::types::Now;

/// One client process.
#[derive(Debug)]
pub enum Client {
    /// `KafkaProducer`.
    Producer(Box<Producer>),
    /// `KafkaConsumer`.
    Consumer(Box<Consumer>),
    /// `KafkaAdminClient`.
    Admin(Box<Admin>),
}

impl Client {
    /// A client that was not started yet; its ids follow with `Input::Started`.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        let ClientConfig {
            bootstrap,
            client_id,
            kind,
            bug,
        } = config;
        match kind {
            ClientKind::Producer(config) => {
                let cluster = producer_cluster(&config, bootstrap, client_id);
                Client::Producer(Box::new(Producer::new(config, cluster, bug)))
            }
            ClientKind::Consumer(config) => {
                let cluster = consumer_cluster(&config, bootstrap, client_id);
                Client::Consumer(Box::new(Consumer::new(config, cluster, bug)))
            }
            ClientKind::Admin(config) => {
                let cluster = admin_cluster(&config, bootstrap, client_id);
                Client::Admin(Box::new(Admin::new(config, cluster)))
            }
        }
    }

    /// One thing that happened to the client; what it asks for comes out in `effects`.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match self {
            Client::Producer(producer) => producer.step(now, input, effects),
            Client::Consumer(consumer) => consumer.step(now, input, effects),
            Client::Admin(admin) => admin.step(now, input, effects),
        }
    }
}
