//! Bytes as Kafka writes them.

use super::*;

const TOPIC: Uuid = Uuid::from_u128(7);

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn there_and_back(record: &Record) {
    let (key, value) = record.encode();
    let read = Record::decode(&key, value.as_deref()).expect("our own");
    assert_eq!(read.as_ref(), Some(record));
}

fn offset(expire_timestamp: i64) -> Record {
    Record::OffsetCommit {
        group: text("g"),
        topic: text("t"),
        partition: 2,
        value: Some(OffsetCommitValue {
            offset: Offset(5),
            leader_epoch: LeaderEpoch(if expire_timestamp == -1 { 3 } else { -1 }),
            metadata: text("m"),
            commit_timestamp: 9,
            expire_timestamp,
            topic_id: Uuid::nil(),
        }),
    }
}

#[test]
fn an_offset_is_written_in_version_four_and_with_an_end_in_version_one() {
    let (key, value) = offset(-1).encode();
    assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x02");
    let expected = b"\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x03\x02m\0\0\0\0\0\0\0\x09\0";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    let (_, value) = offset(10).encode();
    let expected = b"\0\x01\0\0\0\0\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x0a";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    there_and_back(&offset(-1));
    there_and_back(&offset(10));
}

#[test]
fn a_classic_group_is_written_in_version_three() {
    let record = Record::GroupMetadata {
        group: text("g"),
        value: Some(GroupMetadataValue {
            protocol_type: text("consumer"),
            generation: 1,
            protocol: Some(text("range")),
            leader: None,
            current_state_timestamp: 4,
            members: vec![ClassicMemberValue {
                member: text("m"),
                instance: None,
                client_id: text("c"),
                client_host: text("/h"),
                rebalance_timeout: 5,
                session_timeout: 6,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::new(),
            }],
        }),
    };
    let (key, value) = record.encode();
    assert_eq!(&key[..], b"\0\x02\0\x01g");
    let expected = b"\0\x03\0\x08consumer\0\0\0\x01\0\x05range\xff\xff\0\0\0\0\0\0\0\x04\
        \0\0\0\x01\0\x01m\xff\xff\0\x01c\0\x02/h\0\0\0\x05\0\0\0\x06\0\0\0\x01s\0\0\0\0";
    assert_eq!(value.as_deref(), Some(&expected[..]));
    there_and_back(&record);
}

#[test]
fn the_records_of_a_consumer_group_survive() {
    let partitions = TopicPartitions::from([(TOPIC, BTreeSet::from([0, 3]))]);
    there_and_back(&Record::ConsumerGroupMetadata {
        group: text("g"),
        value: Some(ConsumerGroupMetadataValue {
            epoch: 2,
            metadata_hash: -5,
        }),
    });
    there_and_back(&Record::ConsumerGroupMember {
        group: text("g"),
        member: text("m"),
        value: Some(ConsumerGroupMemberValue {
            rack: Some(text("r")),
            subscribed_topics: vec![text("t")],
            classic: Some(ClassicMemberMetadata {
                session_timeout_ms: 7,
                supported_protocols: vec![(text("range"), Bytes::from_static(b"x"))],
            }),
            ..ConsumerGroupMemberValue::default()
        }),
    });
    there_and_back(&Record::ConsumerGroupTargetEpoch {
        group: text("g"),
        value: Some(3),
    });
    there_and_back(&Record::ConsumerGroupTarget {
        group: text("g"),
        member: text("m"),
        value: Some(partitions.clone()),
    });
    there_and_back(&Record::ConsumerGroupCurrent {
        group: text("g"),
        member: text("m"),
        value: Some(CurrentAssignmentValue {
            member_epoch: 3,
            previous_member_epoch: 2,
            state: 1,
            assigned: partitions,
            pending_revocation: TopicPartitions::new(),
        }),
    });
    there_and_back(&Record::ConsumerGroupRegex {
        group: text("g"),
        regex: text("a.*"),
        value: Some(ResolvedRegex {
            topics: BTreeSet::from([text("a1")]),
            version: 4,
            timestamp: 5,
        }),
    });
    there_and_back(&Record::ConsumerGroupMember {
        group: text("g"),
        member: text("m"),
        value: None,
    });
}

#[test]
fn a_key_of_another_kind_of_group_is_skipped_and_garbage_is_not() {
    assert_eq!(Record::decode(b"\0\x0f\0\x01g", None), Ok(None));
    assert!(Record::decode(b"\0\x02\0\x05g", None).is_err());
}
