//! Records about brokers: who is registered, fenced, shutting down.

use super::RecordError;
use super::codec::{Reader, TaggedFields, Writer};
use crate::types::{BrokerEpoch, NodeId, StrBytes, Uuid};

/// A broker registered, as a new incarnation or again as the same (api key 0).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBrokerRecord {
    /// The broker.
    pub broker: NodeId,
    /// Always false since ZooKeeper is gone.
    pub is_migrating_zk_broker: bool,
    /// Which process of the broker it is.
    pub incarnation: Uuid,
    /// The broker epoch: the offset of this record.
    pub epoch: BrokerEpoch,
    /// Where clients and other brokers reach it.
    pub endpoints: Vec<BrokerEndpoint>,
    /// The feature levels that it supports.
    pub features: Vec<BrokerFeature>,
    /// `broker.rack`.
    pub rack: Option<StrBytes>,
    /// A new incarnation starts fenced.
    pub fenced: bool,
    /// Kept when the same incarnation registers again.
    pub in_controlled_shutdown: bool,
    /// Ids of its log directories (KIP-858).
    pub log_dirs: Vec<Uuid>,
}

/// One listener of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub name: StrBytes,
    /// A host name.
    pub host: StrBytes,
    /// A TCP port.
    pub port: u16,
    /// `SecurityProtocol.id`; 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// The levels of one feature that a broker supports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerFeature {
    /// The feature's name.
    pub name: StrBytes,
    /// Lowest level.
    pub min_supported_version: i16,
    /// Highest level.
    pub max_supported_version: i16,
}

/// A broker is no longer part of the cluster (api key 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnregisterBrokerRecord {
    /// The broker.
    pub broker: NodeId,
    /// The epoch that ends.
    pub epoch: BrokerEpoch,
}

/// Something about a registration changed (api key 17). Since 3.3 this is how brokers are fenced
/// and unfenced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerRegistrationChangeRecord {
    /// The broker.
    pub broker: NodeId,
    /// The epoch that is changed.
    pub epoch: BrokerEpoch,
    /// Fenced or unfenced; `None` leaves it as it is.
    pub fenced: Option<bool>,
    /// Whether it entered controlled shutdown; only a new incarnation leaves it.
    pub in_controlled_shutdown: bool,
    /// New log directories; empty leaves them as they are.
    pub log_dirs: Vec<Uuid>,
}

/// The fence and unfence records of metadata versions before 3.3 (api keys 7 and 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerFenceRecord {
    /// The broker.
    pub broker: NodeId,
    /// The epoch that is changed.
    pub epoch: BrokerEpoch,
}

impl RegisterBrokerRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.broker.0);
        out.bool(self.is_migrating_zk_broker);
        out.uuid(self.incarnation);
        out.i64(self.epoch.0);
        out.array(&self.endpoints, |out, endpoint| {
            out.string(&endpoint.name);
            out.string(&endpoint.host);
            out.u16(endpoint.port);
            out.i16(endpoint.security_protocol);
            out.tagged(TaggedFields::none());
        });
        out.array(&self.features, |out, feature| {
            out.string(&feature.name);
            out.i16(feature.min_supported_version);
            out.i16(feature.max_supported_version);
            out.tagged(TaggedFields::none());
        });
        out.nullable_string(self.rack.as_deref());
        out.bool(self.fenced);
        out.bool(self.in_controlled_shutdown);
        let log_dirs = (!self.log_dirs.is_empty()).then_some(&self.log_dirs);
        out.tagged(TaggedFields::none().with(0, log_dirs, |out, dirs| out.uuids(dirs)));
    }

    pub(super) fn read(input: &mut Reader, version: u32) -> Result<Self, RecordError> {
        let mut record = RegisterBrokerRecord {
            broker: NodeId(input.i32()?),
            is_migrating_zk_broker: version >= 2 && input.bool()?,
            incarnation: input.uuid()?,
            epoch: BrokerEpoch(input.i64()?),
            endpoints: input.array(BrokerEndpoint::read)?,
            features: input.array(BrokerFeature::read)?,
            rack: input.nullable_string()?,
            fenced: input.bool()?,
            in_controlled_shutdown: version >= 1 && input.bool()?,
            log_dirs: Vec::new(),
        };
        input.tagged(|tag, field| {
            if tag == 0 {
                record.log_dirs = field.uuids()?;
            }
            Ok(())
        })?;
        Ok(record)
    }
}

impl BrokerEndpoint {
    fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let endpoint = BrokerEndpoint {
            name: input.string()?,
            host: input.string()?,
            port: input.u16()?,
            security_protocol: input.i16()?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(endpoint)
    }
}

impl BrokerFeature {
    fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let feature = BrokerFeature {
            name: input.string()?,
            min_supported_version: input.i16()?,
            max_supported_version: input.i16()?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(feature)
    }
}

impl UnregisterBrokerRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.broker.0);
        out.i64(self.epoch.0);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = UnregisterBrokerRecord {
            broker: NodeId(input.i32()?),
            epoch: BrokerEpoch(input.i64()?),
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl BrokerFenceRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.broker.0);
        out.i64(self.epoch.0);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = BrokerFenceRecord {
            broker: NodeId(input.i32()?),
            epoch: BrokerEpoch(input.i64()?),
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl BrokerRegistrationChangeRecord {
    /// A record that changes nothing yet.
    #[must_use]
    pub fn new(broker: NodeId, epoch: BrokerEpoch) -> Self {
        BrokerRegistrationChangeRecord {
            broker,
            epoch,
            fenced: None,
            in_controlled_shutdown: false,
            log_dirs: Vec::new(),
        }
    }

    /// The lowest version that can carry the change, as `ReplicationControlManager` writes it.
    pub(super) fn version(&self) -> u32 {
        if !self.log_dirs.is_empty() {
            2
        } else {
            u32::from(self.in_controlled_shutdown)
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.broker.0);
        out.i64(self.epoch.0);
        let shutdown = self
            .in_controlled_shutdown
            .then_some(IN_CONTROLLED_SHUTDOWN);
        let log_dirs = (!self.log_dirs.is_empty()).then_some(&self.log_dirs);
        out.tagged(
            TaggedFields::none()
                .with(0, self.fenced, |out, fenced| {
                    out.i8(if fenced { FENCE } else { UNFENCE });
                })
                .with(1, shutdown, |out, change| out.i8(change))
                .with(2, log_dirs, |out, dirs| out.uuids(dirs)),
        );
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let mut record = Self::new(NodeId(input.i32()?), BrokerEpoch(input.i64()?));
        input.tagged(|tag, field| {
            match tag {
                0 => {
                    record.fenced = match field.i8()? {
                        FENCE => Some(true),
                        UNFENCE => Some(false),
                        0 => None,
                        _ => return Err(RecordError::Malformed("unknown fencing change")),
                    }
                }
                1 => record.in_controlled_shutdown = field.i8()? == IN_CONTROLLED_SHUTDOWN,
                2 => record.log_dirs = field.uuids()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}

/// `BrokerRegistrationFencingChange`.
const FENCE: i8 = 1;
const UNFENCE: i8 = -1;
/// `BrokerRegistrationInControlledShutdownChange`.
const IN_CONTROLLED_SHUTDOWN: i8 = 1;
