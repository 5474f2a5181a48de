//! One consumer of group `g`, and words for what its coordinator n2 answers.

use bytes::Bytes;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    BrokerId, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchResponse,
    FindCoordinatorResponse, GroupId, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchResponse,
    RequestKind, ResponseKind, SyncGroupRequest, SyncGroupResponse, TopicName,
};

use crate::client::ClientKind;
use crate::client::command::{
    CallbackId, Command, CommitName, Event, OpId, RebalanceCallback, Subscription,
};
use crate::client::testing::{Harness, Sent, TOPIC, orders};
use crate::config::ConsumerConfig;
use crate::types::{LeaderEpoch, NodeId, Offset, ResponseError, StrBytes, TopicPartition};
use crate::wire::build::BatchBuilder;
use crate::wire::consumer_protocol::{Subscription as Wanted, encode_assignment};

/// `group.protocol=classic` and the cooperative assignor.
pub(super) const COOPERATIVE: (&str, &str) =
    ("partition.assignment.strategy", "CooperativeStickyAssignor");

/// The range assignor alone.
pub(super) const RANGE: (&str, &str) = ("partition.assignment.strategy", "RangeAssignor");

/// The consumer and what surrounds it.
pub(super) struct Rig {
    pub(super) harness: Harness,
    next_op: u64,
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn p(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: orders(),
        partition,
    }
}

pub(super) fn ps(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|&partition| p(partition)).collect()
}

impl Rig {
    /// A consumer of group `g` with these properties, and four partitions.
    pub(super) fn new(given: &[(&str, &str)]) -> Rig {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let mut properties: std::collections::BTreeMap<String, String> =
            given.iter().map(own).collect();
        properties.insert("group.id".to_owned(), "g".to_owned());
        let config = ConsumerConfig::from_properties(&properties).expect("a test's own");
        Rig {
            harness: Harness::new(ClientKind::Consumer(config), 4, None),
            next_op: 0,
        }
    }

    pub(super) fn op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub(super) fn subscribe(&mut self) {
        let to = Subscription::Topics(vec![orders()]);
        self.harness.command(Command::Subscribe { to });
    }

    pub(super) fn poll(&mut self, timeout_ms: u64) -> OpId {
        let op = self.op();
        self.harness.command(Command::Poll { op, timeout_ms });
        op
    }

    /// Commits the positions.
    pub(super) fn commit(&mut self, sync: bool) -> OpId {
        let op = self.op();
        let offsets = None;
        self.harness.command(Command::Commit { op, offsets, sync });
        op
    }

    pub(super) fn close(&mut self) -> OpId {
        let op = self.op();
        self.harness.command(Command::Close { op });
        op
    }

    /// The oldest request that `pick` takes.
    pub(super) fn take<T>(
        &mut self,
        what: &str,
        pick: impl Fn(&RequestKind) -> Option<T>,
    ) -> (Sent, T) {
        let sent = &self.harness.sent;
        let Some(at) = sent.iter().position(|sent| pick(&sent.body).is_some()) else {
            panic!("no {what} in {sent:?}");
        };
        let sent = self.harness.sent.remove(at).expect("just found");
        let picked = pick(&sent.body).expect("just found");
        (sent, picked)
    }

    /// Whether a request waits that `pick` takes.
    pub(super) fn has(&self, pick: impl Fn(&RequestKind) -> bool) -> bool {
        self.harness.sent.iter().any(|sent| pick(&sent.body))
    }

    /// n2 is the coordinator.
    pub(super) fn answer_lookup(&mut self) {
        let (sent, group) = self.take("FindCoordinator", |body| match body {
            RequestKind::FindCoordinator(request) => request.coordinator_keys.first().cloned(),
            _ => None,
        });
        let coordinator = Coordinator::default()
            .with_key(group)
            .with_node_id(BrokerId(2))
            .with_host(StrBytes::from_static_str("n"))
            .with_port(9_002);
        let response = FindCoordinatorResponse::default().with_coordinators(vec![coordinator]);
        self.harness
            .answer(&sent, ResponseKind::FindCoordinator(response));
    }

    pub(super) fn take_join(&mut self) -> (Sent, JoinGroupRequest) {
        let (sent, join) = self.take("JoinGroup", |body| match body {
            RequestKind::JoinGroup(request) => Some(request.clone()),
            _ => None,
        });
        assert_eq!(sent.node, NodeId(2));
        (sent, join)
    }

    pub(super) fn answer_join(&mut self, sent: &Sent, response: JoinGroupResponse) {
        self.harness.answer(sent, ResponseKind::JoinGroup(response));
    }

    pub(super) fn refuse_join(&mut self, sent: &Sent, error: ResponseError) {
        let response = JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_member_id(text("m1"));
        self.answer_join(sent, response);
    }

    pub(super) fn take_sync(&mut self) -> (Sent, SyncGroupRequest) {
        self.take("SyncGroup", |body| match body {
            RequestKind::SyncGroup(request) => Some(request.clone()),
            _ => None,
        })
    }

    pub(super) fn answer_sync(&mut self, sent: &Sent, assigned: &[i32]) {
        let response = SyncGroupResponse::default()
            .with_protocol_type(Some(text("consumer")))
            .with_assignment(encode_assignment(&ps(assigned)));
        self.harness.answer(sent, ResponseKind::SyncGroup(response));
    }

    pub(super) fn take_heartbeat(&mut self) -> Sent {
        let (sent, ()) = self.take("Heartbeat", |body| {
            matches!(body, RequestKind::Heartbeat(_)).then_some(())
        });
        sent
    }

    pub(super) fn answer_heartbeat(&mut self, error: Option<ResponseError>) {
        let sent = self.take_heartbeat();
        let code = error.map_or(0, |error| error.code());
        let response = HeartbeatResponse::default().with_error_code(code);
        self.harness
            .answer(&sent, ResponseKind::Heartbeat(response));
    }

    pub(super) fn answer_leave(&mut self) -> String {
        let (sent, member) = self.take("LeaveGroup", |body| match body {
            RequestKind::LeaveGroup(request) => Some(request.members[0].member_id.to_string()),
            _ => None,
        });
        let response = LeaveGroupResponse::default();
        self.harness
            .answer(&sent, ResponseKind::LeaveGroup(response));
        member
    }

    pub(super) fn take_group_heartbeat(&mut self) -> (Sent, ConsumerGroupHeartbeatRequest) {
        self.take("ConsumerGroupHeartbeat", |body| match body {
            RequestKind::ConsumerGroupHeartbeat(request) => Some(request.clone()),
            _ => None,
        })
    }

    /// Answers the oldest heartbeat: the epoch, and a new assignment if there is one.
    pub(super) fn answer_group_heartbeat(
        &mut self,
        epoch: i32,
        assigned: Option<&[i32]>,
    ) -> ConsumerGroupHeartbeatRequest {
        let (sent, request) = self.take_group_heartbeat();
        let assignment = assigned.map(|indexes| {
            let topic = TopicPartitions::default()
                .with_topic_id(TOPIC)
                .with_partitions(indexes.to_vec());
            let topics = if indexes.is_empty() {
                vec![]
            } else {
                vec![topic]
            };
            Assignment::default().with_topic_partitions(topics)
        });
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_epoch(epoch)
            .with_heartbeat_interval_ms(5_000)
            .with_assignment(assignment);
        self.harness
            .answer(&sent, ResponseKind::ConsumerGroupHeartbeat(response));
        request
    }

    pub(super) fn refuse_group_heartbeat(&mut self, error: ResponseError) {
        let (sent, _) = self.take_group_heartbeat();
        let response = ConsumerGroupHeartbeatResponse::default().with_error_code(error.code());
        self.harness
            .answer(&sent, ResponseKind::ConsumerGroupHeartbeat(response));
    }

    /// Subscribes and polls until the member owns these partitions in epoch 1, each from offset 5
    /// on. The poll waits.
    pub(super) fn join_modern(&mut self, assigned: &[i32]) -> OpId {
        self.subscribe();
        let op = self.poll(10_000);
        self.answer_lookup();
        self.answer_group_heartbeat(1, Some(assigned));
        assert_eq!(
            self.answer_callback(),
            (RebalanceCallback::Assigned, assigned.to_vec())
        );
        self.answer_committed(5);
        self.answer_group_heartbeat(1, None);
        self.harness.take_events();
        op
    }

    pub(super) fn take_commit(&mut self) -> (Sent, OffsetCommitRequest) {
        self.take("OffsetCommit", |body| match body {
            RequestKind::OffsetCommit(request) => Some(request.clone()),
            _ => None,
        })
    }

    /// Answers the oldest commit, for each partition alike. Returns (partition, offset) of each.
    pub(super) fn answer_commit(&mut self, error: Option<ResponseError>) -> Vec<(i32, i64)> {
        let (sent, request) = self.take_commit();
        let code = error.map_or(0, |error| error.code());
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        let response = OffsetCommitResponse::default().with_topics(topics.collect());
        self.harness
            .answer(&sent, ResponseKind::OffsetCommit(response));
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        partitions
            .map(|partition| (partition.partition_index, partition.committed_offset))
            .collect()
    }

    /// Answers the question for committed offsets: -1 for none.
    pub(super) fn answer_committed(&mut self, offset: i64) {
        let (sent, asked) = self.take("OffsetFetch", |body| match body {
            RequestKind::OffsetFetch(request) => request.groups.first().cloned(),
            _ => None,
        });
        let topics = asked.topics.into_iter().flatten().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|partition| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(partition)
                    .with_committed_offset(offset)
                    .with_committed_leader_epoch(-1)
            });
            OffsetFetchResponseTopics::default()
                .with_name(topic.name)
                .with_partitions(partitions.collect())
        });
        let group = OffsetFetchResponseGroup::default()
            .with_group_id(GroupId(text("g")))
            .with_topics(topics.collect());
        let response = OffsetFetchResponse::default().with_groups(vec![group]);
        self.harness
            .answer(&sent, ResponseKind::OffsetFetch(response));
    }

    /// Answers the oldest fetch with as many records for that partition.
    pub(super) fn answer_fetch(&mut self, partition: i32, base: i64, records: usize) {
        let (sent, asked) = self.take("Fetch", |body| match body {
            RequestKind::Fetch(request) => Some(request.clone()),
            _ => None,
        });
        let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(1));
        for _ in 0..records {
            builder.push(5, None, Some(b"v"), &[]);
        }
        let bytes = Bytes::from(builder.build().to_vec());
        let asked = asked.topics.iter().flat_map(|topic| &topic.partitions);
        let data = asked.map(|asked| {
            let records = (asked.partition == partition).then(|| bytes.clone());
            PartitionData::default()
                .with_partition_index(asked.partition)
                .with_records(records)
        });
        let topic = FetchableTopicResponse::default()
            .with_topic_id(TOPIC)
            .with_partitions(data.collect());
        let response = FetchResponse::default().with_responses(vec![topic]);
        self.harness.answer(&sent, ResponseKind::Fetch(response));
    }

    /// The listener returns from its last call.
    pub(super) fn callback_done(&mut self, callback: CallbackId) {
        self.harness.command(Command::CallbackDone { callback });
    }

    /// Takes the events; there must be one call of the listener among them, and it returns.
    pub(super) fn answer_callback(&mut self) -> (RebalanceCallback, Vec<i32>) {
        let (callback, what, partitions) = self.take_callback();
        self.callback_done(callback);
        (what, partitions)
    }

    /// The one call of the listener among the events.
    pub(super) fn take_callback(&mut self) -> (CallbackId, RebalanceCallback, Vec<i32>) {
        let events = self.harness.take_events();
        let mut calls = events.iter().filter_map(|event| match event {
            Event::Rebalance {
                callback,
                what,
                partitions,
                ..
            } => {
                let partitions = partitions.iter().map(|partition| partition.partition);
                Some((*callback, *what, partitions.collect()))
            }
            _ => None,
        });
        let call = calls.next();
        assert!(calls.next().is_none(), "two calls in {events:?}");
        drop(calls);
        call.unwrap_or_else(|| panic!("no call of the listener in {events:?}"))
    }

    /// (op, offsets of each record) of the polls that ended.
    pub(super) fn polled(&mut self) -> Vec<(OpId, Vec<i64>)> {
        let events = self.harness.take_events().into_iter();
        let polled = events.filter_map(|event| match event {
            Event::Polled { op, parts } => {
                let records = parts.iter().flat_map(|part| &part.records);
                Some((op, records.map(|record| record.offset.0).collect()))
            }
            _ => None,
        });
        polled.collect()
    }

    /// How commits ended: name, whether well, whether certainly without effect.
    pub(super) fn committed(&mut self) -> Vec<(CommitName, bool, bool)> {
        let events = self.harness.take_events().into_iter();
        let committed = events.filter_map(|event| match event {
            Event::Committed {
                commit,
                result,
                definite,
                ..
            } => Some((commit, result.is_ok(), definite)),
            _ => None,
        });
        committed.collect()
    }

    /// Subscribes and polls until the member has these partitions as `m1` in generation 1, each
    /// from offset 5 on. The poll waits.
    pub(super) fn join(&mut self, protocol: &str, assigned: &[i32]) -> OpId {
        self.subscribe();
        let op = self.poll(10_000);
        self.answer_lookup();
        let (sent, _) = self.take_join();
        self.answer_join(&sent, follower(protocol, 1));
        let (sent, _) = self.take_sync();
        self.answer_sync(&sent, assigned);
        assert_eq!(
            self.answer_callback(),
            (RebalanceCallback::Assigned, assigned.to_vec())
        );
        if !assigned.is_empty() {
            self.answer_committed(5);
        }
        self.harness.take_events();
        op
    }

    /// Rejoins as follower with that assignment, up to the answer of SyncGroup.
    pub(super) fn rejoin(&mut self, protocol: &str, generation: i32, assigned: &[i32]) {
        let (sent, _) = self.take_join();
        self.answer_join(&sent, follower(protocol, generation));
        let (sent, _) = self.take_sync();
        self.answer_sync(&sent, assigned);
    }
}

/// The answer to a member `m1` that does not lead.
pub(super) fn follower(protocol: &str, generation: i32) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_generation_id(generation)
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text(protocol)))
        .with_leader(text("m0"))
        .with_member_id(text("m1"))
}

/// The answer to a member `m1` that leads these members.
pub(super) fn leader(protocol: &str, generation: i32, members: &[&str]) -> JoinGroupResponse {
    let members = members.iter().map(|id| {
        let wanted = Wanted {
            topics: vec![orders()],
            ..Wanted::default()
        };
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(wanted.encode())
    });
    follower(protocol, generation)
        .with_leader(text("m1"))
        .with_members(members.collect())
}

/// The name of the topic in requests.
pub(super) fn topic() -> TopicName {
    TopicName(orders())
}
