//! The leader's side of Fetch, and the other requests that only a leader answers.
//!
//! A fetch says up to where the replica's log is on its disk and of which epoch its last record is.
//! If that agrees with the leader's log it counts; if not, the leader answers where the logs part. A
//! fetch that would come back empty waits for records, for the high watermark, or half a second.

use bytes::Bytes;
use kafka_protocol::messages::describe_quorum_response as describe;
use kafka_protocol::messages::fetch_snapshot_response as snapshot;
use kafka_protocol::messages::{
    DescribeQuorumRequest, DescribeQuorumResponse, FetchRequest, FetchSnapshotRequest,
    FetchSnapshotResponse,
};

use super::client::RaftClient;
use super::leader::ReplicaState;
use super::messages::{self, CONTROLLER_LISTENER, FETCH_BYTES_MAX, Fetched};
use super::voters::ReplicaKey;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::note::Note;
use crate::timer::Timer;
use crate::types::{
    ConnectionId, LeaderEpoch, METADATA_TOPIC, NodeId, Now, Offset, ResponseError, StrBytes, Uuid,
};

/// A fetch that waits. It was valid in this leader's epoch; leaving the epoch ends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    /// Who waits for the answer.
    pub(super) conn: ConnectionId,
    correlation_id: i32,
    version: i16,
    replica: ReplicaKey,
    position: Position,
    /// On the monotonic clock.
    deadline_ms: u64,
}

/// Where a replica says its log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position {
    current_epoch: LeaderEpoch,
    last_epoch: LeaderEpoch,
    offset: Offset,
}

impl RaftClient {
    /// A replica fetches.
    pub(super) fn handle_fetch(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &FetchRequest,
    ) {
        let RequestHeader {
            version,
            correlation_id,
            ..
        } = *header;
        if !self.is_our_cluster(request.cluster_id.as_ref()) {
            let body = messages::fetch_error(ResponseError::InconsistentClusterId);
            return self.reply(cx, conn, correlation_id, body, None);
        }
        let Some(partition) = messages::fetch_partition(version, request) else {
            let body = messages::fetch_error(ResponseError::InvalidRequest);
            return self.reply(cx, conn, correlation_id, body, None);
        };
        let position = Position {
            current_epoch: LeaderEpoch(partition.current_leader_epoch),
            last_epoch: LeaderEpoch(partition.last_fetched_epoch),
            offset: Offset(partition.fetch_offset),
        };
        let replica = ReplicaKey {
            id: messages::fetch_replica(version, request),
            directory: partition.replica_directory_id,
        };
        let max_wait_ms = u64::try_from(request.max_wait_ms);
        let (fetched, max_wait_ms) = match max_wait_ms {
            Ok(max_wait_ms) if position.is_possible() && replica.id != self.config.node => {
                (self.try_fetch(cx, replica, position), max_wait_ms)
            }
            _ => (Fetched::error(ResponseError::InvalidRequest), 0),
        };
        let has_news = partition.high_watermark < fetched.high_watermark.0;
        if max_wait_ms == 0 || has_news || !fetched.is_empty() {
            let body = messages::fetch_response(version, self.view(), fetched);
            return self.reply(cx, conn, correlation_id, body, None);
        }
        self.parked.push(Parked {
            conn,
            correlation_id,
            version,
            replica,
            position,
            deadline_ms: cx.now.mono_ms + max_wait_ms,
        });
        if !self.purgatory_armed {
            self.purgatory_armed = true;
            cx.effects.arm_at(Timer::RaftPurgatory, max_wait_ms);
        }
    }

    /// Reads for a replica, and takes note of how far it is.
    fn try_fetch(
        &mut self,
        cx: &mut Context<'_>,
        replica: ReplicaKey,
        position: Position,
    ) -> Fetched {
        if let Some(error) = self.validate_leader_request(position.current_epoch) {
            return Fetched::error(error);
        }
        let diverging = self.divergence(position);
        let mut records = Bytes::new();
        if diverging.is_none() {
            records = self.log.read(position.offset, FETCH_BYTES_MAX);
            self.update_replica(cx, replica, position.offset);
        }
        let leader = self.quorum.leader_state().expect("just validated");
        Fetched {
            error: None,
            high_watermark: leader.high_watermark().unwrap_or(Offset::UNKNOWN),
            diverging,
            records,
        }
    }

    /// Where the replica's log parts from this one, if it does (`validateOffsetAndEpoch`).
    fn divergence(&self, position: Position) -> Option<(LeaderEpoch, Offset)> {
        if position.offset == Offset::ZERO {
            return None;
        }
        let (epoch, end) = self.log.end_offset_for_epoch(position.last_epoch);
        let agrees = epoch == position.last_epoch && position.offset <= end;
        (!agrees).then_some((epoch, end))
    }

    /// The replica has what this log has, up to `end`.
    fn update_replica(&mut self, cx: &mut Context<'_>, replica: ReplicaKey, end: Offset) {
        if replica.id < NodeId(0) {
            return;
        }
        let log_end = self.log.end();
        let check_quorum_ms = self.check_quorum_timeout_ms();
        let leader = self
            .quorum
            .leader_state()
            .expect("only a leader is fetched from");
        let (voter_moved, high_watermark_moved) =
            leader.update_replica(cx.now, replica, end, log_end);
        if leader.count_for_quorum(replica.id) {
            leader.check_quorum_deadline_ms = cx.now.mono_ms + check_quorum_ms;
        }
        if voter_moved {
            cx.effects.note(Note::RaftFetched {
                voter: replica.id,
                end,
            });
        }
        if high_watermark_moved {
            self.advance_high_watermark(cx);
        }
    }

    /// This leader's log is on disk up to another offset.
    pub(super) fn update_leader_end(&mut self, cx: &mut Context<'_>) {
        let flushed = self.log.flushed();
        let moved = self
            .quorum
            .leader_state()
            .is_some_and(|leader| leader.update_local(flushed));
        if moved {
            self.advance_high_watermark(cx);
        }
    }

    fn advance_high_watermark(&mut self, cx: &mut Context<'_>) {
        let leader = self.quorum.leader_state().expect("only a leader commits");
        let to = leader.high_watermark().expect("it just moved");
        if self.log.update_high_watermark(to) {
            self.high_watermark_moved(cx);
        }
        self.complete_fetches(cx);
    }

    /// Answers every fetch that waits: there are records, or the high watermark moved.
    pub(super) fn complete_fetches(&mut self, cx: &mut Context<'_>) {
        let mut waiting = std::mem::take(&mut self.parked);
        for parked in waiting.drain(..) {
            let fetched = self.try_fetch(cx, parked.replica, parked.position);
            self.answer_parked(cx, &parked, fetched);
        }
        // On the hot path: the allocation goes on to be used.
        self.parked = waiting;
    }

    /// Answers every fetch that waits with that error, as the role is now.
    pub(super) fn fail_fetches(&mut self, cx: &mut Context<'_>, error: ResponseError) {
        for parked in std::mem::take(&mut self.parked) {
            self.answer_parked(cx, &parked, Fetched::error(error));
        }
    }

    /// Answers the fetches that have waited long enough, with nothing.
    pub(super) fn expire_fetches(&mut self, cx: &mut Context<'_>) {
        self.purgatory_armed = false;
        let now_ms = cx.now.mono_ms;
        let high_watermark = match self.quorum.leader_state() {
            Some(leader) => leader.high_watermark().unwrap_or(Offset::UNKNOWN),
            None => Offset::UNKNOWN,
        };
        let expired: Vec<Parked> = self
            .parked
            .extract_if(.., |parked| parked.deadline_ms <= now_ms)
            .collect();
        for parked in expired {
            let nothing = Fetched {
                error: None,
                high_watermark,
                diverging: None,
                records: Bytes::new(),
            };
            self.answer_parked(cx, &parked, nothing);
        }
        if let Some(next_ms) = self.parked.iter().map(|parked| parked.deadline_ms).min() {
            self.purgatory_armed = true;
            cx.effects.arm_at(Timer::RaftPurgatory, next_ms - now_ms);
        }
    }

    fn answer_parked(&mut self, cx: &mut Context<'_>, parked: &Parked, fetched: Fetched) {
        let body = messages::fetch_response(parked.version, self.view(), fetched);
        self.reply(cx, parked.conn, parked.correlation_id, body, None);
    }

    /// Why this node cannot answer a leader-only request (`validateLeaderOnlyRequest`).
    fn validate_leader_request(&self, epoch: LeaderEpoch) -> Option<ResponseError> {
        if epoch < self.quorum.epoch() {
            Some(ResponseError::FencedLeaderEpoch)
        } else if self.quorum.epoch() < epoch {
            Some(ResponseError::UnknownLeaderEpoch)
        } else if !self.quorum.is_leader() {
            Some(ResponseError::NotLeaderOrFollower)
        } else if self.is_shutting_down {
            Some(ResponseError::BrokerNotAvailable)
        } else {
            None
        }
    }

    /// FetchSnapshot: there are none.
    pub(super) fn handle_snapshot(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &FetchSnapshotRequest,
    ) {
        let mut response = FetchSnapshotResponse::default();
        let partition = request
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        match partition {
            _ if !self.is_our_cluster(request.cluster_id.as_ref()) => {
                response.error_code = ResponseError::InconsistentClusterId.code();
            }
            None => response.error_code = ResponseError::InvalidRequest.code(),
            Some(partition) => {
                let epoch = LeaderEpoch(partition.current_leader_epoch);
                let error = self.validate_leader_request(epoch);
                let error = error.unwrap_or(ResponseError::SnapshotNotFound);
                let mut answer =
                    snapshot::PartitionSnapshot::default().with_error_code(error.code());
                let leader = self.quorum.leader().unwrap_or(NodeId::NONE);
                answer.current_leader.leader_id = leader.0.into();
                answer.current_leader.leader_epoch = self.quorum.epoch().0;
                let topic = snapshot::TopicSnapshot::default()
                    .with_name(StrBytes::from_static_str(METADATA_TOPIC).into())
                    .with_partitions(vec![answer]);
                response.topics.push(topic);
            }
        }
        self.reply(cx, conn, header.correlation_id, response.into(), None);
    }

    /// DescribeQuorum: how far every replica is.
    pub(super) fn handle_describe(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: &DescribeQuorumRequest,
    ) {
        let response = self.describe_quorum(cx.now, header.version, request);
        self.reply(cx, conn, header.correlation_id, response.into(), None);
    }

    /// The answer to a DescribeQuorum of that version, which may have come inside an Envelope.
    pub fn describe_quorum(
        &mut self,
        now: Now,
        version: i16,
        request: &DescribeQuorumRequest,
    ) -> DescribeQuorumResponse {
        let known = request
            .topics
            .iter()
            .any(|topic| topic.topic_name.0.as_str() == METADATA_TOPIC);
        let log_end = self.log.end();
        let mut partition = describe::PartitionData::default();
        let (leader_id, epoch) = (self.config.node, self.quorum.epoch());
        match self.quorum.leader_state() {
            _ if !known => partition.error_code = ResponseError::UnknownTopicOrPartition.code(),
            None => partition.error_code = ResponseError::NotLeaderOrFollower.code(),
            Some(leader) => {
                leader.expire_observers(now);
                let high_watermark = leader.high_watermark().unwrap_or(Offset::UNKNOWN);
                let describe = |state: &ReplicaState| {
                    describe_replica(version, state, leader_id, (now, log_end))
                };
                partition.leader_id = leader_id.0.into();
                partition.leader_epoch = epoch.0;
                partition.high_watermark = high_watermark.0;
                partition.current_voters = leader.voters().iter().map(describe).collect();
                partition.observers = leader.observers().map(describe).collect();
            }
        }
        let topic = describe::TopicData::default()
            .with_topic_name(StrBytes::from_static_str(METADATA_TOPIC).into())
            .with_partitions(vec![partition]);
        let mut response = DescribeQuorumResponse::default().with_topics(vec![topic]);
        if 2 <= version && self.quorum.is_leader() {
            response.nodes = self
                .quorum
                .voters()
                .ids()
                .map(|id| self.describe_node(id))
                .collect();
        }
        response
    }

    fn describe_node(&self, id: NodeId) -> describe::Node {
        let endpoint = self.quorum.voters().endpoint(id).expect("a voter's id");
        let listener = describe::Listener::default()
            .with_name(StrBytes::from_static_str(CONTROLLER_LISTENER))
            .with_host(endpoint.host.clone())
            .with_port(endpoint.port);
        describe::Node::default()
            .with_node_id(id.0.into())
            .with_listeners(vec![listener])
    }

    /// After how long without a majority's fetches a leader resigns
    /// (`LeaderState.CHECK_QUORUM_TIMEOUT_FACTOR`).
    pub(super) fn check_quorum_timeout_ms(&self) -> u64 {
        self.config.timeouts.fetch_timeout_ms * 3 / 2
    }
}

impl Position {
    fn is_possible(self) -> bool {
        Offset::ZERO <= self.offset
            && LeaderEpoch(0) <= self.last_epoch
            && self.last_epoch <= self.current_epoch
    }
}

impl Fetched {
    fn is_empty(&self) -> bool {
        self.error.is_none() && self.diverging.is_none() && self.records.is_empty()
    }
}

fn describe_replica(
    version: i16,
    state: &ReplicaState,
    leader: NodeId,
    (now, log_end): (Now, Offset),
) -> describe::ReplicaState {
    let is_leader = state.id == leader;
    let end = if is_leader { Some(log_end) } else { state.end };
    let time_ms = |of_replica: i64| if is_leader { now.wall_ms } else { of_replica };
    describe::ReplicaState::default()
        .with_replica_id(state.id.0.into())
        .with_replica_directory_id(if 2 <= version {
            state.directory
        } else {
            Uuid::nil()
        })
        .with_log_end_offset(end.unwrap_or(Offset::UNKNOWN).0)
        .with_last_fetch_timestamp(time_ms(state.last_fetch_wall_ms))
        .with_last_caught_up_timestamp(time_ms(state.last_caught_up_wall_ms))
}
