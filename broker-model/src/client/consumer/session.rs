//! An incremental fetch session with one broker (KIP-227).
//!
//! Mirrors Kafka's `FetchSessionHandler`: the first request names every partition, later ones only
//! what changed; the broker answers only what changed. Anything that does not fit starts a new
//! session.

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};

use crate::client::metadata::Metadata;
use crate::types::{LeaderEpoch, Offset, ResponseError, StrBytes, TopicIdPartition, Uuid};

/// What is asked for in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// From where.
    pub(super) offset: Offset,
    /// The leader epoch that the consumer knows, -1 for none.
    pub(super) leader_epoch: LeaderEpoch,
    /// `max.partition.fetch.bytes`.
    pub(super) max_bytes: i32,
}

/// The consumer's side of a session.
#[derive(Default, Debug)]
pub(super) struct FetchSession {
    /// 0 before the broker gave one.
    id: i32,
    /// Of the next request; 0 asks for a new session.
    epoch: i32,
    /// What the broker knows this session to want.
    wanted: BTreeMap<TopicIdPartition, Wanted>,
    /// A fetch is unanswered.
    in_flight: bool,
}

impl FetchSession {
    /// Whether a fetch is unanswered. One at a time.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// What was asked for in a partition by the request in flight or its predecessors.
    pub(super) fn asked(&self, partition: TopicIdPartition) -> Option<Wanted> {
        self.wanted.get(&partition).copied()
    }

    /// What the request in flight or its predecessors asked for.
    pub(super) fn partitions(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.wanted.keys().copied()
    }

    /// The next request, by which the session wants exactly `wanted`. Session fields, topics and
    /// forgotten topics only.
    pub(super) fn request(
        &mut self,
        wanted: BTreeMap<TopicIdPartition, Wanted>,
        metadata: &Metadata,
    ) -> FetchRequest {
        self.in_flight = true;
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        for (&partition, want) in &wanted {
            let unchanged = !self.is_full() && self.wanted.get(&partition) == Some(want);
            if !unchanged {
                add_topic(&mut topics, partition, want, metadata);
            }
        }
        if !self.is_full() {
            for partition in self.wanted.keys().filter(|had| !wanted.contains_key(had)) {
                add_forgotten(&mut forgotten, *partition, metadata);
            }
        }
        self.wanted = wanted;
        FetchRequest::default()
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten)
    }

    /// An answer came. False if nothing in it may be used (`handleResponse`).
    pub(super) fn on_response(
        &mut self,
        response: &FetchResponse,
        answered: &[TopicIdPartition],
    ) -> bool {
        self.in_flight = false;
        match ResponseError::try_from_code(response.error_code) {
            None => {}
            Some(ResponseError::FetchSessionIdNotFound) => {
                self.start_over(0);
                return false;
            }
            Some(_) => {
                self.start_over(self.id);
                return false;
            }
        }
        let extra = answered
            .iter()
            .any(|answer| !self.wanted.contains_key(answer));
        if self.is_full() {
            let omitted = answered.len() < self.wanted.len();
            if extra || omitted {
                self.start_over(0);
                return false;
            }
            self.id = response.session_id;
            self.epoch = i32::from(self.id != NO_SESSION);
            return true;
        }
        if extra {
            self.start_over(self.id);
            return false;
        }
        if response.session_id == NO_SESSION {
            self.start_over(0);
        } else {
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
        true
    }

    /// No answer will come (`handleError`): the broker may or may not have seen the request.
    pub(super) fn on_error(&mut self) {
        self.in_flight = false;
        self.start_over(self.id);
    }

    fn is_full(&self) -> bool {
        self.epoch == 0
    }

    /// The next request asks for a new session and closes the one of that id, if any.
    fn start_over(&mut self, id: i32) {
        self.id = id;
        self.epoch = 0;
    }
}

/// `FetchMetadata.INVALID_SESSION_ID`
const NO_SESSION: i32 = 0;

fn add_topic(
    topics: &mut Vec<FetchTopic>,
    partition: TopicIdPartition,
    want: &Wanted,
    metadata: &Metadata,
) {
    let data = FetchPartition::default()
        .with_partition(partition.partition)
        .with_current_leader_epoch(want.leader_epoch.0)
        .with_fetch_offset(want.offset.0)
        .with_partition_max_bytes(want.max_bytes);
    match topics.last_mut() {
        Some(topic) if topic.topic_id == partition.topic => topic.partitions.push(data),
        Some(_) | None => topics.push(
            FetchTopic::default()
                .with_topic(topic_name(partition.topic, metadata))
                .with_topic_id(partition.topic)
                .with_partitions(vec![data]),
        ),
    }
}

fn add_forgotten(
    topics: &mut Vec<ForgottenTopic>,
    partition: TopicIdPartition,
    metadata: &Metadata,
) {
    match topics.last_mut() {
        Some(topic) if topic.topic_id == partition.topic => {
            topic.partitions.push(partition.partition);
        }
        Some(_) | None => topics.push(
            ForgottenTopic::default()
                .with_topic(topic_name(partition.topic, metadata))
                .with_topic_id(partition.topic)
                .with_partitions(vec![partition.partition]),
        ),
    }
}

/// Versions below 13 go by name.
fn topic_name(topic: Uuid, metadata: &Metadata) -> TopicName {
    let name: Option<StrBytes> = metadata.topic_name(topic).cloned();
    TopicName(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{P0, TOPIC, metadata_of};

    const P1: TopicIdPartition = TopicIdPartition {
        topic: TOPIC,
        partition: 1,
    };

    fn want(offset: i64) -> Wanted {
        Wanted {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(1),
            max_bytes: 100,
        }
    }

    fn brief(request: &FetchRequest) -> (i32, i32, Vec<(i32, i64)>, Vec<i32>) {
        let topics = request.topics.iter().flat_map(|topic| &topic.partitions);
        let forgotten = request.forgotten_topics_data.iter();
        (
            request.session_id,
            request.session_epoch,
            topics.map(|p| (p.partition, p.fetch_offset)).collect(),
            forgotten
                .flat_map(|topic| topic.partitions.clone())
                .collect(),
        )
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let metadata = metadata_of(TOPIC, 2);
        let mut session = FetchSession::default();
        let both = BTreeMap::from([(P0, want(0)), (P1, want(5))]);
        let request = session.request(both, &metadata);
        assert_eq!(brief(&request), (0, 0, vec![(0, 0), (1, 5)], vec![]));
        let created = FetchResponse::default().with_session_id(9);
        assert!(session.on_response(&created, &[P0, P1]));

        let moved = BTreeMap::from([(P0, want(3)), (P1, want(5))]);
        let request = session.request(moved, &metadata);
        assert_eq!(brief(&request), (9, 1, vec![(0, 3)], vec![]));
        assert!(session.on_response(&created, &[P0]));

        let request = session.request(BTreeMap::from([(P0, want(3))]), &metadata);
        assert_eq!(brief(&request), (9, 2, vec![], vec![1]));
    }

    #[test]
    fn a_lost_answer_closes_the_session_and_asks_for_another() {
        let metadata = metadata_of(TOPIC, 2);
        let mut session = FetchSession::default();
        let wanted = BTreeMap::from([(P0, want(0))]);
        session.request(wanted.clone(), &metadata);
        let created = FetchResponse::default().with_session_id(9);
        assert!(session.on_response(&created, &[P0]));
        session.request(wanted.clone(), &metadata);
        session.on_error();
        let request = session.request(wanted, &metadata);
        assert_eq!(brief(&request), (9, 0, vec![(0, 0)], vec![]));
    }

    #[test]
    fn an_answer_to_another_question_is_not_used() {
        let metadata = metadata_of(TOPIC, 2);
        let mut session = FetchSession::default();
        session.request(BTreeMap::from([(P0, want(0))]), &metadata);
        let created = FetchResponse::default().with_session_id(9);
        assert!(!session.on_response(&created, &[P1]));
        assert!(!session.is_in_flight());
    }
}
