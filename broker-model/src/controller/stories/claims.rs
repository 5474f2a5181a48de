//! Claims: who may answer, and when.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, ApiKey, BrokerId, CreateTopicsRequest,
    CreateTopicsResponse, DescribeClusterRequest, DescribeClusterResponse, DescribeQuorumRequest,
    EnvelopeRequest, EnvelopeResponse, RequestKind, ResponseKind,
};

use super::{Story, topic};
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, NodeId, ProducerId, ResponseError};
use crate::wire::frame::{decode_response, encode_request};

fn create(name: &str) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(vec![topic(name, 1, 3)])
}

fn create_error(answer: &ResponseKind) -> i16 {
    let ResponseKind::CreateTopics(answer) = answer else {
        panic!("not an answer to CreateTopics: {answer:?}");
    };
    answer.topics[0].error_code
}

#[test]
fn an_answer_leaves_only_when_its_last_record_is_committed() {
    let mut story = Story::with_brokers(3);
    let conn = story.ask(7, create("orders"));
    assert_eq!(story.answer_on(conn), None);
    assert!(story.image().topic_by_name("orders").is_none());
    story.commit();
    assert_eq!(story.answer_on(conn).map(create_error), Some(0));
    assert!(story.image().topic_by_name("orders").is_some());
}

#[test]
fn an_answer_without_records_waits_for_those_it_rests_on() {
    let mut story = Story::with_brokers(3);
    let first = story.ask(7, create("orders"));
    let second = story.ask(7, create("orders"));
    assert_eq!(story.answer_on(second), None);
    story.commit();
    assert_eq!(story.answer_on(first).map(create_error), Some(0));
    assert_eq!(story.answer_on(second).map(create_error), Some(36));
}

#[test]
fn who_loses_the_leadership_drops_what_is_not_committed() {
    let mut story = Story::with_brokers(3);
    let conn = story.ask(7, create("orders"));
    story.resign();
    assert_eq!(story.answer_on(conn).map(create_error), Some(41));
    assert!(story.reached(Probe::ControllerUncommittedDropped));
    assert!(story.notes().any(|note| matches!(
        note,
        Note::ControllerInactive {
            epoch: LeaderEpoch(1),
            uncommitted: 2
        }
    )));

    story.claim();
    story.commit();
    let answer: CreateTopicsResponse = story.call(7, create("orders"));
    assert_eq!(answer.topics[0].error_code, 0, "it never existed");
}

#[test]
fn a_controller_that_is_not_active_refuses() {
    let mut story = Story::standby();
    let conn = story.ask(7, create("orders"));
    assert_eq!(story.answer_on(conn).map(create_error), Some(41));
    let conn = story.ask(4, super::registration(1, 1));
    let Some(ResponseKind::BrokerRegistration(answer)) = story.answer_on(conn) else {
        panic!("no answer to the registration");
    };
    assert_eq!(answer.error_code, ResponseError::NotController.code());
}

#[test]
fn the_features_of_a_new_cluster_are_written_once() {
    let mut story = Story::active();
    let features = story.image().features().clone();
    assert_eq!(features.get("metadata.version".as_bytes()), Some(&29));
    assert!(!features.contains_key("kraft.version".as_bytes()));
    let end = story.log.end;
    story.resign();
    story.claim();
    assert_eq!(
        story.log.end,
        end.next(),
        "nothing but the new epoch's start"
    );
}

#[test]
fn producer_ids_come_in_blocks_that_never_meet() {
    let mut story = Story::with_brokers(2);
    let mut allocate = |broker| {
        let request = AllocateProducerIdsRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(story.broker_epoch(broker));
        let answer: AllocateProducerIdsResponse = story.call(0, request);
        (
            answer.error_code,
            answer.producer_id_start.0,
            answer.producer_id_len,
        )
    };
    assert_eq!(allocate(1), (0, 0, 1_000));
    assert_eq!(allocate(2), (0, 1_000, 1_000));
    assert_eq!(allocate(3).0, ResponseError::StaleBrokerEpoch.code());
    assert!(story.notes().any(|note| matches!(
        note,
        Note::ProducerIdsCommitted {
            broker: NodeId(2),
            next: ProducerId(2_000),
            ..
        }
    )));
}

fn envelope(request: impl Into<RequestKind>) -> EnvelopeRequest {
    let mut frame = BytesMut::new();
    encode_request(77, "client", 7, &request.into(), &mut frame).expect("version 7 exists");
    let without_length = frame.freeze().slice(4..);
    EnvelopeRequest::default().with_request_data(without_length)
}

#[test]
fn what_a_broker_forwards_is_answered_inside_an_envelope() {
    let mut story = Story::with_brokers(3);
    let answer: EnvelopeResponse = story.call(0, envelope(create("orders")));
    assert_eq!(answer.error_code, 0);
    let inner = answer.response_data.expect("the inner answer");
    let (correlation_id, inner) =
        decode_response(ApiKey::CreateTopics, 7, &inner).expect("it is a response");
    assert_eq!((correlation_id, create_error(&inner)), (77, 0));
}

#[test]
fn a_broker_that_forwards_to_the_wrong_controller_is_told_so_itself() {
    let mut story = Story::standby();
    let conn = story.ask(0, envelope(create("orders")));
    let Some(ResponseKind::Envelope(answer)) = story.answer_on(conn) else {
        panic!("no answer to the envelope");
    };
    assert_eq!(answer.error_code, ResponseError::NotController.code());
    assert_eq!(answer.response_data, None);
}

#[test]
fn what_nobody_can_read_in_an_envelope_is_refused_and_not_cut_off() {
    let mut story = Story::with_brokers(3);
    let envelope = EnvelopeRequest::default().with_request_data(Bytes::from_static(b"?"));
    let answer: EnvelopeResponse = story.call(0, envelope);
    assert_eq!(answer.error_code, ResponseError::InvalidRequest.code());
}

#[test]
fn the_state_of_the_quorum_can_be_asked_for_in_an_envelope() {
    let mut story = Story::with_brokers(3);
    let mut frame = BytesMut::new();
    let describe = DescribeQuorumRequest::default().into();
    encode_request(77, "client", 2, &describe, &mut frame).expect("version 2 exists");
    let envelope = EnvelopeRequest::default().with_request_data(frame.freeze().slice(4..));
    let answer: EnvelopeResponse = story.call(0, envelope);
    assert_eq!(answer.error_code, 0);
    assert!(answer.response_data.is_some());
}

#[test]
fn controllers_describe_controllers_alone() {
    let mut story = Story::standby();
    let describe = DescribeClusterRequest::default();
    let answer: DescribeClusterResponse = story.call(1, describe.clone().with_endpoint_type(2));
    assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
    let answer: DescribeClusterResponse = story.call(1, describe.with_endpoint_type(1));
    assert_eq!(answer.error_code, 114);
}

#[test]
fn refusals_can_be_written_in_every_version() {
    use kafka_protocol::messages::{
        AlterPartitionReassignmentsRequest, CreatePartitionsRequest, DeleteTopicsRequest,
        ElectLeadersRequest, IncrementalAlterConfigsRequest,
    };
    let requests: [(RequestKind, std::ops::RangeInclusive<i16>); 6] = [
        (create("orders").into(), 2..=7),
        (DeleteTopicsRequest::default().into(), 1..=6),
        (CreatePartitionsRequest::default().into(), 0..=3),
        (ElectLeadersRequest::default().into(), 0..=2),
        (AlterPartitionReassignmentsRequest::default().into(), 0..=1),
        (IncrementalAlterConfigsRequest::default().into(), 0..=1),
    ];
    for (request, versions) in requests {
        for version in versions {
            Story::standby().ask(version, request.clone());
            Story::active().ask(version, request.clone());
        }
    }
}
