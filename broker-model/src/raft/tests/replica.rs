//! One replica, driven by hand: each input shows what it makes the replica do.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, RequestKind, ResponseKind};

use super::config;
use super::disk::MemoryDisk;
use crate::bug::Bug;
use crate::client::network::{Completion, Network, NetworkConfig, NetworkEvent};
use crate::context::Context;
use crate::effect::{Effect, Effects, File, Write};
use crate::ids::IdSource;
use crate::input::RequestHeader;
use crate::note::Note;
use crate::raft::messages::{self, Fetched, View};
use crate::raft::quorum_state::ElectionState;
use crate::raft::voters::{ReplicaKey, VoterSet};
use crate::raft::{RaftClient, RaftEvent};
use crate::timer::{Channel, Timer};
use crate::types::{
    ConnectionId, FlushId, LeaderEpoch, Listener, NodeId, Now, Offset, ResponseError, StrBytes,
    Uuid,
};
use crate::wire::batch::{BatchHeader, BatchIter};
use crate::wire::build::BatchBuilder;
use crate::wire::versions::{self, FinalizedFeatures};

/// Voter n1 of n1, n2, n3.
pub(super) struct Replica {
    raft: RaftClient,
    network: Network,
    ids: IdSource,
    disk: MemoryDisk,
    bug: Option<Bug>,
    now_ms: u64,
    connections: u64,
    flushes: VecDeque<(File, FlushId)>,
    awaited: VecDeque<(ConnectionId, i32, NodeId)>,
    opened: Vec<(ConnectionId, NodeId)>,
}

/// A batch of one record for each value.
pub(super) fn batch(base: i64, epoch: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new().at(Offset(base), LeaderEpoch(epoch));
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

impl Replica {
    /// A replica that starts with this state and log on its disk, and what it does first. Its first
    /// flushes have ended.
    pub(super) fn start(
        (epoch, leader, voted): (i32, Option<i32>, Option<i32>),
        log: &[Bytes],
        bug: Option<Bug>,
    ) -> (Replica, String) {
        let mut disk = MemoryDisk::with_log(&log.concat());
        let config = config(1, 3);
        let election = ElectionState {
            epoch: LeaderEpoch(epoch),
            leader: leader.map(NodeId),
            voted: voted.map(|id| ReplicaKey {
                id: NodeId(id),
                directory: Uuid::nil(),
            }),
        };
        let content = election.encode(&VoterSet::new(config.voters.clone()));
        disk.write(File::QuorumState, Write::Replace(content));
        let mut replica = Replica {
            raft: RaftClient::recover(config, &disk),
            network: Network::new(NetworkConfig::default(), StrBytes::from_static_str("n1")),
            ids: IdSource::new(1),
            disk,
            bug,
            now_ms: 1_000,
            connections: 0,
            flushes: VecDeque::new(),
            awaited: VecDeque::new(),
            opened: Vec::new(),
        };
        let mut story = replica.step(|raft, cx| raft.start(cx));
        while !replica.flushes.is_empty() {
            story += &replica.flushed();
        }
        (replica, story)
    }

    /// The oldest flush ends.
    pub(super) fn flushed(&mut self) -> String {
        let (_, id) = self.flushes.pop_front().expect("a flush runs");
        self.step(|raft, cx| raft.on_flushed(cx, id, Ok(())))
    }

    pub(super) fn fired(&mut self, timer: Timer) -> String {
        self.step(|raft, cx| raft.on_timer(cx, timer))
    }

    pub(super) fn after(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    /// A voter with that log (last epoch, end) asks for a vote.
    pub(super) fn vote(
        &mut self,
        from: i32,
        epoch: i32,
        log: (i32, i64),
        pre_vote: bool,
    ) -> String {
        let candidate = ReplicaKey {
            id: NodeId(from),
            directory: Uuid::from_u128(0xD000 + u128::try_from(from).expect("positive")),
        };
        let log = (LeaderEpoch(log.0), Offset(log.1));
        let cluster = StrBytes::from_static_str("cluster");
        let to = (candidate, NodeId(1));
        self.request(
            2,
            messages::vote_request(&cluster, LeaderEpoch(epoch), to, log, pre_vote),
        )
    }

    pub(super) fn begin(&mut self, leader: i32, epoch: i32) -> String {
        let cluster = StrBytes::from_static_str("cluster");
        let endpoint = super::endpoint(leader);
        let leader = (NodeId(leader), &endpoint);
        self.request(
            1,
            messages::begin_request(&cluster, LeaderEpoch(epoch), leader, NodeId(1)),
        )
    }

    pub(super) fn end(&mut self, leader: i32, epoch: i32, successors: &[i32]) -> String {
        let cluster = StrBytes::from_static_str("cluster");
        let successors: Vec<NodeId> = successors.iter().copied().map(NodeId).collect();
        let (leader, epoch) = (NodeId(leader), LeaderEpoch(epoch));
        self.request(
            1,
            messages::end_request(&cluster, epoch, leader, &successors),
        )
    }

    /// A replica with that log fetches in that epoch.
    pub(super) fn fetch(&mut self, from: i32, epoch: i32, log: (i32, i64), known: i64) -> String {
        let cluster = StrBytes::from_static_str("cluster");
        self.fetch_of(&cluster, from, epoch, log, known)
    }

    pub(super) fn fetch_of(
        &mut self,
        cluster: &StrBytes,
        from: i32,
        epoch: i32,
        log: (i32, i64),
        known: i64,
    ) -> String {
        let replica = ReplicaKey {
            id: NodeId(from),
            directory: Uuid::nil(),
        };
        let log = (LeaderEpoch(log.0), Offset(log.1));
        let epoch = LeaderEpoch(epoch);
        self.request(
            18,
            messages::fetch_request(cluster, epoch, replica, log, Offset(known)),
        )
    }

    pub(super) fn request(&mut self, version: i16, body: RequestKind) -> String {
        self.connections += 1;
        let conn = ConnectionId(self.connections);
        let header = RequestHeader {
            version,
            correlation_id: 0,
            client_id: StrBytes::default(),
        };
        self.step(|raft, cx| raft.on_request(cx, conn, &header, body))
    }

    /// That voter answers a request for a vote.
    pub(super) fn voted(&mut self, voter: i32, epoch: i32, granted: bool) -> String {
        let view = View {
            epoch: LeaderEpoch(epoch),
            leader: None,
        };
        self.answer(voter, messages::vote_response(2, view, None, granted))
    }

    /// That leader answers a fetch with these records.
    pub(super) fn fetched(&mut self, leader: i32, epoch: i32, records: Bytes, hw: i64) -> String {
        let answer = Fetched {
            error: None,
            high_watermark: Offset(hw),
            diverging: None,
            records,
        };
        self.fetch_answer(leader, epoch, answer)
    }

    /// That leader answers that its `diverging` epoch ends there.
    pub(super) fn diverged(&mut self, leader: i32, epoch: i32, diverging: (i32, i64)) -> String {
        let answer = Fetched {
            error: None,
            high_watermark: Offset::UNKNOWN,
            diverging: Some((LeaderEpoch(diverging.0), Offset(diverging.1))),
            records: Bytes::new(),
        };
        self.fetch_answer(leader, epoch, answer)
    }

    fn fetch_answer(&mut self, leader: i32, epoch: i32, answer: Fetched) -> String {
        let endpoint = super::endpoint(leader);
        let view = View {
            epoch: LeaderEpoch(epoch),
            leader: Some((NodeId(leader), &endpoint)),
        };
        self.answer(leader, messages::fetch_response(18, view, answer))
    }

    /// The newest request to that voter is answered; older ones before it, with what nobody reads.
    fn answer(&mut self, voter: i32, body: ResponseKind) -> String {
        let is_to = |&(_, _, to): &(ConnectionId, i32, NodeId)| to == NodeId(voter);
        let count = self.awaited.iter().filter(|awaited| is_to(awaited)).count();
        assert!(0 < count, "no request to n{voter} is awaited");
        for _ in 1..count {
            let story = self.answer_oldest(
                voter,
                messages::fetch_error(ResponseError::UnknownServerError),
            );
            assert_eq!(story, "", "an older request was awaited");
        }
        self.answer_oldest(voter, body)
    }

    fn answer_oldest(&mut self, voter: i32, body: ResponseKind) -> String {
        let mut awaited = self.awaited.iter();
        let at = awaited.position(|&(_, _, to)| to == NodeId(voter));
        let at = at.expect("just counted");
        let (conn, correlation_id, _) = self.awaited.remove(at).expect("just found");
        let now = self.now();
        self.step(|raft, cx| {
            let body = Box::new(body);
            let event = cx
                .network
                .on_response(now, conn, correlation_id, body, cx.effects);
            if let Some(NetworkEvent::Completed(completion)) = event {
                raft.on_completion(cx, completion);
            }
        })
    }

    /// The oldest request to that voter is lost.
    pub(super) fn lost(&mut self, voter: i32) -> String {
        let mut awaited = self.awaited.iter();
        let at = awaited.position(|&(_, _, to)| to == NodeId(voter));
        let (conn, _, _) = self
            .awaited
            .remove(at.expect("a request is awaited"))
            .expect("found");
        let now = self.now();
        self.step(|raft, cx| {
            for event in cx.network.on_closed(now, conn, cx.effects) {
                if let NetworkEvent::Completed(completion) = event {
                    raft.on_completion(cx, completion);
                }
            }
        })
    }

    /// An answer that nobody waits for.
    pub(super) fn stray(&mut self, voter: i32, token: u64, body: ResponseKind) -> String {
        let completion = Completion {
            channel: Channel::Raft(NodeId(voter)),
            token,
            version: 18,
            result: Ok(Box::new(body)),
        };
        self.step(|raft, cx| raft.on_completion(cx, completion))
    }

    pub(super) fn append(&mut self, epoch: i32, value: &'static str) -> String {
        let records = vec![Bytes::from_static(value.as_bytes())];
        let mut outcome = String::new();
        let story = self.step(|raft, cx| {
            let appended = raft.append(cx, LeaderEpoch(epoch), records);
            outcome = format!("append {appended:?}\n");
        });
        story + &outcome
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_000,
        }
    }

    fn step(&mut self, input: impl FnOnce(&mut RaftClient, &mut Context<'_>)) -> String {
        let now = self.now();
        let mut effects = Effects::new();
        let mut cx = Context {
            now,
            disk: &self.disk,
            network: &mut self.network,
            ids: &mut self.ids,
            effects: &mut effects,
            bug: self.bug,
        };
        input(&mut self.raft, &mut cx);
        let mut story = String::new();
        let mut queue: VecDeque<Effect> = effects.drain().collect();
        while let Some(effect) = queue.pop_front() {
            if let Some(line) = self.brief(&effect) {
                writeln!(story, "{line}").expect("a string takes everything");
            }
            let mut more = Effects::new();
            self.connect(&effect, &mut more);
            // What a connection lets out comes where it was asked for.
            more.drain().rev_into(&mut queue);
        }
        for event in self.raft.take_events() {
            let line = match event {
                RaftEvent::LeaderChange { .. } => continue,
                RaftEvent::Claim { epoch } => format!("claim epoch {epoch}"),
                RaftEvent::Resign { epoch } => format!("resign epoch {epoch}"),
                RaftEvent::Committed(batch) => format!("committed {}..={}", batch.base, batch.last),
            };
            writeln!(story, "{line}").expect("a string takes everything");
        }
        story
    }

    /// Connections open, and negotiate, at once.
    fn connect(&mut self, effect: &Effect, more: &mut Effects) {
        let now = self.now();
        match effect {
            Effect::Open { conn, to } => {
                self.opened.push((*conn, NodeId(i32::from(to.port))));
                self.network
                    .on_opened(now, *conn, Listener::Controller, more);
            }
            Effect::Send {
                conn,
                correlation_id,
                body,
                ..
            } => {
                if matches!(**body, RequestKind::ApiVersions(_)) {
                    let features = FinalizedFeatures {
                        levels: std::collections::BTreeMap::new(),
                        epoch: -1,
                    };
                    let request = ApiVersionsRequest::default();
                    let listener = Listener::Controller;
                    let answer =
                        versions::api_versions_response(listener, 2, &request, &[], &features);
                    let answer = Box::new(ResponseKind::ApiVersions(answer));
                    self.network
                        .on_response(now, *conn, *correlation_id, answer, more);
                } else {
                    let to = self.opened.iter().find(|(opened, _)| opened == conn);
                    let to = to.expect("sent on an open connection").1;
                    self.awaited.push_back((*conn, *correlation_id, to));
                }
            }
            Effect::Flush { file, id } => self.flushes.push_back((*file, *id)),
            _ => {}
        }
    }

    fn brief(&self, effect: &Effect) -> Option<String> {
        match effect {
            Effect::Write { file, write } => Some(match write {
                Write::Replace(content) => {
                    let state = ElectionState::decode(content).expect("written by the model");
                    let node =
                        |node: Option<NodeId>| node.map_or("-".into(), |id| format!("n{id}"));
                    let voted = state.voted.map(|voted| voted.id);
                    let (leader, voted) = (node(state.leader), node(voted));
                    format!(
                        "write {file:?} epoch {} leader {leader} voted {voted}",
                        state.epoch
                    )
                }
                Write::Append(bytes) => {
                    format!("write {file:?} {} batches", BatchIter::new(bytes).count())
                }
                Write::Truncate { len } => format!("cut {file:?} to {len} bytes"),
                Write::Delete => format!("delete {file:?}"),
            }),
            Effect::Flush { file, .. } => Some(format!("flush {file:?}")),
            Effect::Send { conn, body, .. } => {
                let to = self.opened.iter().find(|(opened, _)| opened == conn)?.1;
                brief_request(body).map(|line| format!("to n{to}: {line}"))
            }
            Effect::Reply { body, .. } => brief_response(body).map(|line| format!("reply {line}")),
            Effect::Note(Note::RaftRole { epoch, role, .. }) => {
                Some(format!("{role:?} in {epoch}"))
            }
            Effect::Note(Note::RaftHighWatermark { high_watermark, .. }) => {
                Some(format!("high watermark {high_watermark}"))
            }
            Effect::Note(Note::RaftTruncate { to, log_end }) => {
                Some(format!("cut {log_end} to {to}"))
            }
            Effect::Probe(probe) => Some(format!("probe {}", probe.id())),
            Effect::Halt => Some("halt".into()),
            _ => None,
        }
    }
}

trait RevInto {
    fn rev_into(self, queue: &mut VecDeque<Effect>);
}

impl<I: Iterator<Item = Effect>> RevInto for I {
    fn rev_into(self, queue: &mut VecDeque<Effect>) {
        let effects: Vec<Effect> = self.collect();
        effects
            .into_iter()
            .rev()
            .for_each(|effect| queue.push_front(effect));
    }
}

fn brief_request(body: &RequestKind) -> Option<String> {
    Some(match body {
        RequestKind::Vote(request) => {
            let vote = &request.topics[0].partitions[0];
            let kind = if vote.pre_vote { "pre-vote" } else { "vote" };
            let (epoch, end) = (vote.last_offset_epoch, vote.last_offset);
            format!("{kind} epoch {} log {end}/e{epoch}", vote.replica_epoch)
        }
        RequestKind::BeginQuorumEpoch(request) => {
            format!(
                "begin epoch {}",
                request.topics[0].partitions[0].leader_epoch
            )
        }
        RequestKind::EndQuorumEpoch(request) => {
            let end = &request.topics[0].partitions[0];
            let successors = messages::successors(end).into_iter();
            let successors: Vec<i32> = successors.map(|(id, _)| id.0).collect();
            format!("end epoch {} successors {successors:?}", end.leader_epoch)
        }
        RequestKind::Fetch(request) => {
            let fetch = &request.topics[0].partitions[0];
            let (offset, epoch) = (fetch.fetch_offset, fetch.last_fetched_epoch);
            format!(
                "fetch epoch {} from {offset}/e{epoch}",
                fetch.current_leader_epoch
            )
        }
        _ => return None,
    })
}

fn brief_response(body: &ResponseKind) -> Option<String> {
    Some(match body {
        ResponseKind::Vote(response) => {
            let Some(topic) = response.topics.first() else {
                return Some(format!("vote {}", error(response.error_code)));
            };
            let vote = &topic.partitions[0];
            let granted = if vote.vote_granted {
                "granted"
            } else {
                "refused"
            };
            format!(
                "vote {granted} epoch {}{}",
                vote.leader_epoch,
                error(vote.error_code)
            )
        }
        ResponseKind::BeginQuorumEpoch(response) => {
            let begin = &response.topics[0].partitions[0];
            format!(
                "begin epoch {}{}",
                begin.leader_epoch,
                error(begin.error_code)
            )
        }
        ResponseKind::EndQuorumEpoch(response) => {
            let end = &response.topics[0].partitions[0];
            format!("end epoch {}{}", end.leader_epoch, error(end.error_code))
        }
        ResponseKind::Fetch(response) => {
            let Some(topic) = response.responses.first() else {
                return Some(format!("fetch{}", error(response.error_code)));
            };
            let fetch = &topic.partitions[0];
            let records = fetch.records.clone().unwrap_or_default();
            let mut bases = Vec::new();
            for batch in BatchIter::new(&records) {
                bases.push(
                    BatchHeader::parse(batch.expect("whole").bytes)
                        .expect("ours")
                        .base_offset,
                );
            }
            let mut line = format!("fetch {bases:?} high watermark {}", fetch.high_watermark);
            let diverging = &fetch.diverging_epoch;
            if 0 <= diverging.epoch {
                write!(
                    line,
                    " diverging {}/e{}",
                    diverging.end_offset, diverging.epoch
                )
                .expect("a string takes everything");
            }
            line + &error(fetch.error_code)
        }
        _ => return None,
    })
}

fn error(code: i16) -> String {
    ResponseError::try_from_code(code).map_or(String::new(), |error| format!(" {error:?}"))
}
