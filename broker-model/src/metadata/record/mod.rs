//! The records of the metadata log, byte for byte as Kafka has them.
//!
//! A record's value is a frame version (1), the api key and the version as unsigned varints, and a
//! flexible message. Mirrors `MetadataRecordSerde` and `metadata/src/main/resources/common/metadata`.
//! Reads every version that Kafka 4.2 reads; writes the versions of `metadata.version` 4.2-IV1.
//! Fields of the eligible leader replicas (KIP-966) are skipped: `eligible.leader.replicas.version`
//! is 0.

use std::fmt;

use bytes::Bytes;

mod broker;
mod cluster;
pub(crate) mod codec;
mod topic;

pub use broker::{
    BrokerEndpoint, BrokerFeature, BrokerFenceRecord, BrokerRegistrationChangeRecord,
    RegisterBrokerRecord, UnregisterBrokerRecord,
};
pub use cluster::{ConfigRecord, FeatureLevelRecord, ProducerIdsRecord};
pub use topic::{PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};

use codec::{Reader, TaggedFields, Writer};

/// A record of the metadata log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataRecord {
    /// Api key 0.
    RegisterBroker(RegisterBrokerRecord),
    /// Api key 1.
    UnregisterBroker(UnregisterBrokerRecord),
    /// Api key 2.
    Topic(TopicRecord),
    /// Api key 3.
    Partition(PartitionRecord),
    /// Api key 4.
    Config(ConfigRecord),
    /// Api key 5.
    PartitionChange(PartitionChangeRecord),
    /// Api key 7; read only.
    FenceBroker(BrokerFenceRecord),
    /// Api key 8; read only.
    UnfenceBroker(BrokerFenceRecord),
    /// Api key 9.
    RemoveTopic(RemoveTopicRecord),
    /// Api key 12.
    FeatureLevel(FeatureLevelRecord),
    /// Api key 15.
    ProducerIds(ProducerIdsRecord),
    /// Api key 17.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// Api key 20.
    NoOp,
}

impl MetadataRecord {
    /// The record's value in the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        let (api_key, version) = self.api_key_and_version();
        out.unsigned_varint(FRAME_VERSION);
        out.unsigned_varint(api_key);
        out.unsigned_varint(version);
        match self {
            MetadataRecord::RegisterBroker(record) => record.write(&mut out),
            MetadataRecord::UnregisterBroker(record) => record.write(&mut out),
            MetadataRecord::Topic(record) => record.write(&mut out),
            MetadataRecord::Partition(record) => record.write(&mut out),
            MetadataRecord::Config(record) => record.write(&mut out),
            MetadataRecord::PartitionChange(record) => record.write(&mut out),
            MetadataRecord::FenceBroker(record) | MetadataRecord::UnfenceBroker(record) => {
                record.write(&mut out);
            }
            MetadataRecord::RemoveTopic(record) => record.write(&mut out),
            MetadataRecord::FeatureLevel(record) => record.write(&mut out),
            MetadataRecord::ProducerIds(record) => record.write(&mut out),
            MetadataRecord::BrokerRegistrationChange(record) => record.write(&mut out),
            MetadataRecord::NoOp => out.tagged(TaggedFields::none()),
        }
        out.finish()
    }

    /// Reads a record's value.
    pub fn decode(value: &Bytes) -> Result<MetadataRecord, RecordError> {
        let mut input = Reader::new(value.clone());
        let frame = input.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame));
        }
        let api_key = input.unsigned_varint()?;
        let version = input.unsigned_varint()?;
        let record = Self::read(&mut input, api_key, version)?;
        input.finish()?;
        Ok(record)
    }

    fn read(input: &mut Reader, api_key: u32, version: u32) -> Result<Self, RecordError> {
        let highest = match api_key {
            0 => 3,
            3 | 5 | 17 => 2,
            _ => 0,
        };
        if version > highest {
            return Err(RecordError::Unsupported { api_key, version });
        }
        Ok(match api_key {
            0 => MetadataRecord::RegisterBroker(RegisterBrokerRecord::read(input, version)?),
            1 => MetadataRecord::UnregisterBroker(UnregisterBrokerRecord::read(input)?),
            2 => MetadataRecord::Topic(TopicRecord::read(input)?),
            3 => MetadataRecord::Partition(PartitionRecord::read(input, version)?),
            4 => MetadataRecord::Config(ConfigRecord::read(input)?),
            5 => MetadataRecord::PartitionChange(PartitionChangeRecord::read(input)?),
            7 => MetadataRecord::FenceBroker(BrokerFenceRecord::read(input)?),
            8 => MetadataRecord::UnfenceBroker(BrokerFenceRecord::read(input)?),
            9 => MetadataRecord::RemoveTopic(RemoveTopicRecord::read(input)?),
            12 => MetadataRecord::FeatureLevel(FeatureLevelRecord::read(input)?),
            15 => MetadataRecord::ProducerIds(ProducerIdsRecord::read(input)?),
            17 => MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord::read(
                input,
            )?),
            20 => {
                input.tagged(|_, _| Ok(()))?;
                MetadataRecord::NoOp
            }
            _ => return Err(RecordError::Unsupported { api_key, version }),
        })
    }

    fn api_key_and_version(&self) -> (u32, u32) {
        match self {
            MetadataRecord::RegisterBroker(_) => (0, 3),
            MetadataRecord::UnregisterBroker(_) => (1, 0),
            MetadataRecord::Topic(_) => (2, 0),
            MetadataRecord::Partition(_) => (3, 2),
            MetadataRecord::Config(_) => (4, 0),
            MetadataRecord::PartitionChange(_) => (5, 2),
            MetadataRecord::FenceBroker(_) => (7, 0),
            MetadataRecord::UnfenceBroker(_) => (8, 0),
            MetadataRecord::RemoveTopic(_) => (9, 0),
            MetadataRecord::FeatureLevel(_) => (12, 0),
            MetadataRecord::ProducerIds(_) => (15, 0),
            MetadataRecord::BrokerRegistrationChange(record) => (17, record.version()),
            MetadataRecord::NoOp => (20, 0),
        }
    }
}

/// `AbstractApiMessageSerde.DEFAULT_FRAME_VERSION`.
const FRAME_VERSION: u32 = 1;

/// A value that is no metadata record (`MetadataParseException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The frame has another version than 1.
    FrameVersion(u32),
    /// A record or version that the model does not have.
    Unsupported {
        /// The record's api key.
        api_key: u32,
        /// Its version.
        version: u32,
    },
    /// The bytes are not what the version says.
    Malformed(&'static str),
    /// Bytes behind the record.
    Garbage {
        /// How many.
        bytes: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::FrameVersion(version) => write!(f, "unknown frame version {version}"),
            RecordError::Unsupported { api_key, version } => {
                write!(f, "unsupported metadata record {api_key} version {version}")
            }
            RecordError::Malformed(what) => write!(f, "malformed metadata record: {what}"),
            RecordError::Garbage { bytes } => write!(f, "{bytes} bytes behind a metadata record"),
        }
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, ProducerId, StrBytes, TopicIdPartition,
        Uuid,
    };

    const TOPIC: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);

    fn orders_1() -> TopicIdPartition {
        TopicIdPartition {
            topic: TOPIC,
            partition: 1,
        }
    }

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// Hexadecimal digits, blanks between them as the reader likes.
    fn hex(digits: &str) -> Bytes {
        let digits: Vec<u8> = digits
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn check(record: MetadataRecord, bytes: &str) {
        assert_eq!(record.encode(), hex(bytes));
        assert_eq!(MetadataRecord::decode(&hex(bytes)), Ok(record));
    }

    #[test]
    fn a_topic_record_is_kafkas() {
        check(
            MetadataRecord::Topic(TopicRecord {
                name: StrBytes::from_static_str("orders"),
                id: TOPIC,
            }),
            "01 02 00  07 6f7264657273  11112222333344445555666677778888  00",
        );
    }

    #[test]
    fn a_partition_record_is_kafkas() {
        let mut record = PartitionRecord {
            partition: orders_1(),
            replicas: nodes(&[1, 2]),
            isr: nodes(&[2]),
            removing: vec![],
            adding: vec![],
            leader: NodeId(2),
            recovering: false,
            leader_epoch: LeaderEpoch(3),
            partition_epoch: PartitionEpoch(4),
            directories: vec![Uuid::from_u128(7), Uuid::from_u128(8)],
        };
        let fixed = "01 03 02  00000001  11112222333344445555666677778888
            03 00000001 00000002  02 00000002  01  01  00000002 00000003 00000004
            03 00000000000000000000000000000007 00000000000000000000000000000008";
        check(
            MetadataRecord::Partition(record.clone()),
            &format!("{fixed} 00"),
        );
        record.recovering = true;
        check(
            MetadataRecord::Partition(record),
            &format!("{fixed} 01 00 01 01"),
        );
    }

    #[test]
    fn a_register_broker_record_is_kafkas() {
        check(
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                broker: NodeId(1),
                is_migrating_zk_broker: false,
                incarnation: TOPIC,
                epoch: BrokerEpoch(5),
                endpoints: vec![BrokerEndpoint {
                    name: StrBytes::from_static_str("PLAINTEXT"),
                    host: StrBytes::from_static_str("n1"),
                    port: 9092,
                    security_protocol: 0,
                }],
                features: vec![BrokerFeature {
                    name: StrBytes::from_static_str("f"),
                    min_supported_version: 7,
                    max_supported_version: 29,
                }],
                rack: None,
                fenced: true,
                in_controlled_shutdown: false,
                log_dirs: vec![Uuid::from_u128(9)],
            }),
            "01 00 03  00000001 00 11112222333344445555666677778888 0000000000000005
             02 0a 504c41494e54455854 03 6e31 2384 0000 00
             02 02 66 0007 001d 00
             00 01 00
             01 00 11 02 00000000000000000000000000000009",
        );
    }

    #[test]
    fn a_partition_change_carries_only_what_changed_in_order_of_tags() {
        let mut record = PartitionChangeRecord::new(orders_1());
        assert!(record.is_no_op());
        record.isr = Some(nodes(&[1]));
        record.leader = Some(NodeId::NONE);
        record.recovering = Some(true);
        record.directories = Some(vec![Uuid::from_u128(9)]);
        check(
            MetadataRecord::PartitionChange(record),
            "01 05 02  00000001 11112222333344445555666677778888
             04  00 05 02 00000001  01 04 ffffffff  05 01 01
             08 11 02 00000000000000000000000000000009",
        );
    }

    #[test]
    fn the_small_records_are_kafkas() {
        let mut change = BrokerRegistrationChangeRecord::new(NodeId(2), BrokerEpoch(9));
        change.fenced = Some(false);
        change.in_controlled_shutdown = true;
        check(
            MetadataRecord::BrokerRegistrationChange(change),
            "01 11 01 00000002 0000000000000009 02 00 01 ff 01 01 01",
        );
        check(
            MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker: NodeId(2),
                epoch: BrokerEpoch(9),
                next: ProducerId(1000),
            }),
            "01 0f 00 00000002 0000000000000009 00000000000003e8 00",
        );
        check(
            MetadataRecord::Config(ConfigRecord {
                resource_type: 2,
                resource_name: StrBytes::from_static_str("t"),
                name: StrBytes::from_static_str("k"),
                value: None,
            }),
            "01 04 00 02 02 74 02 6b 00 00",
        );
        check(
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: StrBytes::from_static_str("m"),
                level: 29,
            }),
            "01 0c 00 02 6d 001d 00",
        );
        check(MetadataRecord::NoOp, "01 14 00 00");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let bytes = |digits| MetadataRecord::decode(&hex(digits));
        assert_eq!(bytes("02 14 00 00"), Err(RecordError::FrameVersion(2)));
        assert_eq!(
            bytes("01 14 00 00 00"),
            Err(RecordError::Garbage { bytes: 1 })
        );
        assert_eq!(
            bytes("01 03 03"),
            Err(RecordError::Unsupported {
                api_key: 3,
                version: 3
            })
        );
        assert_eq!(
            bytes("01 03 02 0000"),
            Err(RecordError::Malformed("ends too early"))
        );
    }
}
