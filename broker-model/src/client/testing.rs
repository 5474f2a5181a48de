//! What the clients' tests share: a hand-driven engine with brokers that connect, negotiate and
//! answer metadata by themselves, and leave every other answer to the test.

use std::collections::{BTreeMap, VecDeque};

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProducerId,
    RequestKind, ResponseKind, TopicName,
};

use super::backoff::Backoff;
use super::command::{Command, Event};
use super::metadata::{Metadata, MetadataConfig};
use super::{Client, ClientConfig, ClientKind};
use crate::bug::Bug;
use crate::effect::{Effect, Effects};
use crate::ids::IdSource;
use crate::input::Input;
use crate::probe::Probe;
use crate::timer::Timer;
use crate::types::{
    ConnectionId, Endpoint, Listener, NodeId, Now, StrBytes, TopicIdPartition, Uuid,
};

/// The id of the one topic, `orders`.
pub(super) const TOPIC: Uuid = Uuid::from_u128(100);

/// Partition 0 of it.
pub(super) const P0: TopicIdPartition = TopicIdPartition {
    topic: TOPIC,
    partition: 0,
};

/// The name of the one topic.
pub(super) fn orders() -> StrBytes {
    StrBytes::from_static_str("orders")
}

/// A request that waits for the test's answer.
#[derive(Debug)]
pub(super) struct Sent {
    /// To whom.
    pub(super) node: NodeId,
    /// On which connection.
    pub(super) conn: ConnectionId,
    /// What the answer has to repeat.
    pub(super) correlation_id: i32,
    /// The request.
    pub(super) body: RequestKind,
}

/// One client, its clock, and brokers n1 … n3.
#[derive(Debug)]
pub(super) struct Harness {
    client: Client,
    pub(super) now: Now,
    effects: Effects,
    inputs: VecDeque<Input>,
    timers: BTreeMap<Timer, u64>,
    connections: BTreeMap<ConnectionId, NodeId>,
    /// Broker n is to be reached at this port plus n.
    pub(super) base_port: u16,
    /// Brokers that refuse connections.
    pub(super) down: Vec<NodeId>,
    /// Brokers on which everything disappears.
    pub(super) silent: Vec<NodeId>,
    /// (leader, epoch) of each partition of `orders`; empty: the topic does not exist.
    pub(super) leaders: Vec<(i32, i32)>,
    /// Whether InitProducerId is answered with producer 7.
    pub(super) producer_id: bool,
    /// Requests that nobody answered yet, oldest first.
    pub(super) sent: VecDeque<Sent>,
    /// Requests whose connection is gone: a broker may still execute them.
    pub(super) abandoned: VecDeque<Sent>,
    /// What the application heard.
    pub(super) events: Vec<Event>,
    /// Rare states reached.
    pub(super) probes: Vec<Probe>,
}

impl Harness {
    /// A started client of a cluster in which n1 leads `partitions` partitions in epoch 1.
    pub(super) fn new(kind: ClientKind, partitions: usize, bug: Option<Bug>) -> Harness {
        let client = Client::new(ClientConfig {
            bootstrap: (1..=3).map(|node| endpoint(BASE_PORT, node)).collect(),
            client_id: StrBytes::from_static_str("c"),
            kind,
            bug,
        });
        let mut harness = Harness {
            client,
            now: Now {
                mono_ms: 1_000,
                wall_ms: 1_700_000_000_000,
            },
            effects: Effects::new(),
            inputs: VecDeque::new(),
            timers: BTreeMap::new(),
            connections: BTreeMap::new(),
            base_port: BASE_PORT,
            down: Vec::new(),
            silent: Vec::new(),
            leaders: vec![(1, 1); partitions],
            producer_id: true,
            sent: VecDeque::new(),
            abandoned: VecDeque::new(),
            events: Vec::new(),
            probes: Vec::new(),
        };
        harness.step(Input::Started { entropy: 42 });
        harness
    }

    /// One input and everything that follows from it at once.
    pub(super) fn step(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            self.client.step(self.now, input, &mut self.effects);
            let effects: Vec<Effect> = self.effects.drain().collect();
            for effect in effects {
                self.on_effect(effect);
            }
        }
    }

    /// The application wants something.
    pub(super) fn command(&mut self, command: Command) {
        self.step(Input::Command(command));
    }

    /// Lets time pass and timers fire.
    pub(super) fn advance(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        loop {
            let next = self.timers.iter().min_by_key(|(_, at)| **at);
            let Some((&timer, &at)) = next.filter(|(_, at)| **at <= until) else {
                break;
            };
            self.timers.remove(&timer);
            self.clock(at.max(self.now.mono_ms));
            self.step(Input::Fired(timer));
        }
        self.clock(until);
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, sent: &Sent, body: ResponseKind) {
        self.step(Input::Response {
            conn: sent.conn,
            correlation_id: sent.correlation_id,
            body: Box::new(body),
        });
    }

    /// Every connection to the broker breaks; what it was asked is never answered.
    pub(super) fn cut(&mut self, node: i32) {
        let cut = |(&conn, &to): (&ConnectionId, &NodeId)| (to == NodeId(node)).then_some(conn);
        let conns: Vec<ConnectionId> = self.connections.iter().filter_map(cut).collect();
        for conn in conns {
            self.abandon(conn);
            self.step(Input::Closed { conn });
        }
    }

    /// The events since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn abandon(&mut self, conn: ConnectionId) {
        self.connections.remove(&conn);
        let sent = std::mem::take(&mut self.sent);
        let (abandoned, kept) = sent.into_iter().partition(|sent| sent.conn == conn);
        self.sent = kept;
        let mut abandoned: VecDeque<Sent> = abandoned;
        self.abandoned.append(&mut abandoned);
    }

    fn clock(&mut self, mono_ms: u64) {
        let passed = i64::try_from(mono_ms - self.now.mono_ms).expect("tests are short");
        self.now = Now {
            mono_ms,
            wall_ms: self.now.wall_ms + passed,
        };
    }

    fn on_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Open { conn, to } => self.on_open(conn, &to),
            Effect::Send {
                conn,
                correlation_id,
                body,
                ..
            } => self.on_send(conn, correlation_id, *body),
            Effect::Close { conn } => self.abandon(conn),
            Effect::Arm { timer, window_ms } => {
                self.timers
                    .insert(timer, self.now.mono_ms + window_ms.end());
            }
            Effect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            Effect::Event(event) => self.events.push(event),
            Effect::Probe(probe) => self.probes.push(probe),
            other => panic!("a client asked for {other:?}"),
        }
    }

    fn on_open(&mut self, conn: ConnectionId, to: &Endpoint) {
        let node = NodeId(i32::from(to.port % 100));
        if self.silent.contains(&node) {
            return;
        }
        if self.down.contains(&node) {
            self.inputs.push_back(Input::Closed { conn });
            return;
        }
        self.connections.insert(conn, node);
        let listener = Listener::Broker;
        self.inputs.push_back(Input::Opened { conn, listener });
    }

    fn on_send(&mut self, conn: ConnectionId, correlation_id: i32, body: RequestKind) {
        let Some(&node) = self.connections.get(&conn) else {
            return;
        };
        if self.silent.contains(&node) {
            return;
        }
        let answer = match &body {
            RequestKind::ApiVersions(_) => api_versions(),
            RequestKind::Metadata(_) => ResponseKind::Metadata(self.metadata()),
            RequestKind::InitProducerId(_) if self.producer_id => ResponseKind::InitProducerId(
                InitProducerIdResponse::default().with_producer_id(ProducerId(7)),
            ),
            _ => {
                self.sent.push_back(Sent {
                    node,
                    conn,
                    correlation_id,
                    body,
                });
                return;
            }
        };
        self.inputs.push_back(Input::Response {
            conn,
            correlation_id,
            body: Box::new(answer),
        });
    }

    fn metadata(&self) -> MetadataResponse {
        metadata_response(self.base_port, &self.leaders)
    }
}

/// A cache that knows `partitions` partitions of the topic, all led by n1.
pub(super) fn metadata_of(topic: Uuid, partitions: usize) -> Metadata {
    assert_eq!(topic, TOPIC, "there is one topic");
    let mut metadata = Metadata::new(MetadataConfig {
        max_age_ms: 300_000,
        backoff: Backoff {
            initial_ms: 100,
            max_ms: 1_000,
        },
        allow_auto_topic_creation: true,
    });
    metadata.want(&orders());
    let now = Now {
        mono_ms: 0,
        wall_ms: 0,
    };
    let response = metadata_response(BASE_PORT, &vec![(1, 1); partitions]);
    metadata.on_response(now, response, &mut IdSource::new(0));
    metadata
}

fn metadata_response(base_port: u16, leaders: &[(i32, i32)]) -> MetadataResponse {
    let brokers = (1..=3).map(|id| {
        let Endpoint { host, port } = endpoint(base_port, id);
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(host)
            .with_port(i32::from(port))
    });
    let partitions = (0..).zip(leaders).map(|(index, &(leader, epoch))| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
    });
    let partitions: Vec<_> = partitions.collect();
    // 3 is UNKNOWN_TOPIC_OR_PARTITION.
    let error_code = if partitions.is_empty() { 3 } else { 0 };
    let topic = MetadataResponseTopic::default()
        .with_error_code(error_code)
        .with_name(Some(TopicName(orders())))
        .with_topic_id(TOPIC)
        .with_partitions(partitions);
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_topics(vec![topic])
}

const BASE_PORT: u16 = 9_000;

fn endpoint(base_port: u16, node: i32) -> Endpoint {
    Endpoint {
        host: StrBytes::from_static_str("n"),
        port: base_port + u16::try_from(node).expect("small"),
    }
}

/// Everything that the clients use, up to the newest versions.
fn api_versions() -> ResponseKind {
    let apis = [
        (ApiKey::Produce, 13),
        (ApiKey::Fetch, 18),
        (ApiKey::ListOffsets, 10),
        (ApiKey::Metadata, 13),
        (ApiKey::ApiVersions, 4),
        (ApiKey::CreateTopics, 7),
        (ApiKey::InitProducerId, 5),
        (ApiKey::OffsetForLeaderEpoch, 4),
    ];
    let api = |(key, max): (ApiKey, i16)| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_max_version(max)
    };
    let keys = apis.into_iter().map(api).collect();
    ResponseKind::ApiVersions(ApiVersionsResponse::default().with_api_keys(keys))
}
