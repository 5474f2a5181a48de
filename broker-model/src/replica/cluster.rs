//! What a broker knows of the others: who is registered, in which epoch, reachable where.
//!
//! A copy of the part of the metadata that replication looks at with every fetch. Mirrors the
//! questions of `Partition` and `KafkaApis` to `KRaftMetadataCache`.

use std::collections::BTreeMap;

use crate::metadata::MetadataImage;
use crate::metadata::image::BrokerRegistration;
use crate::types::{BrokerEpoch, Endpoint, NodeId};

/// The registered brokers.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    brokers: BTreeMap<NodeId, KnownBroker>,
}

#[derive(Debug)]
struct KnownBroker {
    epoch: BrokerEpoch,
    endpoint: Option<Endpoint>,
    fenced: bool,
    shutting_down: bool,
}

impl Cluster {
    /// The brokers of the image.
    pub(super) fn of(image: &MetadataImage) -> Self {
        let brokers = image.brokers().iter();
        Cluster {
            brokers: brokers.map(|(id, it)| (*id, KnownBroker::of(it))).collect(),
        }
    }

    /// The registration of a broker that is not fenced (`MetadataCache.getAliveBrokerEpoch`).
    pub(super) fn alive_epoch(&self, broker: NodeId) -> Option<BrokerEpoch> {
        let known = self.brokers.get(&broker)?;
        (!known.fenced).then_some(known.epoch)
    }

    /// Whether a replica that last fetched in the registration `fetched` may come into the ISR: it
    /// is still that registration, and it is neither fenced nor leaving.
    pub(super) fn may_join_isr(&self, broker: NodeId, fetched: Option<BrokerEpoch>) -> bool {
        let (Some(known), Some(fetched)) = (self.brokers.get(&broker), fetched) else {
            return false;
        };
        let same = fetched == BrokerEpoch::UNKNOWN || fetched == known.epoch;
        same && !known.fenced && !known.shutting_down
    }

    /// Where a registered broker is to be reached.
    pub(super) fn endpoint(&self, broker: NodeId) -> Option<&Endpoint> {
        self.brokers.get(&broker)?.endpoint.as_ref()
    }

    /// Where a broker that is not fenced is to be reached.
    pub(super) fn alive_endpoint(&self, broker: NodeId) -> Option<&Endpoint> {
        self.alive_epoch(broker)?;
        self.endpoint(broker)
    }
}

impl KnownBroker {
    fn of(registration: &BrokerRegistration) -> Self {
        KnownBroker {
            epoch: registration.epoch,
            endpoint: registration.endpoint(),
            fenced: registration.fenced,
            shutting_down: registration.in_controlled_shutdown,
        }
    }
}
