//! Records about the cluster as a whole: configuration, features, producer ids.

use super::RecordError;
use super::codec::{Reader, TaggedFields, Writer};
use crate::types::{BrokerEpoch, NodeId, ProducerId, StrBytes};

/// A property was set or removed (api key 4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigRecord {
    /// `ConfigResource.Type.id`: 2 is a topic, 4 a broker.
    pub resource_type: i8,
    /// The topic's name, or the broker's id; empty means every broker.
    pub resource_name: StrBytes,
    /// The property.
    pub name: StrBytes,
    /// Its value; `None` removes it.
    pub value: Option<StrBytes>,
}

/// A feature level was decided (api key 12).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureLevelRecord {
    /// The feature, such as `metadata.version`.
    pub name: StrBytes,
    /// The level; 0 removes the feature.
    pub level: i16,
}

/// A block of producer ids was given away (api key 15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdsRecord {
    /// To whom.
    pub broker: NodeId,
    /// The epoch of that broker.
    pub epoch: BrokerEpoch,
    /// The first id of the next block.
    pub next: ProducerId,
}

impl ConfigRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i8(self.resource_type);
        out.string(&self.resource_name);
        out.string(&self.name);
        out.nullable_string(self.value.as_deref());
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = ConfigRecord {
            resource_type: input.i8()?,
            resource_name: input.string()?,
            name: input.string()?,
            value: input.nullable_string()?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl FeatureLevelRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.string(&self.name);
        out.i16(self.level);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = FeatureLevelRecord {
            name: input.string()?,
            level: input.i16()?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl ProducerIdsRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.broker.0);
        out.i64(self.epoch.0);
        out.i64(self.next.0);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = ProducerIdsRecord {
            broker: NodeId(input.i32()?),
            epoch: BrokerEpoch(input.i64()?),
            next: ProducerId(input.i64()?),
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}
