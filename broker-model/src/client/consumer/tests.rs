//! Stories of a consumer, told with hand-fed answers.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochResponse,
    RequestKind, ResponseKind, TopicName,
};

use crate::client::ClientKind;
use crate::client::command::{ClientError, Command, Event, OpId, ResetReason, StartFrom};
use crate::client::testing::{Harness, P0, Sent, TOPIC, orders};
use crate::config::ConsumerConfig;
use crate::probe::Probe;
use crate::types::{LeaderEpoch, NodeId, Offset, ResponseError, TopicPartition};
use crate::wire::build::BatchBuilder;

fn consumer(given: &[(&str, &str)]) -> Harness {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let config = ConsumerConfig::from_properties(&given.iter().map(own).collect());
    Harness::new(ClientKind::Consumer(config.expect("a test's own")), 2, None)
}

fn p(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: orders(),
        partition,
    }
}

fn assign(consumer: &mut Harness, from: StartFrom) {
    consumer.command(Command::Assign {
        partitions: vec![(p(0), from)],
    });
}

fn poll(consumer: &mut Harness, op: u64, timeout_ms: u64) {
    let op = OpId(op);
    consumer.command(Command::Poll { op, timeout_ms });
}

fn batch(base: i64, epoch: i32, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(epoch));
    for _ in 0..records {
        builder.push(5, None, Some(b"v"), &[]);
    }
    builder.build().to_vec()
}

/// The next request that waits, which must be a fetch.
fn next_fetch(consumer: &mut Harness) -> (Sent, FetchRequest) {
    let sent = consumer.sent.pop_front().expect("a fetch waits");
    let RequestKind::Fetch(fetch) = &sent.body else {
        panic!("not a fetch: {:?}", sent.body);
    };
    let fetch = fetch.clone();
    (sent, fetch)
}

fn fetched_from(fetch: &FetchRequest) -> Vec<i64> {
    let partitions = fetch.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.fetch_offset).collect()
}

fn answer_fetch(consumer: &mut Harness, sent: &Sent, partition: PartitionData) {
    let topic = FetchableTopicResponse::default()
        .with_topic_id(TOPIC)
        .with_partitions(vec![partition]);
    let response = FetchResponse::default()
        .with_session_id(77)
        .with_responses(vec![topic]);
    consumer.answer(sent, ResponseKind::Fetch(response));
}

fn records(bytes: Vec<u8>) -> PartitionData {
    PartitionData::default().with_records(Some(Bytes::from(bytes)))
}

fn refusal(error: ResponseError) -> PartitionData {
    PartitionData::default().with_error_code(error.code())
}

fn answer_offset(consumer: &mut Harness, offset: i64) {
    let sent = consumer.sent.pop_front().expect("a lookup waits");
    assert!(
        matches!(sent.body, RequestKind::ListOffsets(_)),
        "{:?}",
        sent.body
    );
    let partition = ListOffsetsPartitionResponse::default().with_offset(offset);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(TopicName(orders()))
        .with_partitions(vec![partition]);
    let response = ListOffsetsResponse::default().with_topics(vec![topic]);
    consumer.answer(&sent, ResponseKind::ListOffsets(response));
}

fn answer_epoch_end(consumer: &mut Harness, epoch: i32, end: i64) {
    let sent = consumer.sent.pop_front().expect("a validation waits");
    let RequestKind::OffsetForLeaderEpoch(_) = &sent.body else {
        panic!("not a validation: {:?}", sent.body);
    };
    let partition = EpochEndOffset::default()
        .with_leader_epoch(epoch)
        .with_end_offset(end);
    let topic = OffsetForLeaderTopicResult::default()
        .with_topic(TopicName(orders()))
        .with_partitions(vec![partition]);
    let response = OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
    consumer.answer(&sent, ResponseKind::OffsetForLeaderEpoch(response));
}

fn reset(from: i64, to: i64, why: ResetReason) -> Event {
    Event::Reset {
        partition: P0,
        from: Offset(from),
        to: Offset(to),
        why,
    }
}

/// (op, partition, from, to, offsets) of each poll's parts; resets are left out.
fn polled(consumer: &mut Harness) -> Vec<(u64, i32, i64, i64, Vec<i64>)> {
    let mut all = Vec::new();
    for event in consumer.take_events() {
        let Event::Polled { op, parts } = event else {
            continue;
        };
        for part in parts {
            let offsets = part.records.iter().map(|record| record.offset.0);
            let index = part.partition.partition;
            all.push((op.0, index, part.from.0, part.to.0, offsets.collect()));
        }
    }
    all
}

/// A consumer at offset 5, having read a batch of leader epoch 1.
fn at_offset_5() -> Harness {
    let mut consumer = consumer(&[("auto.offset.reset", "earliest")]);
    assign(&mut consumer, StartFrom::At(Offset(0)));
    poll(&mut consumer, 1, 1_000);
    let (sent, _) = next_fetch(&mut consumer);
    answer_fetch(&mut consumer, &sent, records(batch(0, 1, 5)));
    assert_eq!(polled(&mut consumer).len(), 1);
    consumer
}

fn position(consumer: &mut Harness, partition: i32) -> Vec<Result<i64, ClientError>> {
    let (op, partition) = (OpId(9), p(partition));
    consumer.command(Command::Position { op, partition });
    positions(consumer)
}

fn positions(consumer: &mut Harness) -> Vec<Result<i64, ClientError>> {
    let events = consumer.take_events().into_iter();
    let told = events.filter_map(|event| match event {
        Event::Position { result, .. } => Some(result.map(|offset| offset.0)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_position_is_told_when_it_is_known() {
    assert_eq!(position(&mut at_offset_5(), 0), [Ok(5)]);
    let unknown = || {
        let mut consumer = consumer(&[("default.api.timeout.ms", "8000")]);
        assign(&mut consumer, StartFrom::Beginning);
        assert_eq!(position(&mut consumer, 0), []);
        consumer
    };
    let mut found = unknown();
    answer_offset(&mut found, 3);
    assert_eq!(positions(&mut found), [Ok(3)]);
    let mut late = unknown();
    late.advance(7_999);
    assert_eq!(positions(&mut late), []);
    late.advance(1);
    assert_eq!(positions(&mut late), [Err(ClientError::TimedOut)]);
    let mut woken = unknown();
    woken.command(Command::Wakeup);
    assert_eq!(positions(&mut woken), [Err(ClientError::Wakeup)]);
    let mut closed = unknown();
    closed.command(Command::Close { op: OpId(10) });
    assert_eq!(positions(&mut closed), [Err(ClientError::Closed)]);
    let not_assigned = Err(ClientError::NotAssigned);
    assert_eq!(position(&mut unknown(), 1), [not_assigned]);
}

#[test]
fn a_start_is_looked_up_and_then_fetched_from() {
    let mut consumer = consumer(&[]);
    assign(&mut consumer, StartFrom::Beginning);
    answer_offset(&mut consumer, 3);
    assert_eq!(consumer.take_events(), [reset(-1, 3, ResetReason::Start)]);
    assert!(consumer.sent.is_empty(), "nobody polls yet");
    poll(&mut consumer, 1, 1_000);
    let (sent, fetch) = next_fetch(&mut consumer);
    assert_eq!(fetched_from(&fetch), [3]);
    answer_fetch(&mut consumer, &sent, records(batch(0, 1, 5)));
    assert_eq!(polled(&mut consumer), [(1, 0, 3, 5, vec![3, 4])]);
    // The next one is fetched ahead, within the session.
    let (_, fetch) = next_fetch(&mut consumer);
    assert_eq!((fetch.session_id, fetch.session_epoch), (77, 1));
    assert_eq!(fetched_from(&fetch), [5]);
}

#[test]
fn a_poll_returns_at_most_max_poll_records() {
    let mut consumer = consumer(&[("max.poll.records", "2")]);
    assign(&mut consumer, StartFrom::At(Offset(0)));
    poll(&mut consumer, 1, 1_000);
    let (sent, _) = next_fetch(&mut consumer);
    answer_fetch(&mut consumer, &sent, records(batch(0, 1, 3)));
    assert_eq!(polled(&mut consumer), [(1, 0, 0, 2, vec![0, 1])]);
    assert!(consumer.sent.is_empty(), "what is buffered comes first");
    poll(&mut consumer, 2, 1_000);
    assert_eq!(polled(&mut consumer), [(2, 0, 2, 3, vec![2])]);
    assert_eq!(consumer.sent.len(), 1);
}

#[test]
fn a_poll_without_records_ends_at_its_timeout() {
    let mut consumer = consumer(&[]);
    assign(&mut consumer, StartFrom::At(Offset(0)));
    consumer.take_events();
    poll(&mut consumer, 1, 700);
    consumer.advance(699);
    assert_eq!(consumer.take_events(), []);
    consumer.advance(1);
    let empty = Event::Polled {
        op: OpId(1),
        parts: Vec::new(),
    };
    assert_eq!(consumer.take_events(), [empty]);
}

#[test]
fn after_a_leader_change_the_position_is_validated_before_it_is_fetched() {
    let mut consumer = at_offset_5();
    poll(&mut consumer, 2, 10_000);
    let (sent, _) = next_fetch(&mut consumer);
    consumer.leaders[0] = (2, 2);
    answer_fetch(
        &mut consumer,
        &sent,
        refusal(ResponseError::NotLeaderOrFollower),
    );
    consumer.advance(150);
    // Meanwhile the old leader was asked once more.
    consumer.sent.retain(|sent| sent.node == NodeId(2));
    assert_eq!(consumer.sent.len(), 1, "validation first");
    answer_epoch_end(&mut consumer, 1, 5);
    let (sent, fetch) = next_fetch(&mut consumer);
    assert_eq!((sent.node, fetched_from(&fetch)), (NodeId(2), vec![5]));
    assert_eq!(consumer.take_events(), []);
}

#[test]
fn a_log_that_was_cut_below_the_position_is_noticed() {
    let mut consumer = at_offset_5();
    poll(&mut consumer, 2, 10_000);
    let (sent, _) = next_fetch(&mut consumer);
    let named = LeaderIdAndEpoch::default()
        .with_leader_id(BrokerId(3))
        .with_leader_epoch(2);
    let refusal = refusal(ResponseError::FencedLeaderEpoch).with_current_leader(named);
    answer_fetch(&mut consumer, &sent, refusal);
    answer_epoch_end(&mut consumer, 1, 3);
    assert_eq!(
        consumer.take_events(),
        [reset(5, 3, ResetReason::Truncated)]
    );
    assert_eq!(consumer.probes, [Probe::ConsumerTruncationDetected]);
    let (sent, fetch) = next_fetch(&mut consumer);
    assert_eq!((sent.node, fetched_from(&fetch)), (NodeId(3), vec![3]));
    answer_fetch(&mut consumer, &sent, records(batch(3, 2, 1)));
    assert_eq!(polled(&mut consumer), [(2, 0, 3, 4, vec![3])]);
}

#[test]
fn a_leader_without_the_positions_epoch_makes_the_consumer_start_over() {
    let mut consumer = at_offset_5();
    consumer.sent.clear();
    consumer.leaders[0] = (2, 2);
    consumer.cut(1);
    consumer.advance(150);
    answer_epoch_end(&mut consumer, -1, -1);
    answer_offset(&mut consumer, 0);
    assert_eq!(
        consumer.take_events(),
        [reset(5, 0, ResetReason::Truncated)]
    );
}

#[test]
fn a_position_out_of_range_is_reset_by_the_policy() {
    let mut consumer = at_offset_5();
    poll(&mut consumer, 2, 10_000);
    let (sent, _) = next_fetch(&mut consumer);
    answer_fetch(
        &mut consumer,
        &sent,
        refusal(ResponseError::OffsetOutOfRange),
    );
    answer_offset(&mut consumer, 8);
    assert_eq!(
        consumer.take_events(),
        [reset(5, 8, ResetReason::OutOfRange)]
    );
    assert_eq!(consumer.probes, [Probe::ConsumerReset]);
    let (_, fetch) = next_fetch(&mut consumer);
    assert_eq!(fetched_from(&fetch), [8]);
}

#[test]
fn a_start_by_age_is_asked_for_until_a_record_is_young_enough() {
    let mut consumer = consumer(&[("auto.offset.reset", "by_duration:PT1M")]);
    let asked = |consumer: &Harness| match &consumer.sent[0].body {
        RequestKind::ListOffsets(request) => request.topics[0].partitions[0].timestamp,
        other => panic!("not a lookup: {other:?}"),
    };
    assign(&mut consumer, StartFrom::Reset);
    poll(&mut consumer, 1, 100_000);
    let first = asked(&consumer);
    assert_eq!(first, consumer.now.wall_ms - 60_000);
    answer_offset(&mut consumer, -1);
    consumer.advance(29_999);
    assert!(consumer.sent.is_empty(), "as long as a request may take");
    consumer.advance(1);
    assert_eq!(asked(&consumer), first + 30_000);
    answer_offset(&mut consumer, 7);
    assert_eq!(consumer.take_events(), [reset(-1, 7, ResetReason::Start)]);
}

#[test]
fn without_a_policy_a_position_out_of_range_stays() {
    let mut consumer = consumer(&[("auto.offset.reset", "none")]);
    assign(&mut consumer, StartFrom::At(Offset(9)));
    poll(&mut consumer, 1, 10_000);
    consumer.take_events();
    let (sent, _) = next_fetch(&mut consumer);
    answer_fetch(
        &mut consumer,
        &sent,
        refusal(ResponseError::OffsetOutOfRange),
    );
    assert!(consumer.sent.is_empty());
    consumer.advance(150);
    let (_, fetch) = next_fetch(&mut consumer);
    assert_eq!(
        fetched_from(&fetch),
        Vec::<i64>::new(),
        "unchanged in the session"
    );
    assert_eq!(consumer.take_events(), []);
}

#[test]
fn records_fetched_before_a_seek_are_dropped() {
    let mut consumer = consumer(&[]);
    assign(&mut consumer, StartFrom::At(Offset(0)));
    poll(&mut consumer, 1, 0);
    let (sent, _) = next_fetch(&mut consumer);
    consumer.command(Command::Seek {
        partition: p(0),
        to: StartFrom::At(Offset(2)),
    });
    answer_fetch(&mut consumer, &sent, records(batch(0, 1, 5)));
    consumer.take_events();
    poll(&mut consumer, 2, 1_000);
    assert_eq!(polled(&mut consumer), []);
    let (sent, fetch) = next_fetch(&mut consumer);
    assert_eq!(fetched_from(&fetch), [2]);
    answer_fetch(&mut consumer, &sent, records(batch(0, 1, 5)));
    assert_eq!(polled(&mut consumer), [(2, 0, 2, 5, vec![2, 3, 4])]);
}

#[test]
fn end_offsets_are_looked_up_until_the_api_timeout() {
    let mut consumer = consumer(&[("default.api.timeout.ms", "5000")]);
    let ask = |op| Command::EndOffsets {
        op: OpId(op),
        partitions: vec![p(0)],
    };
    consumer.command(ask(1));
    answer_offset(&mut consumer, 12);
    let found = Event::Offsets {
        op: OpId(1),
        result: Ok(vec![(P0, Offset(12))]),
    };
    assert_eq!(consumer.take_events(), [found]);
    consumer.silent.push(NodeId(1));
    consumer.command(ask(2));
    consumer.advance(5_000);
    let timed_out = Event::Offsets {
        op: OpId(2),
        result: Err(ResponseError::RequestTimedOut),
    };
    assert_eq!(consumer.take_events(), [timed_out]);
}

#[test]
fn partitions_of_one_broker_share_a_fetch() {
    let mut consumer = consumer(&[]);
    consumer.command(Command::Assign {
        partitions: vec![
            (p(0), StartFrom::At(Offset(1))),
            (p(1), StartFrom::At(Offset(2))),
        ],
    });
    poll(&mut consumer, 1, 1_000);
    let (sent, fetch) = next_fetch(&mut consumer);
    assert_eq!(fetched_from(&fetch), [1, 2]);
    let parts = [
        records(batch(1, 1, 1)),
        records(batch(2, 1, 1)).with_partition_index(1),
    ];
    let topic = FetchableTopicResponse::default()
        .with_topic_id(TOPIC)
        .with_partitions(parts.to_vec());
    let response = FetchResponse::default().with_responses(vec![topic]);
    consumer.answer(&sent, ResponseKind::Fetch(response));
    assert_eq!(
        polled(&mut consumer),
        [(1, 0, 1, 2, vec![1]), (1, 1, 2, 3, vec![2])]
    );
}

#[test]
fn a_closed_consumer_ends_every_call() {
    let mut consumer = consumer(&[]);
    assign(&mut consumer, StartFrom::At(Offset(0)));
    poll(&mut consumer, 1, 60_000);
    consumer.take_events();
    consumer.command(Command::Close { op: OpId(2) });
    poll(&mut consumer, 3, 60_000);
    let empty = |op| Event::Polled {
        op: OpId(op),
        parts: Vec::new(),
    };
    let done = Event::Done {
        op: OpId(2),
        result: Ok(()),
    };
    assert_eq!(consumer.take_events(), [empty(1), done, empty(3)]);
}
