//! The topics of a `ConsumerProtocolSubscription`, as far as a coordinator looks into it.
//!
//! Mirrors `ConsumerProtocol.deserializeVersion` and `deserializeConsumerProtocolSubscription` with
//! version 0, the part that all versions begin with.

use bytes::{Buf, Bytes};

use crate::types::StrBytes;

/// The topics, or `None` if these bytes are no subscription.
pub(super) fn topics(metadata: &Bytes) -> Option<Vec<StrBytes>> {
    let mut bytes = metadata.clone();
    let _version = bytes.try_get_i16().ok()?;
    let count = usize::try_from(bytes.try_get_i32().ok()?).ok()?;
    // Each topic has a length of two bytes at least.
    if bytes.remaining() / 2 < count {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        topics.push(StrBytes::try_from(take(&mut bytes, length)?).ok()?);
    }
    // User data, which may be null.
    if let Ok(length) = usize::try_from(bytes.try_get_i32().ok()?) {
        take(&mut bytes, length)?;
    }
    Some(topics)
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.remaining()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(metadata: &[u8]) -> Option<Vec<String>> {
        let topics = topics(&Bytes::copy_from_slice(metadata))?;
        Some(topics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_version_begins_with_topics_and_user_data() {
        let plain = b"\0\0\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(names(plain), Some(vec!["a".to_owned(), "bc".to_owned()]));
        let newer = b"\0\x63\0\0\0\x01\0\x01a\0\0\0\x01u and more";
        assert_eq!(names(newer), Some(vec!["a".to_owned()]));
        assert_eq!(names(b"\0\0\0\0\0\0\xff\xff\xff\xff"), Some(vec![]));
    }

    #[test]
    fn what_is_cut_or_lies_is_no_subscription() {
        let whole = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01u";
        for end in 0..whole.len() {
            assert_eq!(names(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(names(b"\0\0\x7f\xff\xff\xff\0\0"), None);
        assert_eq!(names(b"\0\0\xff\xff\xff\xff\0\0\0\0"), None);
        assert_eq!(names(b"\0\0\0\0\0\x01\0\x01\xff\0\0\0\0"), None);
    }
}
