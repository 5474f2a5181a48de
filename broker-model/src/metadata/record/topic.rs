//! Records about topics and their partitions.

use super::RecordError;
use super::codec::{Reader, TaggedFields, Writer};
use crate::types::{LeaderEpoch, NodeId, PartitionEpoch, StrBytes, TopicIdPartition, Uuid};

/// A topic was created (api key 2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRecord {
    /// The topic's name.
    pub name: StrBytes,
    /// The topic's id.
    pub id: Uuid,
}

/// A topic was removed with all its partitions (api key 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoveTopicRecord {
    /// The topic's id.
    pub id: Uuid,
}

/// A partition's whole state (api key 3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRecord {
    /// Which partition.
    pub partition: TopicIdPartition,
    /// Preferred leader first.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas.
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// `NodeId::NONE` when there is none.
    pub leader: NodeId,
    /// Whether the leader recovers from an unclean election.
    pub recovering: bool,
    /// Rises with each change of leader.
    pub leader_epoch: LeaderEpoch,
    /// Rises with each change.
    pub partition_epoch: PartitionEpoch,
    /// The log directory of each replica, in the order of `replicas` (KIP-858).
    pub directories: Vec<Uuid>,
}

/// What changed of a partition (api key 5); `None` leaves a field as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionChangeRecord {
    /// Which partition.
    pub partition: TopicIdPartition,
    /// The new ISR.
    pub isr: Option<Vec<NodeId>>,
    /// The new leader. Setting it raises the leader epoch, also when it is the same as before.
    pub leader: Option<NodeId>,
    /// The new replicas.
    pub replicas: Option<Vec<NodeId>>,
    /// The new set of replicas that go.
    pub removing: Option<Vec<NodeId>>,
    /// The new set of replicas that come.
    pub adding: Option<Vec<NodeId>>,
    /// Whether the leader recovers from an unclean election.
    pub recovering: Option<bool>,
    /// The new log directories, one a replica.
    pub directories: Option<Vec<Uuid>>,
}

impl TopicRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.string(&self.name);
        out.uuid(self.id);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = TopicRecord {
            name: input.string()?,
            id: input.uuid()?,
        };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl RemoveTopicRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.uuid(self.id);
        out.tagged(TaggedFields::none());
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let record = RemoveTopicRecord { id: input.uuid()? };
        input.tagged(|_, _| Ok(()))?;
        Ok(record)
    }
}

impl PartitionRecord {
    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.partition.partition);
        out.uuid(self.partition.topic);
        out.nodes(&self.replicas);
        out.nodes(&self.isr);
        out.nodes(&self.removing);
        out.nodes(&self.adding);
        out.i32(self.leader.0);
        out.i32(self.leader_epoch.0);
        out.i32(self.partition_epoch.0);
        out.uuids(&self.directories);
        let recovering = self.recovering.then_some(RECOVERING);
        out.tagged(TaggedFields::none().with(0, recovering, |out, state| out.i8(state)));
    }

    pub(super) fn read(input: &mut Reader, version: u32) -> Result<Self, RecordError> {
        let partition = input.i32()?;
        let topic = input.uuid()?;
        let mut record = PartitionRecord {
            partition: TopicIdPartition { topic, partition },
            replicas: input.nodes()?,
            isr: input.nodes()?,
            removing: input.nodes()?,
            adding: input.nodes()?,
            leader: NodeId(input.i32()?),
            recovering: false,
            leader_epoch: LeaderEpoch(input.i32()?),
            partition_epoch: PartitionEpoch(input.i32()?),
            directories: Vec::new(),
        };
        if version >= 1 {
            record.directories = input.uuids()?;
        }
        input.tagged(|tag, field| {
            if tag == 0 {
                record.recovering = field.i8()? == RECOVERING;
            }
            Ok(())
        })?;
        Ok(record)
    }
}

impl PartitionChangeRecord {
    /// A record that changes nothing yet.
    #[must_use]
    pub fn new(partition: TopicIdPartition) -> Self {
        PartitionChangeRecord {
            partition,
            isr: None,
            leader: None,
            replicas: None,
            removing: None,
            adding: None,
            recovering: None,
            directories: None,
        }
    }

    /// Whether it changes nothing (`PartitionChangeBuilder.changeRecordIsNoOp`).
    #[must_use]
    pub fn is_no_op(&self) -> bool {
        *self == Self::new(self.partition)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.i32(self.partition.partition);
        out.uuid(self.partition.topic);
        out.tagged(
            TaggedFields::none()
                .with(0, self.isr.as_deref(), Writer::nodes)
                .with(1, self.leader, |out, leader| out.i32(leader.0))
                .with(2, self.replicas.as_deref(), Writer::nodes)
                .with(3, self.removing.as_deref(), Writer::nodes)
                .with(4, self.adding.as_deref(), Writer::nodes)
                .with(5, self.recovering, |out, recovering| {
                    out.i8(if recovering { RECOVERING } else { RECOVERED });
                })
                .with(8, self.directories.as_deref(), Writer::uuids),
        );
    }

    pub(super) fn read(input: &mut Reader) -> Result<Self, RecordError> {
        let partition = input.i32()?;
        let topic = input.uuid()?;
        let mut record = Self::new(TopicIdPartition { topic, partition });
        input.tagged(|tag, field| {
            match tag {
                0 => record.isr = Some(field.nodes()?),
                1 => record.leader = Some(NodeId(field.i32()?)).filter(|&it| it != NO_CHANGE),
                2 => record.replicas = Some(field.nodes()?),
                3 => record.removing = Some(field.nodes()?),
                4 => record.adding = Some(field.nodes()?),
                5 => {
                    record.recovering = match field.i8()? {
                        RECOVERED => Some(false),
                        RECOVERING => Some(true),
                        _ => None,
                    }
                }
                8 => record.directories = Some(field.uuids()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}

/// `LeaderRecoveryState`.
const RECOVERED: i8 = 0;
const RECOVERING: i8 = 1;
/// `LeaderConstants.NO_LEADER_CHANGE`.
const NO_CHANGE: NodeId = NodeId(-2);
