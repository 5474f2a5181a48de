//! The raft client of one process: its public side, and the order in which things happen.
//!
//! Every input ends in `settle`: persist what changed, then, once that is on disk, let out the held
//! replies, do what the role asks for (`poll`), and take the next input that waited. So the thread of
//! Kafka's `KafkaRaftClient`, which blocks in `writeElectionState`, becomes a queue.

use std::collections::VecDeque;

use bytes::Bytes;
use kafka_protocol::messages::leader_change_message::{LeaderChangeMessage, Voter};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use kafka_protocol::protocol::Encodable;

use super::fetch::Parked;
use super::log::MetadataLog;
use super::messages::View;
use super::quorum::{QuorumState, Role};
use super::quorum_state::ElectionState;
use super::requests::RequestManager;
use super::voters::{ReplicaKey, VoterSet};
use super::{NotLeader, RaftConfig, RaftEvent};
use crate::client::network::Completion;
use crate::context::Context;
use crate::effect::{DiskRead, Effect, File};
use crate::input::{DiskResult, RequestHeader};
use crate::note::{Note, RaftRole};
use crate::probe::Probe;
use crate::timer::Timer;
use crate::types::{ConnectionId, Endpoint, FlushId, LeaderEpoch, NodeId, Offset};
use crate::wire::build::{BatchBuilder, ControlType};

/// A replica of the metadata log: voter or observer.
#[derive(Debug)]
pub struct RaftClient {
    pub(super) config: RaftConfig,
    pub(super) quorum: QuorumState,
    pub(super) log: MetadataLog,
    pub(super) requests: RequestManager,
    /// Fetches that wait for records or a higher high watermark.
    pub(super) parked: Vec<Parked>,
    /// Whether `Timer::RaftPurgatory` is set.
    pub(super) purgatory_armed: bool,
    /// Inputs that came while the disk did not know the quorum state.
    inbox: VecDeque<Inbound>,
    /// Replies that wait for the same.
    outbox: Vec<HeldReply>,
    /// Notes of roles that wait for the same: Kafka changes the role in memory after the write, and
    /// one that dies in between never had it.
    held_roles: Vec<Note>,
    events: Vec<RaftEvent>,
    /// The leader and epoch of the last `RaftEvent::LeaderChange`.
    announced: Option<(Option<NodeId>, LeaderEpoch)>,
    claimed: Option<LeaderEpoch>,
    pub(super) is_shutting_down: bool,
    /// The process ends: nothing leaves it any more.
    is_halted: bool,
    /// What recovery found, until `start` tells.
    recovered: Recovered,
}

#[derive(Clone, Copy, Debug)]
struct Recovered {
    election: ElectionState,
    torn_bytes: u64,
}

#[derive(Debug)]
enum Inbound {
    Request(ConnectionId, RequestHeader, Box<RequestKind>),
    Completion(Completion),
    Timer(Timer),
}

#[derive(Debug)]
struct HeldReply {
    conn: ConnectionId,
    correlation_id: i32,
    body: ResponseKind,
    note: Option<Note>,
}

impl RaftClient {
    /// The replica as its disk has it. Nothing happens before [`RaftClient::start`].
    ///
    /// # Panics
    ///
    /// If `quorum-state` is there and unreadable: a vote may be forgotten, so Kafka does not start
    /// either.
    #[must_use]
    pub fn recover(config: RaftConfig, disk: &dyn DiskRead) -> Self {
        let (log, torn_bytes) = MetadataLog::recover(disk);
        let election = disk
            .read_all(File::QuorumState)
            .map_or(ElectionState::INITIAL, |file| {
                ElectionState::decode(&file).expect("quorum-state is replaced as a whole")
            });
        let voters = VoterSet::new(config.voters.clone());
        let local = ReplicaKey {
            id: config.node,
            directory: config.directory_id,
        };
        let timeouts = &config.timeouts;
        let requests = RequestManager::new(
            voters.ids(),
            config.node,
            timeouts.retry_backoff_ms,
            timeouts.election_backoff_max_ms,
        );
        let last_epoch = log.last_epoch();
        let quorum = QuorumState::recover(local, config.is_voter, voters, election, last_epoch);
        RaftClient {
            config,
            quorum,
            log,
            requests,
            parked: Vec::new(),
            purgatory_armed: false,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            held_roles: Vec::new(),
            events: Vec::new(),
            announced: None,
            claimed: None,
            is_shutting_down: false,
            is_halted: false,
            recovered: Recovered {
                election,
                torn_bytes,
            },
        }
    }

    /// Begins to take part (`Input::Started`).
    pub fn start(&mut self, cx: &mut Context<'_>) {
        let Recovered {
            election,
            torn_bytes,
        } = self.recovered;
        cx.effects.note(Note::RaftRecovered {
            epoch: election.epoch,
            leader: election.leader,
            voted: election.voted.map(|voted| voted.id),
            log_end: self.log.end(),
        });
        if 0 < torn_bytes {
            cx.effects.probe(Probe::TornTailCut);
            self.log.cut_torn_tail(cx.effects);
        }
        self.flush_as_voter(cx);
        self.enter_first_role(cx);
        self.settle(cx);
    }

    /// A request on the controller listener: Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch of the
    /// metadata topic, FetchSnapshot or DescribeQuorum.
    pub fn on_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        body: RequestKind,
    ) {
        if self.quorum.is_blocked() {
            let request = Inbound::Request(conn, header.clone(), Box::new(body));
            self.inbox.push_back(request);
            return;
        }
        self.handle_request(cx, conn, header, body);
        self.settle(cx);
    }

    /// A request of this client ended: one on a `Channel::Raft`.
    pub fn on_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        if self.quorum.is_blocked() {
            self.inbox.push_back(Inbound::Completion(completion));
            return;
        }
        self.handle_completion(cx, completion);
        self.settle(cx);
    }

    /// A timer of this client fired.
    pub fn on_timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        if self.quorum.is_blocked() {
            self.inbox.push_back(Inbound::Timer(timer));
            return;
        }
        self.handle_timer(cx, timer);
        self.settle(cx);
    }

    /// A flush of `FlushOwner::Raft` ended. A disk that fails ends the process, as Kafka's metadata
    /// log directory does.
    pub fn on_flushed(&mut self, cx: &mut Context<'_>, id: FlushId, result: DiskResult) {
        if result.is_err() {
            self.halt(cx);
        } else if self.log.on_flushed(cx.effects, id) {
            self.update_leader_end(cx);
        } else {
            self.quorum.on_flushed(cx.effects, id);
        }
        self.settle(cx);
    }

    /// An inbound connection is gone: what it waited for is dropped.
    pub fn on_closed(&mut self, conn: ConnectionId) {
        self.parked.retain(|parked| parked.conn != conn);
        self.outbox.retain(|held| held.conn != conn);
        self.inbox.retain(|inbound| match inbound {
            Inbound::Request(from, _, _) => *from != conn,
            Inbound::Completion(_) | Inbound::Timer(_) => true,
        });
    }

    /// Appends one batch of records with these values, at once: there is no linger. Returns the
    /// offset of its last record.
    ///
    /// # Errors
    ///
    /// If this node does not lead in `epoch`, or its election is not on disk yet.
    pub fn append(
        &mut self,
        cx: &mut Context<'_>,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
    ) -> Result<Offset, NotLeader> {
        assert!(!records.is_empty(), "an append without records");
        let leads = matches!(self.quorum.role(), Role::Leader(leader) if leader.begun);
        if !leads || self.quorum.epoch() != epoch || self.quorum.is_blocked() {
            return Err(NotLeader);
        }
        let size: usize = records.iter().map(|value| value.len() + 16).sum();
        let mut builder = BatchBuilder::with_capacity(size + 64).at(self.log.end(), epoch);
        for value in &records {
            builder.push(cx.now.wall_ms, None, Some(value), &[]);
        }
        self.append_as_leader(cx, &builder.build());
        Ok(self.log.end() - 1)
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<RaftEvent> {
        std::mem::take(&mut self.events)
    }

    /// Stops in order: a leader resigns and names its successors. See
    /// [`RaftClient::is_shut_down`].
    pub fn shutdown(&mut self, cx: &mut Context<'_>) {
        self.is_shutting_down = true;
        if !self.quorum.is_blocked() && self.quorum.is_leader() {
            self.become_resigned(cx);
        }
        self.settle(cx);
    }

    /// Whether the quorum can do without this node: it observes, votes alone, or another leads.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        let other_leads = self
            .quorum
            .leader()
            .is_some_and(|id| id != self.config.node);
        let alone = !self.config.is_voter || self.quorum.voters().len() == 1;
        self.is_shutting_down && (alone || (other_leads && !self.quorum.is_blocked()))
    }

    /// Stands down as the leader of `epoch`, if it still is (`RaftClient.resign`).
    pub fn resign(&mut self, cx: &mut Context<'_>, epoch: LeaderEpoch) {
        if self.quorum.is_leader() && self.quorum.epoch() == epoch && !self.quorum.is_blocked() {
            self.become_resigned(cx);
            self.settle(cx);
        }
    }

    /// The leader of the current epoch, this node included. `None` while it is not known, and once it
    /// is known to have resigned.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, LeaderEpoch)> {
        match self.quorum.role() {
            Role::Resigned(_) => None,
            Role::Unattached(_)
            | Role::Follower(_)
            | Role::Prospective(_)
            | Role::Candidate(_)
            | Role::Leader(_) => Some((self.quorum.leader()?, self.quorum.epoch())),
        }
    }

    /// The current epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.quorum.epoch()
    }

    /// The current role.
    #[must_use]
    pub fn role(&self) -> RaftRole {
        self.quorum.role().name()
    }

    /// Up to where this node knows the log to be committed, exclusive; 0 after a start.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// The end of this node's log, exclusive.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log.end()
    }

    /// Where that voter's controller listener is.
    #[must_use]
    pub fn endpoint_of(&self, node: NodeId) -> Option<Endpoint> {
        self.quorum.voters().endpoint(node).cloned()
    }

    /// What responses tell about the quorum.
    pub(super) fn view(&self) -> View<'_> {
        let leader = self.quorum.leader();
        let endpoint = |id| Some((id, self.quorum.voters().endpoint(id)?));
        View {
            epoch: self.quorum.epoch(),
            leader: leader.and_then(endpoint),
        }
    }

    /// Answers a request; not before the disk knows what the answer may depend on.
    pub(super) fn reply(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        correlation_id: i32,
        body: ResponseKind,
        note: Option<Note>,
    ) {
        let held = HeldReply {
            conn,
            correlation_id,
            body,
            note,
        };
        if self.quorum.is_blocked() {
            self.outbox.push(held);
        } else {
            held.send(cx);
        }
    }

    /// Tells the judge of the role, once the disk knows it.
    pub(super) fn note_role(&mut self, cx: &mut Context<'_>) {
        let note = self.quorum.role_note(self.log.end());
        if self.quorum.is_blocked() {
            self.held_roles.push(note);
        } else {
            cx.effects.note(note);
        }
    }

    /// Appends a batch of this leader and asks for the flush that lets it count itself.
    fn append_as_leader(&mut self, cx: &mut Context<'_>, batch: &Bytes) {
        let epoch = self.quorum.epoch();
        let appended = self.log.append(cx.effects, batch, epoch);
        assert!(appended, "a leader's own batch continues its log");
        self.log.flush(cx.effects);
        self.complete_fetches(cx);
    }

    /// Starts the epoch in the log, once the election is on disk.
    pub(super) fn append_leader_change(&mut self, cx: &mut Context<'_>) {
        let Role::Leader(leader) = self.quorum.role() else {
            panic!("{:?} starts an epoch", self.role());
        };
        let voter = |id: NodeId| Voter::default().with_voter_id(id.0);
        let message = LeaderChangeMessage::default()
            .with_leader_id(self.config.node.0.into())
            .with_voters(self.quorum.voters().ids().map(voter).collect())
            .with_granting_voters(leader.granting_voters.iter().copied().map(voter).collect());
        let mut value = Vec::new();
        message
            .encode(&mut value, 0)
            .expect("version 0 has every field that is set");
        let epoch = self.quorum.epoch();
        self.log.start_epoch(epoch);
        let mut builder = BatchBuilder::new().at(self.log.end(), epoch).control();
        builder.push_control(cx.now.wall_ms, ControlType::LeaderChange, &value);
        self.append_as_leader(cx, &builder.build());
    }

    /// A voter makes its log durable; an observer acknowledges nothing and need not.
    pub(super) fn flush_as_voter(&mut self, cx: &mut Context<'_>) {
        if self.quorum.is_voter() && self.log.flushed() < self.log.end() {
            self.log.flush(cx.effects);
        }
    }

    /// Tells the judge, and hands out what got committed.
    pub(super) fn high_watermark_moved(&mut self, cx: &mut Context<'_>) {
        let (leader, epoch_start) = match self.quorum.role() {
            Role::Leader(leader) => (true, leader.epoch_start),
            Role::Unattached(_)
            | Role::Follower(_)
            | Role::Prospective(_)
            | Role::Candidate(_)
            | Role::Resigned(_) => (false, Offset::UNKNOWN),
        };
        cx.effects.note(Note::RaftHighWatermark {
            high_watermark: self.log.high_watermark(),
            leader,
            epoch: self.quorum.epoch(),
            epoch_start,
            log_end: self.log.end(),
        });
        while let Some(batch) = self.log.next_committed() {
            self.events.push(RaftEvent::Committed(batch));
        }
        self.maybe_claim();
    }

    /// This node stops to lead: nobody may act on its epoch any more.
    pub(super) fn give_up_claim(&mut self) {
        if let Some(epoch) = self.claimed.take() {
            self.events.push(RaftEvent::Resign { epoch });
        }
    }

    /// A leader is active once its own LeaderChange record was handed out as committed.
    fn maybe_claim(&mut self) {
        let Role::Leader(leader) = self.quorum.role() else {
            return;
        };
        if self.claimed.is_none() && self.log.has_handed_out(leader.epoch_start) {
            let epoch = self.quorum.epoch();
            self.claimed = Some(epoch);
            self.events.push(RaftEvent::Claim { epoch });
        }
    }

    /// Ends the process, as Kafka's fault handler does.
    pub(super) fn halt(&mut self, cx: &mut Context<'_>) {
        self.is_halted = true;
        cx.effects.push(Effect::Halt);
    }

    /// Brings an input to its end.
    fn settle(&mut self, cx: &mut Context<'_>) {
        loop {
            self.quorum.persist(cx.effects);
            if self.is_halted || self.quorum.is_blocked() {
                return;
            }
            for role in self.held_roles.drain(..) {
                cx.effects.note(role);
            }
            for held in std::mem::take(&mut self.outbox) {
                held.send(cx);
            }
            self.announce_leader();
            if self.poll(cx) {
                continue;
            }
            match self.inbox.pop_front() {
                None => return,
                Some(Inbound::Request(conn, header, body)) => {
                    self.handle_request(cx, conn, &header, *body);
                }
                Some(Inbound::Completion(completion)) => self.handle_completion(cx, completion),
                Some(Inbound::Timer(timer)) => self.handle_timer(cx, timer),
            }
        }
    }

    /// Tells of another leader or epoch. A resigned leader is still the leader that was announced
    /// (`ListenerContext.shouldFireLeaderChange`).
    fn announce_leader(&mut self) {
        if matches!(self.quorum.role(), Role::Resigned(_)) {
            return;
        }
        let (leader, epoch) = (self.quorum.leader(), self.quorum.epoch());
        let is_news = match self.announced {
            None => true,
            Some((known, of_epoch)) => of_epoch < epoch || (known.is_none() && leader.is_some()),
        };
        if is_news {
            self.announced = Some((leader, epoch));
            self.events.push(RaftEvent::LeaderChange { leader, epoch });
        }
    }

    fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        body: RequestKind,
    ) {
        match body {
            RequestKind::Fetch(request) => self.handle_fetch(cx, conn, header, &request),
            RequestKind::Vote(request) => self.handle_vote(cx, conn, header, &request),
            RequestKind::BeginQuorumEpoch(request) => self.handle_begin(cx, conn, header, &request),
            RequestKind::EndQuorumEpoch(request) => self.handle_end(cx, conn, header, &request),
            RequestKind::DescribeQuorum(request) => {
                self.handle_describe(cx, conn, header, &request);
            }
            RequestKind::FetchSnapshot(request) => self.handle_snapshot(cx, conn, header, &request),
            // What is not raft's is routed elsewhere; a peer that insists is cut off.
            _ => cx.effects.close(conn),
        }
    }
}

impl HeldReply {
    fn send(self, cx: &mut Context<'_>) {
        if let Some(note) = self.note {
            cx.effects.note(note);
        }
        cx.effects.reply(self.conn, self.correlation_id, self.body);
    }
}
