//! What the tests of the broker's parts stand on: a world that can be handed out as a `Context`.

use kafka_protocol::messages::ResponseKind;

use crate::client::network::{Completion, Network, NetworkConfig, NetworkError};
use crate::context::Context;
use crate::effect::{DiskRead, Effect, Effects, File};
use crate::ids::IdSource;
use crate::metadata::image::ConfigResource;
use crate::metadata::record::{
    BrokerEndpoint, ConfigRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use crate::metadata::{MetadataDelta, MetadataImage, MetadataRecord};
use crate::timer::{Channel, Timer};
use crate::types::{
    BrokerEpoch, Endpoint, LeaderEpoch, NodeId, Now, Offset, PartitionEpoch, StrBytes,
    TopicIdPartition, Uuid,
};

/// Time, network, ids and effects of one broker.
pub(super) struct Rig {
    pub(super) now: Now,
    network: Network,
    ids: IdSource,
    pub(super) effects: Effects,
}

/// A disk with nothing on it.
struct NoDisk;

impl DiskRead for NoDisk {
    fn len(&self, _file: File) -> Option<u64> {
        None
    }
    fn read(&self, file: File, _at: u64, _len: usize) -> bytes::Bytes {
        panic!("there is no {file:?}")
    }
    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        Vec::new()
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Rig {
            now: Now {
                mono_ms: 0,
                wall_ms: 0,
            },
            network: Network::new(NetworkConfig::default(), StrBytes::from_static_str("1")),
            ids: IdSource::new(7),
            effects: Effects::new(),
        }
    }

    pub(super) fn on<T>(&mut self, act: impl FnOnce(&mut Context<'_>) -> T) -> T {
        act(&mut Context {
            now: self.now,
            disk: &NoDisk,
            network: &mut self.network,
            ids: &mut self.ids,
            effects: &mut self.effects,
            bug: None,
        })
    }

    /// The last window that was asked for, if the timer still runs.
    pub(super) fn armed(&self, wanted: Timer) -> Option<std::ops::RangeInclusive<u64>> {
        let mut armed = None;
        for effect in self.effects.as_slice() {
            match effect {
                Effect::Arm { timer, window_ms } if *timer == wanted => {
                    armed = Some(window_ms.clone());
                }
                Effect::Disarm(timer) if *timer == wanted => armed = None,
                _ => {}
            }
        }
        armed
    }

    /// How many requests wait on that channel.
    pub(super) fn outstanding(&self, channel: Channel) -> usize {
        self.network.outstanding(channel)
    }

    /// The answers so far.
    pub(super) fn replies(&self) -> Vec<ResponseKind> {
        let effects = self.effects.as_slice().iter();
        let replies = effects.filter_map(|effect| match effect {
            Effect::Reply { body, .. } => Some((**body).clone()),
            _ => None,
        });
        replies.collect()
    }
}

pub(super) fn answered(channel: Channel, token: u64, body: ResponseKind) -> Completion {
    Completion {
        channel,
        token,
        version: 0,
        result: Ok(Box::new(body)),
    }
}

pub(super) fn failed(channel: Channel, token: u64, error: NetworkError) -> Completion {
    Completion {
        channel,
        token,
        version: 0,
        result: Err(error),
    }
}

pub(super) fn controller() -> Option<Endpoint> {
    Some(Endpoint {
        host: StrBytes::from_static_str("n1"),
        port: 10_092,
    })
}

/// Brokers 1 to 3, of which 3 is fenced, and `orders` with two partitions: 1 leads the first,
/// nobody the second.
pub(super) fn image() -> MetadataImage {
    let topic = TopicRecord {
        name: StrBytes::from_static_str("orders"),
        id: ORDERS,
    };
    let mut records: Vec<MetadataRecord> = (1..=3).map(broker).collect();
    records.push(MetadataRecord::Topic(topic));
    records.push(partition(0, NodeId(1)));
    records.push(partition(1, NodeId::NONE));
    let mut image = MetadataImage::empty();
    let mut delta = MetadataDelta::default();
    for (record, offset) in records.iter().zip(0..) {
        image.replay(Offset(offset), record, &mut delta);
    }
    image
}

fn broker(id: i32) -> MetadataRecord {
    let endpoint = BrokerEndpoint {
        name: StrBytes::from_static_str("PLAINTEXT"),
        host: StrBytes::from_string(format!("n{id}")),
        port: 9_092,
        security_protocol: 0,
    };
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker: NodeId(id),
        is_migrating_zk_broker: false,
        incarnation: Uuid::from_u128(u128::from(id.unsigned_abs())),
        epoch: BrokerEpoch(i64::from(id)),
        endpoints: vec![endpoint],
        features: Vec::new(),
        rack: None,
        fenced: id == 3,
        in_controlled_shutdown: false,
        log_dirs: vec![DIRECTORY],
    })
}

fn partition(partition: i32, leader: NodeId) -> MetadataRecord {
    let topic = ORDERS;
    MetadataRecord::Partition(PartitionRecord {
        partition: TopicIdPartition { topic, partition },
        replicas: vec![NodeId(1), NodeId(3)],
        isr: vec![NodeId(1)],
        removing: Vec::new(),
        adding: Vec::new(),
        leader,
        recovering: false,
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(6),
        directories: vec![DIRECTORY; 2],
    })
}

pub(super) const ORDERS: Uuid = Uuid::from_u128(0x0700_de75);
const DIRECTORY: Uuid = Uuid::from_u128(0x00d1_7ec7);

/// Sets a property of a topic.
pub(super) fn configure(
    image: &mut MetadataImage,
    topic: &'static str,
    name: &'static str,
    value: &'static str,
) {
    let record = MetadataRecord::Config(ConfigRecord {
        resource_type: ConfigResource::TOPIC,
        resource_name: StrBytes::from_static_str(topic),
        name: StrBytes::from_static_str(name),
        value: Some(StrBytes::from_static_str(value)),
    });
    let next = image.offset().next();
    image.replay(next, &record, &mut MetadataDelta::default());
}
