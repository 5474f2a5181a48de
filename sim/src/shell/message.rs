//! Messages on their way: encoded once where they leave, an input where they arrive.

use std::fmt;

use broker_model::input::{Input, RequestHeader};
use broker_model::types::{ConnectionId, StrBytes};
use broker_model::wire::request_api;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use crate::trace::{BodyHash, Scratch};

/// A request or response on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its version.
    pub version: i16,
    /// Its correlation id.
    pub correlation_id: i32,
    /// The API.
    pub api_key: ApiKey,
    /// The decoded body.
    pub body: Body,
    /// The hash of the encoded body.
    pub hash: BodyHash,
    /// The encoded body's length in bytes.
    pub bytes: u32,
    /// The encoded body, in shells that keep it for the wire.
    pub encoded: Option<Bytes>,
}

impl Message {
    /// Whether it is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.body, Body::Request(_))
    }
}

/// A message's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// From client to server.
    Request(Box<RequestKind>),
    /// From server to client.
    Response(Box<ResponseKind>),
}

impl Body {
    fn encode(
        &self,
        buffer: &mut BytesMut,
        version: i16,
    ) -> Result<(), impl fmt::Debug + fmt::Display + use<>> {
        match self {
            Body::Request(request) => request.encode(buffer, version),
            Body::Response(response) => response.encode(buffer, version),
        }
    }
}

/// Turns bodies into messages.
pub(super) struct Encoder {
    scratch: Scratch,
    /// Whether messages carry their encoding.
    pub(super) keeps_encoded: bool,
    /// Whether each message is decoded again from its encoding.
    round_trip: bool,
}

impl Encoder {
    pub(super) fn new(round_trip: bool) -> Self {
        Encoder {
            scratch: Scratch::new(),
            keeps_encoded: false,
            round_trip,
        }
    }

    /// Encodes a request once: for its hash, its length, and as a test that it can be encoded.
    pub(super) fn request(
        &mut self,
        sender: &str,
        version: i16,
        correlation_id: i32,
        request: Box<RequestKind>,
    ) -> Message {
        let api_key = request_api(&request);
        let body = Body::Request(request);
        self.message(sender, (version, api_key), correlation_id, body)
    }

    /// Encodes the response to a request of that version and API.
    pub(super) fn response(
        &mut self,
        sender: &str,
        (version, api_key): (i16, ApiKey),
        correlation_id: i32,
        response: Box<ResponseKind>,
    ) -> Message {
        let body = Body::Response(response);
        self.message(sender, (version, api_key), correlation_id, body)
    }

    fn message(
        &mut self,
        sender: &str,
        (version, api_key): (i16, ApiKey),
        correlation_id: i32,
        body: Body,
    ) -> Message {
        let buffer = self.scratch.take();
        if let Err(error) = body.encode(buffer, version) {
            panic!(
                "{sender} made a message that version {version} cannot carry: {error}: {body:?}"
            );
        }
        let hash = BodyHash::of(buffer);
        let bytes = u32::try_from(buffer.len()).expect("a message is short");
        let encoded = self.keeps_encoded.then(|| Bytes::copy_from_slice(buffer));
        Message {
            version,
            correlation_id,
            api_key,
            body,
            hash,
            bytes,
            encoded,
        }
    }

    /// The body as the other side would decode it, in runs that check the encoding.
    pub(super) fn round_trip(&mut self, message: Message) -> Message {
        if !self.round_trip {
            return message;
        }
        let (version, api_key) = (message.version, message.api_key);
        let buffer = self.scratch.take();
        let encoded = message.body.encode(buffer, version);
        encoded.expect("it was encoded before");
        let mut bytes = Bytes::copy_from_slice(buffer);
        let body = match message.body {
            Body::Request(_) => RequestKind::decode(api_key, &mut bytes, version)
                .map(|request| Body::Request(Box::new(request))),
            Body::Response(_) => ResponseKind::decode(api_key, &mut bytes, version)
                .map(|response| Body::Response(Box::new(response))),
        };
        let body = body.expect("what we encode can be decoded");
        assert!(bytes.is_empty(), "{api_key:?} leaves bytes behind");
        Message { body, ..message }
    }
}

/// The input that a message becomes at the other side.
#[must_use]
pub fn arrival(conn: ConnectionId, client_id: StrBytes, message: Message) -> (Input, BodyHash) {
    let Message {
        version,
        correlation_id,
        body,
        hash,
        ..
    } = message;
    let input = match body {
        Body::Request(body) => {
            let header = RequestHeader {
                version,
                correlation_id,
                client_id,
            };
            Input::Request { conn, header, body }
        }
        Body::Response(body) => Input::Response {
            conn,
            correlation_id,
            body,
        },
    };
    (input, hash)
}
