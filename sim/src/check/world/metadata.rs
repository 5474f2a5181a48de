//! The committed metadata, from the first controller that told of each record.

use std::collections::BTreeMap;

use broker_model::note::BrokerState;
use broker_model::types::{BrokerEpoch, NodeId, Offset, Uuid};

/// What is committed, beside the partitions' states.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// The last record that was told.
    pub(crate) head: Offset,
    /// Brokers and the record that made them so.
    pub(crate) brokers: BTreeMap<NodeId, BrokerState>,
    /// Names of topics.
    pub(crate) topics: BTreeMap<Uuid, Box<str>>,
    /// Who was given each broker epoch.
    pub(crate) broker_epochs: BTreeMap<BrokerEpoch, NodeId>,
    /// The hash of all records up to an offset, and who told it first.
    pub(crate) hashes: BTreeMap<Offset, (u64, NodeId)>,
    /// A digest of what each record was told to say, by record and subject.
    told: BTreeMap<(Offset, u64), u64>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            head: Offset::UNKNOWN,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            broker_epochs: BTreeMap::new(),
            hashes: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }
}

/// How a telling of a record compares with what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Told {
    /// Nobody told of it before.
    First,
    /// It was told before, the same.
    #[default]
    Again,
    /// It was told before, differently.
    Otherwise,
}

impl Metadata {
    /// A controller told what the record at that offset says of that subject.
    pub(super) fn tell(&mut self, offset: Offset, subject: u64, digest: u64) -> Told {
        match self.told.get(&(offset, subject)) {
            Some(&known) if known == digest => Told::Again,
            None if offset >= self.head => {
                self.head = offset;
                self.told.insert((offset, subject), digest);
                Told::First
            }
            _ => Told::Otherwise,
        }
    }
}
