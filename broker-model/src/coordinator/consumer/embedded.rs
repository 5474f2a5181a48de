//! What consumers of the classic protocol say to each other through the coordinator, as far as a
//! consumer group has to understand and say it.
//!
//! Mirrors `ConsumerProtocol`: `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`, each
//! after its version, of which those above 3 are read as 3. Bytes that a member made up are never
//! trusted with a length.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::super::record::TopicPartitions;
use crate::metadata::MetadataImage;
use crate::types::StrBytes;

/// Bytes that are none of these messages (`SchemaException`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// What a member reads and has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subscription {
    /// The topics.
    pub(super) topics: BTreeSet<StrBytes>,
    /// Since version 1: partitions that it owns, by topic.
    pub(super) owned: Vec<(StrBytes, Vec<i32>)>,
    /// Since version 3: its rack.
    pub(super) rack: Option<StrBytes>,
}

/// A member's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// By topic.
    pub(super) assigned: Vec<(StrBytes, Vec<i32>)>,
    /// Whether its assignor says something else, too.
    pub(super) has_user_data: bool,
}

/// The version that comes first.
pub(super) fn version(bytes: &Bytes) -> Result<i16, Malformed> {
    bytes.clone().try_get_i16().map_err(|_| Malformed)
}

/// Reads a subscription.
pub(super) fn subscription(bytes: &Bytes) -> Result<Subscription, Malformed> {
    let mut bytes = bytes.clone();
    let version = supported_version(&mut bytes)?;
    let topics = array(&mut bytes, 2, string)?;
    user_data(&mut bytes)?;
    let owned = match version {
        1.. => array(&mut bytes, 6, topic)?,
        _ => Vec::new(),
    };
    if 2 <= version {
        let _generation = bytes.try_get_i32().map_err(|_| Malformed)?;
    }
    let rack = match version {
        3.. => nullable_string(&mut bytes)?,
        _ => None,
    };
    Ok(Subscription {
        topics: topics.into_iter().collect(),
        owned,
        rack: rack.filter(|rack| !rack.is_empty()),
    })
}

/// Reads a part.
pub(super) fn part(bytes: &Bytes) -> Result<Part, Malformed> {
    let mut bytes = bytes.clone();
    supported_version(&mut bytes)?;
    Ok(Part {
        assigned: array(&mut bytes, 6, topic)?,
        has_user_data: user_data(&mut bytes)?,
    })
}

/// Writes a part in that version.
pub(super) fn write_part(
    partitions: &TopicPartitions,
    image: &MetadataImage,
    version: i16,
) -> Result<Bytes, Malformed> {
    if version < 0 {
        return Err(Malformed);
    }
    let topics = partitions.iter();
    let topics = topics.filter_map(|(&id, partitions)| Some((&image.topic(id)?.name, partitions)));
    let topics: Vec<_> = topics.collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(version.min(VERSION_MAX));
    bytes.put_i32(length(topics.len()));
    for (name, partitions) in topics {
        bytes.put_i16(i16::try_from(name.len()).expect("names of topics are short"));
        bytes.put_slice(name.as_bytes());
        bytes.put_i32(length(partitions.len()));
        for &partition in partitions {
            bytes.put_i32(partition);
        }
    }
    bytes.put_i32(NULL);
    Ok(bytes.freeze())
}

/// Topics by id; those that do not exist are left out.
pub(super) fn by_id(topics: &[(StrBytes, Vec<i32>)], image: &MetadataImage) -> TopicPartitions {
    let by_id = topics.iter().filter_map(|(name, partitions)| {
        let id = image.topic_names().get(name)?;
        Some((*id, partitions.iter().copied().collect()))
    });
    by_id.collect()
}

fn supported_version(bytes: &mut Bytes) -> Result<i16, Malformed> {
    match bytes.try_get_i16() {
        Ok(version) if 0 <= version => Ok(version.min(VERSION_MAX)),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

/// An array of things that take so many bytes at least.
fn array<T>(
    bytes: &mut Bytes,
    bytes_min: usize,
    read: impl Fn(&mut Bytes) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = bytes.try_get_i32().map_err(|_| Malformed)?;
    let count = usize::try_from(count).map_err(|_| Malformed)?;
    if bytes.remaining() / bytes_min < count {
        return Err(Malformed);
    }
    (0..count).map(|_| read(bytes)).collect()
}

fn topic(bytes: &mut Bytes) -> Result<(StrBytes, Vec<i32>), Malformed> {
    let name = string(bytes)?;
    let partition = |bytes: &mut Bytes| bytes.try_get_i32().map_err(|_| Malformed);
    Ok((name, array(bytes, 4, partition)?))
}

fn string(bytes: &mut Bytes) -> Result<StrBytes, Malformed> {
    nullable_string(bytes)?.ok_or(Malformed)
}

fn nullable_string(bytes: &mut Bytes) -> Result<Option<StrBytes>, Malformed> {
    let length = bytes.try_get_i16().map_err(|_| Malformed)?;
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let text = take(bytes, length)?;
    StrBytes::try_from(text).map(Some).map_err(|_| Malformed)
}

/// Whether there is any.
fn user_data(bytes: &mut Bytes) -> Result<bool, Malformed> {
    let length = bytes.try_get_i32().map_err(|_| Malformed)?;
    match usize::try_from(length) {
        Ok(length) => Ok(!take(bytes, length)?.is_empty()),
        Err(_) => Ok(false),
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Malformed> {
    let fits = length <= bytes.remaining();
    fits.then(|| bytes.split_to(length)).ok_or(Malformed)
}

fn length(count: usize) -> i32 {
    i32::try_from(count).expect("a member does not have that many partitions")
}

const VERSION_MAX: i16 = 3;
const NULL: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    const VERSION_3: &[u8] = b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x02\0\0\0\x07\0\x01r";

    #[test]
    fn each_version_says_more_than_the_one_before() {
        let read = subscription(&Bytes::from_static(VERSION_3)).expect("valid");
        assert_eq!(read.topics, BTreeSet::from([name("a")]));
        assert_eq!(read.owned, [(name("a"), vec![2])]);
        assert_eq!(read.rack, Some(name("r")));
        let mut version_0 = VERSION_3.to_vec();
        version_0[1] = 0;
        let read = subscription(&Bytes::from(version_0)).expect("more than was asked for");
        assert_eq!((read.owned.len(), read.rack), (0, None));
        let mut version_9 = VERSION_3.to_vec();
        version_9[1] = 9;
        assert!(subscription(&Bytes::from(version_9)).is_ok());
    }

    #[test]
    fn what_is_cut_or_lies_is_malformed() {
        for end in 0..VERSION_3.len() {
            let cut = Bytes::from_static(&VERSION_3[..end]);
            assert_eq!(subscription(&cut), Err(Malformed), "cut at {end}");
        }
        let lie = Bytes::from_static(b"\0\x01\x7f\xff\xff\xff\0\x01a");
        assert_eq!(subscription(&lie), Err(Malformed));
        assert_eq!(part(&lie), Err(Malformed));
        assert_eq!(part(&Bytes::from_static(b"\xff\xff")), Err(Malformed));
    }

    #[test]
    fn a_part_reads_back() {
        let nothing = write_part(&TopicPartitions::new(), &MetadataImage::empty(), 7);
        let nothing = nothing.expect("a version that is capped");
        assert_eq!(nothing, &b"\0\x03\0\0\0\0\xff\xff\xff\xff"[..]);
        let read = part(&nothing).expect("our own");
        assert_eq!((read.assigned.len(), read.has_user_data), (0, false));
        let with_data = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x05\0\0\0\x01x");
        let read = part(&with_data).expect("valid");
        assert_eq!(read.assigned, [(name("a"), vec![5])]);
        assert!(read.has_user_data);
    }
}
