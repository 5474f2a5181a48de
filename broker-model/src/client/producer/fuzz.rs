//! A producer against a naive broker and a thousand bad days: what was acknowledged is there once
//! and in order, and what was refused for certain is not.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, RequestKind, ResponseKind};

use crate::client::ClientKind;
use crate::client::command::{Command, Event, OpId, SendOutcome};
use crate::client::testing::{Harness, Sent, TOPIC, orders};
use crate::config::ProducerConfig;
use crate::ids::IdSource;
use crate::types::ResponseError;
use crate::wire::batch::{Batch, BatchHeader};

const SENDS: u64 = 40;

/// Batches of more records are refused as too large.
const RECORDS_MAX: i32 = 3;

/// The partition as every broker sees it: replication is perfect here.
#[derive(Default)]
struct Partition {
    log: Vec<u64>,
    /// Whether some records are never accepted. An idempotent producer of 4.2 bumps its epoch
    /// over such a record, and writes what is unanswered before it a second time.
    refuses_some: bool,
    /// The producer's epoch and last five batches.
    producer: Option<(i16, VecDeque<Appended>)>,
}

/// First and last sequence of a batch, and its base offset.
type Appended = (i32, i32, i64);

impl Partition {
    /// The base offset, or why not.
    fn append(&mut self, header: &BatchHeader, ops: &[u64]) -> Result<i64, ResponseError> {
        if header.record_count > RECORDS_MAX {
            return Err(ResponseError::MessageTooLarge);
        }
        if self.refuses_some && ops.iter().any(|op| op % 17 == 5) {
            return Err(ResponseError::InvalidRecord);
        }
        let base = i64::try_from(self.log.len()).expect("short");
        let (first, last) = (header.base_sequence.0, header.last_sequence().0);
        if header.has_producer_id() {
            let epoch = header.producer_epoch.0;
            if self.producer.is_none() && first != 0 {
                // Stricter than Kafka, which takes any first sequence of a producer it never saw.
                return Err(ResponseError::OutOfOrderSequenceNumber);
            }
            let known = self.producer.get_or_insert((epoch, VecDeque::new()));
            if epoch < known.0 {
                return Err(ResponseError::InvalidProducerEpoch);
            }
            let window = &mut known.1;
            if epoch == known.0 {
                if let Some(old) = window.iter().find(|old| (old.0, old.1) == (first, last)) {
                    return Ok(old.2);
                }
                if window.back().is_some_and(|newest| newest.1 + 1 != first) {
                    return Err(ResponseError::OutOfOrderSequenceNumber);
                }
            } else if first != 0 {
                return Err(ResponseError::OutOfOrderSequenceNumber);
            } else {
                window.clear();
            }
            known.0 = epoch;
            window.push_back((first, last, base));
            if window.len() > 5 {
                window.pop_front();
            }
        }
        self.log.extend(ops);
        Ok(base)
    }
}

struct Day {
    producer: Harness,
    /// Whether a request whose connection is gone may be executed after newer ones.
    late: bool,
    partition: Partition,
    luck: IdSource,
    next_op: u64,
}

impl Day {
    fn new(seed: u64, late: bool, given: &[(&str, &str)]) -> Day {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let config = ProducerConfig::from_properties(&given.iter().map(own).collect());
        let kind = ClientKind::Producer(config.expect("a test's own"));
        Day {
            producer: Harness::new(kind, 1, None),
            late,
            partition: Partition::default(),
            luck: IdSource::new(seed),
            next_op: 0,
        }
    }

    /// Sends and misfortunes in any order, then none but answers until every send ended.
    fn live(&mut self) {
        while self.next_op < SENDS {
            match self.luck.below(100) {
                0..30 => self.send(),
                30..70 => self.answer_somehow(),
                70..75 => self.execute_late(),
                75..98 => {
                    let ms = self.luck.below(120);
                    self.producer.advance(ms);
                }
                _ => {
                    let ms = self.luck.below(20_000);
                    self.producer.advance(ms);
                }
            }
        }
        for _ in 0..3_000 {
            while self.execute(None) {}
            self.execute_late();
            self.producer.advance(50);
        }
    }

    fn send(&mut self) {
        let op = self.next_op;
        self.next_op += 1;
        self.producer.command(Command::Send {
            op: OpId(op),
            topic: orders(),
            partition: Some(0),
            key: None,
            value: Bytes::copy_from_slice(&op.to_be_bytes()),
            headers: Vec::new(),
        });
    }

    fn answer_somehow(&mut self) {
        match self.luck.below(100) {
            0..70 => {
                self.execute(None);
            }
            70..75 => {
                self.refuse(ResponseError::NotEnoughReplicas);
            }
            75..80 => {
                self.execute(Some(ResponseError::NotEnoughReplicasAfterAppend));
            }
            80..85 => self.move_leader(),
            85..90 => {
                // Executed, and the answer is lost.
                let node = self.producer.sent.front().map(|sent| sent.node.0);
                if let Some(node) = node {
                    let sent = self.producer.sent.pop_front().expect("just seen");
                    let _ = self.append(&sent);
                    self.producer.cut(node);
                }
            }
            90..95 => {
                // Lost, or late.
                if let Some(node) = self.producer.sent.front().map(|sent| sent.node.0) {
                    self.producer.cut(node);
                    if self.luck.below(2) == 0 {
                        self.producer.abandoned.clear();
                    }
                }
            }
            _ => {
                let node = i32::try_from(1 + self.luck.below(3)).expect("small");
                self.producer.cut(node);
            }
        }
    }

    fn move_leader(&mut self) {
        let leader = i32::try_from(1 + self.luck.below(3)).expect("small");
        let (_, epoch) = self.producer.leaders[0];
        self.producer.leaders[0] = (leader, epoch + 1);
    }

    /// Executes the oldest request and answers it, with that error if one is given.
    fn execute(&mut self, error: Option<ResponseError>) -> bool {
        while !self.late && !self.producer.abandoned.is_empty() {
            self.execute_late();
        }
        let Some(sent) = self.producer.sent.pop_front() else {
            return false;
        };
        let result = if self.is_leader(&sent) {
            self.append(&sent)
        } else {
            Err(ResponseError::NotLeaderOrFollower)
        };
        self.answer(&sent, result, error);
        true
    }

    /// Answers the oldest request without executing it.
    fn refuse(&mut self, error: ResponseError) {
        if let Some(sent) = self.producer.sent.pop_front() {
            self.answer(&sent, Err(error), None);
        }
    }

    fn answer(
        &mut self,
        sent: &Sent,
        result: Result<i64, ResponseError>,
        after_append: Option<ResponseError>,
    ) {
        let error = result.err().or(after_append);
        let base = if error.is_some() {
            -1
        } else {
            result.unwrap_or(-1)
        };
        let partition = PartitionProduceResponse::default()
            .with_error_code(error.map_or(0, |error| error.code()))
            .with_base_offset(base);
        let topic = TopicProduceResponse::default()
            .with_topic_id(TOPIC)
            .with_partition_responses(vec![partition]);
        let response = ProduceResponse::default().with_responses(vec![topic]);
        self.producer.answer(sent, ResponseKind::Produce(response));
    }

    fn execute_late(&mut self) {
        if let Some(sent) = self.producer.abandoned.pop_front()
            && self.is_leader(&sent)
        {
            let _ = self.append(&sent);
        }
    }

    fn is_leader(&self, sent: &Sent) -> bool {
        self.producer.leaders[0].0 == sent.node.0
    }

    fn append(&mut self, sent: &Sent) -> Result<i64, ResponseError> {
        let RequestKind::Produce(request) = &sent.body else {
            panic!("not a produce: {:?}", sent.body);
        };
        let data = &request.topic_data[0].partition_data[0];
        let batch = Batch::parse(data.records.as_ref().expect("with records")).expect("a batch");
        let ops: Vec<u64> = batch
            .records()
            .map(|record| {
                let value = record.expect("our own").value.expect("with a value");
                u64::from_be_bytes(*value.first_chunk().expect("eight bytes"))
            })
            .collect();
        self.partition.append(&batch.header, &ops)
    }

    /// Every send ended once; what was acknowledged is where it was said to be; what certainly
    /// failed is nowhere.
    fn outcomes_hold(&mut self, seed: u64) {
        let log = &self.partition.log;
        let mut ended = BTreeMap::new();
        for event in self.producer.take_events() {
            let Event::Sent { op, outcome } = event else {
                panic!("{event:?}");
            };
            match &outcome {
                SendOutcome::Acknowledged { offset, .. } if offset.0 >= 0 => {
                    let at = usize::try_from(offset.0).expect("not negative");
                    assert_eq!(log.get(at), Some(&op.0), "seed {seed}: {outcome:?}");
                }
                SendOutcome::Failed { definite: true, .. } => {
                    assert!(!log.contains(&op.0), "seed {seed}: {op:?} {outcome:?}");
                }
                SendOutcome::Acknowledged { .. } | SendOutcome::Failed { .. } => {}
            }
            assert!(
                ended.insert(op, outcome).is_none(),
                "seed {seed}: {op:?} ended twice"
            );
        }
        assert_eq!(ended.len() as u64, SENDS, "seed {seed}");
    }
}

/// Written once, and in order.
fn order_holds(day: &Day, seed: u64) {
    let log = &day.partition.log;
    assert!(log.is_sorted(), "seed {seed}: out of order: {log:?}");
    let repeated = log.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!repeated, "seed {seed}: twice: {log:?}");
}

#[test]
fn a_patient_idempotent_producer_writes_everything_once_and_in_order() {
    let mut written = 0;
    for seed in 0..200 {
        let linger = ["0", "20"][usize::from(seed % 2 == 0)];
        let patience = [
            ("linger.ms", linger),
            ("request.timeout.ms", "3000"),
            ("delivery.timeout.ms", "1000000"),
        ];
        let mut day = Day::new(seed, true, &patience);
        day.live();
        assert_eq!(day.producer.probes, [], "seed {seed}: nothing was lost");
        // A batch that is in the log and not among the last five any more is never acknowledged.
        day.producer.advance(1_000_000);
        day.outcomes_hold(seed);
        order_holds(&day, seed);
        written += day.partition.log.len();
    }
    // What waits behind such a batch may expire with it.
    assert!(written > 190 * 40, "{written}");
}

/// What expires leaves gaps, and gaps bump the epoch. Requests are executed in the order in which
/// they were sent, or not at all: Kafka 4.2 writes twice what is executed after it was refused and
/// renumbered.
#[test]
fn an_impatient_idempotent_producer_writes_once_and_in_order() {
    let mut bumps = 0;
    for seed in 0..200 {
        let linger = ["0", "20"][usize::from(seed % 2 == 0)];
        let impatience = [
            ("linger.ms", linger),
            ("request.timeout.ms", "1000"),
            ("delivery.timeout.ms", "1500"),
        ];
        let mut day = Day::new(seed, false, &impatience);
        day.live();
        day.outcomes_hold(seed);
        order_holds(&day, seed);
        bumps += day.producer.probes.len();
    }
    assert!(bumps > 50, "{bumps}");
}

#[test]
fn a_plain_producer_tells_the_truth() {
    for seed in 0..100 {
        let mut day = Day::new(
            seed,
            true,
            &[
                ("enable.idempotence", "false"),
                ("request.timeout.ms", "3000"),
                ("delivery.timeout.ms", "12000"),
            ],
        );
        day.partition.refuses_some = true;
        day.live();
        day.outcomes_hold(seed);
    }
}
