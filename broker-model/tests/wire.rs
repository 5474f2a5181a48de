//! The wire against bytes of all kinds: what Kafka sends, what it would never send, and what is in
//! between. Nothing panics, nothing loops, and no length that a frame declares is believed before the
//! frame was seen to be long enough: a reservation of gigabytes would abort this very process.

use broker_model::types::{LeaderEpoch, Listener, Offset, ProducerEpoch, ProducerId, Sequence};
use broker_model::wire::batch::{
    Assigned, Batch, BatchHeader, BatchIter, ProducerState, TimestampType, verify_crc,
    with_assigned,
};
use broker_model::wire::brief::{brief_request, brief_response};
use broker_model::wire::build::BatchBuilder;
use broker_model::wire::frame::{
    Decoded, FrameDecoder, decode_request, decode_response, encode_request, encode_response,
};
use broker_model::wire::validate::{ProduceRules, check_request_records, validate_produce};
use broker_model::wire::versions::{APIS, Api};
use broker_model::wire::{default_request, default_response, request_api, response_api};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const LISTENERS: [Listener; 2] = [Listener::Broker, Listener::Controller];

/// Every API in every version it is served in.
fn versions() -> impl Iterator<Item = (&'static Api, i16)> {
    APIS.iter()
        .flat_map(|api| (api.min..=api.max).map(move |version| (api, version)))
}

fn framed(version: i16, request: &RequestKind) -> Bytes {
    let mut out = BytesMut::new();
    encode_request(1, "c1", version, request, &mut out).unwrap_or_else(|error| panic!("{error}"));
    out.split_off(4).freeze()
}

fn framed_response(api: &Api, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    encode_response(api.key, version, 1, &default_response(api.key), &mut out)
        .unwrap_or_else(|error| panic!("{error}"));
    out.split_off(4).freeze()
}

#[test]
fn every_version_that_is_advertised_can_be_asked_and_answered() {
    for (api, version) in versions() {
        let frame = framed(version, &default_request(api.key));
        for &listener in api.listeners {
            let decoded = decode_request(listener, &frame);
            let Ok(Decoded::Request {
                header,
                api_key,
                body,
            }) = decoded
            else {
                panic!("{:?} {version}: {decoded:?}", api.key)
            };
            assert_eq!(api_key, api.key);
            assert_eq!(header.request_api_version, version);
            assert_eq!(request_api(&body), api.key);
        }
        let decoded = decode_response(api.key, version, &framed_response(api, version));
        let (correlation_id, body) = decoded.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(correlation_id, 1);
        assert_eq!(response_api(&body), api.key);
    }
}

/// The frame with a huge length over each place where a length may be.
fn with_lies(frame: &Bytes) -> impl Iterator<Item = Bytes> {
    const LIES: [&[u8]; 3] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    let frame = frame.clone();
    let places = (8..frame.len()).flat_map(move |at| LIES.map(|lie| (at, lie)));
    places.map(move |(at, lie)| {
        let mut bytes = BytesMut::from(&frame[..at]);
        bytes.extend_from_slice(lie);
        bytes.extend_from_slice(&frame[frame.len().min(at + lie.len())..]);
        bytes.freeze()
    })
}

#[test]
fn no_declared_length_is_believed_before_its_bytes_are_there() {
    for (api, version) in versions() {
        for lie in with_lies(&framed(version, &default_request(api.key))) {
            let _ = decode_request(api.listeners[0], &lie);
        }
        for lie in with_lies(&framed_response(api, version)) {
            let _ = decode_response(api.key, version, &lie);
        }
    }
    for version in 4..=18 {
        for lie in with_lies(&framed(version, &full_fetch(version))) {
            let _ = decode_request(Listener::Broker, &lie);
        }
    }
}

fn full_fetch(version: i16) -> RequestKind {
    let partition = FetchPartition::default()
        .with_fetch_offset(42)
        .with_partition_max_bytes(9);
    let mut topic = FetchTopic::default().with_partitions(vec![partition; 3]);
    if version <= 12 {
        topic = topic.with_topic(TopicName(StrBytes::from_static_str("orders")));
    }
    let mut fetch = FetchRequest::default()
        .with_max_bytes(i32::MAX)
        .with_topics(vec![topic; 2]);
    if 15 <= version {
        fetch = fetch.with_replica_state(ReplicaState::default().with_replica_epoch(7));
    }
    RequestKind::Fetch(fetch)
}

#[test]
fn plain_numbers_above_the_frames_size_survive() {
    for version in 4..=18 {
        let sent = full_fetch(version);
        let decoded = decode_request(Listener::Broker, &framed(version, &sent));
        let Ok(Decoded::Request { body, .. }) = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(body, sent, "version {version}");
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_to_something_or_to_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let frame = Bytes::from(bytes);
        for listener in LISTENERS {
            let _ = decode_request(listener, &frame);
        }
        for api in APIS {
            let _ = decode_response(api.key, api.max, &frame);
        }
    }

    #[test]
    fn any_body_behind_a_good_header_decodes_or_errs(
        (api, version) in select(versions().collect::<Vec<_>>()),
        body in vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xff), any::<u8>()], 0..120),
    ) {
        let mut bytes = (api.key as i16).to_be_bytes().to_vec();
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0, 0, 7, 0xff, 0xff]);
        bytes.extend(body);
        let frame = Bytes::from(bytes);
        if let Ok(Decoded::Request { body, .. }) = decode_request(api.listeners[0], &frame) {
            prop_assert!(!brief_request(&body, None).is_empty());
        }
        if let Ok((_, body)) = decode_response(api.key, version, &frame.slice(4..)) {
            prop_assert!(!brief_response(&body, None).is_empty());
        }
    }

    #[test]
    fn a_mutated_request_decodes_or_errs(
        version in 4_i16..=18,
        flips in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = BytesMut::from(&framed(version, &full_fetch(version))[..]);
        for (at, byte) in flips {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let _ = decode_request(Listener::Broker, &frame.freeze());
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_were_cut(
        bodies in vec(vec(any::<u8>(), 1..50), 0..8),
        cuts in vec(1_usize..40, 1..30),
    ) {
        let mut stream = Vec::new();
        for body in &bodies {
            stream.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
            stream.extend(body);
        }
        let mut frames = FrameDecoder::default();
        let mut read = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.into_iter().cycle() {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            frames.push(piece);
            while let Some(frame) = frames.next_frame().expect("lengths are sane") {
                read.push(frame.to_vec());
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn any_stream_is_cut_or_refused_and_never_loops(bytes in vec(any::<u8>(), 0..100)) {
        let mut frames = FrameDecoder::new(64);
        frames.push(&bytes);
        let cut = std::iter::from_fn(|| frames.next_frame().ok().flatten()).count();
        prop_assert!(cut <= bytes.len() / 5);
    }
}

/// A record before it is in a batch.
#[derive(Debug, Clone)]
struct Written {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..200))
}

fn some_record() -> impl Strategy<Value = Written> {
    let headers = vec(("[a-c]{0,3}", some_bytes()), 0..4);
    (0_i64..1_000_000, some_bytes(), some_bytes(), headers).prop_map(
        |(timestamp, key, value, headers)| Written {
            timestamp,
            key,
            value,
            headers,
        },
    )
}

fn some_producer() -> impl Strategy<Value = ProducerState> {
    let idempotent = (0_i64..100, 0_i16..100, 0..=i32::MAX, any::<bool>()).prop_map(
        |(id, epoch, sequence, transactional)| ProducerState {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(sequence),
            transactional,
        },
    );
    prop_oneof![Just(ProducerState::NONE), idempotent]
}

fn build(records: &[Written], producer: ProducerState) -> Bytes {
    let mut builder = BatchBuilder::new().by(producer);
    for record in records {
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, &headers);
    }
    builder.build()
}

/// What a stored batch says, in the terms of what was written into it.
fn read_back(batch: &Batch<'_>) -> Vec<(Offset, Written)> {
    let read = |record: broker_model::wire::record::Record<'_>| {
        let header = |(key, value): (&[u8], Option<&[u8]>)| {
            let key = String::from_utf8(key.to_vec()).expect("keys were text");
            (key, value.map(<[u8]>::to_vec))
        };
        let written = Written {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(header).collect(),
        };
        (record.offset, written)
    };
    batch
        .records()
        .map(|record| read(record.expect("a record of ours")))
        .collect()
}

const RULES: ProduceRules = ProduceRules {
    max_message_bytes: 1_000_000,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
    compacted: false,
};

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was_built(
        records in vec(some_record(), 1..20),
        producer in some_producer(),
        base_offset in 0_i64..1_000_000,
    ) {
        let sent = build(&records, producer);
        prop_assert_eq!(check_request_records(11, &sent), Ok(()));
        let validated = validate_produce(&sent, &RULES, 0).expect("a good batch");
        let stored = validated.append_at(&sent, Offset(base_offset), LeaderEpoch(3));
        let batch = Batch::parse(&stored).expect("whole");
        prop_assert!(batch.is_crc_valid());
        prop_assert_eq!(batch.header.size_in_bytes(), sent.len());
        prop_assert_eq!(batch.header.producer_id, producer.producer_id);
        prop_assert_eq!(batch.header.attributes.is_transactional(), producer.transactional);
        let end = base_offset + i64::try_from(records.len()).expect("few");
        prop_assert_eq!(batch.header.next_offset(), Offset(end));
        let written: Vec<_> = (base_offset..).map(Offset).zip(records).collect();
        prop_assert_eq!(format!("{:?}", read_back(&batch)), format!("{written:?}"));
    }

    #[test]
    fn kafka_protocol_reads_what_we_build(records in vec(some_record(), 1..10)) {
        let batch = build(&records, ProducerState::NONE);
        let read = RecordBatchDecoder::decode(&mut batch.clone()).expect("a batch");
        prop_assert_eq!(read.records.len(), records.len());
        for (read, wrote) in read.records.iter().zip(&records) {
            prop_assert_eq!(read.timestamp, wrote.timestamp);
            prop_assert_eq!(read.key.as_deref(), wrote.key.as_deref());
            prop_assert_eq!(read.value.as_deref(), wrote.value.as_deref());
        }
    }

    #[test]
    fn we_read_what_kafka_protocol_builds(values in vec(vec(any::<u8>(), 0..100), 1..10)) {
        let record = |(offset, value): (i64, &Vec<u8>)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 7,
            producer_epoch: 1,
            timestamp_type: kafka_protocol::records::TimestampType::Creation,
            offset,
            sequence: i32::try_from(offset).expect("few"),
            timestamp: 1000 + offset,
            key: None,
            value: Some(Bytes::from(value.clone())),
            headers: Default::default(),
        };
        let records: Vec<Record> = (0..).zip(&values).map(record).collect();
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut out, &records, &options).expect("a batch");
        let batch = Batch::parse(&out).expect("whole");
        prop_assert!(batch.is_crc_valid());
        let read: Vec<_> = read_back(&batch).into_iter().map(|(_, record)| record.value).collect();
        prop_assert_eq!(read, values.into_iter().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn a_flipped_byte_under_the_crc_is_always_seen(
        records in vec(some_record(), 1..5),
        at in any::<Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = BytesMut::from(&build(&records, ProducerState::NONE)[..]);
        let at = 21 + at.index(bytes.len() - 21);
        bytes[at] ^= flip;
        prop_assert!(!verify_crc(&bytes));
        prop_assert!(validate_produce(&bytes, &RULES, 0).is_err());
    }

    #[test]
    fn mutated_batches_are_walked_to_an_end(
        records in vec(some_record(), 1..5),
        flips in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let one = build(&records, ProducerState::NONE);
        let mut bytes = BytesMut::from(&[&one[..], &one[..]].concat()[..]);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = check_request_records(11, &bytes);
        let _ = validate_produce(&bytes, &RULES, 0);
        for batch in BatchIter::new(&bytes).map_while(Result::ok) {
            let _ = (batch.header.next_offset(), batch.header.last_sequence());
            let steps = batch.records().count();
            prop_assert!(steps <= batch.bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_walked_as_batches_to_an_end(bytes in vec(any::<u8>(), 0..300)) {
        let _ = BatchHeader::parse(&bytes);
        let _ = check_request_records(11, &bytes);
        let _ = validate_produce(&bytes, &RULES, 0);
        prop_assert!(BatchIter::new(&bytes).count() <= bytes.len());
    }

    #[test]
    fn a_produce_carries_its_batch_untouched(
        records in vec(some_record(), 1..5),
        version in 3_i16..=13,
    ) {
        let batch = build(&records, ProducerState::NONE);
        let partition = PartitionProduceData::default().with_records(Some(batch.clone()));
        let topic = TopicProduceData::default().with_partition_data(vec![partition]);
        let sent = RequestKind::Produce(ProduceRequest::default().with_topic_data(vec![topic]));
        let decoded = decode_request(Listener::Broker, &framed(version, &sent));
        let Ok(Decoded::Request { body: RequestKind::Produce(read), .. }) = decoded else {
            panic!("{decoded:?}")
        };
        let carried = read.topic_data[0].partition_data[0].records.as_ref();
        prop_assert_eq!(carried, Some(&batch));
    }

    #[test]
    fn offsets_and_epochs_are_outside_the_crc(
        records in vec(some_record(), 1..5),
        base_offset in any::<i64>(),
        epoch in any::<i32>(),
    ) {
        let sent = build(&records, ProducerState::NONE);
        let header = BatchHeader::parse(&sent).expect("ours");
        let assigned = Assigned {
            base_offset: Offset(base_offset),
            leader_epoch: LeaderEpoch(epoch),
            timestamp_type: TimestampType::CreateTime,
            max_timestamp: header.max_timestamp,
        };
        let stored = with_assigned(&sent, &assigned);
        prop_assert_eq!(&stored[17..], &sent[17..]);
        prop_assert!(verify_crc(&stored));
    }
}
