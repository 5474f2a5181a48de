//! Requests that only the active controller can answer, carried there in an Envelope.
//!
//! Mirrors `ForwardingManager` and the sending half of `AutoTopicCreationManager`. The request
//! travels as bytes in the client's version, and its answer comes back the same way. It is sent
//! again while the controller moves; what could not be sent for a minute is answered with
//! REQUEST_TIMED_OUT, in the shape of the request's own response.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, EnvelopeRequest, EnvelopeResponse, RequestKind, ResponseKind,
    TopicName,
};

use super::apis::alter_configs;
use super::controller_channel::{ControllerChannel, Outcome};
use super::error_response::error_response;
use crate::client::network::Completion;
use crate::context::Context;
use crate::input::RequestHeader;
use crate::timer::{Channel, Timer};
use crate::types::{ConnectionId, Endpoint, NodeId, ResponseError};
use crate::wire::frame::{decode_response, encode_request};
use crate::wire::request_api;

/// The requests that this broker forwards.
#[derive(Debug)]
pub(crate) struct ForwardingManager {
    node: NodeId,
    channel: ControllerChannel,
    waiting: BTreeMap<u64, Waiting>,
    next_token: u64,
    /// Topics that are being created because a request named or needs them.
    auto_creating: BTreeSet<TopicName>,
}

/// Who waits for an answer. Nobody, when the client went away.
#[derive(Debug)]
enum Waiting {
    Client(Box<Forwarded>),
    AutoCreation(Vec<TopicName>),
}

/// A client's request on its way.
#[derive(Debug)]
struct Forwarded {
    conn: ConnectionId,
    header: RequestHeader,
    api: ApiKey,
    /// What the client asked, for the shape of an error.
    request: RequestKind,
    /// The resources of an IncrementalAlterConfigs that the broker refused itself.
    refused: alter_configs::Refused,
}

impl ForwardingManager {
    /// Nothing is under way.
    pub(crate) fn new(node: NodeId) -> Self {
        ForwardingManager {
            node,
            channel: ControllerChannel::new(
                Channel::Forwarding,
                Timer::Forwarding,
                RETRY_TIMEOUT_MS,
            ),
            waiting: BTreeMap::new(),
            next_token: 0,
            auto_creating: BTreeSet::new(),
        }
    }

    /// Raft learned of another active controller, or lost it.
    pub(crate) fn set_controller(&mut self, cx: &mut Context<'_>, known: Option<Endpoint>) {
        self.channel.set_controller(cx, known);
    }

    /// Takes a client's request to the controller.
    pub(crate) fn forward(
        &mut self,
        cx: &mut Context<'_>,
        conn: ConnectionId,
        header: &RequestHeader,
        request: RequestKind,
    ) {
        let api = request_api(&request);
        let mut refused = alter_configs::Refused::new();
        let mut accepted = None;
        if let RequestKind::IncrementalAlterConfigs(body) = &request {
            refused = alter_configs::refuse(body, self.node);
            if refused.len() == body.resources.len() {
                let answer = alter_configs::reassemble(body, &refused, None);
                let answer = ResponseKind::IncrementalAlterConfigs(answer);
                return cx.effects.reply(conn, header.correlation_id, answer);
            }
            if !refused.is_empty() {
                let rest = alter_configs::without(body, &refused);
                accepted = Some(RequestKind::IncrementalAlterConfigs(rest));
            }
        }
        let Some(envelope) = envelope(header, accepted.as_ref().unwrap_or(&request)) else {
            return cx.effects.close(conn);
        };
        let forwarded = Forwarded {
            conn,
            header: header.clone(),
            api,
            request,
            refused,
        };
        self.send(cx, Waiting::Client(Box::new(forwarded)), envelope);
    }

    /// Asks the controller to create topics that a request named or needs. Returns at once; those
    /// that are being created already are not asked for again.
    pub(crate) fn auto_create(
        &mut self,
        cx: &mut Context<'_>,
        header: &RequestHeader,
        wanted: Vec<CreatableTopic>,
    ) {
        let mut topics = Vec::new();
        let mut creatable = Vec::new();
        for topic in wanted {
            if self.auto_creating.insert(topic.name.clone()) {
                topics.push(topic.name.clone());
                creatable.push(topic);
            }
        }
        if topics.is_empty() {
            return;
        }
        let request = CreateTopicsRequest::default()
            .with_topics(creatable)
            .with_timeout_ms(AUTO_CREATE_TIMEOUT_MS);
        let header = RequestHeader {
            version: CREATE_TOPICS_VERSION,
            ..header.clone()
        };
        let envelope = envelope(&header, &RequestKind::CreateTopics(request))
            .expect("a topic with nothing but a name fits the newest version");
        self.send(cx, Waiting::AutoCreation(topics), envelope);
    }

    /// An Envelope, or a DescribeQuorum, came back.
    pub(crate) fn on_completion(&mut self, cx: &mut Context<'_>, completion: Completion) {
        let Some((token, outcome)) = self.channel.on_completion(cx, completion) else {
            return;
        };
        let forwarded = match self.waiting.remove(&token) {
            Some(Waiting::Client(forwarded)) => *forwarded,
            Some(Waiting::AutoCreation(topics)) => return self.auto_created(&topics),
            None => return,
        };
        let body = match outcome {
            Outcome::Answered(body) => match *body {
                ResponseKind::Envelope(envelope) => Some(envelope),
                _ => None,
            },
            Outcome::UnsupportedVersion => None,
        };
        match body {
            // The client has to ask again which versions there are.
            Some(body) if body.error_code == ResponseError::UnsupportedVersion.code() => {
                cx.effects.close(forwarded.conn);
            }
            Some(body) => {
                let answer = forwarded.open(body);
                forwarded.answer(cx, answer);
            }
            None => forwarded.fail(cx, ResponseError::UnknownServerError),
        }
    }

    /// `Timer::Forwarding`: what could not be sent for too long is answered.
    pub(crate) fn on_timer(&mut self, cx: &mut Context<'_>) {
        for token in self.channel.on_timer(cx) {
            match self.waiting.remove(&token) {
                Some(Waiting::Client(forwarded)) => {
                    forwarded.fail(cx, ResponseError::RequestTimedOut);
                }
                Some(Waiting::AutoCreation(topics)) => self.auto_created(&topics),
                None => {}
            }
        }
    }

    /// The client is gone. Its request goes on.
    pub(crate) fn on_closed(&mut self, conn: ConnectionId) {
        self.waiting.retain(|_, waiting| match waiting {
            Waiting::Client(forwarded) => forwarded.conn != conn,
            Waiting::AutoCreation(_) => true,
        });
    }

    fn send(&mut self, cx: &mut Context<'_>, waiting: Waiting, request: RequestKind) {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiting);
        self.channel.send(cx, self.next_token, request);
    }

    fn auto_created(&mut self, topics: &[TopicName]) {
        for topic in topics {
            self.auto_creating.remove(topic);
        }
    }
}

impl Forwarded {
    /// The response inside an Envelope, in this request's version.
    fn open(&self, envelope: EnvelopeResponse) -> Option<ResponseKind> {
        if envelope.error_code != 0 {
            return None;
        }
        let frame = envelope.response_data?;
        let (_, body) = decode_response(self.api, self.header.version, &frame).ok()?;
        Some(body)
    }

    fn answer(self, cx: &mut Context<'_>, answer: Option<ResponseKind>) {
        let answer = match (answer, &self.request) {
            (None, _) => return self.fail(cx, ResponseError::UnknownServerError),
            (
                Some(ResponseKind::IncrementalAlterConfigs(answer)),
                RequestKind::IncrementalAlterConfigs(request),
            ) => {
                let whole = alter_configs::reassemble(request, &self.refused, Some(&answer));
                ResponseKind::IncrementalAlterConfigs(whole)
            }
            (Some(answer), _) => answer,
        };
        cx.effects
            .reply(self.conn, self.header.correlation_id, answer);
    }

    fn fail(self, cx: &mut Context<'_>, error: ResponseError) {
        match error_response(&self.request, self.header.version, error) {
            Some(answer) => cx
                .effects
                .reply(self.conn, self.header.correlation_id, answer),
            None => cx.effects.close(self.conn),
        }
    }
}

/// The request as the client framed it, without its length. `None` for what its version cannot
/// carry.
fn envelope(header: &RequestHeader, request: &RequestKind) -> Option<RequestKind> {
    let mut frame = BytesMut::new();
    let client_id = &header.client_id;
    encode_request(
        header.correlation_id,
        client_id,
        header.version,
        request,
        &mut frame,
    )
    .ok()?;
    let envelope = EnvelopeRequest::default()
        .with_request_data(frame.freeze().slice(FRAME_LENGTH_BYTES..))
        .with_request_principal(Some(Bytes::from_static(ANONYMOUS)))
        .with_client_host_address(Bytes::from_static(&[127, 0, 0, 1]));
    Some(RequestKind::Envelope(envelope))
}

/// `DefaultPrincipalData` version 0: User:ANONYMOUS, not authenticated by a token.
const ANONYMOUS: &[u8] = b"\x00\x00\x05User\x0aANONYMOUS\x00\x00";
/// The length in front of a frame.
const FRAME_LENGTH_BYTES: usize = 4;
/// The newest CreateTopics there is.
const CREATE_TOPICS_VERSION: i16 = 7;
/// Default of `request.timeout.ms`, which bounds a creation in the controller.
const AUTO_CREATE_TIMEOUT_MS: i32 = 30_000;
/// The retry timeout of the broker's forwarding channel (BrokerServer).
const RETRY_TIMEOUT_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::CreateTopicsResponse;

    use super::*;
    use crate::broker::rig::{Rig, answered, controller};
    use crate::types::StrBytes;
    use crate::wire::frame::encode_response;

    fn header() -> RequestHeader {
        RequestHeader {
            version: 7,
            correlation_id: 3,
            client_id: StrBytes::from_static_str("a1"),
        }
    }

    fn orders() -> TopicName {
        TopicName(StrBytes::from_static_str("orders"))
    }

    fn forwarding(rig: &mut Rig) -> ForwardingManager {
        let mut forwarding = ForwardingManager::new(NodeId(1));
        let topic = CreatableTopic::default().with_name(orders());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let request = RequestKind::CreateTopics(request);
        rig.on(|cx| forwarding.forward(cx, ConnectionId(1), &header(), request));
        forwarding
    }

    fn envelope(error: i16, data: Option<Bytes>) -> Completion {
        let answer = EnvelopeResponse::default()
            .with_error_code(error)
            .with_response_data(data);
        answered(Channel::Forwarding, 1, ResponseKind::Envelope(answer))
    }

    #[test]
    fn the_answer_inside_the_envelope_is_the_clients() {
        let mut rig = Rig::new();
        let mut forwarding = forwarding(&mut rig);
        assert_eq!(
            rig.outstanding(Channel::Forwarding),
            0,
            "nobody knows the controller"
        );
        rig.on(|cx| forwarding.set_controller(cx, controller()));
        assert_eq!(rig.outstanding(Channel::Forwarding), 1);
        let answer = ResponseKind::CreateTopics(CreateTopicsResponse::default());
        let mut frame = BytesMut::new();
        encode_response(ApiKey::CreateTopics, 7, 3, &answer, &mut frame).expect("version 7");
        let data = frame.freeze().slice(FRAME_LENGTH_BYTES..);
        rig.on(|cx| forwarding.on_completion(cx, envelope(0, Some(data))));
        assert_eq!(rig.replies(), [answer]);
    }

    #[test]
    fn whoever_is_no_controller_is_asked_again_later() {
        let mut rig = Rig::new();
        let mut forwarding = forwarding(&mut rig);
        rig.on(|cx| forwarding.set_controller(cx, controller()));
        let wrong = envelope(ResponseError::NotController.code(), None);
        rig.on(|cx| forwarding.on_completion(cx, wrong));
        assert_eq!(rig.armed(Timer::Forwarding), Some(40..=60));
        rig.on(|cx| forwarding.on_timer(cx));
        assert_eq!(rig.outstanding(Channel::Forwarding), 1);
        assert!(rig.replies().is_empty());
    }

    #[test]
    fn without_a_controller_the_client_hears_so_after_a_minute() {
        let mut rig = Rig::new();
        let mut forwarding = forwarding(&mut rig);
        assert_eq!(rig.armed(Timer::Forwarding), Some(60_000..=60_000));
        rig.now.mono_ms = 60_000;
        rig.on(|cx| forwarding.on_timer(cx));
        let [ResponseKind::CreateTopics(answer)] = &rig.replies()[..] else {
            panic!("no answer");
        };
        assert_eq!(answer.topics[0].error_code, 7);
    }

    #[test]
    fn a_topic_is_not_created_twice_at_a_time() {
        let mut rig = Rig::new();
        let mut forwarding = ForwardingManager::new(NodeId(1));
        rig.on(|cx| forwarding.set_controller(cx, controller()));
        for _ in 0..2 {
            let topic = CreatableTopic::default()
                .with_name(orders())
                .with_num_partitions(1)
                .with_replication_factor(1);
            rig.on(|cx| forwarding.auto_create(cx, &header(), vec![topic]));
        }
        assert_eq!(forwarding.waiting.len(), 1);
        rig.on(|cx| forwarding.on_completion(cx, envelope(-1, None)));
        assert!(forwarding.auto_creating.is_empty());
    }
}
