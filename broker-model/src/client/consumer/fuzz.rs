//! A consumer against naive brokers and many bad days: it reads every record once and in order,
//! and notices when a log was cut below it.

use std::collections::BTreeMap;

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
    BrokerId, FetchRequest, FetchResponse, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, RequestKind, ResponseKind, TopicName,
};

use crate::client::ClientKind;
use crate::client::command::{Command, Event, OpId, ResetReason, StartFrom};
use crate::client::testing::{Harness, P0, Sent, TOPIC, orders};
use crate::config::ConsumerConfig;
use crate::ids::IdSource;
use crate::types::{LeaderEpoch, Offset, ResponseError, TopicPartition};
use crate::wire::build::BatchBuilder;

/// A batch in the log: values that were never used before.
#[derive(Debug)]
struct Written {
    epoch: i32,
    values: Vec<u64>,
}

/// What one broker knows of a fetch session.
#[derive(Debug)]
struct Session {
    epoch: i32,
    /// (offset, current leader epoch) of the one partition, while it is in the session.
    wanted: Option<(i64, i32)>,
}

struct Day {
    consumer: Harness,
    luck: IdSource,
    log: Vec<Written>,
    sessions: BTreeMap<(i32, i32), Session>,
    next_session: i32,
    next_value: u64,
    polling: bool,
    /// What the application read, by offset; a reset takes back what lies behind it.
    read: BTreeMap<i64, u64>,
    position: Option<i64>,
    truncations: u32,
}

impl Day {
    fn new(seed: u64) -> Day {
        let given = [
            ("auto.offset.reset", "earliest"),
            ("request.timeout.ms", "2000"),
            ("max.poll.records", "4"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let config = ConsumerConfig::from_properties(&given.into_iter().map(own).collect());
        let kind = ClientKind::Consumer(config.expect("a test's own"));
        let mut day = Day {
            consumer: Harness::new(kind, 1, None),
            luck: IdSource::new(seed),
            log: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 1,
            next_value: 0,
            polling: false,
            read: BTreeMap::new(),
            position: None,
            truncations: 0,
        };
        let partition = TopicPartition {
            topic: orders(),
            partition: 0,
        };
        day.consumer.command(Command::Assign {
            partitions: vec![(partition, StartFrom::Beginning)],
        });
        day
    }

    fn live(&mut self, unclean: bool) {
        for _ in 0..400 {
            match self.luck.below(100) {
                0..25 => self.write(),
                25..65 => self.answer(),
                65..70 => {
                    let node = self.node();
                    self.consumer.cut(node);
                }
                70..74 => self.move_leader(unclean),
                74..76 => self.sessions.clear(),
                76..98 => {
                    let ms = self.luck.below(100);
                    self.consumer.advance(ms);
                }
                _ => {
                    let ms = self.luck.below(5_000);
                    self.consumer.advance(ms);
                }
            }
            self.poll();
        }
        for _ in 0..400 {
            self.answer();
            self.consumer.advance(20);
            self.poll();
        }
    }

    fn node(&mut self) -> i32 {
        i32::try_from(1 + self.luck.below(3)).expect("small")
    }

    fn write(&mut self) {
        let values = 1 + self.luck.below(3);
        let epoch = self.consumer.leaders[0].1;
        let values = (self.next_value..self.next_value + values).collect();
        self.log.push(Written { epoch, values });
        self.next_value += 3;
    }

    fn move_leader(&mut self, unclean: bool) {
        let (leader, epoch) = (self.node(), self.consumer.leaders[0].1 + 1);
        if unclean {
            let lost = usize::try_from(self.luck.below(4)).expect("small");
            self.log.truncate(self.log.len().saturating_sub(lost));
        }
        self.consumer.leaders[0] = (leader, epoch);
        self.write();
    }

    fn log_end(&self) -> i64 {
        let counts = self.log.iter().map(|batch| batch.values.len() as i64);
        counts.sum()
    }

    fn poll(&mut self) {
        for event in self.consumer.take_events() {
            match event {
                Event::Reset {
                    partition,
                    from,
                    to,
                    why,
                } => {
                    assert_eq!(partition, P0);
                    let known = self.position.unwrap_or(-1);
                    assert_eq!(from.0, known, "a reset from somewhere else");
                    self.position = Some(to.0);
                    self.read.retain(|offset, _| *offset < to.0);
                    self.truncations += u32::from(why == ResetReason::Truncated);
                }
                Event::Polled { parts, .. } => {
                    self.polling = false;
                    for part in parts {
                        assert_eq!(Some(part.from.0), self.position, "a jump");
                        for (offset, record) in (part.from.0..).zip(&part.records) {
                            assert_eq!(record.offset.0, offset, "a gap");
                            let value = record.value.as_ref().expect("with a value");
                            let value = u64::from_be_bytes(*value.first_chunk().expect("8 bytes"));
                            self.read.insert(offset, value);
                        }
                        assert_eq!(part.to.0 - part.from.0, part.records.len() as i64);
                        self.position = Some(part.to.0);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        if !self.polling {
            self.polling = true;
            self.consumer.command(Command::Poll {
                op: OpId(0),
                timeout_ms: 300,
            });
        }
    }

    /// Answers the oldest request.
    fn answer(&mut self) {
        let Some(sent) = self.consumer.sent.pop_front() else {
            return;
        };
        let body = match &sent.body {
            RequestKind::Fetch(fetch) => ResponseKind::Fetch(self.fetch(&sent, fetch)),
            RequestKind::ListOffsets(_) => {
                let error = self.leader_error(&sent, None);
                let partition = ListOffsetsPartitionResponse::default()
                    .with_error_code(error.map_or(0, |error| error.code()))
                    .with_leader_epoch(if error.is_none() { 0 } else { -1 })
                    .with_offset(if error.is_none() { 0 } else { -1 });
                let topic = ListOffsetsTopicResponse::default()
                    .with_name(TopicName(orders()))
                    .with_partitions(vec![partition]);
                let response = ListOffsetsResponse::default().with_topics(vec![topic]);
                ResponseKind::ListOffsets(response)
            }
            RequestKind::OffsetForLeaderEpoch(ask) => {
                ResponseKind::OffsetForLeaderEpoch(self.epoch_end(&sent, ask))
            }
            other => panic!("{other:?}"),
        };
        self.consumer.answer(&sent, body);
    }

    fn leader_error(&self, sent: &Sent, epoch: Option<i32>) -> Option<ResponseError> {
        let (leader, current) = self.consumer.leaders[0];
        if sent.node.0 != leader {
            return Some(ResponseError::NotLeaderOrFollower);
        }
        match epoch {
            Some(epoch) if epoch < current => Some(ResponseError::FencedLeaderEpoch),
            Some(epoch) if epoch > current => Some(ResponseError::UnknownLeaderEpoch),
            _ => None,
        }
    }

    fn epoch_end(
        &self,
        sent: &Sent,
        ask: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let ask = &ask.topics[0].partitions[0];
        let mut answer = EpochEndOffset::default();
        match self.leader_error(sent, Some(ask.current_leader_epoch)) {
            Some(error) => answer = answer.with_error_code(error.code()),
            None => {
                let mut end = 0;
                for batch in self
                    .log
                    .iter()
                    .filter(|batch| batch.epoch <= ask.leader_epoch)
                {
                    end += batch.values.len() as i64;
                    answer = answer.with_leader_epoch(batch.epoch).with_end_offset(end);
                }
            }
        }
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(TopicName(orders()))
            .with_partitions(vec![answer]);
        OffsetForLeaderEpochResponse::default().with_topics(vec![topic])
    }

    /// Fetch with sessions, as far as one partition goes.
    fn fetch(&mut self, sent: &Sent, fetch: &FetchRequest) -> FetchResponse {
        let asked = fetch.topics.first().map(|topic| {
            let partition = &topic.partitions[0];
            (partition.fetch_offset, partition.current_leader_epoch)
        });
        let full = fetch.session_epoch == 0;
        let id = if full {
            self.sessions.remove(&(sent.node.0, fetch.session_id));
            self.next_session += 1;
            let session = Session {
                epoch: 0,
                wanted: None,
            };
            let id = self.next_session;
            self.sessions.insert((sent.node.0, id), session);
            id
        } else {
            fetch.session_id
        };
        let refuse = |error: ResponseError| FetchResponse::default().with_error_code(error.code());
        let Some(session) = self.sessions.get_mut(&(sent.node.0, id)) else {
            return refuse(ResponseError::FetchSessionIdNotFound);
        };
        if session.epoch != fetch.session_epoch {
            return refuse(ResponseError::InvalidFetchSessionEpoch);
        }
        session.epoch += 1;
        if !fetch.forgotten_topics_data.is_empty() {
            session.wanted = None;
        }
        session.wanted = asked.or(session.wanted);
        let response = FetchResponse::default().with_session_id(id);
        let Some((offset, epoch)) = session.wanted else {
            return response;
        };
        let data = self.read_from(sent, offset, epoch);
        if !full && data.error_code == 0 && data.records.is_none() {
            return response;
        }
        let topic = FetchableTopicResponse::default()
            .with_topic_id(TOPIC)
            .with_partitions(vec![data]);
        response.with_responses(vec![topic])
    }

    fn read_from(&self, sent: &Sent, offset: i64, epoch: i32) -> PartitionData {
        let (leader, current) = self.consumer.leaders[0];
        let data = PartitionData::default();
        if let Some(error) = self.leader_error(sent, Some(epoch)) {
            let named = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(current);
            return data
                .with_error_code(error.code())
                .with_current_leader(named);
        }
        if offset > self.log_end() {
            return data.with_error_code(ResponseError::OffsetOutOfRange.code());
        }
        let (mut base, mut bytes) = (0, Vec::new());
        for batch in &self.log {
            let end = base + batch.values.len() as i64;
            if offset < end && bytes.len() < 200 {
                let place = (Offset(base), LeaderEpoch(batch.epoch));
                let mut builder = BatchBuilder::new().at(place.0, place.1);
                for value in &batch.values {
                    builder.push(5, None, Some(&value.to_be_bytes()), &[]);
                }
                bytes.extend_from_slice(&builder.build());
            }
            base = end;
        }
        let records = (!bytes.is_empty()).then(|| Bytes::from(bytes));
        data.with_records(records)
    }

    fn holds(&self, seed: u64) {
        let values = self.log.iter().flat_map(|batch| &batch.values).copied();
        let log: BTreeMap<i64, u64> = (0..).zip(values).collect();
        assert_eq!(self.read, log, "seed {seed}");
    }
}

#[test]
fn a_consumer_reads_everything_once_and_in_order() {
    for seed in 0..200 {
        let mut day = Day::new(seed);
        day.live(false);
        day.holds(seed);
        assert_eq!(day.truncations, 0, "seed {seed}");
    }
}

#[test]
fn a_consumer_notices_every_cut() {
    let mut truncations = 0;
    for seed in 0..200 {
        let mut day = Day::new(seed);
        day.live(true);
        day.holds(seed);
        truncations += day.truncations;
    }
    assert!(truncations > 200, "{truncations}");
}
