//! What consumers are served.

use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::FetchResponse;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::{BrokerId, RequestKind, ResponseKind, TopicName};

use super::producing::values;
use super::rig::{Reply, T_0, World, n};
use crate::types::{ConnectionId, NodeId, ResponseError, StrBytes};

/// A consumer's fetch.
fn fetch(offset: i64, edit: impl FnOnce(&mut FetchRequest, &mut FetchPartition)) -> RequestKind {
    let mut partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let mut request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1);
    edit(&mut request, &mut partition);
    let topic = FetchTopic::default()
        .with_topic_id(T_0.topic)
        .with_partitions(vec![partition]);
    RequestKind::Fetch(request.with_topics(vec![topic]))
}

impl World {
    fn consume(&mut self, from: NodeId, offset: i64) -> ConnectionId {
        self.ask(from, 17, &fetch(offset, |_, _| {}))
    }

    fn fetch_answer(&self, conn: ConnectionId) -> Option<&FetchResponse> {
        match self.replies.get(&conn)? {
            Reply::Answered(body) => match &**body {
                ResponseKind::Fetch(answer) => Some(answer),
                other => panic!("a fetch was answered with {other:?}"),
            },
            other => panic!("a fetch ended in {other:?}"),
        }
    }

    /// What a consumer got, if its fetch was answered.
    fn consumed(&self, conn: ConnectionId) -> Option<Result<String, ResponseError>> {
        let data = &self.fetch_answer(conn)?.responses[0].partitions[0];
        Some(match ResponseError::try_from_code(data.error_code) {
            Some(error) => Err(error),
            None => Ok(values(data.records.as_deref().unwrap_or_default()).join(" ")),
        })
    }

    /// The answer to ListOffsets for the latest offset.
    fn latest(&mut self, from: NodeId) -> (i16, i64) {
        let asked = ListOffsetsPartition::default()
            .with_current_leader_epoch(-1)
            .with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let conn = self.ask(from, 10, &RequestKind::ListOffsets(request));
        let Reply::Answered(body) = &self.replies[&conn] else {
            panic!("ListOffsets is answered at once");
        };
        let ResponseKind::ListOffsets(answer) = &**body else {
            panic!("ListOffsets is answered with ListOffsets");
        };
        let answer = &answer.topics[0].partitions[0];
        (answer.error_code, answer.offset)
    }

    /// Deletes the records before `to`, and waits until every replica has.
    pub(super) fn delete_records(&mut self, leader: NodeId, to: i64) {
        let partition = DeleteRecordsPartition::default().with_offset(to);
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default()
            .with_timeout_ms(5_000)
            .with_topics(vec![topic]);
        let conn = self.ask(leader, 2, &RequestKind::DeleteRecords(request));
        self.pass(5_000);
        let Some(Reply::Answered(body)) = self.replies.get(&conn) else {
            panic!("DeleteRecords is answered after its timeout");
        };
        let ResponseKind::DeleteRecords(answer) = &**body else {
            panic!("DeleteRecords is answered with DeleteRecords");
        };
        assert_eq!(self.hosted(leader).log.log_start().0, to);
        assert_eq!(answer.topics[0].partitions.len(), 1);
    }
}

#[test]
fn a_consumer_waits_for_the_high_watermark_not_for_the_log_end() {
    let mut world = World::new();
    world.deaf = vec![n(2), n(3)];
    world.produce(n(1), 1, &["a"]);
    let waiting = world.consume(n(1), 0);
    world.settle();
    assert_eq!(world.consumed(waiting), None);

    world.deaf.clear();
    world.settle();
    assert_eq!(world.consumed(waiting), Some(Ok("a@0/0".to_owned())));
}

#[test]
fn a_fetch_that_finds_nothing_is_answered_when_its_wait_is_over() {
    let mut world = World::new();
    let waiting = world.consume(n(1), 0);
    world.pass(499);
    assert_eq!(world.consumed(waiting), None);
    world.pass(1);
    assert_eq!(world.consumed(waiting), Some(Ok(String::new())));
}

#[test]
fn whoever_names_another_leader_epoch_is_told() {
    let mut world = World::new();
    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    let mut in_epoch = |epoch| {
        let fetch = fetch(0, |_, it| it.current_leader_epoch = epoch);
        let conn = world.ask(n(1), 17, &fetch);
        world.consumed(conn)
    };
    assert_eq!(in_epoch(0), Some(Err(ResponseError::FencedLeaderEpoch)));
    assert_eq!(in_epoch(2), Some(Err(ResponseError::UnknownLeaderEpoch)));
}

#[test]
fn a_waiting_fetch_is_answered_when_its_epoch_ends() {
    let mut world = World::new();
    let fetch = fetch(0, |_, it| it.current_leader_epoch = 0);
    let waiting = world.ask(n(1), 17, &fetch);
    world.change(2, &[1, 2, 3]);
    world.apply(n(1));
    assert_eq!(
        world.consumed(waiting),
        Some(Err(ResponseError::FencedLeaderEpoch))
    );
}

#[test]
fn an_offset_outside_the_log_is_out_of_range() {
    let mut world = World::new();
    world.produce(n(1), -1, &["a"]);
    world.settle();
    let beyond = world.consume(n(1), 2);
    assert_eq!(
        world.consumed(beyond),
        Some(Err(ResponseError::OffsetOutOfRange))
    );
    world.delete_records(n(1), 1);
    let before = world.consume(n(1), 0);
    assert_eq!(
        world.consumed(before),
        Some(Err(ResponseError::OffsetOutOfRange))
    );
}

#[test]
fn a_consumer_whose_history_is_another_one_is_told_where_it_parts() {
    let mut world = World::new();
    world.produce(n(1), -1, &["a"]);
    world.settle();
    world.change(1, &[1, 2, 3]);
    world.apply(n(1));
    world.change(2, &[1, 2, 3]);
    world.apply(n(2));
    let fetch = fetch(3, |_, it| it.last_fetched_epoch = 1);
    let conn = world.ask(n(2), 17, &fetch);
    let data = &world.fetch_answer(conn).expect("at once").responses[0].partitions[0];
    let diverging = &data.diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 1));
}

#[test]
fn an_incremental_session_tells_only_news() {
    let mut world = World::new();
    let open = fetch(0, |it, _| {
        it.session_epoch = 0;
        it.max_wait_ms = 0;
    });
    let conn = world.ask(n(1), 17, &open);
    let session = world.fetch_answer(conn).expect("at once").session_id;
    assert!(0 < session);

    let go_on = |epoch, max_wait_ms| {
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(1 << 20)
            .with_min_bytes(1)
            .with_max_wait_ms(max_wait_ms)
            .with_session_id(session)
            .with_session_epoch(epoch);
        RequestKind::Fetch(request)
    };
    let conn = world.ask(n(1), 17, &go_on(1, 0));
    assert!(
        world
            .fetch_answer(conn)
            .expect("at once")
            .responses
            .is_empty()
    );

    let conn = world.ask(n(1), 17, &go_on(5, 0));
    let code = world.fetch_answer(conn).expect("at once").error_code;
    assert_eq!(code, ResponseError::InvalidFetchSessionEpoch.code());

    let waiting = world.ask(n(1), 17, &go_on(2, 500));
    world.produce(n(1), -1, &["a"]);
    world.settle();
    assert_eq!(world.consumed(waiting), Some(Ok("a@0/0".to_owned())));
}

#[test]
fn a_new_leader_tells_no_latest_offset_before_its_high_watermark_is_sure() {
    let mut world = World::new();
    let produce = world.produce(n(1), -1, &["a"]);
    while world.produced(produce).is_none() {
        assert!(world.deliver_request() || world.deliver_answer());
    }
    assert_eq!(world.latest(n(1)), (0, 1));
    world.change(2, &[1, 2, 3]);
    world.apply(n(2));
    assert_eq!(
        world.latest(n(2)),
        (ResponseError::OffsetNotAvailable.code(), -1)
    );
    world.apply(n(1));
    world.apply(n(3));
    world.settle();
    world.pass(1_000);
    assert_eq!(world.latest(n(2)), (0, 1));
}
