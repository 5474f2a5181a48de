//! Stories of a process's connections.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, HeartbeatResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, RequestKind, ResponseKind,
};

use super::{Completion, Network, NetworkConfig, NetworkError, NetworkEvent, Readiness};
use crate::effect::{Effect, Effects};
use crate::timer::{Channel, Timer};
use crate::types::{ConnectionId, Endpoint, Listener, NodeId, Now, StrBytes};

const N1: Channel = Channel::Broker(NodeId(1));

/// A network, its clock, and what it asked for since it was last looked at.
struct Story {
    network: Network,
    now: Now,
    effects: Effects,
}

impl Story {
    fn new() -> Story {
        let config = NetworkConfig {
            reconnect_backoff_ms: 50,
            reconnect_backoff_max_ms: 400,
            setup_timeout_ms: 1_000,
        };
        Story {
            network: Network::new(config, StrBytes::from_static_str("c")),
            now: Now {
                mono_ms: 0,
                wall_ms: 0,
            },
            effects: Effects::new(),
        }
    }

    /// One whose first connection is ready.
    fn ready() -> Story {
        let mut story = Story::new();
        story.send(1, 10_000);
        story.open(1);
        story.respond(1, 0, api_versions());
        story.respond(1, 1, metadata());
        story.look();
        story
    }

    fn send(&mut self, token: u64, timeout_ms: u64) {
        let body = RequestKind::Metadata(MetadataRequest::default());
        self.send_body(token, body, timeout_ms);
    }

    fn send_body(&mut self, token: u64, body: RequestKind, timeout_ms: u64) {
        let (to, effects) = (endpoint(), &mut self.effects);
        let request = (token, body);
        self.network
            .send(self.now, N1, &to, request, timeout_ms, effects);
    }

    fn open(&mut self, n: u64) {
        let conn = ConnectionId::outbound(n);
        let effects = &mut self.effects;
        self.network
            .on_opened(self.now, conn, Listener::Broker, effects);
    }

    fn respond(&mut self, n: u64, correlation_id: i32, body: ResponseKind) -> Option<NetworkEvent> {
        let (conn, body) = (ConnectionId::outbound(n), Box::new(body));
        let effects = &mut self.effects;
        self.network
            .on_response(self.now, conn, correlation_id, body, effects)
    }

    fn close(&mut self, n: u64) -> Vec<NetworkEvent> {
        let conn = ConnectionId::outbound(n);
        self.network.on_closed(self.now, conn, &mut self.effects)
    }

    /// The timer fires at that moment.
    fn fire(&mut self, at_ms: u64) -> Vec<NetworkEvent> {
        self.now.mono_ms = at_ms;
        self.network.on_timer(self.now, N1, &mut self.effects)
    }

    /// What was asked for, in brief.
    fn look(&mut self) -> Vec<String> {
        let brief = |effect| match effect {
            Effect::Open { conn, .. } => format!("open {}", nth(conn)),
            Effect::Close { conn } => format!("close {}", nth(conn)),
            Effect::Send {
                conn,
                version,
                correlation_id,
                ..
            } => format!("send {} v{version} #{correlation_id}", nth(conn)),
            Effect::Arm { timer, window_ms } => {
                assert_eq!(timer, Timer::Network(N1));
                format!("arm {}..={}", window_ms.start(), window_ms.end())
            }
            other => panic!("{other:?}"),
        };
        self.effects.drain().map(brief).collect()
    }
}

fn nth(conn: ConnectionId) -> u64 {
    let nth = (1..100).find(|&n| ConnectionId::outbound(n) == conn);
    nth.expect("a story opens few connections")
}

fn endpoint() -> Endpoint {
    Endpoint {
        host: StrBytes::from_static_str("n1"),
        port: 9092,
    }
}

fn api_versions() -> ResponseKind {
    let api = |key: ApiKey, max| {
        ApiVersion::default()
            .with_api_key(key as i16)
            .with_max_version(max)
    };
    let keys = vec![api(ApiKey::Produce, 9), api(ApiKey::Metadata, 12)];
    ResponseKind::ApiVersions(ApiVersionsResponse::default().with_api_keys(keys))
}

fn metadata() -> ResponseKind {
    ResponseKind::Metadata(MetadataResponse::default())
}

fn ended(token: u64, version: i16, error: NetworkError) -> NetworkEvent {
    NetworkEvent::Completed(Completion {
        channel: N1,
        token,
        version,
        result: Err(error),
    })
}

#[test]
fn a_request_waits_for_connection_and_negotiation() {
    let mut story = Story::new();
    story.send(1, 10_000);
    assert_eq!(story.look(), ["open 1", "arm 1000..=1000"]);
    story.open(1);
    assert_eq!(story.look(), ["send 1 v4 #0"]);
    let ready = story.respond(1, 0, api_versions());
    assert_eq!(ready, Some(NetworkEvent::Ready(N1)));
    assert_eq!(story.look(), ["send 1 v12 #1"]);
    assert_eq!(story.network.readiness(N1), Readiness::Ready);
    let answered = story.respond(1, 1, metadata());
    assert!(
        matches!(&answered, Some(NetworkEvent::Completed(done)) if done.token == 1 && done.version == 12)
    );
    assert_eq!(story.network.outstanding(N1), 0);
}

#[test]
fn an_unanswered_request_ends_the_connection_and_everything_on_it() {
    let mut story = Story::ready();
    story.send(2, 100);
    story.send(3, 5_000);
    assert_eq!(story.fire(99), []);
    assert_eq!(
        story.fire(100),
        [
            ended(2, 12, NetworkError::TimedOut),
            ended(3, 12, NetworkError::TimedOut),
            NetworkEvent::Disconnected(N1)
        ]
    );
    assert!(story.look().contains(&"close 1".to_owned()));
}

#[test]
fn what_was_not_written_certainly_had_no_effect() {
    let mut story = Story::new();
    story.send(1, 10_000);
    assert_eq!(
        story.close(1),
        [
            ended(1, -1, NetworkError::NotSent),
            NetworkEvent::Disconnected(N1)
        ]
    );
    assert!(NetworkError::NotSent.never_sent());
}

#[test]
fn a_connection_attempt_is_given_up_after_the_setup_timeout() {
    let mut story = Story::new();
    story.send(1, 10_000);
    story.open(1);
    story.look();
    assert_eq!(
        story.fire(1_000),
        [
            ended(1, -1, NetworkError::NotSent),
            NetworkEvent::Disconnected(N1)
        ]
    );
    assert_eq!(story.look(), ["close 1", "arm 40..=60"]);
}

#[test]
fn the_back_off_doubles_up_to_its_bound() {
    let mut story = Story::new();
    let mut now_ms = 0;
    for (n, window) in [
        (1, "arm 40..=60"),
        (2, "arm 80..=120"),
        (3, "arm 160..=240"),
    ] {
        story.send(n, 10_000);
        story.look();
        story.close(n);
        assert_eq!(story.look(), [window]);
        now_ms += 250;
        story.fire(now_ms);
    }
    for n in 4..7 {
        story.send(n, 10_000);
        story.close(n);
        now_ms += 500;
        story.fire(now_ms);
    }
    story.send(7, 10_000);
    story.look();
    story.close(7);
    assert_eq!(story.look(), ["arm 320..=400"]);
}

#[test]
fn a_channel_that_is_wanted_while_it_backs_off_connects_afterwards() {
    let mut story = Story::ready();
    story.close(1);
    let (to, effects) = (endpoint(), &mut story.effects);
    assert!(!story.network.connect(story.now, N1, &to, effects));
    assert_eq!(story.network.readiness(N1), Readiness::BackingOff);
    story.look();
    story.fire(60);
    assert_eq!(story.look()[0], "open 2");
    assert_eq!(story.network.last_attempt(N1), 2);
}

#[test]
fn a_channel_that_nobody_wants_stays_closed() {
    let mut story = Story::ready();
    story.close(1);
    story.look();
    story.fire(60);
    assert_eq!(story.look(), Vec::<String>::new());
    assert_eq!(story.network.readiness(N1), Readiness::Idle);
}

#[test]
fn a_produce_without_acks_is_not_waited_for() {
    let mut story = Story::ready();
    let produce = ProduceRequest::default().with_acks(0);
    story.send_body(2, RequestKind::Produce(produce), 100);
    story.send(3, 5_000);
    assert_eq!(story.look()[..2], ["send 1 v9 #2", "send 1 v12 #3"]);
    assert_eq!(story.network.outstanding(N1), 1);
    let answered = story.respond(1, 3, metadata());
    assert!(matches!(answered, Some(NetworkEvent::Completed(done)) if done.token == 3));
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let mut story = Story::ready();
    story.send(2, 10_000);
    story.look();
    let stray = ResponseKind::Heartbeat(HeartbeatResponse::default());
    assert_eq!(story.respond(1, 99, stray), None);
    assert_eq!(story.look(), ["arm 0..=0"]);
    assert_eq!(
        story.fire(0),
        [
            ended(2, 12, NetworkError::TimedOut),
            NetworkEvent::Disconnected(N1)
        ]
    );
}

#[test]
fn the_timer_moves_only_to_an_earlier_deadline() {
    let mut story = Story::ready();
    story.send(2, 10_000);
    assert_eq!(story.look(), ["send 1 v12 #2"], "armed for earlier");
    story.send(3, 300);
    assert_eq!(story.look(), ["send 1 v12 #3", "arm 300..=300"]);
}
