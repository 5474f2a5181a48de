//! The shape of topics that a broker has created without being told what they are to be.
//!
//! Mirrors `DefaultAutoTopicCreationManager.creatableTopic`.

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};

use crate::config::BrokerConfig;
use crate::coordinator::OFFSETS_TOPIC;
use crate::types::StrBytes;

/// A topic of that name as this broker's properties want it.
pub(crate) fn creatable(config: &BrokerConfig, name: TopicName) -> CreatableTopic {
    if &*name.0 == OFFSETS_TOPIC {
        return offsets_topic(config);
    }
    CreatableTopic::default()
        .with_name(name)
        .with_num_partitions(config.num_partitions)
        .with_replication_factor(config.default_replication_factor)
}

/// `__consumer_offsets` (`GroupCoordinatorService.groupMetadataTopicConfigs`).
pub(crate) fn offsets_topic(config: &BrokerConfig) -> CreatableTopic {
    let configs = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", OFFSETS_TOPIC_SEGMENT_BYTES),
    ];
    let configs = configs.map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
    });
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(OFFSETS_TOPIC)))
        .with_num_partitions(config.offsets_topic_num_partitions)
        .with_replication_factor(config.offsets_topic_replication_factor)
        .with_configs(configs.to_vec())
}

/// Default of `offsets.topic.segment.bytes`; logs have no segments here.
const OFFSETS_TOPIC_SEGMENT_BYTES: &str = "104857600";
