//! The bytes of the records of `__consumer_offsets`, as Kafka writes them.
//!
//! A key is the schema's number (16 bits) and a message that is not flexible; a value is its version
//! (16 bits) and a message of that version. Mirrors `CoordinatorRecordSerde`,
//! `GroupCoordinatorRecordSerde` and the versions that `GroupCoordinatorRecordHelpers` chooses.
//! Schemas of share and streams groups are not known here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::record::{
    ClassicMemberMetadata, ClassicMemberValue, ConsumerGroupMemberValue,
    ConsumerGroupMetadataValue, CurrentAssignmentValue, GroupMetadataValue, OffsetCommitValue,
    Record, ResolvedRegex, TopicPartitions,
};
use crate::metadata::record::RecordError;
use crate::metadata::record::codec::{Reader, TaggedFields, Writer};
use crate::types::{LeaderEpoch, Offset, StrBytes, Uuid};

type Read<T> = Result<T, RecordError>;

impl Record {
    /// Key and value in the log; no value is a tombstone.
    pub(crate) fn encode(&self) -> (Bytes, Option<Bytes>) {
        (self.encode_key(), self.encode_value())
    }

    /// Reads a record. `None` for a schema that nobody here writes: it is left alone, as Kafka does
    /// with keys of a newer coordinator.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Read<Option<Record>> {
        let mut key = Reader::new(Bytes::copy_from_slice(key));
        let schema = key.i16()?;
        let value = value.map(|it| Reader::new(Bytes::copy_from_slice(it)));
        let record = match schema {
            0 | OFFSET_COMMIT => Record::OffsetCommit {
                group: key.fixed_string()?,
                topic: key.fixed_string()?,
                partition: key.i32()?,
                value: read(value, read_offset_commit)?,
            },
            GROUP_METADATA => Record::GroupMetadata {
                group: key.fixed_string()?,
                value: read(value, read_group_metadata)?,
            },
            CONSUMER_GROUP_METADATA => Record::ConsumerGroupMetadata {
                group: key.fixed_string()?,
                value: read(value, read_consumer_group_metadata)?,
            },
            CONSUMER_GROUP_PARTITION_METADATA => Record::ConsumerGroupPartitionMetadata {
                group: key.fixed_string()?,
            },
            CONSUMER_GROUP_MEMBER => Record::ConsumerGroupMember {
                group: key.fixed_string()?,
                member: key.fixed_string()?,
                value: read(value, read_member)?,
            },
            CONSUMER_GROUP_TARGET_EPOCH => Record::ConsumerGroupTargetEpoch {
                group: key.fixed_string()?,
                value: read(value, |input, _| {
                    let epoch = input.i32()?;
                    input.tagged(|_, _| Ok(()))?;
                    Ok(epoch)
                })?,
            },
            CONSUMER_GROUP_TARGET => Record::ConsumerGroupTarget {
                group: key.fixed_string()?,
                member: key.fixed_string()?,
                value: read(value, |input, _| {
                    let partitions = read_partitions(input)?;
                    input.tagged(|_, _| Ok(()))?;
                    Ok(partitions)
                })?,
            },
            CONSUMER_GROUP_CURRENT => Record::ConsumerGroupCurrent {
                group: key.fixed_string()?,
                member: key.fixed_string()?,
                value: read(value, read_current)?,
            },
            CONSUMER_GROUP_REGEX => Record::ConsumerGroupRegex {
                group: key.fixed_string()?,
                regex: key.fixed_string()?,
                value: read(value, read_regex)?,
            },
            _ => return Ok(None),
        };
        key.finish()?;
        Ok(Some(record))
    }

    fn encode_key(&self) -> Bytes {
        let mut out = Writer::default();
        match self {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                ..
            } => {
                put_key(&mut out, OFFSET_COMMIT, &[group, topic]);
                out.i32(*partition);
            }
            Record::GroupMetadata { group, .. } => put_key(&mut out, GROUP_METADATA, &[group]),
            Record::ConsumerGroupMetadata { group, .. } => {
                put_key(&mut out, CONSUMER_GROUP_METADATA, &[group]);
            }
            Record::ConsumerGroupPartitionMetadata { group } => {
                put_key(&mut out, CONSUMER_GROUP_PARTITION_METADATA, &[group]);
            }
            Record::ConsumerGroupMember { group, member, .. } => {
                put_key(&mut out, CONSUMER_GROUP_MEMBER, &[group, member]);
            }
            Record::ConsumerGroupTargetEpoch { group, .. } => {
                put_key(&mut out, CONSUMER_GROUP_TARGET_EPOCH, &[group]);
            }
            Record::ConsumerGroupTarget { group, member, .. } => {
                put_key(&mut out, CONSUMER_GROUP_TARGET, &[group, member]);
            }
            Record::ConsumerGroupCurrent { group, member, .. } => {
                put_key(&mut out, CONSUMER_GROUP_CURRENT, &[group, member]);
            }
            Record::ConsumerGroupRegex { group, regex, .. } => {
                put_key(&mut out, CONSUMER_GROUP_REGEX, &[group, regex]);
            }
        }
        out.finish()
    }

    fn encode_value(&self) -> Option<Bytes> {
        let mut out = Writer::default();
        match self {
            Record::OffsetCommit { value, .. } => put_offset_commit(&mut out, value.as_ref()?),
            Record::GroupMetadata { value, .. } => put_group_metadata(&mut out, value.as_ref()?),
            Record::ConsumerGroupMetadata { value, .. } => {
                let value = value.as_ref()?;
                out.i16(0);
                out.i32(value.epoch);
                let hash = Some(value.metadata_hash).filter(|it| *it != 0);
                out.tagged(TaggedFields::none().with(0, hash, Writer::i64));
            }
            Record::ConsumerGroupPartitionMetadata { .. } => return None,
            Record::ConsumerGroupMember { value, .. } => put_member(&mut out, value.as_ref()?),
            Record::ConsumerGroupTargetEpoch { value, .. } => {
                out.i16(0);
                out.i32((*value)?);
                out.tagged(TaggedFields::none());
            }
            Record::ConsumerGroupTarget { value, .. } => {
                out.i16(0);
                put_partitions(&mut out, value.as_ref()?);
                out.tagged(TaggedFields::none());
            }
            Record::ConsumerGroupCurrent { value, .. } => {
                let value = value.as_ref()?;
                out.i16(0);
                out.i32(value.member_epoch);
                out.i32(value.previous_member_epoch);
                out.i8(value.state);
                put_partitions(&mut out, &value.assigned);
                put_partitions(&mut out, &value.pending_revocation);
                out.tagged(TaggedFields::none());
            }
            Record::ConsumerGroupRegex { value, .. } => {
                let value = value.as_ref()?;
                out.i16(0);
                let topics: Vec<&StrBytes> = value.topics.iter().collect();
                out.array(&topics, |out, topic| out.string(topic));
                out.i64(value.version);
                out.i64(value.timestamp);
                out.tagged(TaggedFields::none());
            }
        }
        Some(out.finish())
    }
}

fn put_key(out: &mut Writer, schema: i16, names: &[&StrBytes]) {
    out.i16(schema);
    for name in names {
        out.fixed_string(name);
    }
}

/// Reads a value with its version, all of it.
fn read<T>(
    value: Option<Reader>,
    message: impl FnOnce(&mut Reader, i16) -> Read<T>,
) -> Read<Option<T>> {
    let Some(mut input) = value else {
        return Ok(None);
    };
    let version = input.i16()?;
    let message = message(&mut input, version)?;
    input.finish()?;
    Ok(Some(message))
}

/// Version 1 has an end, as a client of old asks for; version 4 has none.
fn put_offset_commit(out: &mut Writer, value: &OffsetCommitValue) {
    if value.expire_timestamp != -1 {
        out.i16(1);
        out.i64(value.offset.0);
        out.fixed_string(&value.metadata);
        out.i64(value.commit_timestamp);
        out.i64(value.expire_timestamp);
        return;
    }
    out.i16(4);
    out.i64(value.offset.0);
    out.i32(value.leader_epoch.0);
    out.string(&value.metadata);
    out.i64(value.commit_timestamp);
    let topic_id = Some(value.topic_id).filter(|it| !it.is_nil());
    out.tagged(TaggedFields::none().with(0, topic_id, Writer::uuid));
}

fn read_offset_commit(input: &mut Reader, version: i16) -> Read<OffsetCommitValue> {
    check_version(OFFSET_COMMIT, version, 4)?;
    let offset = Offset(input.i64()?);
    let leader_epoch = match version {
        0..=2 => LeaderEpoch::NONE,
        _ => LeaderEpoch(input.i32()?),
    };
    let metadata = match version {
        0..=3 => input.fixed_string()?,
        _ => input.string()?,
    };
    let commit_timestamp = input.i64()?;
    let expire_timestamp = if version == 1 { input.i64()? } else { -1 };
    let mut topic_id = Uuid::nil();
    if 4 <= version {
        input.tagged(|tag, field| {
            if tag == 0 {
                topic_id = field.uuid()?;
            }
            Ok(())
        })?;
    }
    Ok(OffsetCommitValue {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp,
        topic_id,
    })
}

fn put_group_metadata(out: &mut Writer, value: &GroupMetadataValue) {
    out.i16(3);
    out.fixed_string(&value.protocol_type);
    out.i32(value.generation);
    out.fixed_nullable_string(value.protocol.as_deref());
    out.fixed_nullable_string(value.leader.as_deref());
    out.i64(value.current_state_timestamp);
    out.fixed_array(&value.members, |out, member| {
        out.fixed_string(&member.member);
        out.fixed_nullable_string(member.instance.as_deref());
        out.fixed_string(&member.client_id);
        out.fixed_string(&member.client_host);
        out.i32(member.rebalance_timeout);
        out.i32(member.session_timeout);
        out.fixed_bytes(&member.subscription);
        out.fixed_bytes(&member.assignment);
    });
}

fn read_group_metadata(input: &mut Reader, version: i16) -> Read<GroupMetadataValue> {
    check_version(GROUP_METADATA, version, 4)?;
    let flexible = 4 <= version;
    let value = GroupMetadataValue {
        protocol_type: string(input, flexible)?,
        generation: input.i32()?,
        protocol: nullable_string(input, flexible)?,
        leader: nullable_string(input, flexible)?,
        current_state_timestamp: if 2 <= version { input.i64()? } else { -1 },
        members: {
            let member = |input: &mut Reader| read_classic_member(input, version);
            match flexible {
                true => input.array(member)?,
                false => input.fixed_array(member)?,
            }
        },
    };
    if flexible {
        input.tagged(|_, _| Ok(()))?;
    }
    Ok(value)
}

fn read_classic_member(input: &mut Reader, version: i16) -> Read<ClassicMemberValue> {
    let flexible = 4 <= version;
    let bytes = |input: &mut Reader| match flexible {
        true => input.bytes(),
        false => input.fixed_bytes(),
    };
    let member = string(input, flexible)?;
    let instance = match version {
        0..=2 => None,
        _ => nullable_string(input, flexible)?,
    };
    let client_id = string(input, flexible)?;
    let client_host = string(input, flexible)?;
    let rebalance_timeout = if 1 <= version { input.i32()? } else { -1 };
    let session_timeout = input.i32()?;
    let subscription = bytes(input)?;
    let assignment = bytes(input)?;
    if flexible {
        input.tagged(|_, _| Ok(()))?;
    }
    Ok(ClassicMemberValue {
        member,
        instance,
        client_id,
        client_host,
        // A record of old says one timeout for both.
        rebalance_timeout: match rebalance_timeout {
            -1 => session_timeout,
            told => told,
        },
        session_timeout,
        subscription,
        assignment,
    })
}

fn string(input: &mut Reader, flexible: bool) -> Read<StrBytes> {
    match flexible {
        true => input.string(),
        false => input.fixed_string(),
    }
}

fn nullable_string(input: &mut Reader, flexible: bool) -> Read<Option<StrBytes>> {
    match flexible {
        true => input.nullable_string(),
        false => input.fixed_nullable_string(),
    }
}

fn read_consumer_group_metadata(
    input: &mut Reader,
    version: i16,
) -> Read<ConsumerGroupMetadataValue> {
    check_version(CONSUMER_GROUP_METADATA, version, 0)?;
    let epoch = input.i32()?;
    let mut metadata_hash = 0;
    input.tagged(|tag, field| {
        if tag == 0 {
            metadata_hash = field.i64()?;
        }
        Ok(())
    })?;
    Ok(ConsumerGroupMetadataValue {
        epoch,
        metadata_hash,
    })
}

fn put_member(out: &mut Writer, value: &ConsumerGroupMemberValue) {
    out.i16(0);
    out.nullable_string(value.instance.as_deref());
    out.nullable_string(value.rack.as_deref());
    out.string(&value.client_id);
    out.string(&value.client_host);
    out.array(&value.subscribed_topics, |out, topic| out.string(topic));
    out.nullable_string(value.subscribed_regex.as_deref());
    out.i32(value.rebalance_timeout_ms);
    out.nullable_string(value.server_assignor.as_deref());
    out.tagged(
        TaggedFields::none().with(0, value.classic.as_ref(), |out, classic| {
            // A structure that may be null says first that it is not.
            out.i8(1);
            out.i32(classic.session_timeout_ms);
            out.array(&classic.supported_protocols, |out, (name, metadata)| {
                out.string(name);
                out.bytes(metadata);
                out.tagged(TaggedFields::none());
            });
            out.tagged(TaggedFields::none());
        }),
    );
}

fn read_member(input: &mut Reader, version: i16) -> Read<ConsumerGroupMemberValue> {
    check_version(CONSUMER_GROUP_MEMBER, version, 0)?;
    let mut value = ConsumerGroupMemberValue {
        instance: input.nullable_string()?,
        rack: input.nullable_string()?,
        client_id: input.string()?,
        client_host: input.string()?,
        subscribed_topics: input.array(Reader::string)?,
        subscribed_regex: input.nullable_string()?,
        rebalance_timeout_ms: input.i32()?,
        server_assignor: input.nullable_string()?,
        classic: None,
    };
    input.tagged(|tag, field| {
        if tag == 0 && 0 <= field.i8()? {
            value.classic = Some(read_classic_metadata(field)?);
        }
        Ok(())
    })?;
    Ok(value)
}

fn read_classic_metadata(input: &mut Reader) -> Read<ClassicMemberMetadata> {
    let session_timeout_ms = input.i32()?;
    let supported_protocols = input.array(|input| {
        let protocol = (input.string()?, input.bytes()?);
        input.tagged(|_, _| Ok(()))?;
        Ok(protocol)
    })?;
    input.tagged(|_, _| Ok(()))?;
    Ok(ClassicMemberMetadata {
        session_timeout_ms,
        supported_protocols,
    })
}

fn read_current(input: &mut Reader, version: i16) -> Read<CurrentAssignmentValue> {
    check_version(CONSUMER_GROUP_CURRENT, version, 0)?;
    let value = CurrentAssignmentValue {
        member_epoch: input.i32()?,
        previous_member_epoch: input.i32()?,
        state: input.i8()?,
        assigned: read_partitions(input)?,
        pending_revocation: read_partitions(input)?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn read_regex(input: &mut Reader, version: i16) -> Read<ResolvedRegex> {
    check_version(CONSUMER_GROUP_REGEX, version, 0)?;
    let value = ResolvedRegex {
        topics: input.array(Reader::string)?.into_iter().collect(),
        version: input.i64()?,
        timestamp: input.i64()?,
    };
    input.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn put_partitions(out: &mut Writer, partitions: &TopicPartitions) {
    let topics: Vec<(&Uuid, &BTreeSet<i32>)> = partitions.iter().collect();
    out.array(&topics, |out, (topic, partitions)| {
        out.uuid(**topic);
        let partitions: Vec<i32> = partitions.iter().copied().collect();
        out.array(&partitions, |out, &partition| out.i32(partition));
        out.tagged(TaggedFields::none());
    });
}

fn read_partitions(input: &mut Reader) -> Read<TopicPartitions> {
    let topics = input.array(|input| {
        let topic = input.uuid()?;
        let partitions = input.array(Reader::i32)?;
        input.tagged(|_, _| Ok(()))?;
        Ok((topic, partitions))
    })?;
    let mut all: TopicPartitions = BTreeMap::new();
    for (topic, partitions) in topics {
        all.entry(topic).or_default().extend(partitions);
    }
    Ok(all)
}

fn check_version(schema: i16, version: i16, highest: i16) -> Read<()> {
    if (0..=highest).contains(&version) {
        return Ok(());
    }
    Err(RecordError::Unsupported {
        api_key: u32::from(schema.unsigned_abs()),
        version: u32::from(version.unsigned_abs()),
    })
}

const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const CONSUMER_GROUP_METADATA: i16 = 3;
const CONSUMER_GROUP_PARTITION_METADATA: i16 = 4;
const CONSUMER_GROUP_MEMBER: i16 = 5;
const CONSUMER_GROUP_TARGET_EPOCH: i16 = 6;
const CONSUMER_GROUP_TARGET: i16 = 7;
const CONSUMER_GROUP_CURRENT: i16 = 8;
const CONSUMER_GROUP_REGEX: i16 = 16;
