//! Stories about the controller, on a metadata log that commits when the story says so.

mod brokers;
mod claims;
mod operators;
mod partitions;
mod swarm;
mod topics;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::broker_registration_request::{Feature, Listener};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
    BrokerRegistrationResponse, CreateTopicsRequest, DescribeQuorumRequest, DescribeQuorumResponse,
    RequestKind, ResponseKind, TopicName,
};

use kafka_protocol::protocol::Decodable;

use super::metadata_log::MetadataLog;
use super::state::ControllerState;
use super::{ControllerConfig, QuorumController};
use crate::client::network::{Network, NetworkConfig};
use crate::config::{BrokerConfig, Given};
use crate::context::Context;
use crate::effect::{DiskRead, Effect, Effects, File};
use crate::ids::IdSource;
use crate::input::RequestHeader;
use crate::metadata::image::PartitionRegistration;
use crate::metadata::record::{MetadataRecord, RegisterBrokerRecord};
use crate::metadata::{MetadataDelta, MetadataImage};
use crate::node::{NodeConfig, Voter};
use crate::note::Note;
use crate::probe::Probe;
use crate::raft::{CommittedBatch, NotLeader, RaftEvent};
use crate::timer::Timer;
use crate::types::{
    BrokerEpoch, ConnectionId, Endpoint, LeaderEpoch, NodeId, Now, Offset, StrBytes,
    TopicIdPartition, Uuid,
};
use crate::wire::versions::SUPPORTED_FEATURES;

/// A log that takes everything in its epoch, and hands nothing out by itself.
struct FakeLog {
    leads_in: Option<LeaderEpoch>,
    end: Offset,
    uncommitted: Vec<CommittedBatch>,
}

impl FakeLog {
    fn push(&mut self, records: Vec<Bytes>, control: bool) -> Offset {
        let base = self.end;
        let last = base + (i64::try_from(records.len()).expect("a small batch") - 1);
        self.end = last.next();
        self.uncommitted.push(CommittedBatch {
            base,
            last,
            epoch: self.leads_in.unwrap_or(LeaderEpoch::NONE),
            append_time_ms: 0,
            records,
            control,
            crc: 0,
        });
        last
    }
}

impl MetadataLog for FakeLog {
    fn append(
        &mut self,
        _: &mut Context<'_>,
        epoch: LeaderEpoch,
        records: Vec<Bytes>,
    ) -> Result<Offset, NotLeader> {
        if self.leads_in != Some(epoch) {
            return Err(NotLeader);
        }
        Ok(self.push(records, false))
    }

    fn next_offset(&self) -> Offset {
        self.end
    }

    fn describe_quorum(
        &mut self,
        _: Now,
        _: i16,
        _: &DescribeQuorumRequest,
    ) -> DescribeQuorumResponse {
        DescribeQuorumResponse::default()
    }
}

struct NoDisk;

impl DiskRead for NoDisk {
    fn len(&self, _: File) -> Option<u64> {
        None
    }
    fn read(&self, _: File, _: u64, _: usize) -> Bytes {
        Bytes::new()
    }
    fn partition_logs(&self) -> Vec<TopicIdPartition> {
        Vec::new()
    }
}

/// One controller and its log.
struct Story {
    controller: QuorumController,
    log: FakeLog,
    network: Network,
    ids: IdSource,
    now_ms: u64,
    epoch: LeaderEpoch,
    connections: u64,
    seen: Vec<Effect>,
}

impl Story {
    /// A controller that is not active.
    fn standby() -> Story {
        Story {
            controller: QuorumController::new(config(&[])),
            log: FakeLog {
                leads_in: None,
                end: Offset::ZERO,
                uncommitted: Vec::new(),
            },
            network: Network::new(NetworkConfig::default(), StrBytes::from_static_str("n1")),
            ids: IdSource::new(7),
            now_ms: 0,
            epoch: LeaderEpoch(0),
            connections: 0,
            seen: Vec::new(),
        }
    }

    /// An active controller of an empty cluster.
    fn active() -> Story {
        let mut story = Story::standby();
        story.claim();
        story.commit();
        story
    }

    /// An active controller and brokers n1, n2, … that live.
    fn with_brokers(count: i32) -> Story {
        let mut story = Story::active();
        for broker in 1..=count {
            story.register(broker, 1);
            story.heartbeat(broker);
        }
        story
    }

    fn claim(&mut self) {
        self.epoch = self.epoch.next();
        self.log.leads_in = Some(self.epoch);
        self.log.push(vec![Bytes::new()], true);
        self.commit();
        self.on_event(&RaftEvent::Claim { epoch: self.epoch });
    }

    /// The leadership goes; what is not committed is cut off.
    fn resign(&mut self) {
        self.log.leads_in = None;
        if let Some(first) = self.log.uncommitted.first() {
            self.log.end = first.base;
        }
        self.log.uncommitted.clear();
        self.on_event(&RaftEvent::Resign { epoch: self.epoch });
    }

    fn commit(&mut self) {
        for batch in std::mem::take(&mut self.log.uncommitted) {
            self.on_event(&RaftEvent::Committed(batch));
        }
    }

    fn on_event(&mut self, event: &RaftEvent) {
        self.step(|controller, cx, log| controller.on_raft_event(cx, log, event));
    }

    fn fire(&mut self, timer: Timer) {
        self.step(|controller, cx, log| controller.on_timer(cx, log, timer));
    }

    fn step(&mut self, act: impl FnOnce(&mut QuorumController, &mut Context<'_>, &mut FakeLog)) {
        let mut effects = Effects::new();
        let mut cx = Context {
            now: Now {
                mono_ms: self.now_ms,
                wall_ms: 0,
            },
            disk: &NoDisk,
            network: &mut self.network,
            ids: &mut self.ids,
            effects: &mut effects,
            bug: None,
        };
        act(&mut self.controller, &mut cx, &mut self.log);
        self.seen.extend(effects.drain());
    }

    /// Sends a request on a connection of its own; the answer is for [`Story::answer_on`].
    fn ask(&mut self, version: i16, request: impl Into<RequestKind>) -> ConnectionId {
        self.connections += 1;
        let conn = ConnectionId(self.connections);
        let header = RequestHeader {
            version,
            correlation_id: 1,
            client_id: StrBytes::default(),
        };
        let body = request.into();
        self.step(|controller, cx, log| controller.on_request(cx, log, conn, &header, body));
        // Whatever is answered must be writable in the version of its request.
        if let Some(answer) = self.answer_on(conn) {
            let written = answer.encode(&mut BytesMut::new(), version);
            assert!(
                written.is_ok(),
                "{answer:?} in version {version}: {written:?}"
            );
        }
        conn
    }

    fn answer_on(&self, asked: ConnectionId) -> Option<&ResponseKind> {
        self.seen.iter().find_map(|effect| match effect {
            Effect::Reply { conn, body, .. } if *conn == asked => Some(body.as_ref()),
            _ => None,
        })
    }

    /// Asks, commits, and hands out the answer.
    fn call<R: Decodable>(&mut self, version: i16, request: impl Into<RequestKind>) -> R {
        let conn = self.ask(version, request);
        self.commit();
        let answer = self.answer_on(conn).expect("everything is committed");
        let mut written = BytesMut::new();
        answer
            .encode(&mut written, version)
            .expect("the answer can be written in the request's version");
        R::decode(&mut written.freeze(), version).expect("what was written is that answer")
    }

    fn register(&mut self, broker: i32, incarnation: u128) -> BrokerRegistrationResponse {
        self.call(4, registration(broker, incarnation))
    }

    /// A heartbeat of a broker that wants to live and has read everything.
    fn heartbeat(&mut self, broker: i32) -> BrokerHeartbeatResponse {
        let request = self.alive(broker);
        self.call(1, request)
    }

    fn alive(&self, broker: i32) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(broker))
            .with_broker_epoch(self.broker_epoch(broker))
            .with_current_metadata_offset(self.image().offset().0)
    }

    fn broker_epoch(&self, broker: i32) -> i64 {
        let registered = self.image().broker(NodeId(broker));
        registered.map_or(-1, |it| it.epoch.0)
    }

    /// Everybody but `silent` sends heartbeats for the length of a session.
    fn let_session_end(&mut self, silent: &[i32], brokers: i32) {
        for _ in 0..9 {
            self.now_ms += 1_125;
            for broker in (1..=brokers).filter(|broker| !silent.contains(broker)) {
                self.heartbeat(broker);
            }
            self.fire(Timer::BrokerSessions);
            self.commit();
        }
    }

    /// Creates a topic whose partition 0 has those replicas.
    fn create_on(&mut self, name: &str, replicas: &[i32], configs: &[(&str, &str)]) {
        let assignment = CreatableReplicaAssignment::default()
            .with_broker_ids(replicas.iter().copied().map(BrokerId).collect());
        let topic = topic(name, -1, -1)
            .with_assignments(vec![assignment])
            .with_configs(
                configs
                    .iter()
                    .map(|&(name, value)| setting(name, value))
                    .collect(),
            );
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer: kafka_protocol::messages::CreateTopicsResponse = self.call(7, request);
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
    }

    fn image(&self) -> &MetadataImage {
        self.controller.committed_image()
    }

    fn topic_id(&self, topic: &str) -> Uuid {
        let topic = self.image().topic_by_name(topic);
        topic.expect("the story created it").id
    }

    /// Partition 0 of the topic, as it is committed.
    fn partition(&self, topic: &str) -> &PartitionRegistration {
        let topic = self.image().topic_by_name(topic);
        &topic.expect("the story created it").partitions[&0]
    }

    /// `leader epoch isr` of partition 0.
    fn told(&self, topic: &str) -> String {
        let state = &self.partition(topic).state;
        let isr: Vec<String> = state.isr.iter().map(ToString::to_string).collect();
        let recovering = if state.recovering { " recovering" } else { "" };
        format!(
            "leader {} epoch {} isr {}{recovering}",
            state.leader,
            state.leader_epoch,
            isr.join(",")
        )
    }

    fn notes(&self) -> impl Iterator<Item = &Note> {
        self.seen.iter().filter_map(|effect| match effect {
            Effect::Note(note) => Some(note),
            _ => None,
        })
    }

    fn reached(&self, probe: Probe) -> bool {
        let mut seen = self.seen.iter();
        seen.any(|effect| matches!(effect, Effect::Probe(it) if *it == probe))
    }
}

fn config(properties: &[(&str, &str)]) -> ControllerConfig {
    let given = properties.iter();
    let properties: Given = given
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let endpoint = |port| Endpoint {
        host: StrBytes::from_static_str("n1"),
        port,
    };
    let node = NodeConfig {
        id: NodeId(1),
        is_broker: true,
        is_controller: true,
        cluster_id: StrBytes::from_static_str("sim"),
        voters: vec![Voter {
            id: NodeId(1),
            endpoint: endpoint(10_092),
        }],
        broker_endpoint: endpoint(9_092),
        rack: None,
        properties: properties.clone(),
        metadata_lag_max_ms: 0,
        bug: None,
    };
    let config = BrokerConfig::from_properties(&properties).expect("properties of a story");
    ControllerConfig::new(&node, &config)
}

fn registration(broker: i32, incarnation: u128) -> BrokerRegistrationRequest {
    let features = SUPPORTED_FEATURES.iter().map(|feature| {
        Feature::default()
            .with_name(StrBytes::from_static_str(feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    let listener = Listener::default()
        .with_name(StrBytes::from_static_str("PLAINTEXT"))
        .with_host(StrBytes::from_string(format!("n{broker}")))
        .with_port(9_092);
    BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(broker))
        .with_cluster_id(StrBytes::from_static_str("sim"))
        .with_incarnation_id(Uuid::from_u128(incarnation))
        .with_listeners(vec![listener])
        .with_features(features.collect())
        .with_log_dirs(vec![directory(broker)])
}

fn directory(broker: i32) -> Uuid {
    Uuid::from_u128(1_000 + u128::try_from(broker).expect("a broker's id"))
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn setting(name: &str, value: &str) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(Some(StrBytes::from_string(value.to_owned())))
}

/// A state in which brokers n1, n2, … live.
pub(super) fn state_with_brokers(count: usize) -> ControllerState {
    state_of(vec![None; count])
}

/// The same, a rack each.
pub(super) fn state_with_racks(racks: &[&'static str]) -> ControllerState {
    let racks = racks.iter().copied().map(StrBytes::from_static_str);
    state_of(racks.map(Some).collect())
}

fn state_of(racks: Vec<Option<StrBytes>>) -> ControllerState {
    let mut image = MetadataImage::empty();
    for (broker, rack) in (1..).zip(racks) {
        let record = MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker: NodeId(broker),
            is_migrating_zk_broker: false,
            incarnation: Uuid::from_u128(1),
            epoch: BrokerEpoch(i64::from(broker)),
            endpoints: Vec::new(),
            features: Vec::new(),
            rack,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![directory(broker)],
        });
        let offset = Offset(i64::from(broker));
        image.replay(offset, &record, &mut MetadataDelta::default());
    }
    ControllerState::activate(config(&[]), &image, 0)
}
