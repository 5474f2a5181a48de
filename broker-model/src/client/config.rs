//! What a client is made from, and what its parts take from Kafka's properties.

use super::backoff::Backoff;
use super::cluster::ClusterConfig;
use super::metadata::MetadataConfig;
use super::network::NetworkConfig;
use crate::bug::Bug;
use crate::config::{AdminConfig, ConsumerConfig, ProducerConfig};
use crate::types::{Endpoint, StrBytes};

/// Everything a client is made from.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientConfig {
    /// `bootstrap.servers`.
    pub bootstrap: Vec<Endpoint>,
    /// `client.id`.
    pub client_id: StrBytes,
    /// Producer, consumer or admin client, with its properties.
    pub kind: ClientKind,
    /// The historic bug that is switched on.
    pub bug: Option<Bug>,
}

/// Which client it is.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientKind {
    /// `KafkaProducer`.
    Producer(ProducerConfig),
    /// `KafkaConsumer`, alone or in a group.
    Consumer(ConsumerConfig),
    /// `KafkaAdminClient`.
    Admin(AdminConfig),
}

/// How a producer retries.
pub(super) fn producer_backoff(config: &ProducerConfig) -> Backoff {
    Backoff {
        initial_ms: config.retry_backoff_ms,
        max_ms: config.retry_backoff_max_ms,
    }
}

/// How a consumer retries.
pub(super) fn consumer_backoff(config: &ConsumerConfig) -> Backoff {
    Backoff {
        initial_ms: config.retry_backoff_ms,
        max_ms: config.retry_backoff_max_ms,
    }
}

/// How a producer reaches its cluster.
pub(super) fn producer_cluster(
    config: &ProducerConfig,
    bootstrap: Vec<Endpoint>,
    client_id: StrBytes,
) -> ClusterConfig {
    ClusterConfig {
        bootstrap,
        client_id,
        network: NetworkConfig {
            reconnect_backoff_ms: config.reconnect_backoff_ms,
            reconnect_backoff_max_ms: config.reconnect_backoff_max_ms,
            setup_timeout_ms: config.socket_connection_setup_timeout_ms,
        },
        metadata: MetadataConfig {
            max_age_ms: config.metadata_max_age_ms,
            backoff: producer_backoff(config),
            allow_auto_topic_creation: true,
        },
        request_timeout_ms: config.request_timeout_ms,
    }
}

/// How a consumer reaches its cluster.
pub(super) fn consumer_cluster(
    config: &ConsumerConfig,
    bootstrap: Vec<Endpoint>,
    client_id: StrBytes,
) -> ClusterConfig {
    ClusterConfig {
        bootstrap,
        client_id,
        network: NetworkConfig {
            reconnect_backoff_ms: config.reconnect_backoff_ms,
            reconnect_backoff_max_ms: config.reconnect_backoff_max_ms,
            setup_timeout_ms: config.socket_connection_setup_timeout_ms,
        },
        metadata: MetadataConfig {
            max_age_ms: config.metadata_max_age_ms,
            backoff: consumer_backoff(config),
            allow_auto_topic_creation: config.allow_auto_create_topics,
        },
        request_timeout_ms: config.request_timeout_ms,
    }
}

/// How an admin client retries.
pub(super) fn admin_backoff(config: &AdminConfig) -> Backoff {
    Backoff {
        initial_ms: config.retry_backoff_ms,
        max_ms: config.retry_backoff_max_ms,
    }
}

/// How an admin client reaches its cluster.
pub(super) fn admin_cluster(
    config: &AdminConfig,
    bootstrap: Vec<Endpoint>,
    client_id: StrBytes,
) -> ClusterConfig {
    ClusterConfig {
        bootstrap,
        client_id,
        network: NetworkConfig {
            reconnect_backoff_ms: config.reconnect_backoff_ms,
            reconnect_backoff_max_ms: config.reconnect_backoff_max_ms,
            setup_timeout_ms: config.socket_connection_setup_timeout_ms,
        },
        metadata: MetadataConfig {
            max_age_ms: config.metadata_max_age_ms,
            backoff: admin_backoff(config),
            allow_auto_topic_creation: false,
        },
        request_timeout_ms: config.request_timeout_ms,
    }
}
