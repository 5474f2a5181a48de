//! `KafkaConsumer`, in assign mode.
use super::cluster::{Cluster, ClusterConfig};
use crate::config::ConsumerConfig;
use crate::effect::Effects;
use crate::input::Input;
use crate::types::Now;

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    cluster: Cluster,
}
impl Consumer {
    pub(super) fn new(config: ConsumerConfig, cluster: ClusterConfig) -> Self {
        Consumer {
            config,
            cluster: Cluster::new(cluster),
        }
    }
    pub(super) fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let _ = (now, input, effects, &self.config, &self.cluster);
    }
}
