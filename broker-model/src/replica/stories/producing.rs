//! Produce and how it is answered.

use bytes::Bytes;
use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::rig::{Reply, T_0, World, n};
use crate::note::Note;
use crate::probe::Probe;
use crate::types::{ConnectionId, NodeId, ResponseError};
use crate::wire::batch::BatchIter;
use crate::wire::build::BatchBuilder;

/// A batch with those values.
pub(super) fn batch(values: &[&str]) -> Bytes {
    let mut batch = BatchBuilder::new();
    for value in values {
        batch.push(1_000_000, None, Some(value.as_bytes()), &[]);
    }
    batch.build()
}

/// Each record as `value@offset/epoch`.
pub(super) fn values(bytes: &[u8]) -> Vec<String> {
    let batches = BatchIter::new(bytes).map(|it| it.expect("a log's batch"));
    let records = batches.flat_map(|batch| {
        let epoch = batch.header.partition_leader_epoch;
        batch.records().map(move |record| {
            let record = record.expect("a log's record");
            let value = String::from_utf8_lossy(record.value.unwrap_or_default());
            format!("{value}@{}/{epoch}", record.offset)
        })
    });
    records.collect()
}

fn request(acks: i16, records: Bytes) -> RequestKind {
    let data = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_topic_id(T_0.topic)
        .with_partition_data(vec![data]);
    RequestKind::Produce(
        ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(1_500)
            .with_topic_data(vec![topic]),
    )
}

impl World {
    /// Produces one batch; whether and how it is answered is in `replies`.
    pub(super) fn produce(&mut self, to: NodeId, acks: i16, values: &[&str]) -> ConnectionId {
        self.ask(to, 13, &request(acks, batch(values)))
    }

    /// How a produce was answered, if it was.
    pub(super) fn produced(&self, conn: ConnectionId) -> Option<Result<i64, ResponseError>> {
        let answer = self.produce_answer(conn)?;
        Some(match ResponseError::try_from_code(answer.error_code) {
            None => Ok(answer.base_offset),
            Some(error) => Err(error),
        })
    }

    fn produce_answer(&self, conn: ConnectionId) -> Option<&PartitionProduceResponse> {
        match self.replies.get(&conn)? {
            Reply::Answered(body) => match &**body {
                ResponseKind::Produce(answer) => Some(&answer.responses[0].partition_responses[0]),
                other => panic!("a produce was answered with {other:?}"),
            },
            other => panic!("a produce ended in {other:?}"),
        }
    }
}

#[test]
fn acks_all_is_answered_when_every_member_of_the_isr_has_fetched_past_it() {
    let mut world = World::new();
    let produce = world.produce(n(1), -1, &["a", "b"]);
    assert_eq!(world.produced(produce), None);

    world.deaf = vec![n(3)];
    world.settle();
    assert_eq!(world.log(n(2)), "a@0/0 b@1/0");
    assert_eq!(world.produced(produce), None);

    world.deaf.clear();
    world.settle();
    assert_eq!(world.produced(produce), Some(Ok(0)));
    assert_eq!(world.high_watermark(n(1)), 2);
}

#[test]
fn acks_one_is_answered_at_once_and_acks_zero_never() {
    let mut world = World::new();
    let one = world.produce(n(1), 1, &["a"]);
    assert_eq!(world.produced(one), Some(Ok(0)));

    let zero = world.produce(n(1), 0, &["b"]);
    assert!(matches!(world.replies[&zero], Reply::Done));

    let corrupt = world.ask(n(1), 13, &request(0, Bytes::from_static(&[7; 80])));
    assert!(matches!(world.replies[&corrupt], Reply::Closed));
}

#[test]
fn a_produce_that_waits_is_failed_when_its_leader_is_demoted() {
    let mut world = World::new();
    world.deaf = vec![n(2), n(3)];
    let produce = world.produce(n(1), -1, &["a"]);
    world.settle();

    world.change(2, &[1, 2, 3]);
    world.apply(n(1));
    assert_eq!(
        world.produced(produce),
        Some(Err(ResponseError::NotLeaderOrFollower))
    );
    let leader = &world
        .produce_answer(produce)
        .expect("answered")
        .current_leader;
    assert_eq!((leader.leader_id.0, leader.leader_epoch), (2, 1));
    assert!(world.has_reached(n(1), Probe::DelayedProduceDemoted));
    let answered = world.notes(n(1)).iter().filter_map(|note| match note {
        Note::ProduceAnswered { error, last, .. } => Some((*error, last.0)),
        _ => None,
    });
    let expected = (Some(ResponseError::NotLeaderOrFollower), 0);
    assert_eq!(answered.collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_produce_that_waits_too_long_is_timed_out_and_may_still_commit() {
    let mut world = World::new();
    world.deaf = vec![n(3)];
    let produce = world.produce(n(1), -1, &["a"]);
    world.pass(1_499);
    assert_eq!(world.produced(produce), None);
    world.pass(1);
    assert_eq!(
        world.produced(produce),
        Some(Err(ResponseError::RequestTimedOut))
    );

    world.deaf.clear();
    world.settle();
    assert_eq!(world.high_watermark(n(1)), 1);
}

#[test]
fn acks_all_is_refused_while_the_isr_is_too_small() {
    let mut world = World::new();
    world.change(0, &[1]);
    world.apply(n(1));
    let all = world.produce(n(1), -1, &["a"]);
    assert_eq!(
        world.produced(all),
        Some(Err(ResponseError::NotEnoughReplicas))
    );
    assert!(world.has_reached(n(1), Probe::NotEnoughReplicas));

    // acks=1 is taken, but nothing commits before the ISR has two members again (KIP-966).
    let one = world.produce(n(1), 1, &["b"]);
    assert_eq!(world.produced(one), Some(Ok(0)));
    world.settle();
    assert_eq!(world.log(n(2)), "b@0/0");
    assert_eq!(world.high_watermark(n(1)), 0);
    world.answer_proposal(None);
    assert_eq!(world.high_watermark(n(1)), 1);
}

#[test]
fn a_partition_that_is_named_twice_is_written_once() {
    let mut world = World::new();
    let data = |value: &str| PartitionProduceData::default().with_records(Some(batch(&[value])));
    let topic = TopicProduceData::default()
        .with_topic_id(T_0.topic)
        .with_partition_data(vec![data("a"), data("b")]);
    let request = ProduceRequest::default()
        .with_acks(1)
        .with_topic_data(vec![topic]);
    let conn = world.ask(n(1), 13, &RequestKind::Produce(request));
    assert_eq!(world.produced(conn), Some(Ok(0)));
    assert_eq!(world.log(n(1)), "b@0/0");
}

#[test]
fn a_produce_whose_client_is_gone_is_forgotten() {
    let mut world = World::new();
    let produce = world.produce(n(1), -1, &["a"]);
    world.on(n(1), |replicas, _, _| replicas.on_closed(produce));
    world.settle();
    assert_eq!(world.high_watermark(n(1)), 1);
    assert!(!world.replies.contains_key(&produce));
}
