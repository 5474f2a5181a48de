//! Stories of a producer, told with hand-fed answers.

use bytes::Bytes;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceResponse, RequestKind, ResponseKind};

use crate::bug::Bug;
use crate::client::ClientKind;
use crate::client::command::{ClientError, Command, Event, OpId, SendOutcome};
use crate::client::testing::{Harness, P0, Sent, TOPIC, orders};
use crate::config::ProducerConfig;
use crate::probe::Probe;
use crate::types::{NodeId, Offset, ProducerEpoch, ProducerId, ResponseError, Sequence};
use crate::wire::batch::{Batch, BatchHeader};

fn config(given: &[(&str, &str)]) -> ProducerConfig {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    ProducerConfig::from_properties(&given.iter().map(own).collect()).expect("a test's own")
}

/// A producer that sends every record at once in a batch of its own.
fn eager(more: &[(&str, &str)]) -> Harness {
    let mut given = vec![("linger.ms", "0"), ("batch.size", "1")];
    given.extend(more);
    harness(&given)
}

fn harness(given: &[(&str, &str)]) -> Harness {
    Harness::new(ClientKind::Producer(config(given)), 1, None)
}

fn send(producer: &mut Harness, op: u64) {
    producer.command(Command::Send {
        op: OpId(op),
        topic: orders(),
        partition: Some(0),
        key: None,
        value: Bytes::from(format!("record {op}")),
        headers: Vec::new(),
    });
}

/// The header of the one batch in a request.
fn header(sent: &Sent) -> BatchHeader {
    let RequestKind::Produce(request) = &sent.body else {
        panic!("not a produce: {:?}", sent.body);
    };
    let partitions = &request
        .topic_data
        .first()
        .expect("one topic")
        .partition_data;
    let records = partitions.first().expect("one partition").records.as_ref();
    let batch = Batch::parse(records.expect("with records")).expect("a batch");
    assert!(batch.is_crc_valid());
    batch.header
}

/// (epoch, first sequence, first value's op) of each request that waits for an answer.
fn in_flight(producer: &Harness) -> Vec<(i16, i32)> {
    let brief = |sent: &Sent| {
        let header = header(sent);
        (header.producer_epoch.0, header.base_sequence.0)
    };
    producer.sent.iter().map(brief).collect()
}

fn response(error: Option<ResponseError>, base_offset: i64) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_base_offset(base_offset)
}

fn reply(producer: &mut Harness, partition: PartitionProduceResponse) {
    let sent = producer.sent.pop_front().expect("a request waits");
    let topic = TopicProduceResponse::default()
        .with_topic_id(TOPIC)
        .with_partition_responses(vec![partition]);
    let response = ProduceResponse::default().with_responses(vec![topic]);
    producer.answer(&sent, ResponseKind::Produce(response));
}

fn refuse(producer: &mut Harness, error: ResponseError) {
    reply(producer, response(Some(error), -1));
}

fn accept(producer: &mut Harness, base_offset: i64) {
    reply(producer, response(None, base_offset));
}

/// (op, offset, attempts) of each acknowledgement; anything else panics.
fn acknowledged(producer: &mut Harness) -> Vec<(u64, i64, u32)> {
    let brief = |event| match event {
        Event::Sent {
            op,
            outcome: SendOutcome::Acknowledged {
                offset, attempts, ..
            },
        } => (op.0, offset.0, attempts),
        other => panic!("{other:?}"),
    };
    producer.take_events().into_iter().map(brief).collect()
}

/// (op, error, attempts, definite) of each failure; anything else panics.
fn failed(producer: &mut Harness) -> Vec<(u64, ClientError, u32, bool)> {
    let brief = |event| match event {
        Event::Sent {
            op,
            outcome:
                SendOutcome::Failed {
                    error,
                    attempts,
                    definite,
                    ..
                },
        } => (op.0, error, attempts, definite),
        other => panic!("{other:?}"),
    };
    producer.take_events().into_iter().map(brief).collect()
}

#[test]
fn records_gather_for_linger_ms_and_go_as_one_batch() {
    let mut producer = harness(&[("linger.ms", "20")]);
    for op in 1..=3 {
        send(&mut producer, op);
    }
    producer.advance(19);
    assert!(producer.sent.is_empty());
    producer.advance(1);
    assert_eq!(header(&producer.sent[0]).record_count, 3);
    accept(&mut producer, 40);
    let acknowledged = acknowledged(&mut producer);
    assert_eq!(acknowledged, [(1, 40, 1), (2, 41, 1), (3, 42, 1)]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut producer = harness(&[("linger.ms", "1000"), ("batch.size", "200")]);
    for op in 1..=8 {
        send(&mut producer, op);
    }
    let counts: Vec<_> = producer
        .sent
        .iter()
        .map(|sent| header(sent).record_count)
        .collect();
    assert_eq!(counts, [3, 3], "the last two may get company");
}

#[test]
fn five_in_flight_keep_their_order_over_a_lost_connection() {
    let mut producer = eager(&[]);
    for op in 1..=7 {
        send(&mut producer, op);
    }
    let first_five = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)];
    assert_eq!(in_flight(&producer), first_five);
    producer.cut(1);
    producer.advance(2_000);
    // The first alone, until it is through: those behind it would be out of order.
    assert_eq!(in_flight(&producer), [(0, 0)]);
    accept(&mut producer, 0);
    let mut offset = 1;
    while !producer.sent.is_empty() {
        accept(&mut producer, offset);
        offset += 1;
    }
    let acknowledged = acknowledged(&mut producer);
    let order: Vec<(u64, i64)> = acknowledged.iter().map(|ack| (ack.0, ack.1)).collect();
    assert_eq!(
        order,
        [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6)]
    );
}

#[test]
fn only_the_first_refused_batch_is_sent_again_until_it_is_through() {
    let mut producer = eager(&[]);
    for op in 1..=3 {
        send(&mut producer, op);
    }
    refuse(&mut producer, ResponseError::NotEnoughReplicas);
    refuse(&mut producer, ResponseError::OutOfOrderSequenceNumber);
    refuse(&mut producer, ResponseError::OutOfOrderSequenceNumber);
    producer.advance(150);
    assert_eq!(in_flight(&producer), [(0, 0)]);
    assert_eq!(producer.probes, []);
}

#[test]
fn a_gap_bumps_the_epoch_and_renumbers_what_is_in_flight() {
    let mut producer = eager(&[]);
    for op in 1..=4 {
        send(&mut producer, op);
    }
    accept(&mut producer, 0);
    // The broker lost what it knew of sequence 1, the next in line.
    for _ in 0..3 {
        refuse(&mut producer, ResponseError::OutOfOrderSequenceNumber);
    }
    assert_eq!(producer.probes, [Probe::ProducerEpochBumped]);
    assert_eq!(acknowledged(&mut producer), [(1, 0, 1)]);
    producer.advance(150);
    for sequence in 0..3 {
        let first = in_flight(&producer)[0];
        assert_eq!(first, (1, sequence));
        accept(&mut producer, 1 + i64::from(sequence));
        producer.advance(150);
    }
    let renumbered = producer.take_events().into_iter().map(|event| match event {
        Event::Sent {
            outcome:
                SendOutcome::Acknowledged {
                    partition,
                    identity,
                    renumbered,
                    attempts,
                    ..
                },
            op,
        } => {
            assert_eq!((partition, renumbered, attempts), (P0, true, 2));
            (op.0, identity)
        }
        other => panic!("{other:?}"),
    });
    let identity = |sequence| Some((ProducerId(7), ProducerEpoch(1), Sequence(sequence)));
    assert_eq!(
        renumbered.collect::<Vec<_>>(),
        [(2, identity(0)), (3, identity(1)), (4, identity(2))]
    );
    // What comes next goes on in the new epoch.
    send(&mut producer, 5);
    assert_eq!(in_flight(&producer), [(1, 3)]);
}

#[test]
fn with_kafka_5494_the_newest_batch_goes_first_after_a_bump() {
    let kind = ClientKind::Producer(config(&[("linger.ms", "0"), ("batch.size", "1")]));
    let mut producer = Harness::new(kind, 1, Some(Bug::Kafka5494RenumberOrder));
    for op in 1..=4 {
        send(&mut producer, op);
    }
    accept(&mut producer, 0);
    for _ in 0..3 {
        refuse(&mut producer, ResponseError::OutOfOrderSequenceNumber);
    }
    producer.advance(150);
    for offset in 1..=3 {
        accept(&mut producer, offset);
        producer.advance(150);
    }
    let acknowledged = acknowledged(&mut producer);
    let order: Vec<u64> = acknowledged.iter().map(|ack| ack.0).collect();
    assert_eq!(order, [1, 4, 3, 2]);
}

#[test]
fn a_batch_that_the_broker_has_already_is_acknowledged_without_an_offset() {
    let mut producer = eager(&[]);
    send(&mut producer, 1);
    refuse(&mut producer, ResponseError::DuplicateSequenceNumber);
    assert_eq!(acknowledged(&mut producer), [(1, -1, 1)]);
}

#[test]
fn an_unanswered_batch_ends_at_the_delivery_timeout_and_may_have_had_an_effect() {
    let timeouts = [
        ("delivery.timeout.ms", "3000"),
        ("request.timeout.ms", "1000"),
    ];
    let mut producer = eager(&timeouts);
    send(&mut producer, 1);
    producer.silent.push(NodeId(1));
    producer.advance(2_999);
    assert_eq!(failed(&mut producer), []);
    producer.advance(1);
    assert_eq!(
        failed(&mut producer),
        [(1, ClientError::TimedOut, 1, false)]
    );
}

#[test]
fn a_batch_that_was_never_written_certainly_had_no_effect() {
    let timeouts = [
        ("delivery.timeout.ms", "3000"),
        ("request.timeout.ms", "1000"),
    ];
    let mut producer = eager(&timeouts);
    producer.down.push(NodeId(1));
    producer.cut(1);
    send(&mut producer, 1);
    producer.advance(3_000);
    assert_eq!(failed(&mut producer), [(1, ClientError::TimedOut, 0, true)]);
}

#[test]
fn refusals_before_the_append_are_definite_and_others_are_not() {
    for (error, definite) in [
        (ResponseError::InvalidRecord, true),
        (ResponseError::MessageTooLarge, true),
        (ResponseError::UnknownServerError, false),
    ] {
        let mut producer = eager(&[]);
        send(&mut producer, 1);
        refuse(&mut producer, error);
        let expected = [(1, ClientError::Broker(error), 1, definite)];
        assert_eq!(failed(&mut producer), expected);
    }
}

#[test]
fn one_unanswered_attempt_makes_a_later_refusal_indefinite() {
    let mut producer = eager(&[]);
    send(&mut producer, 1);
    producer.cut(1);
    producer.advance(500);
    refuse(&mut producer, ResponseError::InvalidRecord);
    let error = ClientError::Broker(ResponseError::InvalidRecord);
    assert_eq!(failed(&mut producer), [(1, error, 2, false)]);
}

#[test]
fn after_a_failed_batch_the_next_ones_go_on_in_a_new_epoch() {
    let mut producer = eager(&[]);
    send(&mut producer, 1);
    send(&mut producer, 2);
    refuse(&mut producer, ResponseError::InvalidRecord);
    assert_eq!(failed(&mut producer).len(), 1);
    refuse(&mut producer, ResponseError::OutOfOrderSequenceNumber);
    producer.advance(150);
    assert_eq!(in_flight(&producer), [(1, 0)]);
}

#[test]
fn an_expired_batch_that_may_be_there_holds_the_next_ones_until_it_is_resolved() {
    let timeouts = [
        ("delivery.timeout.ms", "3000"),
        ("request.timeout.ms", "1000"),
    ];
    let mut producer = eager(&timeouts);
    send(&mut producer, 1);
    refuse(&mut producer, ResponseError::NotEnoughReplicas);
    producer.advance(150);
    assert_eq!(in_flight(&producer), [(0, 0)]);
    producer.silent.push(NodeId(1));
    producer.cut(1);
    producer.advance(2_900);
    assert_eq!(failed(&mut producer).len(), 1);
    // Sequence 0 may or may not be taken, so the next batch starts a new epoch.
    send(&mut producer, 2);
    producer.silent.clear();
    producer.down.clear();
    producer.advance(20_000);
    assert_eq!(failed(&mut producer).len(), 1, "its own delivery timeout");
    send(&mut producer, 3);
    producer.advance(2_000);
    assert_eq!(in_flight(&producer), [(1, 0)]);
}

#[test]
fn without_sequences_a_retry_may_overtake() {
    let mut producer = eager(&[("enable.idempotence", "false")]);
    send(&mut producer, 1);
    send(&mut producer, 2);
    refuse(&mut producer, ResponseError::NotLeaderOrFollower);
    accept(&mut producer, 0);
    producer.advance(500);
    accept(&mut producer, 1);
    assert_eq!(acknowledged(&mut producer), [(2, 0, 1), (1, 1, 2)]);
}

#[test]
fn with_one_request_in_flight_nothing_overtakes() {
    let mut producer = eager(&[
        ("enable.idempotence", "false"),
        ("max.in.flight.requests.per.connection", "1"),
    ]);
    send(&mut producer, 1);
    send(&mut producer, 2);
    assert_eq!(producer.sent.len(), 1);
    refuse(&mut producer, ResponseError::NotLeaderOrFollower);
    producer.advance(500);
    accept(&mut producer, 0);
    accept(&mut producer, 1);
    assert_eq!(acknowledged(&mut producer), [(1, 0, 2), (2, 1, 1)]);
}

#[test]
fn with_acks_0_a_written_record_counts_as_acknowledged() {
    let mut producer = eager(&[("acks", "0")]);
    send(&mut producer, 1);
    send(&mut producer, 2);
    assert_eq!(acknowledged(&mut producer), [(1, -1, 1), (2, -1, 1)]);
    producer.advance(60_000);
    assert_eq!(producer.take_events(), []);
}

#[test]
fn a_leader_named_in_the_refusal_is_tried_at_once() {
    let mut producer = eager(&[]);
    send(&mut producer, 1);
    let moved = LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(2))
        .with_leader_epoch(2);
    let refusal = response(Some(ResponseError::NotLeaderOrFollower), -1);
    reply(&mut producer, refusal.with_current_leader(moved));
    assert_eq!(producer.sent[0].node, NodeId(2));
}

#[test]
fn a_broker_that_moved_is_reached_at_its_new_place() {
    let mut producer = eager(&[]);
    send(&mut producer, 1);
    let old = producer.sent[0].conn;
    producer.base_port = 9_500;
    // An unknown topic makes the producer ask for metadata.
    producer.command(Command::Send {
        op: OpId(2),
        topic: "other".to_owned().into(),
        partition: None,
        key: None,
        value: Bytes::new(),
        headers: Vec::new(),
    });
    producer.advance(150);
    let again = &producer.sent[0];
    assert_eq!((again.node, again.conn == old), (NodeId(1), false));
    accept(&mut producer, 0);
    assert_eq!(acknowledged(&mut producer), [(1, 0, 2)]);
}

#[test]
fn a_batch_that_is_too_large_goes_on_by_batch_size_and_then_in_halves() {
    let mut producer = harness(&[("linger.ms", "10")]);
    for op in 1..=4 {
        send(&mut producer, op);
    }
    producer.advance(10);
    let counts = |producer: &Harness| {
        let sent = producer.sent.iter();
        sent.map(|sent| header(sent).record_count)
            .collect::<Vec<_>>()
    };
    refuse(&mut producer, ResponseError::MessageTooLarge);
    assert_eq!(counts(&producer), [4], "all of it is below batch.size");
    refuse(&mut producer, ResponseError::MessageTooLarge);
    let halves = counts(&producer);
    assert!(halves.len() > 1 || halves[0] < 4, "{halves:?}");
    let mut offset = 0;
    while let Some(sent) = producer.sent.front() {
        let count = header(sent).record_count;
        accept(&mut producer, offset);
        offset += i64::from(count);
    }
    let acknowledged = acknowledged(&mut producer);
    let order: Vec<(u64, i64)> = acknowledged.iter().map(|ack| (ack.0, ack.1)).collect();
    assert_eq!(order, [(1, 0), (2, 1), (3, 2), (4, 3)]);
}

#[test]
fn a_send_to_an_unknown_topic_ends_after_max_block_ms() {
    let kind = ClientKind::Producer(config(&[("max.block.ms", "5000")]));
    let mut producer = Harness::new(kind, 0, None);
    send(&mut producer, 1);
    producer.advance(4_999);
    assert_eq!(producer.take_events(), []);
    producer.advance(1);
    assert_eq!(failed(&mut producer), [(1, ClientError::TimedOut, 0, true)]);
}

#[test]
fn a_send_waits_for_memory_and_then_gives_up() {
    let mut producer = eager(&[
        ("buffer.memory", "150"),
        ("max.block.ms", "1000"),
        ("max.request.size", "150"),
    ]);
    send(&mut producer, 1);
    send(&mut producer, 2);
    send(&mut producer, 3);
    assert_eq!(producer.sent.len(), 1);
    accept(&mut producer, 0);
    assert_eq!(acknowledged(&mut producer), [(1, 0, 1)]);
    producer.advance(1_000);
    let exhausted = ClientError::BufferExhausted;
    assert_eq!(failed(&mut producer), [(3, exhausted, 0, true)]);
}

#[test]
fn a_record_above_max_request_size_is_refused() {
    let mut producer = eager(&[("max.request.size", "50")]);
    send(&mut producer, 1);
    let too_large = ClientError::RecordTooLarge;
    assert_eq!(failed(&mut producer), [(1, too_large, 0, true)]);
}

#[test]
fn every_send_ends_although_no_producer_id_is_to_be_had() {
    let kind = ClientKind::Producer(config(&[
        ("delivery.timeout.ms", "4000"),
        ("request.timeout.ms", "3000"),
    ]));
    let mut producer = Harness::new(kind, 1, None);
    for node in 1..=3 {
        producer.cut(node);
        producer.silent.push(NodeId(node));
    }
    send(&mut producer, 1);
    producer.advance(70_000);
    assert_eq!(producer.take_events().len(), 1);
}

#[test]
fn close_waits_for_what_is_in_flight() {
    let mut producer = harness(&[("linger.ms", "60000")]);
    send(&mut producer, 1);
    producer.command(Command::Close { op: OpId(2) });
    send(&mut producer, 3);
    let closed = ClientError::Closed;
    assert_eq!(failed(&mut producer), [(3, closed, 0, true)]);
    accept(&mut producer, 9);
    let events = producer.take_events();
    assert!(
        matches!(
            &events[..],
            [
                Event::Sent {
                    outcome: SendOutcome::Acknowledged {
                        offset: Offset(9),
                        ..
                    },
                    ..
                },
                Event::Done {
                    op: OpId(2),
                    result: Ok(())
                }
            ]
        ),
        "{events:?}"
    );
}
