//! The committed copy of the metadata: what every controller, active or not, agrees on.
//!
//! A controller that loses leadership goes back to it. It tells the judge what each committed record
//! made.

use bytes::Bytes;

use crate::effect::Effects;
use crate::metadata::log_hash::LogHash;
use crate::metadata::{MetadataDelta, MetadataImage, MetadataRecord};
use crate::note::{MetadataReader, Note};
use crate::raft::CommittedBatch;
use crate::types::{NodeId, Offset, StrBytes, TopicIdPartition, Uuid};

/// The image of the committed records, and their hash.
#[derive(Debug)]
pub(super) struct CommittedMetadata {
    image: MetadataImage,
    hash: LogHash,
}

impl CommittedMetadata {
    /// Nothing is committed yet.
    pub(super) fn empty() -> Self {
        CommittedMetadata {
            image: MetadataImage::empty(),
            hash: LogHash::new(),
        }
    }

    /// The image.
    pub(super) fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Takes in the next batch.
    pub(super) fn replay(&mut self, batch: &CommittedBatch, effects: &mut Effects) {
        if !batch.control {
            for (at, value) in (0..).zip(&batch.records) {
                self.replay_record(batch.base + at, value, effects);
            }
        }
        self.image.advance_to(batch.last);
        effects.note(Note::MetadataApplied {
            by: MetadataReader::Controller,
            offset: batch.last,
            hash: self.hash.value(),
        });
    }

    fn replay_record(&mut self, offset: Offset, value: &Bytes, effects: &mut Effects) {
        let record = MetadataRecord::decode(value)
            .unwrap_or_else(|error| panic!("a controller committed a broken record: {error}"));
        self.hash.update(offset, value);
        let removed = match &record {
            MetadataRecord::RemoveTopic(removed) => self.topic_name(removed.id),
            _ => None,
        };
        self.image
            .replay(offset, &record, &mut MetadataDelta::default());
        match &record {
            MetadataRecord::RegisterBroker(it) => self.note_broker(offset, it.broker, effects),
            MetadataRecord::BrokerRegistrationChange(it) => {
                self.note_broker(offset, it.broker, effects);
            }
            MetadataRecord::FenceBroker(it) | MetadataRecord::UnfenceBroker(it) => {
                self.note_broker(offset, it.broker, effects);
            }
            MetadataRecord::Partition(it) => self.note_partition(offset, it.partition, effects),
            MetadataRecord::PartitionChange(it) => {
                self.note_partition(offset, it.partition, effects);
            }
            MetadataRecord::Topic(it) => note_topic(offset, it.id, &it.name, false, effects),
            MetadataRecord::RemoveTopic(it) => {
                if let Some(name) = removed {
                    note_topic(offset, it.id, &name, true, effects);
                }
            }
            MetadataRecord::ProducerIds(it) => effects.note(Note::ProducerIdsCommitted {
                offset,
                broker: it.broker,
                next: it.next,
            }),
            MetadataRecord::UnregisterBroker(_)
            | MetadataRecord::Config(_)
            | MetadataRecord::FeatureLevel(_)
            | MetadataRecord::NoOp => {}
        }
    }

    fn topic_name(&self, topic: Uuid) -> Option<StrBytes> {
        self.image.topic(topic).map(|it| it.name.clone())
    }

    fn note_broker(&self, offset: Offset, broker: NodeId, effects: &mut Effects) {
        if let Some(registered) = self.image.broker(broker) {
            effects.note(Note::BrokerCommitted {
                offset,
                broker,
                state: registered.state(),
            });
        }
    }

    fn note_partition(&self, offset: Offset, partition: TopicIdPartition, effects: &mut Effects) {
        if let Some(registered) = self.image.partition(partition) {
            effects.note(Note::PartitionCommitted {
                offset,
                partition,
                state: Box::new(registered.state.clone()),
            });
        }
    }
}

fn note_topic(offset: Offset, topic: Uuid, name: &str, removed: bool, effects: &mut Effects) {
    effects.note(Note::TopicCommitted {
        offset,
        topic,
        name: name.into(),
        removed,
    });
}
