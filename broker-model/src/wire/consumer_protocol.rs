//! What members of a classic consumer group tell each other through the coordinator: subscriptions
//! and assignments, and the user data of the sticky assignors.
//!
//! Mirrors Kafka's `ConsumerProtocol` (versions 0 to 3; a version above 3 is read as 3) and the
//! schemas inside `StickyAssignor` and `CooperativeStickyAssignor`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedTopic;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::guard::decode_bounded;
use crate::types::{StrBytes, TopicPartition};

/// `ConsumerProtocol.PROTOCOL_TYPE`
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// What a member wants and has (`ConsumerPartitionAssignor.Subscription`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subscription {
    /// The topics it wants.
    pub(crate) topics: Vec<StrBytes>,
    /// What its assignor adds.
    pub(crate) user_data: Option<Bytes>,
    /// The partitions it has.
    pub(crate) owned: Vec<TopicPartition>,
    /// The generation in which it got them; `None` before version 2 and for none.
    pub(crate) generation: Option<i32>,
    /// Where it runs.
    pub(crate) rack: Option<StrBytes>,
}

/// Bytes that are no message of the consumer protocol (`SchemaException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotConsumerProtocol;

const VERSION: i16 = 3;

impl Subscription {
    /// As it travels, in version 3.
    pub(crate) fn encode(&self) -> Bytes {
        let mut topics = self.topics.clone();
        topics.sort();
        let owned = by_topic(&self.owned).into_iter().map(|(topic, indexes)| {
            OwnedTopic::default()
                .with_topic(TopicName(topic))
                .with_partitions(indexes)
        });
        let message = ConsumerProtocolSubscription::default()
            .with_topics(topics)
            .with_user_data(self.user_data.clone())
            .with_owned_partitions(owned.collect())
            .with_generation_id(self.generation.unwrap_or(-1))
            .with_rack_id(self.rack.clone());
        prefixed(&message)
    }

    /// From bytes that another member sent.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Subscription, NotConsumerProtocol> {
        let (version, body) = version_of(bytes)?;
        let message = decode_bounded(&body, |reader| {
            ConsumerProtocolSubscription::decode(reader, version).map_err(|e| e.to_string())
        });
        let message = message.map_err(|_| NotConsumerProtocol)?;
        let owned = message.owned_partitions.into_iter();
        let owned = owned.flat_map(|topic| partitions(topic.topic, topic.partitions));
        Ok(Subscription {
            topics: message.topics,
            user_data: message.user_data,
            owned: owned.collect(),
            generation: (message.generation_id >= 0).then_some(message.generation_id),
            rack: message.rack_id.filter(|rack| !rack.is_empty()),
        })
    }
}

/// An assignment as it travels, in version 3.
pub(crate) fn encode_assignment(assigned: &[TopicPartition]) -> Bytes {
    let assigned = by_topic(assigned).into_iter().map(|(topic, indexes)| {
        AssignedTopic::default()
            .with_topic(TopicName(topic))
            .with_partitions(indexes)
    });
    let message =
        ConsumerProtocolAssignment::default().with_assigned_partitions(assigned.collect());
    prefixed(&message)
}

/// An assignment from bytes that the leader sent.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>, NotConsumerProtocol> {
    let (version, body) = version_of(bytes)?;
    let message = decode_bounded(&body, |reader| {
        ConsumerProtocolAssignment::decode(reader, version).map_err(|e| e.to_string())
    });
    let message = message.map_err(|_| NotConsumerProtocol)?;
    let assigned = message.assigned_partitions.into_iter();
    let assigned = assigned.flat_map(|topic| partitions(topic.topic, topic.partitions));
    Ok(assigned.collect())
}

/// The user data of `sticky`, version 1: what the member was assigned last, and in which
/// generation.
pub(crate) fn encode_sticky(assigned: &[TopicPartition], generation: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    let topics = by_topic(assigned);
    bytes.put_i32(length(topics.len()));
    for (topic, indexes) in topics {
        bytes.put_i16(i16::try_from(topic.len()).expect("topic names are short"));
        bytes.put_slice(topic.as_bytes());
        bytes.put_i32(length(indexes.len()));
        for index in indexes {
            bytes.put_i32(index);
        }
    }
    bytes.put_i32(generation);
    bytes.freeze()
}

/// The user data of `sticky`: the assignment, and the generation if it is of version 1.
pub(crate) fn decode_sticky(
    bytes: &Bytes,
) -> Result<(Vec<TopicPartition>, Option<i32>), NotConsumerProtocol> {
    let mut rest = bytes.clone();
    let mut assigned = Vec::new();
    for _ in 0..count(&mut rest)? {
        let size = usize::try_from(rest.try_get_i16().map_err(|_| NotConsumerProtocol)?);
        let size = size.ok().filter(|&size| size <= rest.len());
        let name = rest.split_to(size.ok_or(NotConsumerProtocol)?);
        let topic = StrBytes::try_from(name).map_err(|_| NotConsumerProtocol)?;
        for _ in 0..count(&mut rest)? {
            assigned.push(TopicPartition {
                topic: topic.clone(),
                partition: rest.try_get_i32().map_err(|_| NotConsumerProtocol)?,
            });
        }
    }
    Ok((assigned, rest.try_get_i32().ok()))
}

/// The user data of `cooperative-sticky`: the generation.
pub(crate) fn encode_cooperative_sticky(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// The user data of `cooperative-sticky`.
pub(crate) fn decode_cooperative_sticky(bytes: &Bytes) -> Option<i32> {
    bytes.clone().try_get_i32().ok()
}

/// Sorted by topic, then partition.
fn by_topic(partitions: &[TopicPartition]) -> Vec<(StrBytes, Vec<i32>)> {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    let mut topics: Vec<(StrBytes, Vec<i32>)> = Vec::new();
    for partition in sorted {
        match topics.last_mut() {
            Some((topic, indexes)) if *topic == partition.topic => {
                indexes.push(partition.partition);
            }
            _ => topics.push((partition.topic.clone(), vec![partition.partition])),
        }
    }
    topics
}

fn partitions(topic: TopicName, indexes: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    let TopicName(topic) = topic;
    indexes.into_iter().map(move |partition| TopicPartition {
        topic: topic.clone(),
        partition,
    })
}

fn prefixed(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    message
        .encode(&mut bytes, VERSION)
        .expect("version 3 has every field");
    bytes.freeze()
}

fn version_of(bytes: &Bytes) -> Result<(i16, Bytes), NotConsumerProtocol> {
    let mut body = bytes.clone();
    let version = body.try_get_i16().map_err(|_| NotConsumerProtocol)?;
    if version < 0 {
        return Err(NotConsumerProtocol);
    }
    Ok((version.min(VERSION), body))
}

/// The length of an array of things that take four bytes at least.
fn count(bytes: &mut Bytes) -> Result<usize, NotConsumerProtocol> {
    let count = bytes.try_get_i32().map_err(|_| NotConsumerProtocol)?;
    let count = usize::try_from(count).map_err(|_| NotConsumerProtocol)?;
    let fits = count <= bytes.len() / 4;
    fits.then_some(count).ok_or(NotConsumerProtocol)
}

fn length(len: usize) -> i32 {
    i32::try_from(len).expect("an assignment is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(topic: &'static str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: StrBytes::from_static_str(topic),
            partition,
        }
    }

    #[test]
    fn a_subscription_reads_back_sorted() {
        let subscription = Subscription {
            topics: vec![
                StrBytes::from_static_str("b"),
                StrBytes::from_static_str("a"),
            ],
            user_data: Some(encode_cooperative_sticky(7)),
            owned: vec![p("b", 1), p("a", 0), p("b", 0)],
            generation: Some(7),
            rack: Some(StrBytes::from_static_str("r1")),
        };
        let read = Subscription::decode(&subscription.encode()).expect("our own bytes");
        assert_eq!(read.topics[0], StrBytes::from_static_str("a"));
        assert_eq!(read.owned, [p("a", 0), p("b", 0), p("b", 1)]);
        assert_eq!(read.generation, Some(7));
        assert_eq!(read.rack, subscription.rack);
        let user_data = read.user_data.expect("given");
        assert_eq!(decode_cooperative_sticky(&user_data), Some(7));
    }

    #[test]
    fn a_subscription_is_written_as_kafka_writes_it() {
        let subscription = Subscription {
            topics: vec![StrBytes::from_static_str("t")],
            owned: vec![p("t", 2)],
            ..Subscription::default()
        };
        let expected: &[u8] = &[
            0, 3, // version
            0, 0, 0, 1, 0, 1, b't', // topics
            0xFF, 0xFF, 0xFF, 0xFF, // no user data
            0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 2, // owned
            0xFF, 0xFF, 0xFF, 0xFF, // generation -1
            0xFF, 0xFF, // no rack
        ];
        assert_eq!(subscription.encode(), expected);
    }

    #[test]
    fn an_old_or_a_too_new_version_is_read() {
        let version_0: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xFF, 0xFF, 0xFF, 0xFF];
        let read = Subscription::decode(&Bytes::from_static(version_0)).expect("version 0");
        assert_eq!(read.generation, None);
        let mut newer = encode_assignment(&[p("t", 1)]).to_vec();
        newer[1] = 9;
        assert_eq!(decode_assignment(&Bytes::from(newer)), Ok(vec![p("t", 1)]));
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            &[][..],
            &[0],
            &[0xFF, 0xFF],
            &[0, 3, 0x7F, 0xFF, 0xFF, 0xFF],
        ] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert_eq!(Subscription::decode(&bytes), Err(NotConsumerProtocol));
            assert_eq!(decode_assignment(&bytes), Err(NotConsumerProtocol));
        }
        let lie = Bytes::from_static(&[0x7F, 0xFF, 0xFF, 0xFF]);
        assert_eq!(decode_sticky(&lie), Err(NotConsumerProtocol));
    }

    #[test]
    fn sticky_user_data_reads_back_with_and_without_generation() {
        let bytes = encode_sticky(&[p("b", 1), p("a", 0)], 4);
        let assigned = vec![p("a", 0), p("b", 1)];
        assert_eq!(decode_sticky(&bytes), Ok((assigned.clone(), Some(4))));
        let version_0 = bytes.slice(..bytes.len() - 4);
        assert_eq!(decode_sticky(&version_0), Ok((assigned, None)));
    }
}
